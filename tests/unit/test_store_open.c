/* SPDX-License-Identifier: Apache-2.0 */
/* store/state_dir.c, store/schema.c and store_open: which directories are opened, which are
 * refused, and what remains of a store that was not closed. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/schema.h"

#define ROOT 1

static struct kit kit;
static struct kit *const k = &kit;
static char message[256];

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

static int open_as(const char *dir, uint64_t member, const char *cluster)
{
    struct store_identity identity = {.member = member};
    struct store *s = NULL;
    int err;

    strcpy(identity.cluster, cluster);
    message[0] = '\0';
    err = store_open(dir, &identity, &s, message, sizeof message);
    if (err == 0)
        store_close(s);
    else
        assert_true(message[0] != '\0');
    return err;
}

static void assert_hash(struct store *s, struct store_hash wanted)
{
    struct store_hash h = store_state_hash(s);

    assert_true(h.low == wanted.low && h.high == wanted.high);
}

static bool exists(const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    return access(path, F_OK) == 0;
}

static void write_file(const char *name, const void *data, size_t len, off_t at)
{
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, at), len);
    close(fd);
}

static char *read_file(const char *name, size_t *len)
{
    char path[300];
    char *data = xmalloc(1 << 20);
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", k->dir, name);
    f = fopen(path, "r");
    assert_non_null(f);
    *len = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static void test_modes(void **state)
{
    static const char *const names[] = {"coordfs.db", "coordfs.db-wal", "coordfs.db-shm",
                                        "coordfs.lock"};
    struct stat st;
    char path[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", k->dir, names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

static void test_identity(void **state)
{
    (void)state;
    kit_close(k);
    assert_int_equal(open_as(k->dir, 2, "test"), -EXDEV);
    assert_int_equal(open_as(k->dir, 1, "other"), -EXDEV);
    assert_int_equal(open_as(k->dir, 1, "test"), 0);
    kit_open(k);
}

static void test_second_opener(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    assert_int_equal(open_as(k->dir, 1, "test"), -EBUSY);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(open_as(k->dir, 1, "test") == -EBUSY ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(kit_noop(k), 0); /* the refused opener did no harm */
}

static void test_no_directory(void **state)
{
    (void)state;
    assert_int_equal(open_as("/tmp/coordfs/is/not/there", 1, "test"), -ENOENT);
    assert_int_equal(open_as("/dev/null", 1, "test"), -ENOTDIR);
}

static void test_newer_version(void **state)
{
    char sql[100];
    char *before, *after;
    size_t before_len, after_len;

    (void)state;
    kit_close(k);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", SCHEMA_VERSION + 1);
    kit_sql(k->dir, sql);
    before = read_file("coordfs.db", &before_len);
    assert_int_equal(open_as(k->dir, 1, "test"), -EPROTONOSUPPORT);
    after = read_file("coordfs.db", &after_len);
    assert_int_equal(before_len, after_len);
    assert_memory_equal(before, after, before_len);
    free(before);
    free(after);
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", SCHEMA_VERSION);
    kit_sql(k->dir, sql);
    kit_open(k);
}

static void test_foreign_database(void **state)
{
    (void)state;
    kit_close(k);
    kit_sql(k->dir, "PRAGMA application_id=1");
    assert_int_equal(open_as(k->dir, 1, "test"), -EUCLEAN);
    kit_sql(k->dir, "PRAGMA application_id=1667646530");
    kit_open(k);
}

static void test_damaged(void **state)
{
    static const char *const damages[] = {
        "DELETE FROM state",
        "DELETE FROM config",
        "DELETE FROM local",
        "DELETE FROM inode WHERE ino = 1",
        "UPDATE inode SET mode = 33188 WHERE ino = 1",
        "UPDATE state SET sum = x'00'",
        "UPDATE state SET applied = 5",
        "UPDATE state SET applied = 0",
        "UPDATE state SET inodes = 0",
        "UPDATE config SET idx = 1000",
        "DROP TABLE xattr",
        "DROP INDEX dirent_ino",
        "CREATE TRIGGER t AFTER INSERT ON inode BEGIN DELETE FROM log; END",
    };

    char saved[200];

    (void)state;
    kit_make_dir(saved);
    kit_dir(k, ROOT, "d");
    store_begin(k->store);
    store_log_compact(k->store, 2);
    store_commit(k->store, true);
    kit_close(k);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        kit_copy_file(k->dir, saved, "coordfs.db");
        kit_sql(k->dir, damages[i]);
        if (open_as(k->dir, 1, "test") != -EUCLEAN)
            fail_msg("%s: %s", damages[i], message);
        kit_copy_file(saved, k->dir, "coordfs.db");
    }
    kit_remove_dir(saved);
    write_file("coordfs.db", "no database at all, whatever", 28, 0);
    assert_int_equal(open_as(k->dir, 1, "test"), -EUCLEAN);
}

static void test_leftovers(void **state)
{
    (void)state;
    kit_close(k);
    write_file("coordfs.copy-0", "x", 1, 0);
    write_file("coordfs.copy-17-journal", "x", 1, 0);
    write_file("coordfs.stage", "x", 1, 0);
    write_file("coordfs.stage-journal", "x", 1, 0);
    write_file("another.file", "x", 1, 0);
    kit_open(k);
    assert_false(exists("coordfs.copy-0"));
    assert_false(exists("coordfs.copy-17-journal"));
    assert_false(exists("coordfs.stage"));
    assert_false(exists("coordfs.stage-journal"));
    assert_true(exists("another.file"));
}

static void test_clean_close_leaves_one_file(void **state)
{
    (void)state;
    kit_close(k);
    assert_true(exists("coordfs.db"));
    assert_false(exists("coordfs.db-wal"));
    kit_open(k);
}

/* An empty file, as a crash during the creation leaves it. */
static void test_half_created(void **state)
{
    char path[300];

    (void)state;
    kit_close(k);
    snprintf(path, sizeof path, "%s/coordfs.db", k->dir);
    assert_int_equal(truncate(path, 0), 0);
    kit_open(k);
    assert_int_equal(store_applied(k->store), 0);
}

/* The process is killed: no committed transaction is lost, synced or not. */
static void test_killed(void **state)
{
    struct store_hash hash;
    int pipes[2];
    pid_t pid;
    int status;

    (void)state;
    kit_close(k);
    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kit_open(k);
        for (int i = 0; i < 200; i++) {
            char name[20];

            snprintf(name, sizeof name, "f%d", i);
            k->sync = i % 10 == 0;
            kit_file(k, ROOT, name);
        }
        hash = store_state_hash(k->store);
        assert_int_equal(write(pipes[1], &hash, sizeof hash), sizeof hash);
        _exit(0); /* closes nothing */
    }
    assert_int_equal(read(pipes[0], &hash, sizeof hash), sizeof hash);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pipes[0]);
    close(pipes[1]);
    kit_open(k);
    assert_int_equal(store_applied(k->store), 201);
    assert_hash(k->store, hash);
}

/* A copy of the files, taken while the store works, is a complete database. */
static void test_files_of_any_moment(void **state)
{
    static struct kit copy;

    (void)state;
    kit_empty(&copy);
    for (int i = 0; i < 20; i++) {
        char name[20];

        snprintf(name, sizeof name, "f%d", i);
        k->sync = true;
        kit_file(k, ROOT, name);
        kit_close(&copy);
        kit_remove_dir(copy.dir);
        assert_int_equal(mkdir(copy.dir, 0700), 0);
        kit_copy_file(k->dir, copy.dir, "coordfs.db");
        kit_copy_file(k->dir, copy.dir, "coordfs.db-wal");
        kit_open(&copy);
        kit_check(&copy);
        kit_assert_hash(k, &copy);
    }
    kit_fini(&copy);
}

/* A log that is cut at any place gives a prefix of the transactions. */
static void test_cut_wal(void **state)
{
    static struct kit copy;
    static struct store_hash hashes[100];
    struct stat st;
    char path[300];
    unsigned seed = (unsigned)time(NULL);

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    hashes[1] = store_state_hash(k->store);
    for (uint64_t i = 2; i < 40; i++) {
        char name[20];

        snprintf(name, sizeof name, "f%llu", (unsigned long long)i);
        kit_file(k, ROOT, name);
        hashes[i] = store_state_hash(k->store);
    }
    kit_empty(&copy);
    for (int i = 0; i < 25; i++) {
        kit_close(&copy);
        kit_remove_dir(copy.dir);
        assert_int_equal(mkdir(copy.dir, 0700), 0);
        kit_copy_file(k->dir, copy.dir, "coordfs.db");
        kit_copy_file(k->dir, copy.dir, "coordfs.db-wal");
        snprintf(path, sizeof path, "%s/coordfs.db-wal", copy.dir);
        assert_int_equal(stat(path, &st), 0);
        /* The first transactions create the tables: before them there is nothing to compare. */
        assert_int_equal(truncate(path, st.st_size - random() % (st.st_size / 2)), 0);
        kit_open(&copy);
        kit_check(&copy);
        assert_true(store_applied(copy.store) >= 1 && store_applied(copy.store) < 40);
        assert_hash(copy.store, hashes[store_applied(copy.store)]);
    }
    kit_fini(&copy);
}

static void test_check_file(void **state)
{
    char path[300], why[300] = "";

    (void)state;
    kit_file(k, ROOT, "f");
    kit_close(k);
    snprintf(path, sizeof path, "%s/coordfs.db", k->dir);
    if (!store_check_file(path, why, sizeof why))
        fail_msg("%s", why);
    assert_false(store_check_file("/tmp/there/is/nothing", why, sizeof why));
    kit_sql(k->dir, "UPDATE inode SET uid = 1 WHERE ino = 2");
    assert_false(store_check_file(path, why, sizeof why));
    assert_memory_equal(why, "S20", 3);
    kit_sql(k->dir, "UPDATE inode SET uid = 0 WHERE ino = 2");
    kit_open(k);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_modes),        T(test_identity),      T(test_second_opener),
        T(test_no_directory), T(test_newer_version), T(test_foreign_database),
        T(test_damaged),      T(test_leftovers),     T(test_clean_close_leaves_one_file),
        T(test_half_created), T(test_killed),        T(test_files_of_any_moment),
        T(test_cut_wal),      T(test_check_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
