/* Messages that are too long for one ioctl (proto/ioctl.h): what an open file's parts have made up
 * so far, and what is left of the reply. A program can make us keep them as long as it likes, so
 * there is a bound on all of them together; root is not bound by what others keep.
 *
 * Reader thread only. */
#ifndef FS_EXCHANGE_H
#define FS_EXCHANGE_H

#include "base/buf.h"

struct exchange {
    struct buf request;
    struct buf reply;
    size_t given; /* of the reply */
    size_t *total;
};

/* total: bytes of all that are kept, where they are counted; outlives the exchange. */
struct exchange *exchange_new(size_t *total);
/* NULL is nothing. */
void exchange_free(struct exchange *x);

/* Appends to the request. 0, E2BIG or ENOBUFS: the request is empty then. */
int exchange_add(struct exchange *x, const void *data, size_t len, bool root);
/* Gives the request; the exchange has none any more. */
struct buf exchange_take(struct exchange *x);

/* Takes the reply, in place of one that was not fetched. */
void exchange_answer(struct exchange *x, struct buf *reply);
/* Copies the next bytes of the reply, `size` at most; forgets it when that was all. */
size_t exchange_next(struct exchange *x, void *out, size_t size);

#endif
