/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: raft/readindex.h. readindex_turn moves everything; messages only update the
 * fields. A barrier passes four steps: its ticket gets a request number, the leader takes the
 * request into a round, a majority confirms the round, and this member applies the answered index.
 */
#include "raft/readindex.h"

#include <stdlib.h>
#include <string.h>

#include "raft/driver_impl.h"

void readindex_init(struct readindex *x, uint64_t nonce)
{
    memset(x, 0, sizeof *x);
    x->nonce = nonce;
}

void readindex_fini(struct readindex *x)
{
    free(x->tickets);
    memset(x, 0, sizeof *x);
}

/* ---- The asking side ------------------------------------------------------------------------- */

void readindex_add(struct driver *d, uint64_t ticket)
{
    struct readindex *x = &d->reads;

    if (x->n == x->cap) {
        x->cap = x->cap > 0 ? x->cap * 2 : 16;
        x->tickets = xrealloc(x->tickets, x->cap * sizeof *x->tickets);
    }
    x->tickets[x->n++] = (struct readindex_ticket){.ticket = ticket};
}

void readindex_cancel(struct driver *d, uint64_t ticket)
{
    struct readindex *x = &d->reads;
    size_t i, kept = 0;

    for (i = 0; i < x->n; i++)
        if (x->tickets[i].ticket != ticket)
            x->tickets[kept++] = x->tickets[i];
    x->n = kept;
}

static struct readindex_asker *asker(struct readindex *x, uint64_t id)
{
    unsigned i;

    for (i = 0; i < x->n_askers; i++)
        if (x->askers[i].id == id)
            return &x->askers[i];
    if (x->n_askers == ARRAY_LEN(x->askers))
        return NULL; /* the table is full; the member asks again later */
    x->askers[x->n_askers] = (struct readindex_asker){.id = id};
    return &x->askers[x->n_askers++];
}

/* Asks for all unanswered tickets; a later request covers the earlier ones. */
static void ask(struct driver *d, uint64_t leader)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__ReadRequest request = CFS__PEER__READ_REQUEST__INIT;
    struct readindex *x = &d->reads;
    struct readindex_asker *self;
    size_t i;

    x->number++;
    for (i = 0; i < x->n; i++)
        if (x->tickets[i].number == 0)
            x->tickets[i].number = x->number;
    x->retry = d->guard.now + d->config.heartbeat_ms;
    x->asked_leader = leader;
    x->asked_term = d->raft.current_term;
    request.nonce = x->nonce;
    request.number = x->number;
    frame.kind_case = CFS__PEER__FRAME__KIND_READ_REQUEST;
    frame.read_request = &request;
    if (leader != d->config.id) {
        outbox_frame(d, leader, &frame);
    } else if ((self = asker(x, leader)) != NULL) {
        self->nonce = x->nonce;
        self->number = x->number;
    }
}

static void ask_if_due(struct driver *d)
{
    struct readindex *x = &d->reads;
    uint64_t leader = guard_leader(&d->guard);
    bool fresh = false, open = false;
    size_t i;

    for (i = 0; i < x->n; i++) {
        fresh |= x->tickets[i].number == 0;
        open |= x->tickets[i].index == 0;
    }
    if (!open || leader == 0)
        return;
    if (fresh || d->guard.now >= x->retry || x->asked_leader != leader ||
        x->asked_term != d->raft.current_term)
        ask(d, leader);
}

static void answered(struct driver *d, uint64_t number, uint64_t index)
{
    struct readindex *x = &d->reads;
    size_t i;

    for (i = 0; i < x->n; i++)
        if (x->tickets[i].index == 0 && x->tickets[i].number != 0 && x->tickets[i].number <= number)
            x->tickets[i].index = index;
}

static void complete(struct driver *d)
{
    struct readindex *x = &d->reads;
    size_t i, kept = 0, done = 0;
    uint64_t *tickets = NULL;

    for (i = 0; i < x->n; i++) {
#ifdef BREAK_READ_WAIT
        x->tickets[i].index = min_u64(x->tickets[i].index, d->guard.applied);
#endif
        if (x->tickets[i].index == 0 || x->tickets[i].index > d->guard.applied) {
            x->tickets[kept++] = x->tickets[i];
            continue;
        }
        if (tickets == NULL)
            tickets = xcalloc(x->n, sizeof *tickets);
        tickets[done++] = x->tickets[i].ticket;
    }
    x->n = kept;
    for (i = 0; i < done; i++)
        d->env.on_barrier(d->env.ctx, tickets[i]);
    free(tickets);
}

/* ---- The leader's side ----------------------------------------------------------------------- */

void readindex_lead(struct driver *d)
{
    struct readindex *x = &d->reads;

    x->n_askers = 0;
    x->round_open = false;
}

static void probe(struct driver *d)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__ReadProbe message = CFS__PEER__READ_PROBE__INIT;
    const struct raft_configuration *config = &d->raft.configuration;
    unsigned i;

    message.term = d->raft.current_term;
    message.round = d->reads.round;
    frame.kind_case = CFS__PEER__FRAME__KIND_READ_PROBE;
    frame.read_probe = &message;
    d->reads.round_retry = d->guard.now + d->config.heartbeat_ms;
    for (i = 0; i < config->n; i++)
        if (config->servers[i].role == RAFT_VOTER && config->servers[i].id != d->config.id)
            outbox_frame(d, config->servers[i].id, &frame);
}

/* Opens a round for all requests so far. */
static bool open_round(struct driver *d)
{
    struct readindex *x = &d->reads;
    bool any = false;
    unsigned i;

#ifndef BREAK_READ_TERM
    if (d->own_index == 0 || d->commit < d->own_index)
        return false;
#endif
    if (x->round_open || d->vote_dirty)
        return false;
    for (i = 0; i < x->n_askers; i++) {
        struct readindex_asker *a = &x->askers[i];

        any |= a->number != 0;
        a->round_nonce = a->nonce;
        a->round_number = a->number;
        a->number = 0;
    }
    if (!any)
        return false;
    x->round_open = true;
    x->round++;
    x->round_index = d->commit;
    probe(d);
    return true;
}

static bool round_confirmed(const struct driver *d)
{
    const struct readindex *x = &d->reads;
    unsigned i, votes = guard_is_voter(&d->guard, d->config.id);

    for (i = 0; i < x->n_askers; i++)
        votes += x->askers[i].acked >= x->round && x->askers[i].id != d->config.id &&
                 guard_is_voter(&d->guard, x->askers[i].id);
#ifdef BREAK_READ_QUORUM
    return true;
#endif
    return votes > guard_voters(&d->guard) / 2;
}

static void reply(struct driver *d, const struct readindex_asker *a)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__ReadReply message = CFS__PEER__READ_REPLY__INIT;

    if (a->id == d->config.id) {
        answered(d, a->round_number, d->reads.round_index);
        return;
    }
    message.nonce = a->round_nonce;
    message.number = a->round_number;
    message.index = d->reads.round_index;
    frame.kind_case = CFS__PEER__FRAME__KIND_READ_REPLY;
    frame.read_reply = &message;
    outbox_frame(d, a->id, &frame);
}

static bool close_round(struct driver *d)
{
    struct readindex *x = &d->reads;
    unsigned i;

    if (!x->round_open || !round_confirmed(d))
        return false;
    x->round_open = false;
    for (i = 0; i < x->n_askers; i++)
        if (x->askers[i].round_number != 0)
            reply(d, &x->askers[i]);
    return true;
}

void readindex_turn(struct driver *d)
{
    struct readindex *x = &d->reads;

    ask_if_due(d);
    while (guard_is_leader(&d->guard) && (open_round(d) || close_round(d)))
        continue;
    if (guard_is_leader(&d->guard) && x->round_open && d->guard.now >= x->round_retry)
        probe(d);
    complete(d);
}

uint64_t readindex_deadline(const struct driver *d)
{
    const struct readindex *x = &d->reads;
    uint64_t due = UINT64_MAX;
    size_t i;

    if (x->round_open && guard_is_leader(&d->guard))
        due = x->round_retry;
    for (i = 0; i < x->n && guard_leader(&d->guard) != 0; i++)
        if (x->tickets[i].index == 0)
            due = min_u64(due, x->tickets[i].number == 0 ? 0 : x->retry);
    return due;
}

/* ---- Messages -------------------------------------------------------------------------------- */

void readindex_on_request(struct driver *d, uint64_t from, const Cfs__Peer__ReadRequest *request)
{
    struct readindex_asker *a = guard_is_leader(&d->guard) ? asker(&d->reads, from) : NULL;

    if (a == NULL || request->number == 0)
        return;
    if (a->nonce != request->nonce || a->number < request->number) {
        a->nonce = request->nonce;
        a->number = request->number;
    }
}

void readindex_on_reply(struct driver *d, uint64_t from, const Cfs__Peer__ReadReply *message)
{
    if (message->nonce == d->reads.nonce && from == d->reads.asked_leader)
        answered(d, message->number, message->index);
}

void readindex_on_probe(struct driver *d, uint64_t from, const Cfs__Peer__ReadProbe *message)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__ReadAck ack = CFS__PEER__READ_ACK__INIT;

    if (d->raft.state != RAFT_FOLLOWER || d->raft.current_term != message->term ||
        guard_leader(&d->guard) != from)
        return;
    ack.term = message->term;
    ack.round = message->round;
    frame.kind_case = CFS__PEER__FRAME__KIND_READ_ACK;
    frame.read_ack = &ack;
    outbox_frame(d, from, &frame);
}

void readindex_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__ReadAck *message)
{
    struct readindex *x = &d->reads;
    struct readindex_asker *a;

    if (!guard_is_leader(&d->guard) || message->term != d->raft.current_term ||
        message->round > x->round || (a = asker(x, from)) == NULL)
        return;
    a->acked = max_u64(a->acked, message->round);
}
