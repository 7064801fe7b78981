/* SPDX-License-Identifier: Apache-2.0 */
/* Paths in mounted coordfs trees. */
#ifndef CLI_PATH_H
#define CLI_PATH_H

#include "base/base.h"

/* A descriptor of something in a mounted coordfs, opened with flags and O_CLOEXEC; -1 after a
 * message that names the path. */
int path_open(const char *path, int flags, unsigned mode);
/* False after a message: `fd`, which was opened as `path`, is in no coordfs. */
bool path_check(int fd, const char *path);

/* The directory of what path names, opened O_RDONLY, and the last part of the path (gives):
 * it need not exist. -1 after a message. A path that ends with a slash has an empty last
 * part if `bare`, and else is taken without the slash. */
int path_open_parent(const char *path, bool bare, char **last);

/* The filesystem that a descriptor is in. */
struct path_mount {
    char *mount; /* where it is mounted */
    char *root;  /* what of it: "/", or a directory (a bind mount); without a slash at its end */
};

bool path_find_mount(int fd, struct path_mount *out); /* false: no coordfs */
void path_mount_fini(struct path_mount *p);
/* The path from the filesystem's root that an absolute path of this host names (gives); NULL: it is
 * outside of the mount. Symlinks are not looked at. */
char *path_inside(const struct path_mount *p, const char *path);

/* An xattr's text, without "user.coordfs."; gives, NULL (with errno) when there is none. */
char *path_xattr(int fd, const char *name);

#endif
