/* SPDX-License-Identifier: Apache-2.0 */
/* The xattrs user.coordfs.*: they are not stored as xattrs but show and set the special properties
 * of an inode (store/special.h). Values are text, without a newline.
 *
 *   ephemeral  "session" or "open". On an empty directory: what is created in it will be ephemeral.
 *   ttl        seconds, 1 … LIMIT_TTL_MAX
 *   container  "1"; of a directory
 *   guard      of a directory: the path of an existing lock file, a regular file. A path that
 *              begins with '/' starts at the root, another path at the directory. Symlinks are
 *              not followed. Reads as the file's current path from the root, or as "(deleted)".
 * read-only:
 *   owner      the member with whose session an ephemeral entry ends
 *   sequence   the next number that a directory gives to a sequential entry
 *   expires    seconds since the epoch at which the ttl ends, if it runs; as
 *              the wall clock said that the cluster's time began with (store/special.h)
 *
 * listxattr(2) lists the properties that a user has set or that were inherited, so they can be
 * found and copied. It does not list read-only ones, because copying them would fail.
 *
 * Handled elsewhere: quotas (store/quota.h); the numbers version … children_modified (Cfs__Attr);
 * fence (reader_fence).
 *
 * Errors: EINVAL: a bad value, or an inode that cannot have the property (the root, a file with
 * several names; for ephemeral, a directory that is not empty). EPERM: a read-only name. ENODATA,
 * EEXIST. EDQUOT: too many ephemeral entries. */
#ifndef STORE_ZNODE_H
#define STORE_ZNODE_H

#include "store/special.h"

#define ZNODE_PREFIX "user.coordfs."

bool znode_is_name(struct bytes name);
/* Does setting this attribute end the inode's entry, sooner or later? */
bool znode_ends(struct bytes name, const struct inode *inode);
/* Does this attribute restrict what other users may change? */
bool znode_is_restriction(struct bytes name);

/* Carry out a SetXattr or RemoveXattr of such a name. The caller does what all xattrs have in
 * common: the inode's attributes, the reply, the change. */
uint32_t znode_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c);
uint32_t znode_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c);

/* For readers: the value of such a name. The caller has found `s` and the inode. path() finds the
 * path of an inode and returns its length or -errno. member() finds the member of a session (0:
 * none). */
struct znode_lookup {
    int64_t (*path)(void *arg, uint64_t ino, char *out, size_t size);
    uint64_t (*member)(void *arg, uint64_t session);
    void *arg;
};
/* Appends the value. 0, or -errno (-ENODATA). */
int znode_get(const struct special *s, struct bytes name, const struct znode_lookup *lookup,
              struct buf *out);
/* Appends the names that listxattr(2) shows, each ended by a NUL. */
void znode_list(const struct special *s, struct buf *names);

#endif
