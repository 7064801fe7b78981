/* SPDX-License-Identifier: Apache-2.0 */
/* A growable byte buffer. Invariant: len <= cap; data is NULL iff cap is 0.
 * Not thread-safe. {0} is an empty buffer. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/base.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BUF_EMPTY                                                                                  \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

void buf_fini(struct buf *b); /* frees the bytes; b is empty again */

/* Allocates room for `more` bytes behind len. Does not change len. */
void buf_reserve(struct buf *b, size_t more);

void buf_append(struct buf *b, const void *data, size_t len); /* borrows data */
BASE_PRINTF(2, 3) void buf_printf(struct buf *b, const char *fmt, ...);

/* Moves the content out: returns it, and b is empty again. */
struct buf buf_take(struct buf *b);

/* A new buffer with a copy of `len` bytes. */
struct buf buf_copy(const void *data, size_t len);

#endif
