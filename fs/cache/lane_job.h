/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the lanes (fs/cache/lane.h): a job tells the kernel to forget one thing, or has the
 * mirror perform an operation. lane_job.c: the life of a job, and the thread that does it;
 * page_lane.c and name_lane.c: which jobs there are, and when each may begin.
 *
 * Reader thread only, unless said. */
#ifndef FS_CACHE_LANE_JOB_H
#define FS_CACHE_LANE_JOB_H

#include "fs/cache/lane.h"
#include "fs/request/mailbox.h"

struct lane_job {
    struct mail mail;
    STAILQ_ENTRY(lane_job) todo_link;
    TAILQ_ENTRY(lane_job) link;
    TAILQ_ENTRY(lane_job) retry_link;
    struct lane *lane;
    enum lane_what what;
    uint64_t ino; /* of what is forgotten, or what its name led to */
    uint64_t parent;
    char *name;
    struct mirror_op *op; /* LANE_MIRROR: its own */
    uint64_t moving[2];   /* inodes that it marks as such */
    uint64_t number;      /* in its lane */
    uint64_t after_a;     /* the last job of the page lane that comes before it */
    bool running;
    uint64_t held_until_ms; /* 0: it is not */
    int err;
    unsigned tries;
    uint64_t retry_at_ms;
    struct request_queue waiters; /* for this job */
    struct request_queue after;   /* for this and all before it */
};

/* ---- Life: fs/cache/lane_job.c ---- */

/* Gives; it stands in no list yet. */
struct lane_job *lane_job_alloc(struct lane *lane, enum lane_what what, uint64_t ino);
/* Takes it into its lane, as the last. */
void lane_job_add(struct lane_job *job);
/* Both. */
struct lane_job *lane_job_new(struct lane *lane, enum lane_what what, uint64_t ino);
/* Hands it to the thread of its lane. */
void lane_job_post(struct lane_job *job);
/* It is done, or not wanted any more: ends the requests that wait for it, and frees it. */
void lane_job_finish(struct fs *fs, struct lane_job *job);
/* Frees it without that. It stands in its lane. */
void lane_job_free(struct lane_job *job);
/* Begins what is to be tried again and is due; the time until there is more, in ms; -1: nothing. */
int lane_job_retry_due(struct fs *fs);
/* The thread of a lane (arg) runs this. */
void *lane_job_thread(void *arg);

/* ---- Each turn of the reader's loop ---- */

/* fs/cache/page_lane.c: begins what was held until now; returns as lane_job_retry_due. */
int lane_turn_pages(struct fs *fs);
/* fs/cache/name_lane.c: gives up jobs if there are too many, and begins those that need not wait
 * any more. */
void lane_turn_names(struct fs *fs);

#endif
