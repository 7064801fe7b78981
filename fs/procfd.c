#include "fs/procfd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FDS_MAX    4096 /* descriptors to look at */
#define TEXT_MAX   512
#define PF_EXITING 0x4u /* of the kernel's include/linux/sched.h; the flags in /proc/PID/stat */

/* The number behind "key:" in the text; false when there is none. */
static bool number_of(const char *text, const char *key, int base, unsigned long long *out)
{
    const char *at = strstr(text, key);

    if (at == NULL)
        return false;
    *out = strtoull(at + strlen(key), NULL, base);
    return true;
}

/* What fdinfo says of a descriptor, as far as it matters here: that stands at its beginning. */
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

bool procfd_ends(pid_t tid)
{
    char path[64], text[512];
    const char *behind;
    unsigned flags = 0;
    ssize_t n;
    int fd;

    if (tid <= 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    /* pid (name) state ppid pgrp session tty tpgid flags; the name may have anything in it. */
    behind = strrchr(text, ')');
    if (behind == NULL || sscanf(behind + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
        return n <= 0;
    return (flags & PF_EXITING) != 0;
}

/* ---- All processes ------------------------------------------------------------------------------
 */

struct wanted {
    int mount_id;
    const uint64_t *inos;
    size_t n;
};

/* The inode that this descriptor is, if it is one of those; else 0. */
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

/* The pidfd comes first: so what is found is what it stands for, or it has ended. */
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
