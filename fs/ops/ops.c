/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/kernel/credentials.h"
#include "proto/limits.h"

int ops_dir_error(struct fs *fs, fuse_req_t req, uint64_t dir, int error)
{
    int tid = fuse_req_ctx(req)->pid;

    if (error != ESTALE)
        return error;
    if (rewalk_insists(&fs->rewalks, tid, dir) || rewalk_has_inode(&fs->rewalks, tid, dir))
        return ENOENT;
    rewalk_told(&fs->rewalks, tid, dir);
    return ESTALE;
}

void ops_note_stale(struct fs *fs, fuse_req_t req)
{
    rewalk_told(&fs->rewalks, fuse_req_ctx(req)->pid, 0);
}

void ops_note_end(struct fs *fs, fuse_req_t req)
{
    rewalk_end(&fs->rewalks, fuse_req_ctx(req)->pid);
}

void ops_reply_stale(struct fs *fs, fuse_req_t req)
{
    ops_note_stale(fs, req);
    fuse_reply_err(req, ESTALE);
}

/* A name that leads to the inode may be older than the tree. */
static bool is_doubtful(struct fs *fs, const Cfs__Attr *attr)
{
    return attr->nlink == 0 || lane_moves(fs, node_find(&fs->nodes, attr->ino));
}

int ops_open_error(struct fs *fs, fuse_req_t req, uint64_t ino, Cfs__Attr *out)
{
    struct node *node = node_find(&fs->nodes, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error, tid = fuse_req_ctx(req)->pid;
    bool insists = rewalk_insists(&fs->rewalks, tid, ino);
    bool found = rewalk_open(&fs->rewalks, tid, ino);

    if (out == NULL && node != NULL && node->alive && !lane_moves(fs, node))
        return 0;
    error = attr_get(fs, ino, &attr);
    if (error == 0 && !found && !insists && is_doubtful(fs, &attr))
        error = ESTALE;
    if (error == ESTALE && !found)
        rewalk_told(&fs->rewalks, tid, ino);
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

static bool is_in_group(fuse_req_t req, uint32_t gid)
{
    struct credentials c;
    bool in;

    credentials_init(&c, fuse_req_ctx(req));
    in = c.cred.gid == gid;
    for (size_t i = 0; i < c.cred.n_groups && !in; i++)
        in = c.cred.groups[i] == gid;
    credentials_fini(&c);
    return in;
}

Cfs__Kill ops_kill(struct fs *fs, fuse_req_t req, uint64_t ino, bool kills)
{
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (!kills)
        return CFS__KILL__KILL_NONE;
    if (attr_get(fs, ino, &attr) != 0 || (attr.mode & S_ISGID) == 0 || fuse_req_ctx(req)->uid == 0)
        return CFS__KILL__KILL_SUID;
    return is_in_group(req, attr.gid) ? CFS__KILL__KILL_SUID : CFS__KILL__KILL_SGID;
}

int ops_limit(struct fs *fs, uint64_t offset, uint64_t *len)
{
    if (offset >= fs->options.file_max)
        return EFBIG;
    *len = min_u64(*len, fs->options.file_max - offset);
    return 0;
}
