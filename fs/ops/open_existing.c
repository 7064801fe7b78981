/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/open_existing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/kernel/credentials.h"
#include "proto/limits.h"

#define ACL "system.posix_acl_access"

#define MAY_READ  4u
#define MAY_WRITE 2u

static unsigned wanted(int flags)
{
    static const unsigned by_mode[] = {
        [O_RDONLY] = MAY_READ, [O_WRONLY] = MAY_WRITE, [O_RDWR] = MAY_READ | MAY_WRITE};
    unsigned mode = (unsigned)flags & O_ACCMODE;

    return (mode < ARRAY_LEN(by_mode) ? by_mode[mode] : MAY_READ | MAY_WRITE) |
           ((flags & O_TRUNC) != 0 ? MAY_WRITE : 0);
}

static bool in_group(const Cfs__Cred *cred, uint32_t gid)
{
    if (cred->gid == gid)
        return true;
    for (size_t i = 0; i < cred->n_groups; i++)
        if (cred->groups[i] == gid)
            return true;
    return false;
}

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get_u32(const uint8_t *at)
{
    return get_u16(at) | (uint32_t)get_u16(at + 2) << 16;
}

/* The rules of acl(5) for a caller that is not the file's owner. */
static bool acl_allows(const uint8_t *acl, size_t len, const Cfs__Cred *cred, uint32_t gid,
                       unsigned want)
{
    const size_t size = sizeof(struct posix_acl_xattr_entry);
    unsigned mask = 7, user = 0, other = 0;
    bool is_user = false, is_group = false, group_has = false;

    for (size_t at = sizeof(struct posix_acl_xattr_header); at + size <= len; at += size) {
        unsigned tag = get_u16(acl + at), perm = get_u16(acl + at + 2);
        uint32_t id = get_u32(acl + at + 4);
        bool named = tag == ACL_GROUP && in_group(cred, id);

        if (tag == ACL_MASK)
            mask = perm;
        else if (tag == ACL_OTHER)
            other = perm;
        else if (tag == ACL_USER && id == cred->uid) {
            is_user = true;
            user = perm;
        } else if (named || (tag == ACL_GROUP_OBJ && in_group(cred, gid))) {
            is_group = true;
            group_has = group_has || (perm & want) == want;
        }
    }
    if (is_user)
        return (user & mask & want) == want;
    if (is_group)
        return group_has && (mask & want) == want;
    return (other & want) == want;
}

static bool mode_allows(struct fs *fs, const Cfs__Attr *attr, const Cfs__Cred *cred, unsigned want)
{
    const struct backend *b = &fs->backend;
    int64_t len;

    if (cred->uid == attr->uid)
        return (attr->mode >> 6 & want) == want;
    len = b->ops->getxattr(b->ctx, attr->ino, ACL, strlen(ACL), fs->scratch, LIMIT_XATTR_VALUE);
    if (len > 0)
        return acl_allows(fs->scratch, (size_t)len, cred, attr->gid, want);
    return ((in_group(cred, attr->gid) ? attr->mode >> 3 : attr->mode) & want) == want;
}

static bool has_capability(const struct credentials *c, unsigned want)
{
    uint64_t needed = 1ull << CAP_DAC_OVERRIDE;

    if (want == MAY_READ)
        needed |= 1ull << CAP_DAC_READ_SEARCH;
    return (c->capabilities & needed) != 0;
}

static unsigned protected_regular(void)
{
    FILE *file = fopen("/proc/sys/fs/protected_regular", "re");
    unsigned level = 0;

    if (file != NULL && fscanf(file, "%u", &level) != 1)
        level = 0;
    if (file != NULL)
        fclose(file);
    return level;
}

/* Another user's file in a directory where every user may create files (proc_sys_fs(5)). */
static bool is_protected(struct fs *fs, uint64_t parent, const Cfs__Attr *attr, uint32_t uid)
{
    const struct backend *b = &fs->backend;
    Cfs__Attr dir = CFS__ATTR__INIT;
    unsigned level;

    if (b->ops->attr(b->ctx, parent, &dir) != 0 || (dir.mode & S_ISVTX) == 0 || attr->uid == uid ||
        attr->uid == dir.uid || (dir.mode & 022) == 0)
        return false;
    level = protected_regular();
    return level >= ((dir.mode & 02) != 0 ? 1u : 2u);
}

int open_existing_error(struct fs *fs, fuse_req_t req, uint64_t parent, const Cfs__Attr *attr,
                        int flags)
{
    unsigned want = wanted(flags);
    struct credentials c;
    int error = 0;

    if (S_ISDIR(attr->mode))
        return EISDIR;
    if (S_ISLNK(attr->mode) && (flags & O_NOFOLLOW) != 0)
        return ELOOP;
    if (!S_ISREG(attr->mode))
        return EINTR;
    credentials_init(&c, fuse_req_ctx(req));
    if (is_protected(fs, parent, attr, c.cred.uid) ||
        (!mode_allows(fs, attr, &c.cred, want) && !has_capability(&c, want)))
        error = EACCES;
    credentials_fini(&c);
    return error;
}
