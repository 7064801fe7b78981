/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/io.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/limits.h"

/* The kernel wants room for the largest request and its header (fuse_dev_do_read). */
#define IO_BUF_SIZE (LIMIT_WRITE_MAX + 4096u)

#define IO_DIRECT_IO_ALLOW_MMAP (1ull << 36) /* from newer kernel headers */

/* Flags that we add to the reply to INIT if the kernel offers them.
 *
 *  - HANDLE_KILLPRIV_V2: the write request itself says that the setuid bit must be dropped. Without
 *    it the kernel asks for security.capability before each write, sends an extra chmod before some
 *    changes, and forgets the bit on O_TRUNC.
 *  - PARALLEL_DIROPS: look-ups in one directory do not wait for each other. libfuse 3.14 means to
 *    send the flag, but does not.
 *  - SETXATTR_EXT: a request that sets an ACL says whether the setgid bit must be dropped.
 *  - DIRECT_IO_ALLOW_MMAP: a file that is open for writing can be mapped shared. From Linux 6.6. */
static const struct {
    uint64_t flag;
    const char *name;
} io_flag_table[] = {
    {FUSE_PARALLEL_DIROPS, "PARALLEL_DIROPS"},
    {IO_DIRECT_IO_ALLOW_MMAP, "DIRECT_IO_ALLOW_MMAP"},
    {FUSE_HANDLE_KILLPRIV_V2, "HANDLE_KILLPRIV_V2"},
    {FUSE_SETXATTR_EXT, "SETXATTR_EXT"},
};

static const char *const io_opcodes[] = {
    [FUSE_LOOKUP] = "LOOKUP",
    [FUSE_FORGET] = "FORGET",
    [FUSE_GETATTR] = "GETATTR",
    [FUSE_SETATTR] = "SETATTR",
    [FUSE_READLINK] = "READLINK",
    [FUSE_SYMLINK] = "SYMLINK",
    [FUSE_MKNOD] = "MKNOD",
    [FUSE_MKDIR] = "MKDIR",
    [FUSE_UNLINK] = "UNLINK",
    [FUSE_RMDIR] = "RMDIR",
    [FUSE_RENAME] = "RENAME",
    [FUSE_LINK] = "LINK",
    [FUSE_OPEN] = "OPEN",
    [FUSE_READ] = "READ",
    [FUSE_WRITE] = "WRITE",
    [FUSE_STATFS] = "STATFS",
    [FUSE_RELEASE] = "RELEASE",
    [FUSE_FSYNC] = "FSYNC",
    [FUSE_SETXATTR] = "SETXATTR",
    [FUSE_GETXATTR] = "GETXATTR",
    [FUSE_LISTXATTR] = "LISTXATTR",
    [FUSE_REMOVEXATTR] = "REMOVEXATTR",
    [FUSE_FLUSH] = "FLUSH",
    [FUSE_INIT] = "INIT",
    [FUSE_OPENDIR] = "OPENDIR",
    [FUSE_READDIR] = "READDIR",
    [FUSE_RELEASEDIR] = "RELEASEDIR",
    [FUSE_FSYNCDIR] = "FSYNCDIR",
    [FUSE_GETLK] = "GETLK",
    [FUSE_SETLK] = "SETLK",
    [FUSE_SETLKW] = "SETLKW",
    [FUSE_ACCESS] = "ACCESS",
    [FUSE_CREATE] = "CREATE",
    [FUSE_INTERRUPT] = "INTERRUPT",
    [FUSE_BMAP] = "BMAP",
    [FUSE_DESTROY] = "DESTROY",
    [FUSE_IOCTL] = "IOCTL",
    [FUSE_POLL] = "POLL",
    [FUSE_NOTIFY_REPLY] = "NOTIFY_REPLY",
    [FUSE_BATCH_FORGET] = "BATCH_FORGET",
    [FUSE_FALLOCATE] = "FALLOCATE",
    [FUSE_READDIRPLUS] = "READDIRPLUS",
    [FUSE_RENAME2] = "RENAME2",
    [FUSE_LSEEK] = "LSEEK",
    [FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
};

void io_init(struct io *io, int dev_fd, bool debug)
{
    memset(io, 0, sizeof(*io));
    io->dev_fd = dev_fd;
    io->debug = debug;
    io->buf_len = IO_BUF_SIZE;
    io->buf = xmalloc(io->buf_len);
    atomic_init(&io->ready, false);
    atomic_init(&io->n_requests, 0);
}

void io_fini(struct io *io)
{
    free(io->buf);
}

static const struct fuse_in_header *io_header(const struct io *io)
{
    return (const struct fuse_in_header *)(const void *)io->buf;
}

/* The body of the current request, if it has at least `size` bytes. */
static const void *io_body(const struct io *io, size_t size)
{
    if (io->request_len < sizeof(struct fuse_in_header) + size)
        return NULL;
    return io->buf + sizeof(struct fuse_in_header);
}

static void io_note_init(struct io *io)
{
    const struct fuse_init_in *in = io_body(io, 2 * sizeof(uint32_t) * 2);

    if (in == NULL || in->major != FUSE_KERNEL_VERSION)
        return; /* another major version: the kernel sends a second INIT */
    io->init_unique = io_header(io)->unique;
    io->minor = in->minor;
    io->offered = in->flags;
    if ((in->flags & FUSE_INIT_EXT) != 0 && io_body(io, sizeof(*in)) != NULL)
        io->offered |= (uint64_t)in->flags2 << 32;
}

static const char *io_opcode_name(uint32_t opcode)
{
    return opcode < ARRAY_LEN(io_opcodes) && io_opcodes[opcode] != NULL ? io_opcodes[opcode] : "?";
}

/* libfuse does not know the longer form and would take its second half for the name. */
static void io_narrow_setxattr(struct io *io)
{
    const size_t extra = sizeof(struct fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
    struct fuse_in_header *in = (struct fuse_in_header *)(void *)io->buf;
    const struct fuse_setxattr_in *body = io_body(io, sizeof(*body));
    uint8_t *rest = io->buf + sizeof(*in) + FUSE_COMPAT_SETXATTR_IN_SIZE;

    if (body == NULL)
        return;
    io->setxattr_flags = body->setxattr_flags;
    memmove(rest, rest + extra, io->request_len - sizeof(*in) - sizeof(*body));
    io->request_len -= extra;
    in->len = (uint32_t)io->request_len;
}

int io_read(struct io *io)
{
    const struct fuse_in_header *in = io_header(io);
    ssize_t n = read(io->dev_fd, io->buf, io->buf_len);

    if (n < 0) {
        /* ENOENT: the request was interrupted before we read it. */
        if (errno == EAGAIN || errno == EINTR || errno == ENOENT)
            return 0;
        return -errno;
    }
    if ((size_t)n < sizeof(*in))
        return -EIO;
    io->request_len = (size_t)n;
    atomic_fetch_add_explicit(&io->n_requests, 1, memory_order_relaxed);
    if (in->opcode == FUSE_INIT)
        io_note_init(io);
    if (in->opcode == FUSE_SETXATTR && (io->granted & FUSE_SETXATTR_EXT) != 0)
        io_narrow_setxattr(io);
    if (io->debug)
        log_debug("fuse: %llu %s(%u) node %llu pid %u, %zd bytes", (unsigned long long)in->unique,
                  io_opcode_name(in->opcode), in->opcode, (unsigned long long)in->nodeid, in->pid,
                  n);
    return 1;
}

uint32_t io_opcode(const struct io *io)
{
    return io_header(io)->opcode;
}

uint64_t io_node(const struct io *io)
{
    return io_header(io)->nodeid;
}

int io_pid(const struct io *io)
{
    return (int)io_header(io)->pid;
}

const char *io_lookup_name(const struct io *io)
{
    const char *name = io_body(io, 1);

    return name != NULL && memchr(name, '\0', io->request_len - sizeof(struct fuse_in_header))
               ? name
               : "";
}

void io_answer(struct io *io, int error)
{
    struct fuse_out_header out = {
        .len = sizeof(out), .error = -error, .unique = io_header(io)->unique};
    struct iovec iov = {.iov_base = &out, .iov_len = sizeof(out)};
    uint32_t opcode = io_opcode(io);

    if (opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT)
        io_writev(io, &iov, 1);
}

int io_refuse(struct io *io, int error)
{
    int got = io_read(io);

    if (got > 0)
        io_answer(io, error);
    return got;
}

bool io_kill_suid(const struct io *io)
{
    const struct fuse_write_in *write_in;
    const struct fuse_open_in *open_in;
    const struct fuse_create_in *create_in;

    switch (io_header(io)->opcode) {
    case FUSE_WRITE:
        write_in = io_body(io, sizeof(*write_in));
        return write_in != NULL && (write_in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    case FUSE_OPEN:
        open_in = io_body(io, sizeof(*open_in));
        return open_in != NULL && (open_in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
    case FUSE_CREATE:
        create_in = io_body(io, sizeof(*create_in));
        return create_in != NULL && (create_in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
    default:
        return false;
    }
}

bool io_kill_sgid(const struct io *io)
{
    return (io->granted & FUSE_SETXATTR_EXT) != 0 &&
           (io->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) != 0;
}

bool io_maps_direct(const struct io *io)
{
    return (io->granted & IO_DIRECT_IO_ALLOW_MMAP) != 0;
}

static void io_patch_init(struct io *io, struct fuse_init_out *out)
{
    uint64_t flags = out->flags | (uint64_t)out->flags2 << 32;

    for (unsigned i = 0; i < ARRAY_LEN(io_flag_table); i++)
        if ((io->offered & io_flag_table[i].flag) != 0)
            flags |= io_flag_table[i].flag;
        else
            log_debug("fuse: this kernel does not offer %s", io_flag_table[i].name);
    if (flags >> 32 != 0)
        flags |= FUSE_INIT_EXT;
    io->granted = flags;
    out->flags = (uint32_t)flags;
    out->flags2 = (uint32_t)(flags >> 32);
}

static ssize_t io_writev_all(struct io *io, struct iovec *iov, int count)
{
    ssize_t n;

    do
        n = writev(io->dev_fd, iov, count);
    while (n < 0 && errno == EINTR);
    return n;
}

/* The kernel did not take the reply (too long, or not of the expected form): the waiting caller
 * gets EIO. */
static void io_refused(struct io *io, const struct fuse_out_header *out)
{
    struct fuse_out_header sorry = {.len = sizeof(sorry), .error = -EIO, .unique = out->unique};
    struct iovec iov = {.iov_base = &sorry, .iov_len = sizeof(sorry)};

    log_error("fuse: the kernel refuses a reply of %u bytes (error %d): %s", out->len, out->error,
              strerror(errno));
    if (io_writev_all(io, &iov, 1) < 0 && errno != ENOENT && errno != ENODEV)
        log_error("fuse: a request stays without a reply: %s", strerror(errno));
}

ssize_t io_writev(struct io *io, struct iovec *iov, int count)
{
    const struct fuse_out_header *out = iov[0].iov_base;
    bool is_init = out->unique != 0 && out->unique == io->init_unique && !atomic_load(&io->ready);
    ssize_t n;

    if (is_init && count == 2 && iov[1].iov_len >= sizeof(struct fuse_init_out))
        io_patch_init(io, iov[1].iov_base);
    if (io->debug)
        log_debug("fuse: %llu answered %d, %u bytes", (unsigned long long)out->unique, out->error,
                  out->len);
    n = io_writev_all(io, iov, count);
    if (n >= 0) {
        if (is_init && out->error == 0)
            atomic_store(&io->ready, true);
        return n;
    }
    /* A notification has no unique number; its caller handles the error. */
    if (out->unique == 0)
        return -1;
    if (errno != ENOENT && errno != ENODEV)
        io_refused(io, out);
    errno = ENOENT;
    return -1;
}
