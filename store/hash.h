/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of rows, and their sum: the state hash. XXH3 (xxHash >= 0.8: its values are frozen).
 *
 * A row's canonical form is a sequence of 64-bit little-endian words: the table's number, the
 * number of fields, the fields, and the XXH3-128 of the row's bytes (a name, a value …). The state
 * hash is the sum of all rows' hashes modulo 2^128: it does not depend on their order, and a change
 * costs the change of one row. It detects accidents, not adversaries. Pure functions. */
#ifndef STORE_HASH_H
#define STORE_HASH_H

#include "store/store.h"

#define HASH_FIELDS_MAX 24

/* The numbers are part of the hash: never change one. */
enum hash_table {
    HASH_STATE = 1,
    HASH_SESSION = 2,
    HASH_REPLY = 3,
    HASH_INODE = 4,
    HASH_SYMLINK = 5,
    HASH_ORPHAN = 6,
    HASH_DIRENT = 7,
    HASH_BLOCK = 8,
    HASH_XATTR = 9,
    HASH_STAGED_WRITE = 10,
    HASH_LEASE = 40,
    HASH_LOCK = 41,
    HASH_WAITER = 42,
    HASH_SPECIAL = 43,
    HASH_QUOTA = 50,
    HASH_CHARGED = 51,
    HASH_HISTORY = 60,
    HASH_SETTING = 61,
};

struct store_hash hash_bytes(const void *data, size_t len);

/* 64 bits of it, for what needs a checksum only. */
uint64_t hash_sum64(const void *data, size_t len);

/* The same, piece by piece. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *h, const void *data, size_t len);
uint64_t hash_stream_end(struct hash_stream *h); /* frees */

/* The hash of a row; n <= HASH_FIELDS_MAX. `bytes` is hash_bytes of its bytes, zero without. */
struct store_hash hash_row(enum hash_table table, const uint64_t *fields, size_t n,
                           struct store_hash bytes);

void hash_add(struct store_hash *sum, struct store_hash h);
void hash_sub(struct store_hash *sum, struct store_hash h);
bool hash_equal(struct store_hash a, struct store_hash b);

/* The 16 bytes in which a hash is stored in the database. */
#define HASH_SIZE 16
void hash_encode(struct store_hash h, uint8_t out[HASH_SIZE]);
struct store_hash hash_decode(const uint8_t in[HASH_SIZE]);

#endif
