/* SPDX-License-Identifier: Apache-2.0 */
/* The attributes of an inode as this host shows them, and how long the kernel may believe them.
 *
 * Content that is written but not committed changes the size that this host shows. The feature that
 * keeps such content is above this file: it lays its part over the attributes by `attr_overlay`.
 *
 * Reader thread only. */
#ifndef FS_INODE_ATTR_H
#define FS_INODE_ATTR_H

#include <fuse_lowlevel.h>

#include "base/base.h"
#include "proto/command.pb-c.h"

struct fs;

/* Seconds for which the kernel may keep names and attributes. It is told of every change, so the
 * time is long. A kernel that cannot invalidate all names at once (needed after a snapshot was
 * installed) gets a shorter time. */
#define ATTR_VALID_S       3600.0
#define ATTR_VALID_SHORT_S 60.0

/* Validity of the attributes in the answer to a change of an inode that the kernel knows. The
 * kernel takes them for the truth when the caller wakes up, even if it was told meanwhile of
 * another host's change. So they are valid for no time: the kernel asks again. (For answers to
 * GETATTR and LOOKUP the kernel compares which came first.) */
#define ATTR_UNSURE_S 0.0

/* fs.attr_overlay, set by fs.c. Both functions: reader thread. */
struct attr_overlay {
    /* Shows uncommitted content in the attributes. True if there is some. */
    bool (*show)(struct fs *fs, Cfs__Attr *attr);
    /* True if the inode has uncommitted content. */
    bool (*exists)(struct fs *fs, uint64_t ino);
};

/* The attributes of an inode that the kernel knows; for a removed directory, those that remain.
 * Returns 0 or a positive errno. */
int attr_get(struct fs *fs, uint64_t ino, Cfs__Attr *out);

/* Seconds for which the kernel may keep a name. */
double attr_name_valid_s(const struct fs *fs);
/* The same for this name: 0 while a thread walks its path again and has looked the name up. */
double attr_entry_valid_s(struct fs *fs, uint64_t parent, const char *name);
/* The same for attributes of this inode: 0 while it has uncommitted content. */
double attr_valid_s(struct fs *fs, uint64_t ino);

/* Fills in the part of a reply that describes an inode. */
void attr_entry(struct fs *fs, const Cfs__Attr *attr, struct fuse_entry_param *out);

#endif
