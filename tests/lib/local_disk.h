/* SPDX-License-Identifier: Apache-2.0 */
/* An ext4 filesystem to compare with, on a loop device: the same reference on every machine,
 * whatever filesystem is at TMPDIR. It is mounted in a mount namespace that the calling process
 * gets: when the process ends, in whichever way, the mount and the loop device are gone. Root. */
#ifndef TESTS_LIB_LOCAL_DISK_H
#define TESTS_LIB_LOCAL_DISK_H

#include "base/base.h"

#define LOCAL_DISK_PATH 100

/* Mounts it and writes its path to dir; dir is empty (no lost+found). Once in a process, while it
 * has one thread. False: this machine cannot; the cause is on standard error. */
bool local_disk_mount(char dir[LOCAL_DISK_PATH]);

/* Unmounts it and removes dir. */
void local_disk_unmount(const char *dir);

#endif
