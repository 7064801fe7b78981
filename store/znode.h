/* SPDX-License-Identifier: Apache-2.0 */
/* user.coordfs.*: xattrs that are not stored as such, but are a way to see and to set what is
 * special of an inode (store/special.h). Values are text, without a newline.
 *
 *   ephemeral  "session" or "open". Of a directory that is empty: what is made in it will be so.
 *   ttl        seconds, 1 … LIMIT_TTL_MAX
 *   container  "1", of a directory
 *   guard      of a directory: the path of a lock file, that exists and is a regular file; from the
 *              root when it begins with '/', else from the directory; symlinks are not followed.
 *              Reads as that file's path now (from the root), "(deleted)" when it has none.
 * read-only:
 *   owner      the member with whose session an ephemeral entry goes
 *   sequence   the next number that a directory gives to a sequential entry
 *   expires    seconds since the epoch at which the ttl ends, if it runs
 *
 * What a user has set, or has inherited, is listed by listxattr(2), so that it can be found and
 * copied; what is read-only is not, for copying it would fail.
 * Elsewhere: quotas, in store/quota.h; the numbers version … children_modified are in Cfs__Attr;
 * fence: reader_fence.
 *
 * Errors in apply: EINVAL a value, or an inode that cannot be so (the root, a file with several
 * names; a directory that is not empty, for ephemeral); EPERM a name that is read-only; ENODATA;
 * EEXIST; EDQUOT too many ephemeral entries. */
#ifndef STORE_ZNODE_H
#define STORE_ZNODE_H

#include "store/special.h"

#define ZNODE_PREFIX "user.coordfs."

bool znode_is_name(struct bytes name);
/* Does setting this attribute end the inode's entry, sooner or later? */
bool znode_ends(struct bytes name, const struct inode *inode);
/* Does this attribute restrict what other users may change? */
bool znode_is_restriction(struct bytes name);

/* Carries out a SetXattr or RemoveXattr of such a name, but for what is common to all xattrs (the
 * attributes of the inode, the reply, the change). */
uint32_t znode_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c);
uint32_t znode_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c);

/* The value of such a name, for readers; the caller has found `s` and the inode. fn finds the path
 * of an inode, its length or -errno, and the member of a session (0: none). */
struct znode_lookup {
    int64_t (*path)(void *arg, uint64_t ino, char *out, size_t size);
    uint64_t (*member)(void *arg, uint64_t session);
    void *arg;
};
/* Appends the value: 0, or -errno (-ENODATA). */
int znode_get(const struct special *s, struct bytes name, const struct znode_lookup *lookup,
              struct buf *out);
/* Appends the names that listxattr(2) shows, each terminated by a NUL. */
void znode_list(const struct special *s, struct buf *names);

#endif
