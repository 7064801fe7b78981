/* Open files and directories. A handle's number (fh) is never used again, not even by the next run
 * of the daemon on this mount: locks and buffers that hang on it cannot be mistaken for another's
 * (lock owners, which the kernel reuses, can: fuse.md section 2).
 *
 * Reader thread only, but for the open files' inode numbers, which also stand in struct opens. */
#ifndef FS_HANDLE_H
#define FS_HANDLE_H

#include "base/base.h"
#include "fs/opens.h"

struct handle;

struct handles {
    struct handle *table;
    uint64_t next;
    struct opens *opens; /* borrowed */
};

void handles_init(struct handles *hs, struct opens *opens);
void handles_fini(struct handles *hs);

/* A new handle of inode ino, opened with `flags` by thread tid. Its number. */
uint64_t handle_open(struct handles *hs, uint64_t ino, int flags, int tid);
/* Does nothing when there is no such handle. */
void handle_close(struct handles *hs, uint64_t fh);

/* The inode of an open handle; 0: no such handle. */
uint64_t handle_ino(const struct handles *hs, uint64_t fh);

#endif
