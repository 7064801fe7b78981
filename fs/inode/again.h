/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that walk a path again. ESTALE in answer to OPEN makes the kernel walk the path once more
 * and look each name up; a second ESTALE would be the result of open(2). So such a thread may open
 * the inode that it finds, even if an older name of that inode still waits for invalidation, or if
 * the next file has taken its place since: a name that is replaced is never absent. The inode is
 * not reaped until it is open.
 *
 * A small table: each record lasts from the ESTALE to the thread's next OPEN, and not long if there
 * is none. Reader thread only, except again_holds. */
#ifndef FS_INODE_AGAIN_H
#define FS_INODE_AGAIN_H

#include <pthread.h>

#include "base/base.h"

#define AGAIN_MAX 64
#define AGAIN_MS  10000

struct again {
    pthread_mutex_t lock;
    struct {
        int tid;      /* 0: unused */
        uint64_t ino; /* inode that it has found; 0: none yet */
        uint64_t end_ms;
    } threads[AGAIN_MAX];
    unsigned next;
};

void again_init(struct again *a);
void again_fini(struct again *a);

/* A request of the thread is answered ESTALE. */
void again_told(struct again *a, int tid);
/* The thread has looked a name up and found the inode; 0: nothing (it may ask for the name once
 * more). */
void again_found(struct again *a, int tid, uint64_t ino);
/* The thread's call has its final answer. */
void again_end(struct again *a, int tid);
/* The thread opens the inode, whatever the answer will be. True: it has walked again and found this
 * inode. */
bool again_take(struct again *a, int tid, uint64_t ino);
/* Any thread: true if a thread is about to open the inode. */
bool again_holds(struct again *a, uint64_t ino);

#endif
