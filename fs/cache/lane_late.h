/* SPDX-License-Identifier: Apache-2.0 */
/* Late jobs of a lane: what could not be told to the kernel in time.
 *
 * Theory of operation. A job needs locks of the kernel, which a local process may hold as long as
 * it likes. A job that waits for them longer than LANE_LATE_MS is late: its worker is stuck
 * (fs/cache/lane_worker.h), a parked request holds the lock, or the mirror's operation rests. Its
 * inodes are then late, too, and so is every job that needs one of them, until all of these are
 * done. Late jobs are done in their order, beside the others.
 *
 * A barrier and a lock wait for the jobs that are not late, and pass the late ones:
 *  - of the name lane, if the kernel has been made to ask for every name since (lane_expire_all:
 *    Linux 6.16, nothing mounted below). What it shows is right then. The events of the directory
 *    follow when its lock is free. If that is not possible, they wait until the inode has been late
 *    for as long as the mirror's process may take for an answer (mirror.patience_ms). After that,
 *    names of this directory may be old until its lock is free.
 *  - of the page lane: the attributes are forgotten first, and only pages of a directory's listing
 *    can be locked by somebody who waits for something else than this daemon.
 *
 * Reader thread only. */
#ifndef FS_CACHE_LANE_LATE_H
#define FS_CACHE_LANE_LATE_H

#include "fs/cache/lane_job.h"

#define LANE_LATE_MS 200

/* True if the job must not begin before a late job. */
bool lane_late_is(const struct lane_job *job);
/* The job is late from now on. All earlier jobs about its inodes must be late already. */
void lane_late_add(struct lane_job *job);
/* Hands the job to the worker, or makes it late if it must not begin. */
void lane_late_post(struct lane_job *job);
/* The job will be freed. */
void lane_late_remove(struct lane_job *job);

/* The last late job for which a barrier must wait; NULL: none. */
struct lane_job *lane_late_last(struct lane *lane);
/* The requests have waited for the jobs that are not late: makes them wait for the late ones, if
 * they must. */
void lane_late_pass(struct lane *lane, struct request_queue *waiters);

/* Begins late jobs that can begin. */
void lane_late_begin(struct lane *lane);
/* Looks for a stuck worker, and ends requests that need not wait any more. Returns the time until
 * the next look, in ms; -1: none. */
int lane_late_turn(struct lane *lane);

#endif
