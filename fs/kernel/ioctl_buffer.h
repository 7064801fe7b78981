/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that are too long for one ioctl (proto/ioctl.h): the parts of the request that an open
 * file has sent so far, and the rest of the reply. A program can make us keep them as long as it
 * likes, so all of them together are bounded; root is not limited by what others keep.
 *
 * Reader thread only. */
#ifndef FS_KERNEL_IOCTL_BUFFER_H
#define FS_KERNEL_IOCTL_BUFFER_H

#include "base/buf.h"

struct ioctl_buffer {
    struct buf request;
    struct buf reply;
    size_t given; /* bytes of the reply */
    size_t *total;
};

/* total: the counter of the bytes of all buffers; must outlive the buffer. */
struct ioctl_buffer *ioctl_buffer_new(size_t *total);
/* NULL is nothing. */
void ioctl_buffer_free(struct ioctl_buffer *x);

/* Appends to the request. Returns 0, E2BIG or ENOBUFS; on an error the request is empty. */
int ioctl_buffer_add(struct ioctl_buffer *x, const void *data, size_t len, bool root);
/* Gives the request; the buffer then has none. */
struct buf ioctl_buffer_take(struct ioctl_buffer *x);

/* Takes the reply, in place of one that was not fetched. */
void ioctl_buffer_answer(struct ioctl_buffer *x, struct buf *reply);
/* Copies the next bytes of the reply, `size` at most; drops the reply when that was all. */
size_t ioctl_buffer_next(struct ioctl_buffer *x, void *out, size_t size);

#endif
