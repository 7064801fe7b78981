/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/notify.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>

#define MINOR_EXPIRE 38 /* of the protocol */
#define MINOR_EPOCH  44
#define CODE_EPOCH   8 /* FUSE_NOTIFY_INC_EPOCH of newer headers */

static int send_notice(struct io *io, int code, const void *body, size_t len, const char *name)
{
    struct fuse_out_header header = {.error = code, .unique = 0};
    union {
        const void *in;
        void *out;
    } cast = {.in = body}, cast_name = {.in = name};
    struct iovec iov[3] = {
        {.iov_base = &header, .iov_len = sizeof(header)},
        {.iov_base = cast.out, .iov_len = len},
        {.iov_base = cast_name.out, .iov_len = name == NULL ? 0 : strlen(name) + 1},
    };

    header.len = (uint32_t)(sizeof(header) + iov[1].iov_len + iov[2].iov_len);
    return io_writev(io, iov, name != NULL ? 3 : body != NULL ? 2 : 1) < 0 ? -errno : 0;
}

static int inval_inode(struct io *io, uint64_t ino, int64_t off)
{
    struct fuse_notify_inval_inode_out out = {.ino = ino, .off = off, .len = 0};

    return send_notice(io, FUSE_NOTIFY_INVAL_INODE, &out, sizeof(out), NULL);
}

int notify_attr(struct io *io, uint64_t ino)
{
    return inval_inode(io, ino, -1);
}

int notify_inode(struct io *io, uint64_t ino)
{
    return inval_inode(io, ino, 0);
}

static int inval_entry(struct io *io, uint64_t parent, const char *name, uint32_t flags)
{
    struct fuse_notify_inval_entry_out out = {.parent = parent, .flags = flags};

    out.namelen = (uint32_t)strlen(name);
    return send_notice(io, FUSE_NOTIFY_INVAL_ENTRY, &out, sizeof(out), name);
}

int notify_entry(struct io *io, uint64_t parent, const char *name)
{
    return inval_entry(io, parent, name, 0);
}

int notify_expire(struct io *io, uint64_t parent, const char *name)
{
    return io->minor < MINOR_EXPIRE ? -ENOSYS : inval_entry(io, parent, name, FUSE_EXPIRE_ONLY);
}

int notify_delete(struct io *io, uint64_t parent, uint64_t child, const char *name)
{
    struct fuse_notify_delete_out out = {.parent = parent, .child = child};

    out.namelen = (uint32_t)strlen(name);
    return send_notice(io, FUSE_NOTIFY_DELETE, &out, sizeof(out), name);
}

bool notify_has_epoch(const struct io *io)
{
    return io->minor >= MINOR_EPOCH;
}

int notify_epoch(struct io *io)
{
    return !notify_has_epoch(io) ? -ENOSYS : send_notice(io, CODE_EPOCH, NULL, 0, NULL);
}
