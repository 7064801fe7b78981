/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2) and umount(2) of our filesystem type. */
#ifndef FS_KERNEL_MOUNT_H
#define FS_KERNEL_MOUNT_H

#include "base/base.h"
#include "fs/fs.h"

#define MOUNT_TYPE "fuse.coordfs"

/* Mounts dev_fd (an open /dev/fuse). First unmounts what dead daemons left at the mountpoint.
 * Returns 0 and in *id the mount's id in /proc/self/mountinfo, or -errno and one line in errmsg
 * (see fs_mount). Never waits for an answer of the filesystem that it mounts. */
int mount_open(const struct fs_options *options, int dev_fd, int *id, char *errmsg,
               size_t errmsg_len);

/* Unmounts the mount with that id if it still exists, also after it was moved. The connection must
 * be closed first, so that nothing waits for an answer. */
void mount_close(int id);

/* The minor number of the mount's device, or -1. */
int mount_device(int id);

/* True if something is mounted on a directory of this mount. */
bool mount_has_submounts(int id);

/* True if the mount is read-only now (it may have been remounted). Asks the kernel, not the
 * filesystem. */
bool mount_is_read_only(int id);

#endif
