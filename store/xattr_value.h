/* SPDX-License-Identifier: Apache-2.0 */
/* Stored values of extended attributes: what the operations that change them have in common
 * (store/xattr.h, store/acl.h). Writer's thread; see store/op.h. */
#ifndef STORE_XATTR_VALUE_H
#define STORE_XATTR_VALUE_H

#include "store/op.h"

/* Sets a value and keeps i->is.xattr_bytes; the caller saves i. 0, or ENOSPC or EDQUOT, and then
 * nothing was changed. */
uint32_t xattr_value_put(struct op *op, struct op_inode *i, struct bytes name, struct bytes value);
/* Removes an xattr and keeps i->is.xattr_bytes; the caller saves i. False: there was no such xattr.
 */
bool xattr_value_drop(struct op *op, struct op_inode *i, struct bytes name);
/* Ends an operation that changed an xattr: times, version, the record of the change, the reply.
 * Saves i. */
void xattr_value_changed(struct op *op, struct op_inode *i);

#endif
