/* SPDX-License-Identifier: Apache-2.0 */
/* fsync. First this host's writes are committed; then everything that was committed anywhere is
 * applied here; then the kernel has forgotten the older state. Each step is a parked request. */
#include <errno.h>

#include "fs/ops/ops.h"

static void finish_fsync(struct request *r, int error)
{
    int lost = ops_handle_error(r->fs, handle_find(&r->fs->handles, r->fh));

    fuse_reply_err(r->req, error != 0 ? error : lost);
}

/* fsync of a directory (r->ino is 0) holds its lock, so it must not wait for the invalidation of
 * names. fsync of a file must not wait either if the name lane needs the file's lock for an event.
 * The kernel is then made to ask for all names, if that is possible. */
static void finish_fsync_pages(struct request *r, int error)
{
    struct request *next;

    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    next = request_next(r, finish_fsync);
    if (r->ino == 0 || lane_needs(r->fs, r->ino)) {
        if (lane_is_busy(&r->fs->lanes.names))
            lane_expire_all(r->fs);
        request_end(next, 0);
    } else {
        lane_then(&r->fs->lanes.names, next);
    }
}

static void finish_fsync_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        lane_then(&r->fs->lanes.pages, request_next(r, finish_fsync_pages));
}

static void finish_fsync_writes(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        request_barrier(request_next(r, finish_fsync_barrier));
}

/* Promise 6. */
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct request *r;

    (void)datasync;
    if (locks_lost(fs, handle_find(&fs->handles, fi->fh))) {
        fuse_reply_err(req, EIO);
        return;
    }
    r = request_new(fs, req, finish_fsync_writes);
    r->fh = fi->fh;
    r->ino = r->dirs[0] = ino;
    writeback_submit(fs, ino);
    if (!writeback_wait(fs, ino, r))
        request_end(r, 0);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct request *r = request_new(fs_of(req), req, finish_fsync_barrier);

    (void)datasync;
    (void)fi;
    r->dirs[0] = ino;
    request_barrier(r);
}
