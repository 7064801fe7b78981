/* SPDX-License-Identifier: Apache-2.0 */
/* Commands as bytes. Pure functions; each gives a buffer. */
#ifndef PROTO_ENCODE_H
#define PROTO_ENCODE_H

#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/stamp.h"

struct buf encode_command(const Cfs__Command *command);

/* As it stands in the log: the stamp, then the command. */
struct buf encode_stamped(const struct stamp *stamp, const Cfs__Command *command);

/* What opens a member's session. nonce: of this attempt, never 0; ttl_ms: 0 stands for the default.
 */
struct buf encode_open_session(uint64_t nonce, uint64_t member, uint32_t ttl_ms);

struct buf encode_noop(void);

#endif
