/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel answers cached things without a request, and its caches are never stale after a
 * barrier. The last test makes random changes on two hosts at once, while both read, and compares
 * both with a third mount that has no caches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "tests/lib/fs_rig.h"

#define UNCACHED 2

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start_uncached(&rig);
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

static void put(const char *path, const char *text)
{
    assert_int_equal(rig_put(path, text, strlen(text)), 0);
}

/* ---- Cached paths send no requests ----------------------------------------------------------- */

static unsigned long requests(void)
{
    return rig_ask(&rig, "requests");
}

static void list(const char *path)
{
    DIR *dir = opendir(path);

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        ;
    closedir(dir);
}

static void cached_paths_send_no_requests(void **state)
{
    unsigned long before;
    struct stat st;
    char buf[16];
    int fd;

    (void)state;
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    put(at(0, "d/f"), "hello");
    rig_sync(&rig, 0);
    assert_int_equal(stat(at(0, "d/f"), &st), 0);
    assert_int_equal(stat(at(0, "d/none"), &st), -1);
    fd = open(at(0, "d/f"), O_RDONLY);
    assert_int_equal(pread(fd, buf, 5, 0), 5);
    before = requests();
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(stat(at(0, "d/f"), &st), 0);
        assert_int_equal(access(at(0, "d/f"), R_OK), 0);
        assert_int_equal(stat(at(0, "d/none"), &st), -1);
        assert_int_equal(pread(fd, buf, 5, 0), 5);
    }
    assert_in_range(requests() - before, 0, 3);
    list(at(0, "d"));
    list(at(0, "d"));
    before = requests();
    for (unsigned i = 0; i < 20; i++)
        list(at(0, "d"));
    assert_in_range(requests() - before, 20, 43); /* OPENDIR, RELEASEDIR */
    before = requests();
    for (unsigned i = 0; i < 20; i++) {
        int other = open(at(0, "d/f"), O_RDONLY);

        assert_int_equal(pread(other, buf, 5, 0), 5);
        close(other);
    }
    assert_in_range(requests() - before, 40, 63); /* OPEN, FLUSH, RELEASE: no READ */
    close(fd);
}

/* After a snapshot was installed, no cached state may be used. (From Linux 6.16; earlier kernels
 * trust names for another minute.) */
static void an_installed_snapshot_empties_caches(void **state)
{
    unsigned long before, old_names;
    struct stat st;
    char buf[16];
    int fd;

    (void)state;
    put(at(0, "f"), "hello");
    fd = open(at(0, "f"), O_RDONLY);
    assert_int_equal(pread(fd, buf, 5, 0), 5);
    for (unsigned i = 0; i < 2; i++) {
        rig_sync(&rig, 0);
        assert_int_equal(stat(at(0, "f"), &st), 0);
        assert_int_equal(stat(at(0, "none"), &st), -1);
    }
    before = requests();
    assert_int_equal(stat(at(0, "f"), &st), 0);
    assert_int_equal(stat(at(0, "none"), &st), -1);
    old_names = requests() - before;
    assert_in_range(old_names, 0, 1);
    rig_tell(&rig, "replaced");
    rig_sync(&rig, 0);
    before = requests();
    assert_int_equal(pread(fd, buf, 5, 0), 5);
    assert_true(requests() > before); /* READ */
    before = requests();
    assert_int_equal(stat(at(0, "f"), &st), 0);
    assert_true(requests() > before); /* GETATTR at least */
    close(fd);
}

/* A file in use without a name can be opened, as on a local disk: after another host has removed or
 * replaced it, an O_PATH descriptor still leads the kernel's OPEN to it. */
static void unlinked_files_in_use_can_be_opened(void **state)
{
    static const char *const names[] = {"f", "victim"};
    char path[32], buf[5];
    int fds[2], fd;

    (void)state;
    put(at(1, "f"), "hello");
    put(at(1, "victim"), "hello");
    put(at(1, "new"), "hello");
    rig_sync(&rig, 0);
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = open(at(0, names[i]), O_PATH);
        for (unsigned n = 0; n < 3; n++) {
            snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
            fd = open(path, O_RDONLY);
            assert_true(fd >= 0);
            close(fd);
        }
    }
    assert_int_equal(unlink(at(1, "f")), 0);
    assert_int_equal(rename(at(1, "new"), at(1, "victim")), 0);
    rig_sync(&rig, 0);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
        fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, buf, 5, 0), 5);
        assert_memory_equal(buf, "hello", 5);
        close(fd);
        close(fds[i]);
    }
}

/* ---- Shared mappings ------------------------------------------------------------------------- */

static void shared_mappings_are_written(void **state)
{
    int fd = open(at(0, "f"), O_RDWR | O_CREAT, 0644);
    char buf[16];
    char *map;

    (void)state;
    assert_int_equal(ftruncate(fd, 10000), 0);
    map = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        assert_int_equal(errno, ENODEV); /* before Linux 6.6 */
        close(fd);
        skip();
    }
    memcpy(map, "hello", 5);
    memcpy(map + 9990, "the end", 7);
    assert_int_equal(msync(map, 10000, MS_SYNC), 0);
    rig_sync(&rig, 1);
    assert_int_equal(rig_get(at(1, "f"), buf, 5), 5);
    assert_memory_equal(buf, "hello", 5);
    memcpy(map, "HELLO", 5);
    assert_int_equal(munmap(map, 10000), 0);
    assert_int_equal(close(fd), 0);
    rig_sync(&rig, 1);
    assert_int_equal(rig_get(at(1, "f"), buf, 5), 5);
    assert_memory_equal(buf, "HELLO", 5);
    fd = open(at(1, "f"), O_RDONLY);
    map = mmap(NULL, 10000, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    assert_memory_equal(map + 9990, "the end", 7);
    put(at(0, "f"), "from the other host, as long as a line");
    rig_sync(&rig, 1);
    assert_memory_equal(map, "from the other", 14);
    munmap(map, 10000);
    close(fd);
}

/* ---- Random changes -------------------------------------------------------------------------- */

#define DIRS    3
#define NAMES   6
#define CHANGES 220
#define ROUNDS  5

static uint64_t chance; /* splitmix64 */

static unsigned roll(unsigned n)
{
    uint64_t z = chance += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % n);
}

static const char *some_path(unsigned host)
{
    unsigned dir = roll(DIRS + 1);

    if (dir == DIRS)
        return rig_path(&rig, host, "n%u", roll(NAMES));
    return rig_path(&rig, host, "d%u/n%u", dir, roll(NAMES));
}

static void write_some(const char *path, int flags)
{
    char data[9000];
    size_t len = roll(3) == 0 ? 4096 * (1 + roll(2)) : 1 + roll(sizeof(data) - 1);
    int fd = open(path, O_WRONLY | flags, 0644);

    if (fd < 0)
        return;
    memset(data, 'a' + (int)roll(26), sizeof(data));
    for (unsigned i = roll(3); i < 3; i++)
        if (write(fd, data, len) < 0)
            break;
    close(fd);
}

/* For results that do not matter: there are few names, so many changes fail. */
static void ignore_result(int result)
{
    (void)result;
}

static void change(unsigned host)
{
    const char *path = some_path(host);

    switch (roll(14)) {
    case 0:
    case 1:
        write_some(path, O_CREAT | O_TRUNC);
        break;
    case 2:
        write_some(path, O_APPEND);
        break;
    case 3:
        write_some(path, 0);
        break;
    case 4:
        ignore_result(unlink(path));
        break;
    case 5:
    case 6:
        ignore_result(rename(path, some_path(host)));
        break;
    case 7:
        ignore_result(link(path, some_path(host)));
        break;
    case 8:
        ignore_result(mkdir(path, 0755));
        break;
    case 9:
        ignore_result(rmdir(path));
        break;
    case 10:
        ignore_result(chmod(path, 0400 + roll(0400)));
        break;
    case 11:
        ignore_result(truncate(path, roll(6000)));
        break;
    case 12:
        ignore_result(setxattr(path, "user.x", "12345", roll(6), 0));
        break;
    default:
        ignore_result(renameat2(AT_FDCWD, path, AT_FDCWD, some_path(host), RENAME_EXCHANGE));
    }
}

static void look(unsigned host)
{
    static char buf[40000];
    const char *path = some_path(host);
    struct stat st;
    DIR *dir;

    switch (roll(4)) {
    case 0:
        stat(path, &st);
        break;
    case 1:
        rig_get(path, buf, sizeof(buf));
        break;
    case 2:
        dir = opendir(rig_path(&rig, host, "d%u", roll(DIRS)));
        while (dir != NULL && readdir(dir) != NULL)
            ;
        if (dir != NULL)
            closedir(dir);
        break;
    default:
        getxattr(path, "user.x", buf, sizeof(buf));
    }
}

static pid_t start(unsigned host, bool changing)
{
    uint64_t seed = chance += 12345;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    chance = seed;
    for (unsigned i = 0; i < CHANGES; i++) {
        if (changing)
            change(host);
        for (unsigned k = 0; k < 3; k++)
            look(host);
    }
    _exit(0);
}

/* Appends the tree below path as text, sorted by this test. */
static void describe(const char *path, const char *shown, struct buf *out);

static int by_name(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static void describe_dir(const char *path, const char *shown, struct buf *out)
{
    DIR *dir = opendir(path);
    char *names[NAMES * 4];
    struct dirent *e;
    size_t n = 0;

    if (dir == NULL) {
        buf_printf(out, "%s: not readable: %s\n", shown, strerror(errno));
        return;
    }
    while ((e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.') {
            assert_true(n < ARRAY_LEN(names));
            names[n++] = strdup(e->d_name);
        }
    closedir(dir);
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++) {
        char *below = xasprintf("%s/%s", path, names[i]);
        char *below_shown = xasprintf("%s/%s", shown, names[i]);

        describe(below, below_shown, out);
        free(below_shown);
        free(below);
        free(names[i]);
    }
}

static void describe(const char *path, const char *shown, struct buf *out)
{
    static char content[100000];
    struct stat st;
    char x[16];
    ssize_t n, xlen;

    if (lstat(path, &st) != 0) {
        buf_printf(out, "%s: %s\n", shown, strerror(errno));
        return;
    }
    xlen = getxattr(path, "user.x", x, sizeof(x));
    buf_printf(out, "%s: ino %lu mode %o nlink %lu size %ld mtime %ld.%09ld ctime %ld.%09ld x %zd",
               shown, (unsigned long)st.st_ino, st.st_mode, (unsigned long)st.st_nlink,
               (long)st.st_size, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
               (long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec, xlen);
    if (S_ISREG(st.st_mode)) {
        n = rig_get(path, content, sizeof(content));
        buf_printf(out, " content %zd", n);
        for (ssize_t i = 0; i < n; i += 512)
            buf_printf(out, "%c", content[i] == 0 ? '0' : content[i]);
    }
    buf_printf(out, "\n");
    if (S_ISDIR(st.st_mode))
        describe_dir(path, shown, out);
}

/* Looks up every name that may exist, before a listing tells the kernel which names do. */
static void describe_names(unsigned host, struct buf *out)
{
    struct stat st;

    for (unsigned dir = 0; dir <= DIRS; dir++)
        for (unsigned i = 0; i < NAMES; i++) {
            const char *path = dir == DIRS ? rig_path(&rig, host, "n%u", i)
                                           : rig_path(&rig, host, "d%u/n%u", dir, i);

            if (lstat(path, &st) == 0)
                buf_printf(out, "%u/%u: %lu%s\n", dir, i, (unsigned long)st.st_ino,
                           S_ISDIR(st.st_mode) ? "/" : "");
            else
                buf_printf(out, "%u/%u: %s\n", dir, i, strerror(errno));
        }
}

static void describe_all(unsigned host, struct buf *out)
{
    describe_names(host, out);
    describe(rig.mnt[host], "", out);
}

/* The line that contains `at`, in one of two static buffers. */
static const char *line_at(const struct buf *text, size_t at, unsigned which)
{
    static char lines[2][300];
    size_t from = min_u64(at, text->len);
    const uint8_t *end;

    while (from > 0 && text->data[from - 1] != '\n')
        from--;
    end = memchr(text->data + from, '\n', text->len - from);
    snprintf(lines[which], sizeof(lines[which]), "%.*s",
             (int)(end == NULL ? text->len - from : (size_t)(end - text->data) - from),
             (const char *)text->data + from);
    return lines[which];
}

static void assert_same(unsigned host, const struct buf *expected)
{
    struct buf got = BUF_EMPTY;
    size_t i = 0;

    rig_sync(&rig, host);
    describe_all(host, &got);
    while (i < got.len && i < expected->len && got.data[i] == expected->data[i])
        i++;
    if (got.len != expected->len || i < got.len)
        fail_msg("host %u shows\n%s\ninstead of\n%s", host, line_at(&got, i, 0),
                 line_at(expected, i, 1));
    buf_fini(&got);
}

/* A buffered write has no owner any more after its process has ended. So fsync on each host commits
 * all of them. */
static void caches_are_never_stale(void **state)
{
    pid_t pids[4];
    int status;

    (void)state;
    chance = (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)chance);
    for (unsigned i = 0; i < DIRS; i++)
        assert_int_equal(mkdir(rig_path(&rig, 0, "d%u", i), 0755), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct buf expected = BUF_EMPTY;

        rig_tell(&rig, round % 2 == 0 ? "delay 0" : "delay 1");
        for (unsigned i = 0; i < 4; i++)
            pids[i] = start(i % 2, i < 2);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        rig_sync(&rig, 0);
        rig_sync(&rig, 1);
        rig_sync(&rig, UNCACHED);
        describe_all(UNCACHED, &expected);
        assert_same(0, &expected);
        assert_same(1, &expected);
        buf_fini(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cached_paths_send_no_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_installed_snapshot_empties_caches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unlinked_files_in_use_can_be_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shared_mappings_are_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(caches_are_never_stale, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
