/* One heap of events orders the world: (time, number). A member does one thing at a time; what
 * arrives while its disk is busy waits. Its clock runs on while it works (each commit takes its
 * time), so that what it sends before a commit can be received before that commit is done.
 *
 * A crash inside a commit cannot be done there, with the driver on the stack. The member is doomed
 * instead: the machine notes what a power cut at that moment leaves, and whatever the member does
 * until the event ends is not seen by anybody. */
#include "tests/raft_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/memory_machine.h"
#include "tests/raft_sim_impl.h"

enum event_kind {
    EV_DELIVER,
    EV_TURN,
    EV_CONNECT, /* the connection between a and b comes up */
    EV_LINK,    /* a learns that its link to b is up or down */
    EV_START,
    EV_UNCUT,
    EV_PROPOSE,
    EV_BARRIER,
    EV_CRASH,
    EV_CUT,
    EV_UNPLUG,
    EV_CHURN,
    EV_TRANSFER,
};

struct sim_event {
    uint64_t at, seq;
    enum event_kind kind;
    unsigned a, b;  /* members; a is the one it happens to */
    uint64_t stamp; /* epoch, incarnation or turn: it is void when that has changed */
    struct buf data;
};

/* ---- Chance and time ------------------------------------------------------------------------- */

static uint64_t chance64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t pick(struct raft_sim *sim, uint64_t low, uint64_t high)
{
    return high > low ? low + chance64(&sim->chance) % (high - low + 1) : low;
}

static bool happens(struct raft_sim *sim, unsigned per_mille)
{
    return per_mille > 0 && pick(sim, 0, 999) < per_mille;
}

static uint64_t local_time(const struct raft_sim *sim, const struct sim_node *node)
{
    return max_u64(node->local, sim->now);
}

void sim_fail(struct raft_sim *sim, const char *fmt, ...)
{
    va_list args;

    if (sim->error[0] != '\0')
        return;
    va_start(args, fmt);
    vsnprintf(sim->error, sizeof sim->error, fmt, args);
    va_end(args);
}

/* ---- The heap -------------------------------------------------------------------------------- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void heap_insert(struct raft_sim *sim, struct sim_event event)
{
    size_t i = sim->n_events++;

    if (sim->n_events > sim->cap_events) {
        sim->cap_events = sim->cap_events > 0 ? sim->cap_events * 2 : 1024;
        sim->heap = xrealloc(sim->heap, sim->cap_events * sizeof *sim->heap);
    }
    for (; i > 0 && before(&event, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = event;
}

static struct sim_event heap_take(struct raft_sim *sim)
{
    struct sim_event first = sim->heap[0], last = sim->heap[--sim->n_events];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < sim->n_events) {
        if (child + 1 < sim->n_events && before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return first;
}

static void post(struct raft_sim *sim, uint64_t at, enum event_kind kind, unsigned a, unsigned b,
                 uint64_t stamp)
{
    heap_insert(sim, (struct sim_event){.at = max_u64(at, sim->now),
                                        .seq = sim->seq++,
                                        .kind = kind,
                                        .a = a,
                                        .b = b,
                                        .stamp = stamp});
}

/* ---- Links ----------------------------------------------------------------------------------- */

static unsigned lower(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned higher(unsigned a, unsigned b)
{
    return a < b ? b : a;
}

static bool is_connected(const struct raft_sim *sim, unsigned a, unsigned b)
{
    return sim->connected[lower(a, b)][higher(a, b)];
}

static void try_connect(struct raft_sim *sim, unsigned a, unsigned b, uint64_t at)
{
    post(sim, at + pick(sim, 200, 30000), EV_CONNECT, lower(a, b), higher(a, b), 0);
}

static uint64_t link_epoch(const struct raft_sim *sim, unsigned a, unsigned b)
{
    return sim->epoch[lower(a, b)][higher(a, b)];
}

/* The connection is gone; each side learns it at its own time, the dead one never. */
static void disconnect(struct raft_sim *sim, unsigned a, unsigned b, uint64_t slowest)
{
    if (!is_connected(sim, a, b))
        return;
    sim->connected[lower(a, b)][higher(a, b)] = false;
    sim->epoch[lower(a, b)][higher(a, b)]++;
    sim->in_flight[a][b] = sim->in_flight[b][a] = 0;
    sim->last_arrival[a][b] = sim->last_arrival[b][a] = 0;
    post(sim, sim->now + pick(sim, 50, slowest), EV_LINK, a, b, link_epoch(sim, a, b));
    post(sim, sim->now + pick(sim, 50, slowest), EV_LINK, b, a, link_epoch(sim, a, b));
    try_connect(sim, a, b, sim->now + slowest);
}

static void on_connect(struct raft_sim *sim, unsigned a, unsigned b)
{
    struct sim_node *x = &sim->nodes[a], *y = &sim->nodes[b];

    if (is_connected(sim, a, b) || x->driver == NULL || y->driver == NULL ||
        (!x->wants[b] && !y->wants[a]))
        return;
    if (sim->cut[a][b] || sim->cut[b][a]) {
        try_connect(sim, a, b, sim->now + 50000);
        return;
    }
    sim->connected[a][b] = true;
    sim->epoch[a][b]++;
    post(sim, sim->now, EV_LINK, a, b, sim->epoch[a][b]);
    post(sim, sim->now + pick(sim, 0, 500), EV_LINK, b, a, sim->epoch[a][b]);
}

/* ---- The environment of a driver ------------------------------------------------------------- */

static uint64_t env_now_ms(void *ctx)
{
    struct sim_node *node = ctx;

    return local_time(node->sim, node) / 1000;
}

static uint64_t travel_time(struct raft_sim *sim)
{
    if (!sim->peaceful && happens(sim, sim->config.slow))
        return pick(sim, sim->config.delay_min, sim->config.slow_max);
    return pick(sim, sim->config.delay_min, sim->config.delay_max);
}

static void launch(struct raft_sim *sim, unsigned from, unsigned to, struct buf data, uint64_t at)
{
    uint64_t *last = &sim->last_arrival[from][to];

    at += travel_time(sim);
    if (sim->peaceful || !happens(sim, sim->config.reorder))
        at = max_u64(at, *last);
    *last = max_u64(at, *last);
    sim->in_flight[from][to] += data.len;
    sim->stats.messages++;
    heap_insert(sim, (struct sim_event){.at = at,
                                        .seq = sim->seq++,
                                        .kind = EV_DELIVER,
                                        .a = to,
                                        .b = from,
                                        .stamp = link_epoch(sim, from, to),
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
    if (node->doomed || !node->linked[to] || !is_connected(sim, node->id, to) ||
        (!sim->peaceful && happens(sim, sim->config.loss))) {
        buf_fini(&data);
        return;
    }
    if (!sim->peaceful && happens(sim, sim->config.dup))
        launch(sim, node->id, to, buf_copy(data.data, data.len), local_time(sim, node));
    launch(sim, node->id, to, data, local_time(sim, node));
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
        try_connect(node->sim, node->id, (unsigned)members[i].id, node->sim->now);
    }
    for (i = 1; i <= node->sim->config.n; i++)
        if (i != node->id && !node->wants[i] && !node->sim->nodes[i].wants[node->id])
            disconnect(node->sim, node->id, i, 1000);
}

static void env_on_leader(void *ctx BASE_UNUSED, uint64_t leader BASE_UNUSED,
                          uint64_t term BASE_UNUSED)
{
}

static void env_on_applied(void *ctx, uint64_t applied)
{
    struct sim_node *node = ctx;

    if (!node->doomed && applied != node->driver->guard.applied)
        sim_fail(node->sim, "member %u: on_applied is not what is applied", node->id);
    node->sim->stats.applied++;
}

static void env_on_installed(void *ctx, uint64_t applied BASE_UNUSED)
{
    struct sim_node *node = ctx;

    sim_check_installed(node->sim, node);
    node->sim->stats.snapshots += !node->doomed;
}

static void env_on_barrier(void *ctx, uint64_t ticket)
{
    struct sim_node *node = ctx;

    if (!node->doomed && sim_check_barrier_done(node->sim, node, ticket))
        node->sim->stats.barriers++;
}

static void env_on_app(void *ctx BASE_UNUSED, uint64_t from BASE_UNUSED,
                       const uint8_t *data BASE_UNUSED, size_t len BASE_UNUSED)
{
}

/* ---- The disks ------------------------------------------------------------------------------- */

void raft_sim_on_commit(struct raft_sim *sim, unsigned id, bool sync)
{
    struct sim_node *node = &sim->nodes[id];
    uint64_t takes = sync ? pick(sim, sim->config.sync_min, sim->config.sync_max) : 5;

    if (sync && !sim->peaceful && happens(sim, sim->config.stall))
        takes = pick(sim, sim->config.sync_max, sim->config.stall_max);
    node->local = local_time(sim, node) + takes;
    if (sync && !sim->peaceful && !node->doomed && happens(sim, sim->config.crash_commit)) {
        sim->backend->doom(node->disk);
        node->doomed = true;
    }
}

void raft_sim_on_append(struct raft_sim *sim, unsigned id, uint64_t index,
                        const struct machine_entry *entry)
{
    sim_check_append(sim, &sim->nodes[id], index, entry);
}

void raft_sim_on_apply(struct raft_sim *sim, unsigned id, uint64_t index,
                       const struct machine_entry *entry)
{
    sim_check_apply(sim, &sim->nodes[id], index, entry);
}

static void memory_on_commit(void *ctx, bool sync)
{
    struct sim_node *node = ctx;

    raft_sim_on_commit(node->sim, node->id, sync);
}

static void memory_on_append(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct sim_node *node = ctx;

    raft_sim_on_append(node->sim, node->id, index, entry);
}

static void memory_on_apply(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct sim_node *node = ctx;

    raft_sim_on_apply(node->sim, node->id, index, entry);
}

static void *memory_open(struct raft_sim *sim, unsigned id)
{
    struct memory_machine_config config = {.seed = chance64(&sim->chance),
                                           .copy_polls = sim->config.copy_polls,
                                           .fail_one_in = sim->config.copy_fail_one_in,
                                           .copy_size = sim->config.copy_size,
                                           .lies = sim->config.lying_disks,
                                           .ctx = &sim->nodes[id],
                                           .on_commit = memory_on_commit,
                                           .on_append = memory_on_append,
                                           .on_apply = memory_on_apply};

    return memory_machine_new(&config);
}

static struct machine memory_of(void *disk)
{
    return memory_machine_of(disk);
}

static void memory_doom(void *disk)
{
    memory_machine_doom(disk);
}

static void memory_crash(void *disk)
{
    memory_machine_crash(disk);
}

static void memory_close(void *disk)
{
    memory_machine_free(disk);
}

static uint64_t memory_hash(void *disk)
{
    return memory_machine_hash(disk);
}

const struct raft_sim_backend raft_sim_memory = {memory_open,  memory_of,    memory_doom,
                                                 memory_crash, memory_close, memory_hash};

/* ---- Members --------------------------------------------------------------------------------- */

static void schedule_turn(struct raft_sim *sim, struct sim_node *node, uint64_t at)
{
    if (node->turn_at <= at)
        return;
    node->turn_at = at;
    node->turn_stamp = sim->seq;
    post(sim, at, EV_TURN, node->id, 0, node->turn_stamp);
}

static void stop(struct raft_sim *sim, struct sim_node *node)
{
    unsigned i;

    sim->stats.elections += node->driver->elections;
    sim->steps_before += node->driver->guard.steps;
    driver_free(node->driver);
    node->driver = NULL;
    node->turn_at = UINT64_MAX;
    node->doomed = false;
    node->incarnation++;
    memset(node->linked, 0, sizeof node->linked);
    for (i = 1; i <= sim->config.n; i++)
        if (i != node->id)
            disconnect(sim, node->id, i, sim->peaceful || happens(sim, 700) ? 2000 : 2000000);
}

void raft_sim_crash(struct raft_sim *sim, unsigned id)
{
    struct sim_node *node = &sim->nodes[id];

    if (node->driver == NULL)
        return;
    sim->stats.crashes++;
    sim->backend->doom(node->disk); /* before the driver's end can change anything */
    stop(sim, node);
    sim->backend->crash(node->disk);
}

static void first_members(const struct raft_sim *sim, struct driver_member *members,
                          char addresses[][16], unsigned *n)
{
    unsigned i;

    *n = sim->config.voters + sim->config.standbys;
    for (i = 0; i < *n; i++) {
        snprintf(addresses[i], 16, "m%u:1", i + 1);
        members[i] = (struct driver_member){i + 1, addresses[i],
                                            i < sim->config.voters ? DRIVER_VOTER : DRIVER_STANDBY};
    }
}

void raft_sim_start(struct raft_sim *sim, unsigned id)
{
    struct sim_node *node = &sim->nodes[id];
    struct driver_env env = {.ctx = node,
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
    struct driver_member members[RAFT_SIM_MAX];
    char addresses[RAFT_SIM_MAX][16], errmsg[256];
    struct driver_config config = {.id = id,
                                   .election_ms = sim->config.election_ms,
                                   .heartbeat_ms = sim->config.heartbeat_ms,
                                   .compact_every = sim->config.compact_every,
                                   .compact_trailing = sim->config.compact_trailing,
                                   .max_inflight = sim->config.max_inflight,
                                   .seed = chance64(&sim->chance),
                                   .members = members};
    unsigned n;

    if (node->driver != NULL)
        return;
    first_members(sim, members, addresses, &n);
    config.n_members = id <= n ? n : 0;
    node->local = node->busy_until = sim->now;
    node->driver = driver_new(&config, &env, sim->backend->machine(node->disk));
    if (driver_start(node->driver, errmsg, sizeof errmsg) != 0) {
        sim_fail(sim, "member %u does not start: %s", id, errmsg);
        return;
    }
    if (node->doomed) {
        raft_sim_crash(sim, id);
        post(sim, sim->now + 10000, EV_START, id, 0, 0);
        return;
    }
    sim_check_started(sim, node);
    sim_check_event(sim, node);
    schedule_turn(sim, node, sim->now);
}

/* After anything was done with a member's driver. */
static void after(struct raft_sim *sim, struct sim_node *node, bool turned)
{
    struct driver *d = node->driver;
    uint64_t state[6], due;

    node->busy_until = local_time(sim, node);
    if (node->doomed) {
        raft_sim_crash(sim, node->id);
        post(sim, sim->now + pick(sim, 1000, sim->config.down_max), EV_START, node->id, 0, 0);
        return;
    }
    sim_check_event(sim, node);
    state[0] = sim->digest;
    state[1] = sim->now * 16 + node->id;
    state[2] = d->raft.current_term * 4 + d->raft.state;
    state[3] = d->log.last;
    state[4] = d->commit;
    state[5] = d->guard.steps;
    sim->digest = XXH3_64bits(state, sizeof state);
    due = turned ? driver_deadline(d) : 0;
    schedule_turn(sim, node,
                  due == UINT64_MAX ? UINT64_MAX
                                    : max_u64(due * 1000, node->busy_until + pick(sim, 1, 100)));
}

void raft_sim_kick(struct raft_sim *sim, unsigned id)
{
    if (sim->nodes[id].driver != NULL)
        after(sim, &sim->nodes[id], false);
}

/* ---- Trouble --------------------------------------------------------------------------------- */

static unsigned pick_running(struct raft_sim *sim)
{
    unsigned ids[RAFT_SIM_MAX], n = 0, i;

    for (i = 1; i <= sim->config.n; i++)
        if (sim->nodes[i].driver != NULL)
            ids[n++] = i;
    return n > 0 ? ids[pick(sim, 0, n - 1)] : 0;
}

unsigned raft_sim_leader(const struct raft_sim *sim)
{
    uint64_t term = 0;
    unsigned leader = 0, i;

    for (i = 1; i <= sim->config.n; i++) {
        const struct driver *d = sim->nodes[i].driver;

        if (d == NULL || !driver_is_leader(d) || d->raft.current_term < term)
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
    sim->next_payload++;
    buf_append(&data, &sim->next_payload, sizeof sim->next_payload);
    while (data.len < len)
        buf_append(&data, &sim->next_payload, sizeof sim->next_payload);
    taken = driver_propose(node->driver, &data);
    buf_fini(&data);
    sim->stats.proposed += taken;
    after(sim, node, false);
    return taken;
}

uint64_t raft_sim_barrier(struct raft_sim *sim, unsigned id)
{
    struct sim_node *node = &sim->nodes[id];
    uint64_t ticket;

    if (node->driver == NULL)
        return 0;
    ticket = sim_check_new_ticket(sim, node);
    driver_barrier(node->driver, ticket);
    after(sim, node, false);
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
        try_connect(sim, from, to, sim->now);
    /* A cut connection is noticed late, or healed before it is. */
    else if (happens(sim, 500))
        disconnect(sim, from, to, 3000000);
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
        disconnect(sim, a, b, 2000);
}

static void make_cut(struct raft_sim *sim)
{
    unsigned shape = (unsigned)pick(sim, 0, 2), i, j;
    uint64_t side = chance64(&sim->chance);
    unsigned victim = (unsigned)pick(sim, 1, sim->config.n);

    sim->stats.cuts++;
    if (happens(sim, 300) && raft_sim_leader(sim) != 0)
        victim = raft_sim_leader(sim);
    for (i = 1; i <= sim->config.n; i++)
        for (j = 1; j <= sim->config.n; j++) {
            bool cut = shape == 0   ? (side >> i & 1) != (side >> j & 1) /* two halves */
                       : shape == 1 ? i == victim || j == victim
                                    : i == victim || (j == victim && happens(sim, 300));

            if (cut && i != j)
                raft_sim_cut(sim, i, j, true);
        }
    post(sim, sim->now + pick(sim, 10000, sim->config.cut_max), EV_UNCUT, 0, 0, 0);
}

static void heal_cuts(struct raft_sim *sim)
{
    unsigned i, j;

    for (i = 1; i <= sim->config.n; i++)
        for (j = 1; j <= sim->config.n; j++)
            if (sim->cut[i][j])
                raft_sim_cut(sim, i, j, false);
}

static void churn(struct raft_sim *sim)
{
    unsigned leader = raft_sim_leader(sim), id = (unsigned)pick(sim, 1, sim->config.n);
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
        err = happens(sim, 750) ? driver_assign(d, id, DRIVER_VOTER) : driver_remove(d, id);
    else if (guard_voters(&d->guard) > 1)
        err = happens(sim, 500) ? driver_assign(d, id, DRIVER_STANDBY) : driver_remove(d, id);
    else
        return;
    sim->stats.changes += err == 0;
    after(sim, &sim->nodes[leader], false);
    if (err == 0 && happens(sim, 200)) { /* the leader is cut off right after it */
        raft_sim_isolate(sim, leader, true);
        post(sim, sim->now + pick(sim, 10000, sim->config.cut_max), EV_UNCUT, 0, 0, 0);
    }
}

static void transfer(struct raft_sim *sim)
{
    unsigned leader = raft_sim_leader(sim);

    if (leader == 0)
        return;
    sim->stats.transfers +=
        driver_transfer(sim->nodes[leader].driver,
                        happens(sim, 500) ? 0 : pick(sim, 1, sim->config.n)) == 0;
    after(sim, &sim->nodes[leader], false);
}

static unsigned period(const struct raft_sim *sim, enum event_kind kind)
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
    case EV_DELIVER:
    case EV_TURN:
    case EV_CONNECT:
    case EV_LINK:
    case EV_START:
    case EV_UNCUT:
        break;
    }
    return 0;
}

static void again(struct raft_sim *sim, enum event_kind kind)
{
    unsigned mean = period(sim, kind);

    if (mean > 0)
        post(sim, sim->now + pick(sim, 1, 2 * (uint64_t)mean), kind, 0, 0, 0);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void deliver(struct raft_sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];

    if (event->stamp != link_epoch(sim, event->a, event->b))
        return;
    sim->in_flight[event->b][event->a] -= event->data.len;
    if (node->driver == NULL || !node->linked[event->b] || sim->cut[event->b][event->a])
        return;
    if (!driver_receive(node->driver, event->b, event->data.data, event->data.len))
        sim_fail(sim, "member %u does not understand member %u", event->a, event->b);
    after(sim, node, false);
}

static void turn(struct raft_sim *sim, struct sim_node *node, uint64_t stamp)
{
    if (node->driver == NULL || stamp != node->turn_stamp)
        return;
    node->turn_at = UINT64_MAX;
    driver_turn(node->driver);
    after(sim, node, true);
}

static void link_changed(struct raft_sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];
    bool up = is_connected(sim, event->a, event->b);

    if (node->driver == NULL || event->stamp != link_epoch(sim, event->a, event->b) ||
        node->linked[event->b] == up)
        return;
    node->linked[event->b] = up;
    driver_link(node->driver, event->b, up);
    after(sim, node, false);
}

static void crash_somebody(struct raft_sim *sim)
{
    unsigned id = happens(sim, 300) ? raft_sim_leader(sim) : pick_running(sim);

    if (id == 0)
        return;
    raft_sim_crash(sim, id);
    post(sim, sim->now + pick(sim, 1000, sim->config.down_max), EV_START, id, 0, 0);
}

static void trouble(struct raft_sim *sim, const struct sim_event *event)
{
    unsigned id;

    if (sim->peaceful)
        return;
    again(sim, event->kind);
    id = pick_running(sim);
    if (event->kind == EV_PROPOSE && id != 0)
        raft_sim_propose(sim, id, pick(sim, 8, 8 + sim->config.payload_max));
    else if (event->kind == EV_BARRIER && id != 0)
        raft_sim_barrier(sim, id);
    else if (event->kind == EV_CRASH)
        crash_somebody(sim);
    else if (event->kind == EV_CUT)
        make_cut(sim);
    else if (event->kind == EV_UNPLUG)
        raft_sim_unplug(sim, (unsigned)pick(sim, 1, sim->config.n),
                        (unsigned)pick(sim, 1, sim->config.n));
    else if (event->kind == EV_CHURN)
        churn(sim);
    else if (event->kind == EV_TRANSFER)
        transfer(sim);
}

static void happen(struct raft_sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];
    bool own = event->kind == EV_DELIVER || event->kind == EV_TURN || event->kind == EV_LINK;

    if (own && node->driver != NULL && node->busy_until > sim->now) {
        event->at = node->busy_until;
        heap_insert(sim, *event);
        event->data = (struct buf)BUF_EMPTY;
        return;
    }
    sim->stats.events++;
    switch (event->kind) {
    case EV_DELIVER:
        deliver(sim, event);
        return;
    case EV_TURN:
        turn(sim, node, event->stamp);
        return;
    case EV_CONNECT:
        on_connect(sim, event->a, event->b);
        return;
    case EV_LINK:
        link_changed(sim, event);
        return;
    case EV_START:
        raft_sim_start(sim, event->a);
        return;
    case EV_UNCUT:
        heal_cuts(sim);
        return;
    case EV_PROPOSE:
    case EV_BARRIER:
    case EV_CRASH:
    case EV_CUT:
    case EV_UNPLUG:
    case EV_CHURN:
    case EV_TRANSFER:
        trouble(sim, event);
        return;
    }
}

static bool step(struct raft_sim *sim, uint64_t end)
{
    struct sim_event event;

    if (sim->error[0] != '\0' || sim->n_events == 0 || sim->heap[0].at > end)
        return false;
    event = heap_take(sim);
    sim->now = event.at;
    happen(sim, &event);
    buf_fini(&event.data);
    return true;
}

bool raft_sim_run(struct raft_sim *sim, uint64_t us)
{
    uint64_t end = sim->now + us;

    while (step(sim, end))
        continue;
    sim->now = end;
    return sim->error[0] == '\0';
}

bool raft_sim_until(struct raft_sim *sim, bool (*done)(struct raft_sim *sim, void *arg), void *arg,
                    uint64_t us)
{
    uint64_t end = sim->now + us;

    while (!done(sim, arg))
        if (!step(sim, end))
            return false;
    return sim->error[0] == '\0';
}

/* ---- Healing --------------------------------------------------------------------------------- */

/* One leader, all its members have what it has, and nothing is pending. */
static bool agreed(struct raft_sim *sim, void *arg BASE_UNUSED)
{
    unsigned leader = raft_sim_leader(sim), i;
    struct driver *d;

    if (leader == 0)
        return false;
    d = sim->nodes[leader].driver;
    if (d->commit != d->log.last || d->raft.configuration_uncommitted_index != 0 ||
        d->own_index == 0 || d->transfer != 0)
        return false;
    for (i = 0; i < d->raft.configuration.n; i++) {
        struct sim_node *node = &sim->nodes[d->raft.configuration.servers[i].id];

        if (node->driver == NULL || node->driver->guard.applied != d->log.last ||
            guard_leader(&node->driver->guard) != leader)
            return false;
    }
    return true;
}

static void compare(struct raft_sim *sim)
{
    const struct raft_configuration *config;
    unsigned leader = raft_sim_leader(sim), i;

    config = &sim->nodes[leader].driver->raft.configuration;
    for (i = 0; i < config->n; i++) {
        unsigned id = (unsigned)config->servers[i].id;

        if (sim->backend->hash(sim->nodes[id].disk) != sim->backend->hash(sim->nodes[leader].disk))
            sim_fail(sim, "members %u and %u differ at %llu", id, leader,
                     (unsigned long long)sim->nodes[leader].driver->log.last);
    }
}

bool raft_sim_heal(struct raft_sim *sim, uint64_t us)
{
    uint64_t begin = sim->now;
    unsigned i, j;

    sim->peaceful = true;
    heal_cuts(sim);
    for (i = 1; i <= sim->config.n; i++)
        raft_sim_start(sim, i);
    for (i = 1; i <= sim->config.n; i++)
        for (j = i + 1; j <= sim->config.n; j++)
            try_connect(sim, i, j, sim->now);
    if (!raft_sim_until(sim, agreed, NULL, us)) {
        sim_fail(sim, "no agreement %llu ms after the trouble has ended",
                 (unsigned long long)us / 1000);
        return false;
    }
    sim->stats.heal_us = sim->now - begin;
    for (i = 1; i <= sim->config.n; i++)
        raft_sim_propose(sim, i, 8);
    raft_sim_run(sim, 200000);
    if (!raft_sim_until(sim, agreed, NULL, us))
        sim_fail(sim, "no agreement again");
    else
        compare(sim);
    return sim->error[0] == '\0';
}

/* ---- Life ------------------------------------------------------------------------------------ */

void raft_sim_defaults(struct raft_sim_config *config)
{
    *config = (struct raft_sim_config){.seed = 1,
                                       .n = 3,
                                       .voters = 3,
                                       .election_ms = 300,
                                       .heartbeat_ms = 30,
                                       .max_inflight = 512,
                                       .compact_every = 100000,
                                       .compact_trailing = 10000,
                                       .delay_min = 100,
                                       .delay_max = 300,
                                       .sync_min = 100,
                                       .sync_max = 300,
                                       .copy_size = 3000,
                                       .down_max = 1000000,
                                       .payload_max = 100};
}

void raft_sim_random(struct raft_sim_config *c, uint64_t seed)
{
    uint64_t chance = seed * 2654435761u + 99;
#define ONE_OF(...)                                                                                \
    ((const unsigned[]){                                                                           \
        __VA_ARGS__}[chance64(&chance) % (sizeof(unsigned[]){__VA_ARGS__} / sizeof(unsigned))])

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
    /* No more than half of what can be replicated: a backlog would only measure the wait. */
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

struct raft_sim *raft_sim_new(const struct raft_sim_config *config)
{
    struct raft_sim *sim = xcalloc(1, sizeof *sim);
    unsigned kind, i;

    check(config->n <= RAFT_SIM_MAX && config->voters + config->standbys <= config->n);
    sim->config = *config;
    sim->backend = config->backend != NULL ? config->backend : &raft_sim_memory;
    sim->chance = config->seed;
    sim->now = 1000000;
    sim->check = sim_check_new();
    for (i = 1; i <= config->n; i++) {
        sim->nodes[i].sim = sim;
        sim->nodes[i].id = i;
        sim->nodes[i].turn_at = UINT64_MAX;
        sim->nodes[i].disk = sim->backend->open(sim, i);
        post(sim, sim->now + pick(sim, 0, 50000), EV_START, i, 0, 0);
    }
    for (kind = EV_PROPOSE; kind <= EV_TRANSFER; kind++)
        again(sim, (enum event_kind)kind);
    return sim;
}

void raft_sim_free(struct raft_sim *sim)
{
    unsigned i;

    for (i = 1; i <= sim->config.n; i++) {
        if (sim->nodes[i].driver != NULL)
            driver_free(sim->nodes[i].driver);
        sim->backend->close(sim->nodes[i].disk);
    }
    while (sim->n_events > 0) {
        struct sim_event event = heap_take(sim);

        buf_fini(&event.data);
    }
    free(sim->heap);
    sim_check_free(sim->check);
    free(sim);
}

/* ---- Questions ------------------------------------------------------------------------------- */

const char *raft_sim_error(const struct raft_sim *sim)
{
    return sim->error[0] != '\0' ? sim->error : NULL;
}

void raft_sim_stats(const struct raft_sim *sim, struct raft_sim_stats *out)
{
    unsigned i;

    *out = sim->stats;
    out->steps = sim->steps_before;
    for (i = 1; i <= sim->config.n; i++) {
        if (sim->nodes[i].driver == NULL)
            continue;
        out->steps += sim->nodes[i].driver->guard.steps;
        out->elections += sim->nodes[i].driver->elections;
    }
    out->applied = sim_check_applied(sim);
}

uint64_t raft_sim_digest(const struct raft_sim *sim)
{
    return sim->digest;
}

uint64_t raft_sim_now(const struct raft_sim *sim)
{
    return sim->now;
}

struct driver *raft_sim_driver(struct raft_sim *sim, unsigned id)
{
    return sim->nodes[id].driver;
}

uint64_t raft_sim_applied(struct raft_sim *sim, unsigned id)
{
    return sim->nodes[id].driver != NULL ? sim->nodes[id].driver->guard.applied : 0;
}

uint64_t raft_sim_hash(struct raft_sim *sim, unsigned id)
{
    return sim->backend->hash(sim->nodes[id].disk);
}

static void print_member(const struct sim_node *node)
{
    static const char states[] = "?FCL";
    const struct driver *d = node->driver;
    unsigned i;

    printf("  member %u: ", node->id);
    if (d == NULL) {
        printf("down\n");
        return;
    }
    printf("%c term %llu leader %llu log %llu..%llu commit %llu applied %llu own %llu transfer %llu"
           " queue %u config %llu/%llu:",
           states[d->raft.state], d->raft.current_term, (unsigned long long)guard_leader(&d->guard),
           (unsigned long long)d->log.base_index + 1, (unsigned long long)d->log.last,
           (unsigned long long)d->commit, (unsigned long long)d->guard.applied,
           (unsigned long long)d->own_index, (unsigned long long)d->transfer, d->n_proposals,
           d->raft.configuration_committed_index, d->raft.configuration_uncommitted_index);
    for (i = 0; i < d->raft.configuration.n; i++)
        printf(" %llu%s@%llu%s", d->raft.configuration.servers[i].id,
               d->raft.configuration.servers[i].role == RAFT_VOTER ? "v" : "s",
               (unsigned long long)guard_match(&d->guard, d->raft.configuration.servers[i].id),
               node->linked[d->raft.configuration.servers[i].id] ? "" : "!");
    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        if (d->snapshot.out[i].phase != SNAPSHOT_NONE)
            printf(" out(%llu phase %d acked %llu sent %llu of %llu)",
                   (unsigned long long)d->snapshot.out[i].peer, (int)d->snapshot.out[i].phase,
                   (unsigned long long)d->snapshot.out[i].acked,
                   (unsigned long long)d->snapshot.out[i].sent,
                   (unsigned long long)d->snapshot.out[i].info.size);
    for (i = 0; i < d->n_peers; i++)
        printf(" peer(%llu: %llu..%llu told %llu queue %zu)", (unsigned long long)d->peers[i].id,
               (unsigned long long)d->peers[i].next, (unsigned long long)d->peers[i].probe.end,
               (unsigned long long)d->peers[i].told,
               node->sim->in_flight[node->id][d->peers[i].id]);
    printf(" in(phase %d offset %llu)\n", (int)d->snapshot.in.phase,
           (unsigned long long)d->snapshot.in.offset);
}

void raft_sim_print(const struct raft_sim *sim)
{
    unsigned i;

    for (i = 1; i <= sim->config.n; i++)
        print_member(&sim->nodes[i]);
}
