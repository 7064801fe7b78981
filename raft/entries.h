/* SPDX-License-Identifier: Apache-2.0 */
/* The raft log as the driver knows it: the term of every row, and the payloads of the recent ones,
 * so that neither replication nor application reads the database in the normal case.
 *
 * Invariants: rows are base_index+1 .. last; `cached` .. last have their payload here
 * (cached == last+1: none has); runs[] lists where each term begins, ascending, the first run
 * beginning at base_index+1 when there is any row.
 * Loop thread. */
#ifndef RAFT_ENTRIES_H
#define RAFT_ENTRIES_H

#include "base/base.h"
#include "raft/machine.h"

struct entries_run {
    uint64_t first; /* index of the first row of this run */
    uint64_t term;
};

struct entries_row {
    struct machine_entry entry; /* owns data */
    uint64_t end;               /* bytes of all rows ever appended, this one included */
};

/* Where the log was when its bytes passed another multiple of ENTRIES_MARK_BYTES: so that the log's
 * size is known without keeping the size of each row. */
#define ENTRIES_MARK_BYTES (4u << 20)
#define ENTRIES_MARKS      64 /* the newest ones */

struct entries_mark {
    uint64_t index; /* rows up to here … */
    uint64_t end;   /* … are this many bytes, counted as in entries_row */
};

struct entries {
    uint64_t base_index; /* the row before the first one: compacted away */
    uint64_t base_term;  /* its term, 0: unknown */
    uint64_t last;
    struct entries_run *runs;
    size_t n_runs, cap_runs;
    struct entries_row *ring; /* row i is in ring[i & (cap - 1)] */
    size_t cap;
    uint64_t cached;
    uint64_t total; /* `end` of the newest row */
    struct entries_mark marks[ENTRIES_MARKS];
    unsigned n_marks;
    size_t bytes; /* payload bytes held */
    size_t limit; /* entries_evict keeps to it */
};

void entries_init(struct entries *e, size_t limit);
void entries_fini(struct entries *e);

/* An empty log that follows (index, term). */
void entries_reset(struct entries *e, uint64_t index, uint64_t term);

/* Appends a row of which only the term is kept; the payload cache must be empty. */
void entries_note(struct entries *e, uint64_t term);
void entries_append(struct entries *e, const struct machine_entry *entry); /* copies */
void entries_truncate(struct entries *e, uint64_t from);                   /* rows >= from */
void entries_compact(struct entries *e, uint64_t below);                   /* rows < below */
/* Forgets old payloads until the limit is kept, but none of rows >= pinned. */
void entries_evict(struct entries *e, uint64_t pinned);

uint64_t entries_first(const struct entries *e); /* last + 1: no rows */
/* The term of a row, or of the one before the first; 0: unknown. */
uint64_t entries_term(const struct entries *e, uint64_t index);
/* The first row of the run of equal terms that `index` is in; index must be a row. */
uint64_t entries_run_first(const struct entries *e, uint64_t index);
/* The payload when it is here: borrowed until the next change. */
bool entries_find(const struct entries *e, uint64_t index, struct machine_entry *out);
/* The first row of the newest ones that are at most `bytes` together, give or take a mark; the
 * first of all when they are no more than that, as far as it is known (not of rows that were
 * noted). */
uint64_t entries_first_within(const struct entries *e, uint64_t bytes);
/* Payload bytes of the rows after index, as far as they are cached. */
uint64_t entries_bytes_after(const struct entries *e, uint64_t index);

#endif
