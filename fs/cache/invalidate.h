/* SPDX-License-Identifier: Apache-2.0 */
/* What was changed in the tree, by us or by others, and what the kernel is to forget because of it.
 */
#ifndef FS_CACHE_INVALIDATE_H
#define FS_CACHE_INVALIDATE_H

#include "fs/request/call.h"

/* Loop thread: fs_changed and fs_replaced. Borrows. */
void invalidate_post(struct fs *fs, const Cfs__Change *const *changes, size_t n, bool own);
void invalidate_post_replaced(struct fs *fs);
/* Reader thread: makes the kernel forget everything. */
void invalidate_forget_all(struct fs *fs);

/* Reader thread: a call has come back. */
void invalidate_of_call(struct fs *fs, const struct call *c);

/* Does the store perhaps show what the news of are not delivered yet? */
bool invalidate_missing(struct fs *fs);
/* Wakes who waits for them (fs.for_news). */
void invalidate_turn(struct fs *fs);

#endif
