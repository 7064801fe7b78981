/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/ioctl_buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

struct ioctl_buffer *ioctl_buffer_new(size_t *total)
{
    struct ioctl_buffer *x = xcalloc(1, sizeof(*x));

    x->total = total;
    return x;
}

static void drop(struct ioctl_buffer *x, struct buf *b)
{
    *x->total -= b->len;
    buf_fini(b);
}

void ioctl_buffer_free(struct ioctl_buffer *x)
{
    if (x == NULL)
        return;
    drop(x, &x->request);
    drop(x, &x->reply);
    free(x);
}

int ioctl_buffer_add(struct ioctl_buffer *x, const void *data, size_t len, bool root)
{
    int error = 0;

    if (len > LIMIT_COMMAND_MAX - x->request.len)
        error = E2BIG;
    else if (!root && *x->total + len > LIMIT_EXCHANGES)
        error = ENOBUFS;
    if (error != 0) {
        drop(x, &x->request);
        return error;
    }
    buf_append(&x->request, data, len);
    *x->total += len;
    return 0;
}

struct buf ioctl_buffer_take(struct ioctl_buffer *x)
{
    *x->total -= x->request.len;
    return buf_take(&x->request);
}

void ioctl_buffer_answer(struct ioctl_buffer *x, struct buf *reply)
{
    drop(x, &x->reply);
    x->reply = buf_take(reply);
    x->given = 0;
    *x->total += x->reply.len;
}

size_t ioctl_buffer_next(struct ioctl_buffer *x, void *out, size_t size)
{
    size_t n = min_u64(size, x->reply.len - x->given);

    if (n > 0)
        memcpy(out, x->reply.data + x->given, n);
    x->given += n;
    if (x->given == x->reply.len) {
        drop(x, &x->reply);
        x->given = 0;
    }
    return n;
}
