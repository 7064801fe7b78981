/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that walk a path again. The answer ESTALE to OPEN makes the kernel walk the path once
 * more, and look each name up; but a second ESTALE is open(2)'s result. So what such a thread finds
 * it may open, even if an older name of that is not forgotten yet, or if the next file has taken
 * its place since: a name that is replaced is never absent. What it has found is not reaped until
 * it is open.
 *
 * A table of few: each entry lasts from the ESTALE to the thread's next OPEN, and not for long if
 * there is none. Reader thread only, but for again_holds. */
#ifndef FS_INODE_AGAIN_H
#define FS_INODE_AGAIN_H

#include <pthread.h>

#include "base/base.h"

#define AGAIN_MAX 64
#define AGAIN_MS  10000

struct again {
    pthread_mutex_t lock;
    struct {
        int tid;      /* 0: nobody */
        uint64_t ino; /* that it has found; 0: nothing yet */
        uint64_t end_ms;
    } threads[AGAIN_MAX];
    unsigned next;
};

void again_init(struct again *a);
void again_fini(struct again *a);

/* A request of the thread is answered ESTALE. */
void again_told(struct again *a, int tid);
/* It has looked a name up and found the inode; 0: nothing (it may ask once more for the name). */
void again_found(struct again *a, int tid, uint64_t ino);
/* Its call was answered for good. */
void again_end(struct again *a, int tid);
/* It opens the inode, whatever the answer will be. True: it has walked again, and found this. */
bool again_take(struct again *a, int tid, uint64_t ino);
/* Any thread: is one about to open it? */
bool again_holds(struct again *a, uint64_t ino);

#endif
