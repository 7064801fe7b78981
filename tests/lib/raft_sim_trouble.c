/* SPDX-License-Identifier: Apache-2.0 */
/* The faults of the simulator and their rates. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/raft_sim_impl.h"

/* ---- Trouble --------------------------------------------------------------------------------- */

static unsigned pick_running(struct raft_sim *sim)
{
    unsigned ids[RAFT_SIM_MAX], n = 0, i;

    for (i = 1; i <= sim->config.n; i++)
        if (sim->nodes[i].driver != NULL && !sim->nodes[i].doomed &&
            sim->nodes[i].paused <= sim->now)
            ids[n++] = i;
    return n > 0 ? ids[sim_pick(sim, 0, n - 1)] : 0;
}

unsigned raft_sim_leader(const struct raft_sim *sim)
{
    uint64_t term = 0;
    unsigned leader = 0, i;

    for (i = 1; i <= sim->config.n; i++) {
        const struct driver *d = sim->nodes[i].driver;

        if (d == NULL || sim->nodes[i].doomed || !driver_is_leader(d) ||
            d->raft.current_term < term)
            continue;
        leader = i;
        term = d->raft.current_term;
    }
    return leader;
}

bool raft_sim_propose(struct raft_sim *sim, unsigned id, size_t len)
{
    struct sim_node *node = &sim->nodes[id];
    struct buf data = BUF_EMPTY;
    bool taken;

    if (node->driver == NULL)
        return false;
    if (sim->backend->load != NULL) {
        sim->backend->load(node->disk);
        sim->stats.proposed++;
        sim_after(sim, node, false);
        return true;
    }
    sim->next_payload++;
    buf_append(&data, &sim->next_payload, sizeof sim->next_payload);
    while (data.len < len)
        buf_append(&data, &sim->next_payload, sizeof sim->next_payload);
    taken = driver_propose(node->driver, &data);
    buf_fini(&data);
    sim->stats.proposed += taken;
    sim_after(sim, node, false);
    return taken;
}

uint64_t raft_sim_barrier(struct raft_sim *sim, unsigned id)
{
    struct sim_node *node = &sim->nodes[id];
    uint64_t ticket;

    if (node->driver == NULL)
        return 0;
    ticket = sim_check_new_ticket(sim, node);
    if (sim->backend->barrier != NULL)
        sim->backend->barrier(node->disk, ticket);
    driver_barrier(node->driver, ticket);
    sim_after(sim, node, false);
    return ticket;
}

bool raft_sim_barrier_done(const struct raft_sim *sim, uint64_t ticket)
{
    return sim_check_ticket_done(sim, ticket);
}

void raft_sim_cut(struct raft_sim *sim, unsigned from, unsigned to, bool cut)
{
    sim->cut[from][to] = cut;
    if (!cut)
        sim_connect_soon(sim, from, to, sim->now);
    /* A cut connection is noticed late, or is healed before. */
    else if (sim_happens(sim, 500))
        sim_disconnect(sim, from, to, RAFT_SIM_UNNOTICED_US);
}

void raft_sim_isolate(struct raft_sim *sim, unsigned id, bool cut)
{
    unsigned i;

    for (i = 1; i <= sim->config.n; i++) {
        if (i == id)
            continue;
        raft_sim_cut(sim, id, i, cut);
        raft_sim_cut(sim, i, id, cut);
    }
}

void raft_sim_unplug(struct raft_sim *sim, unsigned a, unsigned b)
{
    if (a != b)
        sim_disconnect(sim, a, b, 2000);
}

static void make_cut(struct raft_sim *sim)
{
    unsigned shape = (unsigned)sim_pick(sim, 0, 2), i, j;
    uint64_t side = sim_chance(&sim->chance);
    unsigned victim = (unsigned)sim_pick(sim, 1, sim->config.n);

    sim->stats.cuts++;
    raft_sim_note(sim, "a cut of shape %u, victim %u", shape, victim);
    if (sim_happens(sim, 300) && raft_sim_leader(sim) != 0)
        victim = raft_sim_leader(sim);
    for (i = 1; i <= sim->config.n; i++)
        for (j = 1; j <= sim->config.n; j++) {
            bool cut = shape == 0   ? (side >> i & 1) != (side >> j & 1) /* two halves */
                       : shape == 1 ? i == victim || j == victim
                                    : i == victim || (j == victim && sim_happens(sim, 300));

            if (cut && i != j)
                raft_sim_cut(sim, i, j, true);
        }
    sim_post(sim, sim->now + sim_pick(sim, 10000, sim->config.cut_max), EV_UNCUT, 0, 0, 0);
}

void sim_heal_cuts(struct raft_sim *sim)
{
    unsigned i, j;

    raft_sim_note(sim, "cuts are healed");
    for (i = 1; i <= sim->config.n; i++)
        for (j = 1; j <= sim->config.n; j++)
            if (sim->cut[i][j])
                raft_sim_cut(sim, i, j, false);
}

static void churn(struct raft_sim *sim)
{
    unsigned leader = raft_sim_leader(sim), id = (unsigned)sim_pick(sim, 1, sim->config.n);
    struct driver *d = leader != 0 ? sim->nodes[leader].driver : NULL;
    const struct raft_server *server;
    char address[16];
    int err;

    if (d == NULL)
        return;
    server = guard_find_server(&d->guard, id);
    snprintf(address, sizeof address, "m%u:1", id);
    if (server == NULL)
        err = driver_add(d, id, address);
    else if (server->role != RAFT_VOTER)
        err = sim_happens(sim, 750) ? driver_assign(d, id, DRIVER_VOTER) : driver_remove(d, id);
    else if (guard_voters(&d->guard) > 1)
        err = sim_happens(sim, 500) ? driver_assign(d, id, DRIVER_STANDBY) : driver_remove(d, id);
    else
        return;
    sim->stats.changes += err == 0;
    if (err == 0)
        raft_sim_note(sim, "leader %u changes member %u", leader, id);
    sim_after(sim, &sim->nodes[leader], false);
    if (err == 0 && sim_happens(sim, 200)) { /* the leader is cut off right after it */
        raft_sim_isolate(sim, leader, true);
        sim_post(sim, sim->now + sim_pick(sim, 10000, sim->config.cut_max), EV_UNCUT, 0, 0, 0);
    }
}

static void transfer(struct raft_sim *sim)
{
    unsigned leader = raft_sim_leader(sim);

    if (leader == 0)
        return;
    raft_sim_note(sim, "leader %u transfers its leadership", leader);
    sim->stats.transfers +=
        driver_transfer(sim->nodes[leader].driver,
                        sim_happens(sim, 500) ? 0 : sim_pick(sim, 1, sim->config.n)) == 0;
    sim_after(sim, &sim->nodes[leader], false);
}

static unsigned period(const struct raft_sim *sim, enum sim_event_kind kind)
{
    switch (kind) {
    case EV_PROPOSE:
        return sim->config.propose_every;
    case EV_BARRIER:
        return sim->config.barrier_every;
    case EV_CRASH:
        return sim->config.crash_every;
    case EV_CUT:
        return sim->config.cut_every;
    case EV_UNPLUG:
        return sim->config.unplug_every;
    case EV_CHURN:
        return sim->config.churn_every;
    case EV_TRANSFER:
        return sim->config.transfer_every;
    case EV_PAUSE:
        return sim->config.pause_every;
    case EV_JUMP:
        return sim->config.jump_every;
    case EV_DELIVER:
    case EV_TURN:
    case EV_CONNECT:
    case EV_LINK:
    case EV_START:
    case EV_UNCUT:
    case EV_DIE:
    case EV_ASK:
        break;
    }
    return 0;
}

void sim_trouble_again(struct raft_sim *sim, enum sim_event_kind kind)
{
    unsigned mean = period(sim, kind);

    if (mean > 0)
        sim_post(sim, sim->now + sim_pick(sim, 1, 2 * (uint64_t)mean), kind, 0, 0, 0);
}

/* A power cut of all members, or of nearly all. */
static void crash_many(struct raft_sim *sim)
{
    unsigned id;

    for (id = 1; id <= sim->config.n; id++)
        if (sim->nodes[id].driver != NULL && sim_happens(sim, 700)) {
            raft_sim_crash(sim, id);
            sim_post(sim, sim->now + sim_pick(sim, 1000, sim->config.down_max), EV_START, id, 0, 0);
        }
}

static void crash_somebody(struct raft_sim *sim)
{
    unsigned id;

    if (sim_happens(sim, 100)) {
        crash_many(sim);
        return;
    }
    id = sim_happens(sim, 300) ? raft_sim_leader(sim) : pick_running(sim);

    if (id == 0)
        return;
    raft_sim_crash(sim, id);
    sim_post(sim, sim->now + sim_pick(sim, 1000, sim->config.down_max), EV_START, id, 0, 0);
}

/* The process pauses: a debugger, a migrated virtual machine, a suspended laptop. */
static void pause_somebody(struct raft_sim *sim)
{
    unsigned id = sim_happens(sim, 300) ? raft_sim_leader(sim) : pick_running(sim);

    if (id == 0)
        return;
    sim->stats.pauses++;
    sim->nodes[id].paused = sim->now + sim_pick(sim, 1000, sim->config.pause_max);
    sim->nodes[id].busy_until = max_u64(sim->nodes[id].busy_until, sim->nodes[id].paused);
    raft_sim_note(sim, "%u pauses", id);
}

static void jump_somewhere(struct raft_sim *sim)
{
    unsigned id = pick_running(sim);

    if (id == 0 || sim->backend->jump == NULL)
        return;
    sim->stats.jumps++;
    sim->backend->jump(sim->nodes[id].disk);
}

static void unplug_somebody(struct raft_sim *sim)
{
    unsigned a = (unsigned)sim_pick(sim, 1, sim->config.n);
    unsigned b = (unsigned)sim_pick(sim, 1, sim->config.n);

    raft_sim_unplug(sim, a, b);
}

void sim_trouble(struct raft_sim *sim, const struct sim_event *event)
{
    unsigned id;

    if (sim->peaceful)
        return;
    sim_trouble_again(sim, event->kind);
    id = pick_running(sim);
    if (event->kind == EV_PROPOSE && id != 0)
        raft_sim_propose(sim, id, sim_pick(sim, 8, 8 + sim->config.payload_max));
    else if (event->kind == EV_BARRIER && id != 0)
        raft_sim_barrier(sim, id);
    else if (event->kind == EV_CRASH)
        crash_somebody(sim);
    else if (event->kind == EV_CUT)
        make_cut(sim);
    else if (event->kind == EV_UNPLUG)
        unplug_somebody(sim);
    else if (event->kind == EV_CHURN)
        churn(sim);
    else if (event->kind == EV_TRANSFER)
        transfer(sim);
    else if (event->kind == EV_PAUSE)
        pause_somebody(sim);
    else if (event->kind == EV_JUMP)
        jump_somewhere(sim);
}

/* ---- Worlds --------------------------------------------------------------------------------- */

void raft_sim_random(struct raft_sim_config *c, uint64_t seed)
{
    uint64_t chance = seed * 2654435761u + 99;
#define ONE_OF(...)                                                                                \
    ((const unsigned[]){                                                                           \
        __VA_ARGS__}[sim_chance(&chance) % (sizeof(unsigned[]){__VA_ARGS__} / sizeof(unsigned))])

    raft_sim_defaults(c);
    c->seed = seed;
    c->n = ONE_OF(3, 4, 5, 7, 7, 9);
    c->voters = ONE_OF(1, 1, 2, 3, 3, 3);
    c->standbys = c->n > c->voters ? ONE_OF(0, 0, 1) : 0;
    c->election_ms = ONE_OF(100, 150, 300, 1000);
    c->heartbeat_ms = c->election_ms / 10;
    c->max_inflight = ONE_OF(4, 16, 230, 4096);
    c->compact_every = ONE_OF(5, 20, 100, 1000);
    c->compact_trailing = ONE_OF(0, 3, 20, 500);
    c->delay_max = ONE_OF(300, 1000, 5000, 20000);
    c->slow = ONE_OF(0, 0, 5, 50);
    c->slow_max = ONE_OF(100000, 1000000, 5000000);
    c->loss = ONE_OF(0, 0, 10, 100, 300);
    c->dup = ONE_OF(0, 0, 20, 200);
    c->reorder = ONE_OF(0, 0, 50, 500);
    c->sync_max = ONE_OF(300, 2000, 20000);
    c->stall = ONE_OF(0, 0, 10);
    c->stall_max = ONE_OF(200000, 1000000);
    c->crash_commit = ONE_OF(0, 0, 1, 10);
    c->copy_size = ONE_OF(100, 3000, 3000, 1300000);
    c->copy_polls = ONE_OF(0, 3, 50);
    c->copy_fail_one_in = ONE_OF(0, 0, 20);
    c->propose_every = ONE_OF(300, 2000, 10000, 50000);
    c->payload_max = ONE_OF(10, 100, 1000);
    /* At most half of the possible rate: with a backlog, the barriers would only measure the wait.
     */
    c->propose_every =
        (unsigned)max_u64(c->propose_every, 2 * (2 * c->delay_max + c->sync_max) / c->max_inflight);
    c->barrier_every = ONE_OF(3000, 20000, 100000);
    c->crash_every = ONE_OF(0, 300000, 1000000, 5000000);
    c->down_max = ONE_OF(20000, 500000, 3000000);
    c->cut_every = ONE_OF(0, 500000, 2000000);
    c->cut_max = ONE_OF(100000, 1000000, 5000000);
    c->unplug_every = ONE_OF(0, 200000, 2000000);
    c->churn_every = ONE_OF(0, 100000, 300000, 1000000);
    c->transfer_every = ONE_OF(0, 0, 500000, 3000000);
#undef ONE_OF
}
