/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that no shell command makes, one per invocation. Exit status 0: it succeeded; 1: it
 * failed, and the error is on stderr.
 *
 *   fsop rename-noreplace|rename-exchange A B
 *   fsop xattr-create|xattr-replace FILE NAME VALUE
 *   fsop create FILE              O_CREAT | O_EXCL
 *   fsop write FILE OFFSET BYTES  one pwrite(2) of that many bytes
 *   fsop append FILE TEXT COUNT   COUNT appends of TEXT and a newline, one descriptor
 *   fsop socket FILE              makes a socket
 *   fsop unlinked FILE            writes, reads, truncates, stats a file that is removed while open
 *   fsop readdir DIR              a directory that changes while it is read, see readdir_changing
 *   fsop seekdir DIR              every telldir position leads back to the same entry
 *   fsop mmap FILE                the content of a private and of a read-only shared mapping */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/base.h"

#define STABLE  400 /* entries that exist while the directory is read */
#define CHANGES 100 /* pieces, after each of which other entries are made and removed */
#define READS   20000

/* 0 or an errno, from the result of a call. */
static int outcome(long rv)
{
    return rv < 0 ? errno : 0;
}

static int wrong(const char *what)
{
    fprintf(stderr, "fsop: %s\n", what);
    return EILSEQ;
}

static int rename_noreplace(char **args)
{
    return outcome(renameat2(AT_FDCWD, args[0], AT_FDCWD, args[1], RENAME_NOREPLACE));
}

static int rename_exchange(char **args)
{
    return outcome(renameat2(AT_FDCWD, args[0], AT_FDCWD, args[1], RENAME_EXCHANGE));
}

static int xattr_create(char **args)
{
    return outcome(setxattr(args[0], args[1], args[2], strlen(args[2]), XATTR_CREATE));
}

static int xattr_replace(char **args)
{
    return outcome(setxattr(args[0], args[1], args[2], strlen(args[2]), XATTR_REPLACE));
}

static int create(char **args)
{
    int fd = open(args[0], O_CREAT | O_EXCL | O_WRONLY, 0644);

    return fd < 0 ? errno : outcome(close(fd));
}

static int write_at(char **args)
{
    size_t len = strtoull(args[2], NULL, 10);
    int fd = open(args[0], O_CREAT | O_WRONLY, 0644);
    char *data;
    ssize_t n;
    int err;

    if (fd < 0)
        return errno;
    data = xcalloc(1, len);
    n = pwrite(fd, data, len, (off_t)strtoull(args[1], NULL, 10));
    err = n < 0 ? errno : (size_t)n != len ? wrong("short write") : 0;
    free(data);
    return close(fd) < 0 && err == 0 ? errno : err;
}

static int append(char **args)
{
    char *line = xasprintf("%s\n", args[1]);
    size_t len = strlen(line);
    int fd = open(args[0], O_CREAT | O_APPEND | O_WRONLY, 0644);
    int err = outcome(fd);

    for (long i = 0; err == 0 && i < atol(args[2]); i++)
        if (write(fd, line, len) != (ssize_t)len)
            err = errno;
    free(line);
    return err != 0 ? err : outcome(close(fd));
}

static int make_socket(char **args)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", args[0]);
    return outcome(bind(fd, (struct sockaddr *)&address, sizeof address));
}

/* Tries everything that still works on a file without a name. */
static int use_unlinked(int fd, const char *path)
{
    char got[16] = "";
    struct stat st;

    if (write(fd, "before", 6) != 6 || unlink(path) < 0)
        return errno;
    if (access(path, F_OK) == 0)
        return wrong("the name still exists");
    if (pwrite(fd, "BEHIND", 6, 6) != 6 || pread(fd, got, 12, 0) != 12)
        return errno != 0 ? errno : wrong("short");
    if (memcmp(got, "beforeBEHIND", 12) != 0)
        return wrong("wrong content");
    if (ftruncate(fd, 3) < 0 || fchmod(fd, 0640) < 0 || fstat(fd, &st) < 0)
        return errno;
    if (st.st_size != 3 || st.st_nlink != 0 || (st.st_mode & 07777) != 0640)
        return wrong("wrong attributes");
    return 0;
}

static int unlinked(char **args)
{
    int fd = open(args[0], O_CREAT | O_EXCL | O_RDWR, 0600);
    int err = fd < 0 ? errno : use_unlinked(fd, args[0]);

    return fd >= 0 && close(fd) < 0 && err == 0 ? errno : err;
}

/* ---- Directories ----------------------------------------------------------------------------- */

static int make_names(int dir, const char *prefix, int from, int to)
{
    char name[64];

    for (int i = from; i < to; i++) {
        int fd;

        snprintf(name, sizeof name, "%s%d", prefix, i);
        fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (fd < 0)
            return errno;
        close(fd);
    }
    return 0;
}

static int remove_names(int dir, const char *prefix, int from, int to)
{
    char name[64];

    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "%s%d", prefix, i);
        if (unlinkat(dir, name, 0) < 0)
            return errno;
    }
    return 0;
}

/* Calls getdents64 once with a small buffer; counts the names "stable-N" in seen. < 0: -errno, 0:
 * the end. */
static long read_some(int fd, int seen[STABLE])
{
    char data[512];
    long n = syscall(SYS_getdents64, fd, data, sizeof data);
    int number;

    for (long at = 0; at < n;) {
        struct dirent64 *entry = (void *)(data + at);

        if (sscanf(entry->d_name, "stable-%d", &number) == 1 && number >= 0 && number < STABLE)
            seen[number]++;
        at += entry->d_reclen;
    }
    return n < 0 ? -errno : n;
}

/* Entries that exist all the time are seen exactly once, although other entries are made and
 * removed between the pieces. */
static int readdir_changing(char **args)
{
    int seen[STABLE] = {0};
    int fd = open(args[0], O_RDONLY | O_DIRECTORY);
    int err = fd < 0 ? errno : make_names(fd, "passing-", 0, STABLE);
    int round = 0;
    long n = 1;

    if (err == 0)
        err = make_names(fd, "stable-", 0, STABLE);
    for (; err == 0 && n > 0 && round < READS; round++) {
        n = read_some(fd, seen);
        if (n < 0)
            return (int)-n;
        if (round < CHANGES)
            err = remove_names(fd, "passing-", round * 3, round * 3 + 1);
        if (round < CHANGES && err == 0)
            err = make_names(fd, "late-", round * 2, round * 2 + 2);
    }
    if (err == 0 && n > 0)
        return wrong("the directory has no end");
    for (int i = 0; err == 0 && i < STABLE; i++) {
        if (seen[i] == 1)
            continue;
        fprintf(stderr, "fsop: stable-%d was seen %d times\n", i, seen[i]);
        err = EILSEQ;
    }
    if (err == 0 && round < 10)
        return wrong("the directory was read in too few pieces to prove anything");
    return err;
}

static int seek_back(char **args)
{
    char names[1000][256];
    long places[1000];
    int n = 0;
    DIR *dir = opendir(args[0]);
    struct dirent *entry;

    if (dir == NULL)
        return errno;
    for (places[0] = telldir(dir); n < 999 && (entry = readdir(dir)) != NULL;) {
        snprintf(names[n++], sizeof names[0], "%s", entry->d_name);
        places[n] = telldir(dir);
    }
    for (int i = n - 1; i >= 0; i--) {
        seekdir(dir, places[i]);
        entry = readdir(dir);
        if (entry == NULL || strcmp(entry->d_name, names[i]) != 0)
            return wrong("a position leads to another entry");
    }
    rewinddir(dir);
    entry = readdir(dir);
    if (n == 0 || entry == NULL || strcmp(entry->d_name, names[0]) != 0)
        return wrong("rewinddir leads to another entry");
    return outcome(closedir(dir));
}

static int map_file(char **args)
{
    static const int flags[] = {MAP_PRIVATE, MAP_SHARED};
    struct stat st;
    int fd = open(args[0], O_RDONLY);

    if (fd < 0 || fstat(fd, &st) < 0)
        return errno;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        char *plain = xmalloc((size_t)st.st_size);
        char *mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, flags[i], fd, 0);

        if (mapped == MAP_FAILED || pread(fd, plain, (size_t)st.st_size, 0) != st.st_size)
            return errno;
        if (memcmp(plain, mapped, (size_t)st.st_size) != 0)
            return wrong("the mapping shows other content");
        munmap(mapped, (size_t)st.st_size);
        free(plain);
    }
    return outcome(close(fd));
}

static const struct {
    const char *name;
    int args;
    int (*run)(char **args); /* 0 or an errno */
} operations[] = {
    {"rename-noreplace", 2, rename_noreplace},
    {"rename-exchange", 2, rename_exchange},
    {"xattr-create", 3, xattr_create},
    {"xattr-replace", 3, xattr_replace},
    {"create", 1, create},
    {"write", 3, write_at},
    {"append", 3, append},
    {"socket", 1, make_socket},
    {"unlinked", 1, unlinked},
    {"readdir", 1, readdir_changing},
    {"seekdir", 1, seek_back},
    {"mmap", 1, map_file},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        int err;

        if (argc < 2 || strcmp(argv[1], operations[i].name) != 0)
            continue;
        if (argc != operations[i].args + 2)
            break;
        err = operations[i].run(argv + 2);
        if (err != 0)
            fprintf(stderr, "fsop %s: %s\n", argv[1], strerror(err));
        return err != 0;
    }
    fprintf(stderr, "usage: see the top of tests/tools/fsop.c\n");
    return 2;
}
