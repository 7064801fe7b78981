/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/again.h"

#include <string.h>

#include "base/clock.h"

void again_init(struct again *a)
{
    memset(a, 0, sizeof(*a));
    check(pthread_mutex_init(&a->lock, NULL) == 0);
}

void again_fini(struct again *a)
{
    check(pthread_mutex_destroy(&a->lock) == 0);
}

/* AGAIN_MAX: the thread has no record. */
static unsigned place(const struct again *a, int tid)
{
    unsigned i = 0;

    while (i < AGAIN_MAX && (tid == 0 || a->threads[i].tid != tid))
        i++;
    return i;
}

static bool lasts(const struct again *a, unsigned i)
{
    return clock_boot_ms() < a->threads[i].end_ms;
}

static void clear(struct again *a, unsigned i)
{
    memset(&a->threads[i], 0, sizeof(a->threads[i]));
}

void again_told(struct again *a, int tid)
{
    unsigned i;

    pthread_mutex_lock(&a->lock);
    i = place(a, tid);
    if (i == AGAIN_MAX)
        i = a->next++ % AGAIN_MAX;
    a->threads[i].tid = tid;
    a->threads[i].ino = 0;
    a->threads[i].end_ms = clock_boot_ms() + AGAIN_MS;
    pthread_mutex_unlock(&a->lock);
}

void again_found(struct again *a, int tid, uint64_t ino)
{
    unsigned i;

    pthread_mutex_lock(&a->lock);
    i = place(a, tid);
    if (i < AGAIN_MAX) {
        if (lasts(a, i))
            a->threads[i].ino = ino;
        else
            clear(a, i);
    }
    pthread_mutex_unlock(&a->lock);
}

void again_end(struct again *a, int tid)
{
    unsigned i;

    pthread_mutex_lock(&a->lock);
    i = place(a, tid);
    if (i < AGAIN_MAX)
        clear(a, i);
    pthread_mutex_unlock(&a->lock);
}

bool again_take(struct again *a, int tid, uint64_t ino)
{
    bool found = false;
    unsigned i;

    pthread_mutex_lock(&a->lock);
    i = place(a, tid);
    if (i < AGAIN_MAX) {
        found = a->threads[i].ino == ino && lasts(a, i);
        a->threads[i].tid = 0; /* the inode that it found is held until it is surely open */
    }
    pthread_mutex_unlock(&a->lock);
    return found;
}

bool again_holds(struct again *a, uint64_t ino)
{
    bool holds = false;

    pthread_mutex_lock(&a->lock);
    for (unsigned i = 0; i < AGAIN_MAX; i++)
        holds |= a->threads[i].ino == ino && lasts(a, i);
    pthread_mutex_unlock(&a->lock);
    return holds;
}
