/* SPDX-License-Identifier: Apache-2.0 */
/* The raft log in the driver's memory: the term of every row, and the payloads of recent rows.
 * Because of this cache, replication and application normally do not read the database.
 *
 * Invariants:
 *  - The rows are base_index+1 … last.
 *  - Rows cached … last have their payload here (cached == last+1: no row has).
 *  - runs[] lists where each term begins, ascending. If there is any row, the first run begins at
 *    base_index+1.
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
    uint64_t end;               /* payload bytes of all rows appended so far, this row included */
};

/* A mark records the position at which the log's bytes passed a multiple of ENTRIES_MARK_BYTES. The
 * marks give the size of the log without the size of each row. */
#define ENTRIES_MARK_BYTES (4u << 20)
#define ENTRIES_MARKS      64 /* only the newest marks are kept */

struct entries_mark {
    uint64_t index; /* the last row before the mark */
    uint64_t end;   /* `end` of that row */
};

struct entries {
    uint64_t base_index; /* the row before the first row; it was compacted */
    uint64_t base_term;  /* its term; 0: unknown */
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
    size_t limit; /* of `bytes`, for entries_evict */
};

void entries_init(struct entries *e, size_t limit);
void entries_fini(struct entries *e);

/* Empties the log; the next row follows (index, term). */
void entries_reset(struct entries *e, uint64_t index, uint64_t term);

/* Appends a row without its payload; the payload cache must be empty. */
void entries_note(struct entries *e, uint64_t term);
void entries_append(struct entries *e, const struct machine_entry *entry); /* copies */
void entries_truncate(struct entries *e, uint64_t from);                   /* rows >= from */
void entries_compact(struct entries *e, uint64_t below);                   /* rows < below */
/* Forgets old payloads until the limit is kept. Rows >= pinned keep theirs. */
void entries_evict(struct entries *e, uint64_t pinned);

uint64_t entries_first(const struct entries *e); /* the first row; last + 1: no rows */
/* The term of a row, or of the row before the first; 0: unknown. */
uint64_t entries_term(const struct entries *e, uint64_t index);
/* The first row of the run of equal terms that contains the row `index`. */
uint64_t entries_run_first(const struct entries *e, uint64_t index);
/* The row with its payload, if it is cached: borrowed until the next change. */
bool entries_find(const struct entries *e, uint64_t index, struct machine_entry *out);
/* The first of the newest rows that have at most `bytes` together, rounded to a mark. If the whole
 * log is smaller, its first row. Rows added by entries_note count as empty. */
uint64_t entries_first_within(const struct entries *e, uint64_t bytes);
/* Payload bytes of the cached rows after index. */
uint64_t entries_bytes_after(const struct entries *e, uint64_t index);

#endif
