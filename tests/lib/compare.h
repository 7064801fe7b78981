/* SPDX-License-Identifier: Apache-2.0 */
/* Holds a store against the model: what one command answered, and the whole of the state as
 * readers see it. Each function is true, or false with what differs appended to `why`. */
#ifndef TESTS_LIB_COMPARE_H
#define TESTS_LIB_COMPARE_H

#include "store/reader.h"
#include "store/store.h"
#include "tests/lib/gen.h"
#include "tests/lib/model.h"

/* Outcome, session, reply and changes of one entry. */
bool compare_result(uint64_t index, const struct store_result *got, const struct model_result *want,
                    struct buf *why);

/* Everything a reader can see, in one snapshot: attributes, directories, content, links, xattrs,
 * paths, usage. Random parts (where to start reading) come from rng. Notes in the model's entries
 * which cookies were seen, and insists on them from then on. */
bool compare_tree(struct store_reader *reader, struct model *m, struct gen_rng *rng,
                  struct buf *why);

/* What the store says of itself: counts, orphans, kept replies. */
bool compare_store(struct store *s, const struct model *m, struct buf *why);

/* ---- What the comparisons are made of -------------------------------------------------------- */

/* Appends a line to why; false. */
BASE_PRINTF(2, 3) bool compare_differ(struct buf *why, const char *fmt, ...);
bool compare_number(const char *what, uint64_t ino, int64_t got, int64_t want, struct buf *why);
bool compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len);
/* Every field of an Attr, those of later versions too. */
bool compare_attr(const char *where, const Cfs__Attr *got, const Cfs__Attr *want, struct buf *why);

#endif
