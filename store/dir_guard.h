/* SPDX-License-Identifier: Apache-2.0 */
/* Guarded directories. Below a guarded directory, a session may change something only if it holds,
 * at that raft index, the exclusive lock on the guard's lock file (flock, or a POSIX lock on the
 * whole file). So a holder that was paused or cut off and has lost the lock cannot damage what the
 * lock protects.
 *
 * "Below" means: the entries of the directory, and the content and attributes of every inode that
 * has a name in it or further down. It does not mean the directory itself, so a guard can be
 * removed even if its lock file is gone. Until then no session can hold the lock, and all changes
 * are refused. If several directories on the way to the root have guards, the session must hold all
 * their locks. Changes that the state machine makes by itself (expiry) are not checked. See
 * store/op.h. */
#ifndef STORE_DIR_GUARD_H
#define STORE_DIR_GUARD_H

#include "store/op.h"

/* 0 or EACCES: may the session carry out this command? Not for transactions: their steps are
 * commands, which are checked one by one. */
uint32_t dir_guard_check(struct op *op, const Cfs__Command *c);

/* Finds the inode of the lock file with this path, for a guard of directory `dir`: 0 or EINVAL. */
uint32_t dir_guard_find_lock(struct op *op, const struct inode *dir, struct bytes path,
                             uint64_t *out);

#endif
