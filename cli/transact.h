/* SPDX-License-Identifier: Apache-2.0 */
/* Builds transactions and runs them by the ioctls of proto/ioctl.h. */
#ifndef CLI_TRANSACT_H
#define CLI_TRANSACT_H

#include "base/base.h"
#include "proto/command.pb-c.h"

/* ---- Building: the transaction owns all memory; free it with cfs__txn__free_unpacked --------- */

Cfs__Txn *transact_new(void);
/* Adds a step; copies the path. The caller sets the operation: a message made by transact_op. */
Cfs__TxnStep *transact_step(Cfs__Txn *txn, const char *path);
/* A zeroed message of that type. */
void *transact_op(const ProtobufCMessageDescriptor *type);
ProtobufCBinaryData transact_bytes(const void *data, size_t len);

/* Steps that several commands use. */
Cfs__TxnCheck *transact_check(Cfs__Txn *txn, const char *path, Cfs__TxnCheck__Kind kind,
                              uint64_t version);
Cfs__TxnPut *transact_put(Cfs__Txn *txn, const char *path, const void *data, size_t len);
Cfs__Unlink *transact_remove(Cfs__Txn *txn, const char *path, bool directory);

/* ---- Running them -----------------------------------------------------------------------------*/

/* Runs the transaction; relative paths begin at the directory `fd`. The reply (gives:
 * cfs__reply__free_unpacked), or NULL with errno. After EINTR and ETIMEDOUT it is unknown whether
 * the transaction was or will be made. */
Cfs__Reply *transact_run(int fd, const Cfs__Txn *txn);

/* Why the step failed, as the end of a sentence: "the version is 9, not 7". Gives. */
char *transact_why(const Cfs__TxnStep *step, const Cfs__StepReply *reply);
/* True if the transaction failed because a check did not hold. */
bool transact_is_mismatch(const Cfs__Txn *txn, const Cfs__Reply *reply);
/* The text of an errno of transact_run; it says so if the outcome is unknown. A static string. */
const char *transact_error(int error);

/* Runs the transaction, prints a message that names `path` on failure, and frees the transaction.
 * Returns an exit status. */
int transact_do(int dir, const char *path, Cfs__Txn *txn);

#endif
