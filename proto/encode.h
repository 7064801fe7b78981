/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes commands and copies a change. Pure functions; each gives its result. */
#ifndef PROTO_ENCODE_H
#define PROTO_ENCODE_H

#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/stamp.h"

struct buf encode_command(const Cfs__Command *command);

/* A copy of the change, to be freed with cfs__change__free_unpacked. */
Cfs__Change *encode_copy_change(const Cfs__Change *change);

/* Encodes a command as it is in the log: the stamp, then the command. */
struct buf encode_stamped(const struct stamp *stamp, const Cfs__Command *command);

/* Encodes the command that opens a member's session. nonce: of this attempt, never 0. ttl_ms: 0
 * means the default. */
struct buf encode_open_session(uint64_t nonce, uint64_t member, uint32_t ttl_ms);

struct buf encode_noop(void);

#endif
