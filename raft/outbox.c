/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to other members pass through here. While this member's term or vote is not yet on its
 * disk, messages are held back: a crash could otherwise undo a term or vote that another member
 * has already seen. */
#include <stdlib.h>

#include "raft/driver_impl.h"

static void hold(struct driver *d, uint64_t peer, struct buf message, uint64_t append_term)
{
    struct driver_held *held = xmalloc(sizeof *held);

    *held = (struct driver_held){.peer = peer, .message = message, .append_term = append_term};
    STAILQ_INSERT_TAIL(&d->held, held, link);
}

void outbox_post(struct driver *d, uint64_t peer, struct buf message, uint64_t append_term)
{
    if (d->vote_dirty)
        hold(d, peer, message, append_term);
    else
        d->env.send(d->env.ctx, peer, &message);
    if (!d->vote_dirty)
        buf_fini(&message);
}

void outbox_frame(struct driver *d, uint64_t peer, const Cfs__Peer__Frame *frame)
{
    outbox_post(d, peer, wire_encode(frame), 0);
}

void outbox_release(struct driver *d)
{
    struct driver_held *held;

    check(!d->vote_dirty);
    while ((held = STAILQ_FIRST(&d->held)) != NULL) {
        STAILQ_REMOVE_HEAD(&d->held, link);
        if (held->append_term == 0 ||
            (guard_is_leader(&d->guard) && held->append_term == d->raft.current_term))
            d->env.send(d->env.ctx, held->peer, &held->message);
        buf_fini(&held->message);
        free(held);
    }
}

void outbox_fini(struct driver *d)
{
    struct driver_held *held;

    while ((held = STAILQ_FIRST(&d->held)) != NULL) {
        STAILQ_REMOVE_HEAD(&d->held, link);
        buf_fini(&held->message);
        free(held);
    }
}
