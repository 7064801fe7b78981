/* SPDX-License-Identifier: Apache-2.0 */
/* The interface of the state machine, owned by consensus: a database with the raft log, term and
 * vote AND the replicated state. One transaction changes them together. If a member is too far
 * behind, it gets the database as a whole. In production store/ implements it (daemon/machine.c);
 * tests implement it in memory.
 *
 * Every function is called on the loop thread. A function without a result cannot fail: if the disk
 * fails, the implementation die()s, because a member must never continue with a state that differs
 * from what it told the others.
 *
 * The driver's sequence in one turn: begin, [set_vote], [log_truncate], log_append…, apply…,
 * [log_compact], commit. Between commit and the next begin, the driver calls only log_get and the
 * snapshot functions. */
#ifndef RAFT_MACHINE_H
#define RAFT_MACHINE_H

#include "base/base.h"
#include "base/buf.h"

enum machine_entry_type { /* the numbers are libraft's and are stored in the log */
                          MACHINE_COMMAND = 1,
                          MACHINE_BARRIER = 2,
                          MACHINE_CHANGE =
                              3, /* data: a raft configuration, as libraft encodes it */
};

struct machine_entry {
    uint64_t term;
    enum machine_entry_type type;
    const uint8_t *data;
    size_t len;
};

/* The raft state in the database. All zero in a new database. */
struct machine_state {
    uint64_t term;
    uint64_t vote;
    uint64_t first_index; /* of the log; last_index + 1 when the log has no rows */
    uint64_t last_index;  /* of the log, or `applied` when the log has no rows */
    uint64_t applied;
    uint64_t applied_term;
    uint64_t config_index; /* of the last configuration that was applied; 0: none */
    struct buf config;     /* its bytes, as libraft encodes it; gives */
};

/* The identity of a snapshot of the database. */
struct machine_snapshot_info {
    uint64_t index; /* applied */
    uint64_t term;  /* of index */
    uint64_t config_index;
    struct buf config; /* gives */
    uint64_t size;     /* bytes */
};

enum machine_progress { MACHINE_BUSY, MACHINE_READY, MACHINE_FAILED };

struct machine {
    void *ctx;
    const struct machine_ops *ops;
};

struct machine_snapshot; /* an outgoing snapshot: made in the background, then read in pieces */
struct machine_incoming; /* an incoming one: written in pieces, then verified, then installed */

struct machine_ops {
    void (*load)(void *ctx, struct machine_state *out);

    void (*begin)(void *ctx);
    void (*set_vote)(void *ctx, uint64_t term, uint64_t vote);
    void (*log_truncate)(void *ctx, uint64_t from); /* delete index >= from */
    void (*log_append)(void *ctx, uint64_t index, const struct machine_entry *entry); /* borrows */
    void (*log_compact)(void *ctx, uint64_t below); /* delete index < below */
    /* True if the payload of a COMMAND may enter the log. The leader asks for each proposal of
     * member `from`. A follower asks for each entry of a leader, with from = 0. No peer may put
     * bytes into the log that stop every member, or that act for another member. Borrows. */
    bool (*acceptable)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
    /* Applies a committed entry of any type; index is that of the previous call + 1. Borrows. */
    void (*apply)(void *ctx, uint64_t index, const struct machine_entry *entry);
    /* Commits all changes since begin, atomically. With sync, they are on the disk on return.
     * Without it, a power cut may lose the latest such transactions. */
    void (*commit)(void *ctx, bool sync);

    /* The row `index` of the log; false if there is none. The data are borrowed until the next call
     * of any function of the machine. */
    bool (*log_get)(void *ctx, uint64_t index, struct machine_entry *out);

    /* ---- Outgoing snapshots: several may be open -----------------------------------------------
     * A snapshot has the state at some applied index, without the log, term, vote and identity of
     * this member. It is made in the background: call snapshot_poll until it is not MACHINE_BUSY.
     * snapshot_info and snapshot_read are allowed only after MACHINE_READY. snapshot_close is
     * allowed at any time (it cancels). */
    struct machine_snapshot *(*snapshot_open)(void *ctx);
    enum machine_progress (*snapshot_poll)(void *ctx, struct machine_snapshot *snapshot);
    void (*snapshot_info)(void *ctx, struct machine_snapshot *snapshot,
                          struct machine_snapshot_info *out);
    /* Reads bytes at offset into out. Returns their number (less than len only at the end), or
     * -errno. */
    int64_t (*snapshot_read)(void *ctx, struct machine_snapshot *snapshot, uint64_t offset,
                             void *out, size_t len);
    void (*snapshot_close)(void *ctx, struct machine_snapshot *snapshot);

    /* ---- Incoming snapshots: one at a time -----------------------------------------------------
     * The sequence: incoming_open; incoming_write in order of offsets; incoming_verify, which
     * starts the verification in the background; incoming_poll; then install or close.
     * Verification: the bytes are a database of this version, its content agrees with its own
     * hashes and with `info`, and it is on the disk.
     * incoming_write: 0 or -errno (ENOSPC …). */
    struct machine_incoming *(*incoming_open)(void *ctx);
    int (*incoming_write)(void *ctx, struct machine_incoming *incoming, uint64_t offset,
                          const void *data, size_t len);
    void (*incoming_verify)(void *ctx, struct machine_incoming *incoming,
                            const struct machine_snapshot_info *info); /* borrows info */
    enum machine_progress (*incoming_poll)(void *ctx, struct machine_incoming *incoming);
    /* Replaces the whole database atomically by the verified one. This member keeps its identity,
     * term and vote; its log is empty afterwards. Takes `incoming`. Not inside a transaction. */
    void (*incoming_install)(void *ctx, struct machine_incoming *incoming);
    void (*incoming_close)(void *ctx, struct machine_incoming *incoming);
};

#endif
