/* SPDX-License-Identifier: Apache-2.0 */
/* Quotas as programs see them: write(2) fails, not only close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define KIB   1024
#define LIMIT (256 * KIB)
#define OLD   "as it was"

static struct rig rig;
static uint8_t noise[1024 * KIB];

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static void set_quota(const char *what, const char *value)
{
    char name[60];

    snprintf(name, sizeof(name), "user.coordfs.quota.%s", what);
    assert_int_equal(setxattr(at(0, "d"), name, value, strlen(value), 0), 0);
}

static unsigned long usage(unsigned i, const char *what)
{
    char name[60], text[32] = "";

    rig_sync(&rig, i);
    snprintf(name, sizeof(name), "user.coordfs.usage.%s", what);
    assert_true(getxattr(at(i, "d"), name, text, sizeof(text) - 1) > 0);
    return strtoul(text, NULL, 10);
}

static int set_up(void **state)
{
    (void)state;
    memset(noise, 'n', sizeof(noise));
    rig_start_patient(&rig);
    assert_int_equal(mkdir(at(0, "d"), 0755), 0);
    set_quota("bytes", "256K");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

/* Writes blocks until one is refused. Returns the number of acknowledged bytes. */
static size_t fill(int fd, size_t block, size_t most)
{
    size_t done = 0;

    while (done < most) {
        ssize_t n = write(fd, noise, block);

        if (n < 0) {
            assert_int_equal(errno, EDQUOT);
            break;
        }
        done += (size_t)n;
    }
    return done;
}

/* A removed file is charged as long as any kernel knows it. */
static void wait_reaped(void)
{
    for (unsigned i = 0; i < 500 && usage(0, "bytes") != 0; i++) {
        rig_ask(&rig, "reap");
        usleep(10000);
    }
    assert_int_equal(usage(0, "bytes"), 0);
}

/* If blocks may exceed the quota, they are committed immediately and not buffered. Acknowledged
 * bytes stay. */
static void write_reports_a_full_quota(void **state)
{
    static const size_t blocks[] = {4 * KIB, 8 * KIB, 128 * KIB, 100};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        int fd = open(at(0, "d/f"), O_WRONLY | O_CREAT, 0644);
        struct stat st;
        size_t done = fill(fd, blocks[i], 1024 * KIB);

        assert_int_equal(done, LIMIT / blocks[i] * blocks[i]);
        assert_int_equal(close(fd), 0); /* write(2) has reported the error already */
        rig_sync(&rig, 1);
        assert_int_equal(stat(at(1, "d/f"), &st), 0);
        assert_int_equal(st.st_size, done);
        assert_int_equal(usage(1, "bytes"), done);
        assert_int_equal(unlink(at(0, "d/f")), 0);
        wait_reaped();
    }
}

/* A file is replaced as a whole, or not at all. */
static void a_replacement_that_does_not_fit(void **state)
{
    char buf[100];
    int fd;

    (void)state;
    assert_int_equal(rig_put(at(0, "d/f"), OLD, strlen(OLD)), 0);
    fd = open(at(0, "d/f"), O_WRONLY | O_TRUNC);
    assert_true(fill(fd, 128 * KIB, 1024 * KIB) < 1024 * KIB);
    close(fd);
    rig_sync(&rig, 1);
    assert_int_equal(rig_get(at(1, "d/f"), buf, sizeof(buf)), strlen(OLD));
    assert_memory_equal(buf, OLD, strlen(OLD));
}

/* A truncation makes room for the new content. */
static void a_replacement_that_fits(void **state)
{
    int fd;

    (void)state;
    assert_int_equal(rig_put(at(0, "d/f"), noise, LIMIT), 0);
    assert_int_equal(usage(1, "bytes"), LIMIT);
    fd = open(at(0, "d/f"), O_WRONLY | O_TRUNC);
    assert_int_equal(fill(fd, 32 * KIB, LIMIT), LIMIT);
    assert_int_equal(close(fd), 0);
    assert_int_equal(usage(1, "bytes"), LIMIT);
}

static void names_do_not_cross(void **state)
{
    (void)state;
    assert_int_equal(rig_put(at(0, "f"), OLD, strlen(OLD)), 0);
    assert_int_equal(rename(at(0, "f"), at(0, "d/f")), -1);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(link(at(0, "f"), at(0, "d/f")), -1);
    assert_int_equal(errno, EXDEV);
    set_quota("entries", "2");
    assert_int_equal(mkdir(at(0, "d/1"), 0755), 0);
    assert_int_equal(mkdir(at(0, "d/2"), 0755), 0);
    assert_int_equal(mkdir(at(0, "d/3"), 0755), -1);
    assert_int_equal(errno, EDQUOT);
    assert_int_equal(open(at(0, "d/3"), O_WRONLY | O_CREAT, 0644), -1);
    assert_int_equal(errno, EDQUOT);
    assert_int_equal(usage(1, "entries"), 2);
}

static void xattrs(void **state)
{
    char text[40];

    (void)state;
    assert_int_equal(getxattr(at(0, "d"), "user.coordfs.quota.bytes", text, sizeof(text)), 6);
    assert_memory_equal(text, "262144", 6);
    assert_int_equal(setxattr(at(0, "d"), "user.coordfs.quota.bytes", "much", 4, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(setxattr(at(0, "d"), "user.coordfs.usage.bytes", "0", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(removexattr(at(0, "d"), "user.coordfs.quota.bytes"), 0);
    rig_sync(&rig, 1);
    assert_int_equal(getxattr(at(1, "d"), "user.coordfs.usage.bytes", text, sizeof(text)), -1);
    assert_int_equal(errno, ENODATA);
    assert_int_equal(rig_put(at(0, "d/f"), noise, 2 * LIMIT), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(write_reports_a_full_quota),
        T(a_replacement_that_does_not_fit),
        T(a_replacement_that_fits),
        T(names_do_not_cross),
        T(xattrs),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
