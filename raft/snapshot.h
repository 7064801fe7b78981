/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of the database for members whose next log entries are compacted away.
 *
 * Out (leader): libraft says that a peer needs a snapshot; a copy of the database is made in the
 * background and streamed in chunks, a few in flight, each acknowledged. The stream goes on from
 * what is acknowledged when something was lost, and is dropped when the receiver is silent for
 * long. While it lives, and until the receiver has caught up from the log, no row that must follow
 * the copy is compacted.
 * In: chunks are staged in the order of their offsets; the whole is verified in the background,
 * then installed in one go (guard G12). A staged copy survives a change of leader.
 * Constant memory on both sides. Loop thread. */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "base/base.h"
#include "proto/peer.pb-c.h"
#include "raft/machine.h"

struct driver;

#define SNAPSHOT_STREAMS   4     /* at once; further receivers wait for their turn */
#define SNAPSHOT_WINDOW    4u    /* chunks on their way */
#define SNAPSHOT_POLL_MS   20    /* the machine's background work */
#define SNAPSHOT_RETRY_MS  500   /* without progress: offer again, go on from what is acked */
#define SNAPSHOT_SILENT_MS 20000 /* without any sign of life: the stream is dropped */
#define SNAPSHOT_REFUSE_MS 2000  /* after a failure: not again before */

enum snapshot_phase {
    SNAPSHOT_NONE,
    SNAPSHOT_WANTED,    /* out: not begun */
    SNAPSHOT_MAKING,    /* out: the machine makes the copy */
    SNAPSHOT_SENDING,   /* out */
    SNAPSHOT_SETTLING,  /* out: received; the log must not outrun the receiver */
    SNAPSHOT_REFUSED,   /* out: failed, pause */
    SNAPSHOT_WRITING,   /* in */
    SNAPSHOT_VERIFYING, /* in */
    SNAPSHOT_READY,     /* in: good, waits for the right moment */
};

struct snapshot_out {
    enum snapshot_phase phase;
    uint64_t peer;
    uint64_t id; /* of the stream */
    struct machine_snapshot *snapshot;
    struct machine_snapshot_info info;
    uint64_t floor;       /* this row and those after it must stay in the log */
    uint64_t acked, sent; /* bytes */
    uint64_t wanted;      /* of the last acknowledgement: lower than acked if it began anew */
    uint64_t heard;       /* when the receiver last said something, or the phase began */
    uint64_t retry;
    uint64_t match, target; /* settling */
};

struct snapshot_in {
    enum snapshot_phase phase;
    uint64_t peer, id;
    struct machine_incoming *incoming;
    struct machine_snapshot_info info;
    uint64_t offset;
    uint64_t heard;
};

struct snapshot {
    struct snapshot_out out[SNAPSHOT_STREAMS];
    struct snapshot_in in;
    uint64_t sent, installed;
};

void snapshot_fini(struct driver *d);
void snapshot_wanted(struct driver *d, uint64_t peer); /* may be called from within a step */
void snapshot_stop_sending(struct driver *d);          /* likewise */
void snapshot_turn(struct driver *d);                  /* not inside a transaction */
/* The first row that must not be compacted, at most applied + 1. The row that a copy ends with is
 * one of them: libraft must know its term to go on from there. */
uint64_t snapshot_keep(const struct driver *d, uint64_t applied);
uint64_t snapshot_deadline(const struct driver *d);

void snapshot_on_offer(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotOffer *offer);
void snapshot_on_chunk(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotChunk *chunk);
void snapshot_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotAck *ack);

#endif
