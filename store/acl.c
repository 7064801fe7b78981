/* SPDX-License-Identifier: Apache-2.0 */
#include "store/acl.h"

#include <errno.h>
#include <string.h>

#include "store/xattr_value.h"

/* The format (linux/posix_acl_xattr.h): little endian, a version of 32 bits, then entries: tag and
 * permissions of 16 bits each, an id of 32 bits. */
#define VERSION    2
#define HEADER     4u
#define ENTRY      8u
#define USER_OBJ   0x01
#define USER       0x02
#define GROUP_OBJ  0x04
#define GROUP      0x08
#define MASK       0x10
#define OTHER      0x20
#define NO_ENTRIES ((size_t)-1)
#define NOBODY     UINT32_MAX /* no user or group has this id */

/* ---- Entries ----------------------------------------------------------------------------------*/

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | get16(p + 2) << 16;
}

static size_t count(size_t len)
{
    return (len - HEADER) / ENTRY;
}

static const uint8_t *entry(const uint8_t *acl, size_t i)
{
    return acl + HEADER + i * ENTRY;
}

static uint32_t tag_of(const uint8_t *acl, size_t i)
{
    return get16(entry(acl, i));
}

static uint32_t perm_of(const uint8_t *acl, size_t i)
{
    return get16(entry(acl, i) + 2);
}

static void set_perm(uint8_t *acl, size_t i, uint64_t perm)
{
    acl[HEADER + i * ENTRY + 2] = (uint8_t)(perm & 7);
}

/* Finds the first entry with this tag. */
static size_t find_tag(const uint8_t *acl, size_t len, uint32_t tag)
{
    for (size_t i = 0; i < count(len); i++)
        if (tag_of(acl, i) == tag)
            return i;
    return NO_ENTRIES;
}

/* Finds the entry that the group bits of the mode stand for: the mask, or else the owning group. */
static size_t find_group(const uint8_t *acl, size_t len)
{
    size_t mask = find_tag(acl, len, MASK);

    return mask != NO_ENTRIES ? mask : find_tag(acl, len, GROUP_OBJ);
}

/* ---- Checking ---------------------------------------------------------------------------------*/

/* The order of the entries: one USER_OBJ, users, one GROUP_OBJ, groups, at most one MASK, one
 * OTHER. */
static const struct {
    uint32_t tag;
    uint32_t after; /* the tags that the previous entry may have */
    bool has_id;
} order[] = {
    {USER_OBJ, 0, false},
    {USER, USER_OBJ | USER, true},
    {GROUP_OBJ, USER_OBJ | USER, false},
    {GROUP, GROUP_OBJ | GROUP, true},
    {MASK, GROUP_OBJ | GROUP, false},
    {OTHER, GROUP_OBJ | GROUP | MASK, false},
};

static bool check_entry(const uint8_t *acl, size_t i)
{
    uint32_t tag = tag_of(acl, i), before = i > 0 ? tag_of(acl, i - 1) : 0;

    if ((perm_of(acl, i) & ~7u) != 0)
        return false;
    for (size_t k = 0; k < ARRAY_LEN(order); k++)
        if (order[k].tag == tag)
            return (before == 0 ? order[k].after == 0 : (order[k].after & before) != 0) &&
                   !(order[k].has_id && get32(entry(acl, i) + 4) == NOBODY);
    return false;
}

uint32_t acl_check(struct bytes acl)
{
    size_t n;

    if (acl.len == 0)
        return 0;
    if (acl.len < HEADER)
        return EINVAL;
    if (get32(acl.data) != VERSION)
        return EOPNOTSUPP;
    if ((acl.len - HEADER) % ENTRY != 0)
        return EINVAL;
    n = count(acl.len);
    for (size_t i = 0; i < n; i++)
        if (!check_entry(acl.data, i))
            return EINVAL;
    if (n > 0 && tag_of(acl.data, n - 1) != OTHER)
        return EINVAL;
    if ((find_tag(acl.data, acl.len, USER) != NO_ENTRIES ||
         find_tag(acl.data, acl.len, GROUP) != NO_ENTRIES) &&
        find_tag(acl.data, acl.len, MASK) == NO_ENTRIES)
        return EINVAL;
    return 0;
}

/* ---- ACLs and modes ---------------------------------------------------------------------------*/

uint64_t acl_mode(struct bytes acl, uint64_t mode, bool *more)
{
    uint64_t user = perm_of(acl.data, find_tag(acl.data, acl.len, USER_OBJ));
    uint64_t group = perm_of(acl.data, find_group(acl.data, acl.len));
    uint64_t other = perm_of(acl.data, find_tag(acl.data, acl.len, OTHER));

    *more = count(acl.len) > 3;
    return (mode & ~(uint64_t)0777) | user << 6 | group << 3 | other;
}

void acl_chmod(uint8_t *acl, size_t len, uint64_t mode)
{
    set_perm(acl, find_tag(acl, len, USER_OBJ), mode >> 6);
    set_perm(acl, find_group(acl, len), mode >> 3);
    set_perm(acl, find_tag(acl, len, OTHER), mode);
}

/* As Linux's posix_acl_permission: the first matching user entry decides; of the matching groups,
 * one that permits is enough. */
bool acl_permits(struct bytes acl, uint64_t uid, uint64_t inode_gid, unsigned use,
                 bool (*is_member)(const void *arg, uint64_t gid), const void *arg)
{
    size_t mask_at = find_tag(acl.data, acl.len, MASK);
    uint32_t mask = mask_at != NO_ENTRIES ? perm_of(acl.data, mask_at) : 7;
    bool any_group = false;

    for (size_t i = 0; i < count(acl.len); i++) {
        uint32_t tag = tag_of(acl.data, i), perm = perm_of(acl.data, i);
        uint32_t id = get32(entry(acl.data, i) + 4);

        if (tag == USER && id == uid)
            return (perm & mask & use) == use;
        if (tag == OTHER)
            return !any_group && (perm & use) == use;
        if ((tag == GROUP_OBJ && is_member(arg, inode_gid)) ||
            (tag == GROUP && is_member(arg, id))) {
            any_group = true;
            if ((perm & use) == use)
                return (perm & mask & use) == use;
        }
    }
    return false;
}

bool acl_create(uint8_t *acl, size_t len, uint64_t *mode)
{
    bool more;
    uint64_t permitted = acl_mode((struct bytes){acl, len}, 0, &more);

    *mode &= permitted | ~(uint64_t)0777;
    acl_chmod(acl, len, *mode);
    return more;
}

/* ---- Setting ----------------------------------------------------------------------------------*/

static const struct bytes access_name = {(const uint8_t *)ACL_ACCESS, sizeof ACL_ACCESS - 1};
static const struct bytes default_name = {(const uint8_t *)ACL_DEFAULT, sizeof ACL_DEFAULT - 1};

static bool same(struct bytes a, struct bytes b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

bool acl_is_name(struct bytes name)
{
    return same(name, access_name) || same(name, default_name);
}

/* Afterwards the xattr `name` holds `acl`, or does not exist if the ACL has no entries. */
static uint32_t put(struct op *op, struct op_inode *i, struct bytes name, struct bytes acl,
                    bool keep, bool *changed)
{
    *changed = keep || xattr_value_drop(op, i, name);
    return keep ? xattr_value_put(op, i, name, acl) : 0;
}

static uint32_t set_access(struct op *op, const Cfs__SetXattr *c, struct op_inode *i, bool *changed)
{
    struct bytes acl = op_bytes(c->value);
    uint64_t mode = i->is.mode;
    bool more = false;
    uint32_t status;

    if (acl.len > HEADER)
        mode = acl_mode(acl, mode, &more);
    if ((status = put(op, i, access_name, acl, more, changed)))
        return status;
    i->is.mode = mode;
    if (c->kill_sgid)
        i->is.mode &= ~(uint64_t)S_ISGID;
    *changed = *changed || i->is.mode != i->was.mode;
    return 0;
}

static uint32_t set_default(struct op *op, const Cfs__SetXattr *c, struct op_inode *i,
                            bool *changed)
{
    struct bytes acl = op_bytes(c->value);

    if (!op_is_dir(&i->was) && acl.len > HEADER)
        return EACCES;
    return put(op, i, default_name, acl, acl.len > HEADER, changed);
}

uint32_t acl_set(struct op *op, const Cfs__SetXattr *c)
{
    bool access = same(op_bytes(c->name), access_name);
    struct op_inode i;
    uint32_t status;
    bool changed;

    if ((status = acl_check(op_bytes(c->value))))
        return status;
    if (!op_inode_find(op, c->ino, &i))
        return ESTALE;
    if (op_type(&i.was) == S_IFLNK)
        return EOPNOTSUPP;
    status = access ? set_access(op, c, &i, &changed) : set_default(op, c, &i, &changed);
    if (status == 0 && changed)
        xattr_value_changed(op, &i);
    else if (status == 0)
        op_reply_attr(op, &i.is);
    return status;
}

void acl_mode_changed(struct op *op, const struct inode *inode)
{
    struct buf was = BUF_EMPTY, is;

    if (inode->xattr_bytes == 0 || !row_xattr_find(op->rows, inode->ino, access_name, &was))
        return;
    is = buf_copy(was.data, was.len);
    acl_chmod(is.data, is.len, inode->mode);
    row_xattr_update(op->rows, inode->ino, access_name, (struct bytes){was.data, was.len},
                     (struct bytes){is.data, is.len});
    buf_fini(&was);
    buf_fini(&is);
}

/* ---- Inheriting -------------------------------------------------------------------------------*/

/* Returns a copy that may be changed; op owns it. */
static uint8_t *copy(struct op *op, const struct buf *from)
{
    return memcpy(op_alloc(op, from->len), from->data, from->len);
}

void acl_inherit(struct op *op, const struct inode *dir, uint32_t mode, uint32_t umask,
                 struct acl_pair *out)
{
    uint64_t permissions = mode & 0777;
    struct buf dflt = BUF_EMPTY;
    uint8_t *access;

    *out = (struct acl_pair){.permissions = permissions & ~umask};
    if ((mode & S_IFMT) == S_IFLNK || dir->xattr_bytes == 0 ||
        !row_xattr_find(op->rows, dir->ino, default_name, &dflt))
        return;
    if ((mode & S_IFMT) == S_IFDIR)
        out->dflt = (struct bytes){copy(op, &dflt), dflt.len};
    access = copy(op, &dflt);
    if (acl_create(access, dflt.len, &permissions))
        out->access = (struct bytes){access, dflt.len};
    out->permissions = permissions;
    buf_fini(&dflt);
}

static uint64_t bytes_of(struct bytes acl, struct bytes name)
{
    return acl.len > 0 ? name.len + acl.len : 0;
}

uint64_t acl_pair_bytes(const struct acl_pair *p)
{
    return bytes_of(p->access, access_name) + bytes_of(p->dflt, default_name);
}

void acl_pair_insert(struct op *op, uint64_t ino, const struct acl_pair *p)
{
    if (p->access.len > 0)
        row_xattr_insert(op->rows, ino, access_name, p->access);
    if (p->dflt.len > 0)
        row_xattr_insert(op->rows, ino, default_name, p->dflt);
}
