/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: raft/snapshot.h. Each stream is a state machine whose states are enum
 * snapshot_phase. snapshot_turn advances all of them; messages only update their fields.
 *
 * Outgoing: wanted → making → sending → settling → none; failures go to refused, then to none.
 * Incoming: writing → verifying → ready → none. */
#include "raft/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/log.h"
#include "raft/driver_impl.h"

/* ---- Outgoing -------------------------------------------------------------------------------- */

static void out_close(struct driver *d, struct snapshot_out *s)
{
    if (s->snapshot != NULL)
        d->machine.ops->snapshot_close(d->machine.ctx, s->snapshot);
    s->snapshot = NULL;
    buf_fini(&s->info.config);
}

static void out_drop(struct driver *d, struct snapshot_out *s)
{
    out_close(d, s);
    *s = (struct snapshot_out){.phase = SNAPSHOT_NONE};
}

static void out_refuse(struct driver *d, struct snapshot_out *s)
{
    uint64_t peer = s->peer;

    out_close(d, s);
    *s = (struct snapshot_out){
        .phase = SNAPSHOT_REFUSED, .peer = peer, .heard = d->guard.now, .floor = UINT64_MAX};
}

static struct snapshot_out *out_find(struct driver *d, uint64_t peer)
{
    unsigned i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        if (d->snapshot.out[i].phase != SNAPSHOT_NONE && d->snapshot.out[i].peer == peer)
            return &d->snapshot.out[i];
    return NULL;
}

/* The core asks repeatedly until the receiver has installed the snapshot. */
void snapshot_wanted(struct driver *d, uint64_t peer)
{
    struct snapshot_out *s = out_find(d, peer);
    unsigned i;

    if (s != NULL && s->phase != SNAPSHOT_SETTLING)
        return;
    for (i = 0; s == NULL && i < SNAPSHOT_STREAMS; i++)
        if (d->snapshot.out[i].phase == SNAPSHOT_NONE)
            s = &d->snapshot.out[i];
    if (s == NULL)
        return;
    *s = (struct snapshot_out){
        .phase = SNAPSHOT_WANTED, .peer = peer, .heard = d->guard.now, .floor = d->guard.applied};
}

void snapshot_stop_sending(struct driver *d)
{
    unsigned i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        out_drop(d, &d->snapshot.out[i]);
}

static void offer(struct driver *d, struct snapshot_out *s)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__SnapshotOffer message = CFS__PEER__SNAPSHOT_OFFER__INIT;

    message.stream = s->id;
    message.term = d->raft.current_term;
    message.index = s->info.index;
    message.index_term = s->info.term;
    message.config_index = s->info.config_index;
    message.config.data = s->info.config.data;
    message.config.len = s->info.config.len;
    message.size = s->info.size;
    frame.kind_case = CFS__PEER__FRAME__KIND_SNAPSHOT_OFFER;
    frame.snapshot_offer = &message;
    outbox_frame(d, s->peer, &frame);
    s->retry = d->guard.now + SNAPSHOT_RETRY_MS;
}

static bool send_chunk(struct driver *d, struct snapshot_out *s)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__SnapshotChunk chunk = CFS__PEER__SNAPSHOT_CHUNK__INIT;
    size_t want = min_u64(WIRE_CHUNK_MAX, s->info.size - s->sent);
    uint8_t *bytes = xmalloc(want);
    int64_t got = d->machine.ops->snapshot_read(d->machine.ctx, s->snapshot, s->sent, bytes, want);

    if (got == (int64_t)want) {
        chunk.stream = s->id;
        chunk.offset = s->sent;
        chunk.data.data = bytes;
        chunk.data.len = want;
        chunk.xxh3 = XXH3_64bits(bytes, want);
        frame.kind_case = CFS__PEER__FRAME__KIND_SNAPSHOT_CHUNK;
        frame.snapshot_chunk = &chunk;
        outbox_frame(d, s->peer, &frame);
        s->sent += want;
    }
    free(bytes);
    return got == (int64_t)want;
}

static void out_send(struct driver *d, struct snapshot_out *s)
{
    if (d->guard.now >= s->retry) {
        s->sent = s->acked = s->wanted;
        offer(d, s);
    }
    if (d->guard.now - s->heard > SNAPSHOT_SILENT_MS) {
        log_warn("member %llu has not answered for %d s: stopped sending it a snapshot",
                 (unsigned long long)s->peer, SNAPSHOT_SILENT_MS / 1000);
        out_drop(d, s);
        return;
    }
    while (s->sent < s->info.size && s->sent - s->acked < SNAPSHOT_WINDOW * WIRE_CHUNK_MAX &&
           d->env.queued(d->env.ctx, s->peer) < DRIVER_LINK_BYTES) {
        if (send_chunk(d, s))
            continue;
        log_warn("cannot read the snapshot for member %llu: trying again with a new one",
                 (unsigned long long)s->peer);
        out_refuse(d, s);
        return;
    }
}

/* The receiver has all entries of the snapshot, from the snapshot or from the log. */
static void out_received(struct driver *d, struct snapshot_out *s)
{
    out_close(d, s);
    s->phase = SNAPSHOT_SETTLING;
    s->heard = d->guard.now;
    s->target = d->log.last;
}

static void out_made(struct driver *d, struct snapshot_out *s)
{
    enum machine_progress progress = d->machine.ops->snapshot_poll(d->machine.ctx, s->snapshot);

    if (progress == MACHINE_BUSY)
        return;
    if (progress == MACHINE_FAILED) {
        log_warn("cannot make a snapshot of the database for member %llu: trying again",
                 (unsigned long long)s->peer);
        out_refuse(d, s);
        return;
    }
    d->machine.ops->snapshot_info(d->machine.ctx, s->snapshot, &s->info);
    check(s->info.index >= s->floor && s->info.index <= d->guard.applied && s->info.size > 0);
    s->floor = s->info.index;
    s->id = driver_random(d, UINT64_MAX);
    s->phase = SNAPSHOT_SENDING;
    s->heard = d->guard.now;
    log_info("sending a snapshot at %llu (%llu bytes) to member %llu",
             (unsigned long long)s->info.index, (unsigned long long)s->info.size,
             (unsigned long long)s->peer);
    offer(d, s);
}

static void out_settle(struct driver *d, struct snapshot_out *s)
{
    uint64_t match = guard_match(&d->guard, s->peer);

    if (match > s->match) {
        s->match = match;
        s->heard = d->guard.now;
    }
    if (match >= s->target || d->guard.now - s->heard > SNAPSHOT_SILENT_MS)
        out_drop(d, s);
}

static void out_turn(struct driver *d, struct snapshot_out *s)
{
    if (s->phase != SNAPSHOT_NONE && guard_find_server(&d->guard, s->peer) == NULL)
        out_drop(d, s); /* the member was removed: keep neither snapshot nor log for it */
    if (s->phase == SNAPSHOT_WANTED) {
        s->floor = d->guard.applied;
        s->snapshot = d->machine.ops->snapshot_open(d->machine.ctx);
        s->phase = SNAPSHOT_MAKING;
    }
    if (s->phase == SNAPSHOT_MAKING)
        out_made(d, s);
    if (s->phase == SNAPSHOT_SENDING && guard_match(&d->guard, s->peer) >= s->info.index)
        out_received(d, s);
    if (s->phase == SNAPSHOT_SENDING)
        out_send(d, s);
    if (s->phase == SNAPSHOT_SETTLING)
        out_settle(d, s);
    if (s->phase == SNAPSHOT_REFUSED && d->guard.now - s->heard > SNAPSHOT_REFUSE_MS)
        out_drop(d, s);
}

void snapshot_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotAck *ack)
{
    struct snapshot_out *s = out_find(d, from);

    if (s == NULL || s->phase != SNAPSHOT_SENDING || s->id != ack->stream ||
        ack->offset > s->info.size)
        return;
    s->heard = d->guard.now;
    s->wanted = ack->offset;
    if (ack->state == CFS__PEER__SNAPSHOT_ACK__STATE__DONE) {
        d->snapshot.sent++;
        out_received(d, s);
        guard_has(&d->guard, from, s->info.index);
    } else if (ack->state != CFS__PEER__SNAPSHOT_ACK__STATE__MORE) {
        log_warn("member %llu failed to store its snapshot (its log has the reason): trying again",
                 (unsigned long long)from);
        out_refuse(d, s);
    } else if (ack->offset > s->acked) {
        s->acked = ack->offset;
        s->sent = max_u64(s->sent, s->acked);
        s->retry = d->guard.now + SNAPSHOT_RETRY_MS;
    }
}

uint64_t snapshot_keep(const struct driver *d, uint64_t applied)
{
    uint64_t keep = applied + 1;
    unsigned i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        if (d->snapshot.out[i].phase != SNAPSHOT_NONE)
            keep = min_u64(keep, d->snapshot.out[i].floor);
    return keep;
}

/* ---- Incoming -------------------------------------------------------------------------------- */

static void in_close(struct driver *d)
{
    struct snapshot_in *s = &d->snapshot.in;

    if (s->incoming != NULL)
        d->machine.ops->incoming_close(d->machine.ctx, s->incoming);
    buf_fini(&s->info.config);
    *s = (struct snapshot_in){.phase = SNAPSHOT_NONE};
}

static void acknowledge(struct driver *d, uint64_t to, uint64_t id, uint64_t offset,
                        Cfs__Peer__SnapshotAck__State state)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__SnapshotAck ack = CFS__PEER__SNAPSHOT_ACK__INIT;

    ack.stream = id;
    ack.offset = offset;
    ack.state = state;
    frame.kind_case = CFS__PEER__FRAME__KIND_SNAPSHOT_ACK;
    frame.snapshot_ack = &ack;
    outbox_frame(d, to, &frame);
}

static void in_done(struct driver *d, Cfs__Peer__SnapshotAck__State state)
{
    struct snapshot_in *s = &d->snapshot.in;

    acknowledge(d, s->peer, s->id, s->offset, state);
    in_close(d);
}

static void in_open(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotOffer *offer_)
{
    struct snapshot_in *s = &d->snapshot.in;

    in_close(d);
    s->phase = SNAPSHOT_WRITING;
    s->peer = from;
    s->id = offer_->stream;
    s->info.index = offer_->index;
    s->info.term = offer_->index_term;
    s->info.config_index = offer_->config_index;
    s->info.config = buf_copy(offer_->config.data, offer_->config.len);
    s->info.size = offer_->size;
    s->incoming = d->machine.ops->incoming_open(d->machine.ctx);
}

/* The sender repeats its offer while there is no progress; the content stays the same. A complete
 * snapshot is not discarded for the offer of another leader. */
void snapshot_on_offer(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotOffer *message)
{
    struct snapshot_in *s = &d->snapshot.in;

    if (d->raft.state != RAFT_FOLLOWER || guard_leader(&d->guard) != from ||
        message->term != d->raft.current_term)
        return;
    if (message->index <= d->guard.applied) {
        acknowledge(d, from, message->stream, message->size, CFS__PEER__SNAPSHOT_ACK__STATE__DONE);
        return;
    }
    if (s->phase == SNAPSHOT_NONE || (s->phase == SNAPSHOT_WRITING && s->id != message->stream))
        in_open(d, from, message);
    if (s->id != message->stream)
        return;
    s->heard = d->guard.now;
    acknowledge(d, from, s->id, s->offset, CFS__PEER__SNAPSHOT_ACK__STATE__MORE);
}

void snapshot_on_chunk(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotChunk *chunk)
{
    struct snapshot_in *s = &d->snapshot.in;
    int err;

    if (s->phase != SNAPSHOT_WRITING || s->id != chunk->stream || s->peer != from)
        return;
    s->heard = d->guard.now;
    if (chunk->offset != s->offset || chunk->data.len == 0 ||
        chunk->data.len > s->info.size - s->offset ||
        XXH3_64bits(chunk->data.data, chunk->data.len) != chunk->xxh3) {
        acknowledge(d, from, s->id, s->offset, CFS__PEER__SNAPSHOT_ACK__STATE__MORE);
        return;
    }
    err = d->machine.ops->incoming_write(d->machine.ctx, s->incoming, s->offset, chunk->data.data,
                                         chunk->data.len);
    if (err != 0) {
        log_warn("cannot write a received snapshot: %s", strerror(-err));
        in_done(d, CFS__PEER__SNAPSHOT_ACK__STATE__FAILED);
        return;
    }
    s->offset += chunk->data.len;
    acknowledge(d, from, s->id, s->offset, CFS__PEER__SNAPSHOT_ACK__STATE__MORE);
    if (s->offset == s->info.size) {
        d->machine.ops->incoming_verify(d->machine.ctx, s->incoming, &s->info);
        s->phase = SNAPSHOT_VERIFYING;
    }
}

/* Replaces the database and all fields of the driver that describe it. */
static void replace(struct driver *d)
{
    struct snapshot_in *s = &d->snapshot.in;
    uint64_t applied = s->info.index;

    d->machine.ops->incoming_install(d->machine.ctx, s->incoming);
    s->incoming = NULL;
    entries_reset(&d->log, applied, s->info.term);
    d->write_from = applied + 1;
    d->stored_last = applied;
    d->commit = applied;
    d->guard.applied = applied;
    d->applied_term = s->info.term;
    d->config_index = s->info.config_index;
    buf_fini(&d->config_data);
    d->config_data = buf_copy(s->info.config.data, s->info.config.len);
    guard_installed(&d->guard, applied, s->info.term, s->info.config_index, s->info.config.data,
                    s->info.config.len);
    d->snapshot.installed++;
    log_info("installed a snapshot at %llu", (unsigned long long)applied);
    in_done(d, CFS__PEER__SNAPSHOT_ACK__STATE__DONE);
    d->env.on_installed(d->env.ctx, applied);
}

/* The sender may no longer lead. The snapshot then counts as sent by the present leader. */
static void install(struct driver *d)
{
    struct snapshot_in *s = &d->snapshot.in;
    uint64_t leader = guard_leader(&d->guard);

    if (s->info.index <= d->guard.applied || guard_is_leader(&d->guard)) {
        in_done(d, CFS__PEER__SNAPSHOT_ACK__STATE__DONE);
        return;
    }
    if (d->raft.state != RAFT_FOLLOWER || leader == 0 || !driver_clean(d))
        return;
    if (guard_install(&d->guard, leader, s->info.index, s->info.term, s->info.config_index,
                      s->info.config.data, s->info.config.len))
        replace(d);
    else
        in_done(d, CFS__PEER__SNAPSHOT_ACK__STATE__DONE);
}

static void in_verified(struct driver *d)
{
    struct snapshot_in *s = &d->snapshot.in;
    enum machine_progress progress = d->machine.ops->incoming_poll(d->machine.ctx, s->incoming);

    if (progress == MACHINE_READY)
        s->phase = SNAPSHOT_READY;
    if (progress != MACHINE_FAILED)
        return;
    log_warn("a received snapshot is damaged: discarded, the leader sends it again");
    in_done(d, CFS__PEER__SNAPSHOT_ACK__STATE__FAILED);
}

static void in_turn(struct driver *d)
{
    struct snapshot_in *s = &d->snapshot.in;

    if (s->phase == SNAPSHOT_WRITING &&
        (d->guard.now - s->heard > SNAPSHOT_SILENT_MS || s->info.index <= d->guard.applied))
        in_close(d);
    if (s->phase == SNAPSHOT_VERIFYING)
        in_verified(d);
    if (s->phase == SNAPSHOT_READY)
        install(d);
}

/* ---- Both ------------------------------------------------------------------------------------ */

void snapshot_turn(struct driver *d)
{
    unsigned i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        out_turn(d, &d->snapshot.out[i]);
    in_turn(d);
}

uint64_t snapshot_deadline(const struct driver *d)
{
    bool active =
        d->snapshot.in.phase == SNAPSHOT_VERIFYING || d->snapshot.in.phase == SNAPSHOT_READY;
    uint64_t due = active ? d->guard.now + SNAPSHOT_POLL_MS : UINT64_MAX;
    unsigned i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        if (d->snapshot.out[i].phase != SNAPSHOT_NONE)
            due = d->guard.now + SNAPSHOT_POLL_MS;
    return due;
}

void snapshot_fini(struct driver *d)
{
    snapshot_stop_sending(d);
    in_close(d);
}
