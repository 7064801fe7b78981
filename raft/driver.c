/* SPDX-License-Identifier: Apache-2.0 */
/* The life of the driver, incoming messages, the turn, and status.
 *
 * A message is decoded and checked (raft/wire.h), then given to the guard or to the part of the
 * driver that handles its kind. driver_turn does the rest: it submits proposals, runs transactions
 * (turn.c) and fires the timer until nothing is left, then sends. */
#include "raft/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"

/* The EOF rule: when the leader's connection closes, the voters stand for election one after the
 * other. The first has usually won before the second tries. */
#define SUSPECT_FIRST_MS  3
#define SUSPECT_RANK_MS   25
#define SUSPECT_JITTER_MS 8

/* ---- Life ------------------------------------------------------------------------------------ */

struct driver *driver_new(const struct driver_config *config, const struct driver_env *env,
                          struct machine machine)
{
    struct driver *d = xcalloc(1, sizeof *d);
    unsigned i;

    check(config->id > 0 && config->election_ms >= 100 && config->election_ms <= 60000);
    check(config->n_members <= LIMIT_MEMBERS_MAX && config->max_inflight > 0);
    d->config = *config;
    if (d->config.heartbeat_ms == 0)
        d->config.heartbeat_ms = config->election_ms / 10;
    if (d->config.compact_bytes == 0)
        d->config.compact_bytes = DRIVER_LOG_BYTES;
    if (d->config.compact_every == 0)
        d->config.compact_every = 1;
    d->env = *env;
    d->machine = machine;
    d->chance = config->seed;
    STAILQ_INIT(&d->held);
    STAILQ_INIT(&d->proposals);
    entries_init(&d->log, DRIVER_CACHE_BYTES);
    readindex_init(&d->reads, driver_random(d, UINT64_MAX));
    d->members = xcalloc(config->n_members, sizeof *d->members);
    for (i = 0; i < config->n_members; i++) {
        d->members[i] = config->members[i];
        d->members[i].address = xstrdup(config->members[i].address);
    }
    d->n_members = config->n_members;
    d->config.members = NULL;
    return d;
}

void driver_free(struct driver *d)
{
    unsigned i;

    if (d == NULL)
        return;
    snapshot_fini(d);
    if (d->guard.raft != NULL)
        raft_close(&d->raft, NULL);
    proposals_drop(d);
    outbox_fini(d);
    readindex_fini(&d->reads);
    entries_fini(&d->log);
    buf_fini(&d->config_data);
    for (i = 0; i < d->n_members; i++)
        free(d->members[i].address);
    free(d->members);
    free(d);
}

/* ---- The leader ------------------------------------------------------------------------------ */

static void tell_leader(struct driver *d)
{
    driver_note_leader(d);
    if (!d->leader_changed)
        return;
    d->leader_changed = false;
    d->env.on_leader(d->env.ctx, d->seen_leader, d->seen_term);
}

/* The number of voters before us in the configuration, without the lost leader. */
static unsigned rank_without(const struct driver *d, uint64_t gone)
{
    const struct raft_configuration *config = &d->raft.configuration;
    unsigned i, rank = 0;

    for (i = 0; i < config->n && config->servers[i].id != d->config.id; i++)
        rank += config->servers[i].role == RAFT_VOTER && config->servers[i].id != gone;
    return rank;
}

/* Moves our virtual clock forward permanently, so that the election timer fires soon. If only this
 * member lost its connection, pre-vote keeps it from disturbing the others. */
static void suspect(struct driver *d, uint64_t leader)
{
    uint64_t delay, due;

    guard_forget_leader(&d->guard);
    delay = SUSPECT_FIRST_MS + rank_without(d, leader) * SUSPECT_RANK_MS +
            driver_random(d, SUSPECT_JITTER_MS);
    due = raft_timeout(&d->raft);
    if (guard_may_stand(&d->guard) && due > d->guard.now + delay)
        d->skew += due - d->guard.now - delay;
    driver_note_leader(d);
}

void driver_link(struct driver *d, uint64_t peer, bool up)
{
    driver_clock(d);
    replicate_unlink(d, peer);
    if (!up && d->raft.state == RAFT_FOLLOWER && guard_leader(&d->guard) == peer)
        suspect(d, peer);
}

/* ---- Incoming messages ----------------------------------------------------------------------- */

/* A command that the state machine does not accept must not enter any log. */
static bool is_acceptable(struct driver *d, uint64_t from, const uint8_t *data, size_t len)
{
    if (d->machine.ops->acceptable(d->machine.ctx, from, data, len))
        return true;
    log_warn("dropped an invalid command that member %" PRIu64 " proposed", from);
    return false;
}

/* The leader checks whether a command is acceptable: here its own, in on_propose the others'. */
bool driver_propose(struct driver *d, struct buf *data)
{
    uint64_t leader = guard_leader(&d->guard);
    bool ours = leader == d->config.id;

    check(data->len <= LIMIT_COMMAND_MAX);
    if (leader == 0 || (!ours && !d->env.linked(d->env.ctx, leader)))
        return false;
    if ((ours && !is_acceptable(d, d->config.id, data->data, data->len)) || !proposals_add(d, data))
        buf_fini(data); /* the same as lost in the network */
    return true;
}

static void on_propose(struct driver *d, uint64_t from, const Cfs__Peer__Propose *propose)
{
    size_t i;

    for (i = 0; i < propose->n_entries && guard_is_leader(&d->guard); i++) {
        const ProtobufCBinaryData *entry = &propose->entries[i];
        struct buf data;

        if (!is_acceptable(d, from, entry->data, entry->len))
            return;
        data = buf_copy(entry->data, entry->len);
        /* Proposals keep their order: after a lost one, the rest would only be refused. */
        if (!proposals_add(d, &data)) {
            buf_fini(&data);
            return;
        }
    }
}

/* Terms grow by elections, one by one. A peer that is this far ahead is broken: if its term entered
 * our database, the terms of the whole cluster would soon be used up. */
#define TERM_LEAP (UINT64_C(1) << 32)

/* The term of the message's sender; 0: the message has none. */
static uint64_t term_of(const Cfs__Peer__Frame *frame)
{
    switch (frame->kind_case) {
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE:
        return frame->request_vote->term;
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE_RESULT:
        return frame->request_vote_result->term;
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES:
        return frame->append_entries->term;
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES_RESULT:
        return frame->append_entries_result->term;
    case CFS__PEER__FRAME__KIND_TIMEOUT_NOW:
        return frame->timeout_now->term;
    case CFS__PEER__FRAME__KIND_READ_PROBE:
        return frame->read_probe->term;
    case CFS__PEER__FRAME__KIND_READ_ACK:
        return frame->read_ack->term;
    case CFS__PEER__FRAME__KIND_SNAPSHOT_OFFER:
        return frame->snapshot_offer->term;
    case CFS__PEER__FRAME__KIND_PROPOSE:
    case CFS__PEER__FRAME__KIND_READ_REQUEST:
    case CFS__PEER__FRAME__KIND_READ_REPLY:
    case CFS__PEER__FRAME__KIND_SNAPSHOT_CHUNK:
    case CFS__PEER__FRAME__KIND_SNAPSHOT_ACK:
    case CFS__PEER__FRAME__KIND_APP:
    case CFS__PEER__FRAME__KIND__NOT_SET:
    case _CFS__PEER__FRAME__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

/* Why the message cannot come from a sound member; NULL: it can. */
static const char *fault_of(struct driver *d, const Cfs__Peer__Frame *frame)
{
    const Cfs__Peer__AppendEntries *append = frame->append_entries;

    if (term_of(frame) > d->raft.current_term + TERM_LEAP)
        return "its term is out of reach";
    if (frame->kind_case != CFS__PEER__FRAME__KIND_APPEND_ENTRIES)
        return NULL;
    for (size_t i = 0; i < append->n_entries; i++)
        if (append->entries[i]->type == MACHINE_COMMAND &&
            !d->machine.ops->acceptable(d->machine.ctx, 0, append->entries[i]->data.data,
                                        append->entries[i]->data.len))
            return "it has a log entry that is not valid";
    return NULL;
}

static void on_raft(struct driver *d, uint64_t from, const Cfs__Peer__Frame *frame)
{
    struct raft_message message;
    struct raft_entry *entries = NULL;
    struct driver_peer *peer = replicate_peer(d, from);

    if (!wire_to_raft(frame, from, &message))
        return;
    if (message.type == RAFT_APPEND_ENTRIES)
        entries = wire_entries(frame->append_entries);
    if (peer != NULL && message.type == RAFT_APPEND_ENTRIES_RESULT &&
        message.append_entries_result.rejected > 0)
        peer->told = 0;
    guard_receive(&d->guard, &message, entries);
    free(entries);
    driver_note_leader(d);
}

static void dispatch(struct driver *d, uint64_t from, const Cfs__Peer__Frame *frame)
{
    switch (frame->kind_case) {
    case CFS__PEER__FRAME__KIND_PROPOSE:
        on_propose(d, from, frame->propose);
        return;
    case CFS__PEER__FRAME__KIND_READ_REQUEST:
        readindex_on_request(d, from, frame->read_request);
        return;
    case CFS__PEER__FRAME__KIND_READ_REPLY:
        readindex_on_reply(d, from, frame->read_reply);
        return;
    case CFS__PEER__FRAME__KIND_READ_PROBE:
        readindex_on_probe(d, from, frame->read_probe);
        return;
    case CFS__PEER__FRAME__KIND_READ_ACK:
        readindex_on_ack(d, from, frame->read_ack);
        return;
    case CFS__PEER__FRAME__KIND_SNAPSHOT_OFFER:
        snapshot_on_offer(d, from, frame->snapshot_offer);
        return;
    case CFS__PEER__FRAME__KIND_SNAPSHOT_CHUNK:
        snapshot_on_chunk(d, from, frame->snapshot_chunk);
        return;
    case CFS__PEER__FRAME__KIND_SNAPSHOT_ACK:
        snapshot_on_ack(d, from, frame->snapshot_ack);
        return;
    case CFS__PEER__FRAME__KIND_APP:
        d->env.on_app(d->env.ctx, from, frame->app->data.data, frame->app->data.len);
        return;
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE:
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE_RESULT:
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES:
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES_RESULT:
    case CFS__PEER__FRAME__KIND_TIMEOUT_NOW:
        on_raft(d, from, frame);
        return;
    case CFS__PEER__FRAME__KIND__NOT_SET:
    case _CFS__PEER__FRAME__KIND__CASE_IS_INT_SIZE:
        return;
    }
}

bool driver_receive(struct driver *d, uint64_t from, const uint8_t *data, size_t len)
{
    Cfs__Peer__Frame *frame = wire_decode(data, len);
    struct driver_peer *peer;
    const char *fault;

    if (frame == NULL)
        return false;
    driver_clock(d);
    fault = fault_of(d, frame);
    if (fault != NULL) {
        d->refused++;
        log_error("refused a message of member %" PRIu64 ": %s", from, fault);
        wire_free(frame);
        return false;
    }
    peer = replicate_peer(d, from);
    if (peer != NULL)
        peer->heard = d->guard.now;
    dispatch(d, from, frame);
    wire_free(frame);
    return true;
}

void driver_barrier(struct driver *d, uint64_t ticket)
{
    readindex_add(d, ticket);
}

void driver_barrier_cancel(struct driver *d, uint64_t ticket)
{
    readindex_cancel(d, ticket);
}

void driver_send_app(struct driver *d, uint64_t peer, const uint8_t *data, size_t len)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__App app = CFS__PEER__APP__INIT;

    check(len <= WIRE_APP_MAX);
    app.data.data = (uint8_t *)(uintptr_t)data;
    app.data.len = len;
    frame.kind_case = CFS__PEER__FRAME__KIND_APP;
    frame.app = &app;
    outbox_frame(d, peer, &frame);
}

/* ---- Turns ----------------------------------------------------------------------------------- */

/* True in a one-member cluster: such a leader needs no ticks. */
static bool is_alone(const struct driver *d)
{
    const struct raft_configuration *config = &d->raft.configuration;

    return config->n == 1 && config->servers[0].id == d->config.id;
}

static bool fire_timer(struct driver *d)
{
    if (guard_is_leader(&d->guard)) {
        if (d->guard.now < d->tick || is_alone(d))
            return false;
        d->tick = d->guard.now + d->config.heartbeat_ms;
    } else if (d->guard.now < raft_timeout(&d->raft)) {
        return false;
    }
    guard_timeout(&d->guard);
    driver_note_leader(d);
    return true;
}

/* Proposals come before the transaction that stores them. Timers come after it, because a follower
 * with rows that are not on the disk does not stand for election. */
void driver_turn(struct driver *d)
{
    unsigned round;
    bool more = true;

    driver_clock(d);
    for (round = 0; more && round < DRIVER_TURN_ROUNDS; round++) {
        membership_turn(d);
        more = proposals_submit(d);
        more |= turn_flush(d);
        more |= fire_timer(d);
    }
    d->busy = more;
    replicate_pump(d);
    replicate_push_commit(d);
    readindex_turn(d);
    snapshot_turn(d);
    membership_notify(d);
    tell_leader(d);
}

uint64_t driver_deadline(const struct driver *d)
{
    uint64_t due = raft_timeout(&d->raft);

    if (guard_is_leader(&d->guard))
        due = is_alone(d) ? UINT64_MAX : d->tick;
    if (d->busy || d->leader_changed || !driver_clean(d))
        return 0;
    due = min_u64(due, readindex_deadline(d));
    due = min_u64(due, snapshot_deadline(d));
    if (replicate_blocked(d) || (d->n_proposals > 0 && !guard_is_leader(&d->guard)))
        due = min_u64(due, d->guard.now + DRIVER_RETRY_MS);
    if (due == UINT64_MAX)
        return due;
    return due > d->skew ? due - d->skew : 0;
}

/* ---- Status ---------------------------------------------------------------------------------- */

static void member_status(const struct driver *d, const struct raft_server *server,
                          struct driver_member_status *out)
{
    unsigned i;

    out->id = server->id;
    snprintf(out->address, sizeof out->address, "%s", server->address);
    out->role = server->role == RAFT_VOTER ? DRIVER_VOTER : DRIVER_STANDBY;
    out->linked = server->id == d->config.id || d->env.linked(d->env.ctx, server->id);
    out->contact_ms = UINT64_MAX;
    if (!guard_is_leader(&d->guard))
        return;
    out->match = guard_match(&d->guard, server->id);
    if (server->id == d->config.id)
        out->contact_ms = 0;
    for (i = 0; i < d->n_peers; i++)
        if (d->peers[i].id == server->id && d->peers[i].heard > 0)
            out->contact_ms = d->guard.now - d->peers[i].heard;
}

static enum driver_state state_of(const struct driver *d)
{
    if (d->raft.state == RAFT_LEADER)
        return DRIVER_LEADER;
    return d->raft.state == RAFT_CANDIDATE ? DRIVER_CANDIDATE : DRIVER_FOLLOWER;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    uint64_t pending = d->raft.configuration_uncommitted_index;
    unsigned i;

    memset(out, 0, sizeof *out);
    out->id = d->config.id;
    out->state = state_of(d);
    out->leader = guard_leader(&d->guard);
    out->term = d->raft.current_term;
    out->commit = d->commit;
    out->applied = d->guard.applied;
    out->first_index = entries_first(&d->log);
    out->last_index = d->log.last;
    if (out->leader == 0)
        out->no_leader_ms =
            max_u64(1, d->env.now_ms(d->env.ctx) + d->skew -
                           min_u64(d->no_leader_since, d->env.now_ms(d->env.ctx) + d->skew));
    out->elections = d->elections;
    out->refused = d->refused + d->guard.dropped;
    out->snapshots_sent = d->snapshot.sent;
    out->snapshots_installed = d->snapshot.installed;
    out->config_index = pending != 0 ? pending : d->raft.configuration_committed_index;
    out->config_pending = pending != 0;
    for (i = 0; i < d->raft.configuration.n && i < ARRAY_LEN(out->members); i++)
        member_status(d, &d->raft.configuration.servers[i], &out->members[out->n_members++]);
}

bool driver_is_leader(const struct driver *d)
{
    return guard_is_leader(&d->guard);
}

uint64_t driver_leading(const struct driver *d)
{
    return guard_is_leader(&d->guard) ? d->raft.current_term : 0;
}
