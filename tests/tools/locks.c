/* SPDX-License-Identifier: Apache-2.0 */
/* The cost of locks through mounts.
 *
 *   locks pair DIR N      N times: a write(2) of 10 bytes (one commit), flock, unlock; without
 *                         other lockers
 *   locks handover A B N  a program on each of two mounts wants the same lock all the time:
 *                         measures from the begin of an unlock until the other's flock returns
 *   locks crowd A B N     N waiters on two mounts unlock immediately: measures all of them
 *   locks hold DIR N      opens N files, prints "open", waits for a line; locks each, prints
 *                         "held", and waits for the end of its input
 *
 * Prints one line of JSON, times in microseconds. An error ends the program with 1. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define HOLD_US    2000 /* so that the other program is waiting by then */
#define QUEUE_S    3    /* time until a crowd is waiting */
#define HOLDERS    64   /* threads that take locks */
#define STACK_SIZE (256u << 10)

static const char *const *dirs;
static uint64_t count;

static int open_in(const char *dir, const char *name)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        die("%s: %s", path, strerror(errno));
    return fd;
}

static void lock(int fd, int op)
{
    while (flock(fd, op) != 0)
        if (errno != EINTR)
            die("flock: %s", strerror(errno));
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static uint64_t median(uint64_t *samples, size_t n)
{
    qsort(samples, n, sizeof *samples, compare);
    return n > 0 ? samples[n / 2] : 0;
}

static void pair(void)
{
    uint64_t *samples[3], at[4];
    int fd = open_in(dirs[0], "lock"), file = open_in(dirs[0], "file");

    for (int i = 0; i < 3; i++)
        samples[i] = xcalloc(count, sizeof **samples);
    for (uint64_t n = 0; n < count; n++) {
        at[0] = clock_boot_us();
        if (pwrite(file, "0123456789", 10, 0) != 10)
            die("write: %s", strerror(errno));
        at[1] = clock_boot_us();
        lock(fd, LOCK_EX);
        at[2] = clock_boot_us();
        lock(fd, LOCK_UN);
        at[3] = clock_boot_us();
        for (int i = 0; i < 3; i++)
            samples[i][n] = at[i + 1] - at[i];
    }
    printf("{\"write\": %llu", (unsigned long long)median(samples[0], count));
    printf(", \"lock\": %llu", (unsigned long long)median(samples[1], count));
    printf(", \"unlock\": %llu}\n", (unsigned long long)median(samples[2], count));
}

/* ---- Two programs, one lock ------------------------------------------------------------------ */

static uint64_t released_us, taken, *handovers; /* only the holder of the lock uses them */

static void *want(void *arg)
{
    int fd = open_in(arg, "lock");
    bool more = true;

    while (more) {
        lock(fd, LOCK_EX);
        if (released_us != 0 && taken < count)
            handovers[taken] = clock_boot_us() - released_us;
        more = ++taken < count;
        usleep(HOLD_US);
        released_us = clock_boot_us();
        lock(fd, LOCK_UN);
    }
    close(fd);
    return NULL;
}

static void start(pthread_t *thread, void *(*fn)(void *arg), const char *dir)
{
    union {
        const char *in;
        void *out;
    } arg = {.in = dir};
    pthread_attr_t attr;

    check(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK_SIZE) == 0);
    check(pthread_create(thread, &attr, fn, arg.out) == 0);
    pthread_attr_destroy(&attr);
}

static void handover(void)
{
    pthread_t threads[2];

    handovers = xcalloc(count, sizeof *handovers);
    for (int i = 0; i < 2; i++)
        start(&threads[i], want, dirs[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("{\"handover\": %llu}\n", (unsigned long long)median(handovers + 1, count - 1));
}

/* ---- Many threads, one lock ------------------------------------------------------------------ */

static void *wait_once(void *arg)
{
    int fd = open_in(arg, "lock");

    lock(fd, LOCK_EX);
    lock(fd, LOCK_UN);
    close(fd);
    return NULL;
}

static void crowd(void)
{
    pthread_t *threads = xcalloc(count, sizeof *threads);
    int fd = open_in(dirs[0], "lock");
    uint64_t begin, us;

    lock(fd, LOCK_EX);
    for (uint64_t i = 0; i < count; i++)
        start(&threads[i], wait_once, dirs[i % 2]);
    sleep(QUEUE_S);
    begin = clock_boot_us();
    lock(fd, LOCK_UN);
    for (uint64_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    us = clock_boot_us() - begin;
    printf("{\"waiters\": %llu, \"all\": %llu, \"each\": %llu}\n", (unsigned long long)count,
           (unsigned long long)us, (unsigned long long)(us / count));
}

/* ---- Many held locks ------------------------------------------------------------------------- */

static int *held;
static atomic_ullong next;
static pthread_barrier_t opened;

static void *hold_some(void *arg)
{
    uint64_t mine = 0, i, *list = xcalloc(count, sizeof *list);
    char name[32];

    while ((i = atomic_fetch_add(&next, 1)) < count) {
        snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        held[i] = open_in(arg, name);
        list[mine++] = i;
    }
    pthread_barrier_wait(&opened);
    pthread_barrier_wait(&opened);
    for (i = 0; i < mine; i++)
        lock(held[list[i]], LOCK_EX);
    free(list);
    return NULL;
}

static void hold(void)
{
    pthread_t threads[HOLDERS];
    char line[16];

    held = xcalloc(count, sizeof *held);
    pthread_barrier_init(&opened, NULL, HOLDERS + 1);
    for (int i = 0; i < HOLDERS; i++)
        start(&threads[i], hold_some, dirs[0]);
    pthread_barrier_wait(&opened);
    puts("open");
    fflush(stdout);
    check(fgets(line, sizeof line, stdin) != NULL);
    pthread_barrier_wait(&opened);
    for (int i = 0; i < HOLDERS; i++)
        pthread_join(threads[i], NULL);
    puts("held");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL)
        continue;
}

static const struct {
    const char *name;
    int n_dirs;
    void (*run)(void);
} verbs[] = {{"pair", 1, pair}, {"handover", 2, handover}, {"crowd", 2, crowd}, {"hold", 1, hold}};

int main(int argc, char **argv)
{
    struct rlimit files = {65536, 65536};

    (void)setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++) {
        if (strcmp(argv[1], verbs[i].name) != 0 || argc != verbs[i].n_dirs + 3)
            continue;
        dirs = (const char *const *)argv + 2;
        count = strtoull(argv[argc - 1], NULL, 10);
        check(count > 1);
        verbs[i].run();
        return 0;
    }
    fprintf(stderr, "usage: locks pair|hold DIR N, locks handover|crowd A B N\n");
    return 2;
}
