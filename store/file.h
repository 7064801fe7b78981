/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on inodes: attributes, content, reaping. What each does and answers is
 * said in proto/command.proto. A missing inode is ESTALE. See store/op.h. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include "store/op.h"

uint32_t file_set_attr(struct op *op, const Cfs__SetAttr *c);
uint32_t file_write(struct op *op, const Cfs__Write *c);
uint32_t file_reap(struct op *op, const Cfs__Reap *c);

/* For operations on content elsewhere: is it a file that has some (0, EISDIR, EINVAL)? */
uint32_t file_check_regular(const struct inode *inode);
/* Its content was changed: times, numbers, and the record of it. */
void file_data_changed(struct op *op, struct inode *inode, bool kill_suid);
/* The same for attributes (ATTR) or xattrs (XATTR). */
void file_attr_changed(struct op *op, struct inode *inode, Cfs__Change__Kind kind);

#endif
