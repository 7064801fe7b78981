/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that a reader never sees content that the file never had. One process replaces a file
 * repeatedly, as a shell does (open with O_TRUNC, one write, close), by states of different
 * lengths. Other processes read it by another path all the time. Each read(2) must return one of
 * the states, and no state that is older than one that the same reader saw before.
 *
 *   torn [-p PAUSE_US] [-s MAX_BYTES] [-r READERS] [-b BURNERS] HOW WRITE_PATH READ_PATH SECONDS
 *
 * HOW: open (open, read, close), whole (open, read until the end, close), stat (open, fstat, read,
 * close), held (pread of a file that stays open), direct (like open, with O_DIRECT). -p: pause
 * between two states; -b: number of processes that only use CPU.
 *
 * Prints one line of JSON: states written, reads, and of these: cut (shorter than its state), zeros
 * (its state, and zeros behind it), other (pieces of several states), empty, back (older than
 * before), errors; `sized`: fstat showed another size than the read (not counted as wrong, because
 * these are two calls). Exit status 1 if anything was wrong. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define HEAD_LEN  11 /* the number and a newline */
#define BYTES_MAX (1u << 20)
#define READERS   2
#define PROCESSES 32
#define SHOWN_MAX 3

enum verdict { FINE, CUT, ZEROS, OTHER, EMPTY, BACK, FAILED, SIZED, VERDICTS };

static const char *const verdict_names[VERDICTS] = {
    [FINE] = "fine",   [CUT] = "cut",   [ZEROS] = "zeros",   [OTHER] = "other",
    [EMPTY] = "empty", [BACK] = "back", [FAILED] = "errors", [SIZED] = "sized",
};

static struct shared {
    atomic_bool stop;
    atomic_uint ready;
    atomic_uint states;
    atomic_uint shown;
    atomic_ullong counts[VERDICTS];
} * shared;

static struct {
    const char *how, *write_path, *read_path;
    unsigned pause_us, max_len, readers, burners, seconds;
} options = {.max_len = 3000, .readers = READERS};

/* ---- States ---------------------------------------------------------------------------------- */

static size_t state_len(unsigned n)
{
    return HEAD_LEN + 1 + n * 2654435761u % (options.max_len - HEAD_LEN);
}

static char state_byte(unsigned n, size_t i)
{
    return (char)('!' + (n * 31 + i) % 90);
}

static size_t state_make(unsigned n, char *out)
{
    size_t len = state_len(n);

    snprintf(out, HEAD_LEN + 1, "%010u\n", n);
    for (size_t i = HEAD_LEN; i < len; i++)
        out[i] = state_byte(n, i);
    return len;
}

static bool all_zero(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != 0)
            return false;
    return true;
}

static enum verdict judge(const char *data, ssize_t len, char *scratch, unsigned *n)
{
    size_t want, have = (size_t)len;

    if (len < 0)
        return FAILED;
    if (len == 0)
        return EMPTY;
    if (have < HEAD_LEN)
        return CUT;
    *n = (unsigned)strtoul(data, NULL, 10);
    want = state_make(*n, scratch);
    if (memcmp(data, scratch, have < want ? have : want) != 0)
        return OTHER;
    if (have < want)
        return CUT;
    return have == want ? FINE : all_zero(data + want, have - want) ? ZEROS : OTHER;
}

/* ---- The processes --------------------------------------------------------------------------- */

static int write_state(unsigned n, char *buf)
{
    size_t len = state_make(n, buf);
    int fd = open(options.write_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t written = fd < 0 ? -1 : write(fd, buf, len);

    if (fd >= 0)
        close(fd);
    return written == (ssize_t)len ? 0 : -1;
}

static void run_writer(void)
{
    char *buf = xmalloc(options.max_len + 64);

    for (unsigned n = 2; !atomic_load(&shared->stop); n++) {
        if (write_state(n, buf) != 0)
            die("%s: %s", options.write_path, strerror(errno));
        atomic_store(&shared->states, n);
        if (options.pause_us > 0)
            usleep(options.pause_us);
    }
}

/* Like cat(1) and others: reads until the end. */
static ssize_t read_whole(int fd, char *buf, size_t size)
{
    ssize_t got = 0, n;

    while ((n = read(fd, buf + got, size - (size_t)got)) > 0)
        got += n;
    return n < 0 ? n : got;
}

static ssize_t look(int held, char *buf, size_t size, off_t *stat_size)
{
    int flags = O_RDONLY | O_CLOEXEC | (strcmp(options.how, "direct") == 0 ? O_DIRECT : 0);
    int fd = held >= 0 ? held : open(options.read_path, flags);
    struct stat st;
    ssize_t n;

    *stat_size = -1;
    if (fd >= 0 && strcmp(options.how, "stat") == 0 && fstat(fd, &st) == 0)
        *stat_size = st.st_size;
    if (fd >= 0 && strcmp(options.how, "whole") == 0)
        n = read_whole(fd, buf, size);
    else
        n = fd < 0 ? -1 : pread(fd, buf, size, 0);
    if (fd >= 0 && fd != held)
        close(fd);
    return n;
}

static void show(enum verdict v, unsigned n, ssize_t len, unsigned before)
{
    if (atomic_fetch_add(&shared->shown, 1) < SHOWN_MAX)
        fprintf(stderr, "torn: %s: state %u (%zu bytes), read %zd bytes, before that %u (%zu)\n",
                verdict_names[v], n, state_len(n), len, before, state_len(before));
}

static void run_reader(void)
{
    size_t size = (2 * options.max_len + 4096) & ~4095u;
    char *scratch = xmalloc(options.max_len + 64), *buf = NULL;
    unsigned n = 0, last = 0;
    int held = -1;

    check(posix_memalign((void **)&buf, 4096, size) == 0);
    if (strcmp(options.how, "held") == 0 && (held = open(options.read_path, O_RDONLY)) < 0)
        die("%s: %s", options.read_path, strerror(errno));
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        off_t stat_size;
        ssize_t len = look(held, buf, size, &stat_size);
        enum verdict v = judge(buf, len, scratch, &n);

        if (v == FINE && n < last)
            v = BACK;
        if (v != FINE)
            show(v, n, len, last);
        else if (stat_size >= 0 && stat_size != len)
            v = SIZED;
        if (v == FINE || v == SIZED)
            last = n;
        atomic_fetch_add_explicit(&shared->counts[v], 1, memory_order_relaxed);
    }
}

static void run_burner(void)
{
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
        continue;
}

static pid_t start(void (*run)(void))
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        run();
        _exit(0);
    }
    return pid;
}

/* ---- The run --------------------------------------------------------------------------------- */

static int report(void)
{
    unsigned long long all = 0, wrong = 0;

    for (unsigned v = 0; v < VERDICTS; v++) {
        all += atomic_load(&shared->counts[v]);
        if (v != FINE && v != SIZED)
            wrong += atomic_load(&shared->counts[v]);
    }
    printf("{\"how\": \"%s\", \"states\": %u, \"reads\": %llu", options.how,
           atomic_load(&shared->states), all);
    for (unsigned v = CUT; v < VERDICTS; v++)
        printf(", \"%s\": %llu", verdict_names[v], atomic_load(&shared->counts[v]));
    printf("}\n");
    return wrong > 0 ? 1 : 0;
}

static void parse(int argc, char **argv)
{
    int opt;

    while ((opt = getopt(argc, argv, "p:s:r:b:")) != -1) {
        unsigned value = optarg == NULL ? 0 : (unsigned)strtoul(optarg, NULL, 10);

        if (opt == 'p')
            options.pause_us = value;
        else if (opt == 's' && value > HEAD_LEN && value <= BYTES_MAX)
            options.max_len = value;
        else if (opt == 'r' && value <= PROCESSES / 2)
            options.readers = value;
        else if (opt == 'b' && value <= PROCESSES / 2)
            options.burners = value;
        else
            die("torn: bad option");
    }
    if (argc - optind != 4)
        die("usage: torn [-p US] [-s BYTES] [-r N] [-b N] HOW WRITE_PATH READ_PATH SECONDS");
    options.how = argv[optind];
    options.write_path = argv[optind + 1];
    options.read_path = argv[optind + 2];
    options.seconds = (unsigned)strtoul(argv[optind + 3], NULL, 10);
}

/* Writes the first state, and waits until the other path shows it. */
static void begin(void)
{
    char *buf = xmalloc(options.max_len + 64);
    struct stat st;

    if (write_state(1, buf) != 0)
        die("%s: %s", options.write_path, strerror(errno));
    while (stat(options.read_path, &st) != 0 || st.st_size != (off_t)state_len(1))
        usleep(1000);
    free(buf);
}

int main(int argc, char **argv)
{
    pid_t pids[PROCESSES + 1];
    unsigned n = 0;
    int status, bad = 0;

    parse(argc, argv);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared != MAP_FAILED);
    begin();
    for (unsigned i = 0; i < options.readers; i++)
        pids[n++] = start(run_reader);
    for (unsigned i = 0; i < options.burners; i++)
        pids[n++] = start(run_burner);
    while (atomic_load(&shared->ready) < n)
        usleep(1000);
    pids[n++] = start(run_writer);
    sleep(options.seconds);
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < n; i++)
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            bad = 1;
    return report() | bad;
}
