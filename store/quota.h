/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas: limits on what lies below a directory, and how much lies there.
 *
 * What is charged. Each inode below the directory, but not the directory itself, is charged as one
 * entry and with the bytes that it takes: its stored content (holes are free), its xattrs, and a
 * symlink's target. A file with several names counts once. An unlinked file that is still open is
 * charged where its last name was, until it is reaped. If quotas are nested, all of them are
 * charged.
 *
 * Every inode must have one place, so names cannot cross quotas: link(2) and rename(2) return EXDEV
 * if the nearest quotas of the two directories differ, as with project quotas of other filesystems.
 * mv(1) then copies. For the same reason, a directory that holds a file with names elsewhere cannot
 * get a quota (EXDEV). A directory with too many names to count at once cannot get one either
 * (E2BIG, LIMIT_QUOTA_COUNT).
 *
 * A change that would exceed a quota is refused with EDQUOT. Setting a quota below the current
 * usage is permitted; then nothing can be added. Staged writes (store/staged_write.h) are charged
 * only when a Write applies them.
 *
 * Users set and read quotas as xattrs of the directory (store/znode.h has the other xattrs):
 *   user.coordfs.quota.bytes, .entries   the limit: a decimal number, optionally followed by K, M,
 *                                        G or T, which are powers of 1024. EINVAL: another value,
 *                                        or not a directory
 *   user.coordfs.usage.bytes, .entries   the usage; exists while the directory has a quota;
 *                                        read-only (EPERM)
 *
 * If the tree has no quotas, all of this costs nothing. Writer's thread; see store/op.h. */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/op.h"

#define QUOTA_NONE ((uint64_t)INT64_MAX) /* no limit */

/* In the order of the columns, all of 64 bits. */
struct quota {
    uint64_t dir;
    uint64_t max_bytes;
    uint64_t max_entries;
    uint64_t bytes;
    uint64_t entries;
};

#define QUOTA_N (sizeof(struct quota) / sizeof(uint64_t))

/* ---- Before a change ---- */

/* Returns the nearest directory with a quota, from this directory upwards; 0: there is none. */
uint64_t quota_of_dir(struct op *op, uint64_t dir);
/* Returns the directory to whose quota the inode is charged; 0: none. */
uint64_t quota_of(struct op *op, const struct inode *inode);
/* True if the quota (0: none) and all above it have room for this much. */
bool quota_has_room(struct op *op, uint64_t quota, uint64_t bytes, uint64_t entries);

/* ---- With a change: charges it. op_inode_save calls quota_saved. ---- */
void quota_made(struct op *op, uint64_t dir, const struct inode *inode); /* created in dir */
void quota_saved(struct op *op, const struct op_inode *i);
/* The inode lost its last name, in dir, and stays as an orphan. */
void quota_orphaned(struct op *op, uint64_t dir, const struct inode *inode);
void quota_reaped(struct op *op, const struct inode *inode); /* an orphan was deleted */

/* ---- Xattrs ---- */
bool quota_is_name(struct bytes name);
/* Would this value (NULL: the removal) raise or remove a limit that the directory has? */
bool quota_loosens(struct op *op, const struct inode *inode, struct bytes name,
                   const struct bytes *value);
uint32_t quota_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c);
uint32_t quota_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c);
/* For readers. quota_get appends the value: 0 or -ENODATA. quota_list appends the names for
 * listxattr(2). q is NULL if the directory has no quota. */
int quota_get(const struct quota *q, struct bytes name, struct buf *out);
void quota_list(const struct quota *q, struct buf *names);

/* ---- For readers and checks ---- */
void quota_read(sqlite3_stmt *st, int column, struct quota *out);
struct store_hash quota_hash(const struct quota *q);
struct store_hash quota_charged_hash(uint64_t ino, uint64_t dir);

#endif
