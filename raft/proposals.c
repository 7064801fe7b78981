/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of proposals: commands that this member will append to the log as leader, or send to
 * the leader. The queue is bounded. A change of leader or term empties it; the client proposes
 * again. */
#include <stdlib.h>

#include "raft/driver_impl.h"

bool proposals_add(struct driver *d, struct buf *data)
{
    struct driver_proposal *p;

    if (d->n_proposals >= DRIVER_QUEUE_ENTRIES ||
        d->proposals_bytes + data->len > DRIVER_QUEUE_BYTES)
        return false;
    p = xmalloc(sizeof *p);
    p->data = buf_take(data);
    STAILQ_INSERT_TAIL(&d->proposals, p, link);
    d->n_proposals++;
    d->proposals_bytes += p->data.len;
    return true;
}

static void pop_proposal(struct driver *d)
{
    struct driver_proposal *first = STAILQ_FIRST(&d->proposals);

    STAILQ_REMOVE_HEAD(&d->proposals, link);
    d->n_proposals--;
    d->proposals_bytes -= first->data.len;
    buf_fini(&first->data);
    free(first);
}

void proposals_drop(struct driver *d)
{
    while (d->n_proposals > 0)
        pop_proposal(d);
}

/* How many more entries may be submitted before the earlier ones are committed. */
static unsigned room_ahead(const struct driver *d)
{
    uint64_t ahead = d->log.last - min_u64(d->commit, d->log.last);

    if (ahead >= DRIVER_AHEAD_ENTRIES ||
        entries_bytes_after(&d->log, d->commit) >= DRIVER_AHEAD_BYTES)
        return 0;
    return DRIVER_AHEAD_ENTRIES - (unsigned)ahead;
}

/* The first entry of every term is a barrier. The core appends one only if an older entry is
 * uncommitted, but membership changes and reads always need a committed entry of this term. */
static bool submit(struct driver *d)
{
    static const uint64_t nothing = 0;
    unsigned n = 0, taken = 0, room = room_ahead(d);
    size_t bytes = 0;
    struct raft_entry *entries;
    struct driver_proposal *next = STAILQ_FIRST(&d->proposals);
    int rv;

    entries = xcalloc(room + 1, sizeof *entries);
    if (d->own_index == 0) {
        entries[n].type = RAFT_BARRIER;
        entries[n++].buf = (struct raft_buffer){(void *)(uintptr_t)&nothing, sizeof nothing};
    }
    for (; next != NULL && n < room && bytes < WIRE_APPEND_MAX * 4; taken++) {
        entries[n].type = RAFT_COMMAND;
        entries[n++].buf = (struct raft_buffer){next->data.data, next->data.len};
        bytes += next->data.len;
        next = STAILQ_NEXT(next, link);
    }
    rv = n > 0 ? guard_submit(&d->guard, entries, n) : RAFT_BUSY;
    if (rv == 0 && d->own_index == 0)
        d->own_index = d->log.last - n + 1;
    for (; rv == 0 && taken > 0; taken--)
        pop_proposal(d);
    free(entries);
    return rv == 0;
}

static bool forward(struct driver *d, uint64_t leader)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__Propose propose = CFS__PEER__PROPOSE__INIT;
    struct driver_proposal *next = STAILQ_FIRST(&d->proposals);
    size_t bytes = 0;
    unsigned i;

    propose.entries = xcalloc(min_u64(d->n_proposals, WIRE_ENTRIES_MAX), sizeof *propose.entries);
    while (next != NULL && propose.n_entries < WIRE_ENTRIES_MAX &&
           (propose.n_entries == 0 || bytes + next->data.len <= WIRE_APPEND_MAX)) {
        propose.entries[propose.n_entries].data = next->data.data;
        propose.entries[propose.n_entries++].len = next->data.len;
        bytes += next->data.len;
        next = STAILQ_NEXT(next, link);
    }
    frame.kind_case = CFS__PEER__FRAME__KIND_PROPOSE;
    frame.propose = &propose;
    outbox_frame(d, leader, &frame);
    for (i = 0; i < propose.n_entries; i++)
        pop_proposal(d);
    free(propose.entries);
    return d->n_proposals > 0;
}

bool proposals_submit(struct driver *d)
{
    uint64_t leader = guard_leader(&d->guard);

    if (guard_is_leader(&d->guard)) {
        if (d->transfer != 0 || (d->n_proposals == 0 && d->own_index != 0))
            return false;
        return submit(d);
    }
    if (leader == 0 || d->n_proposals == 0 ||
        d->env.queued(d->env.ctx, leader) >= DRIVER_LINK_BYTES)
        return false;
    return forward(d, leader);
}
