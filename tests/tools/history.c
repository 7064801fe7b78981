/* SPDX-License-Identifier: Apache-2.0 */
/* Records the operations of concurrent readers and writers of registers through several mounts of
 * one cluster, and checks the history (tests/lib/observed.h). A register is a file of a few bytes.
 *
 *   history shared SECONDS WORKERS DIR…  every worker reads and writes any of a few registers:
 *                                        they must be linearizable (consistency=strong)
 *   history owned SECONDS WORKERS DIR…   one worker of each mount writes the registers of that
 *                                        mount, the others read them all: each mount must show
 *                                        prefixes of each writer's writes, never go back, and show
 *                                        its own writes (promises P2 and P3)
 *
 * There are WORKERS threads for each DIR; the DIRs are the same directory in different mounts. A
 * mount may disappear and return meanwhile. Every operation opens the file. A write that fails may
 * have happened. SIGTERM ends the program early.
 *
 * Prints "ready" at the beginning and "operations writes failed" at the end, and exits with 0.
 * After a violation it prints the violation, exits with 1, and writes the whole history to
 * $HISTORY_DUMP, if set. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/lib/observed.h"

#define MAX_MOUNTS  8
#define MAX_WORKERS 64
#define REGISTERS   3
#define TEXT        20 /* the content of a register: digits */
#define RETRY_US    20000
#define PREPARE_S   60

struct worker {
    pthread_t thread;
    unsigned mount;
    unsigned id;
    unsigned seed;
    uint64_t numbers; /* number of its writes */
    uint64_t failed;
    struct observed history;
};

static bool shared;
static const char *mounts[MAX_MOUNTS];
static unsigned n_mounts;
static struct worker workers[MAX_WORKERS];
static unsigned n_workers;
static atomic_bool stopping;

static uint64_t now_ns(void)
{
    struct timespec ts;

    check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int open_register(unsigned mount, unsigned reg, int flags)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/register-%u", mounts[mount], reg);
    return open(path, flags | O_CLOEXEC, 0644);
}

/* False: the operation failed in a way that proves nothing. */
static bool do_write(struct worker *w, struct observed_op *op)
{
    char text[TEXT + 1];
    int fd = open_register(w->mount, op->reg, O_WRONLY);

    if (fd < 0)
        return false;
    snprintf(text, sizeof(text), "%0*" PRIu64, TEXT, op->value);
    op->call_ns = now_ns(); /* no write happened before */
    if (pwrite(fd, text, TEXT, 0) == TEXT)
        op->return_ns = now_ns();
    else
        w->failed++;
    close(fd);
    return true;
}

static bool do_read(const struct worker *w, struct observed_op *op)
{
    char text[TEXT + 1] = "";
    ssize_t n;
    int fd = open_register(w->mount, op->reg, O_RDONLY);

    if (fd < 0)
        return false;
    n = pread(fd, text, TEXT, 0);
    op->return_ns = now_ns();
    close(fd);
    if (n < 0)
        return false;
    if (n != TEXT)
        die("mount %u, register %u: %zd bytes", w->mount, op->reg, n);
    op->value = strtoull(text, NULL, 10);
    return true;
}

static bool step(struct worker *w)
{
    bool writer = shared ? rand_r(&w->seed) % 2 == 0 : w->id / n_mounts == 0;
    struct observed_op op = {.host = w->mount, .write = writer, .return_ns = OBSERVED_NEVER};

    op.call_ns = now_ns();
    if (writer) {
        op.value = (uint64_t)(shared ? w->id : w->mount) << 40 | ++w->numbers;
        op.reg = shared ? (unsigned)rand_r(&w->seed) % REGISTERS
                        : w->mount * REGISTERS + (unsigned)(w->numbers % REGISTERS);
    } else {
        op.reg = (unsigned)rand_r(&w->seed) % (shared ? REGISTERS : n_mounts * REGISTERS);
    }
    if (writer ? !do_write(w, &op) : !do_read(w, &op))
        return false;
    observed_add(&w->history, &op);
    return true;
}

static void *work(void *arg)
{
    struct worker *w = arg;

    while (!atomic_load(&stopping))
        if (!step(w))
            usleep(RETRY_US); /* the mount is gone for a while */
    return NULL;
}

static bool make_register(unsigned reg, const char *zeros)
{
    int fd = open_register(0, reg, O_WRONLY | O_CREAT);
    bool made = fd >= 0 && pwrite(fd, zeros, TEXT, 0) == TEXT;

    if (fd >= 0)
        made &= close(fd) == 0;
    return made;
}

/* The barrier: afterwards the directory is visible there. */
static bool reach(const char *mount)
{
    int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool reached = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return reached;
}

/* A slow host may not know the directory yet, and calls may time out. */
static void make_registers(void)
{
    uint64_t end = now_ns() + PREPARE_S * 1000000000ull;
    char zeros[TEXT + 1];

    snprintf(zeros, sizeof(zeros), "%0*d", TEXT, 0);
    for (unsigned reg = 0; reg < n_mounts * REGISTERS; reg++)
        while (!make_register(reg, zeros)) {
            if (now_ns() > end)
                die("%s: %s", mounts[0], strerror(errno));
            usleep(RETRY_US);
        }
    for (unsigned i = 0; i < n_mounts; i++)
        while (!reach(mounts[i])) {
            if (now_ns() > end)
                die("%s: %s", mounts[i], strerror(errno));
            usleep(RETRY_US);
        }
}

/* Writes a line for each operation: mount, register, w or r, value, call and return (ns; -1:
 * failed). */
static void dump(const struct observed *h, const char *name)
{
    FILE *out = name == NULL ? NULL : fopen(name, "w");

    for (size_t i = 0; out != NULL && i < h->n; i++) {
        const struct observed_op *op = &h->ops[i];

        fprintf(out, "%u %u %c %" PRIx64 " %" PRIu64 " %" PRId64 "\n", op->host, op->reg,
                op->write ? 'w' : 'r', op->value, op->call_ns, (int64_t)op->return_ns);
    }
    if (out != NULL)
        fclose(out);
}

static int judge(void)
{
    struct observed all = {0};
    uint64_t writes = 0, failed = 0;
    const char *error;

    for (unsigned i = 0; i < n_workers; i++) {
        for (size_t j = 0; j < workers[i].history.n; j++)
            observed_add(&all, &workers[i].history.ops[j]);
        writes += workers[i].numbers;
        failed += workers[i].failed;
        observed_fini(&workers[i].history);
    }
    error = shared ? observed_linearizable(&all) : observed_prefixes(&all, n_mounts, REGISTERS);
    if (error != NULL) {
        fprintf(stderr, "history: %s\n", error);
        dump(&all, getenv("HISTORY_DUMP"));
    } else {
        printf("%zu %" PRIu64 " %" PRIu64 "\n", all.n, writes, failed);
    }
    observed_fini(&all);
    return error != NULL;
}

/* Waits until the time is over or SIGTERM arrives. */
static void until_told(unsigned seconds)
{
    struct timespec time = {.tv_sec = seconds};
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigtimedwait(&set, NULL, &time);
}

int main(int argc, char **argv)
{
    unsigned seconds, each;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    check(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    if (argc < 5 || argc - 4 > MAX_MOUNTS) {
        fprintf(stderr, "usage: history shared|owned SECONDS WORKERS DIR...\n");
        return 2;
    }
    shared = strcmp(argv[1], "shared") == 0;
    seconds = (unsigned)atoi(argv[2]);
    each = (unsigned)atoi(argv[3]);
    for (int i = 4; i < argc; i++)
        mounts[n_mounts++] = argv[i];
    check(each * n_mounts <= MAX_WORKERS);
    make_registers();
    puts("ready");
    fflush(stdout);
    for (n_workers = 0; n_workers < each * n_mounts; n_workers++) {
        struct worker *w = &workers[n_workers];

        w->id = n_workers;
        w->mount = n_workers % n_mounts;
        w->seed = n_workers + (unsigned)time(NULL);
        check(pthread_create(&w->thread, NULL, work, w) == 0);
    }
    until_told(seconds);
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n_workers; i++)
        check(pthread_join(workers[i].thread, NULL) == 0);
    return judge();
}
