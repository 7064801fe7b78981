/* SPDX-License-Identifier: Apache-2.0 */
/* Compares a store with the model: the result of one command, and the whole state as readers see
 * it. Each function returns true, or false after it has appended the difference to `why`. */
#ifndef TESTS_LIB_COMPARE_H
#define TESTS_LIB_COMPARE_H

#include "store/reader.h"
#include "store/store.h"
#include "tests/lib/gen.h"
#include "tests/lib/model.h"

/* Outcome, session, reply and changes of one entry. */
bool compare_result(uint64_t index, const struct store_result *got, const struct model_result *want,
                    struct buf *why);

/* Compares everything that a reader can see, in one snapshot: attributes, directories, content,
 * links, xattrs, paths, usage. rng decides random parts (for example, where reading starts).
 * Records in the model's entries which cookies the store has used; they must not change. */
bool compare_tree(struct store_reader *reader, struct model *m, struct gen_rng *rng,
                  struct buf *why);

/* Compares the store's own figures: counts, orphans, kept replies. */
bool compare_store(struct store *s, const struct model *m, struct buf *why);

/* ---- Parts of the comparisons ---------------------------------------------------------------- */

/* Appends a line to why; returns false. */
BASE_PRINTF(2, 3) bool compare_differ(struct buf *why, const char *fmt, ...);
bool compare_number(const char *what, uint64_t ino, int64_t got, int64_t want, struct buf *why);
bool compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len);
/* Compares every field of an Attr, also those of later versions. */
bool compare_attr(const char *where, const Cfs__Attr *got, const Cfs__Attr *want, struct buf *why);

#endif
