/* SPDX-License-Identifier: Apache-2.0 */
/* The content of regular files, in blocks of 16 KiB. A missing block is a hole. A short block is
 * followed by zeros. Invariants: no stored byte lies at or beyond the file's size, so a file that
 * grows again shows zeros; no block is empty.
 *
 * Why 16 KiB: a small append rewrites one block, so the block size is what appending a line costs
 * in the write-ahead log. A large read costs one row per block. */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "proto/limits.h"
#include "store/row.h"

#define CONTENT_BLOCK      16384u
#define CONTENT_INDEX_BITS 20 /* a block's id: ino << CONTENT_INDEX_BITS | index */
/* SQLite's row ids are signed */
#define CONTENT_INO_MAX (((uint64_t)1 << (63 - CONTENT_INDEX_BITS)) - 1)

_Static_assert((uint64_t)LIMIT_FILE_MAX <= (uint64_t)CONTENT_BLOCK << CONTENT_INDEX_BITS,
               "a file's blocks have room in their ids");

static inline uint64_t content_id(uint64_t ino, uint64_t index)
{
    return ino << CONTENT_INDEX_BITS | index;
}

/* Writes bytes at offset; afterwards the file ends at offset + len or later. Both functions update
 * inode->size and inode->stored; the caller saves the row. */
void content_write(struct rows *r, struct inode *inode, uint64_t offset, struct bytes data);
void content_truncate(struct rows *r, struct inode *inode, uint64_t size); /* shortens or extends */
/* Makes the range [from, to) zeros, stored as holes where possible. The size stays. */
void content_clear(struct rows *r, struct inode *inode, uint64_t from, uint64_t to);

/* Copies the stored bytes of a block to out and returns their number; 0: a hole. */
size_t content_load(struct rows *r, uint64_t ino, uint64_t index, uint8_t out[CONTENT_BLOCK]);
/* Returns the same number without copying. */
size_t content_stored(struct rows *r, uint64_t ino, uint64_t index);
/* Returns how many of a block's `len` stored bytes content_clear leaves. Pure. */
size_t content_cleared(size_t len, uint64_t index, uint64_t from, uint64_t to);

/* XXH3-64 of the whole content; holes count as zeros. */
uint64_t content_xxh3(struct rows *r, const struct inode *inode);

/* Returns by how many bytes these writes would change `inode->stored`, after a truncation to 0 if
 * `truncate` is set: an exact number, which may be negative. The writes must be within the limits.
 */
struct content_range {
    uint64_t offset;
    uint64_t len;
};
int64_t content_growth(struct rows *r, const struct inode *inode, bool truncate,
                       const struct content_range *writes, size_t n);

#endif
