/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim.h"

#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "raft/snapshot.h"
#include "tests/lib/crash_vfs.h"
#include "tests/sim/impl.h"
#include "tests/sim/inside.h"

#define HEAL_US       120000000u
#define ELECTIONS_MAX 5
#define REPLIES_MAX   200 /* of a session, after all requests are answered */

struct world *sim_world;

void world_fail(struct world *w, const char *fmt, ...)
{
    char text[480];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    raft_sim_fail(w->sim, "%s", text);
}

/* ---- Worlds ---------------------------------------------------------------------------------- */

void sim_random(struct sim_config *config, uint64_t seed)
{
    struct raft_sim_config *c = &config->raft;
    uint64_t chance = seed * 0x9e3779b97f4a7c15u + 7;
    struct gen_rng rng = gen_rng_from(chance);
#define ONE_OF(...)                                                                                \
    ((const unsigned[]){                                                                           \
        __VA_ARGS__}[gen_below(&rng, sizeof(unsigned[]){__VA_ARGS__} / sizeof(unsigned))])

    memset(config, 0, sizeof *config);
    raft_sim_random(c, seed);
    c->n = ONE_OF(1, 3, 3, 4, 5, 5, 6, 7);
    c->voters = c->n == 1 ? 1 : ONE_OF(1, 2, 3, 3, 3);
    c->standbys = c->n > c->voters ? ONE_OF(0, 0, 1) : 0;
    c->compact_every = ONE_OF(5, 20, 100, 400);
    c->compact_trailing = ONE_OF(0, 3, 20, 200);
    c->propose_every = ONE_OF(1000, 3000, 10000, 30000);
    c->barrier_every = ONE_OF(10000, 50000, 200000);
    c->drift_ppm = ONE_OF(0, 0, 200, 20000);
    c->pause_every = ONE_OF(0, 0, 500000, 2000000);
    c->pause_max = ONE_OF(50000, 500000, 3000000);
    c->jump_every = ONE_OF(0, 1000000);
    c->fresh_links = true;
    c->crash_commit = ONE_OF(0, 0, 1, 3);
    config->model = gen_below(&rng, 3) == 0;
    config->crash_ops = ONE_OF(0, 0, 500, 3000);
    config->fail_ops = ONE_OF(0, 0, 1000, 5000);
    config->deadlines = ONE_OF(0, 0, 30, 200);
    config->check_every = 3;
    config->run_ms = ONE_OF(2000, 4000, 4000, 8000);
#undef ONE_OF
}

/* ---- Files ----------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st BASE_UNUSED, int type BASE_UNUSED,
                      struct FTW *ftw BASE_UNUSED)
{
    return remove(path);
}

void world_remove_dir(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* In memory if possible: the simulation decides how the disk behaves. */
static void make_dir(struct world *w)
{
    const char *tmp = getenv("TMPDIR");

    if (tmp == NULL)
        tmp = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(w->dir, sizeof w->dir, "%s/coordfs-sim.XXXXXX", tmp);
    check(mkdtemp(w->dir) != NULL);
}

/* ---- The end --------------------------------------------------------------------------------- */

/* Each appended number is in the file at most once, each answered one exactly once, at the offset
 * in its answer. */
static void check_journal(struct world *w)
{
    struct reference *r = w->reference;
    struct reference_row *row, *next;
    uint64_t number, *seen;
    Cfs__Attr attr;

    if (r->journal == 0 || w->config.model)
        return;
    check(reader_attr(r->reader, r->journal, &attr) == 0);
    seen = xcalloc(w->next_number + 1, sizeof *seen);
    for (uint64_t at = 0; at < attr.size; at += sizeof number) {
        check(reader_read(r->reader, r->journal, at, &number, sizeof number) == sizeof number);
        if (number == 0 || number > w->next_number || seen[number]++ > 0)
            world_fail(w, "ONCE: number %" PRIu64 " is in the journal twice, or was never assigned",
                       number);
    }
    free(seen);
    if (attr.size < w->journal_answered)
        world_fail(w, "DURABILITY: the journal has %" PRIu64 " bytes, %" PRIu64 " were answered",
                   attr.size, w->journal_answered);
    HASH_ITER (hh, r->rows, row, next)
        if (row->index > r->applied)
            world_fail(w, "DURABILITY: entry %" PRIu64 " is lost", row->index);
}

/* True in worlds where compaction is quick: no receiver of a snapshot delays it, and enough is
 * written to make every member compact twice. */
static bool may_compact(const struct raft_sim_config *c)
{
    return c->compact_every <= 5;
}

static bool write_more(struct world *w)
{
    const struct raft_sim_config *c = &w->config.raft;
    uint64_t now, leader = raft_sim_leader(w->sim);

    if (!may_compact(c))
        return true;
    raft_sim_run(w->sim, SNAPSHOT_SILENT_MS * 1000ull * 11 / 10);
    now = raft_sim_now(w->sim);
    for (uint64_t i = 0; i < 2 * c->compact_every; i++)
        raft_sim_ask(w->sim, (unsigned)leader, now += 2 * (c->delay_max + c->sync_max));
    raft_sim_run(w->sim, now - raft_sim_now(w->sim));
    return raft_sim_settle(w->sim, HEAL_US);
}

static void check_member(struct world *w, struct member *m)
{
    const struct raft_sim_config *c = &w->config.raft;
    struct store_counts counts;
    char why[256] = "";

    store_counts(m->daemon.store, &counts);
    if (may_compact(c) && counts.log_rows > 2 * c->compact_every + c->compact_trailing + 20)
        world_fail(w, "GROWTH: member %u has %" PRIu64 " rows in its log", m->id, counts.log_rows);
    if (inside_count_replies(m->daemon.store) > counts.sessions * REPLIES_MAX)
        world_fail(w, "GROWTH: member %u keeps %" PRIu64 " replies of %" PRIu64 " sessions", m->id,
                   inside_count_replies(m->daemon.store), counts.sessions);
    w->stats.store_checks++;
    if (!store_check(m->daemon.store, why, sizeof why))
        world_fail(w, "CHECK: member %u at the end: %s", m->id, why);
}

/* Trouble still has effects after its end: the last pause, the last slow disk. */
static uint64_t echo_us(const struct raft_sim_config *c)
{
    uint64_t echo = c->pause_every > 0 ? c->pause_max : 0;

    return max_u64(echo, c->stall > 0 ? c->stall_max : 0);
}

static void check_end(struct world *w)
{
    const struct raft_sim_config *c = &w->config.raft;
    struct raft_sim_stats stats;

    raft_sim_stats(w->sim, &stats);
    if (stats.leader_us > ELECTIONS_MAX * 1000ull * c->election_ms + echo_us(c))
        world_fail(w, "LIVENESS: a leader only after %" PRIu64 " ms", stats.leader_us / 1000);
    check_journal(w);
    for (unsigned id = 1; id <= c->n; id++)
        if (raft_sim_is_member(w->sim, id))
            check_member(w, w->members[id]);
    if (!reference_check(w->reference))
        world_fail(w, "%s", (char *)w->reference->error.data);
}

/* ---- A run ----------------------------------------------------------------------------------- */

static void begin(struct world *w, const struct sim_config *config)
{
    w->config = *config;
    w->config.raft.backend = &member_backend;
    w->config.raft.ctx = w;
    make_dir(w);
    srandom((unsigned)config->raft.seed);
    sqlite3_randomness(0, NULL);
    background_plan = &disk_plan;
    crash_vfs_on();
    w->reference = reference_new(w->dir, config->model);
    sim_world = w;
    w->sim = raft_sim_new(&w->config.raft);
    crash_vfs_watch(disk_watch);
    for (unsigned id = 1; id <= config->raft.n; id++)
        disk_arm(w->members[id]);
}

/* Prepares for the next world, even if this one was abandoned. */
static void leave(struct world *w)
{
    crash_vfs_watch(NULL);
    crash_vfs_fail(0, 0);
    sim_world = NULL;
    crash_vfs_off();
    crash_vfs_forget();
    background_plan = NULL;
    world_remove_dir(w->dir);
}

static void finish(struct world *w)
{
    crash_vfs_watch(NULL);
    raft_sim_free(w->sim);
    sim_world = NULL;
    reference_free(w->reference);
    free(w->floors);
    leave(w);
}

static void fill(const struct world *w, struct sim_stats *stats)
{
    *stats = w->stats;
    raft_sim_stats(w->sim, &stats->raft);
    stats->sessions = w->reference->opened;
    stats->ended = w->reference->ended;
    stats->grants = w->reference->grants;
    stats->expired = w->reference->expired;
}

bool sim_run(const struct sim_config *config, struct sim_stats *stats, uint64_t *digest,
             char *error, size_t error_len)
{
    static struct world w;
    const char *violation;

    memset(&w, 0, sizeof w);
    begin(&w, config);
    if (raft_sim_run(w.sim, config->run_ms * 1000) && raft_sim_heal(w.sim, HEAL_US) &&
        write_more(&w))
        check_end(&w);
    fill(&w, stats);
    *digest = raft_sim_digest(w.sim) ^ w.reference->hashes[w.reference->applied].low;
    violation = raft_sim_error(w.sim);
    if (violation != NULL) {
        snprintf(error, error_len, "%s", violation);
        raft_sim_story(w.sim, 60);
        raft_sim_print(w.sim);
        leave(&w);
        return false; /* other findings are lost */
    }
    finish(&w);
    return true;
}
