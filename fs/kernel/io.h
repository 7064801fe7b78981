/* SPDX-License-Identifier: Apache-2.0 */
/* The wire to the kernel: it reads requests from /dev/fuse and carries libfuse's replies to it.
 *
 * libfuse 3.14 does not pass on everything that the protocol offers. This module adds:
 *  - flags in the reply to INIT that this libfuse does not know (io_flag_table in io.c);
 *  - flags of a request that libfuse drops (setuid killing): a handler can ask for them while it
 *    handles the request;
 *  - the longer form of SETXATTR (SETXATTR_EXT), which says whether setgid must be dropped: libfuse
 *    gets the short form.
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
    size_t request_len;      /* bytes of the request in buf */
    uint64_t init_unique;    /* of the INIT request; 0: not seen yet */
    uint64_t offered;        /* flags that the kernel offered in it (FUSE_*, both words) */
    uint64_t granted;        /* flags that our reply contained */
    uint32_t setxattr_flags; /* of the last SETXATTR */
    uint32_t minor;          /* protocol version of the kernel */
    atomic_bool ready;       /* INIT was answered */
    atomic_uint_fast64_t n_requests;
    bool debug;
};

void io_init(struct io *io, int dev_fd, bool debug);
void io_fini(struct io *io);

/* True if a file that is read past the page cache can be mapped shared. */
bool io_maps_direct(const struct io *io);

/* Reads the next request into buf: 1, 0 if there is none now, or -errno. -ENODEV: the filesystem
 * was unmounted or the connection aborted. */
int io_read(struct io *io);

/* About the request in buf: its operation, its node, the name that a LOOKUP looks up. */
uint32_t io_opcode(const struct io *io);
uint64_t io_node(const struct io *io);
int io_pid(const struct io *io); /* of the calling thread; 0: none */
const char *io_lookup_name(const struct io *io);
/* Answers the request in buf with errno `error`. libfuse never sees the request. */
void io_answer(struct io *io, int error);

/* Reads a request, if there is one, and answers it with errno `error`. Returns as io_read. */
int io_refuse(struct io *io, int error);

/* For libfuse: as writev(2). errno ENOENT if the reply is no longer awaited. If the kernel
 * refuses a reply, EIO replaces it: no caller may wait permanently. */
ssize_t io_writev(struct io *io, struct iovec *iov, int count);

/* True if the kernel asks to drop setuid and setgid with the current request (WRITE, OPEN and
 * CREATE with O_TRUNC; for SETATTR libfuse passes the flag on). */
bool io_kill_suid(const struct io *io);
/* The same for SETXATTR of an access ACL: drop setgid. */
bool io_kill_sgid(const struct io *io);

#endif
