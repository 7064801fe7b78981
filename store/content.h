/* SPDX-License-Identifier: Apache-2.0 */
/* The content of regular files: blocks of 16 KiB. A block that is not there is a hole; one that is
 * short has zeros behind it. Invariants: no stored byte lies at or past the file's size, so that a
 * file that grows again shows zeros; no block is empty.
 *
 * 16 KiB: a small append rewrites one block, so a block is what an append of one line costs in
 * the write-ahead log; a large read costs one row per block. */
#ifndef STORE_CONTENT_H
#define STORE_CONTENT_H

#include "proto/limits.h"
#include "store/row.h"

#define CONTENT_BLOCK      16384u
#define CONTENT_INDEX_BITS 20 /* a block's id: ino << CONTENT_INDEX_BITS | index */
#define CONTENT_INO_MAX    (((uint64_t)1 << (63 - CONTENT_INDEX_BITS)) - 1) /* ids are signed */

_Static_assert((uint64_t)LIMIT_FILE_MAX <= (uint64_t)CONTENT_BLOCK << CONTENT_INDEX_BITS,
               "a file's blocks have room in their ids");

static inline uint64_t content_id(uint64_t ino, uint64_t index)
{
    return ino << CONTENT_INDEX_BITS | index;
}

/* Writes bytes at offset; the file ends at offset + len or later. Both keep inode's size and
 * stored up to date; the caller writes the row. */
void content_write(struct rows *r, struct inode *inode, uint64_t offset, struct bytes data);
void content_truncate(struct rows *r, struct inode *inode, uint64_t size); /* shorter or longer */
/* Makes [from, to) zeros, stored as holes as far as that can be; the size stays. */
void content_clear(struct rows *r, struct inode *inode, uint64_t from, uint64_t to);

/* What is stored of a block, into out: its length; 0: a hole. */
size_t content_load(struct rows *r, uint64_t ino, uint64_t index, uint8_t out[CONTENT_BLOCK]);
/* The length only. */
size_t content_stored(struct rows *r, uint64_t ino, uint64_t index);
/* What content_clear leaves of a block of which `len` bytes are stored. Pure. */
size_t content_cleared(size_t len, uint64_t index, uint64_t from, uint64_t to);

/* XXH3-64 of the whole content, holes as zeros. */
uint64_t content_xxh3(struct rows *r, const struct inode *inode);

/* By how many bytes `inode->stored` would grow by these writes, after a truncation to 0 if
 * `truncate`: exactly, and possibly less than 0. Writes must be within the limits. */
struct content_range {
    uint64_t offset;
    uint64_t len;
};
int64_t content_growth(struct rows *r, const struct inode *inode, bool truncate,
                       const struct content_range *writes, size_t n);

#endif
