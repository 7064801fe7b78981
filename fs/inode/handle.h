/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and directories. The number of a handle (fh) is never reused, not even by the next
 * daemon on this mount. So locks and buffers that belong to a handle cannot be taken for another's.
 * (The kernel does reuse lock owners.)
 *
 * Reader thread only, except the inode numbers of open files, which are also in struct opens. */
#ifndef FS_INODE_HANDLE_H
#define FS_INODE_HANDLE_H

#include <fcntl.h>

#include "base/base.h"
#include "fs/hash.h"
#include "fs/inode/opens.h"
#include "fs/kernel/ioctl_buffer.h"
#include "fs/lock/locks.h"

struct pass;

struct handle {
    uint64_t fh;
    uint64_t ino;
    int flags;         /* flags of open(2); O_APPEND may change, see the flags of each WRITE */
    int tid;           /* the thread that opened it; 0: unknown */
    bool gave_up;      /* its last write timed out */
    bool passes;       /* it only reads, through the page cache */
    unsigned errors;   /* number of lost writes of the file that were reported through this handle
                        * (fs/writeback/writeback.h) */
    struct pass *pass; /* NULL: none */
    struct ioctl_buffer *ioctl_buffer; /* NULL: none */
    struct handle_locks locks;
    UT_hash_handle hh;
};

struct handles {
    struct handle *table;
    uint64_t next;
    struct opens *opens; /* borrowed */
    size_t exchanged;    /* bytes of all ioctl buffers */
};

void handles_init(struct handles *hs, struct opens *opens);
void handles_fini(struct handles *hs);

/* Makes a handle of inode ino, opened with `flags` by thread tid. */
struct handle *handle_open(struct handles *hs, uint64_t ino, int flags, int tid);
/* Does nothing if there is no such handle. */
void handle_close(struct handles *hs, uint64_t fh);

/* NULL: there is no such handle. */
struct handle *handle_find(const struct handles *hs, uint64_t fh);

static inline bool handle_writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* True if content may have been changed through the handle, by a write or by O_TRUNC. */
static inline bool handle_changes(int flags)
{
    return handle_writes(flags) || (flags & O_TRUNC) != 0;
}

#endif
