/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizable points: the read index (Ongaro, dissertation, 6.4), for ourselves and for the
 * members that ask us when we lead.
 *
 * The leader notes its commit index, then has a majority of the voters confirm that it still leads
 * (one round serves all who asked before it began), and answers with that index; whoever asked
 * waits until it has applied that much. A leader that has not committed an entry of its own term
 * yet does not know how much is committed, and waits.
 * Only votes and probes have a place in a round: results of AppendEntries carry no number, and one
 * may be older than the question. */
#ifndef RAFT_READINDEX_H
#define RAFT_READINDEX_H

#include "base/base.h"
#include "proto/limits.h"
#include "proto/peer.pb-c.h"

struct driver;

struct readindex_ticket {
    uint64_t ticket;
    uint64_t number; /* of the request that covers it; 0: none yet */
    uint64_t index;  /* known once answered, else 0 */
};

struct readindex_asker { /* one member that asks us; ourselves too */
    uint64_t id;
    uint64_t nonce, number;             /* waits for the next round; number 0: nothing */
    uint64_t round_nonce, round_number; /* served by the round under way */
    uint64_t acked;                     /* the highest round it has confirmed, as a voter */
};

struct readindex {
    /* As one who asks: */
    struct readindex_ticket *tickets;
    size_t n, cap;
    uint64_t nonce;  /* of this run: a late answer to an earlier run must not count */
    uint64_t number; /* of the last request */
    uint64_t retry;  /* when to ask again */
    uint64_t asked_leader, asked_term;
    /* As leader: */
    struct readindex_asker askers[2 * LIMIT_MEMBERS_MAX];
    unsigned n_askers;
    uint64_t round;       /* counts up for ever */
    uint64_t round_index; /* the commit index it confirms */
    bool round_open;
    uint64_t round_retry;
};

void readindex_init(struct readindex *x, uint64_t nonce);
void readindex_fini(struct readindex *x);
void readindex_add(struct driver *d, uint64_t ticket);
void readindex_cancel(struct driver *d, uint64_t ticket);
void readindex_lead(
    struct driver *d); /* leadership began or ended: as leader, start from nothing */
void readindex_turn(struct driver *d); /* asks, probes, answers, completes */
uint64_t readindex_deadline(const struct driver *d);

void readindex_on_request(struct driver *d, uint64_t from, const Cfs__Peer__ReadRequest *request);
void readindex_on_reply(struct driver *d, uint64_t from, const Cfs__Peer__ReadReply *reply);
void readindex_on_probe(struct driver *d, uint64_t from, const Cfs__Peer__ReadProbe *probe);
void readindex_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__ReadAck *ack);

#endif
