/* SPDX-License-Identifier: Apache-2.0 */
/* A set under a lock. The holder of the lock reads the set, writes it with one more line into a new
 * file, and renames that file onto the set. The lock guards the directory, so a host that has lost
 * the lock changes nothing. Each acknowledged line stays, exactly once. If a set is full, the next
 * one is begun. The reader finds the number of the present set in the directory, under the lock.
 * One thread for each mount, because a guard distinguishes sessions, not threads. */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK  "lockset/lock"
#define SETS  "lockset/sets"
#define FULL  (40 * CHAOS_NAME) /* bytes */
#define LARGE (FULL + 2 * CHAOS_NAME)

static void lockset_prepare(int root)
{
    make_dir(root, "lockset");
    make_dir(root, SETS);
    make_file(root, LOCK, "lock\n");
    guard_dir(root, SETS, LOCK);
}

static void on_set(void *arg, const char *name)
{
    unsigned number, *last = arg;

    if (sscanf(name, "set-%u", &number) == 1 && number > *last)
        *last = number;
}

/* Finds the number of the last set (0: there is none). Returns 0 or an errno. */
static int last_set(int root, unsigned *last)
{
    *last = 0;
    return each_name(root, SETS, on_set, last);
}

/* Returns 0 or an errno. Terminates the text. */
static int read_set(int root, unsigned number, char text[LARGE + 1])
{
    char path[CHAOS_NAME];
    ssize_t n;
    int fd, err;

    text[0] = '\0';
    if (number == 0)
        return 0;
    snprintf(path, sizeof(path), SETS "/set-%u", number);
    fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    n = read(fd, text, LARGE);
    err = n < 0 ? errno : 0;
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
    return err;
}

/* Replaces the set by a new one. EACCES: the lock is lost, and nothing has changed. */
static void replace_set(struct worker *w, unsigned number, const char *text, struct note *n)
{
    char temp[CHAOS_NAME], path[CHAOS_NAME];
    int err;

    snprintf(temp, sizeof(temp), SETS "/new-%u-%u", w->id, w->steps);
    snprintf(path, sizeof(path), SETS "/set-%u", number);
    err = put_text(w->root, temp, O_CREAT | O_EXCL, text);
    if (err == 0) {
        usleep((useconds_t)chance(w, 3000)); /* the lock may be lost meanwhile */
        err = renameat(w->root, temp, w->root, path) == 0 ? 0 : errno;
        if (err == EACCES)
            return;
        n->return_ns = counted(w, err, "rename") ? 0 : UINT64_MAX;
        note_add(&w->notes, n);
    } else if (err != EACCES) {
        excused(w, err, temp);
    }
}

static void add_line(struct worker *w)
{
    struct note n = {.worker = w->id, .number = w->steps};
    char text[LARGE + 1];
    unsigned number;
    int err = last_set(w->root, &number);

    if (err == 0)
        err = read_set(w->root, number, text);
    if (err != 0) {
        excused(w, err, "reading the set");
        return;
    }
    if (number == 0 || strlen(text) > FULL) {
        number++;
        text[0] = '\0';
    }
    line_make(text + strlen(text), w->id, n.number);
    replace_set(w, number, text, &n);
}

static void lockset_step(struct worker *w)
{
    int fd = openat(w->root, LOCK, O_RDWR | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        excused(w, errno, "flock");
    else if (lock_held(fd))
        add_line(w);
    if (fd >= 0)
        close(fd);
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static struct note *find_note(unsigned worker, uint64_t number)
{
    struct notes *all = &workers[worker].notes;
    struct note key = {.number = number};

    if (all->n == 0)
        return NULL;
    return bsearch(&key, all->at, all->n, sizeof(*all->at), by_number);
}

/* Counts each line in note.what. */
static void count_lines(char *text, unsigned set)
{
    char line[CHAOS_NAME], *rest = text, *one;

    while ((one = strsep(&rest, "\n")) != NULL) {
        struct note *n = NULL;
        unsigned worker;
        uint64_t number;

        if (one[0] == '\0')
            continue;
        snprintf(line, sizeof(line), "%s\n", one);
        if (line_parse(line, &worker, &number) && worker < n_workers)
            n = find_note(worker, number);
        if (n == NULL)
            violation("set %u has a line that no worker has put there: %s", set, one);
        else
            n->what++;
    }
}

static void lockset_verify(int root)
{
    char text[LARGE + 1];
    unsigned last;
    int err = last_set(root, &last);

    for (unsigned i = 0; i < n_workers; i++)
        for (size_t k = 0; k < workers[i].notes.n; k++)
            workers[i].notes.at[k].what = 0;
    for (unsigned set = 1; err == 0 && set <= last; set++) {
        err = read_set(root, set, text);
        count_lines(text, set);
    }
    if (err != 0)
        violation("the sets cannot be read: %s", strerror(err));
    for (unsigned i = 0; i < n_workers; i++)
        for (size_t k = 0; k < workers[i].notes.n; k++) {
            const struct note *n = &workers[i].notes.at[k];

            if (n->what > 1 || (n->what == 0 && n->return_ns == 0))
                violation("line %" PRIu64 " of worker %u occurs %u times (%s)", n->number, i,
                          n->what, n->return_ns == 0 ? "acknowledged" : "in doubt");
        }
    verify_free_flock(root, LOCK);
}

const struct workload lockset_workload = {"lockset", 1, lockset_prepare, lockset_step,
                                          lockset_verify};
