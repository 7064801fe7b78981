/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/rewalk.h"

#include <string.h>

#include <xxhash.h>

#include "base/clock.h"

uint64_t rewalk_hash(uint64_t parent, const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), parent) | 1;
}

/* The thread's record; REWALK_MAX: it has none. */
static unsigned place(const struct rewalks *w, int tid)
{
    uint64_t now;
    unsigned i = 0;

    if (tid == 0 || w->end_ms == 0 || (now = clock_boot_ms()) >= w->end_ms)
        return REWALK_MAX;
    while (i < REWALK_MAX && (w->threads[i].tid != tid || w->threads[i].end_ms <= now))
        i++;
    return i;
}

void rewalk_told(struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    if (tid == 0)
        return;
    if (i == REWALK_MAX)
        i = w->next++ % REWALK_MAX;
    memset(&w->threads[i], 0, sizeof(w->threads[i]));
    w->threads[i].tid = tid;
    w->threads[i].end_ms = clock_boot_ms() + REWALK_MS;
    w->end_ms = w->threads[i].end_ms;
}

void rewalk_note(struct rewalks *w, int tid, uint64_t name, uint64_t ino)
{
    unsigned i = place(w, tid);

    if (i < REWALK_MAX)
        w->threads[i].steps[w->threads[i].next_step++ % REWALK_STEPS] =
            (struct rewalk_step){.name = name, .ino = ino};
}

void rewalk_end(struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    if (i < REWALK_MAX)
        w->threads[i].tid = 0;
}

bool rewalk_has_name(const struct rewalks *w, int tid, uint64_t name)
{
    unsigned i = place(w, tid);

    for (unsigned k = 0; i < REWALK_MAX && k < REWALK_STEPS; k++)
        if (w->threads[i].steps[k].name == name)
            return true;
    return false;
}

bool rewalk_has_inode(const struct rewalks *w, int tid, uint64_t ino)
{
    unsigned i = place(w, tid);

    for (unsigned k = 0; i < REWALK_MAX && k < REWALK_STEPS; k++)
        if (w->threads[i].steps[k].name != 0 && w->threads[i].steps[k].ino == ino)
            return true;
    return false;
}

bool rewalk_doubts(const struct rewalks *w, uint64_t name)
{
    uint64_t now;

    if (w->end_ms == 0 || (now = clock_boot_ms()) >= w->end_ms)
        return false;
    for (unsigned i = 0; i < REWALK_MAX; i++)
        for (unsigned k = 0;
             w->threads[i].tid != 0 && w->threads[i].end_ms > now && k < REWALK_STEPS; k++)
            if (w->threads[i].steps[k].name == name)
                return true;
    return false;
}
