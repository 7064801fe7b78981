#include "fs/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

struct exchange *exchange_new(size_t *total)
{
    struct exchange *x = xcalloc(1, sizeof(*x));

    x->total = total;
    return x;
}

static void drop(struct exchange *x, struct buf *b)
{
    *x->total -= b->len;
    buf_fini(b);
}

void exchange_free(struct exchange *x)
{
    if (x == NULL)
        return;
    drop(x, &x->request);
    drop(x, &x->reply);
    free(x);
}

int exchange_add(struct exchange *x, const void *data, size_t len, bool root)
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

struct buf exchange_take(struct exchange *x)
{
    *x->total -= x->request.len;
    return buf_take(&x->request);
}

void exchange_answer(struct exchange *x, struct buf *reply)
{
    drop(x, &x->reply);
    x->reply = buf_take(reply);
    x->given = 0;
    *x->total += x->reply.len;
}

size_t exchange_next(struct exchange *x, void *out, size_t size)
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
