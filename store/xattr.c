/* SPDX-License-Identifier: Apache-2.0 */
#include "store/xattr.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/acl.h"
#include "store/history.h"
#include "store/quota.h"
#include "store/xattr_value.h"
#include "store/znode.h"

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

/* Checks c->mode: must the xattr exist, or not exist? */
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
        status = xattr_value_put(op, &i, op_bytes(c->name), op_bytes(c->value));
    if (status == 0)
        xattr_value_changed(op, &i);
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
        status = xattr_value_drop(op, &i, op_bytes(c->name)) ? 0 : ENODATA;
    if (status == 0)
        xattr_value_changed(op, &i);
    else if (status == ENODATA && acl_is_name(op_bytes(c->name))) {
        op_reply_attr(op, &i.is); /* as in Linux */
        status = 0;
    }
    return status;
}
