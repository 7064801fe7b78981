/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs (POSIX 1003.1e draft 17, withdrawn), kept as the extended attributes in which Linux
 * passes them: system.posix_acl_access and system.posix_acl_default. They and the mode say the same
 * (the owner's and others' permissions, and the mask as the group's); an access ACL that says no
 * more than the mode is not kept.
 *
 * The algorithms are those of Linux (fs/posix_acl.c). */
#ifndef STORE_ACL_H
#define STORE_ACL_H

#include "store/op.h"

#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/* ---- Pure functions on an ACL's bytes; all but acl_check want one that passes it. ---- */

/* 0; EOPNOTSUPP: another version of the format; EINVAL. One without entries is fine: it means that
 * there is none. */
uint32_t acl_check(struct bytes acl);
/* The mode with the permissions of the ACL. *more: does the ACL say more than that? */
uint64_t acl_mode(struct bytes acl, uint64_t mode, bool *more);
/* Gives it the permissions of the mode (chmod). */
void acl_chmod(uint8_t *acl, size_t len, uint64_t mode);
/* Makes a directory's default ACL that of something new in it, which is created with *mode: the
 * permissions that remain in *mode. False: the ACL says no more than that. */
bool acl_create(uint8_t *acl, size_t len, uint64_t *mode);

/* Does it permit somebody who is not the owner of the inode all of `use` (bits rwx)? is_member: is
 * he in that group? */
bool acl_permits(struct bytes acl, uint64_t uid, uint64_t inode_gid, unsigned use,
                 bool (*is_member)(const void *arg, uint64_t gid), const void *arg);

/* ---- Operations ---- */

bool acl_is_name(struct bytes name);
/* SetXattr of one of the two; which of create and replace does not matter. */
uint32_t acl_set(struct op *op, const Cfs__SetXattr *c);
/* The mode of the inode was changed: the access ACL follows. */
void acl_mode_changed(struct op *op, const struct inode *inode);

/* What a new inode gets from its directory; valid as long as the command's result. */
struct acl_pair {
    struct bytes access; /* empty: none */
    struct bytes dflt;
    uint64_t permissions; /* those of its mode */
};

/* Of an inode with this mode, from the default ACL of `dir`; without one, the umask counts. */
void acl_inherit(struct op *op, const struct inode *dir, uint32_t mode, uint32_t umask,
                 struct acl_pair *out);
uint64_t acl_pair_bytes(const struct acl_pair *p); /* as xattrs, names and values */
void acl_pair_insert(struct op *op, uint64_t ino, const struct acl_pair *p);

#endif
