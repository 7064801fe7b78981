/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the history of changes (store/history.h) through a struct store_reader. The rules of
 * store/reader.h apply: the reader's thread, one snapshot, 0 or -errno, the same callback rules. */
#ifndef STORE_HISTORY_READER_H
#define STORE_HISTORY_READER_H

#include "proto/feed.h"
#include "store/reader.h"

/* The kept part of the history. */
struct history_reader_range {
    uint64_t first; /* number of the first kept change; last + 1 when none is kept */
    uint64_t last;  /* number of the last change ever made */
    /* Raft index of the change `first`. When no change is kept: changes up to this index are not
     * in the history. */
    uint64_t oldest;
    /* Offsets in the feed, that is, in all JSON lines ever written (proto/feed.h). */
    uint64_t start; /* where the line of the change `first` begins */
    uint64_t end;   /* where the line of the change `last` ends */
};
int history_reader_range(struct store_reader *r, struct history_reader_range *out);

/* Calls fn for each change with a number > after, in order, until fn returns false. -ESTALE: the
 * next change is no longer kept. */
int history_reader_each(struct store_reader *r, uint64_t after,
                        bool (*fn)(void *arg, const struct feed_change *change), void *arg);

/* Finds the number of the last change with a raft index <= index: 0 and *out. -ESTALE: changes with
 * a higher index are, or may be, no longer kept. Changes with an index above the range's `oldest`
 * are always kept. */
int history_reader_since(struct store_reader *r, uint64_t index, uint64_t *out);

/* Finds the number of the last change whose line ends at `offset` of the feed or before: 0 and
 * *out. -ESTALE: `offset` lies before the first kept line. */
int history_reader_at(struct store_reader *r, uint64_t offset, uint64_t *out);

#endif
