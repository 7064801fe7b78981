/* SPDX-License-Identifier: Apache-2.0 */
/* Two stores and a model get the same entries, and everything that must hold between them is
 * checked: each answer, the whole tree after each commit, the state hash, the store's own check,
 * the state after a restart, and a snapshot of one store that is installed into the other. */
#ifndef TESTS_LIB_WORLD_H
#define TESTS_LIB_WORLD_H

#include "base/buf.h"
#include "tests/lib/gen.h"

struct world_plan {
    const char *dir; /* an empty directory to work in */
    uint64_t seed;   /* for random parts of the checks */
    const struct gen_op *ops;
    const bool *keep; /* NULL: all of them */
    size_t n_ops;
    bool verbose; /* prints each step on standard output before it is done */
};

/* Optional statistics: the number of each status (row: enum gen_kind). */
#define WORLD_STATUSES 140
struct world_stats {
    uint64_t entries;
    uint64_t outcomes[5];
    uint32_t statuses[GEN_KINDS][WORLD_STATUSES];
    uint64_t trees, checks, restarts, crashes, copies, damaged_copies, damage_unnoticed;
};

/* Returns true, or false with the difference in `why`. stats may be NULL. */
bool world_run(const struct world_plan *plan, struct world_stats *stats, struct buf *why);

#endif
