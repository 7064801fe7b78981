/* SPDX-License-Identifier: Apache-2.0 */
/* Decides what the kernel must forget because of a change, by this host or by others.
 *
 * Reader thread only. */
#ifndef FS_CACHE_INVALIDATE_H
#define FS_CACHE_INVALIDATE_H

#include "base/base.h"
#include "proto/command.pb-c.h"

struct fs;

/* Invalidates everything that the change makes stale. own: this host's session made it, and the
 * kernel may know it. */
void invalidate_change(struct fs *fs, const Cfs__Change *c, bool own);
/* Invalidates everything. */
void invalidate_forget_all(struct fs *fs);

/* True if the store may show changes that were not delivered here yet. */
bool invalidate_missing(struct fs *fs);
/* Wakes the requests that wait for them (fs.for_news). */
void invalidate_turn(struct fs *fs);

#endif
