/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ops/ops.h"

#include <errno.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "fs/kernel/notify.h"
#include "proto/limits.h"

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
    struct fs *fs = userdata;

    if (!fs->options.uncached && (conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA) != 0) {
        conn->want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
        conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    }
    conn->want |= conn->capable & FUSE_CAP_CACHE_SYMLINKS;
    /* The kernel checks ACLs; umask and inheritance are the state machine's. */
    conn->want |= conn->capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK);
#ifdef FUSE_CAP_SETXATTR_EXT
    conn->want &= ~(unsigned)FUSE_CAP_SETXATTR_EXT; /* see fs/kernel/io.h */
#endif
    conn->max_write = LIMIT_WRITE_MAX;
    /* RELEASE is a background request: the queue must not hold it up behind reads. */
    conn->max_background = 1024;
    conn->congestion_threshold = 1024;
    /* Direct writes of one call go one after another, in order. */
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

int ops_attr(struct fs *fs, uint64_t ino, Cfs__Attr *out)
{
    int err = fs->backend.ops->attr(fs->backend.ctx, ino, out);

    if (err == 0) {
        node_note(&fs->nodes, out);
        writeback_show(fs, out);
        return 0;
    }
    if (err != -ESTALE)
        return -err;
    return node_dead(&fs->nodes, ino, out) ? 0 : ESTALE;
}

int ops_dir_error(struct fs *fs, fuse_req_t req, uint64_t dir, int error)
{
    if (error == ESTALE && node_insists(&fs->nodes, dir, fuse_req_ctx(req)->pid))
        return ENOENT;
    return error;
}

double ops_valid_s(const struct fs *fs)
{
    if (fs->options.uncached || fs->options.strong)
        return 0;
    return notify_has_epoch(&fs->io) ? OPS_VALID_S : OPS_VALID_SHORT_S;
}

double ops_attr_valid_s(struct fs *fs, uint64_t ino)
{
    return writeback_exists(fs, ino) ? 0 : ops_valid_s(fs);
}

static int open_error(struct fs *fs, int tid, const Cfs__Attr *attr, bool found)
{
    const struct node *node = node_find(&fs->nodes, attr->ino);
    bool unlinked = attr->nlink == 0, moving = lane_moves(fs, node);

    if (!unlinked && !moving)
        return 0;
    if (!found && !node_insists(&fs->nodes, attr->ino, tid))
        return ESTALE;
    if (!unlinked || S_ISDIR(attr->mode) || found)
        return 0;
    return opens_count(&fs->opens, attr->ino) == 0 ? ESTALE : 0;
}

int ops_open_error(struct fs *fs, fuse_req_t req, uint64_t ino, Cfs__Attr *out)
{
    struct node *node = node_find(&fs->nodes, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error, tid = fuse_req_ctx(req)->pid;
    bool found = again_take(&fs->again, tid, ino);

    if (out == NULL && node != NULL && node->alive && !lane_moves(fs, node))
        return 0;
    error = ops_attr(fs, ino, &attr);
    if (error == 0)
        error = open_error(fs, tid, &attr, found);
    if (error == ESTALE && !found)
        again_told(&fs->again, tid);
    if (error == 0 && node != NULL)
        node->alive = attr.nlink > 0;
    if (out != NULL)
        *out = attr;
    return error;
}

void ops_entry(struct fs *fs, const Cfs__Attr *attr, struct fuse_entry_param *out)
{
    memset(out, 0, sizeof(*out));
    out->ino = attr->ino;
    out->attr_timeout = ops_attr_valid_s(fs, attr->ino);
    out->entry_timeout = ops_valid_s(fs);
    convert_stat(attr, &out->attr);
}

int ops_name_error(const char *name)
{
    return strlen(name) > LIMIT_NAME_MAX ? ENAMETOOLONG : 0;
}
