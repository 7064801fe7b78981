/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a thread of this host. Any thread. */
#ifndef FS_KERNEL_TASK_H
#define FS_KERNEL_TASK_H

#include "base/base.h"

/* True if the thread sleeps where no signal reaches it (state D): it waits for a lock of the
 * kernel, or for a disk. tid 0: false. */
bool task_is_stuck(int tid);

#endif
