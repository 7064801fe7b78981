/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX ACLs as acl(5) describes them: "Correspondence between ACL entries and file permission
 * bits", "Object creation and default ACLs". */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

enum {
    TAG_USER_OBJ = 1,
    TAG_USER = 2,
    TAG_GROUP_OBJ = 4,
    TAG_GROUP = 8,
    TAG_MASK = 16,
    TAG_OTHER = 32
};

struct entry {
    unsigned tag;
    unsigned perm;
    uint32_t id;
};

/* A decoded ACL. */
struct acl {
    struct entry entries[LIMIT_XATTR_VALUE / 8];
    size_t n;
    struct entry *user, *group, *mask, *other; /* entries that occur at most once */
    bool named;
};

static int take_apart(const uint8_t *bytes, size_t len, struct acl *out)
{
    memset(out, 0, sizeof *out);
    if (len == 0)
        return 0;
    if (len < 4)
        return EINVAL;
    if (bytes[0] != 2 || bytes[1] != 0 || bytes[2] != 0 || bytes[3] != 0)
        return EOPNOTSUPP;
    if (len % 8 != 4)
        return EINVAL;
    for (const uint8_t *p = bytes + 4; p < bytes + len; p += 8) {
        struct entry *e = &out->entries[out->n++];

        *e = (struct entry){p[0] + 256u * p[1], p[2] + 256u * p[3],
                            p[4] + 256u * p[5] + 65536u * p[6] + 16777216u * p[7]};
        if (e->tag == TAG_USER_OBJ)
            out->user = e;
        else if (e->tag == TAG_GROUP_OBJ)
            out->group = e;
        else if (e->tag == TAG_MASK)
            out->mask = e;
        else if (e->tag == TAG_OTHER)
            out->other = e;
        else
            out->named = true;
    }
    return 0;
}

/* The entries must be in the order of their tags; only named entries may occur repeatedly. */
static int acl_status(const uint8_t *bytes, size_t len, struct acl *acl)
{
    int status = take_apart(bytes, len, acl);

    if (status != 0 || acl->n == 0)
        return status;
    for (size_t i = 0; i < acl->n; i++) {
        const struct entry *e = &acl->entries[i];
        bool named = e->tag == TAG_USER || e->tag == TAG_GROUP;

        if (e->tag == 0 || e->tag > TAG_OTHER || (e->tag & (e->tag - 1)) != 0 || e->perm > 7)
            return EINVAL;
        if (i > 0 && (e->tag < e[-1].tag || (e->tag == e[-1].tag && !named)))
            return EINVAL;
        if (named && e->id == UINT32_MAX)
            return EINVAL;
    }
    if (acl->user == NULL || acl->group == NULL || acl->other == NULL)
        return EINVAL;
    return acl->named && acl->mask == NULL ? EINVAL : 0;
}

static void put_together(const struct acl *acl, struct buf *out)
{
    static const uint8_t head[] = {2, 0, 0, 0};

    buf_append(out, head, sizeof head);
    for (size_t i = 0; i < acl->n; i++) {
        const struct entry *e = &acl->entries[i];
        uint8_t p[8] = {
            (uint8_t)e->tag,       (uint8_t)(e->tag >> 8), (uint8_t)e->perm,      0, (uint8_t)e->id,
            (uint8_t)(e->id >> 8), (uint8_t)(e->id >> 16), (uint8_t)(e->id >> 24)};

        buf_append(out, p, sizeof p);
    }
}

static void keep(struct model_inode *inode, const char *name, const struct acl *acl)
{
    struct buf bytes = BUF_EMPTY;

    put_together(acl, &bytes);
    model_put_xattr(inode, name, strlen(name), bytes.data, bytes.len);
    buf_fini(&bytes);
}

/* Returns the entry that holds the group's permissions. */
static struct entry *class_of_group(struct acl *acl)
{
    return acl->mask != NULL ? acl->mask : acl->group;
}

static uint32_t to_mode(struct acl *acl, uint32_t mode)
{
    return (mode & ~0777u) | acl->user->perm << 6 | class_of_group(acl)->perm << 3 |
           acl->other->perm;
}

static void from_mode(struct acl *acl, uint32_t mode)
{
    acl->user->perm = mode >> 6 & 7;
    class_of_group(acl)->perm = mode >> 3 & 7;
    acl->other->perm = mode & 7;
}

bool model_acl_is_name(const ProtobufCBinaryData *name)
{
    return (name->len == strlen(ACCESS) && memcmp(name->data, ACCESS, name->len) == 0) ||
           (name->len == strlen(DEFAULT) && memcmp(name->data, DEFAULT, name->len) == 0);
}

/* Checks the room for the ACL. */
static int room_status(const struct model_inode *inode, const Cfs__SetXattr *set)
{
    const struct model_xattr *was = model_find_xattr(inode, set->name.data, set->name.len);
    uint64_t total = model_xattr_bytes(inode) + set->name.len + set->value.len;

    if (was != NULL && was->value.len >= set->value.len)
        return 0;
    if (was != NULL)
        total -= was->name.len + was->value.len;
    return total > LIMIT_XATTR_TOTAL ? ENOSPC : 0;
}

int model_acl_set(struct model_inode *inode, const Cfs__SetXattr *set, bool *changed)
{
    static struct acl acl;
    bool access = set->name.len == strlen(ACCESS);
    int status = acl_status(set->value.data, set->value.len, &acl);
    bool stays = acl.n > (access ? 3 : 0);
    uint32_t mode;

    if (status != 0)
        return status;
    if (inode == NULL)
        return ESTALE;
    mode = inode->attr.mode;
    if (S_ISLNK(inode->attr.mode))
        return EOPNOTSUPP;
    if (!access && acl.n > 0 && !model_is_dir(inode))
        return EACCES;
    if (stays && (status = room_status(inode, set)) != 0)
        return status;
    if (access && acl.n > 0)
        inode->attr.mode = to_mode(&acl, inode->attr.mode);
    if (access && set->kill_sgid)
        inode->attr.mode &= ~(uint32_t)S_ISGID;
    *changed = mode != inode->attr.mode;
    if (stays)
        keep(inode, access ? ACCESS : DEFAULT, &acl);
    if (stays || model_drop_xattr(inode, set->name.data, set->name.len))
        *changed = true;
    return 0;
}

static bool find_acl(const struct model_inode *inode, const char *name, struct acl *out)
{
    const struct model_xattr *x = model_find_xattr(inode, name, strlen(name));

    if (x == NULL)
        return false;
    check(acl_status(x->value.data, x->value.len, out) == 0);
    return true;
}

void model_acl_chmod(struct model_inode *inode)
{
    static struct acl acl;

    if (!find_acl(inode, ACCESS, &acl))
        return;
    from_mode(&acl, inode->attr.mode);
    keep(inode, ACCESS, &acl);
}

void model_acl_inherit(const struct model_inode *dir, uint32_t umask, struct model_inode *inode)
{
    static struct acl acl;

    if (S_ISLNK(inode->attr.mode))
        return;
    if (!find_acl(dir, DEFAULT, &acl)) {
        inode->attr.mode &= ~(umask & 0777);
        return;
    }
    if (model_is_dir(inode))
        keep(inode, DEFAULT, &acl);
    inode->attr.mode &= to_mode(&acl, inode->attr.mode);
    from_mode(&acl, inode->attr.mode);
    if (acl.n > 3)
        keep(inode, ACCESS, &acl);
}
