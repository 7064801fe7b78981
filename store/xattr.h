/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on extended attributes. What each does and answers is said in proto/command.proto;
 * names that
 * mean something are those of store/acl.h and store/znode.h. See store/op.h. */
#ifndef STORE_XATTR_H
#define STORE_XATTR_H

#include "store/op.h"

uint32_t xattr_set(struct op *op, const Cfs__SetXattr *c);
uint32_t xattr_remove(struct op *op, const Cfs__RemoveXattr *c);

/* For operations elsewhere: puts a value (0, or ENOSPC and nothing happened), or takes the xattr
 * away (false: it was not there). Both keep i->is.xattr_bytes; the caller saves it. */
uint32_t xattr_put(struct op *op, struct op_inode *i, struct bytes name, struct bytes value);
bool xattr_drop(struct op *op, struct op_inode *i, struct bytes name);
/* The end of such an operation: times, numbers, the record of it, the reply; saves the inode. */
void xattr_changed(struct op *op, struct op_inode *i);

#endif
