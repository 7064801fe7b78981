/* SPDX-License-Identifier: Apache-2.0 */
/* The network of the simulator: connections, messages in flight, and the environment of the
 * drivers. */
#include <string.h>

#include "tests/lib/raft_sim_impl.h"

/* ---- Links ----------------------------------------------------------------------------------- */

static unsigned lower(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned higher(unsigned a, unsigned b)
{
    return a < b ? b : a;
}

bool sim_connected(const struct raft_sim *sim, unsigned a, unsigned b)
{
    return sim->connected[lower(a, b)][higher(a, b)];
}

void sim_connect_soon(struct raft_sim *sim, unsigned a, unsigned b, uint64_t at)
{
    sim_post(sim, at + sim_pick(sim, 200, 30000), EV_CONNECT, lower(a, b), higher(a, b), 0);
}

uint64_t sim_link_epoch(const struct raft_sim *sim, unsigned a, unsigned b)
{
    return sim->epoch[lower(a, b)][higher(a, b)];
}

void sim_disconnect(struct raft_sim *sim, unsigned a, unsigned b, uint64_t slowest)
{
    if (!sim_connected(sim, a, b))
        return;
    sim->connected[lower(a, b)][higher(a, b)] = false;
    sim->epoch[lower(a, b)][higher(a, b)]++;
    sim->in_flight[a][b] = sim->in_flight[b][a] = 0;
    sim->last_arrival[a][b] = sim->last_arrival[b][a] = 0;
    sim_post(sim, sim->now + sim_pick(sim, 50, slowest), EV_LINK, a, b, sim_link_epoch(sim, a, b));
    sim_post(sim, sim->now + sim_pick(sim, 50, slowest), EV_LINK, b, a, sim_link_epoch(sim, a, b));
    sim_connect_soon(sim, a, b, sim->now + slowest);
}

void sim_reconnect(struct raft_sim *sim, unsigned a, unsigned b)
{
    if (sim_connected(sim, a, b)) {
        sim_disconnect(sim, a, b, 2000);
        return;
    }
    sim_post(sim, sim->now + 1000, EV_LINK, a, b, sim_link_epoch(sim, a, b));
    sim_post(sim, sim->now + 1000, EV_LINK, b, a, sim_link_epoch(sim, a, b));
    sim_connect_soon(sim, a, b, sim->now + 2000);
}

void sim_connect(struct raft_sim *sim, unsigned a, unsigned b)
{
    struct sim_node *x = &sim->nodes[a], *y = &sim->nodes[b];

    if (sim_connected(sim, a, b) || x->driver == NULL || y->driver == NULL ||
        (!x->wants[b] && !y->wants[a]))
        return;
    if (sim->cut[a][b] || sim->cut[b][a]) {
        sim_connect_soon(sim, a, b, sim->now + 50000);
        return;
    }
    sim->connected[a][b] = true;
    sim->epoch[a][b]++;
    sim_post(sim, sim->now, EV_LINK, a, b, sim->epoch[a][b]);
    sim_post(sim, sim->now + sim_pick(sim, 0, 500), EV_LINK, b, a, sim->epoch[a][b]);
}

/* ---- The environment of a driver ------------------------------------------------------------- */

static uint64_t env_now_ms(void *ctx)
{
    struct sim_node *node = ctx;

    return sim_clock(node) / 1000;
}

static uint64_t travel_time(struct raft_sim *sim)
{
    if (!sim->peaceful && sim_happens(sim, sim->config.slow))
        return sim_pick(sim, sim->config.delay_min, sim->config.slow_max);
    return sim_pick(sim, sim->config.delay_min, sim->config.delay_max);
}

static void launch(struct raft_sim *sim, unsigned from, unsigned to, struct buf data, uint64_t at)
{
    uint64_t *last = &sim->last_arrival[from][to];

    at += travel_time(sim);
    if (sim->peaceful || !sim_happens(sim, sim->config.reorder))
        at = max_u64(at, *last);
    *last = max_u64(at, *last);
    sim->in_flight[from][to] += data.len;
    sim->stats.messages++;
    sim_insert(sim, (struct sim_event){.at = at,
                                       .seq = sim->seq++,
                                       .kind = EV_DELIVER,
                                       .a = to,
                                       .b = from,
                                       .stamp = sim_link_epoch(sim, from, to),
                                       .data = data});
}

static void env_send(void *ctx, uint64_t peer, struct buf *message)
{
    struct sim_node *node = ctx;
    struct raft_sim *sim = node->sim;
    struct buf data = buf_take(message);
    unsigned to = (unsigned)peer;

    if (peer == 0 || peer > sim->config.n || peer == node->id) {
        sim_fail(sim, "member %u sends to %llu", node->id, (unsigned long long)peer);
        buf_fini(&data);
        return;
    }
    if (node->doomed || !node->linked[to] || !sim_connected(sim, node->id, to) ||
        (!sim->peaceful && sim_happens(sim, sim->config.loss))) {
        buf_fini(&data);
        return;
    }
    if (!sim->peaceful && sim_happens(sim, sim->config.dup))
        launch(sim, node->id, to, buf_copy(data.data, data.len), sim_local_time(sim, node));
    launch(sim, node->id, to, data, sim_local_time(sim, node));
}

static bool env_linked(void *ctx, uint64_t peer)
{
    struct sim_node *node = ctx;

    return peer <= node->sim->config.n && node->linked[peer];
}

static size_t env_queued(void *ctx, uint64_t peer)
{
    struct sim_node *node = ctx;

    return peer <= node->sim->config.n ? node->sim->in_flight[node->id][peer] : 0;
}

static void env_members(void *ctx, const struct driver_member *members, unsigned n)
{
    struct sim_node *node = ctx;
    unsigned i;

    memset(node->wants, 0, sizeof node->wants);
    for (i = 0; i < n; i++) {
        if (members[i].id == node->id)
            continue;
        check(members[i].id <= node->sim->config.n);
        node->wants[members[i].id] = true;
        sim_connect_soon(node->sim, node->id, (unsigned)members[i].id, node->sim->now);
    }
    for (i = 1; i <= node->sim->config.n; i++)
        if (i != node->id && !node->wants[i] && !node->sim->nodes[i].wants[node->id])
            sim_disconnect(node->sim, node->id, i, 1000);
}

static void env_on_leader(void *ctx, uint64_t leader, uint64_t term)
{
    struct sim_node *node = ctx;

    raft_sim_note(node->sim, "%u: leader %llu, term %llu", node->id, (unsigned long long)leader,
                  (unsigned long long)term);
    if (node->sim->backend->on_leader != NULL)
        node->sim->backend->on_leader(node->disk, leader, term);
}

static void env_on_applied(void *ctx, uint64_t applied)
{
    struct sim_node *node = ctx;

    if (!node->doomed && applied != node->driver->guard.applied)
        sim_fail(node->sim, "member %u: on_applied is not what is applied", node->id);
    node->sim->stats.applied++;
    if (node->sim->backend->on_applied != NULL)
        node->sim->backend->on_applied(node->disk, applied);
}

static void env_on_installed(void *ctx, uint64_t applied)
{
    struct sim_node *node = ctx;

    sim_check_installed(node->sim, node);
    node->sim->stats.snapshots += !node->doomed;
    raft_sim_note(node->sim, "%u installs a snapshot at %llu", node->id,
                  (unsigned long long)applied);
    if (node->sim->backend->on_installed != NULL)
        node->sim->backend->on_installed(node->disk, applied);
}

static void env_on_barrier(void *ctx, uint64_t ticket)
{
    struct sim_node *node = ctx;

    if (!node->doomed && sim_check_barrier_done(node->sim, node, ticket))
        node->sim->stats.barriers++;
    if (node->sim->backend->on_barrier != NULL)
        node->sim->backend->on_barrier(node->disk, ticket);
}

static void env_on_app(void *ctx BASE_UNUSED, uint64_t from BASE_UNUSED,
                       const uint8_t *data BASE_UNUSED, size_t len BASE_UNUSED)
{
}

struct driver_env sim_env(struct sim_node *node)
{
    return (struct driver_env){.ctx = node,
                               .now_ms = env_now_ms,
                               .send = env_send,
                               .linked = env_linked,
                               .queued = env_queued,
                               .members = env_members,
                               .on_leader = env_on_leader,
                               .on_applied = env_on_applied,
                               .on_installed = env_on_installed,
                               .on_barrier = env_on_barrier,
                               .on_app = env_on_app};
}
