/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on names: make, link, unlink and rmdir, rename. What each does and answers is said
 * in proto/command.proto; the errors are those of ext4. See store/op.h. */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "store/op.h"

uint32_t tree_make(struct op *op, const Cfs__Make *c);
uint32_t tree_link(struct op *op, const Cfs__Link *c);
uint32_t tree_unlink(struct op *op, const Cfs__Unlink *c);
uint32_t tree_rename(struct op *op, const Cfs__Rename *c);

/* Removes an inode that has one name, as unlink and rmdir do. False: a directory that is not empty,
 * or nothing that has a name. */
bool tree_remove(struct op *op, uint64_t ino);

/* The root directory of a new database. */
void tree_make_root(struct rows *r);

#endif
