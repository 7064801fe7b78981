/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

/* A larger buffer is freed as soon as it is empty: after one large frame, a link must not keep its
 * maximum of memory permanently. */
#define KEEP_MAX (1u << 20)

static void put_u32(uint8_t *at, uint32_t value)
{
    uint32_t wire = htole32(value);

    memcpy(at, &wire, sizeof wire);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t wire;

    memcpy(&wire, at, sizeof wire);
    return le32toh(wire);
}

static uint32_t checksum(const uint8_t *payload, size_t len)
{
    return (uint32_t)XXH3_64bits(payload, len);
}

void frame_header(uint8_t out[FRAME_HEADER], const uint8_t *payload, size_t len)
{
    check(len > 0 && len <= FRAME_MAX);
    put_u32(out, (uint32_t)len);
    put_u32(out + 4, checksum(payload, len));
}

void frame_reader_init(struct frame_reader *r, size_t max)
{
    *r = (struct frame_reader){.max = max};
    check(max > 0 && max <= FRAME_MAX);
}

void frame_reader_fini(struct frame_reader *r)
{
    buf_fini(&r->in);
    r->at = 0;
}

static void compact(struct frame_reader *r)
{
    size_t left = r->in.len - r->at;

    if (left == 0 && r->in.cap > KEEP_MAX)
        buf_fini(&r->in);
    else if (left > 0 && r->at > 0)
        memmove(r->in.data, r->in.data + r->at, left);
    r->in.len = left;
    r->at = 0;
}

void frame_reader_room(struct frame_reader *r, uint8_t **at, size_t *len)
{
    size_t want = FRAME_READ;
    size_t whole;

    compact(r);
    if (r->in.len >= FRAME_HEADER) { /* make room for the rest of the frame */
        whole = FRAME_HEADER + (size_t)get_u32(r->in.data);
        if (whole <= FRAME_HEADER + r->max && whole > r->in.len + want)
            want = whole - r->in.len;
    }
    buf_reserve(&r->in, want);
    *at = r->in.data + r->in.len;
    *len = want;
}

void frame_reader_filled(struct frame_reader *r, size_t len)
{
    check(len <= r->in.cap - r->in.len);
    r->in.len += len;
}

int frame_reader_next(struct frame_reader *r, const uint8_t **payload, size_t *len)
{
    const uint8_t *frame = r->in.data + r->at;
    size_t have = r->in.len - r->at;
    size_t size;

    if (have < FRAME_HEADER)
        return 0;
    size = get_u32(frame);
    if (size == 0 || size > r->max)
        return -EMSGSIZE;
    if (have < FRAME_HEADER + size)
        return 0;
    if (checksum(frame + FRAME_HEADER, size) != get_u32(frame + 4))
        return -EBADMSG;
    *payload = frame + FRAME_HEADER;
    *len = size;
    r->at += FRAME_HEADER + size;
    return 1;
}
