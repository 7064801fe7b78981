/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the driver, shared by its files only. Each file uses only files below it:
 *
 *   driver.c        life cycle, incoming messages, turns, status
 *   driver_start.c  starts the core from the database
 *   membership.c    changes of the members, transfer of leadership
 *   turn.c          collects the core's updates and commits them in one transaction at a time
 *   readindex.c     linearizable points
 *   snapshot.c      copies of the database, outgoing and incoming
 *   replicate.c     AppendEntries in bounded pieces, the commit push
 *   driver_state.c  time, chance, the leader seen last
 *   proposals.c     commands that wait to be appended or forwarded
 *   outbox.c        outgoing messages, held back while term or vote is not on the disk
 *
 * All times in here are virtual milliseconds: env->now_ms plus `skew`. The skew grows when the
 * election timer is brought forward (suspect() in driver.c). */
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

/* Bounds: one turn must not block the loop for long, and no queue may grow without limit. */
#define DRIVER_APPLY_ENTRIES 2000u        /* applied in one transaction */
#define DRIVER_APPLY_BYTES   (8u << 20)   /* their payload; at least one entry is applied */
#define DRIVER_TURN_ROUNDS   16           /* transactions in one turn */
#define DRIVER_AHEAD_ENTRIES 2000u        /* submitted and not yet committed */
#define DRIVER_AHEAD_BYTES   (32u << 20)  /* their payload */
#define DRIVER_QUEUE_ENTRIES 16384u       /* waiting proposals; more are dropped */
#define DRIVER_QUEUE_BYTES   (64u << 20)  /* their payload */
#define DRIVER_CACHE_BYTES   (16u << 20)  /* payloads kept in memory */
#define DRIVER_LOG_BYTES     (128u << 20) /* default of config.compact_bytes */
#define DRIVER_LINK_BYTES    (4u << 20)   /* queued for one peer before sending pauses */
#define DRIVER_RETRY_MS      5            /* pause before a full link is tried again */
#define DRIVER_PEERS_MAX     (2u * LIMIT_MEMBERS_MAX)

struct driver_peer {
    uint64_t id;
    uint64_t heard;           /* time of its last message; 0: none yet */
    struct guard_probe probe; /* the window to send: it ends at probe.end */
    uint64_t next;            /* the next index to send; > probe.end: all is sent */
    uint64_t told;            /* the commit index last sent to it */
};

struct driver_held { /* a message that waits until term and vote are on the disk */
    STAILQ_ENTRY(driver_held) link;
    uint64_t peer;
    struct buf message;
    uint64_t append_term; /* != 0: an AppendEntries; sent only if still leader of this term */
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
    uint64_t chance; /* state of the random generator */

    uint64_t skew;
    uint64_t tick; /* leader: time of the next tick */

    /* The log, and how the database differs from it. Rows < write_from are equal in both. The
     * next transaction deletes rows write_from..stored_last of the database, and writes the rows
     * of `log` from write_from on. Clean: write_from == log.last + 1 == stored_last + 1. */
    struct entries log;
    uint64_t write_from;
    uint64_t stored_last;
    bool vote_dirty; /* term or vote is not yet in the database */
    uint64_t commit;
    uint64_t applied_term;
    uint64_t config_index; /* index of the last applied configuration */
    struct buf config_data;

    STAILQ_HEAD(, driver_held) held;
    STAILQ_HEAD(, driver_proposal) proposals; /* to append as leader, or to forward */
    unsigned n_proposals;
    size_t proposals_bytes;

    /* As leader of this term: */
    uint64_t own_index; /* index of its first entry; 0: not yet submitted */
    uint64_t transfer;  /* target of a transfer of leadership; 0: none */
    uint64_t transfer_end;
    bool transfer_sent;

    struct driver_peer peers[DRIVER_PEERS_MAX];
    unsigned n_peers;
    struct readindex reads;
    uint64_t refused; /* messages that no sound member sends */
    struct snapshot snapshot;

    /* What was last reported to the environment. */
    uint64_t seen_leader, seen_term; /* driver_note_leader */
    bool leader_changed;
    struct driver_member *members;
    unsigned n_members;
    uint64_t members_key[4]; /* identifies the configurations behind `members` */
    uint64_t no_leader_since;
    uint64_t elections;
    unsigned short prev_state;
    bool busy; /* the last turn ended with work left */
};

/* driver_state.c */
uint64_t driver_clock(struct driver *d); /* advances the guard's virtual time, returns it */
uint64_t driver_random(struct driver *d, uint64_t below); /* 0 … below - 1 */
bool driver_rows_dirty(const struct driver *d); /* the database's rows differ from the log */
bool driver_clean(const struct driver *d);      /* nothing waits for a transaction */
/* Call it after each step of the core: drops the proposals if leader or term has changed. */
void driver_note_leader(struct driver *d);

/* outbox.c */
void outbox_frame(struct driver *d, uint64_t peer, const Cfs__Peer__Frame *frame);
/* Takes the message. append_term: see struct driver_held. */
void outbox_post(struct driver *d, uint64_t peer, struct buf message, uint64_t append_term);
void outbox_release(struct driver *d); /* after a commit: sends the held messages */
void outbox_fini(struct driver *d);

/* proposals.c */
/* Takes the bytes and returns true; false if the queue is full (the bytes are untouched). */
bool proposals_add(struct driver *d, struct buf *data);
void proposals_drop(struct driver *d);
/* Appends to the log as leader, or sends to the leader. True: call it again. */
bool proposals_submit(struct driver *d);

/* turn.c */
void turn_consume(void *ctx, struct raft_update *update); /* the guard's consume */
bool turn_flush(struct driver *d); /* one transaction and its consequences; false: nothing to do */

/* replicate.c */
/* The record of a peer, new if there was none. NULL if there is no room. */
struct driver_peer *replicate_peer(struct driver *d, uint64_t id);
/* A message of the core's, except InstallSnapshot. */
void replicate_message(struct driver *d, struct raft_message *message);
void replicate_pump(struct driver *d); /* sends as much as the links have room for */
void replicate_push_commit(struct driver *d);
bool replicate_blocked(const struct driver *d); /* something waits for room in a link */
void replicate_reset(struct driver *d);         /* leadership began or ended */
void replicate_unlink(struct driver *d, uint64_t peer);

/* membership.c */
void membership_turn(struct driver *d);   /* drives a transfer of leadership */
void membership_notify(struct driver *d); /* calls env->members if the members changed */

#endif
