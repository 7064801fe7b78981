/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/cache/lane_delay.h"
#include "fs/cache/lane_job.h"
#include "fs/cache/lane_late.h"
#include "fs/mirror/mirror.h"
#include "fs/state.h"

#define RUNNING_MAX 64 /* jobs that the thread has at the same time */
#define WAITING_MAX 64

void lane_forget_name(struct fs *fs, enum lane_what what, uint64_t parent, const void *name,
                      size_t name_len, uint64_t ino)
{
    struct node *node;
    struct lane_job *job;

    if (node_lookups(&fs->nodes, parent) == 0)
        return;
    node = node_get(&fs->nodes, ino);
    job = lane_job_new(&fs->lanes.names, what, ino);
    job->parent = parent;
    job->name = xcalloc(1, name_len + 1);
    memcpy(job->name, name, name_len);
    lane_delay_begin(job);
    if (node != NULL)
        node->moving++;
}

static struct lane_job *forget_all_names(struct fs *fs)
{
    fs->lanes.n_epochs++;
    return lane_job_new(&fs->lanes.names, LANE_EPOCH, 0);
}

void lane_forget_all_names(struct fs *fs)
{
    forget_all_names(fs);
}

bool lane_moves(const struct fs *fs, const struct node *node)
{
    return fs->lanes.n_epochs > 0 || (node != NULL && node->moving > 0);
}

static void add_moving(struct fs *fs, uint64_t ino)
{
    struct node *node = node_get(&fs->nodes, ino);

    if (node != NULL)
        node->moving++;
}

void lane_mirror(struct fs *fs, struct mirror_op *op)
{
    struct lane_job *job = lane_job_new(&fs->lanes.names, LANE_MIRROR, op->ino);

    job->op = op;
    lane_delay_begin(job);
    job->after_a = fs->lanes.pages.n_posted;
    if (mirror_moves(op)) {
        job->moving[0] = op->ino;
        job->moving[1] = op->victim;
        add_moving(fs, op->ino);
        add_moving(fs, op->victim);
    }
}

/* ---- Too many jobs ---- */

/* A request that waits for one of them waits for `instead`. */
static void replace_jobs(struct fs *fs, struct lane_job *instead)
{
    struct lane_job *job, *next;

    for (job = lane_job_first(&fs->lanes.names); job != NULL; job = next) {
        next = lane_job_next(job);
        if (job->running || job == instead)
            continue;
        if (job->op != NULL)
            mirror_count_given_up(&fs->mirror, job->op);
        requests_move(&job->after, &instead->after);
        lane_job_finish(fs, job);
    }
}

static void shed_jobs(struct fs *fs)
{
    struct lane *lane = &fs->lanes.names;
    struct lane_job *job;

    if (lane->n_jobs <= fs->options.lane_max || lane->n_posted < fs->lanes.shed_at)
        return;
    fs->lanes.shed_at = lane->n_posted + fs->options.lane_max;
    for (job = lane_job_first(lane); job != NULL; job = lane_job_next(job))
        if (job->op != NULL && !job->running)
            mirror_drop(job->op);
    if (lane_expire_all(fs))
        replace_jobs(fs, forget_all_names(fs));
}

/* ---- Which job is next
 * --------------------------------------------------------------------------- Several that only
 * forget may be with the thread, or one of the mirror's. */

struct waiting { /* inodes whose locks the waiting jobs need */
    uint64_t inos[WAITING_MAX];
    unsigned n;
};

static bool is_behind(const struct lane_job *job, const struct waiting *w)
{
    uint64_t inos[MIRROR_INOS];
    unsigned n = lane_job_inos(job, inos);

    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < w->n; k++)
            if (w->inos[k] == inos[i])
                return true;
    return false;
}

/* True if it has become late: its own inodes have kept it waiting too long. */
static bool becomes_late(struct lane_job *job)
{
    uint64_t now = clock_boot_ms();

    if (job->waits_ms == 0)
        job->waits_ms = now;
    if (now - job->waits_ms < LANE_LATE_MS)
        return false;
    lane_late_add(job);
    return true;
}

static bool can_run(struct lane_job *job, const struct waiting *w, bool *late)
{
    if (is_behind(job, w))
        return false;
    if (lane_job_is_held(job)) {
        *late = becomes_late(job);
        return false;
    }
    return !lane_job_is_early(job);
}

static void begin_jobs(struct fs *fs)
{
    struct lane *lane = &fs->lanes.names;
    struct waiting w = {.n = 0};
    struct lane_job *job, *next;
    bool late;

    for (job = TAILQ_FIRST(&lane->jobs); job != NULL; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->running && job->op == NULL)
            continue;
        if (job->running || lane->n_running >= RUNNING_MAX)
            return;
        if (job->op != NULL && !mirror_prepare(fs, job->op)) {
            atomic_store(&fs->lanes.look_again,
                         true); /* the directory that it needs is not known yet */
            return;
        }
        if (job->op != NULL && job->op->unwatched) {
            lane_delay_ignore(job);
            lane_job_finish(fs, job);
            continue;
        }
        if (lane_late_is(job)) {
            lane_late_add(job);
            continue;
        }
        late = false;
        if (!can_run(job, &w, &late)) {
            if (late)
                continue;
            if (w.n + MIRROR_INOS > WAITING_MAX)
                return;
            w.n += lane_job_inos(job, &w.inos[w.n]);
            continue;
        }
        if (job->op != NULL && lane->n_running > 0)
            return;
        lane_job_post(job);
        if (job->op != NULL)
            return;
    }
}

void lane_turn_names(struct fs *fs)
{
    struct lane *lane = &fs->lanes.names;

    atomic_store(&fs->lanes.look_again, false);
    shed_jobs(fs);
    if (lane->late_first)
        lane_late_begin(lane);
    begin_jobs(fs);
    if (!lane->late_first)
        lane_late_begin(lane);
    lane->late_first = !lane->late_first;
}

/* ---- Looking ---- */

bool lane_needs(struct fs *fs, uint64_t ino)
{
    const struct lane_job *job;
    uint64_t inos[MIRROR_INOS];

    for (job = lane_job_first(&fs->lanes.names); job != NULL; job = lane_job_next(job))
        for (unsigned i = lane_job_inos(job, inos); i > 0; i--)
            if (inos[i - 1] == ino)
                return true;
    return false;
}

bool lane_forgets_in(struct fs *fs, uint64_t dir)
{
    const struct lane_job *job;

    for (job = lane_job_first(&fs->lanes.names); job != NULL; job = lane_job_next(job))
        if (job->what == LANE_EPOCH || (job->name != NULL && job->parent == dir))
            return true;
    return mirror_renames_in(fs, dir);
}

static bool is_other(struct fs *fs, uint64_t was, uint64_t ino)
{
    return was != 0 && was != ino && node_lookups(&fs->nodes, was) > 0;
}

static bool is_name_of(const struct mirror_op *op, uint64_t parent, const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        if (op->names[i].dir == parent && strcmp(op->names[i].name, name) == 0)
            return true;
    return false;
}

bool lane_forgets_other(struct fs *fs, uint64_t parent, const char *name, uint64_t ino)
{
    const struct lane_job *job;

    for (job = lane_job_first(&fs->lanes.names); job != NULL; job = lane_job_next(job)) {
        if (job->name != NULL && job->parent == parent && strcmp(job->name, name) == 0 &&
            is_other(fs, job->ino, ino))
            return true;
        if (job->op != NULL && is_name_of(job->op, parent, name) &&
            (is_other(fs, job->op->ino, ino) || is_other(fs, job->op->victim, ino)))
            return true;
    }
    return false;
}
