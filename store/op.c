/* SPDX-License-Identifier: Apache-2.0 */
#include "store/op.h"

#include <stdlib.h>
#include <string.h>

#include "store/content.h"
#include "store/history.h"
#include "store/quota.h"

bool op_inode_find(struct op *op, uint64_t ino, struct op_inode *out)
{
    if (!row_inode_find(op->rows, ino, &out->was))
        return false;
    out->is = out->was;
    return true;
}

void op_inode_save(struct op *op, const struct op_inode *i)
{
    if (memcmp(&i->was, &i->is, sizeof i->is) == 0)
        return;
    row_inode_update(op->rows, &i->was, &i->is);
    quota_saved(op, i);
}

void op_inode_delete(struct op *op, const struct op_inode *i)
{
    struct inode gone = i->was;

    if (op_type(&gone) == S_IFREG)
        content_truncate(op->rows, &gone, 0);
    if (op_type(&gone) == S_IFLNK)
        row_symlink_delete(op->rows, gone.ino);
    if (gone.xattr_bytes > 0)
        row_xattr_delete_all(op->rows, gone.ino);
    row_inode_delete(op->rows, &i->was);
}

bool op_has_room(const struct op *op, uint64_t bytes)
{
    const struct counters *n = &op->rows->state->n;
    uint64_t used = n->bytes + n->meta_bytes;

    return used <= op->max_bytes && bytes <= op->max_bytes - used;
}

void op_fill_attr(const struct inode *inode, Cfs__Attr *out)
{
    cfs__attr__init(out);
    out->ino = inode->ino;
    out->mode = (uint32_t)inode->mode;
    out->nlink = (uint32_t)inode->nlink;
    out->uid = (uint32_t)inode->uid;
    out->gid = (uint32_t)inode->gid;
    out->rdev = inode->rdev;
    out->size = inode->size;
    out->blocks = (inode->stored + 511) / 512;
    out->atime_ns = inode->atime;
    out->mtime_ns = inode->mtime;
    out->ctime_ns = inode->ctime;
    out->version = inode->version;
    out->cversion = inode->cversion;
    out->aversion = inode->aversion;
    out->created = inode->created;
    out->modified = inode->modified;
    out->children_modified = inode->children_modified;
    out->parent = inode->parent;
}

void op_reply_attr(struct op *op, const struct inode *inode)
{
    op_fill_attr(inode, &op->attr);
    op->reply.attr = &op->attr;
}

/* Returns the array with room for element n. */
static void *grown(void *array, size_t n, size_t size)
{
    if ((n & (n + 1)) != 0) /* full only at 0, 1, 3, 7 … elements */
        return array;
    return xrealloc(array, (2 * n + 1) * size);
}

Cfs__Change *op_change(struct op *op, Cfs__Change__Kind kind, uint64_t ino)
{
    Cfs__Change *change;

    op->changes = grown(op->changes, op->n_changes, sizeof *op->changes);
    change = &op->changes[op->n_changes++];
    cfs__change__init(change);
    change->kind = kind;
    change->ino = ino;
    change->index = op->index;
    change->session = op->session;
    change->unseen = op->unseen;
    history_note(op, change);
    return change;
}

void op_attr_changed(struct op *op, struct inode *inode, Cfs__Change__Kind kind)
{
    inode->ctime = op->now;
    inode->aversion++;
    op_change(op, kind, inode->ino);
    history_note_version(op, inode->aversion);
}

void op_grant(struct op *op, const struct lock_row *lock, uint64_t id)
{
    op->grants = grown(op->grants, op->n_grants, sizeof *op->grants);
    op->grants[op->n_grants++] = (struct store_grant){
        .session = lock->session,
        .id = id,
        .ino = lock->ino,
        .kind = (uint32_t)lock->kind,
        .handle = lock->handle,
        .owner = lock->owner,
        .fence = lock->number,
    };
}

void op_ended(struct op *op, const struct session *session)
{
    op->ended = grown(op->ended, op->n_ended, sizeof *op->ended);
    op->ended[op->n_ended++] = (struct store_ended){session->id, session->member};
}

struct op_memory {
    struct op_memory *next;
    max_align_t data[];
};

void *op_alloc(struct op *op, size_t size)
{
    struct op_memory *m = xcalloc(1, sizeof *m + size);

    m->next = op->memory;
    op->memory = m;
    return m->data;
}

void op_fini(struct op *op)
{
    while (op->memory != NULL) {
        struct op_memory *m = op->memory;

        op->memory = m->next;
        free(m);
    }
    free(op->changes);
    free(op->grants);
    free(op->ended);
    op->changes = NULL;
    op->grants = NULL;
    op->ended = NULL;
    op->n_changes = op->n_grants = op->n_ended = 0;
}
