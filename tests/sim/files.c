/* SPDX-License-Identifier: Apache-2.0 */
/* File operations that the store makes without SQLite. The linker redirects them here (--wrap, see
 * the Makefile), so that a power cut can undo their effects, too. */
#include "tests/sim/files.h"

#include <errno.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/lib/crash_vfs.h"

#define WRAP(name) __wrap_##name
#define REAL(name) __real_##name

ssize_t WRAP(pwrite64)(int fd, const void *data, size_t len, off_t at);
int WRAP(fsync)(int fd);
int WRAP(renameat)(int from_fd, const char *from, int to_fd, const char *to);
int WRAP(unlinkat)(int fd, const char *name, int flags);
int WRAP(unlink)(const char *path);

ssize_t REAL(pwrite64)(int fd, const void *data, size_t len, off_t at);
int REAL(fsync)(int fd);
int REAL(renameat)(int from_fd, const char *from, int to_fd, const char *to);
int REAL(unlinkat)(int fd, const char *name, int flags);
int REAL(unlink)(const char *path);

/* Finds the path of an open file, or of a name in an open directory. False: not on a simulated
 * disk. */
static bool path_of(int fd, const char *name, char *out, size_t size)
{
    char link[40];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, out, size - 1);
    if (len < 0)
        return false;
    out[len] = '\0';
    if (name != NULL)
        snprintf(out + len, size - (size_t)len, "/%s", name);
    return files_ours(out);
}

ssize_t WRAP(pwrite64)(int fd, const void *data, size_t len, off_t at)
{
    char path[300];

    if (!path_of(fd, NULL, path, sizeof path))
        return REAL(pwrite64)(fd, data, len, at);
    crash_vfs_written(path, (uint64_t)at, data, len);
    if (files_fail(path)) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwrite64)(fd, data, len, at);
}

int WRAP(fsync)(int fd)
{
    char path[300];

    if (!path_of(fd, NULL, path, sizeof path))
        return REAL(fsync)(fd);
    crash_vfs_synced(path);
    return 0;
}

int WRAP(renameat)(int from_fd, const char *from, int to_fd, const char *to)
{
    char a[300], b[300];
    int err = REAL(renameat)(from_fd, from, to_fd, to);

    if (err == 0 && path_of(from_fd, from, a, sizeof a) && path_of(to_fd, to, b, sizeof b))
        crash_vfs_renamed(a, b);
    return err;
}

int WRAP(unlinkat)(int fd, const char *name, int flags)
{
    char path[300];
    int err = REAL(unlinkat)(fd, name, flags);

    if (err == 0 && path_of(fd, name, path, sizeof path))
        crash_vfs_removed(path);
    return err;
}

int WRAP(unlink)(const char *path)
{
    int err = REAL(unlink)(path);

    if (err == 0 && files_ours(path))
        crash_vfs_removed(path);
    return err;
}
