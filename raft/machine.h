/* SPDX-License-Identifier: Apache-2.0 */
/* What consensus needs of the system below it: a database that holds the raft log, term and vote
 * AND the replicated state, changed together in one transaction, and copied as a whole when a
 * member is too far behind. store/ is behind it in production (daemon/machine.c); tests implement
 * it in memory.
 *
 * Every function is called on the loop thread. Functions without a result do not fail: where the
 * disk does, the implementation die()s, because a member must never go on with a state that is not
 * what it told the others.
 *
 * The driver's sequence in one turn: begin, [set_vote], [log_truncate], log_append…, apply…,
 * [log_compact], commit. Nothing is called between commit and the next begin but the readers
 * (log_get) and the copy functions. */
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

/* What the database holds. All zero for a new one. */
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

/* The identity of a copy of the database. */
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

struct machine_snapshot; /* an outgoing copy: made in the background, then read in pieces */
struct machine_incoming; /* an incoming copy: written in pieces, then verified, then installed */

struct machine_ops {
    void (*load)(void *ctx, struct machine_state *out);

    void (*begin)(void *ctx);
    void (*set_vote)(void *ctx, uint64_t term, uint64_t vote);
    void (*log_truncate)(void *ctx, uint64_t from); /* delete index >= from */
    void (*log_append)(void *ctx, uint64_t index, const struct machine_entry *entry); /* borrows */
    void (*log_compact)(void *ctx, uint64_t below); /* delete index < below */
    /* May the payload of a COMMAND that the member `from` proposes go into the log? The leader
     * asks, so that no peer can put bytes there that stop every member, or act for another.
     * Borrows. */
    bool (*acceptable)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
    /* Applies a committed entry, of any type; index is the previous one + 1. Borrows. */
    void (*apply)(void *ctx, uint64_t index, const struct machine_entry *entry);
    /* Everything since begin, atomically; with sync it is on the disk on return, otherwise it may
     * be lost again by a power cut (as a suffix of such transactions). */
    void (*commit)(void *ctx, bool sync);

    /* The row `index` of the log; false when there is none. The data are borrowed until the next
     * call of any function of the machine. */
    bool (*log_get)(void *ctx, uint64_t index, struct machine_entry *out);

    /* ---- Outgoing copies (snapshots): several may be open --------------------------------------
     * A copy has the state as of some applied index, without the log, term, vote and identity of
     * its maker. It is made in the background: poll until it is not MACHINE_BUSY. copy_info and
     * copy_read after MACHINE_READY only. copy_close at any time (it cancels). */
    struct machine_snapshot *(*snapshot_open)(void *ctx);
    enum machine_progress (*snapshot_poll)(void *ctx, struct machine_snapshot *snapshot);
    void (*snapshot_info)(void *ctx, struct machine_snapshot *snapshot,
                          struct machine_snapshot_info *out);
    /* Bytes at offset into out; how many (fewer than len only at the end), or -errno. */
    int64_t (*snapshot_read)(void *ctx, struct machine_snapshot *snapshot, uint64_t offset,
                             void *out, size_t len);
    void (*snapshot_close)(void *ctx, struct machine_snapshot *snapshot);

    /* ---- Incoming copies: one at a time --------------------------------------------------------
     * stage_open; stage_write in order of offsets; stage_verify starts the verification in the
     * background (the bytes are a database of this version, whose content agrees with its own
     * hashes and with `info`, and it is on the disk); poll; then install or close.
     * stage_write: 0 or -errno (ENOSPC …). */
    struct machine_incoming *(*incoming_open)(void *ctx);
    int (*incoming_write)(void *ctx, struct machine_incoming *incoming, uint64_t offset,
                          const void *data, size_t len);
    void (*incoming_verify)(void *ctx, struct machine_incoming *incoming,
                            const struct machine_snapshot_info *info); /* borrows info */
    enum machine_progress (*incoming_poll)(void *ctx, struct machine_incoming *incoming);
    /* Replaces the whole database atomically by the staged one, keeping this member's identity,
     * term and vote; the log is empty afterwards. Takes the stage. Not inside a transaction. */
    void (*incoming_install)(void *ctx, struct machine_incoming *incoming);
    void (*incoming_close)(void *ctx, struct machine_incoming *incoming);
};

#endif
