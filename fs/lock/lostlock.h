/* SPDX-License-Identifier: Apache-2.0 */
/* The mount option lostlock: what becomes of the processes that have a file open whose lock was
 * lost. */
#ifndef FS_LOCK_LOSTLOCK_H
#define FS_LOCK_LOSTLOCK_H

#include "fs/fs.h"

/* Sends a signal to each process that has one of the files open through the mount with this id, on
 * a thread of its own: looking for them takes long. NONE: does nothing. Never to ourselves. */
void lostlock_punish(enum fs_lostlock how, int mount_id, const uint64_t *inos, size_t n);

#endif
