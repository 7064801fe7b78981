/* SPDX-License-Identifier: Apache-2.0 */
/* One member: it does for a driver of raft_sim what daemon/ does for a driver in production. The
 * store is behind daemon/machine.c, as in production. This layer in front of it counts, delays,
 * interrupts and compares calls. */
#include <stdlib.h>
#include <string.h>

#include "proto/encode.h"
#include "tests/sim/impl.h"
#include "tests/sim/inside.h"

/* ---- The machine ----------------------------------------------------------------------------- */

#define INNER(ctx) ((struct member *)(ctx))->inner.ctx
#define OPS(ctx)   ((struct member *)(ctx))->inner.ops

static struct raft_sim *sim_of(const struct member *m)
{
    return m->world->sim;
}

/* Compares the state with the reference's at the same applied index. */
static void check_state(struct member *m)
{
    struct world *w = m->world;
    struct store_hash hash = store_state_hash(m->daemon.store);
    uint64_t applied = store_applied(m->daemon.store);

    if (m->doomed || applied > w->reference->applied)
        return;
    if (memcmp(&hash, &w->reference->hashes[applied], sizeof hash) != 0)
        world_fail(w, "STATE HASH: member %u has another state at %llu", m->id,
                   (unsigned long long)applied);
}

static void do_load(void *ctx, struct machine_state *out)
{
    OPS(ctx)->load(INNER(ctx), out);
}

static void do_begin(void *ctx)
{
    OPS(ctx)->begin(INNER(ctx));
}

static void do_set_vote(void *ctx, uint64_t term, uint64_t vote)
{
    OPS(ctx)->set_vote(INNER(ctx), term, vote);
}

static void do_log_truncate(void *ctx, uint64_t from)
{
    struct member *m = ctx;

    m->synced_last = min_u64(m->synced_last, from - 1);
    OPS(ctx)->log_truncate(INNER(ctx), from);
}

static void do_log_append(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct member *m = ctx;

    OPS(ctx)->log_append(INNER(ctx), index, entry);
    raft_sim_on_append(sim_of(m), m->id, index, entry);
}

static void do_log_compact(void *ctx, uint64_t below)
{
    OPS(ctx)->log_compact(INNER(ctx), below);
}

static bool do_acceptable(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    return OPS(ctx)->acceptable(INNER(ctx), from, data, len);
}

static void do_apply(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct member *m = ctx;
    struct reference *r = m->world->reference;
    struct store_entry row = {entry->term, (enum store_entry_type)entry->type, entry->data,
                              entry->len};

    raft_sim_on_apply(sim_of(m), m->id, index, entry);
    if (!m->doomed && index == r->applied + 1) {
        m->world->stats.entries++;
        if (!reference_apply(r, index, &row, raft_sim_now(sim_of(m))))
            world_fail(m->world, "%s", (char *)r->error.data);
    }
    OPS(ctx)->apply(INNER(ctx), index, entry);
}

static void do_commit(void *ctx, bool sync)
{
    struct member *m = ctx;
    struct store_raft_state raft;

    raft_sim_on_commit(sim_of(m), m->id, sync); /* this call may not return */
    OPS(ctx)->commit(INNER(ctx), sync);
    m->world->stats.commits++;
    m->world->stats.syncs += sync;
    if (sync && !m->doomed) {
        store_raft_state(m->daemon.store, &raft);
        buf_fini(&raft.config);
        m->synced_term = raft.term;
        m->synced_last = raft.last_index;
    }
    check_state(m);
}

static bool do_log_get(void *ctx, uint64_t index, struct machine_entry *out)
{
    return OPS(ctx)->log_get(INNER(ctx), index, out);
}

static struct machine_snapshot *do_snapshot_open(void *ctx)
{
    disk_set_job_owner(ctx);
    return OPS(ctx)->snapshot_open(INNER(ctx));
}

/* The work takes a while; meanwhile the store continues. */
static void work_sometimes(struct member *m)
{
    if (raft_sim_peaceful(sim_of(m)) || raft_sim_pick(sim_of(m), 0, 3) == 0)
        disk_run_jobs(m);
}

static enum machine_progress do_snapshot_poll(void *ctx, struct machine_snapshot *snapshot)
{
    work_sometimes(ctx);
    return OPS(ctx)->snapshot_poll(INNER(ctx), snapshot);
}

static void do_snapshot_info(void *ctx, struct machine_snapshot *snapshot,
                             struct machine_snapshot_info *out)
{
    OPS(ctx)->snapshot_info(INNER(ctx), snapshot, out);
}

static int64_t do_snapshot_read(void *ctx, struct machine_snapshot *snapshot, uint64_t offset,
                                void *out, size_t len)
{
    return OPS(ctx)->snapshot_read(INNER(ctx), snapshot, offset, out, len);
}

static void do_snapshot_close(void *ctx, struct machine_snapshot *snapshot)
{
    OPS(ctx)->snapshot_close(INNER(ctx), snapshot);
}

static struct machine_incoming *do_incoming_open(void *ctx)
{
    return OPS(ctx)->incoming_open(INNER(ctx));
}

static int do_incoming_write(void *ctx, struct machine_incoming *incoming, uint64_t offset,
                             const void *data, size_t len)
{
    return OPS(ctx)->incoming_write(INNER(ctx), incoming, offset, data, len);
}

static void do_incoming_verify(void *ctx, struct machine_incoming *incoming,
                               const struct machine_snapshot_info *info)
{
    disk_set_job_owner(ctx);
    OPS(ctx)->incoming_verify(INNER(ctx), incoming, info);
}

static enum machine_progress do_incoming_poll(void *ctx, struct machine_incoming *incoming)
{
    work_sometimes(ctx);
    return OPS(ctx)->incoming_poll(INNER(ctx), incoming);
}

static void do_incoming_install(void *ctx, struct machine_incoming *incoming)
{
    struct member *m = ctx;

    m->synced_last = 0;
    m->installing = incoming;
    OPS(ctx)->incoming_install(INNER(ctx), incoming);
    m->installing = NULL;
    check_state(m);
}

static void do_incoming_close(void *ctx, struct machine_incoming *incoming)
{
    struct member *m = ctx;

    if (incoming != m->installing) /* otherwise the member died in it, and the snapshot is gone */
        OPS(ctx)->incoming_close(INNER(ctx), incoming);
}

static const struct machine_ops ops = {
    .load = do_load,
    .begin = do_begin,
    .set_vote = do_set_vote,
    .log_truncate = do_log_truncate,
    .log_append = do_log_append,
    .log_compact = do_log_compact,
    .acceptable = do_acceptable,
    .apply = do_apply,
    .commit = do_commit,
    .log_get = do_log_get,
    .snapshot_open = do_snapshot_open,
    .snapshot_poll = do_snapshot_poll,
    .snapshot_info = do_snapshot_info,
    .snapshot_read = do_snapshot_read,
    .snapshot_close = do_snapshot_close,
    .incoming_open = do_incoming_open,
    .incoming_write = do_incoming_write,
    .incoming_verify = do_incoming_verify,
    .incoming_poll = do_incoming_poll,
    .incoming_install = do_incoming_install,
    .incoming_close = do_incoming_close,
};

/* ---- The client ------------------------------------------------------------------------------ */

static uint64_t env_now_ms(void *ctx)
{
    struct member *m = ctx;

    return raft_sim_clock_us(sim_of(m), m->id) / 1000;
}

int64_t member_wall_ns(const struct member *m)
{
    return 1700000000000000000 + (int64_t)raft_sim_now(m->world->sim) * 1000 + m->wall_ns;
}

static int64_t env_real_ns(void *ctx)
{
    return member_wall_ns(ctx);
}

static bool env_propose(void *ctx, struct buf *entry)
{
    struct member *m = ctx;

    return driver_propose(m->driver, entry);
}

static struct buf env_open_command(void *ctx, uint64_t nonce)
{
    struct member *m = ctx;

    return encode_open_session(nonce, m->id, 0);
}

static struct buf env_noop_command(void *ctx BASE_UNUSED)
{
    return encode_noop();
}

static int env_stored_reply(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct member *m = ctx;

    m->at_session = session;
    m->at_seq = seq;
    return store_reply(m->daemon.store, session, seq, out);
}

static void env_on_session(void *ctx, uint64_t session)
{
    struct member *m = ctx;

    raft_sim_note(sim_of(m), "%u: session %llu", m->id, (unsigned long long)session);
}

void member_client_applied(struct member *m, enum client_outcome outcome, uint64_t session,
                           uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len)
{
    m->at_session = session;
    m->at_seq = seq;
    if (m->client != NULL)
        client_applied(m->client, outcome, session, seq, nonce, reply, len);
}

/* ---- The interface for raft_sim -------------------------------------------------------------- */

/* Up to a second, or up to a day. */
static int64_t wrong_wall_ns(struct raft_sim *sim)
{
    int64_t ms = raft_sim_pick(sim, 0, 1) == 0 ? 1000 : 86400000;

    return ((int64_t)raft_sim_pick(sim, 0, 2 * (uint64_t)ms) - ms) * 1000000;
}

/* As session_manager_applied does. */
static void see_clock(struct member *m)
{
    ttl_clock_see(&m->ttl_clock, store_clock(m->daemon.store), env_now_ms(m));
}

static void *member_open(struct raft_sim *sim, unsigned id)
{
    struct member *m = xcalloc(1, sizeof *m);

    m->world = raft_sim_ctx(sim);
    m->world->members[id] = m;
    m->id = id;
    m->daemon.consensus = (struct consensus *)(void *)m;
    m->daemon.session_manager = (struct session_manager *)(void *)m;
    m->daemon.options.id = id;
    m->wall_ns = wrong_wall_ns(sim);
    snprintf(m->dir, sizeof m->dir, "%s/m%u.0", m->world->dir, id);
    check(mkdir(m->dir, 0700) == 0);
    disk_open(m);
    for (size_t i = 0; i < HANDLES; i++)
        m->handles[i] = ++m->world->next_handle;
    return m;
}

static struct machine member_machine(void *disk)
{
    return (struct machine){disk, &ops};
}

static void member_doom(void *disk)
{
    disk_doom(disk);
}

static void member_crash(void *disk)
{
    disk_crash(disk);
}

static void member_close(void *disk)
{
    struct member *m = disk;

    disk_close(m);
    m->world->members[m->id] = NULL;
    free(m);
}

static uint64_t member_hash(void *disk)
{
    struct member *m = disk;
    struct store_hash hash = store_state_hash(m->daemon.store);

    return hash.low ^ hash.high;
}

static bool member_started(void *disk, struct driver *driver)
{
    struct member *m = disk;
    struct client_env env = {m,
                             env_now_ms,
                             env_real_ns,
                             env_propose,
                             env_open_command,
                             env_noop_command,
                             env_stored_reply,
                             env_on_session};
    struct client_config config = {.retry_ms = 2 * m->world->config.raft.election_ms,
                                   .window = 64,
                                   .window_bytes = 1u << 20,
                                   .seed = raft_sim_pick(m->world->sim, 1, UINT64_MAX - 1)};

    m->driver = driver;
    m->client = client_new(&config, &env);
    m->last_ticket = 0;
    m->reader = reader_new(m->daemon.store);
    m->ttl_clock = (struct ttl_clock){0};
    see_clock(m);
    return true;
}

static void member_stopping(void *disk)
{
    struct member *m = disk;
    bool doomed = m->doomed;

    m->doomed = true; /* from now on the answers of its requests reach no host */
    client_free(m->client);
    if (m->reader != NULL &&
        inside_is_open(m->daemon.store)) /* otherwise it died while it replaced its database */
        reader_free(m->reader);
    m->doomed = doomed;
    m->client = NULL;
    m->reader = NULL;
    m->driver = NULL;
    m->leader = 0;
}

static void member_turn(void *disk)
{
    struct member *m = disk;

    client_turn(m->client);
}

static uint64_t member_deadline(void *disk)
{
    struct member *m = disk;

    return m->client != NULL ? client_deadline(m->client) : UINT64_MAX;
}

static void member_after(void *disk)
{
    disk_after(disk);
}

static void member_on_leader(void *disk, uint64_t leader, uint64_t term)
{
    struct member *m = disk;

    m->leader = leader;
    m->term = term;
    if (m->client != NULL)
        client_leader(m->client, leader, term);
}

static void member_on_link(void *disk, uint64_t peer, bool up)
{
    struct member *m = disk;

    if (up && peer == m->leader) /* messages in the old link are lost */
        client_leader(m->client, m->leader, m->term);
}

static void member_on_applied(void *disk, uint64_t applied BASE_UNUSED)
{
    struct member *m = disk;

    see_clock(m);
    machine_deliver(m->daemon.machine);
}

static void member_on_installed(void *disk, uint64_t applied BASE_UNUSED)
{
    struct member *m = disk;

    uint64_t session = m->client != NULL ? client_session(m->client) : 0;
    struct store_session found;

    if (m->client == NULL)
        return;
    see_clock(m);
    if (session != 0 && !store_session(m->daemon.store, session, &found))
        client_ended(m->client, session); /* as session_manager_installed does */
    client_installed(m->client);
}

static void member_barrier(void *disk, uint64_t ticket)
{
    struct member *m = disk;
    struct world *w = m->world;

    check(ticket == w->n_floors + 1);
    w->floors = xrealloc(w->floors, ticket * sizeof *w->floors);
    w->floors[w->n_floors++] = (struct barrier_floor){w->answered, w->journal_answered};
}

static void member_on_barrier(void *disk, uint64_t ticket)
{
    struct member *m = disk;
    struct world *w = m->world;
    const struct barrier_floor *floor = &w->floors[ticket - 1];
    uint64_t applied = 0;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (m->doomed)
        return;
    check(reader_begin(m->reader) == 0 && reader_applied(m->reader, &applied) == 0);
    if (w->reference->journal != 0 && !w->config.model)
        (void)!reader_attr(m->reader, w->reference->journal, &attr);
    reader_end(m->reader);
    if (applied < floor->index)
        world_fail(w, "BARRIER: member %u reads at %llu, %llu was answered", m->id,
                   (unsigned long long)applied, (unsigned long long)floor->index);
    else if (!w->config.model && attr.size < floor->journal)
        world_fail(w, "BARRIER: member %u reads a journal of %llu bytes, %llu were answered", m->id,
                   (unsigned long long)attr.size, (unsigned long long)floor->journal);
}

static bool member_pending(void *disk)
{
    struct member *m = disk;

    return m->client == NULL || client_pending(m->client) > 0 || client_session(m->client) == 0;
}

static void member_load(void *disk)
{
    struct member *m = disk;

    if (m->client != NULL)
        load_one(m);
}

static void member_jump(void *disk)
{
    struct member *m = disk;

    m->wall_ns = wrong_wall_ns(sim_of(m));
    raft_sim_note(sim_of(m), "%u: its wall clock is set", m->id);
}

const struct raft_sim_backend member_backend = {
    .open = member_open,
    .machine = member_machine,
    .doom = member_doom,
    .crash = member_crash,
    .close = member_close,
    .hash = member_hash,
    .started = member_started,
    .stopping = member_stopping,
    .turn = member_turn,
    .deadline = member_deadline,
    .after = member_after,
    .on_leader = member_on_leader,
    .on_link = member_on_link,
    .on_applied = member_on_applied,
    .on_installed = member_on_installed,
    .on_barrier = member_on_barrier,
    .barrier = member_barrier,
    .pending = member_pending,
    .load = member_load,
    .jump = member_jump,
};
