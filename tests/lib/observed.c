/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/observed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char said[256];

void observed_add(struct observed *h, const struct observed_op *op)
{
    if (h->n == h->cap) {
        h->cap = h->cap == 0 ? 1024 : 2 * h->cap;
        h->ops = xrealloc(h->ops, h->cap * sizeof(*h->ops));
    }
    h->ops[h->n++] = *op;
}

void observed_fini(struct observed *h)
{
    free(h->ops);
    *h = (struct observed){0};
}

/* ---- Linearizability ------------------------------------------------------------------------- */

/* All operations on one value of one register. */
struct zone {
    unsigned reg;
    uint64_t value;
    uint64_t first_return, last_call;
    bool written, read;
};

static int by_value(const void *a, const void *b)
{
    const struct observed_op *x = a, *y = b;

    if (x->reg != y->reg)
        return x->reg < y->reg ? -1 : 1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return y->write - x->write; /* the write comes first */
}

static bool is_forward(const struct zone *z)
{
    return z->first_return < z->last_call;
}

static uint64_t low(const struct zone *z)
{
    return min_u64(z->first_return, z->last_call);
}

static int by_place(const void *a, const void *b)
{
    const struct zone *x = a, *y = b;

    if (x->reg != y->reg)
        return x->reg < y->reg ? -1 : 1;
    return low(x) < low(y) ? -1 : low(x) > low(y);
}

/* Makes one zone for each value of each register. NULL: a value was read that was never written;
 * *error names it. */
static struct zone *zones_of(struct observed *h, size_t *n, const char **error)
{
    struct zone *zones = xcalloc(h->n + 1, sizeof(*zones)), *z = NULL;
    uint64_t written_at = 0;

    *n = 0;
    qsort(h->ops, h->n, sizeof(*h->ops), by_value);
    for (size_t i = 0; i < h->n; i++) {
        const struct observed_op *op = &h->ops[i];

        if (z == NULL || z->reg != op->reg || z->value != op->value) {
            z = &zones[(*n)++];
            *z = (struct zone){op->reg, op->value, OBSERVED_NEVER, 0, op->value == 0, false};
            if (op->value == 0)
                z->first_return = 0; /* the initial value precedes all operations */
            written_at = op->write ? op->call_ns : 0;
            z->written = z->written || op->write;
        }
        if (!z->written || (!op->write && op->return_ns < written_at)) {
            snprintf(said, sizeof said, "register %u: %" PRIx64 " was read before it was written",
                     op->reg, op->value);
            *error = said;
            free(zones);
            return NULL;
        }
        z->read = z->read || !op->write;
        z->first_return = min_u64(z->first_return, op->return_ns);
        z->last_call = max_u64(z->last_call, op->call_ns);
    }
    return zones;
}

/* Drops writes without an answer whose value no process has read: they prove nothing. */
static size_t drop_unseen(struct zone *zones, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++)
        if (zones[i].read || zones[i].first_return != OBSERVED_NEVER)
            zones[kept++] = zones[i];
    return kept;
}

static const char *clash(const struct zone *a, const struct zone *b)
{
    snprintf(said, sizeof said,
             "register %u: it had %" PRIx64 " from %" PRIu64 " to %" PRIu64 " ns, and %" PRIx64
             " between %" PRIu64 " and %" PRIu64,
             a->reg, a->value, a->first_return, a->last_call, b->value, low(b),
             max_u64(b->first_return, b->last_call));
    return said;
}

const char *observed_linearizable(struct observed *h)
{
    const char *error = NULL;
    const struct zone *open = NULL; /* the forward zone that ends last */
    size_t n;
    struct zone *zones = zones_of(h, &n, &error);

    if (zones == NULL)
        return error;
    n = drop_unseen(zones, n);
    qsort(zones, n, sizeof(*zones), by_place);
    /* The zones are sorted by their beginnings, so a zone that overlaps the next one has begun
     * before it. */
    for (size_t i = 0; error == NULL && i < n; i++) {
        const struct zone *z = &zones[i];
        bool same = open != NULL && open->reg == z->reg;

        if (is_forward(z)) {
            if (same && open->last_call > z->first_return)
                error = clash(open, z);
            open = z;
        } else if (same && z->first_return < open->last_call) {
            error = clash(open, z);
        }
    }
    free(zones);
    return error;
}

/* ---- Prefixes -------------------------------------------------------------------------------- */

#define NUMBER(value) ((value) & ((UINT64_C(1) << 40) - 1))
#define WRITER(value) ((unsigned)((value) >> 40))

static int by_call(const void *a, const void *b)
{
    const struct observed_op *x = *(const struct observed_op *const *)a;
    const struct observed_op *y = *(const struct observed_op *const *)b;

    return x->call_ns < y->call_ns ? -1 : x->call_ns > y->call_ns;
}

static int by_return(const void *a, const void *b)
{
    const struct observed_op *x = *(const struct observed_op *const *)a;
    const struct observed_op *y = *(const struct observed_op *const *)b;

    return x->return_ns < y->return_ns ? -1 : x->return_ns > y->return_ns;
}

/* done: by writer and number, true if the write was acknowledged. */
struct acked {
    bool *done;
    uint64_t max;
};

static struct acked *acked_of(const struct observed *h, unsigned n_writers)
{
    struct acked *acked = xcalloc(n_writers, sizeof(*acked));

    for (size_t i = 0; i < h->n; i++)
        acked[WRITER(h->ops[i].value)].max =
            max_u64(acked[WRITER(h->ops[i].value)].max, NUMBER(h->ops[i].value));
    for (unsigned w = 0; w < n_writers; w++)
        acked[w].done = xcalloc(acked[w].max + 1, sizeof(bool));
    for (size_t i = 0; i < h->n; i++)
        if (h->ops[i].write && h->ops[i].return_ns != OBSERVED_NEVER)
            acked[WRITER(h->ops[i].value)].done[NUMBER(h->ops[i].value)] = true;
    return acked;
}

/* The last acknowledged write to the register in the prefix that ends at `floor`. */
static uint64_t expected(const struct acked *a, uint64_t floor, unsigned reg, unsigned n_regs)
{
    for (uint64_t number = floor; number > 0; number--)
        if (number % n_regs == reg && a->done[number])
            return number;
    return 0;
}

static const char *host_prefixes(const struct observed *h, unsigned host, unsigned n_writers,
                                 unsigned n_regs, const struct acked *acked)
{
    const struct observed_op **calls = xcalloc(h->n + 1, sizeof(*calls)), **returns;
    uint64_t *floors = xcalloc(n_writers, sizeof(*floors));
    const char *error = NULL;
    size_t n = 0, done = 0;

    for (size_t i = 0; i < h->n; i++)
        if (h->ops[i].host == host)
            calls[n++] = &h->ops[i];
    returns = xcalloc(n + 1, sizeof(*returns));
    memcpy(returns, calls, n * sizeof(*calls));
    qsort(calls, n, sizeof(*calls), by_call);
    qsort(returns, n, sizeof(*returns), by_return);
    for (size_t i = 0; error == NULL && i < n; i++) {
        const struct observed_op *op = calls[i];
        unsigned writer = op->reg / n_regs;
        uint64_t want;

        for (; done < n && returns[done]->return_ns < op->call_ns; done++) {
            uint64_t value = returns[done]->value;

            floors[WRITER(value)] = max_u64(floors[WRITER(value)], NUMBER(value));
        }
        want = op->write ? 0 : expected(&acked[writer], floors[writer], op->reg % n_regs, n_regs);
        if (NUMBER(op->value) < want) {
            snprintf(said, sizeof said,
                     "host %u: register %u had %" PRIu64 ", after %" PRIu64
                     " of writer %u was there, so at "
                     "least %" PRIu64,
                     host, op->reg, NUMBER(op->value), floors[writer], writer, want);
            error = said;
        }
    }
    free(calls);
    free(returns);
    free(floors);
    return error;
}

const char *observed_prefixes(struct observed *h, unsigned n_writers, unsigned n_regs)
{
    struct acked *acked = acked_of(h, n_writers);
    const char *error = NULL;
    unsigned n_hosts = 0;

    for (size_t i = 0; i < h->n; i++)
        n_hosts = h->ops[i].host >= n_hosts ? h->ops[i].host + 1 : n_hosts;
    for (unsigned host = 0; error == NULL && host < n_hosts; host++)
        error = host_prefixes(h, host, n_writers, n_regs, acked);
    for (unsigned w = 0; w < n_writers; w++)
        free(acked[w].done);
    free(acked);
    return error;
}
