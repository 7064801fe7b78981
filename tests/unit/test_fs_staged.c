/* SPDX-License-Identifier: Apache-2.0 */
/* Content that does not fit into one log entry appears in one step on all hosts, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define MIB  (1u << 20)
#define SIZE (12 * MIB + 777) /* more than DRAFT_BYTES */
#define OLD  "as it was"

static struct rig rig;
static uint8_t *noise; /* SIZE bytes */

static int set_up(void **state)
{
    (void)state;
    rig_start_patient(&rig);
    noise = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        noise[i] = (uint8_t)(i * 13 % 251);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    free(noise);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static void assert_content(const char *path, const void *expected, size_t len)
{
    uint8_t *buf = malloc(len + 1);

    assert_int_equal(rig_get(path, buf, len + 1), (ssize_t)len);
    assert_memory_equal(buf, expected, len);
    free(buf);
}

/* The number of changes of the file's content. */
static unsigned long version_of(unsigned i, const char *name)
{
    char text[32] = "";

    rig_sync(&rig, i);
    assert_true(getxattr(at(i, name), "user.coordfs.version", text, sizeof(text) - 1) > 0);
    return strtoul(text, NULL, 10);
}

static void write_all(int fd, const uint8_t *data, size_t len)
{
    for (size_t done = 0; done < len; done += min_u64(len - done, 128 << 10)) {
        size_t n = min_u64(len - done, 128 << 10);

        assert_int_equal(write(fd, data + done, n), (ssize_t)n);
    }
}

static void put(int fd, size_t len)
{
    assert_true(fd >= 0);
    write_all(fd, noise, len);
    assert_int_equal(close(fd), 0);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

struct watcher {
    char path[200];
    atomic_bool stop;
    atomic_bool wrong;
    pthread_t thread;
};

/* The file is always the old one or the new one. */
static void *watch(void *arg)
{
    struct watcher *w = arg;
    struct stat st;

    while (!atomic_load(&w->stop))
        if (stat(w->path, &st) == 0 && st.st_size != (off_t)strlen(OLD) && st.st_size != SIZE)
            atomic_store(&w->wrong, true);
        else
            usleep(500);
    return NULL;
}

static void a_replacement_is_one_step(void **state)
{
    struct watcher w = {.stop = false};
    unsigned long before;

    (void)state;
    assert_int_equal(rig_put(at(0, "f"), OLD, strlen(OLD)), 0);
    before = version_of(1, "f");
    snprintf(w.path, sizeof(w.path), "%s", at(1, "f"));
    assert_int_equal(pthread_create(&w.thread, NULL, watch, &w), 0);
    put(open(at(0, "f"), O_WRONLY | O_TRUNC), SIZE);
    rig_sync(&rig, 1);
    atomic_store(&w.stop, true);
    pthread_join(w.thread, NULL);
    assert_false(atomic_load(&w.wrong));
    assert_int_equal(version_of(1, "f"), before + 1);
    assert_content(at(1, "f"), noise, SIZE);
}

static void a_new_file_is_one_step(void **state)
{
    (void)state;
    put(open(at(0, "new"), O_WRONLY | O_CREAT | O_EXCL, 0644), SIZE);
    assert_int_equal(version_of(1, "new"), 1);
    assert_content(at(1, "new"), noise, SIZE);
}

/* A change of a part of the file takes steps, but steps of 8 MiB, not of one entry. */
static void a_change_is_one_step(void **state)
{
    unsigned long before;
    int fd;

    (void)state;
    put(open(at(0, "f"), O_WRONLY | O_CREAT, 0644), SIZE);
    before = version_of(1, "f");
    fd = open(at(0, "f"), O_WRONLY);
    assert_int_equal(lseek(fd, 4 * MIB, SEEK_SET), 4 * MIB);
    put(fd, 5 * MIB);
    assert_int_equal(version_of(1, "f"), before + 1);
    memmove(noise + 4 * MIB, noise, 5 * MIB);
    assert_content(at(1, "f"), noise, SIZE);
    put(open(at(0, "f"), O_WRONLY), 9 * MIB);
    assert_int_equal(version_of(1, "f"), before + 3);
}

static void the_writer_sees_what_it_writes(void **state)
{
    int fd = open(at(0, "f"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    uint8_t buf[5000];

    (void)state;
    write_all(fd, noise, 10 * MIB);
    assert_int_equal(pread(fd, buf, sizeof(buf), 9 * MIB - 1000), sizeof(buf));
    assert_memory_equal(buf, noise + 9 * MIB - 1000, sizeof(buf));
    assert_int_equal(pread(fd, buf, sizeof(buf), 10 * MIB), 0);
    assert_int_equal(close(fd), 0);
    rig_sync(&rig, 1);
    assert_content(at(1, "f"), noise, 10 * MIB);
}

/* ---- Failures -------------------------------------------------------------------------------- */

static fsblkcnt_t space(void)
{
    struct statvfs st;

    rig_sync(&rig, 1);
    assert_int_equal(statvfs(rig.mnt[1], &st), 0);
    return st.f_bfree;
}

/* One entry is lost: the later entries have nothing to complete. */
static void a_failure_leaves_no_trace(void **state)
{
    fsblkcnt_t before;
    int fd;

    (void)state;
    assert_int_equal(rig_put(at(0, "f"), OLD, strlen(OLD)), 0);
    before = space();
    fd = open(at(0, "f"), O_WRONLY);
    rig_tell(&rig, "fail 1 5");
    write_all(fd, noise, 6 * MIB);
    assert_int_equal(fsync(fd), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(close(fd), 0); /* write has reported the error already */
    rig_sync(&rig, 1);
    assert_content(at(1, "f"), OLD, strlen(OLD));
    assert_int_equal(space(), before);
}

/* The outcome of the commit is unknown: acknowledged content is submitted again. */
static void an_uncertain_commit_is_repeated(void **state)
{
    fsblkcnt_t before;
    int fd = open(at(0, "f"), O_WRONLY | O_CREAT | O_TRUNC, 0644);

    (void)state;
    before = space();
    write_all(fd, noise, 3 * MIB);
    rig_tell(&rig, "fail 2 110");
    assert_int_equal(close(fd), 0);
    rig_tell(&rig, "fail 0 0");
    rig_sync(&rig, 1);
    assert_content(at(1, "f"), noise, 3 * MIB);
    assert_int_equal(before - space(), 3 * MIB / 4096);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_replacement_is_one_step), T(a_new_file_is_one_step),
        T(a_change_is_one_step),      T(the_writer_sees_what_it_writes),
        T(a_failure_leaves_no_trace), T(an_uncertain_commit_is_repeated),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
