/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rights.h"

#include <errno.h>

#include "proto/limits.h"
#include "store/access.h"
#include "store/quota.h"
#include "store/xattr.h"
#include "store/znode.h"

/* The directory of the entry's only name. False: the entry has no name or several; such an entry
 * never ends by itself (store/special.h). */
static bool find_parent(struct op *op, const struct inode *inode, struct inode *out)
{
    sqlite3_stmt *st;
    uint64_t parent = 0;

    if (inode->nlink == 0 || (!op_is_dir(inode) && inode->nlink != 1))
        return false;
    st = db_get(op->rows->db, STATEMENT_DIRENT_OF_INODE);
    db_bind(st, 1, inode->ino);
    if (db_step(op->rows->db, st) > 0)
        parent = db_u64(st, 0);
    db_reset(st);
    return parent != 0 && row_inode_find(op->rows, parent, out);
}

static uint32_t check_removal(struct op *op, const Cfs__Cred *cred, const struct inode *inode)
{
    struct inode parent;

    return find_parent(op, inode, &parent) ? access_check_entry(op, cred, &parent, inode) : 0;
}

/* value NULL: the attribute is to be removed. */
static uint32_t check_right(struct op *op, const Cfs__Cred *cred, uint64_t ino, struct bytes name,
                            const struct bytes *value)
{
    struct inode inode;

    if (cred == NULL || cred->uid == 0 || !row_inode_find(op->rows, ino, &inode))
        return 0;
    if (cred->n_groups > LIMIT_TXN_GROUPS)
        return EINVAL;
    if (quota_is_name(name) && quota_loosens(op, &inode, name, value))
        return EPERM;
    if (quota_is_name(name) || znode_is_restriction(name))
        return access_check_owner(cred, &inode);
    if (value != NULL && znode_ends(name, &inode))
        return check_removal(op, cred, &inode);
    return 0;
}

uint32_t rights_set_xattr(struct op *op, const Cfs__SetXattr *c)
{
    struct bytes value = op_bytes(c->value);
    uint32_t status = check_right(op, c->cred, c->ino, op_bytes(c->name), &value);

    return status != 0 ? status : xattr_set(op, c);
}

uint32_t rights_remove_xattr(struct op *op, const Cfs__RemoveXattr *c)
{
    uint32_t status = check_right(op, c->cred, c->ino, op_bytes(c->name), NULL);

    return status != 0 ? status : xattr_remove(op, c);
}
