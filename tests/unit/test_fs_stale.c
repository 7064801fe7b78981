/* SPDX-License-Identifier: Apache-2.0 */
/* Mount option stale=deny: without a quorum, a host answers EIO, even if it or its kernel has the
 * data cached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define DENY_MS  100
#define PATIENCE 6000 /* times 10 ms */

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start_deny(&rig, DENY_MS);
    assert_int_equal(rig_put(rig_path(&rig, 0, "f"), "before", 6), 0);
    assert_int_equal(mkdir(rig_path(&rig, 0, "d"), 0755), 0);
    assert_int_equal(symlink("f", rig_path(&rig, 0, "l")), 0);
    assert_int_equal(setxattr(rig_path(&rig, 0, "f"), "user.x", "y", 1, 0), 0);
    rig_sync(&rig, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_tell(&rig, "resume");
    rig_stop(&rig);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

/* Waits until stat(2) of the path fails with `error` (0: succeeds). */
static bool comes_to(const char *path, int error)
{
    struct stat st;

    for (unsigned i = 0; i < PATIENCE; i++) {
        int got = stat(path, &st) == 0 ? 0 : errno;

        if (got == error)
            return true;
        usleep(10000);
    }
    return false;
}

/* The kernel forgets its caches one after another, so EIO comes soon, not immediately. */
#define ASSERT_EIO(call)                                                                           \
    do {                                                                                           \
        unsigned tries = 0;                                                                        \
                                                                                                   \
        while ((call) != -1 && tries++ < PATIENCE)                                                 \
            usleep(10000);                                                                         \
        assert_true(tries <= PATIENCE);                                                            \
        assert_int_equal(errno, EIO);                                                              \
    } while (0)

static void everything_is_denied(void **state)
{
    int file = open(at(1, "f"), O_RDONLY), dir = open(at(1, "d"), O_RDONLY | O_DIRECTORY);
    struct statvfs fs;
    struct stat st;
    char buf[100];

    (void)state;
    assert_true(file >= 0 && dir >= 0);
    assert_int_equal(read(file, buf, sizeof(buf)), 6); /* the kernel has its pages … */
    assert_int_equal(lstat(at(1, "l"), &st), 0);       /* … attributes … */
    assert_int_equal(readlink(at(1, "l"), buf, sizeof(buf)), 1);
    assert_int_equal(access(at(1, "none"), F_OK), -1); /* … and knows a name that does not exist */
    rig_tell(&rig, "stall");
    assert_true(comes_to(at(1, "f"), EIO));
    ASSERT_EIO(pread(file, buf, sizeof(buf), 0));
    ASSERT_EIO(fstat(file, &st));
    ASSERT_EIO(open(at(1, "f"), O_RDONLY));
    ASSERT_EIO(open(at(1, "f"), O_WRONLY));
    ASSERT_EIO(readlink(at(1, "l"), buf, sizeof(buf)));
    ASSERT_EIO(open(at(1, "d"), O_RDONLY | O_DIRECTORY));
    ASSERT_EIO(getxattr(at(1, "f"), "user.x", buf, sizeof(buf)));
    ASSERT_EIO(listxattr(at(1, "f"), buf, sizeof(buf)));
    ASSERT_EIO(access(at(1, "never-seen"), F_OK));
    ASSERT_EIO(statvfs(rig.mnt[1], &fs));
    close(file);
    close(dir);
    /* With the default option, the host serves its data. */
    assert_int_equal(rig_get(at(0, "f"), buf, sizeof(buf)), 6);
}

struct writer {
    pthread_t thread;
    int error;
};

static void *write_through(void *arg)
{
    struct writer *w = arg;

    w->error = rig_put(at(0, "f"), "after it", 8);
    return NULL;
}

/* Once the host answers again, everything is there. */
static void denial_ends_with_a_proof(void **state)
{
    struct writer w;
    char buf[100];

    (void)state;
    assert_int_equal(rig_get(at(1, "f"), buf, sizeof(buf)), 6);
    rig_tell(&rig, "stall");
    assert_true(comes_to(at(1, "f"), EIO));
    assert_int_equal(pthread_create(&w.thread, NULL, write_through, &w), 0);
    assert_true(rig_wait_pending(&rig, 1));
    rig_tell(&rig, "resume");
    assert_true(comes_to(at(1, "f"), 0));
    assert_int_equal(rig_get(at(1, "f"), buf, sizeof(buf)), 8);
    assert_memory_equal(buf, "after it", 8);
    pthread_join(w.thread, NULL);
    assert_int_equal(w.error, 0);
}

static void denial_follows_the_quorum(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        rig_tell(&rig, "stall");
        assert_true(comes_to(at(1, "f"), EIO));
        rig_tell(&rig, "resume");
        assert_true(comes_to(at(1, "f"), 0));
        assert_int_equal(rig_put(at(1, "g"), "x", 1), 0);
    }
}

static void a_denying_mount_can_be_unmounted(void **state)
{
    (void)state;
    rig_tell(&rig, "stall");
    assert_true(comes_to(at(1, "f"), EIO));
    /* tear_down calls resume, but stops the mounts before they can have noticed it. */
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(everything_is_denied),
        T(denial_ends_with_a_proof),
        T(denial_follows_the_quorum),
        T(a_denying_mount_can_be_unmounted),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
