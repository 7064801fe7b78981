/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the lanes (fs/cache/lane.h). A job tells the kernel to forget one thing, or has the
 * mirror perform an operation. lane_job.c: the life of a job. lane_worker.c: the
 * threads. lane_late.c: late jobs. page_lane.c and name_lane.c: which jobs exist and when each may
 * begin.
 *
 * Reader thread only, unless a comment says otherwise. */
#ifndef FS_CACHE_LANE_JOB_H
#define FS_CACHE_LANE_JOB_H

#include "base/mailbox.h"
#include "fs/cache/lane.h"
#include "fs/mirror/mirror.h"

struct lane_job {
    struct mail mail;
    STAILQ_ENTRY(lane_job) todo_link;
    TAILQ_ENTRY(lane_job) link;
    TAILQ_ENTRY(lane_job) retry_link;
    struct lane *lane;
    enum lane_what what;
    uint64_t ino; /* the inode to forget, or the one that its name led to */
    uint64_t parent;
    char *name;
    struct mirror_op *op; /* LANE_MIRROR: owned */
    uint64_t moving[2];   /* inodes that it marks as moving */
    uint64_t number;      /* in its lane */
    uint64_t after_a;     /* the last job of the page lane that must come first */
    uint64_t born_ms;     /* when its change was handed to the reader thread */
    bool stale;           /* the kernel may use the old name */
    bool running;         /* a worker has it */
    bool stuck;           /* that worker was set aside */
    bool late;            /* it is in the list of late jobs */
    uint64_t waits_ms;    /* since when its own inodes keep it waiting; 0: they do not */
    uint64_t late_ms;     /* since when its inodes are late */
    uint64_t late_inos[MIRROR_INOS];
    unsigned n_late_inos;
    uint64_t held_until_ms; /* 0: not held */
    int err;
    unsigned tries;
    uint64_t retry_at_ms;
    struct request_queue waiters; /* requests that wait for this job */
    struct request_queue after;   /* requests that wait for this job and all before it */
};

/* ---- Life: fs/cache/lane_job.c ---- */

/* Gives a new job. It is in no list yet. */
struct lane_job *lane_job_alloc(struct lane *lane, enum lane_what what, uint64_t ino);
/* Appends the job to its lane. */
void lane_job_add(struct lane_job *job);
/* Makes a job and appends it. */
struct lane_job *lane_job_new(struct lane *lane, enum lane_what what, uint64_t ino);
/* Hands the job to the thread of its lane. */
void lane_job_post(struct lane_job *job);
/* The job is done or no longer wanted: ends the requests that wait for it, and frees it. */
void lane_job_finish(struct fs *fs, struct lane_job *job);
/* Frees a job of a lane without ending requests. */
void lane_job_free(struct lane_job *job);
/* Begins due repetitions. Returns the time until there is more, in ms; -1: none. */
int lane_job_retry_due(struct fs *fs);
/* A worker's thread, with the mirror's process that belongs to it: does the job. Returns its err.
 */
int lane_job_run(struct mirror_process *process, struct lane_job *job);
/* A worker's thread: the job is done. Gives it to the reader thread. */
void lane_job_done(struct lane_job *job);
/* The inodes whose locks the job needs. */
unsigned lane_job_inos(const struct lane_job *job, uint64_t out[MIRROR_INOS]);
/* True if a job of the name lane cannot begin yet because of something else than earlier jobs: a
 * parked request holds a lock that it needs, or it rests. */
bool lane_job_is_held(struct lane_job *job);
/* True if the page lane has not done what the job must come after. */
bool lane_job_is_early(const struct lane_job *job);
/* All jobs of a lane, the late ones last: the first, or NULL; the one after this, or NULL. */
struct lane_job *lane_job_first(const struct lane *lane);
struct lane_job *lane_job_next(const struct lane_job *job);

/* ---- Each turn of the reader's loop ---- */

/* fs/cache/page_lane.c: begins jobs that were held until now; returns as lane_job_retry_due. */
int lane_turn_pages(struct fs *fs);
/* fs/cache/name_lane.c: gives jobs up if there are too many, and begins those that need not wait
 * any more. */
void lane_turn_names(struct fs *fs);

#endif
