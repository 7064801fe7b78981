/* SPDX-License-Identifier: Apache-2.0 */
/* The raft log, the term and vote, and the identity of the database's owner: the tables `log` and
 * `local`, which are not replicated. Each row of the log holds the XXH3 of its other columns.
 * Writer's thread.
 *
 * Invariant: the rows of the log are contiguous, and first - 1 <= applied <= last. */
#ifndef STORE_RAFTLOG_H
#define STORE_RAFTLOG_H

#include "store/db.h"
#include "store/store.h"

struct raftlog {
    struct db *db;
    struct store_identity identity;
    uint64_t term;
    uint64_t vote;
    uint64_t first; /* last + 1 if there are no rows */
    uint64_t last;
    struct buf row; /* data of the last raftlog_get */
};

/* Reads the identity, term, vote and range of the log. 1; 0 if they are missing or contradict
 * `applied`; -EIO. raftlog_fini frees. */
int raftlog_load(struct raftlog *l, struct db *db, uint64_t applied);
void raftlog_fini(struct raftlog *l);

/* Writes identity, term and vote. 0 or -EIO (never for the writer's connection). */
int raftlog_put_local(struct db *db, const struct store_identity *identity, uint64_t term,
                      uint64_t vote);

void raftlog_set_vote(struct raftlog *l, uint64_t term, uint64_t vote);
void raftlog_append(struct raftlog *l, uint64_t index, const struct store_entry *entry);
void raftlog_truncate(struct raftlog *l, uint64_t from);
void raftlog_compact(struct raftlog *l, uint64_t below);
bool raftlog_get(struct raftlog *l, uint64_t index, struct store_entry *out);

uint64_t raftlog_sum(uint64_t index, uint64_t term, uint64_t type, const void *data, size_t len);

#endif
