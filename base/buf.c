/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_EMPTY;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->len + more;
    size_t cap = b->cap > 0 ? b->cap : 64;

    check(need >= more && need <= SIZE_MAX / 2); /* doubling must get there */
    if (need <= b->cap)
        return;
    while (cap < need)
        cap *= 2;
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    buf_reserve(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    check(len >= 0);
    buf_reserve(b, (size_t)len + 1);
    vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, again);
    va_end(again);
    b->len += (size_t)len;
}

struct buf buf_take(struct buf *b)
{
    struct buf taken = *b;

    *b = (struct buf)BUF_EMPTY;
    return taken;
}

struct buf buf_copy(const void *data, size_t len)
{
    struct buf b = BUF_EMPTY;

    buf_append(&b, data, len);
    return b;
}
