/* SPDX-License-Identifier: Apache-2.0 */
/* Names and lines.
 *
 *   append   Lines of all threads in one file: none is lost, doubled, torn, or out of its order.
 *   swap     A file is replaced by rename, and two names are exchanged. Each name always exists,
 *            with whole content, and an acknowledged replacement is never undone. If only one
 *            thread exchanges two names, each acknowledged exchange has happened. (If several
 *            hosts do, this is not certain: docs/ARCHITECTURE.md, "Two names of one file".)
 *   set      All threads try to create the same names with O_EXCL: at most one succeeds for each.
 */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- append ---------------------------------------------------------------------------------- */

static void append_prepare(int root)
{
    make_file(root, "append", "");
}

static void append_step(struct worker *w)
{
    struct note n = {.worker = w->id, .number = w->notes.n};
    char line[CHAOS_NAME];
    bool done;

    line_make(line, w->id, n.number);
    done = counted(w, put_text(w->root, "append", O_APPEND, line), "append");
    n.return_ns = done ? 0 : UINT64_MAX;
    note_add(&w->notes, &n);
}

/* seen: the number of times that each line of each worker occurs. */
static void append_read(FILE *in, unsigned **seen, int64_t *last)
{
    char line[CHAOS_NAME * 2];
    unsigned worker;
    uint64_t number;

    while (fgets(line, sizeof(line), in) != NULL) {
        if (!line_parse(line, &worker, &number) || worker >= n_workers ||
            number >= workers[worker].notes.n) {
            violation("a line that no worker wrote: %s", line);
            continue;
        }
        if (workers[worker].notes.at[number].return_ns == 0) {
            if ((int64_t)number <= last[worker])
                violation("line %" PRIu64 " of worker %u comes after line %" PRId64, number, worker,
                          last[worker]);
            last[worker] = (int64_t)number;
        }
        seen[worker][number]++;
    }
}

static void append_verify(int root)
{
    unsigned **seen = xcalloc(n_workers, sizeof(*seen));
    int64_t *last = xcalloc(n_workers, sizeof(*last));
    int fd = openat(root, "append", O_RDONLY | O_CLOEXEC);
    FILE *in = fd < 0 ? NULL : fdopen(fd, "r");

    for (unsigned i = 0; i < n_workers; i++) {
        seen[i] = xcalloc(workers[i].notes.n + 1, sizeof(**seen));
        last[i] = -1;
    }
    if (in == NULL) {
        violation("append: %s", strerror(errno));
    } else {
        append_read(in, seen, last);
        fclose(in);
    }
    for (unsigned i = 0; i < n_workers; i++) {
        for (size_t k = 0; k < workers[i].notes.n; k++) {
            bool done = workers[i].notes.at[k].return_ns == 0;

            if (seen[i][k] > 1 || (done && seen[i][k] == 0))
                violation("line %zu of worker %u occurs %u times (%s)", k, i, seen[i][k],
                          done ? "acknowledged" : "in doubt");
        }
        free(seen[i]);
    }
    free(seen);
    free(last);
}

/* ---- swap ------------------------------------------------------------------------------------ */

#define LEFT  "left left left left left left left\n"
#define RIGHT "right right right right right right\n"

static const unsigned n_mine = 16; /* largest number of threads */

/* A name that only one thread changes. */
static const char *mine(char out[CHAOS_NAME], unsigned worker, const char *side)
{
    snprintf(out, CHAOS_NAME, "swap/%s-%u", side, worker);
    return out;
}

static void swap_prepare(int root)
{
    char line[CHAOS_NAME], left[CHAOS_NAME], right[CHAOS_NAME];

    make_dir(root, "swap");
    line_make(line, 0, 0);
    make_file(root, "swap/current", line);
    make_file(root, "swap/left", LEFT);
    make_file(root, "swap/right", RIGHT);
    for (unsigned i = 0; i < n_mine; i++) {
        make_file(root, mine(left, i, "left"), LEFT);
        make_file(root, mine(right, i, "right"), RIGHT);
    }
}

static void swap_replace(struct worker *w)
{
    struct note n = {.worker = w->id, .number = w->steps};
    char temp[CHAOS_NAME], line[CHAOS_NAME];
    int err;

    snprintf(temp, sizeof(temp), "swap/new-%u-%u", w->id, w->steps);
    line_make(line, w->id, n.number);
    if (!counted(w, put_text(w->root, temp, O_CREAT | O_EXCL, line), temp))
        return;
    n.call_ns = now_ns();
    err = renameat(w->root, temp, w->root, "swap/current") == 0 ? 0 : errno;
    n.return_ns = counted(w, err, "rename") ? now_ns() : UINT64_MAX;
    note_add(&w->notes, &n);
}

static void swap_exchange(struct worker *w)
{
    struct note n = {.worker = w->id};
    char left[CHAOS_NAME] = "swap/left", right[CHAOS_NAME] = "swap/right";
    bool own = chance(w, 2) == 0;
    int rv;

    if (own) {
        mine(left, w->id, "left");
        mine(right, w->id, "right");
    }
    rv = renameat2(w->root, left, w->root, right, RENAME_EXCHANGE);
    n.return_ns = counted(w, rv == 0 ? 0 : errno, "exchange") ? 0 : UINT64_MAX;
    if (own)
        note_add(&w->other, &n);
}

static void swap_read(struct worker *w, const char *path, bool current)
{
    char text[CHAOS_NAME];
    unsigned worker;
    uint64_t number;
    int err = get_text(w->root, path, text);

    if (err != 0)
        excused(w, err, path);
    else if (current ? !line_parse(text, &worker, &number)
                     : strcmp(text, LEFT) != 0 && strcmp(text, RIGHT) != 0)
        violation("worker %u on %s: %s is not whole: '%s'", w->id, w->mount, path, text);
}

static void swap_step(struct worker *w)
{
    switch (chance(w, 5)) {
    case 0:
        swap_replace(w);
        break;
    case 1:
        swap_exchange(w);
        break;
    case 2:
        swap_read(w, "swap/left", false);
        break;
    case 3:
        swap_read(w, "swap/right", false);
        break;
    default:
        swap_read(w, "swap/current", true);
    }
}

/* Checks that no acknowledged replacement began after the present one had been acknowledged. */
static void verify_last(const char *text)
{
    uint64_t number, shown = 0; /* the latest time at which the present one may have happened */
    unsigned worker;

    if (!line_parse(text, &worker, &number) || worker >= n_workers) {
        violation("swap/current is '%s'", text);
        return;
    }
    for (size_t i = 0; i < workers[worker].notes.n; i++)
        if (workers[worker].notes.at[i].number == number)
            shown = workers[worker].notes.at[i].return_ns;
    if (shown == 0 && number != 0)
        violation("swap/current is of worker %u, %" PRIu64 ", which has not put it there", worker,
                  number);
    for (unsigned i = 0; i < n_workers; i++)
        for (size_t k = 0; k < workers[i].notes.n; k++)
            if (workers[i].notes.at[k].return_ns != UINT64_MAX &&
                workers[i].notes.at[k].call_ns > shown)
                violation("swap/current is of worker %u; worker %u replaced it later", worker, i);
}

/* Checks the content of two exchanged names after n exchanges (and perhaps one in doubt). */
static void verify_pair(int root, const char *left, const char *right, size_t n, bool doubt)
{
    char a[CHAOS_NAME], b[CHAOS_NAME];
    bool even, whole;

    if (get_text(root, left, a) != 0 || get_text(root, right, b) != 0)
        violation("%s or %s cannot be read: %s", left, right, strerror(errno));
    even = strcmp(a, LEFT) == 0;
    whole = strcmp(a, even ? LEFT : RIGHT) == 0 && strcmp(b, even ? RIGHT : LEFT) == 0;
    if (!whole || (!doubt && even != (n % 2 == 0)))
        violation("after %zu exchanges, %s has '%s', %s has '%s'", n, left, a, right, b);
}

static void swap_verify(int root)
{
    char current[CHAOS_NAME], left[CHAOS_NAME], right[CHAOS_NAME];

    if (get_text(root, "swap/current", current) != 0)
        violation("swap/current cannot be read");
    verify_last(current);
    verify_pair(root, "swap/left", "swap/right", 0, true);
    for (unsigned i = 0; i < n_workers; i++) {
        const struct notes *own = &workers[i].other;
        bool doubt = false;

        for (size_t k = 0; k < own->n; k++)
            doubt = doubt || own->at[k].return_ns == UINT64_MAX;
        verify_pair(root, mine(left, i, "left"), mine(right, i, "right"), own->n, doubt);
    }
}

/* ---- set ------------------------------------------------------------------------------------- */

enum { MADE, EXISTED }; /* note.what */

static atomic_uint_fast64_t newest; /* the highest number that any thread has tried */

static void set_prepare(int root)
{
    make_dir(root, "set");
}

static void set_step(struct worker *w)
{
    uint64_t next = w->notes.n > 0 ? w->notes.at[w->notes.n - 1].number + 1 : 0;
    struct note n = {.worker = w->id, .number = max_u64(next, atomic_load(&newest))};
    char name[CHAOS_NAME], line[CHAOS_NAME];
    int fd, err;

    atomic_store(&newest, n.number);
    snprintf(name, sizeof(name), "set/%" PRIu64, n.number);
    fd = openat(w->root, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    err = fd < 0 ? errno : 0;
    if (err == EEXIST) {
        n.what = EXISTED;
    } else {
        n.return_ns = counted(w, err, name) ? 0 : UINT64_MAX;
        line_make(line, w->id, n.number);
        if (fd >= 0 && write(fd, line, strlen(line)) < 0)
            excused(w, errno, name);
    }
    if (fd >= 0)
        close(fd);
    note_add(&w->notes, &n);
}

static void verify_name(int root, uint64_t number, const unsigned *made, const struct note *maker)
{
    char name[CHAOS_NAME], text[CHAOS_NAME];
    unsigned worker;
    uint64_t content;
    int err;

    snprintf(name, sizeof(name), "set/%" PRIu64, number);
    err = get_text(root, name, text);
    if (err != 0 && err != ENOENT)
        violation("%s: %s", name, strerror(err));
    if (made[0] > 1)
        violation("%s was created %u times", name, made[0]);
    if (err != 0 && (made[0] > 0 || made[2] > 0))
        violation("%s does not exist, but %s", name, made[0] ? "was created" : "was seen");
    if (err == 0 && made[0] + made[1] == 0)
        violation("%s exists, but no worker has created it", name);
    if (err == 0 && text[0] != '\0' && maker != NULL &&
        (!line_parse(text, &worker, &content) || worker != maker->worker || content != number))
        violation("%s was created by worker %u, and has '%s'", name, maker->worker, text);
}

static void set_verify(int root)
{
    struct notes all = notes_all(false, by_number);

    for (size_t i = 0, end; i < all.n; i = end) {
        unsigned made[3] = {0}; /* certainly; in doubt; found to exist */
        const struct note *maker = NULL;

        for (end = i; end < all.n && all.at[end].number == all.at[i].number; end++) {
            const struct note *n = &all.at[end];

            made[n->what == EXISTED ? 2 : n->return_ns == 0 ? 0 : 1]++;
            if (n->what == MADE && n->return_ns == 0)
                maker = n;
        }
        verify_name(root, all.at[i].number, made, maker);
    }
    free(all.at);
}

const struct workload name_workloads[3] = {
    {"append", 1, append_prepare, append_step, append_verify},
    {"swap", 2, swap_prepare, swap_step, swap_verify},
    {"set", 1, set_prepare, set_step, set_verify},
};
