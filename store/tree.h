/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on names: make, link, unlink and rmdir, rename. proto/command.proto says what each
 * does and answers. The errors are those of ext4. See store/op.h. */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "store/op.h"

uint32_t tree_make(struct op *op, const Cfs__Make *c);
uint32_t tree_link(struct op *op, const Cfs__Link *c);
uint32_t tree_unlink(struct op *op, const Cfs__Unlink *c);
uint32_t tree_rename(struct op *op, const Cfs__Rename *c);

/* Removes an inode that has one name, as unlink and rmdir do. False: it is a directory that is not
 * empty, or it has no name. */
bool tree_remove(struct op *op, uint64_t ino);

/* Creates the root directory of a new database. */
void tree_make_root(struct rows *r);

#endif
