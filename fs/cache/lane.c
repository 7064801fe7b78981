/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/lane.h"

#include <stdlib.h>

#include "base/clock.h"
#include "fs/cache/lane_delay.h"
#include "fs/cache/lane_job.h"
#include "fs/cache/lane_late.h"
#include "fs/cache/lane_worker.h"
#include "fs/mirror/mirror.h"
#include "fs/state.h"

#define LOOK_AGAIN_MS 1

/* ---- Start and end ---- */

static void lane_start(struct lane *lane, struct fs *fs)
{
    lane->fs = fs;
    check(pthread_mutex_init(&lane->lock, NULL) == 0);
    check(pthread_cond_init(&lane->changed, NULL) == 0);
    STAILQ_INIT(&lane->todo);
    TAILQ_INIT(&lane->jobs);
    TAILQ_INIT(&lane->late);
    LIST_INIT(&lane->workers);
    lane_worker_start(lane);
}

void lanes_start(struct fs *fs)
{
    fs->lanes.next_retry_ms = UINT64_MAX;
    TAILQ_INIT(&fs->lanes.retries);
    TAILQ_INIT(&fs->lanes.held);
    lane_start(&fs->lanes.pages, fs);
    lane_start(&fs->lanes.names, fs);
}

static void lane_ask_end(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->stop = true;
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

void lanes_ask_end(struct fs *fs)
{
    lane_ask_end(&fs->lanes.pages);
    lane_ask_end(&fs->lanes.names);
    mirror_ask_end(&fs->mirror);
}

bool lanes_ended(struct fs *fs)
{
    return lane_workers_ended(&fs->lanes.pages) && lane_workers_ended(&fs->lanes.names);
}

static void lane_fini(struct lane *lane)
{
    struct lane_job *job;

    lane_workers_join(lane);
    while ((job = lane_job_first(lane)) != NULL)
        lane_job_free(job);
    pthread_cond_destroy(&lane->changed);
    pthread_mutex_destroy(&lane->lock);
}

void lanes_fini(struct fs *fs)
{
    struct lane_job *job;

    while ((job = TAILQ_FIRST(&fs->lanes.retries)) != NULL) {
        TAILQ_REMOVE(&fs->lanes.retries, job, retry_link);
        if (job->op != NULL)
            mirror_op_free(&fs->mirror, job->op);
        free(job);
    }
    lane_fini(&fs->lanes.pages);
    lane_fini(&fs->lanes.names);
}

/* ---- Turns ---- */

int lanes_turn(struct fs *fs)
{
    int wait_ms = clock_sooner(lane_job_retry_due(fs), lane_turn_pages(fs));

    lane_turn_names(fs);
    wait_ms = clock_sooner(wait_ms, lane_late_turn(&fs->lanes.pages));
    wait_ms = clock_sooner(wait_ms, lane_late_turn(&fs->lanes.names));
    wait_ms = clock_sooner(wait_ms, lane_delay_turn(fs));
    return atomic_load(&fs->lanes.look_again) ? LOOK_AGAIN_MS : wait_ms;
}

/* ---- Waiting ---- */

bool lane_wait_all(struct lane *lane, struct request *r)
{
    struct lane_job *last;

    lane_forget_now(lane->fs, 0); /* a barrier or a lock, which must be fast */
    last = TAILQ_LAST(&lane->jobs, lane_jobs);
    if (last == NULL)
        last = lane_late_last(lane);
    if (last == NULL)
        return false;
    request_wait(r, &last->after);
    return true;
}

bool lane_is_busy(const struct lane *lane)
{
    return lane_job_first(lane) != NULL;
}

void lane_then(struct lane *lane, struct request *r)
{
    if (!lane_wait_all(lane, r))
        request_end(r, 0);
}
