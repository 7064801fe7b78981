/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of rows, and their sum, the state hash. XXH3 (xxHash >= 0.8, whose values are frozen).
 *
 * A row's canonical form is a sequence of 64-bit little-endian words: the number of the table, the
 * number of fields, the fields, and the XXH3-128 of the row's bytes (a name, a value). The state
 * hash is the sum of all row hashes modulo 2^128. So it does not depend on the order of rows, and
 * changing a row costs two additions. It detects accidents, not attackers. Pure functions. */
#ifndef STORE_HASH_H
#define STORE_HASH_H

#include "store/store.h"

#define HASH_FIELDS_MAX 24

/* These numbers are hashed: never change one. */
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

/* XXH3-64 of the bytes, where a checksum of 64 bits is enough. */
uint64_t hash_sum64(const void *data, size_t len);

/* The same, computed piece by piece. */
struct hash_stream;
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *h, const void *data, size_t len);
uint64_t hash_stream_end(struct hash_stream *h); /* returns the hash and frees h */

/* Returns the hash of a row; n <= HASH_FIELDS_MAX. `bytes` is hash_bytes of the row's bytes; zero
 * if it has none. */
struct store_hash hash_row(enum hash_table table, const uint64_t *fields, size_t n,
                           struct store_hash bytes);

void hash_add(struct store_hash *sum, struct store_hash h);
void hash_sub(struct store_hash *sum, struct store_hash h);
bool hash_equal(struct store_hash a, struct store_hash b);

/* The database stores a hash in this many bytes. */
#define HASH_SIZE 16
void hash_encode(struct store_hash h, uint8_t out[HASH_SIZE]);
struct store_hash hash_decode(const uint8_t in[HASH_SIZE]);

#endif
