/* SPDX-License-Identifier: Apache-2.0 */
/* Ends sessions, and entries that have a limited life (store/special.h). proto/command.proto says
 * what each command does and answers. See store/op.h. */
#ifndef STORE_EXPIRE_H
#define STORE_EXPIRE_H

#include "store/op.h"

uint32_t expire_close(struct op *op);
uint32_t expire_session(struct op *op, const Cfs__ExpireSession *c);

uint32_t expire_release(struct op *op, const Cfs__ReleaseEphemeral *c);
uint32_t expire_entries(struct op *op, const Cfs__ExpireEntries *c);

/* Ends a session. Releases its locks and grants those that others waited for; drops its staged
 * writes and its ephemeral entries; deletes the session and its replies. Frees `session`. */
void expire_end(struct op *op, struct session *session);

#endif
