/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/route.h"

#include <errno.h>

#include "fs/control/vdir.h"

/* Nothing in the control directory can be created, removed or renamed, and neither can the
 * directory itself. */
static bool is_refused(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!vdir_owns(parent) && !vdir_is_name(fs_of(req), parent, name))
        return false;
    fuse_reply_err(req, EPERM);
    return true;
}

static bool is_ours(fuse_req_t req, fuse_ino_t ino, int error)
{
    if (vdir_owns(ino))
        fuse_reply_err(req, error);
    return vdir_owns(ino);
}

/* ---- Names ---- */

static void route_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (vdir_owns(parent) || vdir_is_name(fs_of(req), parent, name))
        vdir_lookup(req, parent, name);
    else
        ops_table.lookup(req, parent, name);
}

static void route_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                        dev_t rdev)
{
    if (!is_refused(req, parent, name))
        ops_table.mknod(req, parent, name, mode, rdev);
}

static void route_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (!is_refused(req, parent, name))
        ops_table.mkdir(req, parent, name, mode);
}

static void route_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    if (!is_refused(req, parent, name))
        ops_table.symlink(req, target, parent, name);
}

static void route_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                         struct fuse_file_info *fi)
{
    if (!is_refused(req, parent, name))
        ops_table.create(req, parent, name, mode, fi);
}

static void route_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    if (!is_ours(req, ino, EPERM) && !is_refused(req, parent, name))
        ops_table.link(req, ino, parent, name);
}

static void route_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!is_refused(req, parent, name))
        ops_table.unlink(req, parent, name);
}

static void route_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!is_refused(req, parent, name))
        ops_table.rmdir(req, parent, name);
}

static void route_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                         const char *new_name, unsigned flags)
{
    if (!is_refused(req, parent, name) && !is_refused(req, new_parent, new_name))
        ops_table.rename(req, parent, name, new_parent, new_name, flags);
}

/* ---- Attributes ---- */

static void route_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_getattr(req, ino);
    else
        ops_table.getattr(req, ino, fi);
}

static void route_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                          struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_setattr(req, ino, to_set);
    else
        ops_table.setattr(req, ino, st, to_set, fi);
}

static void route_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                           size_t size, int flags)
{
    if (!is_ours(req, ino, EPERM))
        ops_table.setxattr(req, ino, name, value, size, flags);
}

static void route_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (!is_ours(req, ino, ENODATA))
        ops_table.getxattr(req, ino, name, size);
}

static void route_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (!vdir_owns(ino))
        ops_table.listxattr(req, ino, size);
    else if (size == 0)
        fuse_reply_xattr(req, 0);
    else
        fuse_reply_buf(req, NULL, 0);
}

static void route_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (!is_ours(req, ino, EPERM))
        ops_table.removexattr(req, ino, name);
}

/* ---- Open files ---- */

static void route_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_open(req, ino, fi);
    else
        ops_table.open(req, ino, fi);
}

static void route_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_read(req, ino, size, off, fi);
    else
        ops_table.read(req, ino, size, off, fi);
}

static void route_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (!is_ours(req, ino, 0))
        ops_table.flush(req, ino, fi);
}

static void route_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_release(req, fi);
    else
        ops_table.release(req, ino, fi);
}

static void route_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                        struct fuse_file_info *fi)
{
    if (!is_ours(req, ino, EINVAL))
        ops_table.lseek(req, ino, off, whence, fi);
}

/* EXDEV makes the kernel copy by reading and writing. */
static void route_copy_file_range(fuse_req_t req, fuse_ino_t src, off_t src_offset,
                                  struct fuse_file_info *src_fi, fuse_ino_t dst, off_t dst_offset,
                                  struct fuse_file_info *dst_fi, size_t len, int flags)
{
    if (!is_ours(req, src, EXDEV))
        ops_table.copy_file_range(req, src, src_offset, src_fi, dst, dst_offset, dst_fi, len,
                                  flags);
}

static void route_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                        struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
                        size_t out_size)
{
    if (!vdir_ioctl(req, ino, cmd, in, in_size, fi))
        ops_table.ioctl(req, ino, cmd, arg, fi, flags, in, in_size, out_size);
}

/* ---- Open directories ---- */

static void route_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_opendir(req, ino, fi);
    else
        ops_table.opendir(req, ino, fi);
}

static void route_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                          struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_readdir(req, size, off, false);
    else
        ops_table.readdir(req, ino, size, off, fi);
}

static void route_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                              struct fuse_file_info *fi)
{
    if (vdir_owns(ino))
        vdir_readdir(req, size, off, true);
    else
        ops_table.readdirplus(req, ino, size, off, fi);
}

static void route_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (!is_ours(req, ino, 0))
        ops_table.releasedir(req, ino, fi);
}

void route_make(struct fs *fs, struct fuse_lowlevel_ops *out)
{
    *out = ops_table;
    if (!fs->vdir.exists)
        return;
    out->lookup = route_lookup;
    out->mknod = route_mknod;
    out->mkdir = route_mkdir;
    out->symlink = route_symlink;
    out->create = route_create;
    out->link = route_link;
    out->unlink = route_unlink;
    out->rmdir = route_rmdir;
    out->rename = route_rename;
    out->getattr = route_getattr;
    out->setattr = route_setattr;
    out->setxattr = route_setxattr;
    out->getxattr = route_getxattr;
    out->listxattr = route_listxattr;
    out->removexattr = route_removexattr;
    out->open = route_open;
    out->read = route_read;
    out->flush = route_flush;
    out->release = route_release;
    out->lseek = route_lseek;
    out->copy_file_range = route_copy_file_range;
    out->ioctl = route_ioctl;
    out->opendir = route_opendir;
    out->readdir = route_readdir;
    out->readdirplus = route_readdirplus;
    out->releasedir = route_releasedir;
    out->poll = vdir_poll;
}
