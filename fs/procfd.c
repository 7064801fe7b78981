#include "fs/procfd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 4096 /* descriptors to look at */

/* The number behind "key:" in the text; false when there is none. */
static bool number_of(const char *text, const char *key, int base, unsigned long long *out)
{
    const char *at = strstr(text, key);

    if (at == NULL)
        return false;
    *out = strtoull(at + strlen(key), NULL, base);
    return true;
}

static bool entry_writes(int dir, const char *name, uint64_t ino)
{
    unsigned long long flags, number;
    char text[512];
    ssize_t n;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return number_of(text, "\nino:", 10, &number) && number == ino &&
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
