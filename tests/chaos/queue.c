/* SPDX-License-Identifier: Apache-2.0 */
/* A queue. All threads make sequential entries in one directory and take entries from it, by unlink
 * or by a rename into a directory where the name contains the taker. Each entry either waits or was
 * taken, exactly once; numbers are assigned once, and grow. The number determines in which way an
 * entry is taken. */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/ioctl.h"

#define FULL  30 /* entries; with more, take and do not make */
#define AMONG 3  /* one of this many entries is taken */

/* w->notes: entries made; w->other: entries taken. */

static void queue_prepare(int root)
{
    make_dir(root, "in");
    make_dir(root, "out");
}

static bool by_rename(uint64_t number)
{
    return number % 2 == 0;
}

static void queue_make(struct worker *w)
{
    struct coordfs_ioc_create c = {
        .mode = 0644, .umask = 022, .flags = COORDFS_IOC_CREATE_SEQUENTIAL, .name = "n-"};
    struct note n = {.worker = w->id, .call_ns = now_ns()};
    int fd = openat(w->root, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err;

    if (fd < 0) {
        excused(w, errno, "in");
        return;
    }
    err = ioctl(fd, COORDFS_IOC_CREATE, &c) == 0 ? 0 : errno;
    close(fd);
    n.return_ns = counted(w, err, "create") ? now_ns() : UINT64_MAX;
    n.number = err == 0 ? strtoull(c.name + 2, NULL, 10) : 0;
    note_add(&w->notes, &n);
}

static void queue_take(struct worker *w, uint64_t number)
{
    struct note n = {.worker = w->id, .number = number};
    char from[CHAOS_NAME], to[CHAOS_NAME];
    int rv, err;

    snprintf(from, sizeof(from), "in/n-%010" PRIu64, number);
    snprintf(to, sizeof(to), "out/%010" PRIu64 "-%u", number, w->id);
    rv = by_rename(number) ? renameat(w->root, from, w->root, to) : unlinkat(w->root, from, 0);
    err = rv == 0 ? 0 : errno;
    if (err == ENOENT)
        return; /* another thread has taken it */
    n.return_ns = counted(w, err, from) ? 0 : UINT64_MAX;
    note_add(&w->other, &n);
}

struct first {
    unsigned n;
    uint64_t number[AMONG]; /* the lowest */
};

static void on_name(void *arg, const char *name)
{
    struct first *f = arg;
    uint64_t number = strtoull(name + 2, NULL, 10);

    f->n++;
    for (unsigned i = 0; i < AMONG; i++) {
        if (i + 1 == f->n) {
            f->number[i] = number;
            break;
        }
        if (number < f->number[i]) {
            uint64_t larger = f->number[i];

            f->number[i] = number;
            number = larger;
        }
    }
}

static void queue_step(struct worker *w)
{
    struct first f = {0};
    int err = each_name(w->root, "in", on_name, &f);

    if (err != 0)
        excused(w, err, "reading in");
    else if (f.n == 0 || (f.n < FULL && chance(w, 2) == 0))
        queue_make(w);
    else
        queue_take(w, f.number[chance(w, min_u64(f.n, AMONG))]);
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static struct fate {
    unsigned made, taken, maybe_taken; /* by the notes */
    unsigned waiting, out;             /* by the directories */
    uint64_t maybe_takers;             /* bits of workers */
    unsigned taker, out_of;
} * fates;
static uint64_t n_fates;

static struct fate *fate_of(uint64_t number)
{
    check(number < 1u << 30);
    if (number >= n_fates) {
        uint64_t n = 2 * number + 64;

        fates = xrealloc(fates, n * sizeof(*fates));
        memset(fates + n_fates, 0, (n - n_fates) * sizeof(*fates));
        n_fates = n;
    }
    return &fates[number];
}

static void on_waiting(void *arg BASE_UNUSED, const char *name)
{
    fate_of(strtoull(name + 2, NULL, 10))->waiting++;
}

static void on_out(void *arg BASE_UNUSED, const char *name)
{
    struct fate *f = fate_of(strtoull(name, NULL, 10));

    f->out++;
    f->out_of = (unsigned)atoi(strchr(name, '-') + 1);
}

static uint64_t collect(int root)
{
    struct notes made = notes_all(false, by_call), taken = notes_all(true, by_call);
    uint64_t doubt = 0;

    if (n_fates > 0)
        memset(fates, 0, n_fates * sizeof(*fates));
    for (size_t i = 0; i < made.n; i++) {
        if (made.at[i].return_ns == UINT64_MAX)
            doubt++;
        else
            fate_of(made.at[i].number)->made++;
    }
    for (size_t i = 0; i < taken.n; i++) {
        struct fate *f = fate_of(taken.at[i].number);

        if (taken.at[i].return_ns == UINT64_MAX) {
            f->maybe_taken++;
            f->maybe_takers |= 1ull << taken.at[i].worker;
        } else {
            f->taken++;
            f->taker = taken.at[i].worker;
        }
    }
    if (each_name(root, "in", on_waiting, NULL) != 0 || each_name(root, "out", on_out, NULL) != 0)
        violation("the queue cannot be read: %s", strerror(errno));
    free(made.at);
    free(taken.at);
    return doubt;
}

static void verify_fate(uint64_t number, const struct fate *f)
{
    unsigned there = f->waiting + f->out;

    if (f->made > 1)
        violation("number %" PRIu64 " was given %u times", number, f->made);
    if (f->taken > 1 || there > 1 || (f->taken == 1 && f->waiting > 0))
        violation("entry %" PRIu64 " was taken %u times, waits %u times, is out %u times", number,
                  f->taken, f->waiting, f->out);
    if (f->taken == 1 && f->out != (by_rename(number) ? 1u : 0u))
        violation("entry %" PRIu64 ", which worker %u has taken, is out %u times", number, f->taker,
                  f->out);
    if (f->out == 1 &&
        (f->taken == 1 ? f->out_of != f->taker : (f->maybe_takers >> f->out_of & 1) == 0))
        violation("entry %" PRIu64 " was taken by worker %u, according to its name only", number,
                  f->out_of);
    if (f->made > 0 && there == 0 && f->taken == 0 && (f->maybe_taken == 0 || by_rename(number)))
        violation("entry %" PRIu64 " is lost", number);
}

/* A number that was requested after another one had been assigned is larger. */
static void verify_growth(void)
{
    struct notes calls = notes_all(false, by_call);
    uint64_t given_ns = 0, given = 0; /* later calls must get a larger number */

    for (size_t i = 0; i < calls.n; i++) {
        const struct note *n = &calls.at[i];

        if (n->return_ns == UINT64_MAX)
            continue;
        if (given_ns != 0 && given_ns < n->call_ns && n->number <= given)
            violation("number %" PRIu64 " was given after %" PRIu64, n->number, given);
        if (given_ns == 0 || n->return_ns < given_ns || given_ns < n->call_ns) {
            given_ns = n->return_ns;
            given = n->number;
        }
    }
    free(calls.at);
}

static void queue_verify(int root)
{
    uint64_t doubt = collect(root), unknown = 0;

    for (uint64_t i = 0; i < n_fates; i++) {
        const struct fate *f = &fates[i];

        verify_fate(i, f);
        unknown += f->made == 0 && f->waiting + f->out + f->taken + f->maybe_taken > 0;
    }
    if (unknown > doubt)
        violation("%" PRIu64 " entries that no worker made, %" PRIu64 " are in doubt", unknown,
                  doubt);
    verify_growth();
}

const struct workload queue_workload = {"queue", 2, queue_prepare, queue_step, queue_verify};
