/* SPDX-License-Identifier: Apache-2.0 */
#include "store/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/acl.h"
#include "store/content.h"
#include "store/history.h"
#include "store/lock.h"
#include "store/quota.h"
#include "store/special.h"
#include "store/staged_write.h"

/* True if the mode changed. A directory's setgid bit has another meaning and stays. */
static bool kill_bits(struct inode *inode, Cfs__Kill kill)
{
    uint64_t mode = inode->mode;

    if (kill == CFS__KILL__KILL_NONE || op_is_dir(inode))
        return false;
    inode->mode &= ~(uint64_t)S_ISUID;
    if (kill == CFS__KILL__KILL_SGID || (inode->mode & S_IXGRP) != 0)
        inode->mode &= ~(uint64_t)S_ISGID;
    return inode->mode != mode;
}

#define CAPABILITY "security.capability"

/* A file capability belongs to the content and the owner that it was given to. */
static void drop_capability(struct op *op, struct inode *inode)
{
    const struct bytes name = {(const uint8_t *)CAPABILITY, strlen(CAPABILITY)};
    struct buf value = BUF_EMPTY;

    if (inode->xattr_bytes == 0 || !row_xattr_find(op->rows, inode->ino, name, &value))
        return;
    row_xattr_delete(op->rows, inode->ino, name, (struct bytes){value.data, value.len});
    inode->xattr_bytes -= name.len + value.len;
    buf_fini(&value);
}

static void data_changed(struct op *op, struct inode *inode)
{
    drop_capability(op, inode);
    inode->mtime = op->now;
    inode->ctime = op->now;
    inode->version++;
    inode->modified = op->index;
    special_written(op, inode->ino);
    op_change(op, CFS__CHANGE__KIND__DATA, inode->ino);
    history_note_version(op, inode->version);
}

void file_data_changed(struct op *op, struct inode *inode, Cfs__Kill kill)
{
    data_changed(op, inode);
    if (kill_bits(inode, kill))
        op_attr_changed(op, inode, CFS__CHANGE__KIND__ATTR);
}

/* ---- Attributes -------------------------------------------------------------------------------*/

static void set_fields(struct op *op, const Cfs__SetAttr *c, struct inode *inode)
{
    if (c->set_mode)
        inode->mode = (inode->mode & S_IFMT) | (c->mode & 07777);
    if (c->set_uid)
        inode->uid = c->uid;
    if (c->set_gid)
        inode->gid = c->gid;
    if (c->set_atime)
        inode->atime = c->atime_now ? op->now : c->atime_ns;
    if (c->set_mtime)
        inode->mtime = c->mtime_now ? op->now : c->mtime_ns;
}

uint32_t file_set_attr(struct op *op, const Cfs__SetAttr *c)
{
    struct op_inode i;
    bool others = c->set_mode || c->set_uid || c->set_gid || c->set_atime || c->set_mtime;
    uint32_t status;

    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if (c->set_size && (status = op_check_regular(&i.was)))
        return status;
    if (c->set_size && c->size > LIMIT_FILE_MAX)
        return EFBIG;

    if (c->set_size) {
        content_truncate(op->rows, &i.is, c->size);
        data_changed(op, &i.is);
    }
    if (c->set_uid || c->set_gid)
        drop_capability(op, &i.is);
    /* after the size, so that an explicit time wins over the truncation's */
    set_fields(op, c, &i.is);
    if (c->set_mode)
        acl_mode_changed(op, &i.is);
    if (kill_bits(&i.is, c->kill))
        others = true;
    if (others || !c->set_size)
        op_attr_changed(op, &i.is, CFS__CHANGE__KIND__ATTR);
    op_inode_save(op, &i);
    op_reply_attr(op, &i.is);
    return 0;
}

/* ---- Content ----------------------------------------------------------------------------------*/

/* Computes where the extents go. `places` has room for all. */
static uint32_t place_extents(const Cfs__Write *c, uint64_t size, struct content_range *places)
{
    uint64_t total = 0, end = c->truncate ? 0 : size;

    for (size_t i = 0; i < c->n_extents; i++) {
        uint64_t len = c->extents[i]->data.len;
        uint64_t offset = c->append ? end : c->extents[i]->offset;

        if (len > LIMIT_WRITE_MAX - total)
            return E2BIG;
        total += len;
        if (len > 0 && (offset > LIMIT_FILE_MAX || len > LIMIT_FILE_MAX - offset))
            return EFBIG;
        places[i] = (struct content_range){offset, len};
        if (c->append)
            end += len;
    }
    return 0;
}

/* Everything that a Write writes, in order: the staged extents, then its own. */
struct change {
    const Cfs__Write *c;
    struct staged_write *staged;
    size_t n_staged;
    uint64_t released; /* bytes that are staged: their space becomes free with the write */
    struct content_range *places;
    size_t n;
};

static void change_fini(struct change *w)
{
    free(w->staged);
    free(w->places);
}

static uint32_t change_init(struct op *op, const Cfs__Write *c, const struct inode *inode,
                            struct change *w)
{
    *w = (struct change){.c = c};
    w->n_staged = staged_write_list(op, c->stage, &w->staged);
    w->n = w->n_staged + c->n_extents;
    w->places = xcalloc(w->n, sizeof *w->places);
    if (w->n_staged != c->staged)
        return ECANCELED;
    for (size_t i = 0; i < w->n_staged; i++) {
        w->places[i] = (struct content_range){w->staged[i].offset, w->staged[i].len};
        w->released += w->staged[i].len;
    }
    return place_extents(c, inode->size, w->places + w->n_staged);
}

/* First compares a cheap upper bound; computes the exact growth only near the limit. */
static uint32_t check_space(struct op *op, const struct inode *inode, const struct change *w)
{
    uint64_t bound = 0, quota = quota_of(op, inode);
    int64_t growth;

    for (size_t i = 0; i < w->n; i++)
        bound += w->places[i].len > 0 ? w->places[i].len + CONTENT_BLOCK : 0;
    if (op_has_room(op, bound) && quota_has_room(op, quota, bound, 0))
        return 0;
    growth = content_growth(op->rows, inode, w->c->truncate, w->places, w->n);
    if (growth > (int64_t)w->released && !op_has_room(op, (uint64_t)growth - w->released))
        return ENOSPC;
    return growth <= 0 || quota_has_room(op, quota, (uint64_t)growth, 0) ? 0 : EDQUOT;
}

static bool is_empty(const struct change *w)
{
    if (w->c->truncate)
        return false;
    for (size_t i = 0; i < w->n; i++)
        if (w->places[i].len > 0)
            return false;
    return true;
}

static void write_all(struct op *op, const struct change *w, struct op_inode *i)
{
    const Cfs__Write *c = w->c;

    if (c->truncate)
        content_truncate(op->rows, &i->is, 0);
    staged_write_apply(op, &i->is, w->staged, w->n_staged);
    for (size_t n = 0; n < c->n_extents; n++)
        if (c->extents[n]->data.len > 0)
            content_write(op->rows, &i->is, w->places[w->n_staged + n].offset,
                          op_bytes(c->extents[n]->data));
    file_data_changed(op, &i->is, c->kill);
    op_inode_save(op, i);
}

static uint32_t write_change(struct op *op, const struct change *w, struct op_inode *i)
{
    uint32_t status = check_space(op, &i->was, w);

    if (status != 0)
        return status;
    if (!is_empty(w))
        write_all(op, w, i);
    staged_write_drop(op, op->session, w->c->stage);
    if (w->n > 0)
        op->reply.value = w->places[0].offset;
    else if (w->c->append)
        op->reply.value = i->is.size;
    op_reply_attr(op, &i->is);
    return 0;
}

uint32_t file_write(struct op *op, const Cfs__Write *c)
{
    struct op_inode i;
    struct change w;
    uint32_t status;

    if (c->n_extents > LIMIT_EXTENTS_MAX)
        return E2BIG;
    if (c->stage != 0 && c->append)
        return EINVAL;
    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if ((status = op_check_regular(&i.was)))
        return status;
    status = change_init(op, c, &i.was, &w);
    if (status == 0)
        status = write_change(op, &w, &i);
    change_fini(&w);
    return status;
}

/* ---- Reaping ----------------------------------------------------------------------------------*/

/* Deleting content takes time in proportion to its size, on every member at once. So one command
 * frees about this much; the remaining orphans are proposed again. */
#define REAP_BYTES_MAX (uint64_t) LIMIT_FILE_MAX

uint32_t file_reap(struct op *op, const Cfs__Reap *c)
{
    uint64_t freed = 0;

    if (c->n_inos > LIMIT_REAP_MAX)
        return E2BIG;
    for (size_t n = 0; n < c->n_inos && freed < REAP_BYTES_MAX; n++) {
        struct op_inode i;
        uint64_t unlinked;

        if (!row_orphan_find(op->rows, c->inos[n], &unlinked) ||
            lock_exists(op->locks, c->inos[n])) /* a handle is still open: its end comes later */
            continue;
        check(op_inode_find(op, c->inos[n], &i));
        check(i.was.nlink == 0);
        freed += i.was.stored;
        row_orphan_delete(op->rows, c->inos[n], unlinked);
        quota_reaped(op, &i.was);
        op_inode_delete(op, &i);
    }
    return 0;
}
