/* SPDX-License-Identifier: Apache-2.0 */
/* The two lanes: threads that tell the kernel to forget what it caches (fs/kernel/notify.h).
 *
 * The page lane invalidates attributes and pages. It needs page locks only; the kernel holds them
 * while it waits for READ, and READ is always answered immediately. So any request may wait for the
 * page lane. The name lane invalidates names. It needs directories' locks; the kernel holds them
 * while it waits for LOOKUP, and for every change in a directory. So a request that holds a
 * directory's lock must not wait for the name lane. A job waits here until no parked request holds
 * its directory's lock (a thread that sleeps in its own mount would keep a killed daemon from
 * dying), and until no earlier job that needs the same locks waits. The mirror's operations
 * (fs/mirror/mirror.h) are jobs of the name lane, too: they also need the locks of the inodes that
 * their names lead to.
 *
 * A local process may hold such a lock as long as it likes: it lists a directory into memory whose
 * pages do not come. What cannot be told to the kernel in time is late (fs/cache/lane_late.h), and
 * delays only those who use the same inode.
 *
 * The name lane may be slower than the changes, or hang as long as the mirror's process may
 * (mirror.patience_ms). If it has too many jobs, the waiting ones are given up and all names are
 * invalidated instead. If that is not possible (before Linux 6.16, and when something is mounted on
 * a directory of ours, which would be unmounted), each job only invalidates its names, which is
 * fast.
 *
 * All functions: reader thread. */
#ifndef FS_CACHE_LANE_H
#define FS_CACHE_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "fs/fs.h"
#include "fs/request/request.h"

/* Largest number of jobs of the name lane. inotify itself would not keep as many events. */
#define LANE_JOBS_MAX 65536

enum lane_what {
    LANE_ATTR,
    LANE_INODE,
    LANE_ENTRY,
    LANE_EXPIRE,
    LANE_DELETE,
    LANE_EPOCH,
    LANE_MIRROR,
};

struct lane_job;
struct mirror_op;
struct node;
TAILQ_HEAD(lane_jobs, lane_job);

struct lane_worker;
struct late_ino;

struct lane {
    struct fs *fs;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    STAILQ_HEAD(, lane_job) todo; /* under the lock */
    bool stop;                    /* under the lock */
    LIST_HEAD(, lane_worker) workers;
    struct lane_worker *active; /* the one that takes what is to do; the others are set aside */
    unsigned n_workers;
    struct lane_jobs jobs; /* unfinished jobs, in order */
    struct lane_jobs late; /* the same, of those that are late */
    struct late_ino *late_inos;
    bool late_first;       /* in the next turn */
    bool late_waited;      /* requests may wait for late jobs */
    bool late_changed;     /* a late job may be able to begin */
    uint64_t late_look_ms; /* next look at them if nothing changes */
    unsigned n_jobs;       /* of both lists */
    unsigned n_late;       /* of these: in the second */
    unsigned n_running;    /* jobs that the active worker has */
    uint64_t n_posted;     /* jobs since the start */
};

struct lane_delays { /* of the name lane (fs/cache/lane_delay.h); other threads read the atomics */
    atomic_uint_fast64_t counts[FS_DELAYS];
    atomic_uint_fast64_t max_ms, sum_ms;
    atomic_uint_fast64_t n_stale;
    atomic_uint_fast64_t n_late;
    uint64_t since_ms; /* no name is stale for longer */
    uint64_t next_ms;  /* next attempt to make the kernel ask for every name */
};

struct lanes {
    struct lane pages, names;
    struct lane_delays delays;
    uint64_t changed_ms;    /* when the change that is handled now was handed over; 0: none is */
    atomic_bool look_again; /* a job of the name lane waits for an event that will come */
    unsigned n_epochs;      /* jobs that invalidate all names: any inode may be moving */
    uint64_t shed_at;       /* not before this number of jobs was posted */
    uint64_t asked_again; /* the kernel asks for every name that a job up to this number is about */
    uint64_t next_retry_ms;
    struct lane_jobs retries;
    struct lane_jobs held; /* of the page lane */
};

void lanes_start(struct fs *fs);
/* Asks the threads to end. They may be waiting for answers of this filesystem: answer requests
 * until this returns true. */
bool lanes_ended(struct fs *fs);
void lanes_ask_end(struct fs *fs);
void lanes_fini(struct fs *fs); /* after lanes_ended */

/* ---- Jobs: nothing happens for inodes and directories that the kernel does not know. ---- */

void lane_forget_attr(struct fs *fs, uint64_t ino);
void lane_forget_inode(struct fs *fs, uint64_t ino);
/* The same at at_ms (CLOCK_BOOTTIME); earlier with lane_forget_now, or if a request waits for the
 * whole lane. */
void lane_forget_inode_at(struct fs *fs, uint64_t ino, uint64_t at_ms);
void lane_forget_now(struct fs *fs, uint64_t ino); /* ino 0: all of them */
/* what: LANE_ENTRY, LANE_EXPIRE or LANE_DELETE. ino: the inode that the name led or leads to. Until
 * the job is done, an OPEN of ino is told to look again. */
void lane_forget_name(struct fs *fs, enum lane_what what, uint64_t parent, const void *name,
                      size_t name_len, uint64_t ino);
void lane_forget_all_names(struct fs *fs);
/* Takes the operation. It runs after everything that the page lane has to do now. */
void lane_mirror(struct fs *fs, struct mirror_op *op);

/* ---- Waiting ---- */

/* If pages or attributes of the inode are being invalidated: true, and r ends when that is done. */
bool lane_wait_inode(struct fs *fs, uint64_t ino, struct request *r);
/* The same for all requests that wait in `queue`. */
bool lane_move_waiters(struct fs *fs, uint64_t ino, struct request_queue *queue);
/* If a lane has work: true, and r ends when all of its present work is done, or is late and may be
 * passed (fs/cache/lane_late.h). */
bool lane_wait_all(struct lane *lane, struct request *r);
bool lane_is_busy(const struct lane *lane); /* True if a lane has work. */
/* r ends when all present work of the lane is done; immediately if there is none. */
void lane_then(struct lane *lane, struct request *r);

/* True if a name of the inode, or all names, wait for invalidation. */
bool lane_moves(const struct fs *fs, const struct node *node);

/* True if the name lane has a job that needs the lock of this inode. */
bool lane_needs(struct fs *fs, uint64_t ino);
/* True if the kernel may have old names of this directory. */
bool lane_forgets_in(struct fs *fs, uint64_t dir);
/* Makes the kernel ask for every name at its next use, so that the present work of the name lane
 * may take any time. Takes no lock. False: not possible (before Linux 6.16, and when something is
 * mounted on a directory of ours, which could be unmounted). */
bool lane_expire_all(struct fs *fs);

/* True if this name waits for invalidation and led to an inode other than `ino` that the kernel
 * knows. */
bool lane_forgets_other(struct fs *fs, uint64_t parent, const char *name, uint64_t ino);

/* Looks for jobs that are late, repeats due jobs, and begins jobs that need not wait any more.
 * Returns the time until there is more work, in ms; -1: none. */
int lanes_turn(struct fs *fs);

#endif
