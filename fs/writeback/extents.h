/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a file's content that are not committed yet: first perhaps a truncation to nothing,
 * then writes in their order. Pure data, not thread-safe. {0} is an empty patch. */
#ifndef FS_WRITEBACK_EXTENTS_H
#define FS_WRITEBACK_EXTENTS_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"

struct extent {
    uint64_t offset;
    struct buf data;
};

struct extents {
    bool truncate;
    bool kill_suid;
    struct extent *extents;
    size_t n, cap;
    size_t bytes; /* of all extents */
};

void extents_fini(struct extents *p);
static inline bool extents_empty(const struct extents *p)
{
    return !p->truncate && p->n == 0;
}

void extents_truncate(struct extents *p); /* drops the writes before it */
/* Copies the data. A write that begins where the last one ended becomes part of it, if `join`. */
void extents_write(struct extents *p, uint64_t offset, const void *data, size_t len, bool join);
/* Drops the last extents, so that n are left; without any, nothing is truncated either. */
void extents_cut(struct extents *p, size_t n);
/* Puts `earlier` before what is in p; takes its content. */
void extents_prepend(struct extents *p, struct extents *earlier);

/* The file's size with the patch, when it is `size` without. */
uint64_t extents_size(const struct extents *p, uint64_t size);
/* Lays the patch over len bytes of content from offset on. */
void extents_overlay(const struct extents *p, uint64_t offset, uint8_t *out, size_t len);

/* The patch cut to pieces, each within the limits of one log entry: fn is called for each in order,
 * with a Write that is its own but for the inode; borrowed for the call. At least once. What the
 * patch truncates and drops is said by the last piece, without which the others have no effect
 * (fs/writeback/writeback.c stages them). */
void extents_commands(const struct extents *p, void (*fn)(void *arg, Cfs__Write *write), void *arg);
size_t extents_n_commands(const struct extents *p);

#endif
