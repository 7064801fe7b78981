/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads that use the filesystem while there is trouble, and check its state afterwards.
 *
 * Theory of operation. A workload runs in some threads on each mount. Each thread works step by
 * step and notes the promise that it has after each call. If the call succeeded, the change has
 * happened. If it failed in a way that the loss of a member, a mount, a quorum or a session
 * explains, the change may have happened (in doubt). Any other error is a violation. When the
 * trouble is over, the state of each mount is compared with these notes.
 *
 * All paths are relative to a descriptor of the mount's root. So if a mount is gone, nothing is
 * written into the directory below it. Used by tests/tools/workload.c; see tests/it/chaos.sh. */
#ifndef TESTS_CHAOS_H
#define TESTS_CHAOS_H

#include <pthread.h>

#include "base/base.h"

#define CHAOS_NAME 64 /* room for a name and for a short content */

/* A note of a thread; the workload defines the meaning of the fields. */
struct note {
    uint64_t number;    /* of a value, a line, a name … */
    uint64_t fence;     /* token of the lock */
    uint64_t call_ns;   /* CLOCK_MONOTONIC */
    uint64_t return_ns; /* UINT64_MAX: in doubt, may happen at any later time */
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
    int root;       /* descriptor of the mount's root; -1: open it */
    unsigned steps; /* number of steps begun */
    uint64_t chance;
    uint64_t done, doubt; /* changes */
    struct notes notes;
    struct notes other; /* a second kind */
    pthread_t thread;
};

struct workload {
    const char *name;
    unsigned per_mount;             /* threads */
    void (*prepare)(int root);      /* before the trouble */
    void (*step)(struct worker *w); /* w->root is open */
    void (*verify)(int root);       /* checks one mount after all threads have ended */
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
/* True if trouble explains the error; closes the root if the mount may be gone. Otherwise reports a
 * violation. */
bool excused(struct worker *w, int err, const char *what);
/* Counts a change that returned err (0: done). True if it is done, false if it is in doubt. */
bool counted(struct worker *w, int err, const char *what);

void note_add(struct notes *notes, const struct note *note);
/* The notes of all workers (their first or second kind), sorted. */
struct notes notes_all(bool other, int (*compare)(const void *a, const void *b));
int by_number(const void *a, const void *b);
int by_call(const void *a, const void *b);

/* A whole small file: at most CHAOS_NAME - 1 bytes, terminated. 0 or an errno. */
int put_text(int dir, const char *path, int flags, const char *text);
int get_text(int dir, const char *path, char out[CHAOS_NAME]);
/* A line that cannot be confused with another line or with a part of one; with "\n". */
void line_make(char out[CHAOS_NAME], unsigned worker, uint64_t number);
bool line_parse(const char *text, unsigned *worker, uint64_t *number);

/* True if the handle's lock has been held since it was granted. */
bool lock_held(int fd);
/* Guards the directory: only the session that holds the lock on a file may change it. */
void guard_dir(int root, const char *dir, const char *lock_file);
/* The lock on a file must be free again. */
void verify_free_flock(int root, const char *lock_file);

/* Calls fn with the names in a directory, except those that begin with a dot. 0 or an errno. */
int each_name(int root, const char *path, void (*fn)(void *arg, const char *name), void *arg);

/* Before the trouble. They end the program if they fail. */
void make_dir(int root, const char *path);
void make_file(int root, const char *path, const char *text);

#endif
