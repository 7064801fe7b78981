/* SPDX-License-Identifier: Apache-2.0 */
#include "store/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DB           "coordfs.db"
#define LOCK         "coordfs.lock"
#define SNAPSHOT_IN  "coordfs.stage"
#define NEW          "coordfs.new"
#define SNAPSHOT_OUT "coordfs.copy-"

static int lock(struct state_dir *h)
{
    h->lock_fd = openat(h->dir_fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (h->lock_fd < 0)
        return -errno;
    if (flock(h->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    return 0;
}

static int remove_file(struct state_dir *h, const char *name)
{
    return unlinkat(h->dir_fd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

int state_dir_sync(struct state_dir *h)
{
    return fsync(h->dir_fd) == 0 ? 0 : -errno;
}

/* Finishes an installation if the file `new` exists. May be repeated after a crash at any point. */
static int finish_install(struct state_dir *h)
{
    int err;

    if (faccessat(h->dir_fd, NEW, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : -errno;
#ifndef BREAK_INSTALL
    if ((err = remove_file(h, DB "-wal")) != 0)
        return err;
#endif
    if ((err = remove_file(h, DB "-shm")) != 0 || (err = remove_file(h, DB "-journal")) != 0 ||
        (err = state_dir_sync(h)) != 0)
        return err;
    if (renameat(h->dir_fd, NEW, h->dir_fd, DB) != 0)
        return -errno;
    return state_dir_sync(h);
}

int state_dir_install(struct state_dir *h)
{
    int err;

    if (renameat(h->dir_fd, SNAPSHOT_IN, h->dir_fd, NEW) != 0)
        return -errno;
    if ((err = state_dir_sync(h)) != 0)
        return err;
    return finish_install(h);
}

static bool is_leftover(const char *name)
{
    return strncmp(name, SNAPSHOT_IN, strlen(SNAPSHOT_IN)) == 0 ||
           strncmp(name, SNAPSHOT_OUT, strlen(SNAPSHOT_OUT)) == 0;
}

static int remove_leftovers(struct state_dir *h)
{
    DIR *dir = opendir(h->dir);
    struct dirent *entry;
    int err = 0;

    if (dir == NULL)
        return -errno;
    while (err == 0 && (entry = readdir(dir)) != NULL)
        if (is_leftover(entry->d_name))
            err = remove_file(h, entry->d_name);
    closedir(dir);
    return err;
}

/* SQLite would make the file readable for all users. Its companion files take the file's mode. */
static int make_database(struct state_dir *h)
{
    int fd = openat(h->dir_fd, DB, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    close(fd);
    return state_dir_sync(h);
}

int state_dir_open(struct state_dir *h, const char *dir, char *errmsg, size_t errmsg_len)
{
    const char *what = "opening the directory";
    int err = 0;

    memset(h, 0, sizeof *h);
    h->lock_fd = -1;
    h->dir = xstrdup(dir);
    h->db = xasprintf("%s/" DB, dir);
    h->snapshot_in = xasprintf("%s/" SNAPSHOT_IN, dir);
    h->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (h->dir_fd < 0)
        err = -errno;
    if (err == 0) {
        what = "locking the directory";
        err = lock(h);
    }
    if (err == 0) {
        what = "finishing the installation of a snapshot";
        err = finish_install(h);
    }
    if (err == 0) {
        what = "deleting left-over files";
        err = remove_leftovers(h);
    }
    if (err == 0) {
        what = "creating the database";
        err = make_database(h);
    }
    if (err != 0) {
        snprintf(errmsg, errmsg_len, "%s: %s", what,
                 err == -EBUSY ? "in use by another process" : strerror(-err));
        state_dir_close(h);
    }
    return err;
}

void state_dir_close(struct state_dir *h)
{
    if (h->lock_fd >= 0)
        close(h->lock_fd);
    if (h->dir_fd >= 0)
        close(h->dir_fd);
    free(h->dir);
    free(h->db);
    free(h->snapshot_in);
    memset(h, 0, sizeof *h);
    h->dir_fd = h->lock_fd = -1;
}
