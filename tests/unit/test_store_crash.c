/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts and failing disks: afterwards everything that was promised is there. */
#include "tests/lib/store_kit.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/crash_vfs.h"

#define ROOT  1
#define FILES 8

static struct kit kit;
static struct kit *const k = &kit;

static void seed_random(void)
{
    unsigned seed = (unsigned)time(NULL);

    print_message("seed %u\n", seed);
    srandom(seed);
}

/* One transaction with some entries. */
static void turn(size_t largest, bool sync)
{
    static uint8_t data[200000];
    char name[8];

    k->sync = sync;
    memset(data, (int)random(), sizeof data);
    snprintf(name, sizeof name, "f%ld", random() % FILES);
    switch (random() % 6) {
    case 0:
        kit_make(k, ROOT, name, S_IFREG | 0644);
        break;
    case 1:
        kit_unlink(k, ROOT, name);
        break;
    case 2:
        kit_reap(k, 1 + (uint64_t)random() % store_applied(k->store));
        break;
    default:
        if (kit_find(k, ROOT, name) != 0)
            kit_write(k, kit_find(k, ROOT, name), (uint64_t)random() % 100000, data,
                      1 + (size_t)random() % largest);
        else
            kit_file(k, ROOT, name);
        break;
    }
    if (random() % 20 == 0) { /* the log must not grow without bound */
        store_begin(k->store);
        store_log_compact(k->store, store_applied(k->store));
        store_commit(k->store, false);
    }
}

/* ---- Power cuts -------------------------------------------------------------------------------*/

#define TURNS 800

static struct store_hash hashes[TURNS + 100];

static void assert_survives(uint64_t synced, uint64_t term)
{
    static struct kit copy;
    struct store_raft_state raft;
    struct store_hash h;

    memset(&copy, 0, sizeof copy);
    kit_make_dir(copy.dir);
    crash_vfs_cut(k->dir, copy.dir);
    kit_open(&copy);
    kit_check(&copy);
    store_raft_state(copy.store, &raft);
    buf_fini(&raft.config);
    assert_true(raft.applied >= synced);
    assert_true(raft.applied <= store_applied(k->store));
    assert_true(raft.term >= term);
    h = store_state_hash(copy.store);
    assert_true(h.low == hashes[raft.applied].low && h.high == hashes[raft.applied].high);
    kit_fini(&copy);
}

static void test_power_cuts(void **state)
{
    uint64_t synced, term = 0;

    (void)state;
    seed_random();
    crash_vfs_on();
    kit_empty(k);
    crash_vfs_off();
    hashes[0] = store_state_hash(k->store);
    assert_survives(0, 0); /* the creation is durable immediately */
    kit_session(k, 1, 77);
    hashes[1] = store_state_hash(k->store);
    store_begin(k->store);
    store_commit(k->store, true);
    synced = store_applied(k->store);
    for (int i = 0; i < TURNS; i++) {
        bool sync = random() % 4 == 0;

        if (sync && random() % 4 == 0) {
            store_begin(k->store);
            store_set_vote(k->store, term + 1, 1);
            store_commit(k->store, true);
            term++;
            synced = store_applied(k->store);
        }
        turn(i % 3 == 0 ? 150000 : 2000, sync);
        hashes[store_applied(k->store)] = store_state_hash(k->store);
        if (sync)
            synced = store_applied(k->store);
        if (i % 25 == 0)
            assert_survives(synced, term);
    }
    print_message("%lu operations, %lu syncs\n", crash_vfs_operations(), crash_vfs_syncs());
    assert_survives(synced, term);
    kit_fini(k);
    crash_vfs_forget();
}

/* A commit without sync makes no sync; a commit with sync makes exactly one. */
static void test_syncs(void **state)
{
    unsigned long before;

    (void)state;
    crash_vfs_on();
    kit_init(k);
    crash_vfs_off();
    before = crash_vfs_syncs();
    k->sync = false;
    for (int i = 0; i < 50; i++)
        kit_noop(k);
    assert_int_equal(crash_vfs_syncs(), before);
    k->sync = true;
    kit_noop(k);
    assert_int_equal(crash_vfs_syncs(), before + 1);
    store_begin(k->store);
    store_commit(k->store, true); /* nothing to sync */
    assert_int_equal(crash_vfs_syncs(), before + 1);
    k->sync = false;
    kit_noop(k);
    store_begin(k->store);
    store_commit(k->store, true); /* syncs the earlier unsynced commits */
    assert_int_equal(crash_vfs_syncs(), before + 2);
    kit_fini(k);
    crash_vfs_forget();
}

/* ---- Failing disks ----------------------------------------------------------------------------*/

/* A child works on a disk whose n-th operation fails, and reports each index that was synced. */
static void work_until_death(unsigned n, int rc, int report)
{
    uint64_t applied;

    signal(SIGABRT, SIG_DFL);
    close(STDERR_FILENO);
    crash_vfs_on();
    kit_open(k);
    crash_vfs_fail(n, rc);
    for (int i = 0; i < 200; i++) {
        turn(3000, true);
        applied = store_applied(k->store);
        if (write(report, &applied, sizeof applied) != sizeof applied)
            break;
    }
    _exit(0);
}

static bool survives_failure(unsigned n, int rc)
{
    uint64_t applied, synced;
    int pipes[2], status;
    pid_t pid;

    synced = store_applied(k->store);
    kit_close(k);
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipes[0]);
        work_until_death(n, rc, pipes[1]);
    }
    close(pipes[1]);
    while (read(pipes[0], &applied, sizeof applied) == sizeof applied)
        synced = applied;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* The child died instead of going on without its data; or it finished before the failure. */
    assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) ||
                (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    kit_open(k);
    kit_check(k);
    assert_true(store_applied(k->store) >= synced);
    kit_session(k, 1, (uint64_t)random());
    return WIFEXITED(status);
}

static void test_failing_operations(void **state)
{
    static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_IOERR_FSYNC};
    unsigned died = 0;

    (void)state;
    seed_random();
    kit_init(k);
    for (unsigned n = 1; n <= 60; n++)
        died += survives_failure(n, codes[n % ARRAY_LEN(codes)]) ? 0 : 1;
    assert_int_equal(died, 60);
    assert_true(survives_failure(1000000, SQLITE_FULL));
    kit_fini(k);
}

/* The disk fails while a database is created or opened: an error; later the same call succeeds. */
static void test_failing_open(void **state)
{
    const struct store_identity identity = {.member = 1, .cluster = "test"};
    unsigned failed = 0;

    (void)state;
    for (unsigned n = 1; n <= 40; n++) {
        struct store *s = NULL;
        char errmsg[256] = "";
        int err;

        kit_empty(k);
        kit_close(k);
        if (n % 2) { /* every other time the database exists already */
            kit_remove_dir(k->dir);
            assert_int_equal(mkdir(k->dir, 0700), 0);
        }
        crash_vfs_on();
        crash_vfs_fail(n / 2, n % 4 < 2 ? SQLITE_FULL : SQLITE_IOERR_WRITE);
        err = store_open(k->dir, &identity, &s, errmsg, sizeof errmsg);
        crash_vfs_fail(0, 0);
        if (err == 0)
            store_close(s);
        else
            assert_true(errmsg[0] != '\0');
        failed += err != 0 ? 1 : 0;
        crash_vfs_off();
        crash_vfs_forget();
        kit_open(k);
        kit_fini(k);
    }
    print_message("%u of 40 failed\n", failed);
    assert_true(failed >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts),
        cmocka_unit_test(test_syncs),
        cmocka_unit_test(test_failing_operations),
        cmocka_unit_test(test_failing_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
