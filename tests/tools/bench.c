/* SPDX-License-Identifier: Apache-2.0 */
/* Load through a mount, and the disk below it for comparison.
 *
 *   bench write DIR WRITERS SECONDS         each writer overwrites 256 bytes of its own file: every
 *                                           write(2) is one commit
 *   bench create DIR WRITERS SECONDS        each writer makes empty files in its own directory
 *   bench sync DIR WRITERS SECONDS          each writer appends 4 KiB to its own file and calls
 *                                           fdatasync: the best that a disk can do
 *   bench fill DIR WRITERS FILES BYTES      makes FILES files of BYTES bytes in directories of
 *                                           1000, each of which belongs to one writer
 *   bench churn DIR WRITERS CHANGES [RATE]  CHANGES overwrites in total, RATE per second
 *   bench make DIR WRITERS CHANGES [RATE]   the same with new empty files
 *
 * Prints one line of JSON: operations, seconds, operations per second, latency in microseconds. Any
 * error ends the program with 1. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define MAX_WRITERS 1024
#define MAX_SAMPLES (1u << 18) /* per writer */
#define WRITE_BYTES 256
#define SYNC_BYTES  4096
#define DIR_FILES   1000
#define MAX_BYTES   (64u << 10)

struct job;

struct writer {
    const struct job *job;
    unsigned id;
    int dir; /* the directory that it changes */
    int fd;
    uint64_t done;
    uint32_t *samples; /* microseconds */
    unsigned n_samples;
    pthread_t thread;
};

struct job {
    const char *name;
    int (*step)(struct writer *w, uint64_t n); /* 0 or an errno */
    bool by_time; /* ends after a time; otherwise after a number of operations */
};

static struct writer writers[MAX_WRITERS];
static unsigned n_writers;
static atomic_bool stopping;
static atomic_ullong next_number; /* number of the next operation, if they are counted */
static uint64_t all_numbers;
static unsigned fill_bytes;
static uint64_t rate; /* operations per second, if they are counted; 0: no limit */
static uint64_t all_began;

/* ---- The steps ------------------------------------------------------------------------------- */

static char block[MAX_BYTES];

static int put(int fd, size_t len, off_t offset)
{
    return pwrite(fd, block, len, offset) == (ssize_t)len ? 0 : errno != 0 ? errno : EIO;
}

static int step_write(struct writer *w, uint64_t n BASE_UNUSED)
{
    return put(w->fd, WRITE_BYTES, 0);
}

static int step_create(struct writer *w, uint64_t n)
{
    char name[32];
    int fd;

    snprintf(name, sizeof name, "f%" PRIu64, n);
    fd = openat(w->dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    return close(fd) < 0 ? errno : 0;
}

static int step_sync(struct writer *w, uint64_t n)
{
    int err = put(w->fd, SYNC_BYTES, (off_t)(n % 4096 * SYNC_BYTES));

    if (err == 0 && fdatasync(w->fd) < 0)
        err = errno;
    return err;
}

static int step_fill(struct writer *w, uint64_t n)
{
    char name[64];
    int fd;
    int err = 0;

    /* Each writer has its own directories, because the kernel lets one process at a time change a
     * directory. */
    snprintf(name, sizeof name, "w%u-%" PRIu64, w->id, w->done / DIR_FILES);
    if (w->done % DIR_FILES == 0 && mkdirat(w->dir, name, 0755) < 0)
        return errno;
    snprintf(name, sizeof name, "w%u-%" PRIu64 "/f%" PRIu64, w->id, w->done / DIR_FILES, n);
    fd = openat(w->dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    if (fill_bytes > 0)
        err = put(fd, fill_bytes, 0);
    if (close(fd) < 0 && err == 0)
        err = errno;
    return err;
}

static const struct job jobs[] = {
    {.name = "write", .step = step_write, .by_time = true},
    {.name = "create", .step = step_create, .by_time = true},
    {.name = "sync", .step = step_sync, .by_time = true},
    {.name = "fill", .step = step_fill},
    {.name = "churn", .step = step_write},
    {.name = "make", .step = step_create},
};

/* ---- Running --------------------------------------------------------------------------------- */

static void prepare(struct writer *w, const char *dir)
{
    char name[64];
    int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (top < 0)
        die("%s: %s", dir, strerror(errno));
    w->samples = xcalloc(MAX_SAMPLES, sizeof *w->samples);
    if (w->job->step == step_fill) {
        w->dir = top;
        return;
    }
    snprintf(name, sizeof name, "bench-%d-%u", (int)getpid(), w->id);
    if (mkdirat(top, name, 0755) < 0)
        die("%s/%s: %s", dir, name, strerror(errno));
    w->dir = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->fd = openat(w->dir, "data", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (w->dir < 0 || w->fd < 0)
        die("%s/%s: %s", dir, name, strerror(errno));
    close(top);
}

static void wait_for_turn(uint64_t n)
{
    uint64_t now = clock_boot_us(), at = all_began + n * 1000000 / rate;

    if (at > now)
        usleep((useconds_t)(at - now));
}

/* Finds the number of the writer's next operation. False: there is none. */
static bool take_number(struct writer *w, uint64_t *out)
{
    if (atomic_load(&stopping))
        return false;
    *out = w->job->by_time ? w->done : atomic_fetch_add(&next_number, 1);
    if (rate > 0 && *out < all_numbers)
        wait_for_turn(*out);
    return w->job->by_time || *out < all_numbers;
}

static void *work(void *arg)
{
    struct writer *w = arg;
    uint64_t n;

    while (take_number(w, &n)) {
        uint64_t began = clock_boot_us();
        int err = w->job->step(w, n);

        if (err != 0)
            die("operation %" PRIu64 " of writer %u: %s", n, w->id, strerror(err));
        w->done++;
        if (w->n_samples < MAX_SAMPLES)
            w->samples[w->n_samples++] = (uint32_t)(clock_boot_us() - began);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void report(const struct job *job, uint64_t took_us)
{
    size_t n = 0;
    size_t used = 0;
    uint64_t done = 0;
    uint32_t *all;

    for (unsigned i = 0; i < n_writers; i++)
        n += writers[i].n_samples;
    all = xcalloc(n + 1, sizeof *all);
    for (unsigned i = 0; i < n_writers; i++) {
        memcpy(all + used, writers[i].samples, writers[i].n_samples * sizeof *all);
        used += writers[i].n_samples;
        done += writers[i].done;
    }
    qsort(all, n, sizeof *all, by_size);
    printf("{\"what\":\"%s\",\"writers\":%u,\"operations\":%" PRIu64 ",\"seconds\":%.3f,"
           "\"per_second\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
           job->name, n_writers, done, (double)took_us / 1e6,
           (double)done * 1e6 / (double)max_u64(took_us, 1), all[n / 2], all[n * 99 / 100],
           n > 0 ? all[n - 1] : 0);
    free(all);
}

/* Removes the writer's own files, which have no use afterwards. */
static void tidy(struct writer *w, const char *dir)
{
    char *name = xasprintf("%s/bench-%d-%u", dir, (int)getpid(), w->id);

    for (uint64_t n = 0; w->job->step == step_create && w->job->by_time && n < w->done; n++) {
        char *file = xasprintf("f%" PRIu64, n);

        unlinkat(w->dir, file, 0);
        free(file);
    }
    if (w->job->step != step_fill) {
        unlinkat(w->dir, "data", 0);
        close(w->fd);
        (void)rmdir(name); /* fails if it has counted files in it: they stay */
    }
    close(w->dir);
    free(name);
}

static int run(const struct job *job, const char *dir, unsigned seconds)
{
    uint64_t began;
    uint64_t took;

    memset(block, 'b', sizeof block);
    for (unsigned i = 0; i < n_writers; i++) {
        writers[i].job = job;
        writers[i].id = i;
        prepare(&writers[i], dir);
    }
    began = clock_boot_us();
    all_began = began;
    for (unsigned i = 0; i < n_writers; i++)
        if (pthread_create(&writers[i].thread, NULL, work, &writers[i]) != 0)
            die("no thread");
    if (job->by_time)
        sleep(seconds);
    atomic_store(&stopping, job->by_time);
    for (unsigned i = 0; i < n_writers; i++)
        pthread_join(writers[i].thread, NULL);
    took = clock_boot_us() - began;
    report(job, took);
    for (unsigned i = 0; i < n_writers; i++)
        tidy(&writers[i], dir);
    return 0;
}

int main(int argc, char **argv)
{
    const struct job *job = NULL;

    for (size_t i = 0; argc >= 5 && i < ARRAY_LEN(jobs); i++)
        if (strcmp(argv[1], jobs[i].name) == 0)
            job = &jobs[i];
    n_writers = argc >= 5 ? (unsigned)atoi(argv[3]) : 0;
    if (job == NULL || n_writers == 0 || n_writers > MAX_WRITERS) {
        fprintf(stderr, "usage: bench write|create|sync DIR WRITERS SECONDS\n"
                        "       bench fill DIR WRITERS FILES BYTES\n"
                        "       bench churn|make DIR WRITERS CHANGES [RATE]\n");
        return 2;
    }
    all_numbers = strtoull(argv[4], NULL, 10);
    fill_bytes = argc > 5 ? (unsigned)min_u64(strtoull(argv[5], NULL, 10), MAX_BYTES) : 0;
    rate = argc > 5 && job->step != step_fill ? strtoull(argv[5], NULL, 10) : 0;
    return run(job, argv[2], (unsigned)all_numbers);
}
