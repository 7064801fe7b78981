/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads that tell the kernel to forget what it caches (fs/kernel/notify.h).
 *
 * The page lane forgets attributes and pages: that takes page locks only, which the kernel holds
 * while it waits for READ, and READ is always answered at once. So anything may wait for the page
 * lane. The name lane forgets names: that takes directories' locks, which the kernel holds while it
 * waits for LOOKUP, and for every change in a directory. So what holds a directory's lock must not
 * wait for the name lane; and a job waits here until no parked request holds its directory's lock
 * (a thread that sleeps in its own mount would keep a killed daemon from dying), nor any earlier
 * job that needs the same locks waits. The mirror's operations (fs/mirror/mirror.h) are jobs of the
 * name lane, too: they also need the locks of what the names lead to.
 *
 * The name lane may be slower than changes come, or hang for as long as the mirror's process may
 * (mirror.patience_ms). When it has too many jobs, those that wait are given up, and all names are
 * forgotten instead; where that cannot be (before Linux 6.16, and when something is mounted on a
 * directory of ours: it would be unmounted), each only forgets its names, which is fast.
 *
 * All functions: reader thread. */
#ifndef FS_CACHE_LANE_H
#define FS_CACHE_LANE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "fs/request/request.h"

/* Jobs of the name lane; inotify itself would not keep as many events either. */
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
    struct lane_jobs jobs; /* all that are not done, in order */
    unsigned n_jobs;
    unsigned n_running; /* of them: handed to the thread */
    uint64_t n_posted;  /* since the start */
};

struct lanes {
    struct lane pages, names;
    atomic_bool look_again; /* a job of the name lane waits for what is about to come */
    unsigned n_epochs;      /* jobs that forget all names: any inode may be moving */
    uint64_t shed_at;       /* not before so many jobs were posted */
    uint64_t next_retry_ms;
    struct lane_jobs retries;
    struct lane_jobs held; /* of the page lane */
};

void lanes_start(struct fs *fs);
/* Asks the threads to end; they may be waiting for answers of this filesystem: give them some until
 * it is true. */
bool lanes_ended(struct fs *fs);
void lanes_ask_end(struct fs *fs);
void lanes_fini(struct fs *fs); /* after lanes_ended */

/* ---- Jobs: nothing is done for inodes and directories that the kernel does not know. ---- */

void lane_forget_attr(struct fs *fs, uint64_t ino);
void lane_forget_inode(struct fs *fs, uint64_t ino);
/* The same, but at_ms (CLOCK_BOOTTIME), or with lane_forget_now, or when somebody waits for the
 * whole lane. */
void lane_forget_inode_at(struct fs *fs, uint64_t ino, uint64_t at_ms);
void lane_forget_now(struct fs *fs, uint64_t ino); /* ino 0: all of them */
/* what: LANE_ENTRY, LANE_EXPIRE or LANE_DELETE. ino: what the name was or is. Until it is done, an
 * OPEN of ino is told to look again. */
void lane_forget_name(struct fs *fs, enum lane_what what, uint64_t parent, const void *name,
                      size_t name_len, uint64_t ino);
void lane_forget_all_names(struct fs *fs);
/* Takes the operation. Behind all that the page lane has to do now. */
void lane_mirror(struct fs *fs, struct mirror_op *op);

/* ---- Waiting ---- */

/* If pages or attributes of the inode are being forgotten: true, and r ends when that is done. */
bool lane_wait_inode(struct fs *fs, uint64_t ino, struct request *r);
/* The same for all that wait in `queue`. */
bool lane_move_waiters(struct fs *fs, uint64_t ino, struct request_queue *queue);
/* If a lane has something to do: true, and r ends when all that it has to do now is done. */
bool lane_wait_all(struct lane *lane, struct request *r);
bool lane_is_busy(const struct lane *lane); /* has it anything to do? */
/* r ends when all that the lane has to do now is done; at once when that is nothing. */
void lane_then(struct lane *lane, struct request *r);

/* Is the kernel about to forget a name of the inode (or all names)? */
bool lane_moves(const struct fs *fs, const struct node *node);

/* Does the name lane have a job that needs the lock of this inode? */
bool lane_needs(struct fs *fs, uint64_t ino);
/* Does the kernel perhaps believe something old of names in this directory? */
bool lane_forgets_in(struct fs *fs, uint64_t dir);
/* What the name lane has to do now may take as long as it likes: the kernel asks for every name at
 * its next use. Takes no lock. False: that cannot be (before Linux 6.16, and when something is
 * mounted on a directory of ours: it could be unmounted). */
bool lane_expire_all(struct fs *fs);

/* Is this name about to be forgotten, and has led to something else than `ino` that the kernel
 * knows?
 */
bool lane_forgets_other(struct fs *fs, uint64_t parent, const char *name, uint64_t ino);

/* Retries what is due, and begins jobs of the name lane that need not wait any more; the time until
 * there is more to do, in ms; -1: nothing. */
int lanes_turn(struct fs *fs);

#endif
