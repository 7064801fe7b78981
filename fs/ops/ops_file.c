/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "fs/kernel/convert.h"
#include "fs/kernel/procfd.h"
#include "fs/ops/ops.h"
#include "proto/limits.h"

/* ---- Opening and closing --------------------------------------------------------------------- */

/* True for a handle through which pages may get into the page cache, also one for writing if it may
 * be mapped. */
static bool uses_pages(int flags)
{
    return (flags & O_ACCMODE) != O_WRONLY;
}

/* A file that another host changes while it is read here: see fs/cache/invalidate.c. Only if such a
 * handle can be mapped like any other. */
static bool bypasses(struct fs *fs, struct node *node)
{
    return node != NULL && io_maps_direct(&fs->io) && node_bypassed(node, clock_boot_ms());
}

/* A writer reads the store and the writeback directly. A reader uses the page cache, whose pages
 * are dropped with each change. With O_DIRECT a read is one request, and its answer is one state of
 * the file, whatever size the kernel has cached.
 *
 * FOPEN_NOFLUSH would save readers a request at each close. But only FLUSH tells that a process has
 * given up its fcntl locks: the process may take one through any descriptor, later than this, and
 * loses it when it closes any of them or ends, even if a child keeps the file open. */
void ops_open_handle(struct fs *fs, uint64_t ino, int tid, struct fuse_file_info *fi)
{
    struct handle *h = handle_open(&fs->handles, ino, fi->flags, tid);
    struct node *node = uses_pages(fi->flags) ? node_get(&fs->nodes, ino) : NULL;

    h->errors = writeback_errors(fs, ino);
    fi->fh = h->fh;
    fi->direct_io = handle_writes(fi->flags) || (fi->flags & O_DIRECT) != 0;
    if (!fi->direct_io && bypasses(fs, node)) {
        fi->direct_io = true;
        h->pass = xcalloc(1, sizeof(*h->pass));
    }
    fi->keep_cache = !fs->options.uncached;
    if (node == NULL)
        return;
    node->readers++;
    node->cached = true;
    h->passes = !fi->direct_io;
    if (h->passes) {
        node->passes++;
        node->passed_ms = clock_boot_ms();
    }
}

void ops_close_handle(struct fs *fs, uint64_t fh)
{
    struct handle *h = handle_find(&fs->handles, fh);
    struct node *node = h == NULL ? NULL : node_find(&fs->nodes, h->ino);

    if (node != NULL && uses_pages(h->flags) && node->readers > 0)
        node->readers--;
    if (node != NULL && h->passes && node->passes > 0 && --node->passes == 0)
        lane_forget_now(fs, h->ino);
    if (h != NULL && h->pass != NULL)
        pass_end(fs, h->pass);
    handle_close(&fs->handles, fh);
}

static void open_now(struct fs *fs, fuse_req_t req, uint64_t ino, int flags, bool kill_suid)
{
    struct fuse_file_info fi = {.flags = flags};
    int tid = fuse_req_ctx(req)->pid;
    int error = ops_open_error(fs, req, ino, NULL);
    Cfs__Kill kill;

    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    kill = ops_kill(fs, req, ino, kill_suid && (flags & O_TRUNC) != 0);
    ops_open_handle(fs, ino, tid, &fi);
    if (fuse_reply_open(req, &fi) != 0) {
        ops_close_handle(fs, fi.fh);
        return;
    }
    if ((flags & O_TRUNC) != 0) /* also of an empty file: its times change */
        writeback_truncate(fs, ino, tid, kill);
}

/* Other processes' writes are committed and the kernel's old pages are gone, or that takes too
 * long: opens the present state. */
static void finish_open(struct request *r, int error)
{
    if (error == EINTR)
        fuse_reply_err(r->req, EINTR);
    else
        open_now(r->fs, r->req, r->ino, r->flags, r->count != 0);
}

static void open_file(struct fs *fs, fuse_req_t req, uint64_t ino, int flags, bool kill_suid)
{
    bool foreign = writeback_is_foreign(fs, ino, fuse_req_ctx(req)->pid);
    const struct node *node = node_find(&fs->nodes, ino);
    struct request *r;

    if (!foreign && (node == NULL || node->job == NULL)) {
        open_now(fs, req, ino, flags, kill_suid);
        return;
    }
    r = request_new(fs, req, finish_open);
    r->ino = ino;
    r->flags = flags;
    r->count = kill_suid;
    if (foreign)
        writeback_submit(fs, ino);
    if (!(foreign && writeback_wait(fs, ino, r)) && !lane_wait_inode(fs, ino, r))
        request_end(r, 0);
}

static void finish_open_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        open_file(r->fs, r->req, r->ino, r->flags, r->count != 0);
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    bool kill_suid = io_kill_suid(&fs->io);
    struct request *r;

    if (mirror_open(req, ino))
        return;
    if (!fs->options.strong) {
        open_file(fs, req, ino, fi->flags, kill_suid);
        return;
    }
    r = request_new(fs, req, finish_open_barrier);
    r->ino = ino;
    r->flags = fi->flags;
    r->count = kill_suid;
    request_barrier(r);
}

int ops_handle_error(struct fs *fs, struct handle *h)
{
    if (locks_lost(fs, h))
        return EIO;
    return h == NULL ? 0 : writeback_error(fs, h->ino, &h->errors);
}

static void finish_flush(struct request *r, int error)
{
    int lost = ops_handle_error(r->fs, handle_find(&r->fs->handles, r->fh));

    fuse_reply_err(r->req, error != 0 ? error : lost);
}

/* A program closes a file that it has truncated and not written. It may be a shell that has only
 * moved the handle (open, dup2, close), for itself or for a command that it starts. So the other
 * holders of the file decide. A wrong guess costs a second at most. */
static bool is_final(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    int closer = fuse_req_ctx(req)->pid, opener;

    if (!writeback_only_truncates(fs, ino, &opener))
        return true;
    return closer == 0 ||
           (!procfd_writes(closer, ino) && (opener == closer || !procfd_writes(opener, ino)));
}

void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct handle *h = handle_find(&fs->handles, fi->fh);
    bool locked = h != NULL && locks_has_posix(fs, ino, fi->lock_owner);
    bool dirty = h != NULL && handle_changes(h->flags) && writeback_exists(fs, ino);
    struct request *r;

    if (locks_lost(fs, h) || (!locked && !(dirty && is_final(fs, req, ino)))) {
        fuse_reply_err(req, ops_handle_error(fs, h));
        return;
    }
    r = request_new(fs, req, finish_flush);
    r->fh = fi->fh;
    r->patience = REQUEST_PATIENT;
    if (ops_unlock_at_flush(r, h, fi->lock_owner))
        return;
    writeback_submit(fs, ino);
    /* close(2) waits for a quorum. The end of a process, which nothing could interrupt, waits only
     * as long as changes do. */
    if (procfd_ends(fuse_req_ctx(req)->pid))
        r->patience = REQUEST_BOUNDED;
    if (!writeback_wait(fs, ino, r))
        request_end(r, 0);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct handle *h = handle_find(&fs->handles, fi->fh);
    bool wrote = h != NULL && handle_changes(h->flags);

    locks_closed(fs, h);
    ops_close_handle(fs, fi->fh);
    if (wrote)
        writeback_closed(fs, ino);
    open_lifetime_closed(fs, ino);
    fuse_reply_err(req, 0);
}

/* ---- Reading and writing --------------------------------------------------------------------- */

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct handle *h = handle_find(&fs->handles, fi->fh);
    int64_t n;

    if (locks_lost(fs, h)) {
        fuse_reply_err(req, EIO);
        return;
    }
    size = min_u64(size, LIMIT_WRITE_MAX);
    if (h != NULL && h->pass != NULL)
        n = pass_read(fs, h->pass, fuse_req_ctx(req)->pid, ino, (uint64_t)off, size);
    else
        n = writeback_read(fs, ino, (uint64_t)off, fs->scratch, size);
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_buf(req, (const char *)fs->scratch, (size_t)n);
}

static void finish_write(struct request *r, int error)
{
    struct handle *h = handle_find(&r->fs->handles, r->fh);

    if (h != NULL)
        h->gave_up = error == ETIMEDOUT;
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        fuse_reply_write(r->req, r->count);
}

/* True if the writer must wait for the commit. */
static bool is_committing(struct fs *fs, uint64_t ino, size_t size, int flags)
{
    if (size < WRITEBACK_MIN_FULL || size % WRITEBACK_BLOCK != 0)
        return true;
    if ((flags & (O_APPEND | O_DSYNC)) != 0) /* O_SYNC includes the bit of O_DSYNC */
        return true;
    return !backend_has_quorum(&fs->backend) || !writeback_has_room(fs, ino, size);
}

/* The offset of an append is the size that the kernel has cached, which may be old: apply looks
 * again. The pages of a mapping are inside the file. */
static int check_write(struct fs *fs, struct writeback_write *w)
{
    uint64_t len = w->len;
    int error;

    if (len > LIMIT_WRITE_MAX)
        return EINVAL; /* more than max_write */
    error = len == 0 ? 0 : ops_limit(fs, w->offset, &len);
    w->len = (size_t)len;
    return error;
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
               struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct writeback_write w = {.ino = ino, .offset = (uint64_t)off, .data = data, .len = size};
    struct handle *h = handle_find(&fs->handles, fi->fh);
    int error = check_write(fs, &w);
    struct request *r;

    if (error == 0)
        error = ops_handle_error(fs, h);
    /* Many programs check for errors only at the end, and write a hundred times before. */
    if (error == 0 && h != NULL && h->gave_up && !backend_has_quorum(&fs->backend))
        error = ETIMEDOUT;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    w.tid = fuse_req_ctx(req)->pid;
    w.append = (fi->flags & O_APPEND) != 0;
    w.kill = ops_kill(fs, req, ino, io_kill_suid(&fs->io));
    writeback_bind(fs, ino, locks_bound(h));
    if (fi->writepage) {
        /* Pages of a mapping. The page lane may be waiting for this. */
        writeback_buffer(fs, &w, NULL);
        fuse_reply_write(req, w.len);
        return;
    }
    r = request_new(fs, req, finish_write);
    r->count = w.len;
    r->fh = fi->fh;
    r->dirs[0] = ino;
    if (is_committing(fs, ino, w.len, fi->flags))
        writeback_commit(fs, &w, r);
    else if (writeback_buffer(fs, &w, r))
        request_end(r, 0);
}
