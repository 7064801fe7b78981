/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/kernel/convert.h"
#include "fs/kernel/credentials.h"
#include "fs/ops/ops.h"
#include "proto/limits.h"

#define TRUSTED "trusted."

/* The namespaces of a local filesystem; of system.* only these names exist. */
static const char *const namespaces[] = {"user.", TRUSTED, "security."};
static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};

/* ---- The numbers of a znode, as in ZooKeeper's Stat ----
 *
 * They are read-only and not listed: programs that copy all xattrs could not set them. The state
 * machine decides which others can be set, and by whom (user.coordfs.ephemeral …). */

#define ZNODE   "user.coordfs."
#define HISTORY ZNODE "history" /* of the root: number of changes that are kept; root only */

static const struct {
    const char *name;
    size_t offset; /* offset of the number in Cfs__Attr */
} znode_numbers[] = {
    {"version", offsetof(Cfs__Attr, version)},
    {"cversion", offsetof(Cfs__Attr, cversion)},
    {"aversion", offsetof(Cfs__Attr, aversion)},
    {"created", offsetof(Cfs__Attr, created)},
    {"modified", offsetof(Cfs__Attr, modified)},
    {"children_modified", offsetof(Cfs__Attr, children_modified)},
};

/* The fencing token of the lock that this host holds on the file: the newest, if it holds several.
 */
static int64_t get_fence(struct fs *fs, uint64_t ino, char *out, size_t size)
{
    const struct backend *b = &fs->backend;
    uint64_t fence;
    int err = b->ops->fence(b->ctx, locks_session(fs), ino, &fence);

    return err != 0 ? err : snprintf(out, size, "%llu", (unsigned long long)fence);
}

static bool is_znode_name(const char *name)
{
    return strncmp(name, ZNODE, strlen(ZNODE)) == 0;
}

static size_t find_znode_number(const char *name)
{
    size_t i = 0;

    while (i < ARRAY_LEN(znode_numbers) && strcmp(name + strlen(ZNODE), znode_numbers[i].name) != 0)
        i++;
    return i;
}

/* A number in decimal, or the store's value of that name; returns its length, or -errno. */
static int64_t get_znode(struct fs *fs, uint64_t ino, const char *name, char *out, size_t size)
{
    const struct backend *b = &fs->backend;
    size_t which = find_znode_number(name);
    Cfs__Attr attr = CFS__ATTR__INIT;
    uint64_t number;
    int error;

    if (which == ARRAY_LEN(znode_numbers))
        return b->ops->getxattr(b->ctx, ino, name, strlen(name), out, size);
    error = attr_get(fs, ino, &attr);
    if (error != 0)
        return -error;
    memcpy(&number, (const char *)&attr + znode_numbers[which].offset, sizeof(number));
    return snprintf(out, size, "%llu", (unsigned long long)number);
}

static void finish_xattr(struct request *r, int error)
{
    fuse_reply_err(r->req, error);
}

/* The kernel has checked that the caller may write the inode. A special attribute of coordfs needs
 * more than that, so the command carries the credentials and the state machine checks them: *cred
 * points to the field. */
static void submit(fuse_req_t req, uint64_t ino, const char *name, Cfs__Cred **cred,
                   const Cfs__Command *command)
{
    struct request *r = request_new(fs_of(req), req, finish_xattr);
    struct credentials credentials = {.capabilities = 0};

    if (is_znode_name(name) && fuse_req_ctx(req)->uid != 0) {
        credentials_init(&credentials, fuse_req_ctx(req));
        *cred = &credentials.cred;
    }
    r->dirs[0] = ino;
    request_submit(r, command);
    credentials_fini(&credentials);
}

/* 0, or the errno for a name that no inode can have. */
static int name_error(const char *name)
{
    if (strlen(name) > LIMIT_XATTR_NAME)
        return ERANGE;
    for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
        if (strncmp(name, namespaces[i], strlen(namespaces[i])) == 0)
            return name[strlen(namespaces[i])] == '\0' ? EINVAL : 0;
    for (size_t i = 0; i < ARRAY_LEN(acls); i++)
        if (strcmp(name, acls[i]) == 0)
            return 0;
    return EOPNOTSUPP;
}

/* 0, or the errno for a name that the caller cannot set. */
static int set_error(fuse_req_t req, const char *name)
{
    int error = name_error(name);

    return error == 0 && strcmp(name, HISTORY) == 0 && fuse_req_ctx(req)->uid != 0 ? EPERM : error;
}

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                  int flags)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__SetXattr set = CFS__SET_XATTR__INIT;
    int error = set_error(req, name);

    if (error == 0 && size > LIMIT_XATTR_VALUE)
        error = E2BIG;
    if (error == 0 && (flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0)
        error = EINVAL;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    set.ino = ino;
    set.name = convert_bytes(name, strlen(name));
    set.value = convert_bytes(value, size);
    set.kill_sgid = io_kill_sgid(&fs_of(req)->io) && strcmp(name, acls[0]) == 0;
    set.mode = (flags & XATTR_CREATE) != 0    ? CFS__SET_XATTR__MODE__CREATE
               : (flags & XATTR_REPLACE) != 0 ? CFS__SET_XATTR__MODE__REPLACE
                                              : CFS__SET_XATTR__MODE__ANY;
    command.op_case = CFS__COMMAND__OP_SET_XATTR;
    command.set_xattr = &set;
    submit(req, ino, name, &set.cred, &command);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__RemoveXattr remove = CFS__REMOVE_XATTR__INIT;
    int error = set_error(req, name);

    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    remove.ino = ino;
    remove.name = convert_bytes(name, strlen(name));
    command.op_case = CFS__COMMAND__OP_REMOVE_XATTR;
    command.remove_xattr = &remove;
    submit(req, ino, name, &remove.cred, &command);
}

/* n: the length of the value in fs->scratch, or -errno. The kernel asks for the length with size 0.
 */
static void reply_bytes(fuse_req_t req, int64_t n, size_t size)
{
    struct fs *fs = fs_of(req);

    n = mirror_xattr(req, n);
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)n);
    else if ((size_t)n > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, (const char *)fs->scratch, (size_t)n);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fs *fs = fs_of(req);
    const struct backend *b = &fs->backend;
    int error = name_error(name);
    int64_t n;

    if (error != 0)
        n = -error;
    else if (strcmp(name, ZNODE "fence") == 0)
        n = get_fence(fs, ino, (char *)fs->scratch, LIMIT_XATTR_VALUE);
    else if (is_znode_name(name))
        n = get_znode(fs, ino, name, (char *)fs->scratch, LIMIT_XATTR_VALUE);
    else
        n = b->ops->getxattr(b->ctx, ino, name, strlen(name), fs->scratch, LIMIT_XATTR_VALUE);
    reply_bytes(req, n, size);
}

/* Only root sees trusted.*. */
static int64_t hide_trusted(char *list, int64_t len)
{
    int64_t kept = 0;

    for (int64_t i = 0; i < len;) {
        int64_t n = (int64_t)strlen(list + i) + 1;

        if (strncmp(list + i, TRUSTED, strlen(TRUSTED)) != 0) {
            memmove(list + kept, list + i, (size_t)n);
            kept += n;
        }
        i += n;
    }
    return kept;
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fs *fs = fs_of(req);
    const struct backend *b = &fs->backend;
    int64_t n = b->ops->listxattr(b->ctx, ino, (char *)fs->scratch, LIMIT_XATTR_TOTAL);

    if (n > 0 && fuse_req_ctx(req)->uid != 0)
        n = hide_trusted((char *)fs->scratch, n);
    reply_bytes(req, n, size);
}
