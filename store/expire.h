/* SPDX-License-Identifier: Apache-2.0 */
/* The end of sessions, and of entries that end by themselves (store/special.h). What each command
 * does and answers is said in proto/command.proto. See store/op.h. */
#ifndef STORE_EXPIRE_H
#define STORE_EXPIRE_H

#include "store/op.h"

uint32_t expire_close(struct op *op);
uint32_t expire_session(struct op *op, const Cfs__ExpireSession *c);

uint32_t expire_release(struct op *op, const Cfs__ReleaseEphemeral *c);
uint32_t expire_entries(struct op *op, const Cfs__ExpireEntries *c);

/* Ends a session, whoever wants it: its locks go and those who waited for them are granted theirs,
 * what it has staged and its ephemeral entries go, then the session itself and its replies. Frees
 * it. */
void expire_end(struct op *op, struct session *session);

#endif
