/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things. A change is committed; then its news arrive at the reader thread; from then
 * on every answer shows the new state, and what was answered before is to be forgotten: the jobs.
 * An answer that is still on its way to its reader in the kernel when the job is done could bring
 * the old state back. For pages, names and the attributes of known inodes the kernel has locks or
 * versions against that; but an inode that it is just about to make from such an answer is not
 * there yet when the job comes, and the job fails with ENOENT. So that is tried again, as long as
 * the kernel may know the inode. */
#include "fs/cache/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/kernel/mount.h"
#include "fs/kernel/notify.h"
#include "fs/mirror/mirror.h"
#include "fs/state.h"

#define RETRIES       3
#define BUSY_MS       1000 /* between two looks at what has a mount on it */
#define RUNNING_MAX   64   /* jobs of lane B that its thread has */
#define WAITING_MAX   64
#define LOOK_AGAIN_MS 1

static const unsigned retry_ms[RETRIES] = {2, 20, 200};

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
    uint64_t after_a;     /* the last job of lane A that comes before it */
    bool running;
    uint64_t held_until_ms; /* 0: it is not */
    int err;
    unsigned tries;
    uint64_t retry_at_ms;
    struct request_queue waiters; /* for this job */
    struct request_queue after;   /* for this and all before it */
};

/* ---- The threads --------------------------------------------------------------------------------
 */

static int run_job(struct fs *fs, const struct lane_job *job)
{
    struct io *io = &fs->io;
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
        return mirror_run(&fs->mirror, io, job->op);
    }
    return -EINVAL;
}

static void on_job_done(struct mail *mail);

static struct lane_job *next_job(struct lane *lane)
{
    struct lane_job *job;

    pthread_mutex_lock(&lane->lock);
    while ((job = STAILQ_FIRST(&lane->todo)) == NULL && !lane->stop)
        pthread_cond_wait(&lane->changed, &lane->lock);
    if (lane->stop)
        job = NULL;
    else
        STAILQ_REMOVE_HEAD(&lane->todo, todo_link);
    pthread_mutex_unlock(&lane->lock);
    return job;
}

static void *lane_run(void *arg)
{
    struct lane *lane = arg;
    struct lane_job *job;

    if (lane == &lane->fs->lanes.b)
        mirror_start(&lane->fs->mirror);
    while ((job = next_job(lane)) != NULL) {
        job->err = run_job(lane->fs, job);
        mailbox_post(&lane->fs->mailbox, &job->mail, on_job_done);
    }
    if (lane == &lane->fs->lanes.b)
        mirror_stop(&lane->fs->mirror);
    atomic_store(&lane->ended, true);
    return NULL;
}

static void lane_start(struct lane *lane, struct fs *fs)
{
    lane->fs = fs;
    check(pthread_mutex_init(&lane->lock, NULL) == 0);
    check(pthread_cond_init(&lane->changed, NULL) == 0);
    STAILQ_INIT(&lane->todo);
    TAILQ_INIT(&lane->jobs);
    atomic_init(&lane->ended, false);
    check(pthread_create(&lane->thread, NULL, lane_run, lane) == 0);
}

void lanes_start(struct fs *fs)
{
    fs->lanes.next_retry_ms = UINT64_MAX;
    TAILQ_INIT(&fs->lanes.retries);
    TAILQ_INIT(&fs->lanes.held);
    lane_start(&fs->lanes.a, fs);
    lane_start(&fs->lanes.b, fs);
}

static void lane_ask_end(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->stop = true;
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

void lanes_ask_end(struct fs *fs)
{
    lane_ask_end(&fs->lanes.a);
    lane_ask_end(&fs->lanes.b);
    mirror_ask_end(&fs->mirror);
}

bool lanes_ended(struct fs *fs)
{
    return atomic_load(&fs->lanes.a.ended) && atomic_load(&fs->lanes.b.ended);
}

static void job_free(struct lane_job *job)
{
    TAILQ_REMOVE(&job->lane->jobs, job, link);
    job->lane->n_jobs--;
    if (job->op != NULL)
        mirror_op_free(&job->lane->fs->mirror, job->op);
    free(job->name);
    free(job);
}

static void lane_fini(struct lane *lane)
{
    struct lane_job *job;

    check(pthread_join(lane->thread, NULL) == 0);
    while ((job = TAILQ_FIRST(&lane->jobs)) != NULL)
        job_free(job);
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
    lane_fini(&fs->lanes.a);
    lane_fini(&fs->lanes.b);
}

/* ---- Jobs ---------------------------------------------------------------------------------------
 */

static void job_post(struct lane_job *job)
{
    struct lane *lane = job->lane;

    job->running = true;
    lane->n_running++;
    pthread_mutex_lock(&lane->lock);
    STAILQ_INSERT_TAIL(&lane->todo, job, todo_link);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

static struct lane_job *job_alloc(struct lane *lane, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = xcalloc(1, sizeof(*job));

    job->lane = lane;
    job->what = what;
    job->ino = ino;
    TAILQ_INIT(&job->waiters);
    TAILQ_INIT(&job->after);
    return job;
}

static void job_add(struct lane_job *job)
{
    struct lane *lane = job->lane;

    TAILQ_INSERT_TAIL(&lane->jobs, job, link);
    lane->n_jobs++;
    job->number = ++lane->n_posted;
}

static struct lane_job *job_new(struct lane *lane, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = job_alloc(lane, what, ino);

    job_add(job);
    return job;
}

/* NULL: the kernel does not know the inode. */
static struct lane_job *forget_new(struct fs *fs, enum lane_what what, uint64_t ino)
{
    struct node *node = node_get(&fs->nodes, ino);

    if (node != NULL)
        node->job = job_new(&fs->lanes.a, what, ino);
    return node == NULL ? NULL : node->job;
}

static void forget(struct fs *fs, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = forget_new(fs, what, ino);

    if (job != NULL)
        job_post(job);
}

void lane_forget_attr(struct fs *fs, uint64_t ino)
{
    forget(fs, LANE_ATTR, ino);
}

void lane_forget_inode(struct fs *fs, uint64_t ino)
{
    forget(fs, LANE_INODE, ino);
}

void lane_forget_inode_at(struct fs *fs, uint64_t ino, uint64_t at_ms)
{
    struct lane_job *job = forget_new(fs, LANE_INODE, ino);

    if (job == NULL)
        return;
    job->held_until_ms = at_ms;
    TAILQ_INSERT_TAIL(&fs->lanes.held, job, retry_link);
}

static void unhold(struct fs *fs, struct lane_job *job)
{
    TAILQ_REMOVE(&fs->lanes.held, job, retry_link);
    job->held_until_ms = 0;
    job_post(job);
}

/* ino 0: of all. */
static void unhold_those(struct fs *fs, uint64_t ino)
{
    struct lane_job *job, *next;

    for (job = TAILQ_FIRST(&fs->lanes.held); job != NULL; job = next) {
        next = TAILQ_NEXT(job, retry_link);
        if (ino == 0 || job->ino == ino)
            unhold(fs, job);
    }
}

void lane_forget_now(struct fs *fs, uint64_t ino)
{
    unhold_those(fs, ino);
}

void lane_forget_name(struct fs *fs, enum lane_what what, uint64_t parent, const void *name,
                      size_t name_len, uint64_t ino)
{
    struct node *node;
    struct lane_job *job;

    if (node_lookups(&fs->nodes, parent) == 0)
        return;
    node = node_get(&fs->nodes, ino);
    job = job_new(&fs->lanes.b, what, ino);
    job->parent = parent;
    job->name = xcalloc(1, name_len + 1);
    memcpy(job->name, name, name_len);
    if (node != NULL)
        node->moving++;
}

static struct lane_job *forget_all_names(struct fs *fs)
{
    fs->lanes.n_epochs++;
    return job_new(&fs->lanes.b, LANE_EPOCH, 0);
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

static void end_moving(struct fs *fs, uint64_t ino)
{
    struct node *node = node_find(&fs->nodes, ino);

    if (node != NULL && node->moving > 0)
        node->moving--;
    node_settle(&fs->nodes, ino);
}

void lane_mirror(struct fs *fs, struct mirror_op *op)
{
    struct lane_job *job = job_new(&fs->lanes.b, LANE_MIRROR, op->ino);

    job->op = op;
    job->after_a = fs->lanes.a.n_posted;
    if (mirror_moves(op)) {
        job->moving[0] = op->ino;
        job->moving[1] = op->victim;
        add_moving(fs, op->ino);
        add_moving(fs, op->victim);
    }
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

static void finish_job(struct fs *fs, struct lane_job *job)
{
    struct lane_job *before = TAILQ_PREV(job, lane_jobs, link);

    if (job->what == LANE_EPOCH)
        fs->lanes.n_epochs--;
    unmark_node(fs, job);
    if (before != NULL)
        requests_move(&job->after, &before->after);
    request_wake(&job->waiters, 0);
    request_wake(&job->after, 0);
    job_free(job);
}

/* ---- Too many jobs ------------------------------------------------------------------------------
 */

/* Who waits for one of them waits for `instead`. */
static void replace_jobs(struct fs *fs, struct lane_job *instead)
{
    struct lane_job *job, *next;

    for (job = TAILQ_FIRST(&fs->lanes.b.jobs); job != instead; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->running)
            continue;
        if (job->op != NULL)
            mirror_count_given_up(&fs->mirror, job->op);
        requests_move(&job->after, &instead->after);
        finish_job(fs, job);
    }
}

static void shed_jobs(struct fs *fs)
{
    struct lane *b = &fs->lanes.b;
    struct lane_job *job;

    if (b->n_jobs <= fs->options.lane_max || b->n_posted < fs->lanes.shed_at)
        return;
    fs->lanes.shed_at = b->n_posted + fs->options.lane_max;
    TAILQ_FOREACH (job, &b->jobs, link)
        if (job->op != NULL && !job->running)
            mirror_drop(job->op);
    if (notify_has_epoch(&fs->io) && !mount_has_submounts(fs->mount_id))
        replace_jobs(fs, forget_all_names(fs));
}

/* ---- Which job of lane B is next ----------------------------------------------------------------
 * Several that only forget may be with the thread, or one of the mirror's. */

struct waiting { /* inodes whose locks jobs that wait need */
    uint64_t inos[WAITING_MAX];
    unsigned n;
};

static unsigned needs(const struct lane_job *job, uint64_t out[MIRROR_INOS])
{
    if (job->op != NULL)
        return mirror_inos(job->op, out);
    out[0] = job->parent;
    return job->parent != 0;
}

static bool must_wait(struct fs *fs, const struct lane_job *job, const struct waiting *w)
{
    uint64_t inos[MIRROR_INOS];
    unsigned n = needs(job, inos);

    for (unsigned i = 0; i < n; i++) {
        if (requests_hold(fs, inos[i]))
            return true;
        for (unsigned k = 0; k < w->n; k++)
            if (w->inos[k] == inos[i])
                return true;
    }
    return false;
}

/* Until when it is, nobody tells us. */
static bool rests(struct fs *fs, const struct lane_job *job)
{
    if (job->op == NULL || job->op->rest_until_ms == 0 || job->op->rest_until_ms <= clock_boot_ms())
        return false;
    atomic_store(&fs->lanes.look_again, true);
    return true;
}

static bool can_run(struct fs *fs, const struct lane_job *job, const struct waiting *w)
{
    const struct lane_job *a = TAILQ_FIRST(&fs->lanes.a.jobs);

    return !must_wait(fs, job, w) && !rests(fs, job) &&
           (job->op == NULL || a == NULL || a->number > job->after_a);
}

static void begin_jobs(struct fs *fs)
{
    struct lane *b = &fs->lanes.b;
    struct waiting w = {.n = 0};
    struct lane_job *job, *next;

    atomic_store(&fs->lanes.look_again, false);
    for (job = TAILQ_FIRST(&b->jobs); job != NULL; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->running && job->op == NULL)
            continue;
        if (job->running || b->n_running >= RUNNING_MAX)
            return;
        if (job->op != NULL && !mirror_prepare(fs, job->op)) {
            atomic_store(&fs->lanes.look_again,
                         true); /* which directory it needs, is not known yet */
            return;
        }
        if (job->op != NULL && job->op->unwatched) {
            finish_job(fs, job);
            continue;
        }
        if (!can_run(fs, job, &w)) {
            if (w.n + MIRROR_INOS > WAITING_MAX)
                return;
            w.n += needs(job, &w.inos[w.n]);
            continue;
        }
        if (job->op != NULL && b->n_running > 0)
            return;
        job_post(job);
        if (job->op != NULL)
            return;
    }
}

bool lane_needs(struct fs *fs, uint64_t ino)
{
    const struct lane_job *job;
    uint64_t inos[MIRROR_INOS];

    TAILQ_FOREACH (job, &fs->lanes.b.jobs, link)
        for (unsigned i = needs(job, inos); i > 0; i--)
            if (inos[i - 1] == ino)
                return true;
    return false;
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

    TAILQ_FOREACH (job, &fs->lanes.b.jobs, link) {
        if (job->name != NULL && job->parent == parent && strcmp(job->name, name) == 0 &&
            is_other(fs, job->ino, ino))
            return true;
        if (job->op != NULL && is_name_of(job->op, parent, name) &&
            (is_other(fs, job->op->ino, ino) || is_other(fs, job->op->victim, ino)))
            return true;
    }
    return false;
}

/* ---- Done ---------------------------------------------------------------------------------------
 */

static bool wants_retry(struct fs *fs, const struct lane_job *job)
{
    return job->lane == &fs->lanes.a && job->err == -ENOENT && job->tries < RETRIES &&
           node_lookups(&fs->nodes, job->ino) > 0;
}

static void put_off(struct fs *fs, struct lane_job *job, unsigned ms)
{
    job->retry_at_ms = clock_boot_ms() + ms;
    TAILQ_INSERT_TAIL(&fs->lanes.retries, job, retry_link);
    fs->lanes.next_retry_ms = min_u64(fs->lanes.next_retry_ms, job->retry_at_ms);
}

/* Nobody waits for the second attempt: it is a matter of an answer that is on its way. */
static void retry_later(struct fs *fs, const struct lane_job *done)
{
    struct lane_job *job = job_alloc(done->lane, done->what, done->ino);

    job->tries = done->tries + 1;
    put_off(fs, job, retry_ms[done->tries]);
}

/* Nor for names that have a mount on them. */
static void look_later(struct fs *fs, struct lane_job *busy)
{
    struct lane_job *job = job_alloc(busy->lane, busy->what, busy->ino);

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
    job->lane->n_running--;
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
    finish_job(fs, job);
}

static int retry_due(struct fs *fs)
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
            job_add(job);
            if (job->op == NULL) /* else its turn comes */
                job_post(job);
        }
    }
    return l->next_retry_ms == UINT64_MAX ? -1 : (int)(l->next_retry_ms - now);
}

static int unhold_due(struct fs *fs)
{
    struct lane_job *job, *next;
    uint64_t now, first = UINT64_MAX;

    if (TAILQ_EMPTY(&fs->lanes.held))
        return -1;
    now = clock_boot_ms();
    for (job = TAILQ_FIRST(&fs->lanes.held); job != NULL; job = next) {
        next = TAILQ_NEXT(job, retry_link);
        if (job->held_until_ms <= now)
            unhold(fs, job);
        else
            first = min_u64(first, job->held_until_ms);
    }
    return first == UINT64_MAX ? -1 : (int)(first - now);
}

int lanes_turn(struct fs *fs)
{
    int again_ms = retry_due(fs);
    int wait_ms = clock_sooner(again_ms, unhold_due(fs));

    shed_jobs(fs);
    begin_jobs(fs);
    return atomic_load(&fs->lanes.look_again) ? LOOK_AGAIN_MS : wait_ms;
}

/* ---- Waiting ------------------------------------------------------------------------------------
 */

bool lane_wait_inode(struct fs *fs, uint64_t ino, struct request *r)
{
    struct node *node = node_find(&fs->nodes, ino);

    if (node == NULL || node->job == NULL)
        return false;
    request_wait(r, &node->job->waiters);
    return true;
}

bool lane_move_waiters(struct fs *fs, uint64_t ino, struct request_queue *queue)
{
    struct node *node = node_find(&fs->nodes, ino);

    if (node == NULL || node->job == NULL)
        return false;
    requests_move(queue, &node->job->waiters);
    return true;
}

bool lane_wait_all(struct lane *lane, struct request *r)
{
    struct lane_job *last = TAILQ_LAST(&lane->jobs, lane_jobs);

    if (last == NULL)
        return false;
    unhold_those(lane->fs, 0); /* a barrier, or a lock: it is to be fast */
    request_wait(r, &last->after);
    return true;
}

void lane_then(struct lane *lane, struct request *r)
{
    if (!lane_wait_all(lane, r))
        request_end(r, 0);
}
