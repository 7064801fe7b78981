/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "fs/ops/ops.h"
#include "proto/limits.h"

static void reply_attr(fuse_req_t req, const Cfs__Attr *attr, double valid_s)
{
    struct stat st;

    convert_stat(attr, &st);
    fuse_reply_attr(req, &st, valid_s);
}

static void getattr_now(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error = attr_get(fs, ino, &attr);

    if (error != 0)
        fuse_reply_err(req, error);
    else
        reply_attr(req, &attr, attr_valid_s(fs, ino));
}

/* Other processes' writes are committed, or that takes too long: answers with the present state. */
static void finish_getattr(struct request *r, int error)
{
    (void)error;
    getattr_now(r->fs, r->req, r->ino);
}

static void getattr(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    struct request *r;

    if (!writeback_is_foreign(fs, ino, fuse_req_ctx(req)->pid)) {
        getattr_now(fs, req, ino);
        return;
    }
    writeback_submit(fs, ino);
    r = request_new(fs, req, finish_getattr);
    r->ino = ino;
    if (!writeback_wait(fs, ino, r))
        request_end(r, 0);
}

static void finish_getattr_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        getattr(r->fs, r->req, r->ino);
}

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct request *r;

    (void)fi;
    if (mirror_getattr(req, ino))
        return;
    if (!fs->options.strong) {
        getattr(fs, req, ino);
        return;
    }
    r = request_new(fs, req, finish_getattr_barrier);
    r->ino = ino;
    r->dirs[0] = ino; /* the kernel also asks while it holds the lock */
    request_barrier(r);
}

static void finish_setattr(struct request *r, int error)
{
    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    check(r->call.has_attr);
    node_note(&r->fs->nodes, &r->call.attr);
    writeback_show(r->fs, &r->call.attr);
    reply_attr(r->req, &r->call.attr, ATTR_UNSURE_S);
}

/* With HANDLE_KILLPRIV_V2 the kernel leaves setuid to us. A new owner always clears it (and setgid
 * only where it has a meaning); a new size clears it if the request says so. A request with none of
 * these is a chown to the same owner, or asks to clear the bits and nothing else. Directories keep
 * their bits. */
static bool kills_suid(int to_set)
{
    const int owner = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
    const int values = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME |
                       FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;

    if ((to_set & (owner | FUSE_SET_ATTR_KILL_SUID)) != 0)
        return true;
    return (to_set & values) == 0;
}

static void fill_setattr(Cfs__SetAttr *out, const struct stat *st, int to_set)
{
    out->set_mode = (to_set & FUSE_SET_ATTR_MODE) != 0;
    out->set_uid = (to_set & FUSE_SET_ATTR_UID) != 0;
    out->set_gid = (to_set & FUSE_SET_ATTR_GID) != 0;
    out->set_size = (to_set & FUSE_SET_ATTR_SIZE) != 0;
    out->set_atime = (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0;
    out->set_mtime = (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0;
    out->atime_now = (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0;
    out->mtime_now = (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0;
    out->mode = st->st_mode;
    out->uid = st->st_uid;
    out->gid = st->st_gid;
    out->size = (uint64_t)st->st_size;
    out->atime_ns = convert_time(&st->st_atim);
    out->mtime_ns = convert_time(&st->st_mtim);
}

static bool only_empties(const struct stat *st, int to_set, const struct fuse_file_info *fi)
{
    return fi != NULL && st->st_size == 0 &&
           (to_set & ~(FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_CTIME)) == FUSE_SET_ATTR_SIZE;
}

/* True if earlier writes must be committed before this change. Times and sizes need that. So does a
 * mode with setuid or setgid: the commit of a user's write clears these bits. */
static bool follows_writes(const struct stat *st, int to_set)
{
    if ((to_set & FUSE_SET_ATTR_MODE) != 0 && (st->st_mode & (S_ISUID | S_ISGID)) != 0)
        return true;
    return (to_set & (FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
                      FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)) != 0;
}

/* ftruncate(fd, 0) waits for the next write, as O_TRUNC does. It is a change even if the file is
 * empty. attr: the file's. */
static void empty(struct fs *fs, fuse_req_t req, Cfs__Attr *attr, int to_set, uint64_t session)
{
    writeback_bind(fs, attr->ino, session);
    writeback_truncate(fs, attr->ino, fuse_req_ctx(req)->pid,
                       ops_kill(fs, req, attr->ino, (to_set & FUSE_SET_ATTR_KILL_SUID) != 0));
    writeback_show(fs, attr);
    reply_attr(req, attr, ATTR_UNSURE_S);
}

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                 struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__SetAttr set = CFS__SET_ATTR__INIT;
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct handle *h = fi == NULL ? NULL : handle_find(&fs->handles, fi->fh);
    int error = locks_lost(fs, h) ? EIO : attr_get(fs, ino, &attr);
    struct request *r;

    if (mirror_setattr(req, ino, NULL))
        return;
    if (error == 0 && (to_set & FUSE_SET_ATTR_SIZE) != 0 &&
        (uint64_t)st->st_size > fs->options.file_max)
        error = EFBIG;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    if (only_empties(st, to_set, fi)) {
        empty(fs, req, &attr, to_set, locks_bound(h));
        return;
    }
    if (follows_writes(st, to_set))
        writeback_submit(fs, ino);
    set.ino = ino;
    fill_setattr(&set, st, to_set);
    set.kill = ops_kill(fs, req, ino, !S_ISDIR(attr.mode) && kills_suid(to_set));
    command.op_case = CFS__COMMAND__OP_SET_ATTR;
    command.set_attr = &set;
    r = request_new(fs, req, finish_setattr);
    r->dirs[0] = ino;
    r->session = locks_bound(h);
    request_submit(r, &command);
}

void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct fs *fs = fs_of(req);
    char target[LIMIT_SYMLINK_MAX + 1];
    int64_t len = fs->backend.ops->readlink(fs->backend.ctx, ino, target, LIMIT_SYMLINK_MAX);

    if (len < 0) {
        fuse_reply_err(req, (int)-len);
        return;
    }
    target[len] = '\0';
    fuse_reply_readlink(req, target);
}

void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fs *fs = fs_of(req);
    struct backend_usage usage;
    struct statvfs out;
    int err = fs->backend.ops->usage(fs->backend.ctx, &usage);

    (void)ino;
    if (err != 0) {
        fuse_reply_err(req, -err);
        return;
    }
    convert_usage(&usage, &out);
    fuse_reply_statfs(req, &out);
}
