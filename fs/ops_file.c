#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/convert.h"
#include "fs/ops.h"
#include "proto/limits.h"

static bool writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* Who writes sees the store itself; who only reads may map the file (and execute it), and the
 * kernel drops its pages when a file's time or size has changed. */
void ops_open_mode(struct fuse_file_info *fi)
{
    fi->direct_io = writes(fi->flags);
    fi->keep_cache = 0;
}

static void reply_open(struct fs *fs, fuse_req_t req, uint64_t ino, int flags)
{
    struct fuse_file_info fi = {.flags = flags};

    ops_open_mode(&fi);
    fi.fh = handle_open(&fs->handles, ino, flags, fuse_req_ctx(req)->pid);
    if (fuse_reply_open(req, &fi) != 0)
        handle_close(&fs->handles, fi.fh);
}

static void finish_open(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        reply_open(r->fs, r->req, r->ino, r->flags);
}

/* The truncation that O_TRUNC asks for, as a command that only truncates. */
static void submit_truncate(struct request *r, bool kill_suid)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Write write = CFS__WRITE__INIT;

    write.ino = r->ino;
    write.truncate = true;
    write.kill_suid = kill_suid;
    command.op_case = CFS__COMMAND__OP_WRITE;
    command.write = &write;
    request_submit(r, &command);
}

/* Is this a way to an unlinked file that may be opened: one that is open here already, and reached
 * through /proc/PID/fd, not by a name that is gone? */
static bool may_reopen(struct fs *fs, fuse_req_t req, uint64_t ino)
{
    return node_insists(&fs->nodes, ino, fuse_req_ctx(req)->pid) &&
           opens_count(&fs->opens, ino) > 0;
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error = ops_attr(fs, ino, &attr);
    struct request *r;

    if (error == 0 && attr.nlink == 0 && !may_reopen(fs, req, ino))
        error = ESTALE;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    /* Truncating an empty file changes nothing (`exec 9>lock` does it each time). */
    if ((fi->flags & O_TRUNC) == 0 || attr.size == 0) {
        reply_open(fs, req, ino, fi->flags);
        return;
    }
    r = request_new(fs, req, finish_open);
    r->ino = ino;
    r->flags = fi->flags;
    submit_truncate(r, io_kill_suid(&fs->io));
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    size_t len = min_u64(size, LIMIT_WRITE_MAX);
    int64_t n;

    (void)fi;
    n = fs->backend.ops->read(fs->backend.ctx, ino, (uint64_t)off, fs->scratch, len);
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

/* Where a write would end; an append's offset is the kernel's idea of the size, which may be old:
 * apply looks again. */
static int check_end(struct fs *fs, uint64_t off, size_t size)
{
    return off > fs->options.file_max || size > fs->options.file_max - off ? EFBIG : 0;
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
               struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Write write = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT, *extents = &extent;
    int error = check_end(fs, (uint64_t)off, size);
    struct request *r;

    if (error == 0 && size > LIMIT_WRITE_MAX)
        error = EINVAL; /* more than max_write */
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    extent.offset = (uint64_t)off;
    extent.data = convert_bytes(data, size);
    write.ino = ino;
    write.append = (fi->flags & O_APPEND) != 0;
    write.kill_suid = io_kill_suid(&fs->io);
    write.n_extents = 1;
    write.extents = &extents;
    command.op_case = CFS__COMMAND__OP_WRITE;
    command.write = &write;
    r = request_new(fs, req, finish_write);
    r->count = size;
    request_submit(r, &command);
}

/* Nothing is ever left to write: each write is committed before it returns. */
void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_err(req, 0);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    handle_close(&fs_of(req)->handles, fi->fh);
    fuse_reply_err(req, 0);
}

static void finish_fsync(struct request *r, int error)
{
    fuse_reply_err(r->req, error);
}

/* Promise P6: a barrier. Also for directories. */
void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
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
