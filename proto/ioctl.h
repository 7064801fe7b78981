/* SPDX-License-Identifier: Apache-2.0 */
/* ioctls on any file or directory of a mounted coordfs. A descriptor opened O_RDONLY is enough, for
 * every user: what they do is permitted or not as if the caller had done it through the directory
 * (user, groups and capabilities are the calling thread's, whatever is passed). EINTR and ETIMEDOUT
 * mean that a change may still be made. Anything else is ENOTTY.
 *
 * A structure holds no pointers, as the kernel hands over a fixed number of bytes only: longer
 * messages go in parts, that are kept with the open file description. */
#ifndef PROTO_IOCTL_H
#define PROTO_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

/* The barrier (promise P6): returns 0 when this host has everything that was committed anywhere
 * before the call, and all that is cached here shows it. EINTR, ETIMEDOUT. */
#define IOCTL_SYNC _IO(0xCF, 1)

/* Makes an empty file or a directory in the directory that the descriptor is of. */
#define IOCTL_CREATE_SEQUENTIAL        1u /* the next number is appended to the name */
#define IOCTL_CREATE_EPHEMERAL_SESSION 2u /* it goes with this host's session */
#define IOCTL_CREATE_EPHEMERAL_OPEN    4u /* it goes when nobody on this host has it open */

struct ioctl_create {
    uint32_t mode; /* type (0: a regular file) and permissions, as in mknod(2) and mkdir(2) */
    uint32_t umask;
    uint32_t flags;
    char name[260]; /* terminated; when it returns 0: the whole name. May be "" when sequential */
};

/* EEXIST, EACCES, EINVAL, EDQUOT …, as mkdir(2). */
#define IOCTL_CREATE _IOWR(0xCF, 2, struct ioctl_create)

struct ioctl_part {
    uint32_t len; /* of the bytes in use */
    uint8_t data[16376];
};

/* A transaction: the bytes of a message Txn (proto/command.proto) without `cred` and `dir`, which
 * are the caller's and the descriptor's inode. Appends a part. E2BIG: more than a log entry takes;
 * ENOBUFS: too much of that kind is waiting on this host. Either empties the buffer. */
#define IOCTL_TXN_PART _IOW(0xCF, 3, struct ioctl_part)

/* Runs what the parts make up, and empties the buffer. 0: it was applied, whatever the outcome,
 * which is in the reply: a message Reply of so many bytes. EBADMSG: the bytes are no transaction.
 */
#define IOCTL_TXN_RUN _IOR(0xCF, 4, uint32_t)

/* The next part of the reply; len 0: that was all. */
#define IOCTL_TXN_REPLY _IOR(0xCF, 5, struct ioctl_part)

/* The host's session, on which locks and ephemeral entries hang, while its lease holds; 0: what
 * hung on it may be lost by now. Answered at once. EIO: a lock that was held through this
 * descriptor is lost. */
#define IOCTL_LEASE _IOR(0xCF, 6, uint64_t)

/* On an open .coordfs/events: which changes it is to tell of, instead of all from now on. Each call
 * adds a path, up to WATCH_PATHS_MAX; the other fields count as they are in the last call. What was
 * not read yet is dropped. EINVAL, E2BIG; ENOTTY on anything else. */
struct ioctl_watch {
    uint64_t since;    /* WATCH_SINCE: all changes with a higher raft index */
    uint32_t flags;    /* WATCH_… */
    uint32_t path_len; /* of path, from the root of the filesystem: "/", "/a/b" */
    char path[4096];
};
#define WATCH_SINCE     1 /* else: from now on */
#define WATCH_RECURSIVE 2 /* all below the path, too */
#define WATCH_TEXT      4 /* lines for people, not JSON */
#define WATCH_PATHS_MAX 256
#define IOCTL_WATCH     _IOW(0xCF, 16, struct ioctl_watch)

#endif
