/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas: limits on what lies below a directory, and how much that is.
 *
 * What is charged. For each inode below the directory (not for itself): one entry, and as bytes
 * what it takes: its content as stored (holes are free), its xattrs, a symlink's target. A file
 * with several names counts once. An unlinked file that is still open is charged until it is
 * reaped, to where its last name was. With quotas within quotas, all of them are charged.
 *
 * So that every inode has one place, names cannot cross: link(2) and rename(2) between directories
 * whose nearest quota differs (or that only one of has one) answer EXDEV, as the project quotas of
 * other filesystems do; mv(1) copies then. A directory that holds a file with names elsewhere
 * cannot be given a quota (EXDEV) for the same reason, nor one below which is too much to be
 * counted at once (E2BIG, LIMIT_QUOTA_COUNT).
 *
 * What would exceed a quota is refused: EDQUOT. A quota below what is used already is no error;
 * nothing can be added then. What is staged (store/staged_write.h) is not charged before it is
 * written.
 *
 * Users set and see them as xattrs of the directory (store/znode.h has the others):
 *   user.coordfs.quota.bytes, .entries   the limit: a decimal number, K, M, G or T behind it being
 *                                        powers of 1024 (EINVAL: another value, not a directory)
 *   user.coordfs.usage.bytes, .entries   what is used; there while the directory has a quota; read
 *                                        only (EPERM)
 *
 * As long as there are no quotas, all of this costs nothing. Writer's thread; see store/op.h. */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "store/op.h"

#define QUOTA_NONE ((uint64_t)INT64_MAX) /* no limit */

/* In the order of the columns: all of 64 bits. */
struct quota {
    uint64_t dir;
    uint64_t max_bytes;
    uint64_t max_entries;
    uint64_t bytes;
    uint64_t entries;
};

#define QUOTA_N (sizeof(struct quota) / sizeof(uint64_t))

/* ---- Before a change ---- */

/* The nearest directory with a quota, from this directory on upwards; 0: none. */
uint64_t quota_of_dir(struct op *op, uint64_t dir);
/* The one that an inode is charged to. */
uint64_t quota_of(struct op *op, const struct inode *inode);
/* May so much be added there? */
bool quota_has_room(struct op *op, uint64_t quota, uint64_t bytes, uint64_t entries);

/* ---- With a change: charges it. op_inode_save calls quota_saved. ---- */
void quota_made(struct op *op, uint64_t dir, const struct inode *inode); /* in dir */
void quota_saved(struct op *op, const struct op_inode *i);
/* The last name went, from dir: of a file that stays as an orphan; of what is deleted at once. */
void quota_orphaned(struct op *op, uint64_t dir, const struct inode *inode);
void quota_deleted(struct op *op, uint64_t dir, const struct inode *inode);
void quota_reaped(struct op *op, const struct inode *inode); /* it was an orphan */

/* ---- Xattrs ---- */
bool quota_is_name(struct bytes name);
/* Would this value (NULL: the removal) raise or remove a limit that the directory has? */
bool quota_loosens(struct op *op, const struct inode *inode, struct bytes name,
                   const struct bytes *value);
uint32_t quota_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c);
uint32_t quota_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c);
/* For readers: appends the value, 0 or -ENODATA; appends the names that are listed. q is NULL when
 * there is no quota. */
int quota_get(const struct quota *q, struct bytes name, struct buf *out);
void quota_list(const struct quota *q, struct buf *names);

/* ---- For readers and checks ---- */
void quota_read(sqlite3_stmt *st, int column, struct quota *out);
struct store_hash quota_hash(const struct quota *q);
struct store_hash quota_charged_hash(uint64_t ino, uint64_t dir);

#endif
