/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/lease_leader.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/lease_member.h"

void lease_leader_init(struct lease_leader *l)
{
    memset(l, 0, sizeof *l);
}

void lease_leader_fini(struct lease_leader *l)
{
    free(l->sessions);
    lease_leader_init(l);
}

void lease_leader_lead(struct lease_leader *l, uint64_t now, uint64_t term)
{
    l->term = term;
    l->clock = now;
    l->last_now = now;
    l->grace = now;
    l->n = 0;
    l->round = false;
}

void lease_leader_tick(struct lease_leader *l, uint64_t now)
{
    uint64_t gap = now > l->last_now ? now - l->last_now : 0;

    l->last_now = max_u64(l->last_now, now);
    if (!LEASE_RULE(LEASE_STALL)) {
        l->clock += gap;
        return;
    }
    l->clock += min_u64(gap, LEASE_LEADER_GAP_MS);
    if (gap > LEASE_LEADER_GAP_MS)
        l->grace = l->clock + LEASE_LEADER_GAP_MS;
}

/* ---- The sessions ---------------------------------------------------------------------------- */

static struct lease_leader_session *find(const struct lease_leader *l, uint64_t id)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->sessions[i].id == id)
            return &l->sessions[i];
    return NULL;
}

void lease_leader_sync_begin(struct lease_leader *l)
{
    for (size_t i = 0; i < l->n; i++)
        l->sessions[i].synced = false;
}

void lease_leader_sync_see(struct lease_leader *l, uint64_t id, uint64_t member, uint64_t ttl_ms)
{
    struct lease_leader_session *s = find(l, id);

    if (s == NULL) {
        if (l->n == l->cap) {
            l->cap = l->cap > 0 ? 2 * l->cap : 16;
            l->sessions = xrealloc(l->sessions, l->cap * sizeof *l->sessions);
        }
        s = &l->sessions[l->n++];
        *s = (struct lease_leader_session){.id = id, .member = member, .ttl_ms = ttl_ms};
        s->seen = LEASE_RULE(LEASE_SINCE) ? l->clock : 0;
    }
    s->synced = true;
}

void lease_leader_sync_end(struct lease_leader *l)
{
    size_t kept = 0;

    for (size_t i = 0; i < l->n; i++)
        if (l->sessions[i].synced)
            l->sessions[kept++] = l->sessions[i];
    l->n = kept;
}

/* ---- Heartbeats ------------------------------------------------------------------------------ */

bool lease_leader_beat(struct lease_leader *l, uint64_t now, uint64_t member, uint64_t session,
                       uint64_t echo)
{
    struct lease_leader_session *s = find(l, session);

    if (s == NULL || s->member != member)
        return false;
    lease_leader_tick(l, now);
    if (!s->waiting.there || echo > s->waiting.echo)
        s->waiting = (struct lease_leader_beat){.echo = echo, .at = l->clock, .there = true};
    return true;
}

bool lease_leader_ask(struct lease_leader *l)
{
    bool any = false;

    if (l->round)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        struct lease_leader_session *s = &l->sessions[i];

        s->riding = s->waiting;
        s->waiting.there = false;
        any |= s->riding.there;
    }
    l->round = any;
    return any;
}

void lease_leader_proven(struct lease_leader *l,
                         void (*ack)(void *arg, uint64_t member, uint64_t session, uint64_t echo),
                         void *arg)
{
    l->round = false;
    for (size_t i = 0; i < l->n; i++) {
        struct lease_leader_session *s = &l->sessions[i];
        struct lease_leader_beat beat = s->riding;

        s->riding.there = false;
        if (!beat.there || (s->doomed && LEASE_RULE(LEASE_DOOMED)))
            continue;
        s->seen = max_u64(s->seen, beat.at);
        ack(arg, s->member, s->id, beat.echo);
    }
}

void lease_leader_unproven(struct lease_leader *l)
{
    l->round = false;
    for (size_t i = 0; i < l->n; i++)
        l->sessions[i].riding.there = false;
}

/* ---- The end --------------------------------------------------------------------------------- */

void lease_leader_overdue(struct lease_leader *l, void (*expire)(void *arg, uint64_t session),
                          void *arg)
{
    if (l->clock < l->grace)
        return;
    for (size_t i = 0; i < l->n; i++) {
        struct lease_leader_session *s = &l->sessions[i];

        if (s->doomed || s->waiting.there || s->riding.there || l->clock <= s->seen + s->ttl_ms)
            continue;
        s->doomed = true;
        expire(arg, s->id);
    }
}

void lease_leader_decided(struct lease_leader *l, uint64_t session)
{
    struct lease_leader_session *s = find(l, session);

    if (s != NULL)
        s->doomed = false;
}

uint64_t lease_leader_idle_ms(const struct lease_leader *l, uint64_t session)
{
    const struct lease_leader_session *s = l->term != 0 ? find(l, session) : NULL;

    return s != NULL ? l->clock - min_u64(s->seen, l->clock) : UINT64_MAX;
}
