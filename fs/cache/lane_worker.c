/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/lane_worker.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/cache/lane_late.h"
#include "fs/kernel/task.h"
#include "fs/state.h"

static bool has_names(const struct lane *lane)
{
    return lane == &lane->fs->lanes.names;
}

/* ---- The thread ---- */

static struct lane_job *next_job(struct lane_worker *worker)
{
    struct lane *lane = worker->lane;
    struct lane_job *job = NULL;

    pthread_mutex_lock(&lane->lock);
    while (!lane->stop && !worker->aside && (job = STAILQ_FIRST(&lane->todo)) == NULL)
        pthread_cond_wait(&lane->changed, &lane->lock);
    if (lane->stop || worker->aside)
        job = NULL;
    else
        STAILQ_REMOVE_HEAD(&lane->todo, todo_link);
    worker->job = job;
    pthread_mutex_unlock(&lane->lock);
    return job;
}

static void end_job(struct lane_worker *worker)
{
    pthread_mutex_lock(&worker->lane->lock);
    worker->job = NULL;
    pthread_mutex_unlock(&worker->lane->lock);
}

static void *run(void *arg)
{
    struct lane_worker *worker = arg;
    struct lane_job *job;

    atomic_store(&worker->tid, gettid());
    if (has_names(worker->lane))
        mirror_start(&worker->process);
    while ((job = next_job(worker)) != NULL) {
        job->err = lane_job_run(&worker->process, job);
        end_job(worker);
        lane_job_done(job);
    }
    if (has_names(worker->lane))
        mirror_stop(&worker->process);
    atomic_store(&worker->ended, true);
    return NULL;
}

/* ---- Start and end ---- */

void lane_worker_start(struct lane *lane)
{
    struct lane_worker *worker = xcalloc(1, sizeof(*worker));

    worker->lane = lane;
    if (has_names(lane))
        mirror_process_init(&lane->fs->mirror, &worker->process);
    LIST_INSERT_HEAD(&lane->workers, worker, link);
    lane->n_workers++;
    lane->active = worker;
    check(pthread_create(&worker->thread, NULL, run, worker) == 0);
}

static void join(struct lane_worker *worker)
{
    struct lane *lane = worker->lane;

    check(pthread_join(worker->thread, NULL) == 0);
    if (has_names(lane))
        mirror_process_fini(&worker->process);
    LIST_REMOVE(worker, link);
    lane->n_workers--;
    free(worker);
}

void lane_workers_reap(struct lane *lane)
{
    struct lane_worker *worker, *next;

    for (worker = LIST_FIRST(&lane->workers); worker != NULL; worker = next) {
        next = LIST_NEXT(worker, link);
        if (worker != lane->active && atomic_load(&worker->ended))
            join(worker);
    }
}

bool lane_workers_ended(const struct lane *lane)
{
    const struct lane_worker *worker;

    LIST_FOREACH (worker, &lane->workers, link)
        if (!atomic_load(&worker->ended))
            return false;
    return true;
}

void lane_workers_join(struct lane *lane)
{
    while (!LIST_EMPTY(&lane->workers))
        join(LIST_FIRST(&lane->workers));
}

/* ---- Stuck ---- */

static bool is_stuck(struct lane_worker *worker)
{
    struct mirror_process *p = &worker->process;

    return task_is_stuck(atomic_load(&p->pid)) ||
           (!atomic_load(&p->starting) && task_is_stuck(atomic_load(&worker->tid)));
}

struct lane_job *lane_worker_stuck(struct lane *lane)
{
    struct lane_worker *worker = lane->active;
    uint64_t now = clock_boot_ms(), number;
    struct lane_job *job;

    pthread_mutex_lock(&lane->lock);
    job = worker->job; /* it is freed by this thread only */
    pthread_mutex_unlock(&lane->lock);
    number = job == NULL ? 0 : job->number;
    if (job == NULL || !is_stuck(worker)) {
        worker->stuck_ms = 0;
        return NULL;
    }
    if (worker->stuck_ms == 0 || worker->stuck_number != number)
        worker->stuck_ms = now;
    worker->stuck_number = number;
    return now - worker->stuck_ms < LANE_LATE_MS ? NULL : job;
}

/* The jobs that the worker has not begun stay in the lane. */
static void take_back(struct lane *lane)
{
    struct lane_job *job;

    while ((job = STAILQ_FIRST(&lane->todo)) != NULL) {
        STAILQ_REMOVE_HEAD(&lane->todo, todo_link);
        job->running = false;
    }
    lane->n_running = 0;
}

bool lane_worker_replace(struct lane *lane)
{
    if (lane->n_workers >= LANE_WORKERS_MAX)
        return false;
    pthread_mutex_lock(&lane->lock);
    lane->active->aside = true;
    atomic_store(&lane->active->process.aside, true);
    take_back(lane);
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
    lane_worker_start(lane);
    return true;
}
