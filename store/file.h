/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on inodes: attributes, content, reaping. proto/command.proto says what each does and
 * answers. A missing inode is ESTALE. See store/op.h. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include "store/op.h"

uint32_t file_set_attr(struct op *op, const Cfs__SetAttr *c);
uint32_t file_write(struct op *op, const Cfs__Write *c);
uint32_t file_reap(struct op *op, const Cfs__Reap *c);

/* The content of the inode was changed: sets the times, raises the version, records the change.
 * Clears the bits that `kill` says, as write(2) does. The caller saves the inode. */
void file_data_changed(struct op *op, struct inode *inode, Cfs__Kill kill);

#endif
