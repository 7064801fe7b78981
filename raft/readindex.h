/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizable points: the read index (Ongaro, dissertation, 6.4), for this member's own barriers
 * and, on the leader, for the other members.
 *
 * The leader notes its commit index. A majority of the voters then confirms that it still leads;
 * one round of confirmations serves all requests made before the round. The leader answers with the
 * noted index, and the asking member waits until it has applied that index. A leader that has not
 * committed an entry of its own term does not know what is committed; it waits.
 * Only the answers to probes confirm a round. Results of AppendEntries do not: they carry no round
 * number, so a result may be older than the request. */
#ifndef RAFT_READINDEX_H
#define RAFT_READINDEX_H

#include "base/base.h"
#include "proto/limits.h"
#include "proto/peer.pb-c.h"

struct driver;

struct readindex_ticket {
    uint64_t ticket;
    uint64_t number; /* number of the request that covers it; 0: none yet */
    uint64_t index;  /* the index to wait for; 0: not yet answered */
};

struct readindex_asker { /* a member that asks the leader; also the leader itself */
    uint64_t id;
    uint64_t nonce, number;             /* the request for the next round; number 0: none */
    uint64_t round_nonce, round_number; /* the request of the current round */
    uint64_t acked;                     /* the highest round that it has confirmed as a voter */
};

struct readindex {
    /* The asking side: */
    struct readindex_ticket *tickets;
    size_t n, cap;
    uint64_t nonce;  /* of this process: late answers to an earlier process do not count */
    uint64_t number; /* number of the last request */
    uint64_t retry;  /* time to ask again */
    uint64_t asked_leader, asked_term;
    /* The leader's side: */
    struct readindex_asker askers[2 * LIMIT_MEMBERS_MAX];
    unsigned n_askers;
    uint64_t round;       /* number of the last round; never decreases */
    uint64_t round_index; /* the commit index it confirms */
    bool round_open;
    uint64_t round_retry;
};

void readindex_init(struct readindex *x, uint64_t nonce);
void readindex_fini(struct readindex *x);
void readindex_add(struct driver *d, uint64_t ticket);
void readindex_cancel(struct driver *d, uint64_t ticket);
void readindex_lead(struct driver *d); /* leadership began or ended: resets the leader's side */
void readindex_turn(struct driver *d); /* asks, probes, answers, completes barriers */
uint64_t readindex_deadline(const struct driver *d);

void readindex_on_request(struct driver *d, uint64_t from, const Cfs__Peer__ReadRequest *request);
void readindex_on_reply(struct driver *d, uint64_t from, const Cfs__Peer__ReadReply *reply);
void readindex_on_probe(struct driver *d, uint64_t from, const Cfs__Peer__ReadProbe *probe);
void readindex_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__ReadAck *ack);

#endif
