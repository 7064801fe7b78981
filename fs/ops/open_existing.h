/* SPDX-License-Identifier: Apache-2.0 */
/* Decides whether the caller may open a file that exists. The kernel decides that itself
 * (default_permissions), except for a CREATE that turns out to open a file which another host has
 * just made: the kernel then takes the file for new and checks nothing.
 *
 * The rules are those of a local filesystem: mode, access ACL, capabilities, and
 * fs.protected_regular.
 *
 * Reader thread only. */
#ifndef FS_OPS_OPEN_EXISTING_H
#define FS_OPS_OPEN_EXISTING_H

#include "fs/state.h"

/* flags: of open(2) with O_CREAT, without O_EXCL. attr: the existing entry in directory `parent`.
 * Returns 0 or a positive errno; EINTR for an entry that only the kernel can open (a symbolic link,
 * a fifo …): the program tries again. */
int open_existing_error(struct fs *fs, fuse_req_t req, uint64_t parent, const Cfs__Attr *attr,
                        int flags);

#endif
