/* SPDX-License-Identifier: Apache-2.0 */
/* May the caller open a file that exists? The kernel answers that itself (default_permissions),
 * except for a CREATE that turns out to be the opening of a file which another host has just made:
 * the kernel takes the file for new then, and checks nothing.
 *
 * As a local filesystem: mode, access ACL, capabilities, and fs.protected_regular.
 *
 * Reader thread only. */
#ifndef FS_OPS_OPEN_EXISTING_H
#define FS_OPS_OPEN_EXISTING_H

#include "fs/state.h"

/* flags: of open(2) with O_CREAT, without O_EXCL. attr: of what is there, in directory `parent`.
 * 0 or a positive errno; EINTR for what only the kernel can open (a symbolic link, a fifo …): the
 * program tries again. */
int open_existing_error(struct fs *fs, fuse_req_t req, uint64_t parent, const Cfs__Attr *attr,
                        int flags);

#endif
