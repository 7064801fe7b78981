/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/lane_late.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/cache/lane_worker.h"
#include "fs/hash.h"
#include "fs/state.h"

#define LOOK_MS    20  /* between two looks at late jobs */
#define BEHIND_MAX 256 /* inodes that earlier late jobs need */

struct late_ino {
    uint64_t ino;
    uint64_t since_ms;
    unsigned n_jobs; /* late jobs that need it */
    UT_hash_handle hh;
};

static bool has_names(const struct lane *lane)
{
    return lane == &lane->fs->lanes.names;
}

/* ---- Late inodes ---- */

static struct late_ino *find_ino(const struct lane *lane, uint64_t ino)
{
    struct late_ino *late;

    HASH_FIND_U64(lane->late_inos, ino, late);
    return late;
}

/* Returns since when the inode is late. */
static uint64_t use_ino(struct lane *lane, uint64_t ino, uint64_t now)
{
    struct late_ino *late = find_ino(lane, ino);

    if (late == NULL) {
        late = xcalloc(1, sizeof(*late));
        late->ino = ino;
        late->since_ms = now;
        HASH_ADD_U64(lane->late_inos, ino, late);
    }
    late->n_jobs++;
    return late->since_ms;
}

static void drop_ino(struct lane *lane, uint64_t ino)
{
    struct late_ino *late = find_ino(lane, ino);

    check(late != NULL);
    if (--late->n_jobs > 0)
        return;
    HASH_DEL(lane->late_inos, late);
    free(late);
}

/* ---- Late jobs ---- */

bool lane_late_is(const struct lane_job *job)
{
    uint64_t inos[MIRROR_INOS];

    if (job->lane->late_inos == NULL)
        return false;
    for (unsigned i = lane_job_inos(job, inos); i > 0; i--)
        if (find_ino(job->lane, inos[i - 1]) != NULL)
            return true;
    return false;
}

void lane_late_add(struct lane_job *job)
{
    struct lane *lane = job->lane;
    struct lane_job *before = TAILQ_PREV(job, lane_jobs, link);
    uint64_t now = clock_boot_ms();

    if (job->late)
        return;
    if (before != NULL)
        requests_move(&job->after, &before->after);
    lane->late_waited = lane->late_waited || !TAILQ_EMPTY(&job->after);
    TAILQ_REMOVE(&lane->jobs, job, link);
    TAILQ_INSERT_TAIL(&lane->late, job, link);
    lane->n_late++;
    if (has_names(lane))
        atomic_fetch_add(&lane->fs->lanes.delays.n_late, 1);
    lane->late_changed = true;
    job->late = true;
    job->late_ms = now;
    job->n_late_inos = lane_job_inos(job, job->late_inos);
    for (unsigned i = 0; i < job->n_late_inos; i++)
        job->late_ms = min_u64(job->late_ms, use_ino(lane, job->late_inos[i], now));
}

void lane_late_remove(struct lane_job *job)
{
    if (!job->late)
        return;
    job->lane->n_late--;
    if (has_names(job->lane))
        atomic_fetch_sub(&job->lane->fs->lanes.delays.n_late, 1);
    job->lane->late_changed = true;
    for (unsigned i = 0; i < job->n_late_inos; i++)
        drop_ino(job->lane, job->late_inos[i]);
}

void lane_late_post(struct lane_job *job)
{
    if (lane_late_is(job))
        lane_late_add(job);
    else
        lane_job_post(job);
}

/* ---- Passing them ---- */

static bool may_pass(const struct lane *lane, const struct lane_job *job)
{
    const struct fs *fs = lane->fs;

    return !has_names(lane) || job->number <= fs->lanes.asked_again ||
           clock_boot_ms() - job->late_ms >= atomic_load(&fs->mirror.patience_ms);
}

/* Returns the last job that nothing may pass. */
static struct lane_job *find_wall(struct lane *lane)
{
    struct lane_job *job;

    TAILQ_FOREACH_REVERSE(job, &lane->late, lane_jobs, link)
    if (!may_pass(lane, job))
        return job;
    return NULL;
}

struct lane_job *lane_late_last(struct lane *lane)
{
    struct lane_job *wall = find_wall(lane);

    return wall == NULL || lane_expire_all(lane->fs) ? NULL : wall;
}

void lane_late_pass(struct lane *lane, struct request_queue *waiters)
{
    struct lane_job *last;

    if (TAILQ_EMPTY(waiters))
        return;
    last = lane_late_last(lane);
    if (last == NULL)
        return;
    requests_move(waiters, &last->after);
    lane->late_waited = true;
}

/* Ends the requests that wait for jobs which may be passed by now. */
static void let_pass(struct lane *lane)
{
    struct request_queue free;
    struct lane_job *job, *wall;

    if (!lane->late_waited)
        return;
    lane->late_waited = false;
    wall = lane_late_last(lane);
    TAILQ_INIT(&free);
    TAILQ_FOREACH (job, &lane->late, link) {
        if (job == wall)
            break;
        requests_move(&job->after, &free);
    }
    for (; job != NULL; job = TAILQ_NEXT(job, link)) {
        if (job != wall)
            requests_move(&job->after, &wall->after);
        lane->late_waited = lane->late_waited || !TAILQ_EMPTY(&wall->after);
    }
    request_wake(&free, 0);
}

/* ---- Doing them ---- */

struct behind { /* inodes that earlier late jobs need */
    uint64_t inos[BEHIND_MAX];
    unsigned n;
};

static bool has(const struct behind *b, uint64_t ino)
{
    for (unsigned i = 0; i < b->n; i++)
        if (b->inos[i] == ino)
            return true;
    return false;
}

static bool is_behind(const struct behind *b, const struct lane_job *job)
{
    for (unsigned i = 0; i < job->n_late_inos; i++)
        if (has(b, job->late_inos[i]))
            return true;
    return false;
}

static bool add(struct behind *b, const struct lane_job *job)
{
    for (unsigned i = 0; i < job->n_late_inos; i++) {
        if (has(b, job->late_inos[i]))
            continue;
        if (b->n == BEHIND_MAX)
            return false;
        b->inos[b->n++] = job->late_inos[i];
    }
    return true;
}

/* True if the job can be handed to the active worker, apart from earlier jobs. */
static bool can_begin(struct lane_job *job)
{
    return !lane_job_is_held(job) && !lane_job_is_early(job) &&
           (job->op == NULL || job->lane->n_running == 0);
}

/* A parked request that holds a lock may end without a word. */
static bool must_look(struct lane *lane)
{
    uint64_t now;

    if (lane->n_late == 0)
        return false;
    now = clock_boot_ms();
    if (!lane->late_changed && now < lane->late_look_ms)
        return false;
    lane->late_changed = false;
    lane->late_look_ms = now + LOOK_MS;
    return true;
}

static void begin_late(struct lane *lane)
{
    struct behind b = {.n = 0};
    struct lane_job *job;

    TAILQ_FOREACH (job, &lane->late, link) {
        if (job->running && !job->stuck && job->op != NULL)
            return;
        if (!job->running && !is_behind(&b, job) && can_begin(job)) {
            lane_job_post(job);
            if (job->op != NULL)
                return;
        }
        if (!add(&b, job))
            return;
    }
}

void lane_late_begin(struct lane *lane)
{
    if (must_look(lane))
        begin_late(lane);
}

/* ---- Becoming late ---- */

static void all_late(struct lane *lane)
{
    struct lane_job *job, *next;

    for (job = TAILQ_FIRST(&lane->jobs); has_names(lane) && job != NULL; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->op == NULL || job->op->prepared)
            lane_late_add(job);
    }
}

/* What the worker had in hand and did not begin: of the page lane, nobody else begins it. */
static void begin_again(struct lane *lane)
{
    struct lane_job *job, *next;

    for (job = TAILQ_FIRST(&lane->jobs); !has_names(lane) && job != NULL; job = next) {
        next = TAILQ_NEXT(job, link);
        if (!job->running && job->held_until_ms == 0)
            lane_late_post(job);
    }
}

static void look_for_stuck(struct lane *lane)
{
    struct lane_job *job = lane_worker_stuck(lane);

    if (job == NULL)
        return;
    if (!lane_worker_replace(lane)) {
        all_late(lane);
        return;
    }
    log_debug("inode %llu is locked in the kernel: what it must forget is late",
              (unsigned long long)job->ino);
    job->stuck = true;
    lane_late_add(job);
    begin_again(lane);
}

int lane_late_turn(struct lane *lane)
{
    if (lane->n_running > 0)
        look_for_stuck(lane);
    lane_workers_reap(lane);
    if (!has_names(lane))
        lane_late_begin(lane);
    let_pass(lane);
    if (lane->n_late > 0)
        return LOOK_MS;
    return lane_job_first(lane) != NULL ? LANE_LATE_MS / 4 : -1;
}
