/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2) and umount(2), and the removal of dead mounts.
 *
 * A mount whose daemon was killed stays: every access gives ENOTCONN until somebody unmounts it. A
 * new daemon that finds such a dead mount of ours at its mountpoint removes it. A mount that still
 * answers belongs to a running daemon, so the new daemon refuses to cover it. */
#include "fs/kernel/mount.h"

#include <errno.h>
#include <libmount.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"

#define MOUNT_LEFTOVERS_MAX 16 /* dead mounts on top of each other */

/* Calls fn for each mount, in the order of mounting, until it returns true. libmount reads the list
 * only: it touches no mounted path, which could wait for this very daemon. */
static void each_mount(bool (*fn)(void *arg, struct libmnt_fs *m), void *arg)
{
    struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
    struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
    struct libmnt_fs *m;

    if (table == NULL)
        log_error("/proc/self/mountinfo: %s", strerror(errno));
    while (table != NULL && mnt_table_next_fs(table, iter, &m) == 0)
        if (fn(arg, m))
            break;
    mnt_free_iter(iter);
    mnt_unref_table(table);
}

struct find {
    const char *path; /* looked for by path (the topmost one) … */
    int id;           /* … or by id */
    bool found;
    bool ours;
    bool read_only;
    int device;
    char at[PATH_MAX];
};

static bool find_path(void *arg, struct libmnt_fs *m)
{
    struct find *find = arg;

    if (strcmp(mnt_fs_get_target(m), find->path) == 0) {
        find->found = true;
        find->id = mnt_fs_get_id(m);
        find->ours = strcmp(mnt_fs_get_fstype(m), MOUNT_TYPE) == 0;
    }
    return false;
}

static bool find_id(void *arg, struct libmnt_fs *m)
{
    struct find *find = arg;

    if (mnt_fs_get_id(m) != find->id)
        return false;
    find->read_only = strncmp(mnt_fs_get_vfs_options(m), "ro", 2) == 0;
    find->device = (int)minor(mnt_fs_get_devno(m));
    find->found = strlen(mnt_fs_get_target(m)) < sizeof(find->at);
    if (find->found)
        strcpy(find->at, mnt_fs_get_target(m));
    return true;
}

/* realpath(3) that does not touch the last component: a dead mount may be behind it. The exceptions
 * are "." and "..", which must be resolved. */
static int absolute(const char *path, char out[PATH_MAX])
{
    char *copy = xstrdup(path);
    size_t len = strlen(copy);
    char *slash, *base, parent[PATH_MAX];
    int err = 0, n;

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    slash = strrchr(copy, '/');
    base = slash == NULL ? copy : slash + 1;
    if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        err = realpath(copy, out) == NULL ? -errno : 0;
        goto out;
    }
    if (slash != NULL)
        *slash = '\0';
    if (realpath(slash == NULL ? "." : slash == copy ? "/" : copy, parent) == NULL) {
        err = -errno;
        goto out;
    }
    n = snprintf(out, PATH_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base);
    err = n < PATH_MAX ? 0 : -ENAMETOOLONG;
out:
    free(copy);
    return err;
}

/* Follows symbolic links at the end, unless a mount is there (then it is no link). */
static int resolve(const char *mountpoint, char out[PATH_MAX])
{
    struct find find = {.path = out};
    int err = absolute(mountpoint, out);

    if (err != 0)
        return err;
    each_mount(find_path, &find);
    if (find.found)
        return 0;
    return realpath(mountpoint, out) == NULL ? -errno : 0;
}

static int refuse(int err, char *errmsg, size_t len, const char *path, const char *why)
{
    snprintf(errmsg, len, "%s: %s", path, why);
    return err;
}

/* Unmounts dead mounts of ours at `path`. -EBUSY if a mount of ours there is alive. */
static int clear_leftovers(const char *path, char *errmsg, size_t errmsg_len)
{
    for (int i = 0; i < MOUNT_LEFTOVERS_MAX; i++) {
        struct find find = {.path = path};
        struct statfs st;

        each_mount(find_path, &find);
        if (!find.found || !find.ours)
            return 0;
        /* Not stat(2): the kernel may answer it from its cache for a dead mount. */
        if (statfs(path, &st) == 0 || (errno != ENOTCONN && errno != ECONNABORTED))
            return refuse(-EBUSY, errmsg, errmsg_len, path,
                          "coordfs is already mounted there; unmount it first");
        log_info("%s: unmounting what a dead daemon left behind", path);
        if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
            return refuse(-errno, errmsg, errmsg_len, path, strerror(errno));
    }
    return refuse(-EBUSY, errmsg, errmsg_len, path, "too many dead mounts");
}

int mount_open(const struct fs_options *options, int dev_fd, int *id, char *errmsg,
               size_t errmsg_len)
{
    char path[PATH_MAX], data[160];
    struct find find = {.path = path};
    struct stat st;
    int err = resolve(options->mountpoint, path);

    if (err != 0)
        return refuse(err, errmsg, errmsg_len, options->mountpoint, strerror(-err));
    err = clear_leftovers(path, errmsg, errmsg_len);
    if (err != 0)
        return err;
    if (stat(path, &st) != 0)
        return refuse(-errno, errmsg, errmsg_len, path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return refuse(-ENOTDIR, errmsg, errmsg_len, path, "not a directory");
    snprintf(data, sizeof(data),
             "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", dev_fd);
    if (mount(options->source, path, MOUNT_TYPE, options->ms_flags, data) != 0)
        return refuse(-errno, errmsg, errmsg_len, path, strerror(errno));
    each_mount(find_path, &find);
    *id = find.found && find.ours ? find.id : -1;
    return 0;
}

void mount_close(int id)
{
    struct find ours = {.id = id};
    struct find top = {.path = ours.at};

    if (id < 0)
        return;
    each_mount(find_id, &ours);
    if (!ours.found)
        return; /* another process has unmounted it */
    each_mount(find_path, &top);
    if (top.id != id)
        log_warn("%s stays mounted: something else is mounted over it", ours.at);
    else if (umount2(ours.at, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
        log_warn("cannot unmount %s: %s", ours.at, strerror(errno));
}

static bool find_child(void *arg, struct libmnt_fs *m)
{
    struct find *find = arg;

    find->found = mnt_fs_get_parent_id(m) == find->id;
    return find->found;
}

bool mount_has_submounts(int id)
{
    struct find find = {.id = id};

    each_mount(find_child, &find);
    return find.found;
}

int mount_device(int id)
{
    struct find find = {.id = id, .device = -1};

    each_mount(find_id, &find);
    return find.device;
}

bool mount_is_read_only(int id)
{
    struct find find = {.id = id};

    each_mount(find_id, &find);
    return find.read_only;
}
