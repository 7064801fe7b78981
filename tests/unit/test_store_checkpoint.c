/* SPDX-License-Identifier: Apache-2.0 */
/* store/checkpoint.c: the write-ahead log stays bounded, and an idle store costs nothing. */
#include "tests/lib/store_kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/internal.h"
#include "tests/lib/crash_vfs.h"

#define ROOT 1
#define MIB  (1 << 20)

static struct kit kit;
static struct kit *const k = &kit;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static long wal_bytes(void)
{
    struct stat st;
    char path[300];

    snprintf(path, sizeof path, "%s/coordfs.db-wal", k->dir);
    return stat(path, &st) == 0 ? (long)st.st_size : 0;
}

/* About 100 KiB of log per turn. */
static void turns(uint64_t ino, int n)
{
    static uint8_t data[90000];

    for (int i = 0; i < n; i++) {
        data[0]++;
        kit_write(k, ino, (uint64_t)(i % 10) * sizeof data, data, sizeof data);
        store_begin(k->store);
        store_log_compact(k->store, store_applied(k->store));
        store_commit(k->store, false);
        buf_fini(&k->log[k->n_log - 1].data); /* the kit must not keep it */
        k->n_log--;
    }
}

static atomic_bool stop_readers;

static void *read_on(void *arg)
{
    while (!atomic_load(&stop_readers)) {
        Cfs__Attr attr;

        check(reader_begin(arg) == 0);
        check(reader_attr(arg, ROOT, &attr) == 0);
        check(reader_attr(arg, ROOT, &attr) == 0);
        reader_end(arg);
    }
    return NULL;
}

/* Writes about 300 MiB of log without a pause, while readers are always active. */
static void test_bounded_under_load(void **state)
{
    struct store_reader *r = reader_new(k->store);
    uint64_t ino = kit_file(k, ROOT, "f");
    pthread_t thread;
    long largest = 0;

    (void)state;
    atomic_store(&stop_readers, false);
    assert_int_equal(pthread_create(&thread, NULL, read_on, r), 0);
    for (int i = 0; i < 60; i++) {
        turns(ino, 25);
        largest = largest > wal_bytes() ? largest : wal_bytes();
    }
    atomic_store(&stop_readers, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    reader_free(r);
    print_message("the log was %ld MiB at most\n", largest / MIB);
    assert_true(largest < 200 * MIB);
}

/* A long reader (a snapshot) makes the log grow; afterwards the log shrinks again. */
static void test_after_a_long_reader(void **state)
{
    struct store_reader *r = reader_new(k->store);
    uint64_t ino = kit_file(k, ROOT, "f"), before, applied;
    long grown;

    (void)state;
    assert_int_equal(reader_begin(r), 0);
    assert_int_equal(reader_applied(r, &before), 0);
    turns(ino, 600);
    grown = wal_bytes();
    assert_true(grown > 50 * MIB);
    assert_int_equal(reader_applied(r, &applied), 0);
    assert_int_equal(applied, before); /* the reader still sees the moment when it began */
    reader_end(r);
    reader_free(r);
    for (int i = 0; i < 100 && k->store->wal_pages > 10000; i++)
        turns(ino, 20);
    print_message("the log has %u pages in use, %ld MiB before\n", k->store->wal_pages,
                  grown / MIB);
    assert_true(k->store->wal_pages <= 10000);
}

static double process_cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_idle(void **state)
{
    struct timespec wait = {0, 300 * 1000 * 1000};
    unsigned long operations;
    bool idle = false;
    double cpu;

    (void)state;
    kit_close(k);
    crash_vfs_on();
    kit_open(k);
    crash_vfs_off();
    turns(kit_file(k, ROOT, "f"), 100);
    for (int i = 0; i < 50; i++) { /* until the last checkpoint has ended */
        operations = crash_vfs_operations();
        cpu = process_cpu();
        nanosleep(&wait, NULL);
        idle = crash_vfs_operations() == operations && process_cpu() - cpu < 0.05;
        if (idle)
            break;
    }
    assert_true(idle);
    kit_close(k);
    crash_vfs_forget();
    kit_open(k);
}

/* Restarts the store while a checkpoint is active. */
static void test_restarts(void **state)
{
    (void)state;
    turns(kit_file(k, ROOT, "f"), 30);
    for (int i = 0; i < 20; i++) {
        kit_close(k);
        kit_open(k);
        turns(kit_find(k, ROOT, "f"), 60); /* enough for a checkpoint to begin */
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_bounded_under_load),
        T(test_after_a_long_reader),
        T(test_idle),
        T(test_restarts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
