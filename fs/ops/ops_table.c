/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"
#include "proto/limits.h"

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
    struct fs *fs = userdata;

    if (!fs->options.uncached && (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) != 0) {
        conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
        conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    }
    conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
    /* The kernel checks ACLs; the state machine applies umask and inheritance. */
    conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK);
#ifdef FUSE_CAP_SETXATTR_EXT
    conn->want &= ~(unsigned)FUSE_CAP_SETXATTR_EXT; /* see fs/kernel/io.h */
#endif
    conn->max_write = LIMIT_WRITE_MAX;
    /* RELEASE is a background request: it must not wait in the queue behind reads. */
    conn->max_background = 1024;
    conn->congestion_threshold = 1024;
    /* Direct writes of one call come one after another, in order. */
    conn->want &= ~(unsigned)FUSE_CAP_ASYNC_DIO;
    conn->time_gran = 1;
}

const struct fuse_lowlevel_ops ops_table = {
    .init = ops_init,
    .lookup = ops_lookup,
    .forget = ops_forget,
    .forget_multi = ops_forget_multi,
    .getattr = ops_getattr,
    .setattr = ops_setattr,
    .readlink = ops_readlink,
    .mknod = ops_mknod,
    .mkdir = ops_mkdir,
    .unlink = ops_unlink,
    .rmdir = ops_rmdir,
    .symlink = ops_symlink,
    .rename = ops_rename,
    .link = ops_link,
    .open = ops_open,
    .read = ops_read,
    .write = ops_write,
    .flush = ops_flush,
    .release = ops_release,
    .fsync = ops_fsync,
    .opendir = ops_opendir,
    .readdir = ops_readdir,
    .readdirplus = ops_readdirplus,
    .releasedir = ops_releasedir,
    .fsyncdir = ops_fsyncdir,
    .statfs = ops_statfs,
    .setxattr = ops_setxattr,
    .getxattr = ops_getxattr,
    .listxattr = ops_listxattr,
    .removexattr = ops_removexattr,
    .create = ops_create,
    .ioctl = ops_ioctl,
    .fallocate = ops_fallocate,
    .copy_file_range = ops_copy_file_range,
    .lseek = ops_lseek,
    .flock = ops_flock,
    .setlk = ops_setlk,
    .getlk = ops_getlk,
};
