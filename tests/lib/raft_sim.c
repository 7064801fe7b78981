/* SPDX-License-Identifier: Apache-2.0 */
/* One heap of events, ordered by (time, number), drives the world. A member handles one event at a
 * time; events that arrive while its disk is busy wait. Its clock runs while it works (each commit
 * takes time), so a message that it sends before a commit can arrive before that commit is done.
 *
 * A crash inside a commit cannot happen there, because the driver is on the stack. Instead the
 * member is doomed: the machine records what a power cut at that moment leaves, and no other member
 * sees what the member does until the event ends. Earlier messages arrive, because the member is
 * declared dead only when its own time is reached. */
#include "tests/lib/raft_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/lib/memory_machine.h"
#include "tests/lib/raft_sim_impl.h"

/* ---- Random numbers and time ----------------------------------------------------------------- */

uint64_t sim_chance(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t sim_pick(struct raft_sim *sim, uint64_t low, uint64_t high)
{
    return high > low ? low + sim_chance(&sim->chance) % (high - low + 1) : low;
}

bool sim_happens(struct raft_sim *sim, unsigned per_mille)
{
    return per_mille > 0 && sim_pick(sim, 0, 999) < per_mille;
}

uint64_t sim_local_time(const struct raft_sim *sim, const struct sim_node *node)
{
    return max_u64(node->local, sim->now);
}

#define BOOTED 3600000000u /* boot time by member 1's clock; the others differ */

uint64_t sim_clock(const struct sim_node *node)
{
    uint64_t t = sim_local_time(node->sim, node);

    return node->id * BOOTED + t + (uint64_t)((int64_t)t * node->drift_ppm / 1000000);
}

uint64_t sim_time_of(const struct sim_node *node, uint64_t clock_ms)
{
    uint64_t us = clock_ms < UINT64_MAX / 4000 ? clock_ms * 1000 : UINT64_MAX / 4;

    us = us > node->id * BOOTED ? us - node->id * BOOTED : 0;
    if (node->drift_ppm == 0 || us >= UINT64_MAX / 8)
        return us;
    return us - (uint64_t)((int64_t)us * node->drift_ppm / (1000000 + node->drift_ppm)) + 1;
}

void raft_sim_note(struct raft_sim *sim, const char *fmt, ...)
{
    char *line = sim->story[sim->n_story++ % SIM_STORY];
    va_list args;
    int len = snprintf(line, 160, "%10.3f ms  ", (double)sim->now / 1000);

    va_start(args, fmt);
    vsnprintf(line + len, 160 - (size_t)len, fmt, args);
    va_end(args);
}

void raft_sim_story(const struct raft_sim *sim, unsigned lines)
{
    unsigned n = (unsigned)min_u64(min_u64(lines, SIM_STORY), sim->n_story), i;

    for (i = sim->n_story - n; i != sim->n_story; i++)
        printf("  %s\n", sim->story[i % SIM_STORY]);
}

void raft_sim_fail(struct raft_sim *sim, const char *fmt, ...)
{
    va_list args;

    if (sim->error[0] != '\0')
        return;
    va_start(args, fmt);
    vsnprintf(sim->error, sizeof sim->error, fmt, args);
    va_end(args);
}

void raft_sim_doom(struct raft_sim *sim, unsigned id)
{
    sim->backend->doom(sim->nodes[id].disk);
    sim->nodes[id].doomed = true;
}

void raft_sim_die(struct raft_sim *sim, unsigned id)
{
    if (id == 0)
        sim->broken = true;
    sim->dying = id;
    longjmp(sim->death, 1);
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

void sim_insert(struct raft_sim *sim, struct sim_event event)
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

void sim_post(struct raft_sim *sim, uint64_t at, enum sim_event_kind kind, unsigned a, unsigned b,
              uint64_t stamp)
{
    sim_insert(sim, (struct sim_event){.at = max_u64(at, sim->now),
                                       .seq = sim->seq++,
                                       .kind = kind,
                                       .a = a,
                                       .b = b,
                                       .stamp = stamp});
}

/* ---- The disks ------------------------------------------------------------------------------- */

void raft_sim_on_commit(struct raft_sim *sim, unsigned id, bool sync)
{
    struct sim_node *node = &sim->nodes[id];
    uint64_t takes = sync ? sim_pick(sim, sim->config.sync_min, sim->config.sync_max) : 5;

    if (sync && !sim->peaceful && sim_happens(sim, sim->config.stall))
        takes = sim_pick(sim, sim->config.sync_max, sim->config.stall_max);
    node->local = sim_local_time(sim, node) + takes;
    if (sync && !sim->peaceful && !node->doomed && sim_happens(sim, sim->config.crash_commit)) {
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
    struct memory_machine_config config = {.seed = sim_chance(&sim->chance),
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

const struct raft_sim_backend raft_sim_memory = {
    .open = memory_open,
    .machine = memory_of,
    .doom = memory_doom,
    .crash = memory_crash,
    .close = memory_close,
    .hash = memory_hash,
};

/* ---- Members --------------------------------------------------------------------------------- */

static void schedule_turn(struct raft_sim *sim, struct sim_node *node, uint64_t at)
{
    if (node->turn_at <= at)
        return;
    node->turn_at = at;
    node->turn_stamp = sim->seq;
    sim_post(sim, at, EV_TURN, node->id, 0, node->turn_stamp);
}

static void stop(struct raft_sim *sim, struct sim_node *node)
{
    unsigned i;

    if (sim->backend->stopping != NULL)
        sim->backend->stopping(node->disk);
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
            sim_disconnect(sim, node->id, i,
                           sim->peaceful || sim_happens(sim, 700) ? 2000 : 2000000);
}

void raft_sim_crash(struct raft_sim *sim, unsigned id)
{
    struct sim_node *node = &sim->nodes[id];

    if (node->driver == NULL)
        return;
    sim->stats.crashes++;
    raft_sim_note(sim, "%u crashes", id);
    sim->backend->doom(node->disk); /* before the end of the driver can change anything */
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
    struct driver_env env = sim_env(node);
    struct driver_member members[RAFT_SIM_MAX];
    char addresses[RAFT_SIM_MAX][16], errmsg[256];
    struct driver_config config = {.id = id,
                                   .election_ms = sim->config.election_ms,
                                   .heartbeat_ms = sim->config.heartbeat_ms,
                                   .compact_every = sim->config.compact_every,
                                   .compact_trailing = sim->config.compact_trailing,
                                   .max_inflight = sim->config.max_inflight,
                                   .seed = sim_chance(&sim->chance),
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
    if (!node->doomed && sim->backend->started != NULL &&
        !sim->backend->started(node->disk, node->driver))
        node->doomed = true;
    if (node->doomed) {
        raft_sim_crash(sim, id);
        sim_post(sim, sim->now + 10000, EV_START, id, 0, 0);
        return;
    }
    raft_sim_note(sim, "%u starts: term %llu, log to %llu, applied %llu", id,
                  (unsigned long long)node->driver->raft.current_term,
                  (unsigned long long)node->driver->log.last,
                  (unsigned long long)node->driver->guard.applied);
    sim_check_started(sim, node);
    sim_check_event(sim, node);
    schedule_turn(sim, node, sim->now);
}

/* Call it after each use of a member's driver. */
void sim_after(struct raft_sim *sim, struct sim_node *node, bool turned)
{
    struct driver *d = node->driver;
    uint64_t state[6], due;

    node->busy_until = max_u64(sim_local_time(sim, node), node->paused);
    if (sim->backend->after != NULL)
        sim->backend->after(node->disk);
    if (node->doomed) {
        sim_post(sim, node->busy_until, EV_DIE, node->id, 0, node->incarnation);
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
    if (sim->backend->deadline != NULL)
        due = min_u64(due, sim->backend->deadline(node->disk));
    schedule_turn(sim, node,
                  due == UINT64_MAX
                      ? UINT64_MAX
                      : max_u64(sim_time_of(node, due), node->busy_until + sim_pick(sim, 1, 100)));
}

void raft_sim_kick(struct raft_sim *sim, unsigned id)
{
    if (sim->nodes[id].driver != NULL)
        sim_after(sim, &sim->nodes[id], false);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void deliver(struct raft_sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];

    if (event->stamp != sim_link_epoch(sim, event->a, event->b))
        return;
    sim->in_flight[event->b][event->a] -= event->data.len;
    if (node->driver == NULL || !node->linked[event->b] || sim->cut[event->b][event->a])
        return;
    if (!driver_receive(node->driver, event->b, event->data.data, event->data.len))
        sim_fail(sim, "member %u cannot decode a message of member %u", event->a, event->b);
    sim_after(sim, node, false);
}

static void turn(struct raft_sim *sim, struct sim_node *node, uint64_t stamp)
{
    if (node->driver == NULL || stamp != node->turn_stamp)
        return;
    node->turn_at = UINT64_MAX;
    if (sim->backend->turn != NULL)
        sim->backend->turn(node->disk);
    driver_turn(node->driver);
    sim_after(sim, node, true);
}

static void link_changed(struct raft_sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];
    bool up = sim_connected(sim, event->a, event->b);

    if (node->driver == NULL || event->stamp != sim_link_epoch(sim, event->a, event->b) ||
        node->linked[event->b] == up)
        return;
    node->linked[event->b] = up;
    driver_link(node->driver, event->b, up);
    if (sim->backend->on_link != NULL)
        sim->backend->on_link(node->disk, event->b, up);
    sim_after(sim, node, false);
}

static void doomed_end(struct raft_sim *sim, struct sim_node *node)
{
    raft_sim_crash(sim, node->id);
    sim_post(sim, sim->now + sim_pick(sim, 1000, sim->config.down_max), EV_START, node->id, 0, 0);
}

static void happen(struct raft_sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->a];
    bool own = event->kind == EV_DELIVER || event->kind == EV_TURN || event->kind == EV_LINK;

    if (own && node->driver != NULL && node->busy_until > sim->now) {
        event->at = node->busy_until;
        sim_insert(sim, *event);
        event->data = (struct buf)BUF_EMPTY;
        return;
    }
    sim->stats.events++;
    if (own && node->doomed)
        return;
    switch (event->kind) {
    case EV_DELIVER:
        deliver(sim, event);
        return;
    case EV_TURN:
        turn(sim, node, event->stamp);
        return;
    case EV_CONNECT:
        sim_connect(sim, event->a, event->b);
        return;
    case EV_LINK:
        link_changed(sim, event);
        return;
    case EV_START:
        raft_sim_start(sim, event->a);
        return;
    case EV_UNCUT:
        sim_heal_cuts(sim);
        return;
    case EV_DIE:
        if (node->doomed && event->stamp == node->incarnation)
            doomed_end(sim, node);
        return;
    case EV_ASK:
        raft_sim_propose(sim, event->a, 8);
        return;
    case EV_PROPOSE:
    case EV_BARRIER:
    case EV_CRASH:
    case EV_CUT:
    case EV_UNPLUG:
    case EV_CHURN:
    case EV_TRANSFER:
    case EV_PAUSE:
    case EV_JUMP:
        sim_trouble(sim, event);
        return;
    }
}

/* The process ended in the middle of an event. Memory that is no longer reachable is leaked. */
static void member_died(struct raft_sim *sim)
{
    if (sim->broken)
        return;
    sim->stats.deaths++;
    raft_sim_crash(sim, sim->dying);
    sim_post(sim, sim->now + sim_pick(sim, 1000, sim->config.down_max), EV_START, sim->dying, 0, 0);
}

static bool step(struct raft_sim *sim, uint64_t end)
{
    if (sim->error[0] != '\0' || sim->n_events == 0 || sim->heap[0].at > end)
        return false;
    sim->event = heap_take(sim);
    sim->now = sim->event.at;
    if (setjmp(sim->death) == 0)
        happen(sim, &sim->event);
    else
        member_died(sim);
    buf_fini(&sim->event.data);
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

/* True if a quorum follows one leader. */
static bool led(struct raft_sim *sim, void *arg BASE_UNUSED)
{
    unsigned leader = raft_sim_leader(sim), voters = 0, followers = 0, i;
    const struct raft_configuration *config;

    if (leader == 0)
        return false;
    config = &sim->nodes[leader].driver->raft.configuration;
    for (i = 0; i < config->n; i++) {
        const struct driver *d = sim->nodes[config->servers[i].id].driver;

        if (config->servers[i].role != RAFT_VOTER)
            continue;
        voters++;
        followers += d != NULL && guard_leader(&d->guard) == leader;
    }
    return followers > voters / 2;
}

/* True if all members have the entries of one leader, and nothing is pending. */
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
            guard_leader(&node->driver->guard) != leader ||
            (sim->backend->pending != NULL && sim->backend->pending(node->disk)))
            return false;
    }
    return true;
}

static void compare(struct raft_sim *sim)
{
    const struct raft_configuration *config;
    unsigned leader = raft_sim_leader(sim), i;

    config = &sim->nodes[leader].driver->raft.configuration;
    if (sim->nodes[leader].driver->log.last < sim_check_applied(sim))
        sim_fail(sim, "DURABILITY: an applied entry is lost");
    for (i = 0; i < config->n; i++) {
        unsigned id = (unsigned)config->servers[i].id;

        if (sim->backend->hash(sim->nodes[id].disk) != sim->backend->hash(sim->nodes[leader].disk))
            sim_fail(sim, "STATE HASH: members %u and %u differ at %llu", id, leader,
                     (unsigned long long)sim->nodes[leader].driver->log.last);
    }
}

void raft_sim_ask(struct raft_sim *sim, unsigned id, uint64_t at)
{
    sim_post(sim, at, EV_ASK, id, 0, 0);
}

bool raft_sim_heal(struct raft_sim *sim, uint64_t us)
{
    uint64_t begin = sim->now;
    unsigned i, j;

    sim->peaceful = true;
    sim_heal_cuts(sim);
    for (i = 1; i <= sim->config.n; i++)
        sim_post(sim, sim->now, EV_START, i, 0, 0);
    for (i = 1; i <= sim->config.n; i++)
        for (j = i + 1; j <= sim->config.n; j++)
            if (sim->config.fresh_links)
                sim_reconnect(sim, i, j);
            else
                sim_connect_soon(sim, i, j, sim->now);
    raft_sim_note(sim, "all trouble ends");
    if (raft_sim_until(sim, led, NULL, us))
        sim->stats.leader_us = sim->now - begin;
    if (!raft_sim_until(sim, agreed, NULL, us)) {
        sim_fail(sim, "LIVENESS: no agreement %llu ms after the trouble has ended",
                 (unsigned long long)us / 1000);
        return false;
    }
    sim->stats.heal_us = sim->now - begin;
    for (i = 1; i <= sim->config.n; i++)
        raft_sim_ask(sim, i, sim->now);
    raft_sim_run(sim, 200000);
    if (!raft_sim_until(sim, agreed, NULL, us))
        sim_fail(sim, "no agreement again");
    else
        compare(sim);
    return sim->error[0] == '\0';
}

bool raft_sim_settle(struct raft_sim *sim, uint64_t us)
{
    if (!raft_sim_until(sim, agreed, NULL, us))
        sim_fail(sim, "LIVENESS: no agreement any more");
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
    sim->story = xcalloc(SIM_STORY, sizeof *sim->story);
    for (i = 1; i <= config->n; i++) {
        sim->nodes[i].sim = sim;
        sim->nodes[i].id = i;
        sim->nodes[i].turn_at = UINT64_MAX;
        if (config->drift_ppm > 0)
            sim->nodes[i].drift_ppm =
                (int64_t)sim_pick(sim, 0, 2ull * config->drift_ppm) - config->drift_ppm;
        sim->nodes[i].disk = sim->backend->open(sim, i);
        sim_post(sim, sim->now + sim_pick(sim, 0, 50000), EV_START, i, 0, 0);
    }
    for (kind = EV_PROPOSE; kind <= EV_JUMP; kind++)
        sim_trouble_again(sim, (enum sim_event_kind)kind);
    return sim;
}

void raft_sim_free(struct raft_sim *sim)
{
    unsigned i;

    if (sim->broken)
        return;
    for (i = 1; i <= sim->config.n; i++) {
        if (sim->nodes[i].driver != NULL && sim->backend->stopping != NULL)
            sim->backend->stopping(sim->nodes[i].disk);
        if (sim->nodes[i].driver != NULL)
            driver_free(sim->nodes[i].driver);
        sim->backend->close(sim->nodes[i].disk);
    }
    while (sim->n_events > 0) {
        struct sim_event event = heap_take(sim);

        buf_fini(&event.data);
    }
    free(sim->heap);
    free(sim->story);
    sim_check_free(sim->check);
    free(sim);
}

/* ---- Questions ------------------------------------------------------------------------------- */

uint64_t raft_sim_pick(struct raft_sim *sim, uint64_t low, uint64_t high)
{
    return sim_pick(sim, low, high);
}

bool raft_sim_peaceful(const struct raft_sim *sim)
{
    return sim->peaceful;
}

uint64_t raft_sim_clock_us(const struct raft_sim *sim, unsigned id)
{
    return sim_clock(&sim->nodes[id]);
}

uint64_t raft_sim_committed(const struct raft_sim *sim)
{
    return sim_check_applied(sim);
}

void *raft_sim_disk(struct raft_sim *sim, unsigned id)
{
    return sim->nodes[id].disk;
}

void *raft_sim_ctx(const struct raft_sim *sim)
{
    return sim->config.ctx;
}

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

bool raft_sim_is_member(const struct raft_sim *sim, unsigned id)
{
    unsigned leader = raft_sim_leader(sim);

    return leader != 0 && guard_find_server(&sim->nodes[leader].driver->guard, id) != NULL;
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
