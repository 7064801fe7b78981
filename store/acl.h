/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs (POSIX 1003.1e draft 17, withdrawn), stored as the extended attributes in which Linux
 * passes them: system.posix_acl_access and system.posix_acl_default. The access ACL and the mode
 * always agree: the mode holds the permissions of the owner, of others and, as group bits, of the
 * mask. An access ACL that says no more than the mode is not stored.
 *
 * The algorithms are those of Linux (fs/posix_acl.c). */
#ifndef STORE_ACL_H
#define STORE_ACL_H

#include "store/op.h"

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/* ---- Pure functions on an ACL's bytes; all but acl_check want one that passes it. ---- */

/* 0, EINVAL, or EOPNOTSUPP (another version of the format). An ACL without entries is valid: it
 * means "no ACL". */
uint32_t acl_check(struct bytes acl);
/* Returns the mode with the permissions of the ACL. *more: the ACL says more than that mode. */
uint64_t acl_mode(struct bytes acl, uint64_t mode, bool *more);
/* Sets the ACL's permissions to those of the mode, as chmod(2) does. */
void acl_chmod(uint8_t *acl, size_t len, uint64_t mode);
/* Turns a directory's default ACL into the access ACL of a new inode, which is created with *mode,
 * and stores the remaining permissions in *mode. False: the ACL says no more than *mode. */
bool acl_create(uint8_t *acl, size_t len, uint64_t *mode);

/* True if the ACL grants all of `use` (bits rwx) to a user who does not own the inode. is_member
 * tells whether the user is in a group. */
bool acl_permits(struct bytes acl, uint64_t uid, uint64_t inode_gid, unsigned use,
                 bool (*is_member)(const void *arg, uint64_t gid), const void *arg);

/* ---- Operations ---- */

bool acl_is_name(struct bytes name);
/* Carries out a SetXattr of one of the two names. c->mode (create, replace) is ignored. */
uint32_t acl_set(struct op *op, const Cfs__SetXattr *c);
/* Adapts the access ACL after the mode of the inode was changed. */
void acl_mode_changed(struct op *op, const struct inode *inode);

/* The ACLs that a new inode inherits from its directory. Valid as long as the op. */
struct acl_pair {
    struct bytes access; /* empty: none */
    struct bytes dflt;
    uint64_t permissions; /* the permission bits of the new inode's mode */
};

/* Computes the ACLs and permissions of a new inode with this mode from the default ACL of `dir`. If
 * `dir` has none, the umask applies. */
void acl_inherit(struct op *op, const struct inode *dir, uint32_t mode, uint32_t umask,
                 struct acl_pair *out);
uint64_t acl_pair_bytes(const struct acl_pair *p); /* bytes as xattrs: names and values */
void acl_pair_insert(struct op *op, uint64_t ino, const struct acl_pair *p);

#endif
