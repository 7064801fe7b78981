/* SPDX-License-Identifier: Apache-2.0 */
/* A member's lease of its own session: until when the member may assume that no leader has expired
 * the session.
 *
 * The member sends heartbeats with its own time. The leader sends that time back once it has proof
 * that it still led after the heartbeat had arrived (daemon/lease_leader.h). An acknowledged
 * heartbeat extends the lease to the session's ttl after it was *sent*, less a tenth: every leader
 * waits a whole ttl from a later moment, and clocks differ by less than a tenth.
 * Source: Gray, Cheriton: Leases: An Efficient Fault-Tolerant Mechanism (1989), section 3.
 *
 * An expired lease is void immediately, even if nobody has noticed: lease_member_holds compares it
 * with the clock. The next acknowledgement does not revive it, because programs may have been told
 * in between that their locks are lost. The session may still live, if no leader had a quorum to
 * expire it: lease_member_ack then returns LEASE_BACK, and the owner either goes on with the
 * session (lease_member_resume) or gives it up.
 *
 * Pure; times are milliseconds of this host's CLOCK_BOOTTIME. */
#ifndef DAEMON_LEASE_MEMBER_H
#define DAEMON_LEASE_MEMBER_H

#include "base/base.h"

struct lease_member {
    uint64_t session; /* 0: none */
    uint64_t ttl_ms;
    uint64_t end_ms; /* holds before this */
    bool lapsed;     /* it had expired at the last look, and was not resumed */
    /* Heartbeats */
    uint64_t sent_ms;  /* the last one; 0: none yet */
    uint64_t acked_ms; /* when the latest acknowledged one was sent */
    uint64_t next_ms;  /* when the next one is due */
};

/* A session was opened. Its command was proposed at since_ms or later. */
void lease_member_open(struct lease_member *l, uint64_t session, uint64_t ttl_ms,
                       uint64_t since_ms);
/* The session has ended or is given up. */
void lease_member_close(struct lease_member *l);

bool lease_member_holds(const struct lease_member *l, uint64_t now);
/* True once after the lease has expired, until it is resumed. */
bool lease_member_lapses(struct lease_member *l, uint64_t now);

/* True if a heartbeat is due. The caller must send it, with `now` as the time to echo. */
bool lease_member_beat(struct lease_member *l, uint64_t now);
/* There is a new leader: makes the next heartbeat due immediately. */
void lease_member_hurry(struct lease_member *l);

enum lease_member_news {
    LEASE_NOTHING, /* too late, or of another session */
    LEASE_RENEWED,
    LEASE_BACK, /* the lease has expired, but the session lives */
};
enum lease_member_news lease_member_ack(struct lease_member *l, uint64_t now, uint64_t session,
                                        uint64_t echo);
/* After LEASE_BACK: the session and its lease go on. */
void lease_member_resume(struct lease_member *l);

/* Tests compile lease_member.c and lease_leader.c with LEASE_ABLATE to leave out single rules. */
#ifdef LEASE_ABLATE
enum lease_rule {
    LEASE_MARGIN, /* the tenth */
    LEASE_PROOF,  /* an acknowledgement waits for proof of leadership */
    LEASE_SINCE,  /* a new leader grants all sessions a whole ttl */
    LEASE_STALL,  /* the leader's own stalls do not count */
    LEASE_DOOMED, /* no acknowledgement while an ExpireSession is undecided */
    LEASE_ECHO,   /* a lease begins when the heartbeat was sent, not when it is acknowledged */
};
extern unsigned lease_ablated; /* bit n: rule n is left out */
#define LEASE_RULE(rule) ((lease_ablated & 1u << (rule)) == 0)
#else
#define LEASE_RULE(rule) true
#endif

#endif
