/* SPDX-License-Identifier: Apache-2.0 */
/* Permission checks for operations that reach the state machine without the kernel's own checks
 * (transactions). The rules are those of Linux (fs/namei.c): modes and ACLs. A NULL cred, and uid
 * 0, may do everything. Each function returns a status. See store/op.h. */
#ifndef STORE_ACCESS_H
#define STORE_ACCESS_H

#include "store/op.h"

#define ACCESS_READ  4u
#define ACCESS_WRITE 2u
#define ACCESS_EXEC  1u

/* 0 or EACCES: may the caller use the inode? `use` is a sum of the ACCESS_ bits above. */
uint32_t access_check(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                      unsigned use);
/* True if the caller is a member of the group, or root. */
bool access_is_member(const Cfs__Cred *cred, uint64_t gid);
/* 0 or EPERM: does the inode belong to the caller? */
uint32_t access_check_owner(const Cfs__Cred *cred, const struct inode *inode);
/* 0, EACCES or EPERM: may the caller create an entry in the directory (victim NULL), or remove the
 * entry of `victim`? */
uint32_t access_check_entry(struct op *op, const Cfs__Cred *cred, const struct inode *dir,
                            const struct inode *victim);
/* 0, EACCES or EPERM: may the caller change these attributes? May clear mode bits in c, as chmod(2)
 * does. */
uint32_t access_check_set_attr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                               Cfs__SetAttr *c);
/* The bits that a change of the inode's data, size or owner by this caller clears. */
Cfs__Kill access_kill(const Cfs__Cred *cred, const struct inode *inode);
/* 0, EACCES, EPERM or EOPNOTSUPP: may the caller set or remove an xattr of this name? */
uint32_t access_check_xattr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                            struct bytes name);

#endif
