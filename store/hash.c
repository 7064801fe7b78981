/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hash.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct store_hash from_xxh(XXH128_hash_t h)
{
    return (struct store_hash){h.low64, h.high64};
}

struct store_hash hash_bytes(const void *data, size_t len)
{
    return from_xxh(XXH3_128bits(data, len));
}

uint64_t hash_sum64(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

struct hash_stream {
    XXH3_state_t *state;
};

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *h = xmalloc(sizeof *h);

    h->state = XXH3_createState(); /* needs more alignment than malloc gives */
    check(h->state != NULL && XXH3_64bits_reset(h->state) == XXH_OK);
    return h;
}

void hash_stream_add(struct hash_stream *h, const void *data, size_t len)
{
    check(XXH3_64bits_update(h->state, data, len) == XXH_OK);
}

uint64_t hash_stream_end(struct hash_stream *h)
{
    uint64_t sum = XXH3_64bits_digest(h->state);

    XXH3_freeState(h->state);
    free(h);
    return sum;
}

struct store_hash hash_row(enum hash_table table, const uint64_t *fields, size_t n,
                           struct store_hash bytes)
{
    uint64_t words[HASH_FIELDS_MAX + 4];
    size_t used = 0;

    check(n <= HASH_FIELDS_MAX);
    words[used++] = htole64((uint64_t)table);
    words[used++] = htole64(n);
    for (size_t i = 0; i < n; i++)
        words[used++] = htole64(fields[i]);
    words[used++] = htole64(bytes.low);
    words[used++] = htole64(bytes.high);
    return from_xxh(XXH3_128bits(words, used * sizeof words[0]));
}

void hash_add(struct store_hash *sum, struct store_hash h)
{
    sum->low += h.low;
    sum->high += h.high + (sum->low < h.low ? 1 : 0);
}

void hash_sub(struct store_hash *sum, struct store_hash h)
{
    uint64_t borrow = sum->low < h.low ? 1 : 0;

    sum->low -= h.low;
    sum->high -= h.high + borrow;
}

bool hash_equal(struct store_hash a, struct store_hash b)
{
    return a.low == b.low && a.high == b.high;
}

void hash_encode(struct store_hash h, uint8_t out[HASH_SIZE])
{
    uint64_t words[2] = {htole64(h.low), htole64(h.high)};

    memcpy(out, words, sizeof words);
}

struct store_hash hash_decode(const uint8_t in[HASH_SIZE])
{
    uint64_t words[2];

    memcpy(words, in, sizeof words);
    return (struct store_hash){le64toh(words[0]), le64toh(words[1])};
}
