/* Changes to a file's content that are not committed yet: first perhaps a truncation to nothing,
 * then writes in their order. Pure data, not thread-safe. {0} is an empty patch. */
#ifndef FS_PATCH_H
#define FS_PATCH_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"

struct patch_extent {
    uint64_t offset;
    struct buf data;
};

struct patch {
    bool truncate;
    bool kill_suid;
    struct patch_extent *extents;
    size_t n, cap;
    size_t bytes; /* of all extents */
};

void patch_fini(struct patch *p);
static inline bool patch_empty(const struct patch *p)
{
    return !p->truncate && p->n == 0;
}

void patch_truncate(struct patch *p); /* drops the writes before it */
/* Copies the data. A write that begins where the last one ended becomes part of it, if `join`. */
void patch_write(struct patch *p, uint64_t offset, const void *data, size_t len, bool join);
/* Drops the last extents, so that n are left; without any, nothing is truncated either. */
void patch_cut(struct patch *p, size_t n);
/* Puts `earlier` before what is in p; takes its content. */
void patch_prepend(struct patch *p, struct patch *earlier);

/* The file's size with the patch, when it is `size` without. */
uint64_t patch_size(const struct patch *p, uint64_t size);
/* Lays the patch over len bytes of content from offset on. */
void patch_overlay(const struct patch *p, uint64_t offset, uint8_t *out, size_t len);

/* The patch cut to pieces, each within the limits of one log entry: fn is called for each in order,
 * with a Write that is its own but for the inode; borrowed for the call. At least once. What the
 * patch truncates and drops is said by the last piece, without which the others have no effect
 * (fs/draft.c stages them). */
void patch_commands(const struct patch *p, void (*fn)(void *arg, Cfs__Write *write), void *arg);
size_t patch_n_commands(const struct patch *p);

#endif
