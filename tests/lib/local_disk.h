/* SPDX-License-Identifier: Apache-2.0 */
/* An ext4 filesystem on a loop device, to compare with: the same reference on every machine,
 * independent of the filesystem at TMPDIR. It is mounted in a new mount namespace of the calling
 * process. When the process ends, in any way, the mount and the loop device are gone. Needs root.
 */
#ifndef TESTS_LIB_LOCAL_DISK_H
#define TESTS_LIB_LOCAL_DISK_H

#include "base/base.h"

#define LOCAL_DISK_PATH 100

/* Mounts it and writes its path to dir; the filesystem is empty (no lost+found). Call it once in a
 * process, while the process has one thread. False: impossible on this machine; the cause is on
 * standard error. */
bool local_disk_mount(char dir[LOCAL_DISK_PATH]);

/* Unmounts it and removes dir. */
void local_disk_unmount(const char *dir);

#endif
