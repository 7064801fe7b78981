/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of files. Earlier writes are submitted first: a session's commands are applied in the
 * order of their submission, so nothing needs to wait. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fs/ops/ops.h"

/* FUSE has no flag here that says that setuid and setgid must be cleared, as it has for writes. A
 * local filesystem spares only callers that may change a file's setgid: root. */
static Cfs__Kill kill_of(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    return ops_kill(fs, req, ino, fuse_req_ctx(req)->uid != 0);
}

/* Continues when the kernel has dropped its old pages of r->ino. */
static void finish_after_pages(struct request *r, request_finish finish)
{
    struct request *next = request_next(r, finish);

    if (!lane_wait_inode(r->fs, r->ino, next))
        request_end(next, 0);
}

/* ---- fallocate ------------------------------------------------------------------------------- */

static void finish_fallocate_pages(struct request *r, int error)
{
    (void)error; /* it was done */
    fuse_reply_err(r->req, 0);
}

static void finish_fallocate(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        finish_after_pages(r, finish_fallocate_pages);
}

static const struct {
    int flags;
    Cfs__Fallocate__Mode mode;
} fallocate_modes[] = {
    {0, CFS__FALLOCATE__MODE__ALLOCATE},
    {FALLOC_FL_KEEP_SIZE, CFS__FALLOCATE__MODE__KEEP_SIZE},
    {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, CFS__FALLOCATE__MODE__PUNCH_HOLE},
    {FALLOC_FL_ZERO_RANGE, CFS__FALLOCATE__MODE__ZERO_RANGE},
    {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, CFS__FALLOCATE__MODE__ZERO_KEEP_SIZE},
};

static int check_fallocate(struct fs *fs, int flags, uint64_t offset, uint64_t len,
                           Cfs__Fallocate__Mode *out)
{
    for (size_t i = 0; i < ARRAY_LEN(fallocate_modes); i++) {
        if (fallocate_modes[i].flags != flags)
            continue;
        *out = fallocate_modes[i].mode;
        if (*out != CFS__FALLOCATE__MODE__PUNCH_HOLE &&
            (offset > fs->options.file_max || len > fs->options.file_max - offset))
            return EFBIG;
        return 0;
    }
    return EOPNOTSUPP;
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                   struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Fallocate fallocate = CFS__FALLOCATE__INIT;
    int error = offset < 0 || length <= 0 ? EINVAL : 0;
    struct request *r;

    if (error == 0)
        error = ops_handle_error(fs, handle_find(&fs->handles, fi->fh));
    if (error == 0)
        error = check_fallocate(fs, mode, (uint64_t)offset, (uint64_t)length, &fallocate.mode);
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    writeback_submit(fs, ino);
    fallocate.ino = ino;
    fallocate.offset = (uint64_t)offset;
    fallocate.len = (uint64_t)length;
    fallocate.kill = kill_of(fs, req, ino);
    command.op_case = CFS__COMMAND__OP_FALLOCATE;
    command.fallocate = &fallocate;
    r = request_new(fs, req, finish_fallocate);
    r->ino = r->dirs[0] = ino;
    r->session = locks_bound(handle_find(&fs->handles, fi->fh));
    request_submit(r, &command);
}

/* ---- copy_file_range ------------------------------------------------------------------------- */

static void finish_copy_pages(struct request *r, int error)
{
    (void)error; /* it was done */
    fuse_reply_write(r->req, r->count);
}

/* r->flags: a truncation that waited for content was included. */
static void finish_copy(struct request *r, int error)
{
    if (error == 0) {
        r->count = r->call.value;
        finish_after_pages(r, finish_copy_pages);
        return;
    }
    if (r->flags != 0)
        writeback_keep_truncate(r->fs, r->ino);
    fuse_reply_err(r->req, error);
}

static void submit_copy(struct fs *fs, fuse_req_t req, Cfs__Copy *copy, uint64_t session)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    struct request *r = request_new(fs, req, finish_copy);
    Cfs__Kill kill = kill_of(fs, req, copy->dst);

    writeback_submit(fs, copy->src);
    if (writeback_take_truncate(fs, copy->dst, &kill))
        copy->truncate = true;
    else
        writeback_submit(fs, copy->dst);
    copy->kill = kill;
    command.op_case = CFS__COMMAND__OP_COPY;
    command.copy = copy;
    r->ino = r->dirs[0] = copy->dst;
    r->flags = copy->truncate;
    r->session = session;
    request_submit(r, &command);
}

void ops_copy_file_range(fuse_req_t req, fuse_ino_t src, off_t src_offset,
                         struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_offset,
                         struct fuse_file_info *dst_fi, size_t len, int flags)
{
    struct fs *fs = fs_of(req);
    Cfs__Copy copy = CFS__COPY__INIT;
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error = src_offset < 0 || dst_offset < 0 || flags != 0 ? EINVAL : 0;

    (void)src_fi;
    if (error == 0)
        error = ops_handle_error(fs, handle_find(&fs->handles, dst_fi->fh));
    if (error == 0)
        error = attr_get(fs, src, &attr);
    if (error == 0) {
        copy.src = src;
        copy.src_offset = (uint64_t)src_offset;
        copy.dst = dst;
        copy.dst_offset = (uint64_t)dst_offset;
        copy.len = copy.src_offset < attr.size ? min_u64(len, attr.size - copy.src_offset) : 0;
        if (copy.len > 0)
            error = ops_limit(fs, copy.dst_offset, &copy.len);
    }
    if (error != 0)
        fuse_reply_err(req, error);
    else if (copy.len == 0)
        fuse_reply_write(req, 0);
    else
        submit_copy(fs, req, &copy, locks_bound(handle_find(&fs->handles, dst_fi->fh)));
}

/* ---- SEEK_DATA, SEEK_HOLE -------------------------------------------------------------------- */

static void lseek_now(struct fs *fs, fuse_req_t req, uint64_t ino, uint64_t offset, bool hole)
{
    int64_t at = fs->backend.ops->seek(fs->backend.ctx, ino, offset, hole);

    if (at < 0)
        fuse_reply_err(req, (int)-at);
    else
        fuse_reply_lseek(req, (off_t)at);
}

/* The store's answer does not show uncommitted content. If it cannot be committed now, the whole
 * file counts as content, which is always allowed. */
static void finish_lseek(struct request *r, int error)
{
    bool hole = r->flags == SEEK_HOLE;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (!writeback_exists(r->fs, r->ino)) {
        lseek_now(r->fs, r->req, r->ino, r->count, hole);
        return;
    }
    if (error != EINTR)
        error = attr_get(r->fs, r->ino, &attr);
    if (error == 0 && r->count >= attr.size)
        error = ENXIO;
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        fuse_reply_lseek(r->req, (off_t)(hole ? attr.size : r->count));
}

void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct request *r;

    (void)fi;
    if (off < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, off < 0 ? ENXIO : EINVAL);
        return;
    }
    if (!writeback_exists(fs, ino)) {
        lseek_now(fs, req, ino, (uint64_t)off, whence == SEEK_HOLE);
        return;
    }
    writeback_submit(fs, ino);
    r = request_new(fs, req, finish_lseek);
    r->ino = r->dirs[0] = ino;
    r->count = (size_t)off;
    r->flags = whence;
    if (!writeback_wait(fs, ino, r))
        request_end(r, 0);
}
