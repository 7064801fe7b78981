/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a file's content that are not committed yet: an optional truncation to nothing, then
 * writes in order. Pure data, not thread-safe. {0} is empty. */
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
    Cfs__Kill kill;
    struct extent *extents;
    size_t n, cap;
    size_t bytes; /* bytes of all extents */
};

void extents_fini(struct extents *p);
static inline bool extents_empty(const struct extents *p)
{
    return !p->truncate && p->n == 0;
}

void extents_truncate(struct extents *p); /* drops the earlier writes */
/* Copies the data. With `join`, a write that begins where the last one ended becomes part of it. */
void extents_write(struct extents *p, uint64_t offset, const void *data, size_t len, bool join);
/* Drops the last extents, so that n are left. With n = 0 the truncation goes, too. */
void extents_cut(struct extents *p, size_t n);
/* Puts `earlier` before the changes in p; takes its content. */
void extents_prepend(struct extents *p, struct extents *earlier);

/* The size of the file with these changes; `size` is the size without them. */
uint64_t extents_size(const struct extents *p, uint64_t size);
/* Applies the changes to len bytes of content from offset on. */
void extents_overlay(const struct extents *p, uint64_t offset, uint8_t *out, size_t len);

/* Cuts the changes into pieces, each within the limits of one log entry. Calls fn for each in
 * order, at least once, with a complete Write except for the inode; borrowed for the call. The last
 * piece carries the truncation and what is dropped; without it the others have no effect
 * (fs/writeback/writeback.c stages them). */
void extents_commands(const struct extents *p, void (*fn)(void *arg, Cfs__Write *write), void *arg);
size_t extents_n_commands(const struct extents *p);

#endif
