/* SPDX-License-Identifier: Apache-2.0 */
/* Histories of registers, and a check that the values read agree with the values written.
 *
 * A history is a set of operations in any order, each with the times of its call and of its return
 * on one clock (CLOCK_MONOTONIC of one machine). Every value is written at most once; 0 is the
 * initial value of a register. A write that failed may have happened, also later: its return is
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

/* Checks that each register is linearizable. NULL, or the violation (a static buffer). Registers
 * are independent (linearizability is local: Herlihy and Wing 1990). If values are unique, a sort
 * is enough: P. Gibbons and E. Korach, Testing Shared Memories, SIAM J. Comput. 26(4), 1997,
 * section 4.1. All operations on one value are adjacent. If the first return of them precedes the
 * last call, the register has the value in between. Two such zones must not overlap, and a value
 * whose operations overlap in time must find a moment outside the zones of other values. */
const char *observed_linearizable(struct observed *h);

/* Each writer writes its values in order, each into the register value % n_regs of its own
 * registers (register number = writer * n_regs + that; value = writer << 40 | number, from 1).
 * Checks that each host shows a prefix of the writes of each writer, never goes back, and shows its
 * own writes immediately. */
const char *observed_prefixes(struct observed *h, unsigned n_writers, unsigned n_regs);

#endif
