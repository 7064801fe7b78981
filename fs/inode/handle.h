/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories. A handle's number (fh) is never used again, not even by the next run
 * of the daemon on this mount: locks and buffers that hang on it cannot be mistaken for another's
 * (lock owners, which the kernel reuses, can: fuse.md section 2).
 *
 * Reader thread only, but for the open files' inode numbers, which also stand in struct opens. */
#ifndef FS_INODE_HANDLE_H
#define FS_INODE_HANDLE_H

#include <fcntl.h>

#include "base/base.h"
#include "fs/hash.h"
#include "fs/inode/opens.h"
#include "fs/lock/locks.h"
#include "fs/ops/ioctl_buffer.h"

struct pass;

struct handle {
    uint64_t fh;
    uint64_t ino;
    int flags;    /* of open(2); O_APPEND may change: see the flags of each WRITE */
    int tid;      /* thread that opened it; 0: not known */
    bool gave_up; /* its last write timed out */
    bool passes;  /* it reads through the page cache, and nothing else */
    unsigned
        errors; /* lost writes of the file that it has been told of (fs/writeback/writeback.h) */
    struct pass *pass;                 /* NULL: none */
    struct ioctl_buffer *ioctl_buffer; /* NULL: none */
    struct handle_locks locks;
    UT_hash_handle hh;
};

struct handles {
    struct handle *table;
    uint64_t next;
    struct opens *opens; /* borrowed */
    size_t exchanged;    /* bytes of all exchanges */
};

void handles_init(struct handles *hs, struct opens *opens);
void handles_fini(struct handles *hs);

/* A new handle of inode ino, opened with `flags` by thread tid. */
struct handle *handle_open(struct handles *hs, uint64_t ino, int flags, int tid);
/* Does nothing when there is no such handle. */
void handle_close(struct handles *hs, uint64_t fh);

/* NULL: no such handle. */
struct handle *handle_find(const struct handles *hs, uint64_t fh);

static inline bool handle_writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* May content have been changed through it, by writing or by O_TRUNC? */
static inline bool handle_changes(int flags)
{
    return handle_writes(flags) || (flags & O_TRUNC) != 0;
}

#endif
