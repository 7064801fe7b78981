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

struct lane {
    struct fs *fs;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    STAILQ_HEAD(, lane_job) todo; /* under the lock */
    bool stop;                    /* under the lock */
    atomic_bool ended;
    struct lane_jobs jobs; /* all unfinished jobs, in order */
    unsigned n_jobs;
    unsigned n_running; /* jobs that the thread has */
    uint64_t n_posted;  /* jobs since the start */
};

struct lanes {
    struct lane pages, names;
    atomic_bool look_again; /* a job of the name lane waits for an event that will come */
    unsigned n_epochs;      /* jobs that invalidate all names: any inode may be moving */
    uint64_t shed_at;       /* not before this number of jobs was posted */
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
/* If a lane has work: true, and r ends when all of its present work is done. */
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

/* Repeats due jobs, and begins jobs of the name lane that need not wait any more. Returns the time
 * until there is more work, in ms; -1: none. */
int lanes_turn(struct fs *fs);

#endif
