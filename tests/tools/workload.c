/* SPDX-License-Identifier: Apache-2.0 */
/* One workload of tests/chaos/ on several mounts of one cluster, while another program makes
 * trouble.
 *
 *   workload NAME START STOP VERIFY DIR...
 *
 * Prepares; runs from the time when the file START exists until STOP exists. When VERIFY exists,
 * the trouble must be over, and each DIR is checked.
 *
 * Prints "ready" after the preparation, "stopped" after the run, and at the end "ok: N done, M in
 * doubt", or the violations; then it exits with 1. */
#include "tests/chaos/chaos.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/clock.h"
#include "proto/ioctl.h"

#define FIRST_DIR   5 /* index of the first argument that is a DIR */
#define MAX_WORKERS 64
#define PAUSE_US    4000
#define AWAY_US     20000
#define SHOWN       10 /* violations printed */

struct worker workers[MAX_WORKERS];
unsigned n_workers;

static const struct workload *workload;
static atomic_bool stopping;
static atomic_uint violations;

void violation(const char *fmt, ...)
{
    va_list args;

    if (atomic_fetch_add(&violations, 1) >= SHOWN)
        return;
    va_start(args, fmt);
    flockfile(stdout);
    printf("violation: %s: ", workload->name);
    vprintf(fmt, args);
    printf("\n");
    fflush(stdout);
    funlockfile(stdout);
    va_end(args);
}

uint64_t now_ns(void)
{
    struct timespec ts;

    check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t chance(struct worker *w, uint64_t below)
{
    w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
    return (w->chance >> 33) % below;
}

/* ---- Results --------------------------------------------------------------------------------- */

bool excused(struct worker *w, int err, const char *what)
{
    static const int list[] = {ENOTCONN, ECONNABORTED, ETIMEDOUT, ESTALE, ESHUTDOWN,
                               EINTR,    EIO,          EBADF,     ENODEV, ECONNREFUSED};

    if (w->root >= 0 && err != EINTR && err != ETIMEDOUT) {
        close(w->root);
        w->root = -1;
    }
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        if (list[i] == err)
            return true;
    violation("worker %u on %s: %s: %s", w->id, w->mount, what, strerror(err));
    return false;
}

bool counted(struct worker *w, int err, const char *what)
{
    if (err == 0) {
        w->done++;
        return true;
    }
    w->doubt++;
    excused(w, err, what);
    return false;
}

void note_add(struct notes *notes, const struct note *note)
{
    if (notes->n == notes->cap) {
        notes->cap = 2 * notes->cap + 64;
        notes->at = xrealloc(notes->at, notes->cap * sizeof(*notes->at));
    }
    notes->at[notes->n++] = *note;
}

struct notes notes_all(bool other, int (*compare)(const void *a, const void *b))
{
    struct notes all = {0};

    for (unsigned i = 0; i < n_workers; i++) {
        const struct notes *from = other ? &workers[i].other : &workers[i].notes;

        for (size_t k = 0; k < from->n; k++)
            note_add(&all, &from->at[k]);
    }
    if (all.n > 0)
        qsort(all.at, all.n, sizeof(*all.at), compare);
    return all;
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int by_number(const void *a, const void *b)
{
    const struct note *x = a, *y = b;

    return x->number != y->number ? order(x->number, y->number) : order(x->call_ns, y->call_ns);
}

int by_call(const void *a, const void *b)
{
    const struct note *x = a, *y = b;

    return order(x->call_ns, y->call_ns);
}

void line_make(char out[CHAOS_NAME], unsigned worker, uint64_t number)
{
    uint64_t words[2] = {worker, number};

    snprintf(out, CHAOS_NAME, "w%03u %012" PRIu64 " %016" PRIx64 "\n", worker, number,
             (uint64_t)XXH3_64bits(words, sizeof(words)));
}

bool line_parse(const char *text, unsigned *worker, uint64_t *number)
{
    char again[CHAOS_NAME];

    if (sscanf(text, "w%u %" SCNu64, worker, number) != 2)
        return false;
    line_make(again, *worker, *number);
    return strcmp(text, again) == 0;
}

/* ---- Files ----------------------------------------------------------------------------------- */

int put_text(int dir, const char *path, int flags, const char *text)
{
    int fd = openat(dir, path, flags | O_WRONLY | O_CLOEXEC, 0644);
    size_t len = strlen(text);
    ssize_t n;
    int err = 0;

    if (fd < 0)
        return errno;
    n = write(fd, text, len);
    if (n < 0)
        err = errno;
    else if ((size_t)n != len)
        err = EPROTO; /* even a short write of so few bytes is a violation */
    if (close(fd) < 0 && err == 0)
        err = errno;
    return err;
}

int get_text(int dir, const char *path, char out[CHAOS_NAME])
{
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    int err = 0;
    ssize_t n;

    out[0] = '\0';
    if (fd < 0)
        return errno;
    n = read(fd, out, CHAOS_NAME - 1);
    if (n < 0)
        err = errno;
    out[n < 0 ? 0 : n] = '\0';
    close(fd);
    return err;
}

int each_name(int root, const char *path, void (*fn)(void *arg, const char *name), void *arg)
{
    int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int err;

    if (dir == NULL) {
        err = errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            fn(arg, entry->d_name);
    err = errno;
    closedir(dir);
    return err;
}

void make_dir(int root, const char *path)
{
    if (mkdirat(root, path, 0755) != 0)
        die("mkdir %s: %s", path, strerror(errno));
}

void make_file(int root, const char *path, const char *text)
{
    int err = put_text(root, path, O_CREAT | O_EXCL, text);

    if (err != 0)
        die("%s: %s", path, strerror(err));
}

/* ---- Running --------------------------------------------------------------------------------- */

/* The kernel looks up ".." of a mount's root above the mount. */
static int open_mount(const char *path)
{
    struct stat root, parent;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &root) == 0 && fstatat(fd, "..", &parent, 0) == 0 &&
        root.st_dev != parent.st_dev)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void *work(void *arg)
{
    struct worker *w = arg;

    while (!atomic_load(&stopping)) {
        if (w->root < 0)
            w->root = open_mount(w->mount);
        if (w->root >= 0) {
            w->steps++;
            workload->step(w);
        }
        usleep(w->root < 0 ? AWAY_US : PAUSE_US);
    }
    if (w->root >= 0)
        close(w->root);
    return NULL;
}

static void await_file(const char *path)
{
    pid_t parent = getppid();

    while (access(path, F_OK) != 0) {
        if (getppid() != parent)
            exit(2);
        usleep(50000);
    }
}

static void start_workers(char **mounts, unsigned n_mounts)
{
    uint64_t seed = clock_entropy();

    for (; n_workers < workload->per_mount * n_mounts; n_workers++) {
        struct worker *w = &workers[n_workers];

        w->id = n_workers;
        w->mount = mounts[n_workers % n_mounts];
        w->root = -1;
        w->chance = seed + n_workers;
        check(pthread_create(&w->thread, NULL, work, w) == 0);
    }
}

static void look_at(const char *mount, void (*look)(int root))
{
    int root = open_mount(mount);

    if (root < 0)
        die("%s is not mounted", mount);
    look(root);
    close(root);
}

/* Waits until the prepared files are visible on each mount. */
static void catch_up(int root)
{
    if (ioctl(root, COORDFS_IOC_SYNC) != 0)
        die("sync: %s", strerror(errno));
}

static int judge(char **mounts, unsigned n_mounts)
{
    uint64_t done = 0, doubt = 0;

    for (unsigned i = 0; i < n_mounts; i++)
        look_at(mounts[i], workload->verify);
    for (unsigned i = 0; i < n_workers; i++) {
        done += workers[i].done;
        doubt += workers[i].doubt;
    }
    if (done == 0)
        violation("nothing was done");
    if (violations == 0)
        printf("ok: %" PRIu64 " done, %" PRIu64 " in doubt\n", done, doubt);
    else
        printf("%u violations\n", violations);
    return violations != 0;
}

static const struct workload *find_workload(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(lock_workloads); i++)
        if (strcmp(lock_workloads[i].name, name) == 0)
            return &lock_workloads[i];
    for (size_t i = 0; i < ARRAY_LEN(name_workloads); i++)
        if (strcmp(name_workloads[i].name, name) == 0)
            return &name_workloads[i];
    if (strcmp(lockset_workload.name, name) == 0)
        return &lockset_workload;
    return strcmp(queue_workload.name, name) == 0 ? &queue_workload : NULL;
}

int main(int argc, char **argv)
{
    unsigned n_mounts = (unsigned)(argc - FIRST_DIR);

    workload = argc > FIRST_DIR ? find_workload(argv[1]) : NULL;
    if (workload == NULL || n_mounts * workload->per_mount > MAX_WORKERS) {
        fprintf(stderr, "usage: workload NAME START STOP VERIFY DIR...\n");
        return 2;
    }
    look_at(argv[FIRST_DIR], workload->prepare);
    for (int i = FIRST_DIR; i < argc; i++)
        look_at(argv[i], catch_up);
    puts("ready");
    fflush(stdout);
    await_file(argv[2]);
    start_workers(argv + FIRST_DIR, n_mounts);
    await_file(argv[3]);
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n_workers; i++)
        check(pthread_join(workers[i].thread, NULL) == 0);
    puts("stopped");
    fflush(stdout);
    await_file(argv[4]);
    return judge(argv + FIRST_DIR, n_mounts);
}
