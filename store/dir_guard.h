/* SPDX-License-Identifier: Apache-2.0 */
/* Guarded directories: below one, nothing is changed but by a session that holds, at that index of
 * the log, the exclusive lock (flock, or POSIX on the whole) on the guard's lock file. So a holder
 * that was paused or cut off, and has lost the lock, cannot damage what it protects.
 *
 * Below it is: its entries, and the content and attributes of whatever has a name in it or further
 * down; not the directory itself, so a guard can be removed even when its lock file is gone (then
 * nobody can hold the lock, and all changes are refused). With several guards on the way up, all
 * must be held. What the state machine does by itself (expiries …) is not subject to guards.
 * See store/op.h. */
#ifndef STORE_DIR_GUARD_H
#define STORE_DIR_GUARD_H

#include "store/op.h"

/* May the session carry this command out? 0 or EACCES. Not for transactions, whose steps are
 * commands. */
uint32_t dir_guard_check(struct op *op, const Cfs__Command *c);

/* The inode of the lock file that a guard of directory `dir` shall have, by its path: 0 or EINVAL.
 */
uint32_t dir_guard_find_lock(struct op *op, const struct inode *dir, struct bytes path,
                             uint64_t *out);

#endif
