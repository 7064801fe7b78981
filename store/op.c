#include "store/op.h"

#include <string.h>

#include "store/content.h"

bool op_inode_find(struct op *op, uint64_t ino, struct op_inode *out)
{
    if (!row_inode_find(op->rows, ino, &out->was))
        return false;
    out->is = out->was;
    return true;
}

void op_inode_save(struct op *op, const struct op_inode *i)
{
    if (memcmp(&i->was, &i->is, sizeof i->is) != 0)
        row_inode_update(op->rows, &i->was, &i->is);
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

Cfs__Change *op_change(struct op *op, Cfs__Change__Kind kind, uint64_t ino)
{
    Cfs__Change *change = &op->changes[op->n_changes];

    check(op->n_changes < OP_CHANGES_MAX);
    op->n_changes++;
    cfs__change__init(change);
    change->kind = kind;
    change->ino = ino;
    change->index = op->index;
    change->session = op->session;
    return change;
}
