/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/lease_member.h"

#include <string.h>

#ifdef LEASE_ABLATE
unsigned lease_ablated;
#endif

#define BEATS   4  /* heartbeats per ttl, if they are acknowledged */
#define HURRIES 16 /* per ttl, until an acknowledgement comes */

static uint64_t end_of(const struct lease_member *l, uint64_t since)
{
    return since + l->ttl_ms - (LEASE_RULE(LEASE_MARGIN) ? l->ttl_ms / 10 : 0);
}

void lease_member_open(struct lease_member *l, uint64_t session, uint64_t ttl_ms, uint64_t since_ms)
{
    check(session != 0 && ttl_ms > 0);
    *l = (struct lease_member){.session = session, .ttl_ms = ttl_ms};
    l->end_ms = end_of(l, since_ms);
}

void lease_member_close(struct lease_member *l)
{
    memset(l, 0, sizeof *l);
}

bool lease_member_holds(const struct lease_member *l, uint64_t now)
{
    return l->session != 0 && !l->lapsed && now < l->end_ms;
}

bool lease_member_lapses(struct lease_member *l, uint64_t now)
{
    if (l->session == 0 || l->lapsed || now < l->end_ms)
        return false;
    l->lapsed = true;
    return true;
}

/* Until an acknowledgement comes, heartbeats follow each other quickly. */
bool lease_member_beat(struct lease_member *l, uint64_t now)
{
    if (l->session == 0 || now < l->next_ms)
        return false;
    l->sent_ms = now;
    l->next_ms = now + l->ttl_ms / HURRIES;
    return true;
}

void lease_member_hurry(struct lease_member *l)
{
    l->next_ms = 0;
}

enum lease_member_news lease_member_ack(struct lease_member *l, uint64_t now, uint64_t session,
                                        uint64_t echo)
{
    uint64_t from = LEASE_RULE(LEASE_ECHO) ? echo : now;

    if (l->session == 0 || session != l->session || echo > l->sent_ms || echo <= l->acked_ms)
        return LEASE_NOTHING;
    l->acked_ms = echo;
    if (echo == l->sent_ms)
        l->next_ms = echo + l->ttl_ms / BEATS;
    if (end_of(l, from) <= now)
        return LEASE_NOTHING;
    if (!lease_member_holds(l, now)) {
        l->lapsed = true;
        return LEASE_BACK;
    }
    l->end_ms = max_u64(l->end_ms, end_of(l, from));
    return LEASE_RENEWED;
}

void lease_member_resume(struct lease_member *l)
{
    check(l->lapsed);
    l->lapsed = false;
    l->end_ms = end_of(l, l->acked_ms);
}
