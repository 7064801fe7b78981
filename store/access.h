/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions, for what reaches the state machine past the kernel's own checks (transactions): by
 * modes and ACLs, as in Linux (fs/namei.c). cred NULL: all is permitted; so it is to uid 0. See
 * store/op.h. */
#ifndef STORE_ACCESS_H
#define STORE_ACCESS_H

#include "store/op.h"

#define ACCESS_READ  4u
#define ACCESS_WRITE 2u
#define ACCESS_EXEC  1u

/* 0 or EACCES: may the inode be used so (a sum of the above)? */
uint32_t access_check(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                      unsigned use);
/* Is the caller in that group (or root)? */
bool access_is_member(const Cfs__Cred *cred, uint64_t gid);
/* 0 or EPERM: is it the caller's own? */
uint32_t access_check_owner(const Cfs__Cred *cred, const struct inode *inode);
/* 0, EACCES, EPERM: may an entry of the directory be made (victim NULL), or removed? */
uint32_t access_check_entry(struct op *op, const Cfs__Cred *cred, const struct inode *dir,
                            const struct inode *victim);
/* 0, EACCES, EPERM. May clear bits of c->mode, as chmod(2) does. */
uint32_t access_check_set_attr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                               Cfs__SetAttr *c);
/* 0, EACCES, EPERM, EOPNOTSUPP: may an xattr of that name be set or removed? */
uint32_t access_check_xattr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                            struct bytes name);

#endif
