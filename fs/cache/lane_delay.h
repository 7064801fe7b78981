/* SPDX-License-Identifier: Apache-2.0 */
/* How long the kernel may use an old name after a change is applied here: measured and bounded.
 *
 * Theory of operation. A job of the name lane that is about a name is stale from the moment at
 * which the change is handed to the reader thread, until the kernel cannot use the old name any
 * more: the job is done, or the kernel has been made to ask for every name (lane_expire_all). The
 * name lane has a backlog when many changes arrive at once (a member returns after a partition, a
 * program changes thousands of names), because the mirror makes one change at a time. So if a name
 * is stale for LANE_STALE_MS, the kernel is made to ask for every name. The events follow at the
 * mirror's pace. Locks and barriers still wait for them.
 *
 * Limit: before Linux 6.16, and while something is mounted on a directory of the mount, the kernel
 * cannot be made to do so. The delay is then as long as the backlog.
 *
 * Reader thread only, unless a comment says otherwise. */
#ifndef FS_CACHE_LANE_DELAY_H
#define FS_CACHE_LANE_DELAY_H

#include "fs/cache/lane_job.h"

#define LANE_STALE_MS 50

/* The job was added to the name lane, and has its name or operation. */
void lane_delay_begin(struct lane_job *job);
/* The job is done, or given up. */
void lane_delay_end(struct lane_job *job);
/* No old name was ever used: the job does not count. */
void lane_delay_ignore(struct lane_job *job);
/* Keeps the bound. Returns the time until the next look, in ms; -1: none. */
int lane_delay_turn(struct fs *fs);

#endif
