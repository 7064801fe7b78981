/* SPDX-License-Identifier: Apache-2.0 */
/* Content that is staged: extents of a change that is too large for one log entry, put aside by
 * Stage commands until a Write names their stage and applies all of them at once. A stage belongs
 * to a session, goes with it, and counts as content of the tree (struct counters) meanwhile.
 *
 * Nearly always there is none, and looking costs nothing then. Writer's thread; see store/op.h. */
#ifndef STORE_STAGED_WRITE_H
#define STORE_STAGED_WRITE_H

#include "store/op.h"

struct staged_write {
    uint64_t id;    /* raft index of its Stage, and its place in it: in the order of writing */
    uint64_t stage; /* of its session */
    uint64_t offset;
    struct store_hash sum; /* hash_bytes of the data */
    uint64_t len;
};

/* Commands: proto/command.proto. */
uint32_t staged_write_add(struct op *op, const Cfs__Stage *c);
uint32_t staged_write_unstage(struct op *op, const Cfs__Unstage *c);

/* ---- What Write calls ---- */

/* What the session has staged there, in order: how many, and an array for the caller to free. */
size_t staged_write_list(struct op *op, uint64_t stage, struct staged_write **out);
/* Writes them to the file, in order. */
void staged_write_apply(struct op *op, struct inode *inode, const struct staged_write *staged,
                        size_t n);
/* Drops the stage. */
void staged_write_drop(struct op *op, uint64_t session, uint64_t stage);

/* ---- Its session ends ---- */
void staged_write_end_session(struct op *op, uint64_t session);

/* ---- For checks ---- */
struct store_hash staged_write_hash(uint64_t session, const struct staged_write *staged);

#endif
