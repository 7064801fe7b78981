/* SPDX-License-Identifier: Apache-2.0 */
/* The tree through real mounts of one or two hosts: properties that the table-driven suite
 * (tests/posix/) cannot test, because a local filesystem does not have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/lib/fs_rig.h"

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 2, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static void assert_content(const char *path, const char *expected)
{
    char buf[256];
    ssize_t n = rig_get(path, buf, sizeof(buf));

    assert_int_equal(n, (ssize_t)strlen(expected));
    assert_memory_equal(buf, expected, strlen(expected));
}

static void put(const char *path, const char *text)
{
    assert_int_equal(rig_put(path, text, strlen(text)), 0);
}

/* ---- Two hosts ------------------------------------------------------------------------------- */

static void changes_are_seen_after_a_barrier(void **state)
{
    struct stat a, b;
    int fd;

    (void)state;
    assert_int_equal(stat(at(1, "f"), &b), -1);
    put(at(0, "f"), "one");
    rig_sync(&rig, 1);
    assert_content(at(1, "f"), "one");
    fd = open(at(1, "f"), O_RDONLY);
    put(at(0, "f"), "three");
    rig_sync(&rig, 1);
    assert_content(at(1, "f"), "three");
    assert_int_equal(fstat(fd, &b), 0);
    assert_int_equal(b.st_size, 5);
    close(fd);
    assert_int_equal(stat(at(0, "f"), &a), 0);
    assert_int_equal(chmod(at(1, "f"), 0600), 0);
    rig_sync(&rig, 0);
    assert_int_equal(stat(at(0, "f"), &a), 0);
    assert_int_equal(a.st_mode, S_IFREG | 0600);
    assert_int_equal(rename(at(1, "f"), at(1, "g")), 0);
    rig_sync(&rig, 0);
    assert_int_equal(stat(at(0, "f"), &a), -1);
    assert_int_equal(stat(at(0, "g"), &a), 0);
    assert_int_equal(stat(at(1, "g"), &b), 0);
    assert_true(a.st_ino == b.st_ino);
}

/* Waits without a request of its own: the change arrives by itself. */
static bool comes(const char *path, bool there)
{
    struct stat st;

    for (unsigned i = 0; i < 4000; i++) {
        if ((stat(path, &st) == 0) == there)
            return true;
        usleep(1000);
    }
    return false;
}

static void changes_arrive_without_a_request(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        assert_true(comes(at(1, "f"), false));
        put(at(0, "f"), "x");
        assert_true(comes(at(1, "f"), true));
        assert_int_equal(rename(at(0, "f"), at(0, "g")), 0);
        assert_true(comes(at(1, "f"), false));
        assert_true(comes(at(1, "g"), true));
        assert_int_equal(mkdir(at(0, "d"), 0755), 0);
        assert_true(comes(at(1, "d"), true));
        assert_int_equal(rename(at(0, "d"), at(0, "e")), 0);
        assert_true(comes(at(1, "d"), false));
        assert_true(comes(at(1, "e"), true));
        assert_int_equal(rmdir(at(0, "e")), 0);
        assert_true(comes(at(1, "e"), false));
        assert_int_equal(unlink(at(0, "g")), 0);
        assert_true(comes(at(1, "g"), false));
    }
}

/* A reader that keeps its handle sees the writes of other hosts, also in parts that it has read
 * before. */
static void an_open_handle_reads_new_content(void **state)
{
    char buf[16];
    int fd;

    (void)state;
    put(at(0, "f"), "aaaaaaaa");
    rig_sync(&rig, 1);
    fd = open(at(1, "f"), O_RDONLY);
    assert_int_equal(pread(fd, buf, 8, 0), 8);
    for (char c = 'b'; c < 'j'; c++) {
        char text[9];

        memset(text, c, 8);
        text[8] = '\0';
        put(at(0, "f"), text);
        rig_sync(&rig, 1);
        assert_int_equal(pread(fd, buf, 8, 0), 8);
        assert_memory_equal(buf, text, 8);
    }
    close(fd);
}

static void a_directory_removed_elsewhere_stays_a_directory(void **state)
{
    struct stat st;
    int fd, cwd = open(".", O_PATH);
    DIR *dir;

    (void)state;
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    fd = open(at(0, "d"), O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(fchdir(fd), 0);
    assert_int_equal(rmdir(at(1, "d")), 0);
    rig_sync(&rig, 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISDIR(st.st_mode) && st.st_nlink == 0);
    assert_int_equal(stat("file", &st), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(mkdir("below", 0755), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(open("file", O_CREAT | O_WRONLY, 0644), -1);
    assert_int_equal(errno, ENOENT);
    dir = fdopendir(fd);
    errno = 0;
    assert_true(readdir(dir) == NULL);
    assert_int_equal(fchdir(cwd), 0);
    closedir(dir);
    close(cwd);
}

static void a_file_removed_elsewhere_stays_readable(void **state)
{
    char buf[8];
    struct stat st;
    int fd;

    (void)state;
    put(at(0, "f"), "hello");
    fd = open(at(0, "f"), O_RDWR);
    assert_int_equal(unlink(at(1, "f")), 0);
    rig_sync(&rig, 0);
    assert_int_equal(rig_ask(&rig, "reap"), 0); /* one host has it open */
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(pread(fd, buf, 8, 0), 5);
    assert_int_equal(pwrite(fd, "J", 1, 0), 1);
    assert_int_equal(pread(fd, buf, 8, 0), 5);
    assert_memory_equal(buf, "Jello", 5);
    close(fd);
    for (unsigned i = 0; i < 2000 && rig_ask(&rig, "reap") == 0; i++)
        usleep(5000); /* RELEASE is asynchronous */
    for (unsigned i = 0; i < 2000 && rig_ask(&rig, "reap") != 0; i++)
        usleep(5000);
    assert_int_equal(rig_ask(&rig, "reap"), 0);
}

/* Two hosts open one name with O_CREAT at the same time: both succeed and get the same file. */
static void creation_races_end_well(void **state)
{
    enum { ROUNDS = 150 };
    pid_t pids[2];
    int status;

    (void)state;
    for (unsigned host = 0; host < 2; host++) {
        pids[host] = fork();
        assert_true(pids[host] >= 0);
        if (pids[host] != 0)
            continue;
        for (unsigned i = 0; i < ROUNDS; i++) {
            int fd = open(rig_path(&rig, host, "f%u", i), O_CREAT | O_APPEND | O_WRONLY, 0644);

            if (fd < 0 || write(fd, "x", 1) != 1)
                _exit(1);
            close(fd);
        }
        _exit(0);
    }
    for (unsigned host = 0; host < 2; host++) {
        assert_int_equal(waitpid(pids[host], &status, 0), pids[host]);
        assert_int_equal(status, 0);
    }
    rig_sync(&rig, 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        assert_content(rig_path(&rig, 0, "f%u", i), "xx");
}

static void exclusive_creation_has_one_winner(void **state)
{
    enum { ROUNDS = 150 };
    pid_t pids[2];
    int status, won = 0;

    (void)state;
    for (unsigned host = 0; host < 2; host++) {
        pids[host] = fork();
        assert_true(pids[host] >= 0);
        if (pids[host] != 0)
            continue;
        for (unsigned i = 0; i < ROUNDS; i++) {
            int fd = open(rig_path(&rig, host, "f%u", i), O_CREAT | O_EXCL | O_WRONLY, 0644);

            if (fd >= 0) {
                won++;
                close(fd);
            } else if (errno != EEXIST) {
                _exit(255);
            }
        }
        _exit(won);
    }
    for (unsigned host = 0; host < 2; host++) {
        assert_int_equal(waitpid(pids[host], &status, 0), pids[host]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= ROUNDS);
        won += WEXITSTATUS(status);
    }
    assert_int_equal(won, ROUNDS);
}

static void appends_never_overwrite(void **state)
{
    enum { WRITERS = 4, LINES = 60 };
    static const char line[] = "a line of some length\n";
    size_t total = WRITERS * LINES * strlen(line);
    char *all = malloc(total + 1);
    int status;

    (void)state;
    put(at(0, "log"), "");
    for (unsigned w = 0; w < WRITERS; w++) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid != 0)
            continue;
        for (unsigned i = 0; i < LINES; i++) {
            int fd = open(rig_path(&rig, w % 2, "log"), O_APPEND | O_WRONLY);

            if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
                _exit(1);
            close(fd);
        }
        _exit(0);
    }
    for (unsigned w = 0; w < WRITERS; w++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    rig_sync(&rig, 1);
    assert_int_equal(rig_get(at(1, "log"), all, total + 1), (ssize_t)total);
    for (size_t i = 0; i < total; i += strlen(line))
        assert_memory_equal(all + i, line, strlen(line));
    free(all);
}

/* ---- Strong consistency ---------------------------------------------------------------------- */

static int set_up_strong(void **state)
{
    (void)state;
    rig_start_strong(&rig, 60000);
    return 0;
}

static int set_up_strong_impatient(void **state)
{
    (void)state;
    rig_start_strong(&rig, 600);
    return 0;
}

static int tear_down_strong(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

/* If a call has returned on one host, the other host shows its effect each time, without a barrier.
 */
static void strong_mounts_are_never_behind(void **state)
{
    struct stat st;
    char text[32];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(stat(at(1, "f"), &st), -1);
        snprintf(text, sizeof(text), "content %u", i);
        put(at(0, "f"), text);
        assert_content(at(1, "f"), text);
        put(at(0, "f"), "other");
        assert_int_equal(stat(at(1, "f"), &st), 0);
        assert_int_equal(st.st_size, 5);
        assert_int_equal(mkdir(at(0, "d"), 0755), 0);
        assert_int_equal(rename(at(0, "f"), at(0, "d/g")), 0);
        assert_int_equal(stat(at(1, "f"), &st), -1);
        assert_content(at(1, "d/g"), "other");
        assert_int_equal(unlink(at(0, "d/g")), 0);
        assert_int_equal(rmdir(at(1, "d")), 0);
        assert_int_equal(stat(at(1, "d"), &st), -1);
        if (i % 2 == 0)
            rig_sync(&rig, 0);
        else
            usleep(2000); /* the first host is not strong: rmdir becomes visible soon */
        while (stat(at(0, "d"), &st) == 0)
            usleep(1000);
    }
}

static void strong_mounts_do_not_guess(void **state)
{
    struct stat st;

    (void)state;
    put(at(0, "f"), "x");
    rig_tell(&rig, "stall");
    assert_int_equal(stat(at(0, "f"), &st), 0);
    assert_int_equal(stat(at(1, "f"), &st), -1);
    assert_int_equal(errno, ETIMEDOUT);
    rig_tell(&rig, "resume");
    assert_int_equal(stat(at(1, "f"), &st), 0);
}

/* ---- Znode numbers --------------------------------------------------------------------------- */

static unsigned long number(const char *path, const char *name)
{
    char text[32] = "", full[64];
    ssize_t n;

    snprintf(full, sizeof(full), "user.coordfs.%s", name);
    n = getxattr(path, full, text, sizeof(text) - 1);
    if (n <= 0)
        fail_msg("%s of %s: %s", full, path, strerror(errno));
    assert_int_equal(getxattr(path, full, NULL, 0), n);
    return strtoul(text, NULL, 10);
}

static void znode_numbers_count(void **state)
{
    unsigned long version, aversion, cversion, modified;
    char buf[16];

    (void)state;
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    cversion = number(at(0, "d"), "cversion");
    put(at(0, "d/f"), "one");
    assert_int_equal(number(at(0, "d"), "cversion"), cversion + 1);
    version = number(at(0, "d/f"), "version");
    modified = number(at(0, "d/f"), "modified");
    aversion = number(at(0, "d/f"), "aversion");
    assert_true(number(at(0, "d"), "created") < number(at(0, "d/f"), "created"));
    put(at(0, "d/f"), "two");
    assert_int_equal(number(at(0, "d/f"), "version"), version + 1);
    assert_true(number(at(0, "d/f"), "modified") > modified);
    assert_int_equal(number(at(0, "d/f"), "aversion"), aversion);
    assert_int_equal(chmod(at(0, "d/f"), 0600), 0);
    assert_true(number(at(0, "d/f"), "aversion") > aversion);
    assert_int_equal(number(at(0, "d/f"), "version"), version + 1);
    rig_sync(&rig, 1);
    assert_int_equal(number(at(1, "d/f"), "version"), version + 1);
    assert_true(number(at(0, "d"), "children_modified") >= number(at(0, "d/f"), "created"));
    assert_int_equal(getxattr(at(0, "d/f"), "user.coordfs.nothing", buf, sizeof(buf)), -1);
    assert_int_equal(errno, ENODATA);
    assert_int_equal(setxattr(at(0, "d/f"), "user.coordfs.version", "7", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(removexattr(at(0, "d/f"), "user.coordfs.version"), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(listxattr(at(0, "d/f"), NULL, 0), 0);
}

/* ---- Directories ----------------------------------------------------------------------------- */

static bool seen[2000];

static unsigned read_some(DIR *dir, unsigned max)
{
    struct dirent *e;
    unsigned n = 0, number;

    while (n < max && (e = readdir(dir)) != NULL) {
        if (sscanf(e->d_name, "f%u", &number) != 1)
            continue;
        assert_true(number < ARRAY_LEN(seen));
        assert_false(seen[number]); /* exactly once */
        seen[number] = true;
        n++;
    }
    return n;
}

/* Other names come and go while a directory is read: each name that exists all the time is listed
 * once. */
static void listing_is_stable(void **state)
{
    enum { KEPT = 700, COME = 300 };
    unsigned total = 0, round = 0;
    DIR *dir;

    (void)state;
    memset(seen, 0, sizeof(seen));
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    for (unsigned i = 0; i < KEPT; i++)
        put(rig_path(&rig, 0, "d/f%u", i), "");
    dir = opendir(at(0, "d"));
    assert_non_null(dir);
    while ((total += read_some(dir, 50)) && round < COME / 3) {
        for (unsigned i = 0; i < 3; i++, round++) {
            char name[32];

            snprintf(name, sizeof(name), "d/x%u", round);
            put(rig_path(&rig, 1, "%s", name), "");
            assert_int_equal(rename(rig_path(&rig, 1, "%s", name), at(1, "d/moving")), 0);
            assert_int_equal(unlink(at(1, "d/moving")), 0);
        }
    }
    while (read_some(dir, 1000) > 0)
        ;
    closedir(dir);
    for (unsigned i = 0; i < KEPT; i++)
        assert_true(seen[i]);
}

static void seekdir_returns_to_a_position(void **state)
{
    struct dirent *e;
    char after[256];
    DIR *dir;
    long pos;

    (void)state;
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    for (unsigned i = 0; i < 300; i++)
        put(rig_path(&rig, 0, "d/f%u", i), "");
    dir = opendir(at(0, "d"));
    for (unsigned i = 0; i < 100; i++)
        assert_non_null(readdir(dir));
    pos = telldir(dir);
    e = readdir(dir);
    assert_non_null(e);
    snprintf(after, sizeof(after), "%s", e->d_name);
    while (readdir(dir) != NULL)
        ;
    put(at(1, "d/late"), "");
    seekdir(dir, pos);
    e = readdir(dir);
    assert_non_null(e);
    assert_string_equal(e->d_name, after);
    rewinddir(dir);
    e = readdir(dir);
    assert_non_null(e);
    assert_string_equal(e->d_name, ".");
    closedir(dir);
}

/* ---- Limits and refusals --------------------------------------------------------------------- */

static void files_end_at_the_limit(void **state)
{
    int fd = open(at(0, "f"), O_CREAT | O_RDWR, 0644);
    unsigned long applied;
    struct stat st;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, LIMIT_FILE_MAX), 0);
    applied = rig_ask(&rig, "applied");
    assert_int_equal(ftruncate(fd, LIMIT_FILE_MAX + 1), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(pwrite(fd, "x", 1, LIMIT_FILE_MAX), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(rig_ask(&rig, "applied"), (long)applied); /* nothing was proposed */
    /* A write takes what has room, as on ext4. */
    assert_int_equal(pwrite(fd, "xy", 2, LIMIT_FILE_MAX - 1), 1);
    close(fd);
    fd = open(at(0, "f"), O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), -1);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LIMIT_FILE_MAX);
    close(fd);
}

static void unknown_ioctls_fail_with_enotty(void **state)
{
    int fd = open(at(0, "f"), O_CREAT | O_RDWR, 0644);

    (void)state;
    assert_false(isatty(fd));
    assert_int_equal(errno, ENOTTY);
    assert_int_equal(ioctl(fd, 0x1234, 0), -1);
    assert_int_equal(errno, ENOTTY);
    close(fd);
}

/* Each truncation changes the file's times, also if the file is empty. */
static void empty_files_are_truncated_again(void **state)
{
    unsigned long applied;

    (void)state;
    put(at(0, "lock"), "");
    applied = rig_ask(&rig, "applied");
    for (unsigned i = 0; i < 5; i++)
        put(at(0, "lock"), "");
    assert_true(rig_ask(&rig, "applied") >= applied + 5);
}

static void big_writes_keep_their_bytes(void **state)
{
    enum { SIZE = 5000001 };
    char *out = malloc(SIZE), *in = malloc(SIZE + 1);

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        out[i] = (char)(i * 2654435761u >> 13);
    assert_int_equal(rig_put(at(0, "big"), out, SIZE), 0);
    assert_int_equal(rig_get(at(1, "big"), in, SIZE + 1), SIZE);
    assert_memory_equal(in, out, SIZE);
    free(in);
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_are_seen_after_a_barrier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_arrive_without_a_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_open_handle_reads_new_content, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_directory_removed_elsewhere_stays_a_directory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_removed_elsewhere_stays_readable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(creation_races_end_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exclusive_creation_has_one_winner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(appends_never_overwrite, set_up, tear_down),
        cmocka_unit_test_setup_teardown(listing_is_stable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(seekdir_returns_to_a_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_end_at_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_ioctls_fail_with_enotty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_files_are_truncated_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(big_writes_keep_their_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strong_mounts_are_never_behind, set_up_strong,
                                        tear_down_strong),
        cmocka_unit_test_setup_teardown(strong_mounts_do_not_guess, set_up_strong_impatient,
                                        tear_down_strong),
        cmocka_unit_test_setup_teardown(znode_numbers_count, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
