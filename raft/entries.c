/* SPDX-License-Identifier: Apache-2.0 */
/* raft/entries.h has the invariants. Payloads are in a ring whose size is a power of two; terms are
 * in an ascending array of runs, searched by bisection. */
#include "raft/entries.h"

#include <stdlib.h>
#include <string.h>

void entries_init(struct entries *e, size_t limit)
{
    *e = (struct entries){.limit = limit, .cached = 1};
}

static struct entries_row *row_at(const struct entries *e, uint64_t index)
{
    return &e->ring[index & (e->cap - 1)];
}

static void drop_payload(struct entries *e, uint64_t index)
{
    struct entries_row *row = row_at(e, index);

    e->bytes -= row->entry.len;
    free((void *)(uintptr_t)row->entry.data);
    row->entry.data = NULL;
}

static void drop_payloads_from(struct entries *e, uint64_t from)
{
    uint64_t index;

    for (index = max_u64(from, e->cached); index <= e->last; index++)
        drop_payload(e, index);
}

void entries_reset(struct entries *e, uint64_t index, uint64_t term)
{
    drop_payloads_from(e, e->cached);
    e->base_index = index;
    e->base_term = term;
    e->last = index;
    e->cached = index + 1;
    e->n_runs = 0;
    e->total = 0;
    e->n_marks = 0;
    check(e->bytes == 0);
}

void entries_fini(struct entries *e)
{
    entries_reset(e, 0, 0);
    free(e->runs);
    free(e->ring);
    *e = (struct entries){0};
}

static void append_term(struct entries *e, uint64_t term)
{
    check(term > 0 && (e->n_runs == 0 || e->runs[e->n_runs - 1].term <= term));
    e->last++;
    if (e->n_runs > 0 && e->runs[e->n_runs - 1].term == term)
        return;
    if (e->n_runs == e->cap_runs) {
        e->cap_runs = e->cap_runs > 0 ? e->cap_runs * 2 : 16;
        e->runs = xrealloc(e->runs, e->cap_runs * sizeof *e->runs);
    }
    e->runs[e->n_runs++] = (struct entries_run){e->last, term};
}

void entries_note(struct entries *e, uint64_t term)
{
    check(e->cached == e->last + 1);
    append_term(e, term);
    e->cached = e->last + 1;
}

static void grow_ring(struct entries *e)
{
    struct entries old = *e;
    uint64_t index;

    e->cap = old.cap > 0 ? old.cap * 2 : 256;
    e->ring = xcalloc(e->cap, sizeof *e->ring);
    for (index = old.cached; index <= old.last; index++)
        *row_at(e, index) = *row_at(&old, index);
    free(old.ring);
}

static void mark(struct entries *e)
{
    if (e->total / ENTRIES_MARK_BYTES ==
        (e->n_marks > 0 ? e->marks[e->n_marks - 1].end : 0) / ENTRIES_MARK_BYTES)
        return;
    if (e->n_marks == ENTRIES_MARKS)
        memmove(e->marks, e->marks + 1, --e->n_marks * sizeof e->marks[0]);
    e->marks[e->n_marks++] = (struct entries_mark){e->last, e->total};
}

void entries_append(struct entries *e, const struct machine_entry *entry)
{
    struct entries_row *row;

    if (e->last + 1 - e->cached >= e->cap)
        grow_ring(e);
    append_term(e, entry->term);
    row = row_at(e, e->last);
    row->entry = *entry;
    row->entry.data = xmemdup(entry->data, entry->len);
    e->bytes += entry->len;
    e->total += entry->len;
    row->end = e->total;
    mark(e);
}

void entries_truncate(struct entries *e, uint64_t from)
{
    check(from > e->base_index);
    if (from > e->last)
        return;
    drop_payloads_from(e, from);
    e->last = from - 1;
    e->cached = min_u64(e->cached, from);
    e->total = e->cached < from ? row_at(e, from - 1)->end : e->total;
    while (e->n_runs > 0 && e->runs[e->n_runs - 1].first >= from)
        e->n_runs--;
    while (e->n_marks > 0 && e->marks[e->n_marks - 1].index >= from)
        e->n_marks--;
}

void entries_compact(struct entries *e, uint64_t below)
{
    size_t drop = 0;

    check(below <= e->last + 1);
    if (below <= e->base_index + 1)
        return;
    e->base_term = entries_term(e, below - 1);
    e->base_index = below - 1;
    for (; e->cached < below; e->cached++)
        drop_payload(e, e->cached);
    while (drop < e->n_runs &&
           (drop + 1 < e->n_runs ? e->runs[drop + 1].first : e->last + 1) <= below)
        drop++;
    e->n_runs -= drop;
    memmove(e->runs, e->runs + drop, e->n_runs * sizeof *e->runs);
    if (e->n_runs > 0)
        e->runs[0].first = max_u64(e->runs[0].first, below);
}

void entries_evict(struct entries *e, uint64_t pinned)
{
    while (e->bytes > e->limit && e->cached < pinned && e->cached <= e->last)
        drop_payload(e, e->cached++);
}

uint64_t entries_first(const struct entries *e)
{
    return e->base_index + 1;
}

/* The run that contains a row: the last run that begins at or before the row. */
static const struct entries_run *run_of(const struct entries *e, uint64_t index)
{
    size_t low = 0, high = e->n_runs;

    check(index > e->base_index && index <= e->last);
    if (e->runs[high - 1].first <= index)
        return &e->runs[high - 1];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (e->runs[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return &e->runs[low];
}

uint64_t entries_term(const struct entries *e, uint64_t index)
{
    if (index == e->base_index)
        return e->base_term;
    if (index < e->base_index || index > e->last)
        return 0;
    return run_of(e, index)->term;
}

uint64_t entries_run_first(const struct entries *e, uint64_t index)
{
    return run_of(e, index)->first;
}

bool entries_find(const struct entries *e, uint64_t index, struct machine_entry *out)
{
    if (index < e->cached || index > e->last)
        return false;
    *out = row_at(e, index)->entry;
    return true;
}

uint64_t entries_bytes_after(const struct entries *e, uint64_t index)
{
    if (index >= e->last)
        return 0;
    return index < e->cached ? e->bytes : e->total - row_at(e, index)->end;
}

uint64_t entries_first_within(const struct entries *e, uint64_t bytes)
{
    uint64_t first = entries_first(e);
    unsigned i;

    for (i = 0; i < e->n_marks && e->total - e->marks[i].end > bytes; i++)
        first = max_u64(first, e->marks[i].index + 1);
    return first;
}
