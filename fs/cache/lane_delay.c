/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/lane_delay.h"

#include "base/clock.h"
#include "fs/kernel/mount.h"
#include "fs/kernel/notify.h"
#include "fs/state.h"

const unsigned fs_delay_bounds_ms[FS_DELAYS - 1] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000};

static bool is_about_name(const struct lane_job *job)
{
    return job->op != NULL ? mirror_has_names(job->op) : job->name != NULL;
}

static void note(struct lane_delays *d, uint64_t ms)
{
    unsigned i = 0;

    while (i < ARRAY_LEN(fs_delay_bounds_ms) && ms > fs_delay_bounds_ms[i])
        i++;
    atomic_fetch_add(&d->counts[i], 1);
    atomic_fetch_add(&d->sum_ms, ms);
    if (ms > atomic_load(&d->max_ms))
        atomic_store(&d->max_ms, ms);
}

/* The kernel cannot use the old name any more. */
static void settle(struct lane_job *job, bool counts)
{
    struct lane_delays *d = &job->lane->fs->lanes.delays;

    if (!job->stale)
        return;
    job->stale = false;
    atomic_fetch_sub(&d->n_stale, 1);
    if (counts)
        note(d, clock_boot_ms() - job->born_ms);
}

void lane_delay_begin(struct lane_job *job)
{
    struct lanes *l = &job->lane->fs->lanes;

    job->born_ms = l->changed_ms != 0 ? l->changed_ms : clock_boot_ms();
    job->stale = is_about_name(job);
    if (job->stale && atomic_fetch_add(&l->delays.n_stale, 1) == 0)
        l->delays.since_ms = job->born_ms;
}

void lane_delay_end(struct lane_job *job)
{
    settle(job, true);
}

void lane_delay_ignore(struct lane_job *job)
{
    settle(job, false);
}

/* ---- The bound ---- */

static void settle_all(struct lane_jobs *jobs)
{
    struct lane_job *job;

    TAILQ_FOREACH (job, jobs, link)
        settle(job, true);
}

bool lane_expire_all(struct fs *fs)
{
    struct lane *lane = &fs->lanes.names;

    if (!notify_has_epoch(&fs->io) || mount_has_submounts(fs->mount_id) ||
        notify_epoch(&fs->io) != 0)
        return false;
    fs->lanes.asked_again = lane->n_posted;
    settle_all(&lane->jobs);
    settle_all(&lane->late);
    return true;
}

static uint64_t find_oldest(const struct lane_jobs *jobs, uint64_t oldest)
{
    const struct lane_job *job;

    TAILQ_FOREACH (job, jobs, link)
        if (job->stale)
            oldest = min_u64(oldest, job->born_ms);
    return oldest;
}

int lane_delay_turn(struct fs *fs)
{
    struct lane_delays *d = &fs->lanes.delays;
    uint64_t now;

    if (atomic_load(&d->n_stale) == 0)
        return -1;
    now = clock_boot_ms();
    if (now - d->since_ms >= LANE_STALE_MS) /* the oldest of then may have gone since */
        d->since_ms = find_oldest(&fs->lanes.names.late, find_oldest(&fs->lanes.names.jobs, now));
    if (now - d->since_ms < LANE_STALE_MS)
        return (int)(LANE_STALE_MS - (now - d->since_ms));
    if (now < d->next_ms || lane_expire_all(fs))
        return atomic_load(&d->n_stale) == 0 ? -1 : LANE_STALE_MS;
    d->next_ms = now + LANE_STALE_MS; /* not possible now */
    return LANE_STALE_MS;
}

/* ---- Status ---- */

void fs_names_status(struct fs *fs, struct fs_names_status *out)
{
    const struct lane_delays *d = &fs->lanes.delays;

    for (unsigned i = 0; i < FS_DELAYS; i++)
        out->counts[i] = atomic_load(&d->counts[i]);
    out->max_ms = atomic_load(&d->max_ms);
    out->sum_ms = atomic_load(&d->sum_ms);
    out->stale = atomic_load(&d->n_stale);
    out->late = atomic_load(&d->n_late);
}

uint64_t fs_names_p99_ms(const struct fs_names_status *s)
{
    uint64_t all = 0, within = 0;

    for (unsigned i = 0; i < FS_DELAYS; i++)
        all += s->counts[i];
    for (unsigned i = 0; i < ARRAY_LEN(fs_delay_bounds_ms); i++) {
        within += s->counts[i];
        if (within >= all - all / 100)
            return fs_delay_bounds_ms[i];
    }
    return UINT64_MAX;
}
