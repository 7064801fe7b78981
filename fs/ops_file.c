#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/convert.h"
#include "fs/ops.h"
#include "fs/procfd.h"
#include "proto/limits.h"

/* Who writes sees the store itself; who only reads may map the file (and execute it), and the
 * kernel drops its pages when a file's time or size has changed. */
void ops_open_mode(struct fuse_file_info *fi)
{
    fi->direct_io = handle_writes(fi->flags);
    fi->keep_cache = 0;
}

/* ---- Opening and closing ------------------------------------------------------------------------
 */

/* Is this a way to an unlinked file that may be opened: one that is open here already, and reached
 * through /proc/PID/fd, not by a name that is gone? */
static bool may_reopen(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    return node_insists(&fs->nodes, ino, fuse_req_ctx(req)->pid) &&
           opens_count(&fs->opens, ino) > 0;
}

static void open_now(struct fs *fs, fuse_req_t req, uint64_t ino, int flags, bool kill_suid)
{
    struct fuse_file_info fi = {.flags = flags};
    Cfs__Attr attr = CFS__ATTR__INIT;
    int tid = fuse_req_ctx(req)->pid, error = ops_attr(fs, ino, &attr);
    struct handle *h;

    if (error == 0 && attr.nlink == 0 && !may_reopen(fs, req, ino))
        error = ESTALE;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    ops_open_mode(&fi);
    h = handle_open(&fs->handles, ino, flags, tid);
    h->errors = draft_errors(fs, ino);
    fi.fh = h->fh;
    if (fuse_reply_open(req, &fi) != 0) {
        handle_close(&fs->handles, fi.fh);
        return;
    }
    /* Truncating an empty file changes nothing (`exec 9>lock` does it each time). */
    if ((flags & O_TRUNC) != 0 && attr.size > 0)
        draft_truncate(fs, ino, tid, kill_suid);
}

/* The others' writes are committed, or it takes too long: then this is a file as it is. */
static void finish_open(struct request *r, int error)
{
    if (error == EINTR)
        fuse_reply_err(r->req, EINTR);
    else
        open_now(r->fs, r->req, r->ino, r->flags, r->count != 0);
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    bool kill_suid = io_kill_suid(&fs->io);
    struct request *r;

    if (draft_is_foreign(fs, ino, fuse_req_ctx(req)->pid)) {
        draft_submit(fs, ino);
        r = request_new(fs, req, finish_open);
        r->ino = ino;
        r->flags = fi->flags;
        r->count = kill_suid;
        if (draft_wait(fs, ino, r))
            return;
        request_end(r, 0);
        return;
    }
    open_now(fs, req, ino, fi->flags, kill_suid);
}

/* The error that this handle has not heard of yet. */
static int handle_error(struct fs *fs, struct handle *h)
{
    return h == NULL ? 0 : draft_error(fs, h->ino, &h->errors);
}

static void finish_flush(struct request *r, int error)
{
    int lost = handle_error(r->fs, handle_find(&r->fs->handles, r->fh));

    fuse_reply_err(r->req, error != 0 ? error : lost);
}

/* A program closes a file that it has truncated, but not written. It may be a shell that has only
 * moved the handle to its place (open, dup2, close), for itself or for a command that it starts: so
 * who still has the file open decides. Being wrong here costs a second at most. */
static bool is_final(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    int closer = fuse_req_ctx(req)->pid, opener;

    if (!draft_only_truncates(fs, ino, &opener))
        return true;
    return closer == 0 ||
           (!procfd_writes(closer, ino) && (opener == closer || !procfd_writes(opener, ino)));
}

void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct handle *h = handle_find(&fs->handles, fi->fh);
    struct request *r;

    if (h == NULL || !handle_changes(h->flags) || !draft_exists(fs, ino) ||
        !is_final(fs, req, ino)) {
        fuse_reply_err(req, handle_error(fs, h));
        return;
    }
    draft_submit(fs, ino);
    r = request_new(fs, req, finish_flush);
    r->fh = fi->fh;
    r->patience = REQUEST_PATIENT;
    if (!draft_wait(fs, ino, r))
        request_end(r, 0);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct handle *h = handle_find(&fs->handles, fi->fh);
    bool wrote = h != NULL && handle_changes(h->flags);

    handle_close(&fs->handles, fi->fh);
    if (wrote)
        draft_closed(fs, ino);
    fuse_reply_err(req, 0);
}

/* ---- Reading and writing ------------------------------------------------------------------------
 */

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    int64_t n;

    (void)fi;
    n = draft_read(fs, ino, (uint64_t)off, fs->scratch, min_u64(size, LIMIT_WRITE_MAX));
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_buf(req, (const char *)fs->scratch, (size_t)n);
}

static void finish_write(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        fuse_reply_write(r->req, r->count);
}

/* Does the writer have to wait until it is committed? */
static bool is_committing(struct fs *fs, size_t size, int flags)
{
    const struct backend *b = &fs->backend;

    if (size < DRAFT_MIN_FULL || size % DRAFT_BLOCK != 0)
        return true;
    if ((flags & (O_APPEND | O_DSYNC)) != 0) /* O_SYNC has the bit of O_DSYNC */
        return true;
    return b->ops->has_quorum != NULL && !b->ops->has_quorum(b->ctx);
}

/* Where a write would end; an append's offset is the kernel's idea of the size, which may be old:
 * apply looks again. */
static int check_write(struct fs *fs, uint64_t off, size_t size)
{
    if (size > LIMIT_WRITE_MAX)
        return EINVAL; /* more than max_write */
    return off > fs->options.file_max || size > fs->options.file_max - off ? EFBIG : 0;
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
               struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct draft_write w = {.ino = ino, .offset = (uint64_t)off, .data = data, .len = size};
    int error = check_write(fs, w.offset, size);
    struct request *r;

    if (error == 0)
        error = handle_error(fs, handle_find(&fs->handles, fi->fh));
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    w.tid = fuse_req_ctx(req)->pid;
    w.append = (fi->flags & O_APPEND) != 0;
    w.kill_suid = io_kill_suid(&fs->io);
    r = request_new(fs, req, finish_write);
    r->count = size;
    if (is_committing(fs, size, fi->flags))
        draft_commit(fs, &w, r);
    else if (draft_buffer(fs, &w, r))
        request_end(r, 0);
}

/* ---- Barriers -----------------------------------------------------------------------------------
 */

static void finish_fsync(struct request *r, int error)
{
    int lost = handle_error(r->fs, handle_find(&r->fs->handles, r->fh));

    fuse_reply_err(r->req, error != 0 ? error : lost);
}

/* What was written before is committed; now the barrier, as a request of its own. */
static void finish_fsync_writes(struct request *r, int error)
{
    struct request *barrier;

    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    barrier = request_new(r->fs, r->req, finish_fsync);
    barrier->fh = r->fh;
    request_barrier(barrier);
}

/* Promise P6. */
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct request *r = request_new(fs, req, finish_fsync_writes);

    (void)datasync;
    r->fh = fi->fh;
    draft_submit(fs, ino);
    if (!draft_wait(fs, ino, r))
        request_end(r, 0);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    request_barrier(request_new(fs_of(req), req, finish_fsync));
}

/* Not ENOSYS, which the kernel would turn into success of isatty(3) and the like. */
void ops_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
               unsigned flags, const void *in, size_t in_size, size_t out_size)
{
    (void)ino;
    (void)cmd;
    (void)arg;
    (void)fi;
    (void)flags;
    (void)in;
    (void)in_size;
    (void)out_size;
    fuse_reply_err(req, ENOTTY);
}
