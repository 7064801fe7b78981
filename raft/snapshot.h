/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of the database for members whose next log entries are compacted.
 *
 * Outgoing (leader): libraft reports that a peer needs a snapshot. The machine makes one in the
 * background. It is streamed in chunks; a few are in flight, and each is acknowledged. After a
 * loss, the stream continues from the last acknowledgement. If the receiver is silent for long, the
 * stream is dropped. Until the receiver has caught up from the log, no row that must follow the
 * snapshot is compacted.
 * Incoming: chunks are written in the order of their offsets. The complete snapshot is verified in
 * the background, then installed in one step (guard G12). A verified snapshot survives a change of
 * leader.
 * Constant memory on both sides. Loop thread. */
#ifndef RAFT_SNAPSHOT_H
#define RAFT_SNAPSHOT_H

#include "base/base.h"
#include "proto/peer.pb-c.h"
#include "raft/machine.h"

struct driver;

#define SNAPSHOT_STREAMS   4     /* parallel outgoing streams; further receivers wait */
#define SNAPSHOT_WINDOW    4u    /* chunks in flight per stream */
#define SNAPSHOT_POLL_MS   20    /* period of polling the machine's background work */
#define SNAPSHOT_RETRY_MS  500   /* without progress for so long: offer again, resume */
#define SNAPSHOT_SILENT_MS 20000 /* without a message for so long: the stream is dropped */
#define SNAPSHOT_REFUSE_MS 2000  /* pause after a failure */

enum snapshot_phase {
    SNAPSHOT_NONE,
    SNAPSHOT_WANTED,    /* outgoing: not begun */
    SNAPSHOT_MAKING,    /* outgoing: the machine makes the snapshot */
    SNAPSHOT_SENDING,   /* outgoing */
    SNAPSHOT_SETTLING,  /* outgoing: received; the rows that follow must stay in the log */
    SNAPSHOT_REFUSED,   /* outgoing: failed, pause */
    SNAPSHOT_WRITING,   /* incoming */
    SNAPSHOT_VERIFYING, /* incoming */
    SNAPSHOT_READY,     /* incoming: verified, waits until the log is clean and a leader is known */
};

struct snapshot_out {
    enum snapshot_phase phase;
    uint64_t peer;
    uint64_t id; /* of the stream */
    struct machine_snapshot *snapshot;
    struct machine_snapshot_info info;
    uint64_t floor;       /* this row and those after it must stay in the log */
    uint64_t acked, sent; /* bytes */
    uint64_t wanted; /* offset of the last acknowledgement; < acked if the receiver restarted */
    uint64_t heard;  /* time of the receiver's last message, or of the phase's begin */
    uint64_t retry;  /* time to offer again */
    uint64_t match, target; /* settling: the receiver's progress, and the index to reach */
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
void snapshot_stop_sending(struct driver *d);          /* may be called from within a step */
void snapshot_turn(struct driver *d);                  /* not inside a transaction */
/* The first row that must not be compacted, at most applied + 1. The last row of a snapshot must
 * stay too: libraft needs its term to continue after it. */
uint64_t snapshot_keep(const struct driver *d, uint64_t applied);
uint64_t snapshot_deadline(const struct driver *d);

void snapshot_on_offer(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotOffer *offer);
void snapshot_on_chunk(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotChunk *chunk);
void snapshot_on_ack(struct driver *d, uint64_t from, const Cfs__Peer__SnapshotAck *ack);

#endif
