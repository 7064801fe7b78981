/* SPDX-License-Identifier: Apache-2.0 */
/* The time without an acknowledged write of any writer after an event in the cluster.
 *
 *   gap BEFORE_MS AFTER_MS kill PID DIR...     kill -9 of a process, after BEFORE_MS
 *   gap BEFORE_MS AFTER_MS run COMMAND DIR...  a shell command, for example to cut a network
 *
 * One writer per DIR overwrites a small file repeatedly. The DIRs are on mounts of members that
 * stay alive. The gap is the longest time between two acknowledged writes (of any writer), of those
 * that end after the event. Prints on one line:
 *
 *   gap_ms GAP before_ms LONGEST-BEFORE-THE-EVENT writes NUMBER errors NUMBER last LAST-ERROR
 *
 * It ends AFTER_MS after the acknowledgement of the first write that *began* after the event. If
 * there is none within 60 s, it exits with 1. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define MAX_WRITERS 64
#define MAX_ACKS    (1u << 20) /* per writer */
#define PATIENCE_US 60000000u

struct writer {
    const char *dir;
    unsigned id;
    uint64_t *acks; /* time of each: microseconds of clock_boot_us */
    unsigned n_acks;
    pthread_t thread;
};

static struct writer writers[MAX_WRITERS];
static unsigned n_writers;
static atomic_bool stopping;
static atomic_uint errors;
static atomic_int last_error;
static atomic_ullong event_us; /* time of the event; 0: not yet */
static atomic_ullong
    first_after_us; /* first acknowledgement of a write that began after the event */

static void note_ack(struct writer *w, uint64_t began, uint64_t now)
{
    unsigned long long none = 0;
    uint64_t event = atomic_load(&event_us);

    check(w->n_acks < MAX_ACKS);
    w->acks[w->n_acks++] = now;
    if (event != 0 && began > event)
        atomic_compare_exchange_strong(&first_after_us, &none, now);
}

static void *write_on(void *arg)
{
    struct writer *w = arg;
    char *path = xasprintf("%s/gap-%u-%d", w->dir, w->id, (int)getpid());
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0)
        die("%s: %s", path, strerror(errno));
    for (uint64_t n = 0; !atomic_load(&stopping); n++) {
        uint64_t began = clock_boot_us();

        if (pwrite(fd, &n, sizeof n, 0) == (ssize_t)sizeof n) {
            note_ack(w, began, clock_boot_us());
        } else {
            atomic_store(&last_error, errno);
            atomic_fetch_add(&errors, 1);
            usleep(1000);
        }
    }
    close(fd);
    unlink(path);
    free(path);
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void report(void)
{
    size_t n = 0;
    size_t used = 0;
    uint64_t *all;
    uint64_t before = 0;
    uint64_t after = 0;

    for (unsigned i = 0; i < n_writers; i++)
        n += writers[i].n_acks;
    all = xcalloc(n + 1, sizeof *all);
    for (unsigned i = 0; i < n_writers; i++) {
        memcpy(all + used, writers[i].acks, writers[i].n_acks * sizeof *all);
        used += writers[i].n_acks;
    }
    qsort(all, n, sizeof *all, by_time);
    for (size_t i = 1; i < n; i++) {
        uint64_t *longest = all[i] < atomic_load(&event_us) ? &before : &after;

        *longest = max_u64(*longest, all[i] - all[i - 1]);
    }
    printf("gap_ms %.1f before_ms %.1f writes %zu errors %u last %s\n", (double)after / 1000,
           (double)before / 1000, n, atomic_load(&errors),
           atomic_load(&errors) > 0 ? strerror(atomic_load(&last_error)) : "-");
    free(all);
}

/* Like system(3), which blocks SIGCHLD in one thread only, so that a writer would get it. */
static void run_command(const char *command)
{
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *text = xstrdup(command);
    char *argv[] = {shell, option, text, NULL};
    pid_t pid;
    int status;

    if (posix_spawn(&pid, shell, NULL, NULL, argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        die("'%s' failed", command);
    free(text);
}

static void cause(const char *how, const char *what)
{
    if (strcmp(how, "kill") == 0) {
        atomic_store(&event_us, clock_boot_us());
        if (kill((pid_t)atoi(what), SIGKILL) < 0)
            die("kill %s: %s", what, strerror(errno));
        return;
    }
    /* The command takes a while, and writes continue meanwhile: the event is the end of the
     * command. */
    run_command(what);
    atomic_store(&event_us, clock_boot_us());
}

static bool wait_for_ack(void)
{
    for (unsigned waited = 0; waited < PATIENCE_US; waited += 1000) {
        if (atomic_load(&first_after_us) != 0)
            return true;
        usleep(1000);
    }
    return false;
}

static int run(unsigned before_ms, unsigned after_ms, const char *how, const char *what)
{
    bool acked;

    for (unsigned i = 0; i < n_writers; i++) {
        writers[i].acks = xcalloc(MAX_ACKS, sizeof *writers[i].acks);
        if (pthread_create(&writers[i].thread, NULL, write_on, &writers[i]) != 0)
            die("no thread");
    }
    usleep(before_ms * 1000);
    cause(how, what);
    acked = wait_for_ack();
    if (acked)
        usleep(after_ms * 1000);
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n_writers; i++)
        pthread_join(writers[i].thread, NULL);
    report();
    if (!acked)
        fprintf(stderr, "gap: no write was acknowledged any more\n");
    return acked ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc - 5 > MAX_WRITERS) {
        fprintf(stderr, "usage: gap BEFORE_MS AFTER_MS kill|run PID|COMMAND DIR...\n");
        return 2;
    }
    for (n_writers = 0; n_writers < (unsigned)argc - 5; n_writers++) {
        writers[n_writers].dir = argv[n_writers + 5];
        writers[n_writers].id = n_writers;
    }
    return run((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]), argv[3], argv[4]);
}
