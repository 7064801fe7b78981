/* SPDX-License-Identifier: Apache-2.0 */
/* The history of the tree: what commands have changed, in order, the last LIMIT_HISTORY changes (or
 * user.coordfs.history, an xattr of the root). Part of the replicated state, so any member can tell
 * what happened since any index that is still kept, also after a snapshot.
 *
 * While a command is carried out, op_change notes each change with its paths, as they are at that
 * moment; when it has succeeded, history_record makes rows of them. Numbers have no gaps, so a row
 * can be found by its index, or by its place among the bytes of all lines, by bisection.
 *
 * Paths cost a descent for each directory; the path of the directory looked at last is remembered
 * until a directory is moved or removed.
 *
 * Writer only, but for the last part. */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "proto/feed.h"
#include "store/op.h"

/* Every so many changes, those beyond the limit are deleted, and so many at most at once. */
#define HISTORY_PRUNE_EVERY 64
#define HISTORY_PRUNE_MAX   1024

#define HISTORY_XATTR "user.coordfs.history" /* of the root: 1 … LIMIT_HISTORY_MAX, in decimal */

struct history_place;

struct history {
    struct history_place *places; /* of the command's changes, in their order */
    size_t cap;
    struct buf text; /* that they point into */
    struct buf line;
    uint64_t dir;    /* whose path is known; 0: none */
    struct buf path; /* of it, without the slash at its end: of the root it is empty */
};

/* All zero is a good beginning. */
void history_fini(struct history *h);
/* The tree has changed in another way. */
void history_forget(struct history *h);

/* The last of the op's changes: of an inode (its path is looked up now); of names, which are in the
 * change now and whose directories have the paths they had before; the version for the feed. */
void history_note(struct op *op, const Cfs__Change *change);
void history_note_names(struct op *op, const Cfs__Change *change);
void history_note_version(struct op *op, uint64_t version);

/* Makes rows of the changes of a command that has succeeded. */
void history_record(struct op *op);

/* Is it the setting? Sets the limit, or makes it the default again. A status. */
bool history_is_setting(uint64_t ino, struct bytes name);
uint32_t history_set_limit(struct op *op, struct bytes value);
uint32_t history_reset_limit(struct op *op);

/* ---- For readers and checks ---- */
void history_read(sqlite3_stmt *st, struct feed_change *out); /* borrows until the next step */
struct store_hash history_hash(const struct feed_change *c);
struct store_hash history_setting_hash(struct bytes name, uint64_t value);

#endif
