/* SPDX-License-Identifier: Apache-2.0 */
/* What was changed in the tree, by us or by others, and what the kernel is to forget because of it.
 *
 * Reader thread only. */
#ifndef FS_CACHE_INVALIDATE_H
#define FS_CACHE_INVALIDATE_H

#include "base/base.h"
#include "proto/command.pb-c.h"

struct fs;

/* Makes the kernel forget what the change makes stale. own: this host's session made it, and the
 * kernel may know of it. */
void invalidate_change(struct fs *fs, const Cfs__Change *c, bool own);
/* Makes the kernel forget everything. */
void invalidate_forget_all(struct fs *fs);

/* Does the store perhaps show what the news of are not delivered yet? */
bool invalidate_missing(struct fs *fs);
/* Wakes who waits for them (fs.for_news). */
void invalidate_turn(struct fs *fs);

#endif
