/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a lane.
 *
 * Theory of operation. One worker is active: it takes the jobs of the lane one after the other. A
 * job may wait in the kernel for a lock that a local process holds, where no signal and no timeout
 * reaches it. If the worker, or the mirror's process that it has asked, sleeps there for longer
 * than LANE_LATE_MS, the worker is set aside with its job and its process, and another worker
 * becomes active. A worker that was set aside ends with its job.
 *
 * A slow machine sets nobody aside: a thread that could run, or that has been stopped, does not
 * count as waiting for a lock.
 *
 * Limit: LANE_WORKERS_MAX workers. If all of them are stuck, every job of the name lane is late.
 *
 * Reader thread only, unless a comment says otherwise. */
#ifndef FS_CACHE_LANE_WORKER_H
#define FS_CACHE_LANE_WORKER_H

#include "fs/cache/lane_job.h"

#define LANE_WORKERS_MAX 64

struct lane_worker {
    LIST_ENTRY(lane_worker) link;
    struct lane *lane;
    pthread_t thread;
    struct mirror_process process; /* of the name lane's workers */
    atomic_int tid;
    atomic_bool ended;

    uint64_t stuck_ms;     /* since when it was seen stuck at each look; 0: it was not */
    uint64_t stuck_number; /* in this job */

    /* Under the lane's lock. */
    bool aside;
    struct lane_job *job; /* that it does; NULL: none */
};

/* Starts a worker, which becomes the active one. */
void lane_worker_start(struct lane *lane);
/* The job in which the active worker is stuck; NULL: it is not. */
struct lane_job *lane_worker_stuck(struct lane *lane);
/* Sets the active worker aside and starts another one. Jobs that it has not begun are no longer
 * running. False: there are too many workers, and nothing has changed. */
bool lane_worker_replace(struct lane *lane);
/* Joins workers that were set aside and have ended. */
void lane_workers_reap(struct lane *lane);
bool lane_workers_ended(const struct lane *lane); /* after lane->stop was set: all of them */
void lane_workers_join(struct lane *lane);        /* after lane_workers_ended */

#endif
