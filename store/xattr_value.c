/* SPDX-License-Identifier: Apache-2.0 */
#include "store/xattr_value.h"

#include <errno.h>

#include "proto/limits.h"
#include "store/quota.h"

static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){b->data, b->len};
}

uint32_t xattr_value_put(struct op *op, struct op_inode *i, struct bytes name, struct bytes value)
{
    struct buf old = BUF_EMPTY;
    bool there = row_xattr_find(op->rows, i->is.ino, name, &old);
    uint64_t was = there ? name.len + old.len : 0, is = name.len + value.len;
    uint64_t total = i->is.xattr_bytes - was + is;
    uint32_t status = 0;

    if (is > was && (total > LIMIT_XATTR_TOTAL || !op_has_room(op, is - was))) {
        status = ENOSPC;
        goto out;
    }
    if (is > was && !quota_has_room(op, quota_of(op, &i->is), is - was, 0)) {
        status = EDQUOT;
        goto out;
    }
    if (there)
        row_xattr_update(op->rows, i->is.ino, name, bytes_of(&old), value);
    else
        row_xattr_insert(op->rows, i->is.ino, name, value);
    i->is.xattr_bytes = total;
out:
    buf_fini(&old);
    return status;
}

bool xattr_value_drop(struct op *op, struct op_inode *i, struct bytes name)
{
    struct buf old = BUF_EMPTY;

    if (!row_xattr_find(op->rows, i->is.ino, name, &old))
        return false;
    row_xattr_delete(op->rows, i->is.ino, name, bytes_of(&old));
    i->is.xattr_bytes -= name.len + old.len;
    buf_fini(&old);
    return true;
}

void xattr_value_changed(struct op *op, struct op_inode *i)
{
    op_attr_changed(op, &i->is, CFS__CHANGE__KIND__XATTR);
    op_inode_save(op, i);
    op_reply_attr(op, &i->is);
}
