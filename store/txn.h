/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: several steps, addressed by paths, all or none, in one log entry.
 * proto/command.proto says what each step does and answers. The kernel has not checked them, so
 * permissions are checked here (store/access.h), and the kernel of the sender's host does not know
 * of the changes.
 *
 * All or none means: a savepoint of SQLite for the database, and a copy of the counters in memory.
 * No step touches locks or sessions. See store/op.h. */
#ifndef STORE_TXN_H
#define STORE_TXN_H

#include "store/op.h"

/* Applies the transaction. `run` carries out the command of one step, including the check of
 * guards. */
uint32_t txn_run(struct op *op, const Cfs__Txn *c,
                 uint32_t (*run)(struct op *op, const Cfs__Command *c));

#endif
