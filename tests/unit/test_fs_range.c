/* SPDX-License-Identifier: Apache-2.0 */
/* fs/ops/ops_range.c: how programs use copy_file_range, fallocate and sparse files; failures; the
 * limits of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/lib/fs_rig.h"

#define SIZE 300000

static struct rig rig;
static char *text; /* SIZE bytes */

static int start(unsigned timeout_ms)
{
    rig_start(&rig, 2, timeout_ms);
    text = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = (char)('a' + i % 23);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return start(0);
}

static int set_up_impatient(void **state)
{
    (void)state;
    return start(300);
}

static int tear_down(void **state)
{
    (void)state;
    rig_tell(&rig, "delay 0");
    rig_stop(&rig);
    free(text);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static void assert_content(unsigned i, const char *name, const void *expected, size_t len)
{
    char *buf = xmalloc(len + 1);

    rig_sync(&rig, i);
    assert_int_equal(rig_get(at(i, name), buf, len + 1), (ssize_t)len);
    assert_memory_equal(buf, expected, len);
    free(buf);
}

static void assert_fails(int64_t ret, int error)
{
    assert_int_equal(ret, -1);
    assert_int_equal(errno, error);
}

static int open_it(unsigned i, const char *name, int flags)
{
    int fd = open(at(i, name), flags | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    return fd;
}

/* Runs a command line in the first mount. Returns its exit status. */
static int shell(const char *command)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        if (chdir(rig.mnt[0]) != 0 || dup2(null, 2) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ---- Copies ---------------------------------------------------------------------------------- */

static const struct {
    const char *command;
    unsigned entries;
} copies[] = {
    {"cp src old", 1},
    {"cp src new", 2}, /* the name, the content */
    {"cat src > old", 1},
    {"cp --sparse=auto src old", 1},
    {"cp -f src old", 1},
    {"dd if=src of=old bs=1M status=none", 1},
    {"install -m 644 src made", 4}, /* the name, the content, owner and mode */
};

static void a_copy_is_one_entry(void **state)
{
    (void)state;
    assert_int_equal(rig_put(at(0, "src"), text, SIZE), 0);
    for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
        const char *target = strstr(copies[i].command, "new")    ? "new"
                             : strstr(copies[i].command, "made") ? "made"
                                                                 : "old";
        unsigned long applied;

        if (strcmp(target, "old") == 0)
            assert_int_equal(rig_put(at(0, "old"), "what was there", 14), 0);
        applied = rig_ask(&rig, "applied");
        assert_int_equal(shell(copies[i].command), 0);
        applied = rig_ask(&rig, "applied") - applied;
        if (applied > copies[i].entries)
            fail_msg("%s: %lu entries", copies[i].command, applied);
        assert_content(0, target, text, SIZE);
        assert_content(1, target, text, SIZE);
    }
}

/* Reads `old` in the second mount all the time: it must be all old or all new. (The file has
 * changed there while it was read, so from Linux 6.6 each read is one request:
 * fs/cache/invalidate.c.) */
static int watch(int stop_fd)
{
    static char buf[SIZE + 1];
    char byte;

    fcntl(stop_fd, F_SETFL, O_NONBLOCK);
    while (read(stop_fd, &byte, 1) != 0) {
        int fd = open(at(1, "old"), O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

        close(fd);
        if (!(n == 14 && memcmp(buf, "what was there", 14) == 0) &&
            !(n == SIZE && memcmp(buf, text, SIZE) == 0))
            return 1;
    }
    return 0;
}

static void a_copy_is_never_half_visible(void **state)
{
    int stop[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(rig_put(at(0, "src"), text, SIZE), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rig_put(at(0, "old"), "what was there", 14), 0);
        assert_content(1, "old", "what was there", 14);
    }
    rig_tell(&rig, "delay 30");
    assert_int_equal(pipe(stop), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(stop[1]);
        _exit(watch(stop[0]));
    }
    close(stop[0]);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(shell("cp src old"), 0);
        assert_int_equal(rig_put(at(0, "old"), "what was there", 14), 0);
    }
    close(stop[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_copy_that_fails_is_reported(void **state)
{
    (void)state;
    assert_int_equal(rig_put(at(0, "src"), text, SIZE), 0);
    assert_int_equal(rig_put(at(0, "old"), "what was there", 14), 0);
    rig_tell(&rig, "fail 1 110");
    assert_int_not_equal(shell("cp src old"), 0);
    /* As with write(2), all or nothing: the truncation has not happened either. */
    assert_content(0, "old", "what was there", 14);
    assert_content(1, "old", "what was there", 14);
    assert_int_equal(shell("cp src old"), 0);
    assert_content(1, "old", text, SIZE);
}

static void a_copy_without_quorum_ends(void **state)
{
    (void)state;
    assert_int_equal(rig_put(at(0, "src"), text, SIZE), 0);
    assert_int_equal(rig_put(at(0, "old"), "what was there", 14), 0);
    rig_tell(&rig, "stall");
    assert_int_not_equal(shell("cp src old"), 0);
    rig_tell(&rig, "resume");
    assert_int_equal(shell("sync -f ."), 0);
    assert_content(1, "old", "what was there", 14);
}

/* Buffered writes to either file take effect before the copy. */
static void copies_follow_writes(void **state)
{
    int src = open_it(0, "src", O_RDWR | O_CREAT), dst = open_it(0, "dst", O_RDWR | O_CREAT);
    off_t from = 100, to = 8192;
    char expected[16384];

    (void)state;
    rig_tell(&rig, "delay 20");
    assert_int_equal(write(src, text, 8192), 8192);
    assert_int_equal(write(dst, text + 50000, 16384), 16384);
    assert_int_equal(copy_file_range(src, &from, dst, &to, 4096, 0), 4096);
    memcpy(expected, text + 50000, 16384);
    memcpy(expected + 8192, text + 100, 4096);
    assert_content(0, "dst", expected, 16384);
    assert_content(1, "dst", expected, 16384);
    close(src);
    close(dst);
}

/* The kernel has cached pages for an open handle; they show the copy immediately. */
static void a_copy_invalidates_pages(void **state)
{
    int src = open_it(0, "src", O_RDWR | O_CREAT), dst = open_it(0, "dst", O_RDWR | O_CREAT);
    int reader = open_it(0, "dst", O_RDONLY);
    char buf[16384];
    char *map;

    (void)state;
    assert_int_equal(write(src, text, 16000), 16000);
    assert_int_equal(write(dst, text + 100, 16001), 16001);
    map = mmap(NULL, 16384, PROT_READ, MAP_SHARED, reader, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    for (unsigned round = 0; round < 20; round++) {
        off_t from = 0, to = 0;

        assert_int_equal(pwrite(dst, text + 100, 16001, 0), 16001);
        assert_int_equal(pread(reader, buf, sizeof(buf), 0), 16001);
        assert_memory_equal(map, text + 100, 16001);
        assert_int_equal(copy_file_range(src, &from, dst, &to, 16000, 0), 16000);
        assert_int_equal(pread(reader, buf, sizeof(buf), 0), 16001);
        assert_memory_equal(buf, text, 16000);
        assert_memory_equal(map, text, 16000);
        assert_int_equal(fallocate(dst, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 5000), 0);
        assert_int_equal(pread(reader, buf, 5010, 0), 5010);
        assert_memory_equal(buf, text, 10);
        assert_int_equal(buf[10] | buf[5009] | map[10] | map[5009], 0);
    }
    munmap(map, 16384);
    close(reader);
    close(src);
    close(dst);
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

static void seeks_see_buffered_writes(void **state)
{
    int fd = open_it(0, "f", O_RDWR | O_CREAT);

    (void)state;
    rig_tell(&rig, "delay 20");
    assert_int_equal(pwrite(fd, text, 4096, 65536), 4096); /* stays buffered */
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 65536);
    assert_int_equal(pwrite(fd, text, 4096, 0), 4096);
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 0);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), 4096);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_fails(lseek(fd, 0, SEEK_DATA), ENXIO);
    close(fd);
}

static void a_seek_without_quorum_is_answered(void **state)
{
    int fd = open_it(0, "f", O_RDWR | O_CREAT);

    (void)state;
    assert_int_equal(pwrite(fd, text, 4096, 65536), 4096);
    rig_tell(&rig, "stall");
    usleep(150000);                               /* by now it is submitted */
    assert_int_equal(lseek(fd, 0, SEEK_DATA), 0); /* the state is unknown, so all may be content */
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), 65536 + 4096);
    rig_tell(&rig, "resume");
    close(fd);
    assert_int_equal(rig_get(at(1, "f"), text, SIZE), 65536 + 4096);
}

static void unsupported_operations_are_refused(void **state)
{
    int fd = open_it(0, "f", O_RDWR | O_CREAT);

    (void)state;
    assert_int_equal(write(fd, text, 8192), 8192);
    assert_fails(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
    assert_fails(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096), EOPNOTSUPP);
    assert_fails(fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, 4096), EOPNOTSUPP);
    assert_fails(open(rig.mnt[0], O_TMPFILE | O_RDWR, 0600), EOPNOTSUPP);
    close(fd);
    assert_content(1, "f", text, 8192);
}

/* ---- Limits ---------------------------------------------------------------------------------- */

/* As write(2) does at the largest offset of a local filesystem. */
static void at_the_limit_writes_are_short(void **state)
{
    int fd = open_it(0, "f", O_RDWR | O_CREAT), append = open_it(0, "f", O_WRONLY | O_APPEND);
    int src = open_it(0, "src", O_RDWR | O_CREAT);
    off_t from = 0, to = LIMIT_FILE_MAX - 3;
    struct stat st;

    (void)state;
    assert_int_equal(write(src, text, 8192), 8192);
    assert_int_equal(pwrite(fd, text, 4096, LIMIT_FILE_MAX - 4095), 4095);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LIMIT_FILE_MAX);
    assert_int_equal(ftruncate(fd, LIMIT_FILE_MAX - 3), 0);
    assert_int_equal(write(append, text, 100), 3);
    assert_fails(write(append, text, 100), EFBIG);
    assert_int_equal(ftruncate(fd, LIMIT_FILE_MAX - 3), 0);
    assert_int_equal(copy_file_range(src, &from, fd, &to, 100, 0), 3);
    assert_int_equal(from, 3);
    assert_fails(copy_file_range(src, &from, fd, &to, 100, 0), EFBIG);
    close(fd);
    close(append);
    close(src);
}

static void calls_past_the_size_limit_fail(void **state)
{
    int fd = open_it(0, "f", O_RDWR | O_CREAT), src = open_it(0, "src", O_RDWR | O_CREAT);
    off_t from = 0, to;
    unsigned long applied;
    struct stat st;

    (void)state;
    assert_int_equal(write(fd, "hello", 5), 5);
    assert_int_equal(write(src, "0123456789", 10), 10);
    applied = rig_ask(&rig, "applied");
    assert_fails(pwrite(fd, "x", 1, LIMIT_FILE_MAX), EFBIG);
    assert_fails(pwrite(fd, text, 100, (off_t)1 << 50), EFBIG);
    assert_fails(ftruncate(fd, LIMIT_FILE_MAX + 1), EFBIG);
    assert_fails(ftruncate(fd, INT64_MAX), EFBIG);
    assert_fails(truncate(at(0, "f"), LIMIT_FILE_MAX + 1), EFBIG);
    assert_fails(fallocate(fd, 0, LIMIT_FILE_MAX, 1), EFBIG);
    assert_fails(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)LIMIT_FILE_MAX + 1), EFBIG);
    assert_fails(fallocate(fd, FALLOC_FL_ZERO_RANGE, LIMIT_FILE_MAX - 10, 11), EFBIG);
    to = LIMIT_FILE_MAX;
    assert_fails(copy_file_range(src, &from, fd, &to, 10, 0), EFBIG);
    assert_int_equal(rig_ask(&rig, "applied"), applied); /* no request */
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(pwrite(fd, "x", 1, LIMIT_FILE_MAX - 1), 1);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    assert_fails(write(fd, "y", 1), EFBIG);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LIMIT_FILE_MAX);
    close(fd);
    close(src);
}

/* The kernel enforces RLIMIT_FSIZE: it cuts off a write at the limit, and a write behind it gets
 * SIGXFSZ. */
static int within_rlimit(void)
{
    struct rlimit limit = {5000, 5000};
    int fd = open(at(0, "f"), O_RDWR | O_CREAT, 0644);
    struct stat st;

    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || fd < 0)
        return 1;
    if (write(fd, text, 8192) != 5000)
        return 2;
    signal(SIGXFSZ, SIG_IGN);
    if (write(fd, text, 10) != -1 || errno != EFBIG)
        return 3;
    if (ftruncate(fd, 5001) != -1 || errno != EFBIG)
        return 4;
    if (fallocate(fd, 0, 0, 5001) != -1 || errno != EFBIG)
        return 5;
    if (fstat(fd, &st) != 0 || st.st_size != 5000)
        return 6;
    signal(SIGXFSZ, SIG_DFL);
    return write(fd, text, 10) < 0 ? 7 : 8; /* not reached: the signal has killed it */
}

static void the_process_limit(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(within_rlimit());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGXFSZ);
    assert_content(1, "f", text, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_is_one_entry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_is_never_half_visible, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_that_fails_is_reported, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_without_quorum_ends, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(copies_follow_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_invalidates_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(seeks_see_buffered_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_seek_without_quorum_is_answered, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(unsupported_operations_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(at_the_limit_writes_are_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_past_the_size_limit_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_process_limit, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
