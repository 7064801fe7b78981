/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: how messages lie in a byte stream.
 *
 *   0  u32  length of the payload, 1 … FRAME_MAX   (little endian)
 *   4  u32  checksum: the low half of the payload's XXH3-64
 *   8       payload
 *
 * The checksum is against bugs and broken hardware, not against people (TLS is).
 * Pure functions and caller's memory; not thread-safe. */
#ifndef RAFT_FRAME_H
#define RAFT_FRAME_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/limits.h"

#define FRAME_HEADER 8
#define FRAME_MAX    LIMIT_FRAME_MAX

/* The header of this payload (1 … FRAME_MAX bytes). Borrows. */
void frame_header(uint8_t out[FRAME_HEADER], const uint8_t *payload, size_t len);

/* Cuts a stream into payloads. The caller's sequence: frame_reader_room, put bytes there,
 * frame_reader_filled, then frame_reader_next until it does not return 1.
 * It holds one frame of at most `max` bytes, plus FRAME_READ bytes. */
struct frame_reader {
    struct buf in;
    size_t at;  /* in.data[at] is the first byte that was not given out */
    size_t max; /* bytes of a payload; may be raised between two calls */
};

#define FRAME_READ (64u << 10) /* bytes offered to each read, at least */

void frame_reader_init(struct frame_reader *r, size_t max);
void frame_reader_fini(struct frame_reader *r);

/* Where the next bytes may go, at least FRAME_READ of them. Ends the last payload's life. */
void frame_reader_room(struct frame_reader *r, uint8_t **at, size_t *len);
void frame_reader_filled(struct frame_reader *r, size_t len);

/* 1 and a payload (borrowed until the next frame_reader_room), 0 when more bytes are needed, or
 * for ever -EMSGSIZE (length 0 or beyond max) or -EBADMSG (checksum). */
BASE_MUST_USE int frame_reader_next(struct frame_reader *r, const uint8_t **payload, size_t *len);

#endif
