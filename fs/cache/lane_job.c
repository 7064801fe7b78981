/* SPDX-License-Identifier: Apache-2.0 */
/* The order of events. A change is committed, and then delivered to the reader thread. From then on
 * every answer shows the new state, and earlier answers must be invalidated: that is what jobs do.
 * An answer that is still on its way inside the kernel when a job runs could bring the old state
 * back. For pages, names and the attributes of known inodes the kernel has locks or versions
 * against that. But an inode that the kernel is just creating from such an answer does not exist
 * yet, and the job fails with ENOENT. So the job is repeated as long as the kernel may know the
 * inode. */
#include "fs/cache/lane_job.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/cache/lane_delay.h"
#include "fs/cache/lane_late.h"
#include "fs/kernel/notify.h"
#include "fs/mirror/mirror.h"
#include "fs/state.h"

#define RETRIES 3
#define BUSY_MS 1000 /* between two looks at a name that has a mount on it */

static const unsigned retry_ms[RETRIES] = {2, 20, 200};

/* ---- Life ---- */

struct lane_job *lane_job_alloc(struct lane *lane, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = xcalloc(1, sizeof(*job));

    job->lane = lane;
    job->what = what;
    job->ino = ino;
    TAILQ_INIT(&job->waiters);
    TAILQ_INIT(&job->after);
    return job;
}

void lane_job_add(struct lane_job *job)
{
    struct lane *lane = job->lane;

    TAILQ_INSERT_TAIL(&lane->jobs, job, link);
    lane->n_jobs++;
    job->number = ++lane->n_posted;
}

struct lane_job *lane_job_new(struct lane *lane, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = lane_job_alloc(lane, what, ino);

    lane_job_add(job);
    return job;
}

void lane_job_free(struct lane_job *job)
{
    lane_delay_end(job);
    lane_late_remove(job);
    TAILQ_REMOVE(job->late ? &job->lane->late : &job->lane->jobs, job, link);
    job->lane->n_jobs--;
    if (job->op != NULL)
        mirror_op_free(&job->lane->fs->mirror, job->op);
    free(job->name);
    free(job);
}

unsigned lane_job_inos(const struct lane_job *job, uint64_t out[MIRROR_INOS])
{
    if (job->op != NULL)
        return mirror_inos(job->op, out);
    out[0] = job->parent != 0 ? job->parent : job->ino;
    return out[0] != 0;
}

static bool has_names(const struct lane_job *job)
{
    return job->lane == &job->lane->fs->lanes.names;
}

/* Nobody tells us when the rest is over, so the reader looks again. */
static bool rests(struct lane_job *job)
{
    if (job->op == NULL || job->op->rest_until_ms == 0 || job->op->rest_until_ms <= clock_boot_ms())
        return false;
    atomic_store(&job->lane->fs->lanes.look_again, true);
    return true;
}

bool lane_job_is_held(struct lane_job *job)
{
    uint64_t inos[MIRROR_INOS];

    if (!has_names(job))
        return false;
    for (unsigned i = lane_job_inos(job, inos); i > 0; i--)
        if (requests_hold(job->lane->fs, inos[i - 1]))
            return true;
    return rests(job);
}

bool lane_job_is_early(const struct lane_job *job)
{
    const struct lane_job *a = TAILQ_FIRST(&job->lane->fs->lanes.pages.jobs);

    return job->op != NULL && a != NULL && a->number <= job->after_a;
}

struct lane_job *lane_job_first(const struct lane *lane)
{
    struct lane_job *job = TAILQ_FIRST(&lane->jobs);

    return job != NULL ? job : TAILQ_FIRST(&lane->late);
}

struct lane_job *lane_job_next(const struct lane_job *job)
{
    struct lane_job *next = TAILQ_NEXT(job, link);

    return next != NULL || job->late ? next : TAILQ_FIRST(&job->lane->late);
}

/* ---- Doing it ---- */

int lane_job_run(struct mirror_process *process, struct lane_job *job)
{
    struct io *io = &job->lane->fs->io;
    int err;

    switch (job->what) {
    case LANE_ATTR:
        return notify_attr(io, job->ino);
    case LANE_INODE:
        return notify_inode(io, job->ino);
    case LANE_ENTRY:
        return notify_entry(io, job->parent, job->name);
    case LANE_EXPIRE:
        err = notify_expire(io, job->parent, job->name);
        return err == -ENOSYS ? notify_entry(io, job->parent, job->name) : err;
    case LANE_DELETE:
        return notify_delete(io, job->parent, job->ino, job->name);
    case LANE_EPOCH:
        return notify_epoch(io);
    case LANE_MIRROR:
        return mirror_run(process, io, job->op);
    }
    return -EINVAL;
}

static void on_job_done(struct mail *mail);

void lane_job_done(struct lane_job *job)
{
    mailbox_post(&job->lane->fs->mailbox, &job->mail, on_job_done);
}

void lane_job_post(struct lane_job *job)
{
    struct lane *lane = job->lane;

    job->running = true;
    lane->n_running++;
    pthread_mutex_lock(&lane->lock);
    STAILQ_INSERT_TAIL(&lane->todo, job, todo_link);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

/* ---- Done ---- */

static void end_moving(struct fs *fs, uint64_t ino)
{
    struct node *node = node_find(&fs->nodes, ino);

    if (node != NULL && node->moving > 0)
        node->moving--;
    node_settle(&fs->nodes, ino);
}

static void unmark_node(struct fs *fs, struct lane_job *job)
{
    struct node *node;

    end_moving(fs, job->moving[0]);
    end_moving(fs, job->moving[1]);
    node = node_find(&fs->nodes, job->ino);
    if (node == NULL)
        return;
    if (job->name != NULL && node->moving > 0)
        node->moving--;
    if (node->job == job)
        node->job = NULL;
    node_settle(&fs->nodes, job->ino);
}

void lane_job_finish(struct fs *fs, struct lane_job *job)
{
    struct lane_job *before = TAILQ_PREV(job, lane_jobs, link);

    if (job->what == LANE_EPOCH)
        fs->lanes.n_epochs--;
    unmark_node(fs, job);
    if (before != NULL)
        requests_move(&job->after, &before->after);
    else if (!job->late)
        lane_late_pass(job->lane, &job->after);
    request_wake(&job->waiters, 0);
    request_wake(&job->after, 0);
    lane_job_free(job);
}

static bool wants_retry(struct fs *fs, const struct lane_job *job)
{
    return job->lane == &fs->lanes.pages && job->err == -ENOENT && job->tries < RETRIES &&
           node_lookups(&fs->nodes, job->ino) > 0;
}

static void put_off(struct fs *fs, struct lane_job *job, unsigned ms)
{
    job->retry_at_ms = clock_boot_ms() + ms;
    TAILQ_INSERT_TAIL(&fs->lanes.retries, job, retry_link);
    fs->lanes.next_retry_ms = min_u64(fs->lanes.next_retry_ms, job->retry_at_ms);
}

/* No request waits for the second attempt: it concerns an answer that is on its way. */
static void retry_later(struct fs *fs, const struct lane_job *done)
{
    struct lane_job *job = lane_job_alloc(done->lane, done->what, done->ino);

    job->tries = done->tries + 1;
    put_off(fs, job, retry_ms[done->tries]);
}

/* Nor for names that have a mount on them. */
static void look_later(struct fs *fs, struct lane_job *busy)
{
    struct lane_job *job = lane_job_alloc(busy->lane, busy->what, busy->ino);

    job->op = busy->op;
    job->op->late = true;
    busy->op = NULL;
    put_off(fs, job, BUSY_MS);
}

static void on_job_done(struct mail *mail)
{
    struct lane_job *job = CONTAINER_OF(mail, struct lane_job, mail);
    struct fs *fs = job->lane->fs;

    job->running = false;
    if (!job->stuck)
        job->lane->n_running--;
    job->stuck = false;
    job->lane->late_changed = true;
    if (job->op != NULL && job->err == -EAGAIN) { /* its turn comes again */
        if (!mirror_find_paths(fs, job->op))
            atomic_store(&job->op->refused, true);
        return;
    }
    if (job->op != NULL && job->err == -EINPROGRESS) { /* so it does, in a while */
        job->op->rest_until_ms =
            clock_boot_ms() + min_u64(1ull << min_u64(job->op->rests, 20), MIRROR_REST_MS);
        return;
    }
    if (wants_retry(fs, job))
        retry_later(fs, job);
    else if (job->op != NULL && job->err == -EBUSY)
        look_later(fs, job);
    lane_job_finish(fs, job);
}

int lane_job_retry_due(struct fs *fs)
{
    struct lanes *l = &fs->lanes;
    struct lane_job *job, *next;
    uint64_t now;

    if (l->next_retry_ms == UINT64_MAX)
        return -1;
    now = clock_boot_ms();
    if (l->next_retry_ms <= now) {
        l->next_retry_ms = UINT64_MAX;
        for (job = TAILQ_FIRST(&l->retries); job != NULL; job = next) {
            next = TAILQ_NEXT(job, retry_link);
            if (job->retry_at_ms > now) {
                l->next_retry_ms = min_u64(l->next_retry_ms, job->retry_at_ms);
                continue;
            }
            TAILQ_REMOVE(&l->retries, job, retry_link);
            lane_job_add(job);
            if (job->op == NULL) /* else its turn comes */
                lane_late_post(job);
        }
    }
    return l->next_retry_ms == UINT64_MAX ? -1 : (int)(l->next_retry_ms - now);
}
