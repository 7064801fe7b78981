/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: the layout of messages in a byte stream.
 *
 *   0  u32  length of the payload, 1 … FRAME_MAX   (little endian)
 *   4  u32  checksum: the low half of the payload's XXH3-64
 *   8       payload
 *
 * The checksum detects bugs and broken hardware. It is no protection against an attacker; TLS is.
 * Pure functions on the caller's memory; not thread-safe. */
#ifndef RAFT_FRAME_H
#define RAFT_FRAME_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/limits.h"

#define FRAME_HEADER 8
#define FRAME_MAX    LIMIT_FRAME_MAX

/* Writes the header of this payload (1 … FRAME_MAX bytes). Borrows. */
void frame_header(uint8_t out[FRAME_HEADER], const uint8_t *payload, size_t len);

/* Cuts a stream into payloads. The caller's sequence: get room (frame_reader_room), put bytes
 * there, call frame_reader_filled, then call frame_reader_next while it returns 1. The reader holds
 * one frame of at most `max` bytes, plus FRAME_READ bytes. */
struct frame_reader {
    struct buf in;
    size_t at;  /* in.data[at] is the first byte not yet returned */
    size_t max; /* limit of a payload, in bytes; may be raised between two calls */
};

#define FRAME_READ (64u << 10) /* bytes that each read can take, at least */

void frame_reader_init(struct frame_reader *r, size_t max);
void frame_reader_fini(struct frame_reader *r);

/* Gives a place for the next bytes, of at least FRAME_READ bytes. Invalidates the last payload. */
void frame_reader_room(struct frame_reader *r, uint8_t **at, size_t *len);
void frame_reader_filled(struct frame_reader *r, size_t len);

/* Returns 1 and a payload (borrowed until the next frame_reader_room), or 0 if more bytes are
 * needed. Errors are permanent: -EMSGSIZE (length 0 or beyond max), -EBADMSG (wrong checksum). */
BASE_MUST_USE int frame_reader_next(struct frame_reader *r, const uint8_t **payload, size_t *len);

#endif
