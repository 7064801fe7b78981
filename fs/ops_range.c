/* Holes, and ranges of a file. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fs/ops.h"
#include "proto/limits.h"

/* ---- SEEK_DATA and SEEK_HOLE ---- */

/* A file with a draft is all content: that is always allowed. */
static int64_t seek_in_draft(uint64_t size, uint64_t off, bool hole)
{
    if (off >= size)
        return -ENXIO;
    return (int64_t)(hole ? size : off);
}

void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    const struct backend *b = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;
    bool hole = whence == SEEK_HOLE;
    int64_t n = -ops_attr(fs, ino, &attr);

    (void)fi;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        n = -EINVAL; /* the kernel knows the others itself */
    else if (n == 0 && off < 0)
        n = -ENXIO;
    else if (n == 0 && (b->ops->seek == NULL || draft_exists(fs, ino)))
        n = seek_in_draft(attr.size, (uint64_t)off, hole);
    else if (n == 0)
        n = b->ops->seek(b->ctx, ino, (uint64_t)off, hole);
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_lseek(req, n);
}

/* ---- fallocate ----------------------------------------------------------------------------------
 * Room is not reserved: a replicated tree has its limits checked when data come. What programs see
 * is kept: the size grows, ranges become zeros. */

static void finish_range(struct request *r, int error)
{
    fuse_reply_err(r->req, error);
}

/* The file is to have at least this size, whatever other hosts do meanwhile. */
static void submit_growth(struct request *r, uint64_t ino, uint64_t size)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__SetAttr set = CFS__SET_ATTR__INIT;

    set.ino = ino;
    set.set_size = true;
    set.grow_only = true;
    set.size = size;
    command.op_case = CFS__COMMAND__OP_SET_ATTR;
    command.set_attr = &set;
    draft_submit(r->fs, ino);
    request_submit(r, &command);
}

/* Zeros, as any other write; r ends when they are committed. */
static void write_zeros(struct request *r, uint64_t ino, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[LIMIT_WRITE_MAX];
    struct draft_write w = {.ino = ino, .tid = fuse_req_ctx(r->req)->pid, .data = zeros};

    for (; len > sizeof(zeros); off += sizeof(zeros), len -= sizeof(zeros)) {
        w.offset = off;
        w.len = sizeof(zeros);
        draft_buffer(r->fs, &w, NULL);
    }
    w.offset = off;
    w.len = len;
    draft_commit(r->fs, &w, r);
}

static int check_range(struct fs *fs, int mode, off_t off, off_t len)
{
    const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

    if ((mode & ~known) != 0)
        return EOPNOTSUPP;
    if (off < 0 || len <= 0)
        return EINVAL;
    return (uint64_t)off > fs->options.file_max ||
                   (uint64_t)len > fs->options.file_max - (uint64_t)off
               ? EFBIG
               : 0;
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                   struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    Cfs__Attr attr = CFS__ATTR__INIT;
    bool zero = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
    bool grow = (mode & FALLOC_FL_KEEP_SIZE) == 0;
    uint64_t from = (uint64_t)off, to = from + (uint64_t)len;
    int error = ops_attr(fs, ino, &attr);
    struct request *r;

    if (error == 0)
        error = ops_handle_error(fs, handle_find(&fs->handles, fi->fh));
    if (error == 0)
        error = check_range(fs, mode, off, len);
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    r = request_new(fs, req, finish_range);
    r->dirs[0] = ino;
    if (zero && from < attr.size)
        write_zeros(r, ino, from, (grow ? to : min_u64(to, attr.size)) - from);
    else if (grow)
        submit_growth(r, ino, to);
    else
        request_end(r, 0);
}
