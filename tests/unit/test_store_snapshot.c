/* SPDX-License-Identifier: Apache-2.0 */
/* store/snapshot_out.c, store/snapshot_in.c, store/state_dir.c: a snapshot of one member's database
 * becomes the database of another. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/internal.h"

#define ROOT 1

static struct kit source, target;
static struct kit *const a = &source; /* the sender */
static struct kit *const b = &target; /* the receiver */

static int set_up(void **state)
{
    static uint8_t data[100000];

    (void)state;
    kit_init(a);
    memset(data, 'd', sizeof data);
    for (int i = 0; i < 50; i++) {
        char name[20];

        snprintf(name, sizeof name, "f%d", i);
        kit_file(a, i % 10 == 9 ? kit_dir(a, ROOT, "d") : ROOT, name);
        if (a->status == 0)
            kit_write(a, a->attr.ino, (uint64_t)i * 100, data, (size_t)i * 2000);
        kit_rename(a, ROOT, "d", ROOT, name + 1, CFS__RENAME__MODE__REPLACE);
    }
    kit_symlink(a, ROOT, "l", "target");
    kit_setxattr(a, ROOT, "user.x", "y", 1, CFS__SET_XATTR__MODE__ANY);
    kit_unlink(a, ROOT, "f3");
    kit_entry(a, STORE_CHANGE, "members", 7);
    a->keep = true;
    kit_noop(a);
    kit_init(b);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(a);
    kit_fini(b);
    return 0;
}

static void pause_ms(int ms)
{
    struct timespec t = {0, ms * 1000000L};

    nanosleep(&t, NULL);
}

static enum store_progress wait_copy(struct store_snapshot_out *c)
{
    for (int i = 0; i < 20000 && store_snapshot_out_poll(c) == STORE_BUSY; i++)
        pause_ms(1);
    return store_snapshot_out_poll(c);
}

static enum store_progress wait_stage(struct store_snapshot_in *st)
{
    for (int i = 0; i < 20000 && store_snapshot_in_poll(st) == STORE_BUSY; i++)
        pause_ms(1);
    return store_snapshot_in_poll(st);
}

static struct store_snapshot_out *make_copy(struct kit *k)
{
    struct store_snapshot_out *c = store_snapshot_out_open(k->store);

    assert_int_equal(wait_copy(c), STORE_READY);
    return c;
}

/* Writes the snapshot to the receiver, changing the byte at `damage` (none: UINT64_MAX). */
static void transfer(struct store_snapshot_out *c, struct store_snapshot_in *st, uint64_t damage)
{
    uint8_t piece[7777];
    uint64_t at = 0;
    int64_t n;

    while ((n = store_snapshot_out_read(c, at, piece, sizeof piece)) > 0) {
        if (damage >= at && damage < at + (uint64_t)n)
            piece[damage - at] ^= 0x55;
        assert_int_equal(store_snapshot_in_write(st, at, piece, (size_t)n), 0);
        at += (uint64_t)n;
    }
    assert_int_equal(n, 0);
}

static struct store_snapshot_in *staged(struct store_snapshot_out *c, struct kit *to,
                                        uint64_t damage, enum store_progress wanted)
{
    struct store_snapshot_info info;
    struct store_snapshot_in *st = store_snapshot_in_open(to->store);

    transfer(c, st, damage);
    store_snapshot_out_info(c, &info);
    store_snapshot_in_verify(st, &info);
    buf_fini(&info.config);
    assert_int_equal(wait_stage(st), wanted);
    return st;
}

/* The receiver has the sender's state and continues from it. */
static void assert_installed(uint64_t term, uint64_t vote)
{
    struct store_raft_state raft;

    kit_assert_hash(a, b);
    store_raft_state(b->store, &raft);
    assert_int_equal(raft.term, term);
    assert_int_equal(raft.vote, vote);
    assert_int_equal(raft.first_index, raft.applied + 1);
    assert_int_equal(raft.last_index, raft.applied);
    assert_int_equal(raft.config.len, 7);
    buf_fini(&raft.config);
    kit_check(b);
}

static bool exists(const struct kit *k, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    return access(path, F_OK) == 0;
}

static void test_copy_info(void **state)
{
    struct store_snapshot_out *c = store_snapshot_out_open(a->store);
    struct store_snapshot_info info;
    uint64_t index = store_applied(a->store);
    uint8_t byte;

    (void)state;
    kit_dir(a, ROOT, "later"); /* a snapshot shows the moment when it was opened */
    assert_int_equal(wait_copy(c), STORE_READY);
    store_snapshot_out_info(c, &info);
    assert_int_equal(info.index, index);
    assert_int_equal(info.term, 1);
    assert_int_equal(info.config_index, index - 1);
    assert_int_equal(info.config.len, 7);
    assert_memory_equal(info.config.data, "members", 7);
    assert_true(info.size > 0);
    assert_int_equal(store_snapshot_out_read(c, info.size, &byte, 1), 0);
    assert_int_equal(store_snapshot_out_read(c, info.size - 1, &byte, 1), 1);
    buf_fini(&info.config);
    assert_true(exists(a, "coordfs.copy-0"));
    store_snapshot_out_close(c);
    assert_false(exists(a, "coordfs.copy-0"));
}

/* A snapshot contains none of the sender's local data, not even in unused bytes. */
static void test_copy_is_stripped(void **state)
{
    struct store_snapshot_out *c;
    char command[300];
    uint64_t file;

    (void)state;
    kit_entry(a, STORE_BARRIER, "a-secret-of-the-log", 19);
    file = kit_file(a, ROOT, "file"); /* its name stays in the history */
    kit_write(a, file, 0, "a-secret-content", 16);
    kit_unlink(a, ROOT, "file");
    kit_reap(a, file);
    c = make_copy(a);
    snprintf(command, sizeof command, "grep -q a-secret '%s/coordfs.copy-0'", a->dir);
    assert_int_not_equal(system(command), 0);
    snprintf(command, sizeof command, "grep -q user.x '%s/coordfs.copy-0'", a->dir);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "%s/coordfs.copy-0", a->dir);
    assert_int_equal(chmod(command, 0600), 0);
    assert_true(store_check_file(command, command, sizeof command));
    store_snapshot_out_close(c);
}

static void test_several_copies(void **state)
{
    struct store_snapshot_out *c[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        c[i] = store_snapshot_out_open(a->store);
        kit_noop(a);
    }
    store_snapshot_out_close(c[1]); /* cancelled */
    assert_int_equal(wait_copy(c[0]), STORE_READY);
    assert_int_equal(wait_copy(c[2]), STORE_READY);
    store_snapshot_out_close(c[0]);
    store_snapshot_out_close(c[2]);
}

static void test_install(void **state)
{
    struct store_snapshot_out *c;
    struct stat st;
    char path[300];

    (void)state;
    store_begin(b->store);
    store_set_vote(b->store, 9, 4);
    store_commit(b->store, true);
    kit_file(b, ROOT, "goes away");
    c = make_copy(a);
    store_snapshot_in_install(staged(c, b, UINT64_MAX, STORE_READY));
    assert_installed(9, 4);
    assert_int_equal(kit_find(b, ROOT, "goes away"), 0); /* the reader uses the new state */
    assert_true(kit_find(b, ROOT, "f1") != 0);
    store_snapshot_out_close(c);
    kit_close(b);
    kit_open(b);
    assert_installed(9, 4);
    snprintf(path, sizeof path, "%s/coordfs.db", b->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(exists(b, "coordfs.stage"));
    assert_false(exists(b, "coordfs.new"));

    b->session = a->session; /* both apply the same further entries */
    b->seq = a->seq;
    b->now = a->now;
    b->keep = true;
    kit_dir(a, ROOT, "next");
    kit_dir(b, ROOT, "next");
    kit_assert_hash(a, b);
}

/* Installs snapshots repeatedly while readers work. */
static atomic_bool stop_readers;

static void *read_on(void *arg)
{
    struct store_reader *r = arg;
    uint64_t last = 0;

    while (!atomic_load(&stop_readers)) {
        uint64_t applied;
        Cfs__Attr attr;

        check(reader_begin(r) == 0);
        check(reader_applied(r, &applied) == 0);
        check(applied >= last);
        last = applied;
        check(reader_attr(r, ROOT, &attr) == 0);
        check(attr.children_modified <= applied);
        reader_end(r);
    }
    return NULL;
}

static void test_install_among_readers(void **state)
{
    struct store_reader *r = reader_new(b->store);
    struct store_snapshot_out *busy;
    pthread_t thread;

    (void)state;
    atomic_store(&stop_readers, false);
    assert_int_equal(pthread_create(&thread, NULL, read_on, r), 0);
    for (int i = 0; i < 10; i++) {
        struct store_snapshot_out *c;

        kit_noop(a);
        kit_make(a, ROOT, "x", S_IFREG | 0600);
        c = make_copy(a);
        busy =
            store_snapshot_out_open(b->store); /* a snapshot of the state that will be replaced */
        store_snapshot_in_install(staged(c, b, UINT64_MAX, STORE_READY));
        assert_int_not_equal(store_snapshot_out_poll(busy), STORE_BUSY);
        store_snapshot_out_close(busy);
        store_snapshot_out_close(c);
        assert_installed(0, 0);
    }
    atomic_store(&stop_readers, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    reader_free(r);
}

/* ---- Refusals ---------------------------------------------------------------------------------*/

static void test_damaged_copy(void **state)
{
    struct store_snapshot_out *c = make_copy(a);
    struct store_snapshot_info info;
    struct store_hash before = store_state_hash(b->store), after;
    unsigned seed = (unsigned)time(NULL), refused = 0;

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    store_snapshot_out_info(c, &info);
    buf_fini(&info.config);
    for (int i = 0; i < 30; i++) {
        struct store_snapshot_in *st = store_snapshot_in_open(b->store);
        uint64_t at = (uint64_t)random() % info.size;
        enum store_progress progress;

        transfer(c, st, at);
        store_snapshot_out_info(c, &info);
        store_snapshot_in_verify(st, &info);
        buf_fini(&info.config);
        progress = wait_stage(st);
        assert_int_not_equal(progress, STORE_BUSY);
        refused += progress == STORE_FAILED ? 1 : 0;
        store_snapshot_in_close(st);
        assert_false(exists(b, "coordfs.stage"));
    }
    print_message("%u of 30 refused: the others hit bytes that are not in use\n", refused);
    assert_true(refused > 15);
    after = store_state_hash(b->store);
    assert_true(before.low == after.low && before.high == after.high);
    kit_check(b);
    store_snapshot_out_close(c);
}

/* The snapshot must match its announcement. */
static void test_wrong_announcement(void **state)
{
    struct store_snapshot_out *c = make_copy(a);
    struct store_snapshot_info good, info;

    (void)state;
    store_snapshot_out_info(c, &good);
    for (int i = 0; i < 5; i++) {
        struct store_snapshot_in *st = store_snapshot_in_open(b->store);

        info = good;
        info.index += i == 0 ? 1 : 0;
        info.term += i == 1 ? 1 : 0;
        info.config_index -= i == 2 ? 1 : 0;
        info.config.len -= i == 3 ? 1 : 0;
        info.size += i == 4 ? 1 : 0;
        transfer(c, st, UINT64_MAX);
        store_snapshot_in_verify(st, &info);
        assert_int_equal(wait_stage(st), STORE_FAILED);
        store_snapshot_in_close(st);
    }
    buf_fini(&good.config);
    store_snapshot_out_close(c);
}

/* Receives the bytes of any file, announced as if they were a snapshot. */
static enum store_progress stage_file(const char *path)
{
    struct store_snapshot_info info = {.index = store_applied(a->store), .term = 1};
    struct store_snapshot_in *st = store_snapshot_in_open(b->store);
    enum store_progress progress;
    uint8_t piece[5000];
    int fd = open(path, O_RDONLY);
    ssize_t n;

    assert_true(fd >= 0);
    info.config_index = info.index - 1;
    info.config = buf_copy("members", 7);
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        assert_int_equal(store_snapshot_in_write(st, info.size, piece, (size_t)n), 0);
        info.size += (uint64_t)n;
    }
    close(fd);
    store_snapshot_in_verify(st, &info);
    buf_fini(&info.config);
    progress = wait_stage(st);
    store_snapshot_in_close(st);
    return progress;
}

static void test_hostile_copies(void **state)
{
    static const char *const damages[] = {
        "UPDATE inode SET uid = 1 WHERE ino = 2",
        "INSERT INTO log VALUES(1, 1, 1, 1, x'00')",
        "INSERT INTO local VALUES(1, 'test', 1, 1, 1)",
        "CREATE TRIGGER t AFTER INSERT ON inode BEGIN DELETE FROM log; END",
        "CREATE VIEW v AS SELECT 1",
        "DROP INDEX dirent_order",
        "PRAGMA user_version=1000",
        "PRAGMA application_id=2",
        "UPDATE block SET data = zeroblob(length(data))",
        "DELETE FROM reply",
        "DELETE FROM state",
        "UPDATE config SET idx = idx + 10",
    };
    static struct kit forged;
    struct store_snapshot_out *c = make_copy(a);
    char path[300];

    (void)state;
    kit_empty(&forged);
    kit_close(&forged);
    snprintf(path, sizeof path, "%s/coordfs.db", forged.dir);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        char command[600];

        snprintf(command, sizeof command, "cp '%s/coordfs.copy-0' '%s'", a->dir, path);
        assert_int_equal(system(command), 0);
        /* so a refusal below is due to the damage */
        assert_int_equal(stage_file(path), STORE_READY);
        kit_sql(forged.dir, damages[i]);
        if (stage_file(path) != STORE_FAILED)
            fail_msg("%s", damages[i]);
    }
    assert_int_equal(stage_file("/bin/true"), STORE_FAILED);
    assert_int_equal(stage_file("/dev/null"), STORE_FAILED);
    kit_fini(&forged);
    store_snapshot_out_close(c);
}

static void test_stage_order(void **state)
{
    struct store_snapshot_in *st = store_snapshot_in_open(b->store);

    (void)state;
    assert_int_equal(store_snapshot_in_write(st, 0, "abc", 3), 0);
    assert_int_equal(store_snapshot_in_write(st, 2, "abc", 3), -EINVAL);
    assert_int_equal(store_snapshot_in_write(st, 4, "abc", 3), -EINVAL);
    assert_int_equal(store_snapshot_in_write(st, 3, "abc", 3), 0);
    store_snapshot_in_close(st);
    st = store_snapshot_in_open(b->store); /* the next one starts at the beginning */
    assert_int_equal(store_snapshot_in_write(st, 0, "abc", 3), 0);
    store_snapshot_in_close(st);
}

static void test_close_while_verifying(void **state)
{
    struct store_snapshot_out *c = make_copy(a);
    struct store_snapshot_info info;

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct store_snapshot_in *st = store_snapshot_in_open(b->store);

        transfer(c, st, UINT64_MAX);
        store_snapshot_out_info(c, &info);
        store_snapshot_in_verify(st, &info);
        buf_fini(&info.config);
        pause_ms(i);
        store_snapshot_in_close(st);
    }
    store_snapshot_out_close(c);
}

/* ---- Crashes ----------------------------------------------------------------------------------*/

/* A store that is opened after a crash must have the whole new state or the whole old one. */
static void assert_old_or_new(bool is_new, uint64_t old_applied)
{
    struct store_raft_state raft;

    kit_open(b);
    store_raft_state(b->store, &raft);
    assert_int_equal(raft.term, 5);
    assert_int_equal(raft.vote, 2);
    buf_fini(&raft.config);
    kit_check(b);
    if (is_new)
        kit_assert_hash(a, b);
    else
        assert_int_equal(store_applied(b->store), old_applied);
    assert_false(exists(b, "coordfs.stage"));
    assert_false(exists(b, "coordfs.new"));
}

static void prepare_crash(void)
{
    store_begin(b->store);
    store_set_vote(b->store, 5, 2);
    store_commit(b->store, true);
    kit_session(b, 1, 1000 + store_applied(b->store));
    kit_file(b, ROOT, "old"); /* an entry of the old log, which must not enter the new file */
}

/* Makes the states of the directory between the steps of an installation by hand. */
static void test_crash_states(void **state)
{
    char path[300], to[300], saved[200];
    uint64_t applied;

    (void)state;
    prepare_crash();
    kit_make_dir(saved);
    applied = store_applied(b->store);
    for (int step = 0; step < 4; step++) {
        static struct kit crashed;
        struct store_snapshot_out *c = make_copy(a);
        struct store_snapshot_in *st = staged(c, b, UINT64_MAX, STORE_READY);

        /* The directory as it was before the installation: b is still running. */
        kit_empty(&crashed);
        kit_close(&crashed);
        kit_remove_dir(crashed.dir);
        assert_int_equal(mkdir(crashed.dir, 0700), 0);
        kit_copy_file(b->dir, crashed.dir, "coordfs.db");
        kit_copy_file(b->dir, crashed.dir, "coordfs.db-wal");
        kit_copy_file(b->dir, crashed.dir, "coordfs.db-shm");
        kit_copy_file(b->dir, crashed.dir, "coordfs.stage");
        store_snapshot_in_close(st);
        store_snapshot_out_close(c);
        kit_close(b);
        kit_remove_dir(b->dir);
        assert_int_equal(rename(crashed.dir, b->dir), 0);
        kit_copy_file(b->dir, saved, "coordfs.db-wal");

        snprintf(path, sizeof path, "%s/coordfs.stage", b->dir);
        snprintf(to, sizeof to, "%s/coordfs.new", b->dir);
        if (step >= 1) { /* sealed and renamed */
            char sql[600];

            snprintf(sql, sizeof sql,
                     "ATTACH '%s' AS stage;"
                     "INSERT INTO stage.local SELECT * FROM main.local;",
                     path);
            kit_sql(b->dir, sql);
            kit_copy_file(saved, b->dir, "coordfs.db-wal"); /* kit_sql has checkpointed it */
            assert_int_equal(rename(path, to), 0);
        }
        if (step >= 2) { /* the old log is deleted */
            snprintf(path, sizeof path, "%s/coordfs.db-wal", b->dir);
            unlink(path);
        }
        if (step >= 3) { /* and renamed again */
            snprintf(path, sizeof path, "%s/coordfs.db", b->dir);
            assert_int_equal(rename(to, path), 0);
        }
        assert_old_or_new(step >= 1, applied);
    }
    kit_remove_dir(saved);
}

/* The process is killed at random moments of an installation. */
static void test_killed_while_installing(void **state)
{
    unsigned seed = (unsigned)time(NULL), installed = 0;
    struct store_snapshot_out *c = make_copy(a);

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    prepare_crash();
    kit_close(b);
    for (int i = 0; i < 40; i++) {
        uint64_t applied, old;
        int pipes[2], status;
        char byte;
        pid_t pid;

        kit_remove_dir(b->dir);
        assert_int_equal(mkdir(b->dir, 0700), 0);
        kit_open(b);
        prepare_crash();
        old = store_applied(b->store);
        kit_close(b);
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct store_snapshot_in *st;

            kit_open(b);
            st = staged(c, b, UINT64_MAX, STORE_READY);
            if (write(pipes[1], "x", 1) == 1)
                store_snapshot_in_install(st);
            _exit(0);
        }
        close(pipes[1]);
        assert_int_equal(read(pipes[0], &byte, 1), 1);
        close(pipes[0]);
        usleep((useconds_t)random() % 4000);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        kit_open(b);
        applied = store_applied(b->store);
        kit_close(b);
        installed += applied != old ? 1 : 0;
        assert_old_or_new(applied != old, old);
        kit_close(b);
    }
    print_message("%u of 40 were installed\n", installed);
    store_snapshot_out_close(c);
    kit_open(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_copy_info),
        T(test_copy_is_stripped),
        T(test_several_copies),
        T(test_install),
        T(test_install_among_readers),
        T(test_damaged_copy),
        T(test_wrong_announcement),
        T(test_hostile_copies),
        T(test_stage_order),
        T(test_close_while_verifying),
        T(test_crash_states),
        T(test_killed_while_installing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
