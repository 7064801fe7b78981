/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2) and umount(2), and the removal of dead mounts.
 *
 * A mount whose daemon was killed stays: every access gives ENOTCONN until somebody unmounts it. A
 * new daemon that finds such a dead mount of ours at its mountpoint removes it. A mount that still
 * answers belongs to a running daemon, so the new daemon refuses to cover it. */
#include "fs/kernel/mount.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/log.h"

#define MOUNT_LEFTOVERS_MAX 16 /* dead mounts on top of each other */

struct mount_line {
    int id;
    int parent; /* mountpoint */
    int device; /* minor number */
    char *path;
    char *options; /* of the mount: "rw,nosuid…" */
    char *type;
};

/* mountinfo writes blanks and similar bytes in names as \ooo. */
static void unescape(char *s)
{
    char *out = s;

    for (; *s != '\0'; s++) {
        unsigned value;

        if (s[0] == '\\' && sscanf(s + 1, "%3o", &value) == 1 && strlen(s) >= 4) {
            *out++ = (char)value;
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* Format: "36 35 98:0 /root /path opts tags… - type source superopts". Cuts `line` into pieces. */
static bool parse_line(char *line, struct mount_line *out)
{
    char *save = NULL, *word = strtok_r(line, " ", &save);

    memset(out, 0, sizeof(*out));
    for (int i = 0; word != NULL; i++, word = strtok_r(NULL, " ", &save)) {
        if (i == 0)
            out->id = atoi(word);
        else if (i == 1)
            out->parent = atoi(word);
        else if (i == 2)
            out->device = strchr(word, ':') == NULL ? -1 : atoi(strchr(word, ':') + 1);
        else if (i == 4)
            out->path = word;
        else if (i == 5)
            out->options = word;
        else if (i > 5 && strcmp(word, "-") == 0) {
            out->type = strtok_r(NULL, " ", &save);
            break;
        }
    }
    if (out->path == NULL || out->type == NULL)
        return false;
    unescape(out->path);
    return true;
}

/* Calls fn for each mount, in the order of mounting, until fn returns true. */
static void each_mount(bool (*fn)(void *arg, const struct mount_line *m), void *arg)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    struct mount_line m;

    if (file == NULL) {
        log_error("/proc/self/mountinfo: %s", strerror(errno));
        return;
    }
    while (getline(&line, &size, file) > 0)
        if (parse_line(line, &m) && fn(arg, &m))
            break;
    free(line);
    fclose(file);
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

static bool find_path(void *arg, const struct mount_line *m)
{
    struct find *find = arg;

    if (strcmp(m->path, find->path) == 0) {
        find->found = true;
        find->id = m->id;
        find->ours = strcmp(m->type, MOUNT_TYPE) == 0;
    }
    return false;
}

static bool find_id(void *arg, const struct mount_line *m)
{
    struct find *find = arg;

    if (m->id != find->id)
        return false;
    find->read_only = strncmp(m->options, "ro", 2) == 0;
    find->device = m->device;
    find->found = strlen(m->path) < sizeof(find->at);
    if (find->found)
        strcpy(find->at, m->path);
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

static bool find_child(void *arg, const struct mount_line *m)
{
    struct find *find = arg;

    find->found = m->parent == find->id;
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
