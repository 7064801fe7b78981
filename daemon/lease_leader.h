/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's side of leases: which sessions have given a sign of life, and which are overdue.
 *
 * Rules and reasons:
 *  - A heartbeat is acknowledged, and counts, only after a barrier that was requested after the
 *    heartbeat had arrived. Then no later leader was elected before the heartbeat was sent, and the
 *    full ttl that a new leader grants ends after the acknowledged lease.
 *  - The time of arrival counts: it is not before the time of sending.
 *  - A new leader counts all sessions as seen when it begins to lead, since earlier leaders may
 * have acknowledged heartbeats until then. It also counts a session as seen when the session
 * appears in the state for the first time.
 *  - Time stands still while this host does: a gap between two looks at the clock counts for at
 * most LEASE_LEADER_GAP_MS, and heartbeats that arrived in the gap are handled before any expiry.
 *  - A session with a heartbeat that still waits for its barrier is not expired.
 *  - No heartbeat is acknowledged between the proposal of a session's end and its outcome.
 *
 * The caller, while it leads, calls lease_leader_lead when the term differs from
 * lease_leader.term; lease_leader_tick often; lease_leader_sync_* whenever the sessions may have
 * changed, and right before lease_leader_proven.
 *
 * Pure; `now` is in milliseconds of this host's CLOCK_BOOTTIME. */
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
    struct lease_leader_beat riding;  /* on the barrier in progress */
    bool doomed;                      /* its end was proposed, and the outcome is open */
    bool synced;
};

struct lease_leader {
    uint64_t term;     /* in which this member leads; 0: it does not lead */
    uint64_t clock;    /* the leader's time: `now` when it began to lead, then without stalls */
    uint64_t last_now; /* when the clock was looked at last */
    uint64_t grace;    /* no session is expired before this: there was a gap */
    struct lease_leader_session *sessions;
    size_t n, cap;
    bool round; /* a barrier is in progress */
};

void lease_leader_init(struct lease_leader *l);
void lease_leader_fini(struct lease_leader *l);

/* This member begins to lead `term` (0: it does not lead). Forgets everything of earlier terms. */
void lease_leader_lead(struct lease_leader *l, uint64_t now, uint64_t term);
void lease_leader_tick(struct lease_leader *l, uint64_t now);

/* Takes over the sessions of the state: begin, then see each session, then end. */
void lease_leader_sync_begin(struct lease_leader *l);
void lease_leader_sync_see(struct lease_leader *l, uint64_t id, uint64_t member, uint64_t ttl_ms);
void lease_leader_sync_end(struct lease_leader *l);

/* A heartbeat arrived. False: the member has no such session. */
bool lease_leader_beat(struct lease_leader *l, uint64_t now, uint64_t member, uint64_t session,
                       uint64_t echo);
/* True if the caller must request a barrier now. It serves all heartbeats that wait. */
bool lease_leader_ask(struct lease_leader *l);
/* The barrier has completed, and this member still leads the same term: calls ack for each
 * heartbeat that the barrier served. */
void lease_leader_proven(struct lease_leader *l,
                         void (*ack)(void *arg, uint64_t member, uint64_t session, uint64_t echo),
                         void *arg);
/* The barrier has failed. */
void lease_leader_unproven(struct lease_leader *l);

/* Calls expire for each overdue session: the caller proposes its end in this term, and calls
 * lease_leader_decided when the outcome is known. */
void lease_leader_overdue(struct lease_leader *l, void (*expire)(void *arg, uint64_t session),
                          void *arg);
void lease_leader_decided(struct lease_leader *l, uint64_t session);

/* Milliseconds since the session's last sign of life, or since this member leads. UINT64_MAX:
 * unknown. */
uint64_t lease_leader_idle_ms(const struct lease_leader *l, uint64_t session);

#endif
