/* SPDX-License-Identifier: Apache-2.0 */
/* What programs do with the filesystem while it is in trouble, and what they must find afterwards.
 *
 * Theory of operation. A workload runs in some threads on each mount. Each thread goes step by
 * step and notes after each call what it was promised: it returned, so it has happened; or it
 * failed in a way that the loss of a member, a mount, a quorum or a session explains, so it may
 * have happened (in doubt). Other errors are violations already. When the trouble is over, each
 * mount is held against these notes.
 *
 * All paths are relative to a descriptor of the mount's root, so nothing is ever written into the
 * directory below a mount that is not there. Used by tests/tools/workload.c; tests/it/chaos.sh. */
#ifndef TESTS_CHAOS_H
#define TESTS_CHAOS_H

#include <pthread.h>

#include "base/base.h"

#define CHAOS_NAME 64 /* room for a name and for a short content */

/* What a thread notes: the workload says what the fields are for. */
struct note {
    uint64_t number;    /* of a value, a line, a name … */
    uint64_t fence;     /* token of the lock */
    uint64_t call_ns;   /* CLOCK_MONOTONIC */
    uint64_t return_ns; /* UINT64_MAX: in doubt, may happen at any time */
    unsigned what;
    unsigned worker;
};

struct notes {
    struct note *at;
    size_t n, cap;
};

struct worker {
    unsigned id;
    const char *mount;
    int root;       /* descriptor of the mount's root, -1: to be opened */
    unsigned steps; /* that were begun */
    uint64_t chance;
    uint64_t done, doubt; /* changes */
    struct notes notes;
    struct notes other; /* a second kind */
    pthread_t thread;
};

struct workload {
    const char *name;
    unsigned per_mount;             /* threads */
    void (*prepare)(int root);      /* while all is well */
    void (*step)(struct worker *w); /* w->root is open */
    void (*verify)(int root);       /* when all threads are gone: of one mount */
};

extern const struct workload lock_workloads[3]; /* tests/chaos/locks.c */
extern const struct workload name_workloads[3]; /* tests/chaos/names.c */
extern const struct workload queue_workload;    /* tests/chaos/queue.c */
extern const struct workload lockset_workload;  /* tests/chaos/lockset.c */

/* ---- tests/tools/workload.c ------------------------------------------------------------------ */
extern struct worker workers[];
extern unsigned n_workers;

BASE_PRINTF(1, 2) void violation(const char *fmt, ...);
uint64_t now_ns(void);
uint64_t chance(struct worker *w, uint64_t below);
/* An error that trouble explains? Closes the root when the mount may be gone; else a violation. */
bool excused(struct worker *w, int err, const char *what);
/* Counts a change that returned err (0: done); true when it is done, false when it is in doubt. */
bool counted(struct worker *w, int err, const char *what);

void note_add(struct notes *notes, const struct note *note);
/* All workers' notes (their first or second kind), sorted. */
struct notes notes_all(bool other, int (*compare)(const void *a, const void *b));
int by_number(const void *a, const void *b);
int by_call(const void *a, const void *b);

/* A whole small file: at most CHAOS_NAME - 1 bytes, terminated. 0 or an errno. */
int put_text(int dir, const char *path, int flags, const char *text);
int get_text(int dir, const char *path, char out[CHAOS_NAME]);
/* A line that cannot be taken for another one, nor for a part of it; "\n" included. */
void line_make(char out[CHAOS_NAME], unsigned worker, uint64_t number);
bool line_parse(const char *text, unsigned *worker, uint64_t *number);

/* Has the handle's lock been held all the time since it was granted? */
bool lock_held(int fd);
/* What is in the directory may only be changed by the session that holds the lock on a file. */
void guard_dir(int root, const char *dir, const char *lock_file);
/* The lock on a file must be free again. */
void verify_free_flock(int root, const char *lock_file);

/* Calls fn with the names of a directory, but for those that begin with a dot: 0 or an errno. */
int each_name(int root, const char *path, void (*fn)(void *arg, const char *name), void *arg);

/* While all is well: ends the program when it fails. */
void make_dir(int root, const char *path);
void make_file(int root, const char *path, const char *text);

#endif
