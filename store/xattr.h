/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on extended attributes. proto/command.proto says what each does and answers. Some
 * names have a meaning: see store/acl.h, store/znode.h, store/quota.h, store/history.h. See
 * store/op.h. */
#ifndef STORE_XATTR_H
#define STORE_XATTR_H

#include "store/op.h"

uint32_t xattr_set(struct op *op, const Cfs__SetXattr *c);
uint32_t xattr_remove(struct op *op, const Cfs__RemoveXattr *c);

#endif
