/* SPDX-License-Identifier: Apache-2.0 */
/* The ioctls of coordfs: what a program can ask of a mounted coordfs beyond the file system calls.
 * Installed as <coordfs/ioctl.h>. C and C++; needs only the C library and Linux.
 *
 * Descriptor   Any file or directory of the mount, opened O_RDONLY or better; not O_PATH. Any user
 *              may call. COORDFS_IOC_WATCH works on .coordfs/events only.
 * Permissions  A change is permitted if the calling thread could have made it through the
 *              directory with system calls: its user, its groups and its capabilities count.
 * Threads      Any. The buffers of a transaction belong to the open file description: threads and
 *              processes that share one must not run transactions through it at the same time.
 * Result       0, or -1 and errno: the errors listed at each ioctl, and these:
 *     EIO        this host lost its session, and with it a lock held through this descriptor;
 *                close the descriptor and open it again
 *     EINTR      a signal came first: the change may still be made, or may have been made
 *     ETIMEDOUT  the cluster did not answer in time: the same
 *     ENOTTY     not an ioctl of coordfs, or not one for this kind of file
 *
 * The structures hold no pointers, because the kernel passes a fixed number of bytes to a FUSE
 * server. Longer messages are passed in chunks. All integers have the host's byte order. */
#ifndef COORDFS_IOCTL_H
#define COORDFS_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

/* ---- Barrier ---- */

/* Waits until this host has applied everything that any host had committed before the call, and
 * until this host's page cache and dentry cache show it (promise P6). What this host has written
 * before is committed first. No argument. */
#define COORDFS_IOC_SYNC _IO(0xCF, 1)

/* ---- Sequential and ephemeral entries ---- */

/* Flags of struct coordfs_ioc_create. The two kinds of ephemeral exclude one another. */
#define COORDFS_IOC_CREATE_SEQUENTIAL 1u /* append the directory's next number to the name */
/* The entry is removed when this host's session ends. */
#define COORDFS_IOC_CREATE_EPHEMERAL_SESSION 2u
/* The entry is removed when no process of this host has it open any more. */
#define COORDFS_IOC_CREATE_EPHEMERAL_OPEN 4u

struct coordfs_ioc_create {
    uint32_t mode;  /* S_IFREG (or 0) or S_IFDIR, and permission bits, as for mknod(2), mkdir(2) */
    uint32_t umask; /* cleared from the permissions, unless the directory has a default ACL */
    uint32_t flags; /* COORDFS_IOC_CREATE_… */
    /* In: the name, ended by a NUL; may be empty with COORDFS_IOC_CREATE_SEQUENTIAL.
     * Out: the whole name that was created. */
    char name[260];
};

/* Creates an empty file or directory in the directory that the descriptor refers to. Errors are
 * those of mkdir(2) (EEXIST, EACCES, ENOSPC, EDQUOT, EROFS, …). EINVAL: unknown flags, another
 * type, a '/' in the name, or no name. ENAMETOOLONG: the name is longer than 255 bytes. EDQUOT also
 * means: the session has too many ephemeral entries. */
#define COORDFS_IOC_CREATE _IOWR(0xCF, 2, struct coordfs_ioc_create)

/* ---- Transactions ----
 *
 * Several changes and conditions, all applied or none. Append the request in chunks, run it, then
 * fetch the reply in chunks:
 *
 *     while (bytes are left)
 *         ioctl(fd, COORDFS_IOC_TXN_APPEND, &chunk);
 *     ioctl(fd, COORDFS_IOC_TXN_RUN, &reply_len);
 *     do
 *         ioctl(fd, COORDFS_IOC_TXN_REPLY, &chunk);
 *     while (chunk.len > 0);
 *
 * The request is a protobuf message Txn, the reply a message Reply (proto/command.proto). */

struct coordfs_ioc_chunk {
    uint32_t len; /* bytes of data in use */
    uint8_t data[16376];
};

/* Appends a chunk to the request. The message Txn must not set `cred` and `dir`: they are the
 * caller's and the descriptor's inode. EINVAL: len is larger than data. E2BIG: the request is
 * larger than a log entry. ENOBUFS: this host's programs have too many unfinished requests. EBADF:
 * the descriptor cannot carry transactions. E2BIG and ENOBUFS drop the request. */
#define COORDFS_IOC_TXN_APPEND _IOW(0xCF, 3, struct coordfs_ioc_chunk)

/* Runs the request and drops it. Returns 0 when the transaction was decided, also when a condition
 * failed: the outcome is in the reply, whose length in bytes is stored in the argument. EBADMSG:
 * the request is not a transaction. E2BIG: too large with the caller's groups. EROFS: read-only
 * mount. */
#define COORDFS_IOC_TXN_RUN _IOR(0xCF, 4, uint32_t)

/* Takes the next chunk of the reply. len is 0 when all of it was taken. */
#define COORDFS_IOC_TXN_REPLY _IOR(0xCF, 5, struct coordfs_ioc_chunk)

/* ---- Session ---- */

/* Stores the number of this host's session, while the host holds its lease; else 0: the session may
 * have expired, and its locks and ephemeral entries may be gone. Answers without asking other
 * hosts. */
#define COORDFS_IOC_LEASE _IOR(0xCF, 6, uint64_t)

/* ---- Watching changes ---- */

/* Flags of struct coordfs_ioc_watch. */
#define COORDFS_IOC_WATCH_SINCE     1u   /* start after the raft index `since`, not with now */
#define COORDFS_IOC_WATCH_RECURSIVE 2u   /* also report everything below the path */
#define COORDFS_IOC_WATCH_TEXT      4u   /* lines of text for people, not JSON */
#define COORDFS_IOC_WATCH_PATHS_MAX 256u /* paths of one descriptor */

struct coordfs_ioc_watch {
    uint64_t since;    /* with COORDFS_IOC_WATCH_SINCE: report changes with a higher raft index */
    uint32_t flags;    /* COORDFS_IOC_WATCH_… */
    uint32_t path_len; /* bytes of path, 1 … 4096; no NUL is needed */
    char path[4096];   /* from the root of the filesystem: "/", "/a/b"; no '/' at the end */
};

/* Limits an open .coordfs/events to changes of this path and, of a directory, of its entries. Each
 * call adds a path; since, WATCH_SINCE and WATCH_TEXT of the last call count. Drops lines that were
 * not read yet. EINVAL: unknown flags, a malformed path. E2BIG: too many paths. ENOTTY: the
 * descriptor is not of .coordfs/events. */
#define COORDFS_IOC_WATCH _IOW(0xCF, 16, struct coordfs_ioc_watch)

#endif
