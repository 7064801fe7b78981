/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli/cli.h"

#define FSTYPE "fuse.coordfs"

/* ---- /proc/self/mountinfo: ID PARENT MAJOR:MINOR ROOT MOUNTPOINT … - TYPE … ------------------*/

/* A space in a path is written \040; in place. */
static void unescape(char *s)
{
    char *out = s;

    while (*s != '\0') {
        if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
            *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

static bool parse_mount(char *line, const struct statx *wanted, struct path_mount *out)
{
    const char *rest = strstr(line, " - ");
    char *root = NULL, *mount = NULL;
    unsigned major, minor;
    unsigned long long id;
    bool found;

    found = rest != NULL && strncmp(rest + 3, FSTYPE " ", strlen(FSTYPE) + 1) == 0 &&
            sscanf(line, "%llu %*u %u:%u %ms %ms", &id, &major, &minor, &root, &mount) == 5 &&
            major == wanted->stx_dev_major && minor == wanted->stx_dev_minor &&
            ((wanted->stx_mask & STATX_MNT_ID) == 0 || id == wanted->stx_mnt_id);
    if (found) {
        unescape(root);
        unescape(mount);
        *out = (struct path_mount){mount, root};
        return true;
    }
    free(root);
    free(mount);
    return false;
}

bool path_find_mount(int fd, struct path_mount *out)
{
    FILE *stream = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    size_t size = 0;
    char *line = NULL;
    struct statx wanted;

    if (stream == NULL)
        return false;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &wanted) == 0)
        while (!found && getline(&line, &size, stream) > 0)
            found = parse_mount(line, &wanted, out);
    free(line);
    fclose(stream);
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
        cli_fail(0, "%s: not in a mounted coordfs", path);
        return false;
    }
    path_mount_fini(&mounted);
    return true;
}

int path_open(const char *path, int flags, unsigned mode)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);

    if (fd < 0) {
        cli_fail(0, "%s: %s", path, strerror(errno));
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
