/* SPDX-License-Identifier: Apache-2.0 */
/* Staged writes: extents of a change that is too large for one log entry. Stage commands put them
 * aside, until a Write names their stage and applies all of them at once. A stage belongs to a
 * session and is dropped when the session ends. Until then it counts as content of the tree (struct
 * counters). The table is named `part`.
 *
 * Usually there are none, and then looking costs nothing. Writer's thread; see store/op.h. */
#ifndef STORE_STAGED_WRITE_H
#define STORE_STAGED_WRITE_H

#include "store/op.h"

struct staged_write {
    uint64_t id;    /* raft index of its Stage and position in it, so ids grow with time */
    uint64_t stage; /* number that its session chose */
    uint64_t offset;
    struct store_hash sum; /* hash_bytes of the data */
    uint64_t len;
};

/* The commands Stage and Unstage: proto/command.proto. */
uint32_t staged_write_add(struct op *op, const Cfs__Stage *c);
uint32_t staged_write_unstage(struct op *op, const Cfs__Unstage *c);

/* ---- What Write calls ---- */

/* Returns the number of the session's writes in this stage, and *out: an array in their order,
 * which the caller frees. */
size_t staged_write_list(struct op *op, uint64_t stage, struct staged_write **out);
/* Writes them to the file, in order. Does not drop them. */
void staged_write_apply(struct op *op, struct inode *inode, const struct staged_write *staged,
                        size_t n);
/* Deletes all writes of the stage. */
void staged_write_drop(struct op *op, uint64_t session, uint64_t stage);

/* ---- Its session ends ---- */
void staged_write_end_session(struct op *op, uint64_t session);

/* ---- For checks ---- */
struct store_hash staged_write_hash(uint64_t session, const struct staged_write *staged);

#endif
