/* SPDX-License-Identifier: Apache-2.0 */
/* The history of the tree: the changes that commands made, in order. The last LIMIT_HISTORY changes
 * are kept, or as many as user.coordfs.history says, an xattr of the root. The history is part of
 * the replicated state, so every member can tell what happened since any kept raft index, also
 * after a snapshot.
 *
 * While a command is carried out, op_change notes each change with its paths at that moment. If the
 * command succeeds, history_record stores them as rows. The numbers of the rows have no gaps, so a
 * row can be found by bisection: by its raft index, or by its offset in the feed.
 *
 * Finding a path costs one lookup for each directory on it. The path of the last directory is
 * cached until a directory is moved or removed.
 *
 * Writer's thread, except the last section. */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include "proto/feed.h"
#include "store/op.h"

/* After this many changes, those beyond the limit are deleted, at most this many at a time. */
#define HISTORY_PRUNE_EVERY 64
#define HISTORY_PRUNE_MAX   1024

/* an xattr of the root: 1 … LIMIT_HISTORY_MAX, in decimal */
#define HISTORY_XATTR "user.coordfs.history"

struct history_place;

struct history {
    struct history_place *places; /* of the command's changes, in order */
    size_t cap;
    struct buf text; /* the bytes that places refer to */
    struct buf line;
    uint64_t dir;    /* the directory whose path is cached; 0: none */
    struct buf path; /* its path, without a slash at the end: "" for the root */
};

/* A struct of zeros is a valid start. */
void history_fini(struct history *h);
/* Drops the cached path: the tree was changed by other means (an undone transaction). */
void history_forget(struct history *h);

/* Note the op's last change. history_note: a change of an inode; looks its path up now.
 * history_note_names: a change of names; the names are in `change`, and the directories have their
 * paths from before the change. history_note_version adds the version that the feed shows. */
void history_note(struct op *op, const Cfs__Change *change);
void history_note_names(struct op *op, const Cfs__Change *change);
void history_note_version(struct op *op, uint64_t version);

/* Stores the changes of a command that succeeded as rows. */
void history_record(struct op *op);

/* history_is_setting: is this xattr the setting? The others set the limit, or reset it to the
 * default, and return a status. */
bool history_is_setting(uint64_t ino, struct bytes name);
uint32_t history_set_limit(struct op *op, struct bytes value);
uint32_t history_reset_limit(struct op *op);

/* ---- For readers and checks ---- */
/* paths are borrowed until the next step */
void history_read(sqlite3_stmt *st, struct feed_change *out);
struct store_hash history_hash(const struct feed_change *c);
struct store_hash history_setting_hash(struct bytes name, uint64_t value);

#endif
