/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting and unmounting: refused mountpoints, the text in mountinfo, and the ways in which a
 * mount ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"
#include "tests/lib/local_backend.h"

static char dir[64];
static struct local *local;
static struct local_host *host;

static int set_up(void **state)
{
    char store[80];

    (void)state;
    strcpy(dir, "/tmp/fs-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(store, sizeof(store), "%s/store", dir);
    assert_int_equal(mkdir(store, 0700), 0);
    local = local_open(store);
    host = local_host_new(local);
    return 0;
}

static int tear_down(void **state)
{
    char command[100];

    (void)state;
    local_stop(local);
    local_host_free(host);
    local_close(local);
    snprintf(command, sizeof(command), "rm -rf --one-file-system %s", dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static const char *below(const char *name)
{
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *out = paths[next++ % ARRAY_LEN(paths)];

    snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return out;
}

static int try_mount(const char *mountpoint, unsigned long flags, struct fs **fs, char errmsg[256])
{
    struct fs_options options = {
        .source = "a,b c:/vol", .mountpoint = mountpoint, .ms_flags = flags};

    errmsg[0] = '\0';
    return fs_mount(&options, local_host_backend(host), fs, errmsg, 256);
}

static void refused(const char *mountpoint, int err)
{
    char errmsg[256];
    struct fs *fs;

    assert_int_equal(try_mount(mountpoint, 0, &fs, errmsg), err);
    assert_true(strlen(errmsg) > 0);
    assert_null(strchr(errmsg, '\n'));
}

static void bad_mountpoints_are_refused(void **state)
{
    int fd;

    (void)state;
    refused(below("missing"), -ENOENT);
    refused(below("missing/deep"), -ENOENT);
    fd = open(below("file"), O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    refused(below("file"), -ENOTDIR);
    refused(below("file/x"), -ENOTDIR);
    assert_int_equal(symlink("loop", below("loop")), 0);
    refused(below("loop"), -ELOOP);
}

/* ---- With a serving thread ------------------------------------------------------------------- */

static struct fs *fs;
static pthread_t server;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned readied;
static int run_result;

static void on_ready(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    readied++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void *serve(void *arg)
{
    (void)arg;
    run_result = fs_run(fs, on_ready, NULL);
    return NULL;
}

static void start(const char *mountpoint, unsigned long flags)
{
    char errmsg[256];

    readied = 0;
    assert_int_equal(try_mount(mountpoint, flags, &fs, errmsg), 0);
    assert_int_equal(pthread_create(&server, NULL, serve, NULL), 0);
    pthread_mutex_lock(&lock);
    while (readied == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void finish(void)
{
    assert_int_equal(pthread_join(server, NULL), 0);
    assert_int_equal(run_result, 0);
    assert_int_equal(readied, 1);
    fs_free(fs);
}

static bool in_mountinfo(const char *text)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[4096];
    bool found = false;

    assert_non_null(file);
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, text) != NULL;
    fclose(file);
    return found;
}

static void source_and_type_are_as_given(void **state)
{
    char text[200];

    (void)state;
    assert_int_equal(mkdir(below("m p"), 0755), 0);
    start(below("m p"), MS_NOSUID | MS_NODEV);
    snprintf(text, sizeof(text), "%s/m\\040p rw,nosuid,nodev", dir);
    assert_true(in_mountinfo(text));
    assert_true(in_mountinfo("- fuse.coordfs a,b\\040c:/vol "));
    fs_stop(fs);
    finish();
    assert_false(in_mountinfo(dir));
}

static void read_only_mounts_change_nothing(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(mkdir(below("m"), 0755), 0);
    start(below("m"), MS_RDONLY);
    assert_int_equal(stat(below("m"), &st), 0);
    assert_int_equal(mkdir(below("m/d"), 0755), -1);
    assert_int_equal(errno, EROFS);
    fs_stop(fs);
    finish();
    assert_int_equal(local_applied(local), 0);
}

static void umount_ends_serving(void **state)
{
    (void)state;
    assert_int_equal(mkdir(below("m"), 0755), 0);
    start(below("m"), 0);
    assert_int_equal(umount2(below("m"), 0), 0);
    finish();
    start(below("m"), 0); /* and again */
    assert_int_equal(umount2(below("m"), MNT_FORCE | MNT_DETACH), 0);
    finish();
}

static void a_living_mount_is_not_covered(void **state)
{
    (void)state;
    assert_int_equal(mkdir(below("m"), 0755), 0);
    assert_int_equal(symlink("m", below("link")), 0);
    start(below("m"), 0);
    refused(below("m"), -EBUSY);
    refused(below("m/"), -EBUSY);
    refused(below("m/."), -EBUSY);
    refused(below("link"), -EBUSY);
    refused(below("../../tmp/../dev/missing"), -ENOENT);
    fs_stop(fs);
    finish();
    assert_false(in_mountinfo(dir));
}

/* Only our own mount is unmounted, even if it was moved, and not a foreign mount above it. */
static void a_moved_mount_is_unmounted(void **state)
{
    (void)state;
    assert_int_equal(mkdir(below("parent"), 0755), 0);
    assert_int_equal(mount("tmpfs", below("parent"), "tmpfs", 0, ""), 0);
    assert_int_equal(mount("none", below("parent"), NULL, MS_PRIVATE, NULL), 0);
    assert_int_equal(mkdir(below("parent/a"), 0755), 0);
    assert_int_equal(mkdir(below("parent/b"), 0755), 0);
    start(below("parent/a"), 0);
    assert_int_equal(mount(below("parent/a"), below("parent/b"), NULL, MS_MOVE, NULL), 0);
    fs_stop(fs);
    finish();
    assert_false(in_mountinfo(below("parent/b")));
    start(below("parent/a"), 0);
    assert_int_equal(mount("tmpfs", below("parent/a"), "tmpfs", 0, ""), 0);
    fs_stop(fs);
    finish();
    assert_true(in_mountinfo(below("parent/a")));
    assert_int_equal(umount2(below("parent/a"), 0), 0);
    umount2(below("parent/a"), MNT_DETACH);
    assert_int_equal(umount2(below("parent"), 0), 0);
}

static void stopping_before_serving(void **state)
{
    char errmsg[256];

    (void)state;
    assert_int_equal(mkdir(below("m"), 0755), 0);
    assert_int_equal(try_mount(below("m"), 0, &fs, errmsg), 0);
    fs_stop(fs);
    assert_int_equal(fs_run(fs, NULL, NULL), 0);
    fs_free(fs);
    assert_false(in_mountinfo(dir));
    assert_int_equal(try_mount(below("m"), 0, &fs, errmsg), 0);
    fs_free(fs); /* no thread has served it */
    assert_false(in_mountinfo(dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bad_mountpoints_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(source_and_type_are_as_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(read_only_mounts_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(umount_ends_serving, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_living_mount_is_not_covered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_moved_mount_is_unmounted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stopping_before_serving, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
