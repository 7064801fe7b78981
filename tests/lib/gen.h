/* SPDX-License-Identifier: Apache-2.0 */
/* Random work for tests, from a seed: numbers, bytes, and operations on a tree that are made to
 * collide: few names, few directories, offsets around block borders, resent and skipped sequence
 * numbers.
 *
 * An operation is abstract (a kind and a few random numbers) and becomes the bytes of a log entry
 * only when it is its turn, from what the model holds then. So any part of a sequence is a
 * sequence too, which is what makes shrinking possible. Pure functions but for the rng. */
#ifndef TESTS_LIB_GEN_H
#define TESTS_LIB_GEN_H

#include "base/buf.h"
#include "store/store.h"
#include "tests/lib/model.h"

/* ---- Numbers (splitmix64, Steele, Lea, Flood 2014) ------------------------------------------- */

struct gen_rng {
    uint64_t state;
};

struct gen_rng gen_rng_from(uint64_t seed);
uint64_t gen_u64(struct gen_rng *rng);
uint64_t gen_below(struct gen_rng *rng, uint64_t n); /* 0 … n - 1 */
bool gen_chance(struct gen_rng *rng, unsigned num, unsigned den);
void gen_bytes(struct gen_rng *rng, void *out, size_t len);

/* Changes, removes or repeats a few bytes somewhere behind `from` (which is less than the length).
 */
void gen_damage(struct gen_rng *rng, struct buf *bytes, size_t from);

/* A number from the environment, e.g. MODEL_SEED; `fallback` when it is not set. */
uint64_t gen_env(const char *name, uint64_t fallback);

/* ---- Operations ------------------------------------------------------------------------------ */

enum gen_kind {
    /* commands */
    GEN_NOOP,
    GEN_OPEN_SESSION,
    GEN_MAKE,
    GEN_LINK,
    GEN_UNLINK,
    GEN_RENAME,
    GEN_SET_ATTR,
    GEN_TRUNCATE,
    GEN_WRITE,
    GEN_SET_XATTR,
    GEN_REMOVE_XATTR,
    GEN_REAP,
    GEN_FALLOCATE,
    GEN_COPY,
    GEN_STAGE,
    GEN_UNSTAGE,
    /* entries that are no commands */
    GEN_BARRIER, /* or a change of the configuration */
    /* what happens to the member rather than to the tree */
    GEN_COMMIT,
    GEN_RESTART,
    GEN_SNAPSHOT,
    GEN_COMPACT,
    GEN_CRASH,
    GEN_KINDS /* how many there are */
};

#define GEN_NUMBERS 12

struct gen_op {
    enum gen_kind kind;
    uint32_t n[GEN_NUMBERS];
};

/* How often each kind comes in one sequence. */
struct gen_mix {
    unsigned weights[GEN_KINDS];
};

struct gen_mix gen_mix(struct gen_rng *rng);
struct gen_op gen_op(struct gen_rng *rng, const struct gen_mix *mix);

static inline bool gen_is_entry(const struct gen_op *op)
{
    return op->kind <= GEN_BARRIER;
}

/* The entry's payload, stamp and all, given the state it will meet; type and bytes into `entry`
 * (appended to `data`, which entry borrows). */
void gen_entry(const struct gen_op *op, const struct model *m, struct buf *data,
               struct store_entry *entry);

#endif
