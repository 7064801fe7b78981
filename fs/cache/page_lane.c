/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "fs/cache/lane_job.h"
#include "fs/cache/lane_late.h"
#include "fs/state.h"

/* NULL: the kernel does not know the inode. */
static struct lane_job *forget_new(struct fs *fs, enum lane_what what, uint64_t ino)
{
    struct node *node = node_get(&fs->nodes, ino);

    if (node != NULL)
        node->job = lane_job_new(&fs->lanes.pages, what, ino);
    return node == NULL ? NULL : node->job;
}

static void forget(struct fs *fs, enum lane_what what, uint64_t ino)
{
    struct lane_job *job = forget_new(fs, what, ino);

    if (job != NULL)
        lane_late_post(job);
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
    lane_late_post(job);
}

void lane_forget_now(struct fs *fs, uint64_t ino)
{
    struct lane_job *job, *next;

    for (job = TAILQ_FIRST(&fs->lanes.held); job != NULL; job = next) {
        next = TAILQ_NEXT(job, retry_link);
        if (ino == 0 || job->ino == ino)
            unhold(fs, job);
    }
}

int lane_turn_pages(struct fs *fs)
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
