/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's side of leases: which sessions have shown a sign of life, which are overdue.
 *
 * Rules, and why:
 *  - A heartbeat is acknowledged, and counts, only after a barrier that was asked for after it had
 *    arrived: then no later leader can have been elected before it was sent, and what that one
 *    grants everybody lasts longer than what the acknowledgement does.
 *  - What counts is when it arrived: that is not before it was sent.
 *  - Whoever begins to lead has seen everybody at that moment: earlier leaders may have
 * acknowledged heartbeats until then. So has it a session that it sees in the state for the first
 * time.
 *  - Time stands still while this host does: gaps between two looks at the clock count for
 *    LEASE_LEADER_GAP_MS at most, and what has come in meanwhile is looked at before anybody is
 * expired.
 *  - Who has shown a sign of life that still waits for proof is not expired.
 *  - No session is acknowledged from when its end was proposed until that is decided.
 *
 * The caller's sequence, whenever it leads: lease_leader_lead when the term is another one than
 * lease_leader_term; lease_leader_tick often; lease_leader_sync_* whenever the sessions may have
 * changed, and right before lease_leader_proven.
 *
 * Pure; `now` is milliseconds of this host's CLOCK_BOOTTIME. */
#ifndef DAEMON_LEASE_LEADER_H
#define DAEMON_LEASE_LEADER_H

#include "base/base.h"

#define LEASE_LEADER_GAP_MS 500

struct lease_leader_beat {
    uint64_t echo;
    uint64_t at; /* when it arrived, in the leader's time */
    bool there;
};

struct lease_leader_session {
    uint64_t id;
    uint64_t member;
    uint64_t ttl_ms;
    uint64_t seen;                    /* in the leader's time */
    struct lease_leader_beat waiting; /* for the next barrier */
    struct lease_leader_beat riding;  /* on the one under way */
    bool doomed;                      /* its end was proposed */
    bool synced;
};

struct lease_leader {
    uint64_t term;     /* in which this member leads; 0: it does not */
    uint64_t clock;    /* the leader's time: `now` when it began to lead, and on without stalls */
    uint64_t last_now; /* when the clock was looked at last */
    uint64_t grace;    /* nobody is expired before this: there was a gap */
    struct lease_leader_session *sessions;
    size_t n, cap;
    bool round; /* a barrier is under way */
};

void lease_leader_init(struct lease_leader *l);
void lease_leader_fini(struct lease_leader *l);

/* This member leads `term` (0: none). Everything before is forgotten. */
void lease_leader_lead(struct lease_leader *l, uint64_t now, uint64_t term);
void lease_leader_tick(struct lease_leader *l, uint64_t now);

/* The sessions as the state has them: begin, see each, end. */
void lease_leader_sync_begin(struct lease_leader *l);
void lease_leader_sync_see(struct lease_leader *l, uint64_t id, uint64_t member, uint64_t ttl_ms);
void lease_leader_sync_end(struct lease_leader *l);

/* A heartbeat of the member's came in. False: there is no such session of its. */
bool lease_leader_beat(struct lease_leader *l, uint64_t now, uint64_t member, uint64_t session,
                       uint64_t echo);
/* Is a barrier to be asked for now? Then those who wait ride on it. */
bool lease_leader_ask(struct lease_leader *l);
/* The barrier that was asked for is reached, and this member still leads the same term: calls
 * ack for whom it has proven. */
void lease_leader_proven(struct lease_leader *l,
                         void (*ack)(void *arg, uint64_t member, uint64_t session, uint64_t echo),
                         void *arg);
/* It came to nothing. */
void lease_leader_unproven(struct lease_leader *l);

/* Calls expire for every session that is overdue, whose end is to be proposed now, as decided in
 * this term; and lease_leader_decided when it is known what became of that. */
void lease_leader_overdue(struct lease_leader *l, void (*expire)(void *arg, uint64_t session),
                          void *arg);
void lease_leader_decided(struct lease_leader *l, uint64_t session);

/* Milliseconds since its last sign of life, or since this member leads; UINT64_MAX: unknown. */
uint64_t lease_leader_idle_ms(const struct lease_leader *l, uint64_t session);

#endif
