/* SPDX-License-Identifier: Apache-2.0 */
/* The stamp: the fixed 40 bytes in front of every Command in the log (little endian).
 *
 *   0  u8   version (1)
 *   1  7 B  zero
 *   8  u64  session   who sent it (0: not of a session; only OpenSession)
 *  16  u64  seq       1, 2, 3 … within the session
 *  24  u64  acked     the session has received the replies up to here: they may be forgotten
 *  32  i64  time_ns   wall clock of the member that sent it, nanoseconds since the epoch
 *
 * It can be read without decoding the command: the duplicate check needs no more.
 * Pure functions. */
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

/* False when the bytes are no stamp (too short, another version, something where zeros belong,
 * acked >= seq in a session). */
BASE_MUST_USE bool stamp_decode(const uint8_t *data, size_t len, struct stamp *out);

#endif
