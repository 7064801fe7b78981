/* SPDX-License-Identifier: Apache-2.0 */
/* A member's lease of its own session: until when it may believe that nobody has expired it.
 *
 * The member sends heartbeats with its own time; the leader sends that time back once it has proof
 * that it still led after the heartbeat had arrived (daemon/lease_leader.h). An acknowledged
 * heartbeat is good for the session's ttl from when it was *sent*, less a tenth: no leader, this
 * one or a later one, begins to count a whole ttl before that, and clocks do not differ by a tenth.
 * Source: Gray, Cheriton: Leases: An Efficient Fault-Tolerant Mechanism (1989), section 3.
 *
 * A lease that has run out is void at once, whether anybody has noticed or not: that is what
 * lease_member_holds compares with the clock for. It does not come back with the next
 * acknowledgement: whoever asked in between was told that what he held is lost. The session may
 * still live, as no leader had the quorum to expire it either; lease_member_ack says so, and the
 * owner decides whether to go on with it (lease_member_resume) or to give it up.
 *
 * Pure; times are milliseconds of this host's CLOCK_BOOTTIME. */
#ifndef DAEMON_LEASE_MEMBER_H
#define DAEMON_LEASE_MEMBER_H

#include "base/base.h"

struct lease_member {
    uint64_t session; /* 0: none */
    uint64_t ttl_ms;
    uint64_t end_ms; /* holds before this */
    bool lapsed;     /* it had run out when it was looked at last, and was not resumed */
    /* Heartbeats */
    uint64_t sent_ms;  /* the last one; 0: none yet */
    uint64_t acked_ms; /* the latest one that was acknowledged: when it was sent */
    uint64_t next_ms;  /* when the next one is due */
};

/* A session was opened by a command that was not proposed before since_ms. */
void lease_member_open(struct lease_member *l, uint64_t session, uint64_t ttl_ms,
                       uint64_t since_ms);
/* The session has ended, or is given up. */
void lease_member_close(struct lease_member *l);

bool lease_member_holds(const struct lease_member *l, uint64_t now);
/* Has it run out since it was looked at last? True once, until it is resumed. */
bool lease_member_lapses(struct lease_member *l, uint64_t now);

/* Is a heartbeat due? Then it is taken as sent, with `now` as what is to be echoed. */
bool lease_member_beat(struct lease_member *l, uint64_t now);
/* There is another leader: it must hear of us soon. */
void lease_member_hurry(struct lease_member *l);

enum lease_member_news {
    LEASE_NOTHING, /* too late to be of use, or not of this session */
    LEASE_RENEWED,
    LEASE_BACK, /* the lease has run out, the session lives */
};
enum lease_member_news lease_member_ack(struct lease_member *l, uint64_t now, uint64_t session,
                                        uint64_t echo);
/* After LEASE_BACK: the session goes on. */
void lease_member_resume(struct lease_member *l);

/* Test programs that compile lease_member.c and lease_leader.c with LEASE_ABLATE can leave rules
 * out. */
#ifdef LEASE_ABLATE
enum lease_rule {
    LEASE_MARGIN, /* the tenth */
    LEASE_PROOF,  /* an acknowledgement waits for proof of leadership */
    LEASE_SINCE,  /* a new leader grants everybody a whole ttl */
    LEASE_STALL,  /* the leader's own stalls do not count */
    LEASE_DOOMED, /* no acknowledgement while an ExpireSession is on its way */
    LEASE_ECHO,   /* a lease begins when the heartbeat was sent, not when it is acknowledged */
};
extern unsigned lease_ablated; /* bit n: rule n is left out */
#define LEASE_RULE(rule) ((lease_ablated & 1u << (rule)) == 0)
#else
#define LEASE_RULE(rule) true
#endif

#endif
