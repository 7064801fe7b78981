/* SPDX-License-Identifier: Apache-2.0 */
/* The checker of histories rejects each wrong history and accepts each right one. A search of all
 * orders is the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/lib/observed.h"

#define W true
#define R false
#define N OBSERVED_NEVER

/* host, register, write, value, call, return */
static const struct sample {
    const char *name;
    bool right;
    struct observed_op ops[8];
} samples[] = {
    {"nothing but the beginning", true, {{0, 0, R, 0, 1, 2}, {1, 0, R, 0, 3, 4}}},
    {"written, then read", true, {{0, 0, W, 7, 1, 2}, {1, 0, R, 7, 3, 4}}},
    {"read while it is written: old", true, {{0, 0, W, 7, 1, 9}, {1, 0, R, 0, 3, 4}}},
    {"read while it is written: new", true, {{0, 0, W, 7, 1, 9}, {1, 0, R, 7, 3, 4}}},
    {"a stale read", false, {{0, 0, W, 7, 1, 2}, {1, 0, R, 0, 3, 4}}},
    {"going back", false, {{0, 0, W, 7, 1, 9}, {1, 0, R, 7, 2, 3}, {2, 0, R, 0, 4, 5}}},
    {"a lost write",
     false,
     {{0, 0, W, 7, 1, 2}, {0, 0, W, 8, 3, 4}, {1, 0, R, 7, 5, 6}, {1, 0, R, 7, 7, 8}}},
    {"back to an overwritten value",
     false,
     {{0, 0, W, 7, 1, 2}, {0, 0, W, 8, 3, 4}, {1, 0, R, 8, 5, 6}, {1, 0, R, 7, 7, 8}}},
    {"two writes at once, seen in two orders",
     false,
     {{0, 0, W, 7, 1, 20},
      {1, 0, W, 8, 1, 20},
      {2, 0, R, 7, 2, 3},
      {2, 0, R, 8, 4, 5},
      {3, 0, R, 7, 6, 7}}},
    {"two writes at once, one order",
     true,
     {{0, 0, W, 7, 1, 20}, {1, 0, W, 8, 1, 20}, {2, 0, R, 7, 2, 3}, {2, 0, R, 8, 4, 5}}},
    {"out of thin air", false, {{0, 0, R, 7, 1, 2}}},
    {"read before it is written", false, {{0, 0, R, 7, 1, 2}, {0, 0, W, 7, 3, 4}}},
    {"failed, and never seen", true, {{0, 0, W, 7, 1, N}, {1, 0, R, 0, 3, 4}}},
    {"failed, and seen later", true, {{0, 0, W, 7, 1, N}, {1, 0, R, 0, 3, 4}, {1, 0, R, 7, 5, 6}}},
    {"failed, seen, and gone again",
     false,
     {{0, 0, W, 7, 1, N}, {1, 0, R, 7, 3, 4}, {1, 0, R, 0, 5, 6}}},
    {"a write that fits in no gap",
     false,
     {{0, 0, W, 7, 1, 2}, {1, 0, R, 7, 20, 21}, {0, 0, W, 8, 5, 10}}},
    {"registers do not concern one another", true, {{0, 0, W, 7, 1, 2}, {1, 1, R, 0, 3, 4}}},
};

static struct observed observed_of(const struct observed_op *ops, size_t max)
{
    struct observed h = {0};

    for (size_t i = 0; i < max && ops[i].return_ns != 0; i++)
        observed_add(&h, &ops[i]);
    return h;
}

static void samples_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct observed h = observed_of(samples[i].ops, ARRAY_LEN(samples[i].ops));
        const char *error = observed_linearizable(&h);

        if ((error == NULL) != samples[i].right)
            fail_msg("%s: %s", samples[i].name, error == NULL ? "not found" : error);
        observed_fini(&h);
    }
}

/* ---- Against a search of all orders (Wing and Gong 1993) ------------------------------------- */

/* True if the remaining operations (bits of `left`) can follow one after another, starting with the
 * register at `value`. */
static bool search(const struct observed *h, unsigned left, uint64_t value)
{
    bool any = false;

    for (unsigned i = 0; i < h->n; i++) {
        const struct observed_op *op = &h->ops[i];
        bool first = true;

        if ((left & 1u << i) == 0)
            continue;
        any = any || op->return_ns != OBSERVED_NEVER;
        for (unsigned j = 0; j < h->n; j++)
            first = first && ((left & 1u << j) == 0 || h->ops[j].return_ns >= op->call_ns);
        if (!first || (!op->write && op->value != value))
            continue;
        if (search(h, left & ~(1u << i), op->write ? op->value : value))
            return true;
    }
    return !any; /* operations without an answer need not have happened */
}

static struct observed observed_random(unsigned n)
{
    struct observed h = {0};
    uint64_t values = 0;

    for (unsigned i = 0; i < n; i++) {
        struct observed_op op = {.call_ns = 1 + (uint64_t)(rand() % 40) * 64 + i};

        op.return_ns = op.call_ns + 64 * (uint64_t)(1 + rand() % 10) + 32;
        op.write = rand() % 2 == 0;
        op.value = op.write ? ++values : 0;
        if (op.write && rand() % 5 == 0)
            op.return_ns = OBSERVED_NEVER;
        observed_add(&h, &op);
    }
    for (unsigned i = 0; i < n; i++)
        if (!h.ops[i].write)
            h.ops[i].value = (uint64_t)rand() % (values + 1);
    return h;
}

static void random_histories_are_judged_alike(void **state)
{
    unsigned right = 0, wrong = 0;

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 20000; i++) {
        struct observed h = observed_random(2 + (unsigned)rand() % 6);
        bool want = search(&h, (1u << h.n) - 1, 0);
        const char *error = observed_linearizable(&h);

        if ((error == NULL) != want)
            fail_msg("history %u: %s, but the search returns %d", i,
                     error == NULL ? "right" : error, want);
        right += want;
        wrong += !want;
        observed_fini(&h);
    }
    assert_true(right > 1000 && wrong > 1000);
}

/* ---- Prefixes ---------------------------------------------------------------------------------
 * Writer 0, registers 0 and 1: number 1 goes to 1, 2 to 0, 3 to 1 … */

static const struct sample prefixes[] = {
    {"old, but in order", true, {{0, 1, W, 1, 1, 2}, {0, 0, W, 2, 3, 4}, {1, 1, R, 0, 5, 6}}},
    {"its own write", true, {{0, 1, W, 1, 1, 2}, {0, 1, R, 1, 3, 4}}},
    {"its own write is not there", false, {{0, 1, W, 1, 1, 2}, {0, 1, R, 0, 3, 4}}},
    {"going back", false, {{0, 1, W, 1, 1, 9}, {1, 1, R, 1, 3, 4}, {1, 1, R, 0, 5, 6}}},
    {"not a prefix",
     false,
     {{0, 1, W, 1, 1, 2}, {0, 0, W, 2, 3, 4}, {1, 0, R, 2, 5, 6}, {1, 1, R, 0, 7, 8}}},
    {"another host is behind",
     true,
     {{0, 1, W, 1, 1, 2}, {0, 0, W, 2, 3, 4}, {1, 0, R, 2, 5, 6}, {2, 1, R, 0, 7, 8}}},
    {"a write before that failed",
     true,
     {{0, 1, W, 1, 1, N}, {0, 0, W, 2, 3, 4}, {1, 0, R, 2, 5, 6}, {1, 1, R, 0, 7, 8}}},
};

static void prefixes_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct observed h = observed_of(prefixes[i].ops, ARRAY_LEN(prefixes[i].ops));
        const char *error = observed_prefixes(&h, 1, 2);

        if ((error == NULL) != prefixes[i].right)
            fail_msg("%s: %s", prefixes[i].name, error == NULL ? "not found" : error);
        observed_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_judged),
        cmocka_unit_test(random_histories_are_judged_alike),
        cmocka_unit_test(prefixes_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
