/* SPDX-License-Identifier: Apache-2.0 */
/* A member's files. Its disk counts operations. At some of them the power fails; at others the disk
 * starts to fail, until the event or the member ends. The remaining content is written into a new
 * directory, from which the next process starts. This happens immediately, because the old process
 * must not change its files any more, but the driver starts later. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/crash_vfs.h"
#include "tests/sim/files.h"
#include "tests/sim/impl.h"
#include "tests/sim/inside.h"

/* ---- Operations ------------------------------------------------------------------------------ */

struct member *disk_owner(const char *path)
{
    struct world *w = sim_world;
    size_t len;
    unsigned id;

    if (w == NULL)
        return NULL;
    len = strlen(w->dir);
    if (strncmp(path, w->dir, len) != 0 || sscanf(path + len, "/m%u.", &id) != 1)
        return NULL;
    return id <= RAFT_SIM_MAX ? w->members[id] : NULL;
}

bool files_ours(const char *path)
{
    return disk_owner(path) != NULL;
}

bool files_fail(const char *path)
{
    return disk_owner(path)->failing;
}

static void fail_disk(struct member *m)
{
    static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_IOERR_FSYNC};
    int rc = codes[raft_sim_pick(m->world->sim, 0, ARRAY_LEN(codes) - 1)];

    raft_sim_note(m->world->sim, "%u: its disk fails (%d)", m->id, rc);
    m->world->stats.disk_failures++;
    m->failing = true;
    crash_vfs_fail(1, rc);
}

/* Called before each operation of any disk. */
void disk_watch(const char *path)
{
    struct member *m = disk_owner(path);

    if (m == NULL || m->doomed || raft_sim_peaceful(m->world->sim) ||
        strncmp(path, m->dir, strlen(m->dir)) != 0)
        return;
    if (m->crash_in > 0 && --m->crash_in == 0) {
        raft_sim_note(m->world->sim, "%u: the power goes, at %s", m->id, strrchr(path, '/') + 1);
        if (m->recovers)
            disk_doom(m);
        else
            raft_sim_doom(m->world->sim, m->id);
    } else if (m->fail_in > 0 && !m->failing && --m->fail_in == 0) {
        fail_disk(m);
    }
}

void disk_arm(struct member *m)
{
    const struct sim_config *c = &m->world->config;
    struct raft_sim *sim = m->world->sim;

    m->crash_in = c->crash_ops > 0 ? raft_sim_pick(sim, 1, 2ull * c->crash_ops) : 0;
    m->fail_in = c->fail_ops > 0 ? raft_sim_pick(sim, 1, 2ull * c->fail_ops) : 0;
}

static void stop_failing(struct member *m)
{
    if (!m->failing)
        return;
    m->failing = false;
    crash_vfs_fail(0, 0);
    disk_arm(m);
}

void disk_after(struct member *m)
{
    stop_failing(m); /* a checkpoint or a snapshot has failed: the member continues */
}

/* ---- Background work ------------------------------------------------------------------------- */

static struct member *job_owner; /* the member whose store works */

static void job_started(struct background *b)
{
    struct member *m = job_owner;

    check(m != NULL && m->n_jobs < JOBS_MAX);
    m->jobs[m->n_jobs++] = b;
}

static void job_finished(struct background *b)
{
    for (unsigned id = 1; id <= RAFT_SIM_MAX; id++) {
        struct member *m = sim_world->members[id];

        for (unsigned i = 0; m != NULL && i < m->n_jobs; i++)
            if (m->jobs[i] == b)
                m->jobs[i--] = m->jobs[--m->n_jobs];
    }
}

const struct background_plan disk_plan = {job_started, job_finished, 40};

void disk_set_job_owner(struct member *m)
{
    job_owner = m;
}

void disk_run_jobs(struct member *m)
{
    while (m->n_jobs > 0) {
        struct background *b = m->jobs[0];

        m->jobs[0] = m->jobs[--m->n_jobs];
        background_run(b);
    }
}

/* ---- Life and death -------------------------------------------------------------------------- */

static void new_dir(struct member *m, char *out, size_t size)
{
    snprintf(out, size, "%s/m%u.%u", m->world->dir, m->id, ++m->incarnation);
    check(mkdir(out, 0700) == 0);
}

static struct store *open_store(struct member *m)
{
    struct store_identity identity = {.member = m->id, .cluster = "sim"};
    struct store *s = NULL;
    char errmsg[256] = "";
    int err = store_open(m->dir, &identity, &s, errmsg, sizeof errmsg);

    if (err != 0) {
        world_fail(m->world, "DURABILITY: member %u cannot open its database: %s (%s)", m->id,
                   errmsg, strerror(-err));
        raft_sim_die(m->world->sim, 0);
    }
    return s;
}

void disk_open(struct member *m)
{
    m->daemon.store = open_store(m);
    m->daemon.machine = machine_new(&m->daemon);
    m->inner = machine_of(m->daemon.machine);
}

/* The process has ended, perhaps within a transaction. Later changes to its files have no effect.
 */
void disk_close(struct member *m)
{
    struct store *s = m->daemon.store;

    if (s == NULL)
        return;
    m->daemon.store = NULL;
    machine_free(m->daemon.machine);
    inside_abandon(s);
}

void disk_doom(struct member *m)
{
    bool power = raft_sim_pick(m->world->sim, 0, 99) < 70;

    if (m->doomed)
        return;
    m->doomed = true;
    raft_sim_note(m->world->sim, "%u: %s", m->id, power ? "power cut" : "kill -9");
    new_dir(m, m->grave, sizeof m->grave);
    if (power)
        crash_vfs_cut(m->dir, m->grave);
    else
        crash_vfs_kill(m->dir, m->grave);
    m->world->stats.power_cuts += power;
    m->world->stats.kills += !power;
}

static void leave_dir(struct member *m)
{
    crash_vfs_forget_dir(m->dir);
    world_remove_dir(m->dir);
    snprintf(m->dir, sizeof m->dir, "%s", m->grave);
    crash_vfs_adopt(m->dir);
    m->doomed = false;
}

static void check_restart(struct member *m)
{
    struct world *w = m->world;
    struct store *s = m->daemon.store;
    struct store_raft_state raft;
    struct store_hash hash = store_state_hash(s);
    char why[256] = "";

    store_raft_state(s, &raft);
    buf_fini(&raft.config);
    if (raft.term < m->synced_term)
        world_fail(w, "DURABILITY: member %u has forgotten term %llu", m->id,
                   (unsigned long long)m->synced_term);
    else if (raft.last_index < m->synced_last)
        world_fail(w, "DURABILITY: member %u has forgotten row %llu of its log", m->id,
                   (unsigned long long)m->synced_last);
    else if (raft.applied > w->reference->applied)
        world_fail(w, "STATE HASH: member %u has applied %llu", m->id,
                   (unsigned long long)raft.applied);
    else if (memcmp(&hash, &w->reference->hashes[raft.applied], sizeof hash) != 0)
        world_fail(w, "STATE HASH: member %u has another state at %llu after a crash", m->id,
                   (unsigned long long)raft.applied);
    w->stats.restarts++;
    if (w->config.check_every == 0 || w->stats.restarts % w->config.check_every != 0)
        return;
    w->stats.store_checks++;
    if (!store_check(s, why, sizeof why))
        world_fail(w, "CHECK: member %u after a crash: %s", m->id, why);
}

void disk_crash(struct member *m)
{
    stop_failing(m);
    disk_close(m);
    m->installing = NULL;
    m->n_jobs = 0;
    leave_dir(m);
    disk_arm(m);
    m->fail_in = 0; /* store_open would return an error, and a daemon would end */
    m->recovers = true;
    disk_open(m);
    if (m->doomed) { /* again doomed */
        disk_close(m);
        leave_dir(m);
        m->crash_in = 0;
        disk_open(m);
    }
    m->recovers = false;
    disk_arm(m);
    check_restart(m);
}
