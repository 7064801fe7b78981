/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions: several steps, by paths, all or none, within one log entry. What each does and
 * answers is said in proto/command.proto. Since they reach us past the kernel, permissions are
 * checked here (store/access.h), and their changes are unseen by the kernel of their own host.
 *
 * All or none: a savepoint of SQLite for what is on disk, and a copy of the counters for what is in
 * memory. No step touches locks or sessions. See store/op.h. */
#ifndef STORE_TXN_H
#define STORE_TXN_H

#include "store/op.h"

/* run: carries out one command of a step, guards included. */
uint32_t txn_run(struct op *op, const Cfs__Txn *c,
                 uint32_t (*run)(struct op *op, const Cfs__Command *c));

#endif
