/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of the replicated state and the last configuration: one row each, kept in memory by
 * the writer and written once per transaction. */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "store/db.h"
#include "store/hash.h"

/* In the order of the columns: all of 64 bits. */
struct counters {
    uint64_t applied; /* raft index of the last entry that was applied */
    uint64_t applied_term;
    uint64_t next_ino;    /* the next inode number: never used before */
    uint64_t next_dirent; /* the next cookie */
    uint64_t opened;      /* sessions, ever */
    uint64_t inodes;      /* rows of inode */
    uint64_t entries;     /* rows of dirent */
    uint64_t bytes;       /* of content, as stored: holes do not count; staged: table part */
    uint64_t meta_bytes;  /* of symlinks' targets, xattrs' names and values */
};

#define STATE_HISTORY_LIMIT "history" /* the name of the setting */

#define COUNTERS_N (sizeof(struct counters) / sizeof(uint64_t))

/* What is kept of the history (store/history.h). */
struct history_state {
    uint64_t first; /* last + 1 when there is nothing */
    uint64_t last;  /* the number of the last change ever */
    uint64_t bytes; /* of all lines ever */
    uint64_t limit; /* changes to be kept */
};

struct state {
    struct counters n;
    struct store_hash rows; /* the sum over all rows but those of this struct */
    uint64_t config_index;  /* of the last configuration; 0: none */
    struct buf config;
    struct store_hash config_hash; /* of its bytes */

    /* Counted when it is loaded, and not in the state hash: rows of `special`, and those of them
     * with a guard. */
    uint64_t specials;
    uint64_t guards;
    uint64_t staged_writes; /* rows of `part` */
    uint64_t quotas;        /* rows of `quota` */

    struct history_state history; /* loaded, too */
};

/* Reads both rows: 1, 0 when one is missing or malformed, -EIO. state_fini frees. */
int state_load(struct db *db, struct state *out);
void state_fini(struct state *s);
int state_load_history(struct db *db, struct history_state *out); /* 1 or -EIO */

/* Writes the counters; the configuration at once, when it changes. Writer only. */
void state_save(struct db *db, const struct state *s);
void state_set_config(struct db *db, struct state *s, uint64_t index, const void *data, size_t len);

/* The state hash: the rows' sum and these rows'. */
struct store_hash state_hash(const struct state *s);

#endif
