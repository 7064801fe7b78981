/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/path.h"

#include <errno.h>
#include <fcntl.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/explain.h"

#define FSTYPE "fuse.coordfs"

/* ---- Mounts: libmount reads /proc/self/mountinfo and touches no mounted path ----------------- */

static bool is_wanted(struct libmnt_fs *fs, const struct statx *wanted)
{
    const char *type = mnt_fs_get_fstype(fs);

    return type != NULL && strcmp(type, FSTYPE) == 0 &&
           mnt_fs_get_devno(fs) == makedev(wanted->stx_dev_major, wanted->stx_dev_minor) &&
           ((wanted->stx_mask & STATX_MNT_ID) == 0 ||
            (uint64_t)mnt_fs_get_id(fs) == wanted->stx_mnt_id);
}

bool path_find_mount(int fd, struct path_mount *out)
{
    struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
    struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
    struct libmnt_fs *fs;
    struct statx wanted;
    bool found = false;

    if (table != NULL &&
        statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &wanted) == 0)
        while (!found && mnt_table_next_fs(table, iter, &fs) == 0)
            found = is_wanted(fs, &wanted);
    if (found)
        *out = (struct path_mount){xstrdup(mnt_fs_get_target(fs)), xstrdup(mnt_fs_get_root(fs))};
    mnt_free_iter(iter);
    mnt_unref_table(table);
    return found;
}

void path_mount_fini(struct path_mount *p)
{
    free(p->mount);
    free(p->root);
}

char *path_inside(const struct path_mount *p, const char *path)
{
    size_t len = strcmp(p->mount, "/") == 0 ? 0 : strlen(p->mount);
    const char *root = strcmp(p->root, "/") == 0 ? "" : p->root;

    if (strncmp(path, p->mount, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return xasprintf("%s%s", root, path[len] == '\0' ? "/" : path + len);
}

/* ---- Opening ----------------------------------------------------------------------------------*/

bool path_check(int fd, const char *path)
{
    struct path_mount mounted;

    if (!path_find_mount(fd, &mounted)) {
        cli_fail(0, "%s: %s", path, explain_text(EXPLAIN_NOT_COORDFS));
        return false;
    }
    path_mount_fini(&mounted);
    return true;
}

int path_open(const char *path, int flags, unsigned mode)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);

    if (fd < 0) {
        cli_fail(0, "%s: %s", path, explain_errno(errno));
        return -1;
    }
    if (path_check(fd, path))
        return fd;
    close(fd);
    return -1;
}

int path_open_parent(const char *path, bool bare, char **last)
{
    char *dir = xstrdup(path);
    size_t len = strlen(dir);
    char *slash;
    int fd;

    while (!bare && len > 1 && dir[len - 1] == '/')
        dir[--len] = '\0';
    slash = strrchr(dir, '/');
    *last = xstrdup(slash != NULL ? slash + 1 : dir);
    if (slash != NULL)
        slash[slash == dir ? 1 : 0] = '\0';
    fd = path_open(slash != NULL ? dir : ".", O_RDONLY | O_DIRECTORY, 0);
    free(dir);
    if (fd < 0) {
        free(*last);
        *last = NULL;
    }
    return fd;
}

char *path_xattr(int fd, const char *name)
{
    char *full = xasprintf("user.coordfs.%s", name);
    char value[65536];
    ssize_t n = fgetxattr(fd, full, value, sizeof value - 1);

    free(full);
    if (n < 0)
        return NULL;
    value[n] = '\0';
    return xstrdup(value);
}
