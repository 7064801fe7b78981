/* SPDX-License-Identifier: Apache-2.0 */
/* The mount option lostlock: signals to the processes that have a file open whose lock was lost. */
#ifndef FS_LOCK_LOSTLOCK_H
#define FS_LOCK_LOSTLOCK_H

#include "fs/fs.h"

/* Sends a signal to each process, except this one, that has one of the files open through the mount
 * with this id, on a thread of its own: the search takes long. NONE: does nothing. */
void lostlock_punish(enum fs_lostlock how, int mount_id, const uint64_t *inos, size_t n);

#endif
