/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest file of the driver: time, chance, whether the database is up to date, and which
 * leader was seen last. It depends on no other file of the driver but proposals.c. */
#include "raft/driver_impl.h"

uint64_t driver_clock(struct driver *d)
{
    d->guard.now = max_u64(d->guard.now, d->env.now_ms(d->env.ctx) + d->skew);
    return d->guard.now;
}

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t driver_random(struct driver *d, uint64_t below)
{
    uint64_t z = d->chance += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

bool driver_rows_dirty(const struct driver *d)
{
    return d->write_from <= d->log.last || d->stored_last > d->log.last;
}

bool driver_clean(const struct driver *d)
{
    return !d->vote_dirty && !driver_rows_dirty(d);
}

void driver_note_leader(struct driver *d)
{
    uint64_t leader = guard_leader(&d->guard), term = d->raft.current_term;

    if (leader == d->seen_leader && term == d->seen_term)
        return;
    if (leader == 0 && d->seen_leader != 0)
        d->no_leader_since = d->guard.now;
    d->seen_leader = leader;
    d->seen_term = term;
    d->leader_changed = true;
    proposals_drop(d); /* the callers of driver_propose offer them again */
}
