/* SPDX-License-Identifier: Apache-2.0 */
#include "store/access.h"

#include <errno.h>
#include <string.h>

#include "store/acl.h"
#include "store/history.h"

static bool is_root(const Cfs__Cred *cred)
{
    return cred == NULL || cred->uid == 0;
}

static bool is_in_group(const void *arg, uint64_t gid)
{
    const Cfs__Cred *cred = arg;

    if (cred->gid == gid)
        return true;
    for (size_t i = 0; i < cred->n_groups; i++)
        if (cred->groups[i] == gid)
            return true;
    return false;
}

bool access_is_member(const Cfs__Cred *cred, uint64_t gid)
{
    return is_root(cred) || is_in_group(cred, gid);
}

/* Finds the access ACL. It counts only if the group bits of the mode, which are the ACL's mask, are
 * not all zero. */
static bool find_acl(struct op *op, const struct inode *inode, struct buf *out)
{
    static const char name[] = ACL_ACCESS;

    return (inode->mode & 070) != 0 && inode->xattr_bytes > 0 && op_type(inode) != S_IFLNK &&
           row_xattr_find(op->rows, inode->ino,
                          (struct bytes){(const uint8_t *)name, sizeof name - 1}, out);
}

uint32_t access_check(struct op *op, const Cfs__Cred *cred, const struct inode *inode, unsigned use)
{
    unsigned bits = (unsigned)inode->mode;
    struct buf acl = BUF_EMPTY;
    bool permitted;

    if (is_root(cred))
        return 0;
    if (cred->uid == inode->uid)
        return (bits >> 6 & use) == use ? 0 : EACCES;
    if (find_acl(op, inode, &acl)) {
        permitted = acl_permits((struct bytes){acl.data, acl.len}, cred->uid, inode->gid, use,
                                is_in_group, cred);
        buf_fini(&acl);
        return permitted ? 0 : EACCES;
    }
    if (is_in_group(cred, inode->gid))
        bits >>= 3;
    return (bits & use) == use ? 0 : EACCES;
}

uint32_t access_check_owner(const Cfs__Cred *cred, const struct inode *inode)
{
    return is_root(cred) || cred->uid == inode->uid ? 0 : EPERM;
}

uint32_t access_check_entry(struct op *op, const Cfs__Cred *cred, const struct inode *dir,
                            const struct inode *victim)
{
    uint32_t status = access_check(op, cred, dir, ACCESS_WRITE | ACCESS_EXEC);

    if (status != 0 || victim == NULL || (dir->mode & S_ISVTX) == 0 ||
        access_check_owner(cred, dir) == 0)
        return status;
    return access_check_owner(cred, victim);
}

/* Only root changes the owner. The owner may choose a group that the caller is a member of. */
static uint32_t check_chown(const Cfs__Cred *cred, const struct inode *inode, const Cfs__SetAttr *c)
{
    if (c->set_uid && (cred->uid != inode->uid || c->uid != inode->uid))
        return EPERM;
    if (c->set_gid &&
        (cred->uid != inode->uid || (c->gid != inode->gid && !is_in_group(cred, c->gid))))
        return EPERM;
    return 0;
}

static uint32_t check_times(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                            const Cfs__SetAttr *c)
{
    bool now = (!c->set_atime || c->atime_now) && (!c->set_mtime || c->mtime_now);

    if ((!c->set_atime && !c->set_mtime) || cred->uid == inode->uid)
        return 0;
    return now ? access_check(op, cred, inode, ACCESS_WRITE) : EPERM;
}

Cfs__Kill access_kill(const Cfs__Cred *cred, const struct inode *inode)
{
    if (is_root(cred))
        return CFS__KILL__KILL_NONE;
    return is_in_group(cred, inode->gid) ? CFS__KILL__KILL_SUID : CFS__KILL__KILL_SGID;
}

uint32_t access_check_set_attr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                               Cfs__SetAttr *c)
{
    uint64_t gid = c->set_gid ? c->gid : inode->gid;
    uint32_t status = 0;

    if (is_root(cred))
        return 0;
    if (c->set_mode)
        status = access_check_owner(cred, inode);
    if (status == 0)
        status = check_chown(cred, inode, c);
    if (status == 0)
        status = check_times(op, cred, inode, c);
    if (status == 0 && c->set_size)
        status = access_check(op, cred, inode, ACCESS_WRITE);
    if (c->set_mode && !is_in_group(cred, gid))
        c->mode &= ~(uint32_t)S_ISGID;
    if (c->set_uid || c->set_gid || c->set_size)
        c->kill = max_u64(c->kill, access_kill(cred, inode));
    return status;
}

static bool begins(struct bytes name, const char *with)
{
    return name.len > strlen(with) && memcmp(name.data, with, strlen(with)) == 0;
}

uint32_t access_check_xattr(struct op *op, const Cfs__Cred *cred, const struct inode *inode,
                            struct bytes name)
{
    if (acl_is_name(name))
        return access_check_owner(cred, inode);
    if (history_is_setting(inode->ino, name))
        return is_root(cred) ? 0 : EPERM;
    if (!begins(name, "user."))
        return !begins(name, "trusted.") && !begins(name, "security.") ? EOPNOTSUPP
               : is_root(cred)                                         ? 0
                                                                       : EPERM;
    if (op_type(inode) != S_IFREG && !op_is_dir(inode))
        return EPERM;
    if (op_is_dir(inode) && (inode->mode & S_ISVTX) != 0 && access_check_owner(cred, inode) != 0)
        return EPERM;
    return access_check(op, cred, inode, ACCESS_WRITE);
}
