/* SPDX-License-Identifier: Apache-2.0 */
/* The wire to the kernel: reading requests from /dev/fuse, and libfuse's writes to it.
 *
 * libfuse 3.14 does not pass on all that the protocol says. What is missing is added here:
 *  - the reply to INIT gets the flags that this libfuse does not know (io_flag_table in io.c);
 *  - flags of a request that libfuse drops (setuid killing) can be asked for while it is handled;
 *  - SETXATTR in its longer form (SETXATTR_EXT), which tells when setgid is to be dropped, is
 * handed to libfuse in the short one.
 *
 * Reader thread only, except io_writev. */
#ifndef FS_KERNEL_IO_H
#define FS_KERNEL_IO_H

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"

struct io {
    int dev_fd; /* /dev/fuse, non-blocking; borrowed */
    uint8_t *buf;
    size_t buf_len;
    size_t request_len;      /* of the request in buf */
    uint64_t init_unique;    /* of the INIT request; 0: not seen yet */
    uint64_t offered;        /* what the kernel offered in it (FUSE_* flags, both words) */
    uint64_t granted;        /* what our reply said in the end */
    uint32_t setxattr_flags; /* of the last SETXATTR */
    uint32_t minor;          /* version of the protocol that the kernel speaks */
    atomic_bool ready;       /* INIT was answered */
    atomic_uint_fast64_t n_requests;
    bool debug;
};

void io_init(struct io *io, int dev_fd, bool debug);
void io_fini(struct io *io);

/* Can a file that is read past the page cache be mapped shared? */
bool io_maps_direct(const struct io *io);

/* Reads the next request into buf: 1, 0 when there is none now, or -errno: -ENODEV when the
 * filesystem was unmounted or the connection aborted. */
int io_read(struct io *io);

/* Of the request in buf: what it is, on which node; the name that a LOOKUP looks up. */
uint32_t io_opcode(const struct io *io);
uint64_t io_node(const struct io *io);
int io_pid(const struct io *io); /* of the caller's thread; 0: none */
const char *io_lookup_name(const struct io *io);
/* Answers the request in buf with errno `error`, instead of libfuse. */
void io_answer(struct io *io, int error);

/* Reads a request, if there is one, and answers it with errno `error`. As io_read. */
int io_refuse(struct io *io, int error);

/* For libfuse: as writev(2); errno ENOENT when nobody waits for the reply (any more). A reply that
 * the kernel refuses is replaced by EIO: nobody may wait for ever. */
ssize_t io_writev(struct io *io, struct iovec *iov, int count);

/* Of the request being handled: did the kernel ask to drop setuid and setgid with it? (WRITE, OPEN
 * and CREATE with O_TRUNC; for SETATTR libfuse tells.) */
bool io_kill_suid(const struct io *io);
/* The same, of SETXATTR with an access ACL, for setgid. */
bool io_kill_sgid(const struct io *io);

#endif
