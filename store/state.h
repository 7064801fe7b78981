/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of the replicated state, and the last raft configuration: one row each. The writer
 * keeps them in memory and writes the counters once per transaction. */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "store/db.h"
#include "store/hash.h"

/* In the order of the columns, all of 64 bits. */
struct counters {
    uint64_t applied; /* raft index of the last applied entry */
    uint64_t applied_term;
    uint64_t next_ino;    /* next inode number; never used before */
    uint64_t next_dirent; /* next readdir cookie */
    uint64_t opened;      /* sessions that were ever opened */
    uint64_t inodes;      /* rows of `inode` */
    uint64_t entries;     /* rows of `dirent` */
    uint64_t bytes;       /* stored content, without holes; includes staged writes */
    uint64_t meta_bytes;  /* of symlink targets, and of names and values of xattrs */
};

#define STATE_HISTORY_LIMIT "history" /* names of settings */
#define STATE_CLOCK         "clock"

#define COUNTERS_N (sizeof(struct counters) / sizeof(uint64_t))

/* The kept part of the history (store/history.h). */
struct history_state {
    uint64_t first; /* last + 1 if nothing is kept */
    uint64_t last;  /* number of the last change ever made */
    uint64_t bytes; /* of all lines ever written */
    uint64_t limit; /* number of changes to keep */
};

struct state {
    struct counters n;
    struct store_hash rows; /* sum of the hashes of all rows except those of this struct */
    uint64_t config_index;  /* raft index of the last configuration; 0: none */
    struct buf config;
    struct store_hash config_hash; /* hash of config's bytes */

    /* Counted when the state is loaded, and not hashed: rows of `special`, and those with a guard.
     */
    uint64_t specials;
    uint64_t guards;
    uint64_t staged_writes; /* rows of `part` */
    uint64_t quotas;        /* rows of `quota` */

    struct history_state history; /* loaded, and not hashed */

    /* The cluster's time, in ns (store/special.h); 0: it has not begun. A row of `setting`, and
     * hashed as that. */
    int64_t clock;
};

/* Reads both rows. 1; 0 if one is missing or malformed; -EIO. state_fini frees. */
int state_load(struct db *db, struct state *out);
void state_fini(struct state *s);
int state_load_history(struct db *db, struct history_state *out); /* 1 or -EIO */

/* Write the counters; the configuration, immediately. Writer's thread. */
void state_save(struct db *db, const struct state *s);
void state_set_config(struct db *db, struct state *s, uint64_t index, const void *data, size_t len);

/* The state hash: the sum of `rows` and of the hashes of this struct's rows. */
struct store_hash state_hash(const struct state *s);

#endif
