/* SPDX-License-Identifier: Apache-2.0 */
/* inotify events, and changes with known events.
 *
 *   inotify watch OUT PATH...      prints "ready", then writes the events of these paths to OUT,
 *                                  one per line, until a file .end is created in the first path
 *   inotify random SEED N DIR OUT  makes N changes in the directories d0 … d3 of DIR, and writes
 *                                  to OUT the lines that `watch d0 d1 d2 d3` must write ("pick")
 *   inotify noise SEED DIR         lists, reads and makes changes of its own (names that begin with
 *                                  "l") in the same directories until it is killed
 *   inotify pick                   reads lines of `watch` on stdin, prints those that `random`
 *                                  predicts
 *   inotify latency N A B          writes N times to a file in A, with a watch on B: prints the
 *                                  microseconds from the begin of a write to its end, and to the
 *                                  event, one pair per line
 *
 * A line: the number of the path, the event's words, the name, and for renames a number that both
 * halves share. Reading (ACCESS, CLOSE_NOWRITE, a directory's OPEN) is left out. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define PATHS_MAX   16
#define PATIENCE_MS 60000
#define END         ".end"

#define WANTED                                                                                     \
    (IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_OPEN | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE |  \
     IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF)

static const struct {
    uint32_t bit;
    const char *word;
} words[] = {
    {IN_MODIFY, "MODIFY"},       {IN_ATTRIB, "ATTRIB"},         {IN_CLOSE_WRITE, "CLOSE_WRITE"},
    {IN_OPEN, "OPEN"},           {IN_MOVED_FROM, "MOVED_FROM"}, {IN_MOVED_TO, "MOVED_TO"},
    {IN_CREATE, "CREATE"},       {IN_DELETE, "DELETE"},         {IN_DELETE_SELF, "DELETE_SELF"},
    {IN_MOVE_SELF, "MOVE_SELF"}, {IN_IGNORED, "IGNORED"},       {IN_Q_OVERFLOW, "OVERFLOW"},
    {IN_UNMOUNT, "UNMOUNT"},     {IN_ISDIR, "ISDIR"},
};

/* ---- Watching ---------------------------------------------------------------------------------*/

struct watch {
    int fd;
    FILE *out;
    int wds[PATHS_MAX];
    int n;
    uint32_t last_cookie;
    unsigned renames;
};

static void print_event(struct watch *w, const struct inotify_event *e)
{
    int path = 0;

    while (path < w->n && w->wds[path] != e->wd)
        path++;
    fprintf(w->out, "%d ", path);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if ((e->mask & words[i].bit) != 0)
            fprintf(w->out, "%s ", words[i].word);
    fprintf(w->out, "%s", e->len > 0 ? e->name : "-");
    if (e->cookie != 0) { /* numbered in the order of their first halves */
        if (e->cookie != w->last_cookie)
            w->renames++;
        w->last_cookie = e->cookie;
        fprintf(w->out, " %u", w->renames);
    }
    fputc('\n', w->out);
}

static bool is_reading(const struct inotify_event *e)
{
    return (e->mask & IN_OPEN) != 0 && (e->mask & IN_ISDIR) != 0;
}

/* Returns false at the end. */
static bool read_events(struct watch *w)
{
    static char buf[1 << 16] __attribute__((aligned(8)));
    ssize_t n = read(w->fd, buf, sizeof(buf));
    const struct inotify_event *e;

    check(n > 0);
    for (char *at = buf; at < buf + n; at += sizeof(*e) + e->len) {
        e = (const struct inotify_event *)(void *)at;
        if (e->len > 0 && strcmp(e->name, END) == 0 && e->wd == w->wds[0])
            return false;
        if (!is_reading(e))
            print_event(w, e);
    }
    return true;
}

static int watch(int argc, char **argv)
{
    struct watch w = {.fd = inotify_init1(IN_CLOEXEC), .out = fopen(argv[0], "we")};
    struct pollfd fd = {.fd = w.fd, .events = POLLIN};

    check(w.fd >= 0 && w.out != NULL && argc - 1 <= PATHS_MAX);
    for (int i = 1; i < argc; i++) {
        w.wds[w.n] = inotify_add_watch(w.fd, argv[i], WANTED | IN_DONT_FOLLOW);
        if (w.wds[w.n++] < 0) {
            perror(argv[i]);
            return 1;
        }
    }
    puts("ready");
    fflush(stdout);
    do {
        if (poll(&fd, 1, PATIENCE_MS) <= 0) {
            fprintf(stderr, "inotify: nothing more comes\n");
            fclose(w.out);
            return 1;
        }
    } while (read_events(&w));
    return fclose(w.out) == 0 ? 0 : 1;
}

/* ---- Changes with known events --------------------------------------------------------------- */

#define DIRS  4
#define NAMES 8

enum kind { NOTHING, PLAIN, LINKED, FIFO, SYMLINK, DIRECTORY };

struct world {
    char dir[3072];
    FILE *out;
    enum kind kinds[DIRS][NAMES];
    unsigned renames;
    uint64_t seed;
};

static unsigned chance(struct world *w, unsigned n)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((w->seed >> 33) % n);
}

static const char *path_of(const struct world *w, unsigned d, unsigned n)
{
    static char paths[4][4096];
    static unsigned next;
    char *out = paths[next++ % ARRAY_LEN(paths)];

    snprintf(out, sizeof(paths[0]), "%s/d%u/n%u", w->dir, d, n);
    return out;
}

static const char *isdir(enum kind kind)
{
    return kind == DIRECTORY ? "ISDIR " : "";
}

static void write_file(const char *path, int flags, struct world *w)
{
    static char data[20000];
    size_t len = 1 + chance(w, sizeof(data) - 1);
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

    memset(data, 'a' + (int)chance(w, 26), len);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len || close(fd) != 0)
        die("%s: %s", path, strerror(errno));
}

static void make(struct world *w, unsigned d, unsigned n)
{
    const char *path = path_of(w, d, n);
    enum kind kind = PLAIN;
    int rv = 0;

    switch (chance(w, 8)) {
    case 0:
        kind = DIRECTORY;
        rv = mkdir(path, 0755);
        break;
    case 1:
        kind = SYMLINK;
        rv = symlink("n0", path);
        break;
    case 2:
        kind = FIFO;
        rv = mkfifo(path, 0644);
        break;
    case 3:
        rv = mknod(path, S_IFREG | 0644, 0);
        break;
    default:
        write_file(path, O_CREAT | O_EXCL, w);
        fprintf(w->out, "%u CREATE n%u\n%u CLOSE_WRITE n%u\n", d, n, d, n);
        w->kinds[d][n] = PLAIN;
        return;
    }
    if (rv != 0)
        die("%s: %s", path, strerror(errno));
    fprintf(w->out, "%u CREATE %sn%u\n", d, isdir(kind), n);
    w->kinds[d][n] = kind;
}

static void drop(struct world *w, unsigned d, unsigned n)
{
    const char *path = path_of(w, d, n);
    enum kind kind = w->kinds[d][n];

    if ((kind == DIRECTORY ? rmdir(path) : unlink(path)) != 0)
        die("%s: %s", path, strerror(errno));
    fprintf(w->out, "%u DELETE %sn%u\n", d, isdir(kind), n);
    w->kinds[d][n] = NOTHING;
}

/* Renames to a name that is free or has the same type. */
static void rename_to(struct world *w, unsigned d, unsigned n)
{
    unsigned to_d = chance(w, DIRS), to_n = chance(w, NAMES);
    enum kind kind = w->kinds[d][n], there = w->kinds[to_d][to_n];

    if ((to_d == d && to_n == n) ||
        (there != NOTHING && (kind == DIRECTORY) != (there == DIRECTORY)))
        return;
    if (kind == LINKED || there == LINKED)
        return; /* two names of one file: the rename may have no effect */
    if (rename(path_of(w, d, n), path_of(w, to_d, to_n)) != 0)
        die("%s: rename: %s", path_of(w, d, n), strerror(errno));
    w->renames++;
    fprintf(w->out, "%u MOVED_FROM %sn%u %u\n", d, isdir(kind), n, w->renames);
    fprintf(w->out, "%u MOVED_TO %sn%u %u\n", to_d, isdir(kind), to_n, w->renames);
    w->kinds[to_d][to_n] = kind;
    w->kinds[d][n] = NOTHING;
}

static void link_to(struct world *w, unsigned d, unsigned n)
{
    unsigned to_d = chance(w, DIRS), to_n = chance(w, NAMES);

    if (w->kinds[d][n] != PLAIN || w->kinds[to_d][to_n] != NOTHING)
        return;
    if (link(path_of(w, d, n), path_of(w, to_d, to_n)) != 0)
        die("%s: link: %s", path_of(w, d, n), strerror(errno));
    fprintf(w->out, "%u CREATE n%u\n", to_d, to_n);
    w->kinds[d][n] = w->kinds[to_d][to_n] = LINKED;
}

static void change(struct world *w)
{
    unsigned d = chance(w, DIRS), n = chance(w, NAMES), what = chance(w, 10);
    enum kind kind = w->kinds[d][n];

    if (kind == NOTHING) {
        make(w, d, n);
    } else if (what < 3) {
        drop(w, d, n);
    } else if (what < 6) {
        rename_to(w, d, n);
    } else if (what == 6) {
        link_to(w, d, n);
    } else if (kind == PLAIN) {
        write_file(path_of(w, d, n), chance(w, 2) == 0 ? O_TRUNC : O_APPEND, w);
        fprintf(w->out, "%u CLOSE_WRITE n%u\n", d, n);
    } else if (kind != SYMLINK && chmod(path_of(w, d, n), 0700 + chance(w, 64)) != 0) {
        die("chmod: %s", strerror(errno));
    }
}

static int random_changes(int argc BASE_UNUSED, char **argv)
{
    struct world w = {.seed = strtoull(argv[0], NULL, 10), .out = fopen(argv[3], "we")};
    unsigned long n = strtoul(argv[1], NULL, 10);

    check(w.out != NULL);
    snprintf(w.dir, sizeof(w.dir), "%s", argv[2]);
    for (unsigned long i = 0; i < n; i++)
        change(&w);
    return fclose(w.out) == 0 ? 0 : 1;
}

/* ---- Noise ------------------------------------------------------------------------------------*/

static void look_at(const char *path)
{
    char buf[4096];
    struct stat st;
    int fd;

    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return;
    while (read(fd, buf, sizeof(buf)) > 0)
        ;
    close(fd);
}

static void look_around(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[8192];

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        look_at(path);
    }
    closedir(d);
}

static void own_change(struct world *w, const char *dir)
{
    unsigned n = chance(w, NAMES);
    char a[4200], b[4200];

    snprintf(a, sizeof(a), "%s/l%u", dir, n);
    snprintf(b, sizeof(b), "%s/l%u", dir, (n + 1) % NAMES);
    switch (chance(w, 4)) {
    case 0:
        (void)unlink(a);
        break;
    case 1:
        (void)rename(a, b);
        break;
    default:
        write_file(a, O_CREAT | O_TRUNC, w);
    }
}

BASE_NORETURN static int noise(int argc BASE_UNUSED, char **argv)
{
    struct world w = {.seed = strtoull(argv[0], NULL, 10)};
    char dir[4096];

    for (;;) {
        snprintf(dir, sizeof(dir), "%s/d%u", argv[1], chance(&w, DIRS));
        look_around(dir);
        own_change(&w, dir);
        for (unsigned n = 0; n < NAMES; n++) { /* existing and missing names, both of which the
                                                * kernel caches */
            char path[8192];

            snprintf(path, sizeof(path), "%s/n%u", dir, n);
            look_at(path);
        }
    }
}

static int pick(int argc BASE_UNUSED, char **argv BASE_UNUSED)
{
    char line[512], name[300], event[32];
    unsigned path;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "%u %31s %299s", &path, event, name) != 3)
            continue;
        if (strcmp(event, "OPEN") == 0 || strcmp(event, "MODIFY") == 0 ||
            strcmp(event, "ATTRIB") == 0 || name[0] == 'l')
            continue;
        fputs(line, stdout);
    }
    return 0;
}

/* ---- Latency ----------------------------------------------------------------------------------*/

static void wait_for(int fd, uint32_t mask)
{
    char buf[4096] __attribute__((aligned(8)));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    const struct inotify_event *e;
    bool seen = false;

    while (!seen) {
        ssize_t n;

        check(poll(&p, 1, PATIENCE_MS) > 0);
        n = read(fd, buf, sizeof(buf));
        check(n > 0);
        for (char *at = buf; at < buf + n; at += sizeof(*e) + e->len) {
            e = (const struct inotify_event *)(void *)at;
            seen = seen || (e->mask & mask) != 0;
        }
    }
}

static int latency(int argc BASE_UNUSED, char **argv)
{
    unsigned long n = strtoul(argv[0], NULL, 10);
    int in = inotify_init1(IN_CLOEXEC), fd;
    uint64_t begin, written;
    char path[4096];

    snprintf(path, sizeof(path), "%s/latency", argv[1]);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    check(in >= 0 && fd >= 0 && inotify_add_watch(in, argv[2], IN_CLOSE_WRITE) >= 0);
    for (unsigned long i = 0; i < n; i++) {
        begin = clock_boot_us();
        check(pwrite(fd, "0123456789", 10, 0) == 10);
        written = clock_boot_us();
        wait_for(in, IN_CLOSE_WRITE);
        printf("%" PRIu64 " %" PRIu64 "\n", written - begin, clock_boot_us() - begin);
        usleep(2000);
    }
    close(fd);
    return 0;
}

static const struct {
    const char *name;
    int min_args;
    int (*run)(int argc, char **argv);
} tools[] = {
    {"watch", 2, watch}, {"random", 4, random_changes}, {"noise", 2, noise},
    {"pick", 0, pick},   {"latency", 3, latency},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(tools); i++)
        if (strcmp(argv[1], tools[i].name) == 0 && argc - 2 >= tools[i].min_args)
            return tools[i].run(argc - 2, argv + 2);
    fprintf(stderr, "usage: see tests/tools/inotify.c\n");
    return 2;
}
