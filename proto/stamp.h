/* SPDX-License-Identifier: Apache-2.0 */
/* The stamp: 40 bytes in front of every Command in the log, little endian.
 *
 *   0  u8   version   1
 *   1  7 B            zero
 *   8  u64  session   of the sender; 0 only for OpenSession, which has no session yet
 *  16  u64  seq       1, 2, 3 … within the session  24  u64  acked     the session has received the
 * replies up to this seq: they may be forgotten  32  i64  time_ns   wall clock of the sending
 * member, nanoseconds since the epoch
 *
 * The duplicate check reads the stamp without decoding the command. Pure functions. */
#ifndef PROTO_STAMP_H
#define PROTO_STAMP_H

#include "base/base.h"

#define STAMP_SIZE 40

struct stamp {
    uint64_t session;
    uint64_t seq;
    uint64_t acked;
    int64_t time_ns;
};

void stamp_encode(const struct stamp *s, uint8_t out[STAMP_SIZE]);

/* False if the bytes are not a stamp: too short, another version, non-zero bytes where zeros
 * belong, or acked >= seq in a session. */
BASE_MUST_USE bool stamp_decode(const uint8_t *data, size_t len, struct stamp *out);

#endif
