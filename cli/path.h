/* SPDX-License-Identifier: Apache-2.0 */
/* Paths in mounted coordfs trees. */
#ifndef CLI_PATH_H
#define CLI_PATH_H

#include "base/base.h"

/* Opens a path in a mounted coordfs with flags and O_CLOEXEC. -1 after a message that names the
 * path. */
int path_open(const char *path, int flags, unsigned mode);
/* False, after a message, if `fd` (opened as `path`) is not in a mounted coordfs. */
bool path_check(int fd, const char *path);

/* Opens the directory of the path O_RDONLY and gives the last part of the path in *last; that entry
 * need not exist. -1 after a message. If the path ends with a slash, the last part is empty if
 * `bare` is set; otherwise the slash is ignored. */
int path_open_parent(const char *path, bool bare, char **last);

/* A mounted coordfs. */
struct path_mount {
    char *mount; /* its mountpoint */
    char *root;  /* the mounted directory: "/", or another one (a bind mount); no final slash */
};

/* Finds the mount that contains `fd`. False: it is not a coordfs. */
bool path_find_mount(int fd, struct path_mount *out);
void path_mount_fini(struct path_mount *p);
/* Translates an absolute path of this host into a path from the filesystem's root (gives). NULL: it
 * is outside the mount. Does not follow symlinks. */
char *path_inside(const struct path_mount *p, const char *path);

/* The value of the xattr user.coordfs.NAME (gives), or NULL with errno. */
char *path_xattr(int fd, const char *name);

#endif
