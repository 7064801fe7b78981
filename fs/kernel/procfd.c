/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/procfd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_MAX     4096 /* descriptors that are examined */
#define TEXT_MAX    512
#define SLEEP_LOOKS 20 /* for a thread that is about to sleep */
#define SLEEP_US    100
#define STATUS_MAX  (1u << 20) /* 65536 groups, of up to 10 digits */

/* The number behind "key:" in the text; false if there is none. */
static bool number_of(const char *text, const char *key, int base, unsigned long long *out)
{
    const char *at = strstr(text, key);

    if (at == NULL)
        return false;
    *out = strtoull(at + strlen(key), NULL, base);
    return true;
}

/* The fields of a descriptor's fdinfo that are used here; they stand at its beginning. */
static bool read_entry(int dir, const char *name, char text[TEXT_MAX])
{
    ssize_t n;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    n = read(fd, text, TEXT_MAX - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return true;
}

static bool entry_writes(int dir, const char *name, uint64_t ino)
{
    unsigned long long flags, number;
    char text[TEXT_MAX];

    return read_entry(dir, name, text) && number_of(text, "\nino:", 10, &number) && number == ino &&
           number_of(text, "flags:", 8, &flags) && (flags & O_ACCMODE) != O_RDONLY;
}

bool procfd_writes(pid_t tid, uint64_t ino)
{
    char path[64];
    struct dirent *e;
    DIR *dir;
    bool found = false;

    if (tid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)tid);
    dir = opendir(path);
    if (dir == NULL)
        return false;
    for (unsigned i = 0; !found && i < FDS_MAX && (e = readdir(dir)) != NULL; i++)
        found = e->d_name[0] != '.' && entry_writes(dirfd(dir), e->d_name, ino);
    closedir(dir);
    return found;
}

static bool entry_listens(int dir, const char *name)
{
    char target[32];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);

    if (n < 0)
        return false;
    target[n] = '\0';
    return strstr(target, "notify") != NULL && strncmp(target, "anon_inode:", 11) == 0;
}

bool procfd_listens(pid_t tid)
{
    char path[64];
    struct dirent *e;
    DIR *dir;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)tid);
    dir = tid <= 0 ? NULL : opendir(path);
    if (dir == NULL)
        return true;
    for (unsigned i = 0; !found && (e = readdir(dir)) != NULL; i++)
        found = i >= FDS_MAX || (e->d_name[0] != '.' && entry_listens(dirfd(dir), e->d_name));
    closedir(dir);
    return found;
}

bool procfd_status(pid_t tid, struct buf *out)
{
    char path[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    do {
        buf_reserve(out, 4096);
        n = read(fd, out->data + out->len, 4095);
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && out->len < STATUS_MAX);
    close(fd);
    out->data[out->len] = '\0';
    return n == 0;
}

/* A caller that waits for our answer sleeps as soon as it has run. Reading `syscall` takes exec's
 * lock; the caller cannot hold it, because it has no other threads and looks nothing up any more.
 */
int procfd_syscall(pid_t tid)
{
    char path[64], text[TEXT_MAX];
    int call = -1;

    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)tid);
    for (unsigned i = 0; call < 0 && i < SLEEP_LOOKS; i++) {
        if (i > 0)
            usleep(SLEEP_US);
        if (!read_entry(AT_FDCWD, path, text))
            return -1;
        if (text[0] >= '0' && text[0] <= '9')
            call = (int)strtol(text, NULL, 10);
    }
    return call;
}

/* Does not read /proc/PID/stat, though it shows PF_EXITING: the reader waits for the end of an
 * execve(2) of that process, and execve waits for us when it closes one of our files that has
 * O_CLOEXEC. An exiting process gives up its memory before its files, so its `status` has no Vm
 * lines. Reading `status` takes no lock that anybody holds while waiting. */
bool procfd_ends(pid_t tid)
{
    struct buf status = BUF_EMPTY;
    bool ends;

    if (tid <= 0)
        return false;
    ends = !procfd_status(tid, &status) || strstr((const char *)status.data, "\nVmSize:") == NULL;
    buf_fini(&status);
    return ends;
}

/* ---- All processes --------------------------------------------------------------------------- */

struct wanted {
    int mount_id;
    const uint64_t *inos;
    size_t n;
};

/* The inode of this descriptor, if it is one of those; else 0. */
static uint64_t wanted_of(const char *text, const struct wanted *w)
{
    unsigned long long ino, mount;

    if (!number_of(text, "\nmnt_id:", 10, &mount) || (int)mount != w->mount_id ||
        !number_of(text, "\nino:", 10, &ino))
        return 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->inos[i] == ino)
            return ino;
    return 0;
}

static uint64_t search_process(pid_t pid, const struct wanted *w)
{
    char path[64], text[TEXT_MAX];
    uint64_t found = 0;
    struct dirent *e;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
    dir = opendir(path);
    if (dir == NULL)
        return 0;
    while (found == 0 && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.' && read_entry(dirfd(dir), e->d_name, text))
            found = wanted_of(text, w);
    closedir(dir);
    return found;
}

/* The pidfd is opened first: the descriptors then belong to that process, or it has ended. */
void procfd_find(int mount_id, const uint64_t *inos, size_t n,
                 void (*fn)(void *arg, int pidfd, pid_t pid, uint64_t ino), void *arg)
{
    struct wanted w = {mount_id, inos, n};
    DIR *dir = opendir("/proc");
    struct dirent *e;

    while (dir != NULL && (e = readdir(dir)) != NULL) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        int pidfd = pid > 0 && pid != getpid() ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        uint64_t ino = pidfd >= 0 ? search_process(pid, &w) : 0;

        if (ino != 0)
            fn(arg, pidfd, pid, ino);
        if (pidfd >= 0)
            close(pidfd);
    }
    if (dir != NULL)
        closedir(dir);
}
