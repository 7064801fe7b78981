/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/rewalk.h"

#include <string.h>

#include <xxhash.h>

#include "base/clock.h"

void rewalks_init(struct rewalks *w)
{
    memset(w, 0, sizeof(*w));
    check(pthread_mutex_init(&w->lock, NULL) == 0);
}

void rewalks_fini(struct rewalks *w)
{
    check(pthread_mutex_destroy(&w->lock) == 0);
}

uint64_t rewalk_hash(uint64_t parent, const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), parent) | 1;
}

/* ---- Records --------------------------------------------------------------------------------- */

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

/* The record, if the thread was told ESTALE; or NULL. */
static const struct rewalk *told(const struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    return i < REWALK_MAX && w->threads[i].told ? &w->threads[i] : NULL;
}

static void set(struct rewalks *w, unsigned i, const struct rewalk *record)
{
    check(pthread_mutex_lock(&w->lock) == 0);
    w->threads[i] = *record;
    check(pthread_mutex_unlock(&w->lock) == 0);
}

static void clear(struct rewalks *w, unsigned i)
{
    set(w, i, &(struct rewalk){.tid = 0});
}

/* The thread's record, made if there is none. It lasts REWALK_MS from now. */
static struct rewalk *record_of(struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);
    struct rewalk record = {.tid = tid};

    if (i == REWALK_MAX)
        i = w->next++ % REWALK_MAX;
    else
        record = w->threads[i];
    record.end_ms = w->end_ms = clock_boot_ms() + REWALK_MS;
    set(w, i, &record);
    return &w->threads[i];
}

static void find(struct rewalks *w, struct rewalk *record, uint64_t ino)
{
    check(pthread_mutex_lock(&w->lock) == 0);
    record->found = ino;
    check(pthread_mutex_unlock(&w->lock) == 0);
}

void rewalk_told(struct rewalks *w, int tid, uint64_t about)
{
    struct rewalk *record;

    if (tid == 0)
        return;
    record = record_of(w, tid);
    record->told = true;
    if (about != 0)
        record->about = about;
    memset(record->steps, 0, sizeof(record->steps));
    record->next_step = 0;
    find(w, record, 0);
}

void rewalk_note(struct rewalks *w, int tid, uint64_t name, uint64_t ino)
{
    unsigned i = place(w, tid);
    struct rewalk *record = &w->threads[i];

    if (i == REWALK_MAX || !record->told)
        return;
    record->steps[record->next_step++ % REWALK_STEPS] =
        (struct rewalk_step){.name = name, .ino = ino};
    if (record->about == ino)
        record->about = 0;
    find(w, record, ino);
}

void rewalk_end(struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    if (i < REWALK_MAX)
        clear(w, i);
}

/* The record gives up its thread. What the thread found is held until it is surely open. */
bool rewalk_open(struct rewalks *w, int tid, uint64_t ino)
{
    unsigned i = place(w, tid);

    if (i == REWALK_MAX)
        return false;
    if (w->threads[i].found != ino) {
        clear(w, i);
        return false;
    }
    w->threads[i].tid = 0;
    return true;
}

/* ---- Questions ------------------------------------------------------------------------------- */

bool rewalk_insists(const struct rewalks *w, int tid, uint64_t ino)
{
    const struct rewalk *record = told(w, tid);

    return record != NULL && record->about == ino;
}

bool rewalk_has_name(const struct rewalks *w, int tid, uint64_t name)
{
    const struct rewalk *record = told(w, tid);

    for (unsigned k = 0; record != NULL && k < REWALK_STEPS; k++)
        if (record->steps[k].name == name)
            return true;
    return false;
}

bool rewalk_has_inode(const struct rewalks *w, int tid, uint64_t ino)
{
    const struct rewalk *record = told(w, tid);

    for (unsigned k = 0; record != NULL && k < REWALK_STEPS; k++)
        if (record->steps[k].name != 0 && record->steps[k].ino == ino)
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

bool rewalk_holds(struct rewalks *w, uint64_t ino)
{
    uint64_t now = clock_boot_ms();
    bool holds = false;

    check(pthread_mutex_lock(&w->lock) == 0);
    for (unsigned i = 0; i < REWALK_MAX; i++)
        holds |= w->threads[i].found == ino && w->threads[i].end_ms > now;
    check(pthread_mutex_unlock(&w->lock) == 0);
    return holds;
}

/* ---- Renames --------------------------------------------------------------------------------- */

bool rewalk_misled(const struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    return i < REWALK_MAX && w->threads[i].misled;
}

void rewalk_mislead(struct rewalks *w, int tid)
{
    record_of(w, tid)->misled = true;
}

bool rewalk_expect(struct rewalks *w, int tid, uint64_t name)
{
    struct rewalk *record = record_of(w, tid);
    bool first = record->expected != name;

    record->expected = name;
    return first;
}

void rewalk_rename_ends(struct rewalks *w, int tid)
{
    unsigned i = place(w, tid);

    if (i == REWALK_MAX)
        return;
    w->threads[i].misled = false;
    w->threads[i].expected = 0;
}
