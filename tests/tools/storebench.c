/* SPDX-License-Identifier: Apache-2.0 */
/* storebench [DIR] [FILES]: the cost of the store on this disk. Prints figures, asserts nothing.
 * DIR (default: the current directory) should be on a real disk; FILES: default 100000. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/stamp.h"
#include "store/reader.h"
#include "store/store.h"

#define ROOT 1

static struct store *store;
static char dir[512];
static uint64_t session, seq;
static const struct store_identity identity = {.member = 1, .cluster = "bench"};

static double clock_of(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double now(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static double cpu(void)
{
    return clock_of(CLOCK_THREAD_CPUTIME_ID);
}

static long rss_kib(void)
{
    long pages = 0, ignored;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f == NULL || fscanf(f, "%ld %ld", &ignored, &pages) != 2)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void open_store(void)
{
    char errmsg[256];
    int err = store_open(dir, &identity, &store, errmsg, sizeof errmsg);

    if (err != 0)
        die("%s: %s (%d)", dir, errmsg, err);
}

/* Appends the command to the log and applies it, in the caller's transaction. */
static uint64_t run(Cfs__Command *c)
{
    struct stamp stamp = {session, session ? ++seq : 0, session ? seq - 1 : 0, 1000};
    uint8_t data[STAMP_SIZE + 2048];
    struct store_entry entry = {1, STORE_COMMAND, data, 0};
    struct store_result result;
    uint64_t index = store_applied(store) + 1;
    Cfs__Reply *reply;
    uint64_t ino;

    stamp_encode(&stamp, data);
    check(cfs__command__get_packed_size(c) <= 2048);
    entry.len = STAMP_SIZE + cfs__command__pack(c, data + STAMP_SIZE);
    store_log_append(store, index, &entry);
    store_apply(store, index, &entry, &result);
    check(result.outcome == STORE_APPLIED);
    reply = cfs__reply__unpack(NULL, result.reply_len, result.reply);
    check(reply != NULL && reply->status == 0);
    ino = reply->attr != NULL ? reply->attr->ino : reply->value;
    cfs__reply__free_unpacked(reply, NULL);
    return ino;
}

static void open_session(void)
{
    Cfs__OpenSession op = CFS__OPEN_SESSION__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    c.open_session = &op;
    op.member = 1;
    op.nonce = (uint64_t)time(NULL);
    session = 0;
    store_begin(store);
    session = run(&c);
    store_commit(store, true);
    seq = 0;
}

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
    Cfs__Make op = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &op;
    op.parent = parent;
    op.name = (ProtobufCBinaryData){strlen(name), (uint8_t *)(uintptr_t)name};
    op.mode = mode;
    return run(&c);
}

static void write_file(uint64_t ino, bool append)
{
    static uint8_t data[256];
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = ino;
    op.truncate = !append;
    op.append = append;
    op.n_extents = 1;
    op.extents = extents;
    extent.data = (ProtobufCBinaryData){sizeof data, data};
    run(&c);
}

/* ---- Measurements -----------------------------------------------------------------------------*/

static uint64_t bench_ino;
static unsigned bench_count;

static void do_create(void)
{
    char name[32];

    snprintf(name, sizeof name, "bench%u", bench_count++);
    make(ROOT, name, S_IFREG | 0644);
}

static void do_rewrite(void)
{
    write_file(bench_ino, false);
}

static void do_append(void)
{
    write_file(bench_ino, true);
}

static void measure(const char *what, void (*fn)(void), unsigned total, unsigned batch, bool sync)
{
    double wall = now(), busy = cpu();

    for (unsigned done = 0; done < total; done += batch) {
        store_begin(store);
        for (unsigned i = 0; i < batch; i++)
            fn();
        if (done % 4096 == 0 && store_applied(store) > 5000)
            store_log_compact(store, store_applied(store) - 5000);
        store_commit(store, sync);
    }
    wall = now() - wall;
    busy = cpu() - busy;
    printf("%-10s %4u per commit, %s: %8.0f/s, %6.1f us of CPU each\n", what, batch,
           sync ? "synced  " : "unsynced", total / wall, busy * 1e6 / total);
}

static void measure_log(void)
{
    static uint8_t data[256];
    struct store_raft_state raft;
    double busy;
    unsigned n = 64 * 500;

    store_raft_state(store, &raft);
    buf_fini(&raft.config);
    busy = cpu();
    for (unsigned i = 0; i < n; i++) {
        struct store_entry e = {1, STORE_BARRIER, data, sizeof data};

        if (i % 64 == 0)
            store_begin(store);
        store_log_append(store, raft.last_index + 1 + i, &e);
        if (i % 64 == 63)
            store_commit(store, false);
    }
    busy = cpu() - busy;
    printf("log append of 256 B, 64 per commit: %.1f us of CPU each\n", busy * 1e6 / n);
    busy = cpu();
    for (unsigned i = 0; i < n; i++) {
        struct store_entry e;

        check(store_log_get(store, raft.last_index + 1 + i, &e));
    }
    busy = cpu() - busy;
    printf("log get: %.1f us of CPU each\n", busy * 1e6 / n);
    store_begin(store);
    store_log_truncate(store, raft.last_index + 1);
    store_commit(store, false);
}

static atomic_bool stop;

static void *count_reads(void *arg)
{
    struct store_reader *r = arg;
    double busy = cpu();
    uint64_t *n = xcalloc(2, sizeof *n);

    while (!atomic_load(&stop)) {
        Cfs__Attr attr;
        char name[32];

        snprintf(name, sizeof name, "f%llu", (unsigned long long)(n[0] * 7919 % 500));
        reader_lookup(r, 2, name, strlen(name), &attr);
        n[0]++;
    }
    n[1] = (uint64_t)((cpu() - busy) * 1e9);
    return n;
}

static void measure_reads(struct store_reader *r, unsigned files)
{
    static char out[4096];
    unsigned n = 100000;
    double busy = cpu();
    Cfs__Attr attr;

    for (unsigned i = 0; i < n; i++)
        reader_attr(r, 2 + i * 7919ull % files, &attr);
    printf("reader: attr %.1f us", (cpu() - busy) * 1e6 / n);
    busy = cpu();
    for (unsigned i = 0; i < n; i++) {
        char name[32];

        snprintf(name, sizeof name, "f%u", i * 7919 % 1000);
        reader_lookup(r, 2 + i * 104729ull % (files / 1000 + 1) * 1001, name, strlen(name), &attr);
    }
    printf(", lookup %.1f us", (cpu() - busy) * 1e6 / n);
    busy = cpu();
    for (unsigned i = 0; i < n; i++)
        reader_read(r, 3 + i * 7919ull % files, 0, out, sizeof out);
    printf(", read %.1f us (of CPU each, no writer)\n", (cpu() - busy) * 1e6 / n);
}

static void measure_contention(void)
{
    struct store_reader *r = reader_new(store);
    pthread_t thread;
    uint64_t *n;

    atomic_store(&stop, false);
    check(pthread_create(&thread, NULL, count_reads, r) == 0);
    measure("rewrite", do_rewrite, 5000, 1, false);
    atomic_store(&stop, true);
    pthread_join(thread, (void **)&n);
    printf("  … with a reader beside: lookup %.1f us of CPU each\n",
           n[0] > 0 ? (double)n[1] / 1e3 / (double)n[0] : 0);
    free(n);
    reader_free(r);
}

static void measure_copy(void)
{
    double start = now();
    struct store_snapshot_out *c = store_snapshot_out_open(store);
    struct store_snapshot_in *st;
    struct store_snapshot_info info;
    double opened = now() - start;
    static uint8_t piece[1 << 20];
    uint64_t at = 0;
    int64_t n;

    while (store_snapshot_out_poll(c) == STORE_BUSY)
        usleep(1000);
    check(store_snapshot_out_poll(c) == STORE_READY);
    store_snapshot_out_info(c, &info);
    printf("copy: %.0f MiB in %.2f s (opening: %.1f ms), RSS %ld MiB\n",
           (double)info.size / (1 << 20), now() - start, opened * 1e3, rss_kib() / 1024);
    start = now();
    st = store_snapshot_in_open(store);
    while ((n = store_snapshot_out_read(c, at, piece, sizeof piece)) > 0) {
        check(store_snapshot_in_write(st, at, piece, (size_t)n) == 0);
        at += (uint64_t)n;
    }
    printf("stage: written in %.2f s", now() - start);
    start = now();
    store_snapshot_in_verify(st, &info);
    while (store_snapshot_in_poll(st) == STORE_BUSY)
        usleep(1000);
    check(store_snapshot_in_poll(st) == STORE_READY);
    printf(", verified in %.2f s", now() - start);
    start = now();
    store_snapshot_in_install(st);
    printf(", installed in %.1f ms, RSS %ld MiB\n", (now() - start) * 1e3, rss_kib() / 1024);
    store_snapshot_out_close(c);
    buf_fini(&info.config);
}

/* Makes a thousand files of 256 bytes in each directory. */
static void fill(unsigned files)
{
    double wall = now();
    uint64_t parent = ROOT;
    char name[32];

    for (unsigned i = 0; i < files; i++) {
        if (i % 250 == 0)
            store_begin(store);
        if (i % 1000 == 0) {
            snprintf(name, sizeof name, "d%u", i / 1000);
            parent = make(ROOT, name, S_IFDIR | 0755);
        }
        snprintf(name, sizeof name, "f%u", i % 1000);
        write_file(make(parent, name, S_IFREG | 0644), true);
        if (i % 250 == 249) {
            if (store_applied(store) > 5000)
                store_log_compact(store, store_applied(store) - 5000);
            store_commit(store, false);
        }
    }
    wall = now() - wall;
    printf("%u files of 256 B: %.1f s, %.0f entries/s\n", files, wall, 2 * files / wall);
}

int main(int argc, char **argv)
{
    unsigned files = argc > 2 ? (unsigned)atoi(argv[2]) / 1000 * 1000 : 100000;
    struct store_counts counts;
    struct store_reader *r;
    char why[300], command[600];
    double start;

    snprintf(dir, sizeof dir, "%s/storebench-XXXXXX", argc > 1 ? argv[1] : ".");
    if (mkdtemp(dir) == NULL)
        die("%s: %s", dir, strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_store();
    printf("empty: RSS %ld MiB\n", rss_kib() / 1024);
    open_session();
    fill(files);
    store_counts(store, &counts);
    printf("database: %.0f MiB, RSS %ld MiB\n", (double)counts.file_bytes / (1 << 20),
           rss_kib() / 1024);
    start = now();
    store_close(store);
    printf("close: %.2f s\n", now() - start);
    start = now();
    open_store();
    printf("open: %.1f ms, RSS %ld MiB\n", (now() - start) * 1e3, rss_kib() / 1024);
    r = reader_new(store);
    measure_reads(r, files);
    printf("RSS %ld MiB\n", rss_kib() / 1024);

    store_begin(store);
    bench_ino = make(ROOT, "bench", S_IFREG | 0644);
    store_commit(store, true);
    measure_log();
    measure("create", do_create, 20000, 64, false);
    measure("create", do_create, 20000, 64, true);
    measure("create", do_create, 10000, 1, false);
    measure("create", do_create, 2000, 1, true);
    measure("rewrite", do_rewrite, 20000, 64, false);
    measure("rewrite", do_rewrite, 20000, 64, true);
    measure("rewrite", do_rewrite, 10000, 1, false);
    measure("rewrite", do_rewrite, 2000, 1, true);
    measure("append", do_append, 20000, 64, true);
    measure("append", do_append, 2000, 1, true);
    measure_contention();
    measure_copy();
    start = now();
    if (!store_check(store, why, sizeof why))
        die("%s", why);
    printf("check of everything: %.2f s, RSS %ld MiB\n", now() - start, rss_kib() / 1024);
    reader_free(r);
    store_close(store);
    snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
