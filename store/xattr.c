/* SPDX-License-Identifier: Apache-2.0 */
#include "store/xattr.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/acl.h"
#include "store/file.h"
#include "store/history.h"
#include "store/quota.h"
#include "store/znode.h"

static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){b->data, b->len};
}

uint32_t xattr_put(struct op *op, struct op_inode *i, struct bytes name, struct bytes value)
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

bool xattr_drop(struct op *op, struct op_inode *i, struct bytes name)
{
    struct buf old = BUF_EMPTY;

    if (!row_xattr_find(op->rows, i->is.ino, name, &old))
        return false;
    row_xattr_delete(op->rows, i->is.ino, name, bytes_of(&old));
    i->is.xattr_bytes -= name.len + old.len;
    buf_fini(&old);
    return true;
}

void xattr_changed(struct op *op, struct op_inode *i)
{
    file_attr_changed(op, &i->is, CFS__CHANGE__KIND__XATTR);
    op_inode_save(op, i);
    op_reply_attr(op, &i->is);
}

static uint32_t check_name(ProtobufCBinaryData name)
{
    if (name.len == 0 || name.len > LIMIT_XATTR_NAME)
        return ERANGE;
    return memchr(name.data, '\0', name.len) != NULL ? EINVAL : 0;
}

static uint32_t check_set(const Cfs__SetXattr *c)
{
    uint32_t status = check_name(c->name);

    if (status)
        return status;
    if (c->value.len > LIMIT_XATTR_VALUE)
        return E2BIG;
    if (c->mode != CFS__SET_XATTR__MODE__ANY && c->mode != CFS__SET_XATTR__MODE__CREATE &&
        c->mode != CFS__SET_XATTR__MODE__REPLACE)
        return EINVAL;
    return 0;
}

/* Is it there, or not, as it should be? */
static uint32_t check_presence(struct op *op, const Cfs__SetXattr *c)
{
    struct buf old = BUF_EMPTY;
    bool there;

    if (c->mode == CFS__SET_XATTR__MODE__ANY)
        return 0;
    there = row_xattr_find(op->rows, c->ino, op_bytes(c->name), &old);
    buf_fini(&old);
    if (c->mode == CFS__SET_XATTR__MODE__CREATE)
        return there ? EEXIST : 0;
    return there ? 0 : ENODATA;
}

uint32_t xattr_set(struct op *op, const Cfs__SetXattr *c)
{
    struct op_inode i;
    uint32_t status;

    if ((status = check_set(c)))
        return status;
    if (acl_is_name(op_bytes(c->name)))
        return acl_set(op, c);
    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if (quota_is_name(op_bytes(c->name)))
        status = quota_set(op, &i.was, c);
    else if (history_is_setting(c->ino, op_bytes(c->name)))
        status = history_set_limit(op, op_bytes(c->value));
    else if (znode_is_name(op_bytes(c->name)))
        status = znode_set(op, &i.was, c);
    else if ((status = check_presence(op, c)) == 0)
        status = xattr_put(op, &i, op_bytes(c->name), op_bytes(c->value));
    if (status == 0)
        xattr_changed(op, &i);
    return status;
}

uint32_t xattr_remove(struct op *op, const Cfs__RemoveXattr *c)
{
    struct op_inode i;
    uint32_t status;

    if ((status = check_name(c->name)))
        return status;
    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if (quota_is_name(op_bytes(c->name)))
        status = quota_remove(op, &i.was, c);
    else if (history_is_setting(c->ino, op_bytes(c->name)))
        status = history_reset_limit(op);
    else if (znode_is_name(op_bytes(c->name)))
        status = znode_remove(op, &i.was, c);
    else
        status = xattr_drop(op, &i, op_bytes(c->name)) ? 0 : ENODATA;
    if (status == 0)
        xattr_changed(op, &i);
    else if (status == ENODATA && acl_is_name(op_bytes(c->name))) {
        op_reply_attr(op, &i.is); /* as Linux has it */
        status = 0;
    }
    return status;
}
