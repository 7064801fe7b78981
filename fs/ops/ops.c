/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"

int ops_dir_error(struct fs *fs, fuse_req_t req, uint64_t dir, int error)
{
    int tid = fuse_req_ctx(req)->pid;

    if (error != ESTALE)
        return error;
    if (node_insists(&fs->nodes, dir, tid) || rewalk_has_inode(&fs->rewalks, tid, dir))
        return ENOENT;
    ops_note_stale(fs, req);
    return ESTALE;
}

void ops_note_stale(struct fs *fs, fuse_req_t req)
{
    again_told(&fs->again, fuse_req_ctx(req)->pid);
    rewalk_told(&fs->rewalks, fuse_req_ctx(req)->pid);
}

void ops_note_end(struct fs *fs, fuse_req_t req)
{
    again_end(&fs->again, fuse_req_ctx(req)->pid);
    rewalk_end(&fs->rewalks, fuse_req_ctx(req)->pid);
}

void ops_reply_stale(struct fs *fs, fuse_req_t req)
{
    ops_note_stale(fs, req);
    fuse_reply_err(req, ESTALE);
}

static int open_error(struct fs *fs, int tid, const Cfs__Attr *attr, bool found)
{
    const struct node *node = node_find(&fs->nodes, attr->ino);
    bool unlinked = attr->nlink == 0, moving = lane_moves(fs, node);

    if (!unlinked && !moving)
        return 0;
    return found || node_insists(&fs->nodes, attr->ino, tid) ? 0 : ESTALE;
}

int ops_open_error(struct fs *fs, fuse_req_t req, uint64_t ino, Cfs__Attr *out)
{
    struct node *node = node_find(&fs->nodes, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error, tid = fuse_req_ctx(req)->pid;
    bool found = again_take(&fs->again, tid, ino);

    if (out == NULL && node != NULL && node->alive && !lane_moves(fs, node)) {
        rewalk_end(&fs->rewalks, tid);
        return 0;
    }
    error = attr_get(fs, ino, &attr);
    if (error == 0)
        error = open_error(fs, tid, &attr, found);
    if (error == ESTALE && !found)
        ops_note_stale(fs, req);
    if (error == 0)
        rewalk_end(&fs->rewalks, tid);
    if (error == 0 && node != NULL)
        node->alive = attr.nlink > 0;
    if (out != NULL)
        *out = attr;
    return error;
}

int ops_name_error(const char *name)
{
    return strlen(name) > LIMIT_NAME_MAX ? ENAMETOOLONG : 0;
}
