/* SPDX-License-Identifier: Apache-2.0 */
/* Random work for tests, from a seed: numbers, bytes, and operations on a tree that collide often:
 * few names, few directories, offsets around block borders, repeated and skipped sequence numbers.
 *
 * An operation is abstract (a kind and a few random numbers). It becomes the bytes of a log entry
 * only at its turn, from the state of the model at that moment. So any part of a sequence is a
 * valid sequence, and a failing sequence can be shrunk. Pure functions, except for the rng. */
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

/* Changes, removes or repeats a few bytes behind `from` (which is less than the length). */
void gen_damage(struct gen_rng *rng, struct buf *bytes, size_t from);

/* A number from the environment, for example MODEL_SEED; `fallback` if it is not set. */
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
    /* entries that are not commands */
    GEN_BARRIER, /* or a change of the configuration */
    /* events of the member, not of the tree */
    GEN_COMMIT,
    GEN_RESTART,
    GEN_SNAPSHOT,
    GEN_COMPACT,
    GEN_CRASH,
    GEN_KINDS /* number of kinds */
};

#define GEN_NUMBERS 12

struct gen_op {
    enum gen_kind kind;
    uint32_t n[GEN_NUMBERS];
};

/* How often each kind occurs in one sequence. */
struct gen_mix {
    unsigned weights[GEN_KINDS];
};

struct gen_mix gen_mix(struct gen_rng *rng);
struct gen_op gen_op(struct gen_rng *rng, const struct gen_mix *mix);

static inline bool gen_is_entry(const struct gen_op *op)
{
    return op->kind <= GEN_BARRIER;
}

/* Makes the entry's payload, with its stamp, for the state that it will meet. Type and bytes go
 * into `entry` (the bytes are appended to `data`, which entry borrows). */
void gen_entry(const struct gen_op *op, const struct model *m, struct buf *data,
               struct store_entry *entry);

#endif
