/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2) and umount(2) of our filesystem type. */
#ifndef FS_KERNEL_MOUNT_H
#define FS_KERNEL_MOUNT_H

#include "base/base.h"
#include "fs/fs.h"

#define MOUNT_TYPE "fuse.coordfs"

/* Mounts dev_fd (an open /dev/fuse). Left-overs at the mountpoint whose daemon is dead are
 * unmounted first. 0 and in *id the mount's id in /proc/self/mountinfo, or -errno and a line in
 * errmsg (see fs_mount). Never waits for an answer of the filesystem that it mounts. */
int mount_open(const struct fs_options *options, int dev_fd, int *id, char *errmsg,
               size_t errmsg_len);

/* Unmounts the mount with that id, wherever it was moved to, if it still exists. The connection
 * must be closed: so nothing can wait for an answer. */
void mount_close(int id);

/* The minor number of its device, or -1. */
int mount_device(int id);

/* Is something mounted on a directory of it? */
bool mount_has_submounts(int id);

/* Is it read-only just now (it may have been remounted)? Asks the kernel, not the filesystem. */
bool mount_is_read_only(int id);

#endif
