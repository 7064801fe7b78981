/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the driver, shared by its files only:
 *
 *   driver.c      life cycle, what comes in, turns, status
 *   driver_start.c  from the database to a running core
 *   turn.c        what the core wants done: collects its updates, one transaction at a time
 *   replicate.c   messages out: AppendEntries in pieces, the commit push
 *   readindex.c   linearizable points
 *   snapshot.c    copies of the database, out and in
 *   membership.c  changes of the members, transfer of leadership
 *
 * All times in here are virtual milliseconds: env->now_ms plus `skew`, which grows when a timer is
 * brought forward (driver_suspect). */
#ifndef RAFT_DRIVER_IMPL_H
#define RAFT_DRIVER_IMPL_H

#include <raft.h>
#include <sys/queue.h>

#include "base/base.h"
#include "base/buf.h"
#include "proto/limits.h"
#include "raft/driver.h"
#include "raft/entries.h"
#include "raft/guard.h"
#include "raft/machine.h"
#include "raft/readindex.h"
#include "raft/snapshot.h"
#include "raft/wire.h"

/* Bounds. One turn must not keep the loop from its other work, and nothing may grow for ever. */
#define DRIVER_APPLY_ENTRIES 2000u        /* applied in one transaction */
#define DRIVER_APPLY_BYTES   (8u << 20)   /* the same, payload; one entry at least */
#define DRIVER_TURN_ROUNDS   16           /* transactions in one turn */
#define DRIVER_AHEAD_ENTRIES 2000u        /* submitted and not committed */
#define DRIVER_AHEAD_BYTES   (32u << 20)  /* the same, payload */
#define DRIVER_QUEUE_ENTRIES 16384u       /* proposals that wait; beyond: dropped */
#define DRIVER_QUEUE_BYTES   (64u << 20)  /* the same, payload */
#define DRIVER_CACHE_BYTES   (16u << 20)  /* payloads kept in memory */
#define DRIVER_LOG_BYTES     (128u << 20) /* of the log that a compaction leaves, by default */
#define DRIVER_LINK_BYTES    (4u << 20)   /* on their way to one peer before we wait */
#define DRIVER_RETRY_MS      5            /* to look again whether a link has drained */
#define DRIVER_PEERS_MAX     (2u * LIMIT_MEMBERS_MAX)

struct driver_peer {
    uint64_t id;
    uint64_t heard;           /* when it last said something; 0: never */
    struct guard_probe probe; /* what was promised to be sent: probe.end is the last index */
    uint64_t next;            /* the next index to send; > probe.end: all was sent */
    uint64_t told;            /* the commit index that it knows */
};

struct driver_held { /* waits for term and vote to be on the disk */
    STAILQ_ENTRY(driver_held) link;
    uint64_t peer;
    struct buf message;
    uint64_t append_term; /* != 0: an AppendEntries, only good as leader of that term */
};

struct driver_proposal {
    STAILQ_ENTRY(driver_proposal) link;
    struct buf data;
};

struct driver {
    struct driver_config config; /* members: not kept */
    struct driver_env env;
    struct machine machine;
    struct raft raft;
    struct guard guard;
    bool started;
    uint64_t chance; /* state of the generator */

    uint64_t skew;
    uint64_t tick; /* leader: when the next one is due */

    /* The log and what of it is in the database: rows < write_from are as in `log`; rows
     * write_from..stored_last of the database are to be deleted, log rows from write_from on
     * to be written. Clean: write_from == log.last + 1 == stored_last + 1. */
    struct entries log;
    uint64_t write_from;
    uint64_t stored_last;
    bool vote_dirty; /* term or vote differ from the database's */
    uint64_t commit;
    uint64_t applied_term;
    uint64_t config_index; /* of the last configuration that was applied */
    struct buf config_data;

    STAILQ_HEAD(, driver_held) held;
    STAILQ_HEAD(, driver_proposal) proposals; /* to submit as leader, or to send to the leader */
    unsigned n_proposals;
    size_t proposals_bytes;

    /* As leader of this term: */
    uint64_t own_index; /* its first entry; 0: must still be submitted */
    uint64_t transfer;  /* to whom; 0: to nobody */
    uint64_t transfer_end;
    bool transfer_sent;

    struct driver_peer peers[DRIVER_PEERS_MAX];
    unsigned n_peers;
    struct readindex reads;
    struct snapshot snapshot;

    /* What the environment was told. */
    uint64_t seen_leader, seen_term; /* at the last look: driver_note_leader */
    bool leader_changed;
    struct driver_member *members;
    unsigned n_members;
    uint64_t members_key[4]; /* the configurations that they come from */
    uint64_t no_leader_since;
    uint64_t elections;
    unsigned short prev_state;
    bool busy; /* a turn ended with work left */
};

/* driver.c */
uint64_t driver_clock(struct driver *d); /* advances the guard's time; virtual */
uint64_t driver_random(struct driver *d, uint64_t below);
/* After anything was stepped: drops what was queued for the leader when that has changed. */
void driver_note_leader(struct driver *d);

/* turn.c */
void turn_consume(void *ctx, struct raft_update *update); /* guard's */
bool turn_flush(struct driver *d);  /* one transaction and what follows it; false: nothing to do */
bool turn_submit(struct driver *d); /* proposals: to the log, or to the leader */
bool turn_clean(const struct driver *d); /* nothing waits for a transaction */
void turn_drop_proposals(struct driver *d);
/* The row `index`: from the cache, else from the database into scratch. Not inside a transaction.
 * Borrowed until scratch changes or the next call of the machine. */
void turn_entry(struct driver *d, uint64_t index, struct buf *scratch, struct machine_entry *out);

/* replicate.c */
struct driver_peer *replicate_peer(struct driver *d, uint64_t id); /* made when new; may be NULL */
void replicate_message(struct driver *d, struct raft_message *message); /* of the core's */
void replicate_frame(struct driver *d, uint64_t peer, const Cfs__Peer__Frame *frame);
void replicate_release(struct driver *d); /* after the commit */
void replicate_pump(struct driver *d);    /* what the links have room for */
void replicate_push_commit(struct driver *d);
bool replicate_blocked(const struct driver *d); /* is there something a link had no room for? */
void replicate_reset(struct driver *d);         /* leadership began or ended */
void replicate_unlink(struct driver *d, uint64_t peer);

/* membership.c */
void membership_turn(struct driver *d);   /* drives a transfer */
void membership_notify(struct driver *d); /* env->members, when they changed */

#endif
