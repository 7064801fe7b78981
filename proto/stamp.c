/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stamp.h"

#include <endian.h>
#include <string.h>

#define STAMP_VERSION 1

static void put_u64(uint8_t *at, uint64_t value)
{
    uint64_t wire = htole64(value);

    memcpy(at, &wire, sizeof wire);
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t wire;

    memcpy(&wire, at, sizeof wire);
    return le64toh(wire);
}

void stamp_encode(const struct stamp *s, uint8_t out[STAMP_SIZE])
{
    memset(out, 0, 8);
    out[0] = STAMP_VERSION;
    put_u64(out + 8, s->session);
    put_u64(out + 16, s->seq);
    put_u64(out + 24, s->acked);
    put_u64(out + 32, (uint64_t)s->time_ns);
}

bool stamp_decode(const uint8_t *data, size_t len, struct stamp *out)
{
    static const uint8_t reserved[7];

    if (len < STAMP_SIZE || data[0] != STAMP_VERSION)
        return false;
    if (memcmp(data + 1, reserved, sizeof reserved) != 0)
        return false;
    out->session = get_u64(data + 8);
    out->seq = get_u64(data + 16);
    out->acked = get_u64(data + 24);
    out->time_ns = (int64_t)get_u64(data + 32);
    return out->session == 0 || out->acked < out->seq;
}
