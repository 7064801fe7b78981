/* SPDX-License-Identifier: Apache-2.0 */
/* The cost of reading through a mount, beside the same on another filesystem at the same time.
 *
 *   reads DIR REFERENCE ROUNDS [WHAT]
 *
 * Makes a file of 1 KiB and a directory of 100 entries in both directories. Measures in turns,
 * ROUNDS times each: stat, access of a name that does not exist, pread of an open file, open + read
 * + close, and reading the directory from beginning to end. WHAT selects one of them.
 *
 * Prints one line of JSON for each: the best and the median nanoseconds of one operation in both
 * directories, and the ratios. The ratio of the best values is the cost of the code; the ratio of
 * the medians also contains other load of the machine. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define FILE_BYTES  1024
#define DIR_ENTRIES 100
#define ROUND_US    20000u /* shortest duration of a round */
#define MAX_ROUNDS  1000

struct place {
    const char *path;
    int dir;
    int fd; /* the file */
};

static void fault(const struct place *p, const char *what)
{
    die("%s: %s: %s", p->path, what, strerror(errno));
}

/* ---- The operations -------------------------------------------------------------------------- */

static void do_stat(const struct place *p)
{
    struct stat st;

    if (fstatat(p->dir, "file", &st, 0) != 0 || st.st_size != FILE_BYTES)
        fault(p, "stat");
}

static void do_missing(const struct place *p)
{
    if (faccessat(p->dir, "missing", F_OK, 0) == 0 || errno != ENOENT)
        fault(p, "access");
}

static void do_pread(const struct place *p)
{
    char buf[FILE_BYTES];

    if (pread(p->fd, buf, sizeof(buf), 0) != FILE_BYTES)
        fault(p, "pread");
}

static void do_open(const struct place *p)
{
    char buf[FILE_BYTES];
    int fd = openat(p->dir, "file", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, buf, sizeof(buf)) != FILE_BYTES || close(fd) != 0)
        fault(p, "open, read, close");
}

static void do_readdir(const struct place *p)
{
    int fd = openat(p->dir, "list", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    unsigned n = 0;

    while (list != NULL && readdir(list) != NULL)
        n++;
    if (n != DIR_ENTRIES + 2 || closedir(list) != 0)
        fault(p, "readdir");
}

static const struct op {
    const char *name;
    void (*run)(const struct place *p);
} ops[] = {
    {"stat", do_stat}, {"missing", do_missing}, {"pread", do_pread},
    {"open", do_open}, {"readdir", do_readdir},
};

/* ---- The places ------------------------------------------------------------------------------ */

static void place_make(struct place *p, const char *path)
{
    char name[64], block[FILE_BYTES];
    int fd;

    memset(block, 'r', sizeof(block));
    *p = (struct place){.path = path, .dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (p->dir < 0 || mkdirat(p->dir, "list", 0755) != 0)
        fault(p, "mkdir");
    for (unsigned i = 0; i < DIR_ENTRIES; i++) {
        snprintf(name, sizeof(name), "list/an-entry-of-the-list-%03u", i);
        if (mknodat(p->dir, name, S_IFREG | 0644, 0) != 0)
            fault(p, name);
    }
    fd = openat(p->dir, "file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, block, sizeof(block)) != FILE_BYTES || close(fd) != 0)
        fault(p, "writing");
    p->fd = openat(p->dir, "file", O_RDONLY | O_CLOEXEC);
    if (p->fd < 0)
        fault(p, "open");
}

static void place_clear(struct place *p)
{
    char name[64];

    for (unsigned i = 0; i < DIR_ENTRIES; i++) {
        snprintf(name, sizeof(name), "list/an-entry-of-the-list-%03u", i);
        unlinkat(p->dir, name, 0);
    }
    unlinkat(p->dir, "list", AT_REMOVEDIR);
    unlinkat(p->dir, "file", 0);
    close(p->fd);
    close(p->dir);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

/* Measures the nanoseconds of one operation. */
static double measure(const struct op *op, const struct place *p, uint64_t n)
{
    uint64_t began = clock_boot_us();

    for (uint64_t i = 0; i < n; i++)
        op->run(p);
    return (double)(clock_boot_us() - began) * 1000 / (double)n;
}

static uint64_t operations(const struct op *op, const struct place *p)
{
    double ns = measure(op, p, 100);

    return max_u64(1, (uint64_t)(ROUND_US * 1000.0 / (ns + 1)));
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void run(const struct op *op, const struct place *places, unsigned rounds)
{
    static double ns[2][MAX_ROUNDS];
    uint64_t n[2];

    for (unsigned i = 0; i < 2; i++)
        n[i] = operations(op, &places[i]);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < 2; i++)
            ns[i][round] = measure(op, &places[i], n[i]);
    for (unsigned i = 0; i < 2; i++)
        qsort(ns[i], rounds, sizeof(ns[i][0]), by_size);
    printf("{\"what\":\"%s\",\"best_ns\":%.0f,\"median_ns\":%.0f,\"reference_best_ns\":%.0f,"
           "\"reference_median_ns\":%.0f,\"ratio_best\":%.2f,\"ratio_median\":%.2f}\n",
           op->name, ns[0][0], ns[0][rounds / 2], ns[1][0], ns[1][rounds / 2], ns[0][0] / ns[1][0],
           ns[0][rounds / 2] / ns[1][rounds / 2]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc >= 4 ? (unsigned)atoi(argv[3]) : 0;
    struct place places[2];

    if (rounds == 0 || rounds > MAX_ROUNDS) {
        fprintf(stderr, "usage: reads DIR REFERENCE ROUNDS [stat|missing|pread|open|readdir]\n");
        return 2;
    }
    for (int i = 0; i < 2; i++)
        place_make(&places[i], argv[1 + i]);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (argc < 5 || strcmp(argv[4], ops[i].name) == 0)
            run(&ops[i], places, rounds);
    for (int i = 0; i < 2; i++)
        place_clear(&places[i]);
    return 0;
}
