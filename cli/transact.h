/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions from a program: over the ioctls of proto/ioctl.h. */
#ifndef CLI_TRANSACT_H
#define CLI_TRANSACT_H

#include "base/base.h"
#include "proto/command.pb-c.h"

/* ---- Making them: all memory is the transaction's, free it with cfs__txn__free_unpacked
 * --------*/

Cfs__Txn *transact_new(void);
/* A step more; path: copied. Its operation is the caller's to set: a message made with
 * transact_op. */
Cfs__TxnStep *transact_step(Cfs__Txn *txn, const char *path);
/* A zeroed message of that type. */
void *transact_op(const ProtobufCMessageDescriptor *type);
ProtobufCBinaryData transact_bytes(const void *data, size_t len);

/* The steps that several commands want. */
Cfs__TxnCheck *transact_check(Cfs__Txn *txn, const char *path, Cfs__TxnCheck__Kind kind,
                              uint64_t version);
Cfs__TxnPut *transact_put(Cfs__Txn *txn, const char *path, const void *data, size_t len);
Cfs__Unlink *transact_remove(Cfs__Txn *txn, const char *path, bool directory);

/* ---- Running them -----------------------------------------------------------------------------*/

/* Relative paths begin at fd's directory. The reply (gives: cfs__reply__free_unpacked), or NULL
 * with errno: whether the transaction was or will be made is not known after EINTR, ETIMEDOUT. */
Cfs__Reply *transact_run(int fd, const Cfs__Txn *txn);

/* Why the step failed, as a sentence's end: "version is 9, not 7". Gives. */
char *transact_why(const Cfs__TxnStep *step, const Cfs__StepReply *reply);
/* Does this outcome mean that a condition does not hold? */
bool transact_is_mismatch(const Cfs__Txn *txn, const Cfs__Reply *reply);
/* "…: whether it was made is not known" or strerror; a static string. */
const char *transact_error(int error);

/* Runs the transaction, says what went wrong (naming the path), and frees it. An exit status. */
int transact_do(int dir, const char *path, Cfs__Txn *txn);

#endif
