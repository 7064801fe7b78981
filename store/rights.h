/* SPDX-License-Identifier: Apache-2.0 */
/* The right to set user.coordfs.*: an attribute needs the right to do what the attribute does.
 *
 * The kernel lets a user set a user.* attribute of any file that the user may write. That is not
 * enough for these:
 *
 *   ttl, container, and ephemeral of a file   remove the entry later: the caller must be able to
 *                                             remove it now (write and search its directory, and
 *                                             own it or the directory if that is sticky)
 *   guard                                     stops other users' changes: owner of the directory
 *   quota.bytes, quota.entries                stop other users' changes: owner of the directory;
 *                                             only root raises or removes a limit that is set
 *
 * uid 0 may do all of this. Removing the others needs what the kernel asks for: it takes nothing
 * from anybody. See store/op.h. */
#ifndef STORE_RIGHTS_H
#define STORE_RIGHTS_H

#include "store/op.h"

/* xattr_set and xattr_remove, for a caller with these rights (c->cred; NULL: may do anything).
 * Answer EACCES or EPERM, and change nothing, if the caller may not. */
uint32_t rights_set_xattr(struct op *op, const Cfs__SetXattr *c);
uint32_t rights_remove_xattr(struct op *op, const Cfs__RemoveXattr *c);

#endif
