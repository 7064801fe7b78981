/* SPDX-License-Identifier: Apache-2.0 */
/* Histories of registers, and whether what was read agrees with what was written.
 *
 * A history is a set of operations, each with the time of its call and of its return on one clock
 * (CLOCK_MONOTONIC of one machine), in any order. Every value is written at most once; 0 is what a
 * register has in the beginning. A write that failed may have happened, also later: its return is
 * OBSERVED_NEVER. Reads that failed are not recorded. Pure. */
#ifndef TESTS_LIB_OBSERVED_H
#define TESTS_LIB_OBSERVED_H

#include "base/base.h"

#define OBSERVED_NEVER UINT64_MAX

struct observed_op {
    unsigned host;
    unsigned reg;
    bool write;
    uint64_t value;
    uint64_t call_ns, return_ns;
};

struct observed {
    struct observed_op *ops;
    size_t n, cap;
};

void observed_add(struct observed *h, const struct observed_op *op);
void observed_fini(struct observed *h);

/* Is each register linearizable? NULL, or what is wrong (a static buffer). Registers are
 * independent of one another (linearizability is local: Herlihy and Wing 1990), and where values
 * are unique it takes a sort: P. Gibbons and E. Korach, Testing Shared Memories, SIAM J. Comput.
 * 26(4), 1997, section 4.1. All operations on one value take effect next to one another; from the
 * first return to the last call of them (if in this order) the register has that value, so no two
 * such zones overlap, and a value whose operations all fit into a gap must find one outside of the
 * others'. */
const char *observed_linearizable(struct observed *h);

/* Values of one writer, who has written them in order, each into the register value % n_regs of its
 * own (register number = writer * n_regs + that; value = writer << 40 | number, from 1): does each
 * host show prefixes of what each writer wrote, never going back, and its own writes at once? */
const char *observed_prefixes(struct observed *h, unsigned n_writers, unsigned n_regs);

#endif
