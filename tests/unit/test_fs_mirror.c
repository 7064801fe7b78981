/* SPDX-License-Identifier: Apache-2.0 */
/* A mirror that hangs or cannot keep up: no request waits forever, no program sees stale names, and
 * missed changes are counted. tests/it/16-inotify.sh and 17-mirror-trouble.sh test the normal case
 * and other trouble. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/mirror/mirror_wire.h"
#include "tests/lib/fs_rig.h"

#define LANE_MAX  200u
#define CHANGES   (3 * LANE_MAX)
#define SHORT_MS  1500   /* patience with a process that never answers */
#define MIDDLE_MS 5000   /* … with one that is stopped, and whose successor answers */
#define LONG_MS   120000 /* … with one that a test may stop for any time */
#define WAIT_MS   60000

static struct rig rig;

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    rig_start_mirror(&rig, LONG_MS, LANE_MAX, NULL);
    return 0;
}

static int set_up_impatient(void **state)
{
    (void)state;
    rig_start_mirror(&rig, MIDDLE_MS, 0, NULL);
    return 0;
}

/* The process never reports that it is ready. */
static int set_up_silent(void **state)
{
    (void)state;
    rig_start_mirror(&rig, SHORT_MS, 0, "exec sleep 1000");
    return 0;
}

/* The process reports that it is ready, in one message, and does nothing more. */
static int set_up_hanging(void **state)
{
    char script[80];

    (void)state;
    snprintf(script, sizeof(script), "head -c %zu /dev/zero >&3; exec sleep 1000",
             sizeof(struct mirror_answer));
    rig_start_mirror(&rig, SHORT_MS, 0, script);
    return 0;
}

struct status {
    int on, pid;
    unsigned long long done, refused, missed, restarts, rests;
};

static struct status status(void)
{
    struct status s;

    assert_int_equal(sscanf(rig_tell(&rig, "mirror 1"), "%d %d %llu %llu %llu %llu %llu", &s.on,
                            &s.pid, &s.done, &s.refused, &s.missed, &s.restarts, &s.rests),
                     7);
    return s;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* Stops the process of the second mount's mirror. Returns its pid. */
static int hold(void)
{
    uint64_t end = clock_boot_ms() + WAIT_MS;
    struct status s;

    while (s = status(), !s.on && clock_boot_ms() < end)
        pause_ms(10);
    assert_true(s.on);
    assert_int_equal(kill(s.pid, SIGSTOP), 0);
    return s.pid;
}

static bool exists(unsigned i, const char *name)
{
    struct stat st;

    return lstat(rig_path(&rig, i, "%s", name), &st) == 0;
}

static uint64_t ino_of(unsigned i, const char *name)
{
    struct stat st;

    assert_int_equal(stat(rig_path(&rig, i, "%s", name), &st), 0);
    return st.st_ino;
}

static void make(const char *name)
{
    assert_int_equal(mkdir(rig_path(&rig, 0, "%s", name), 0755), 0);
}

static void put(unsigned i, const char *name, const char *text)
{
    assert_int_equal(rig_put(rig_path(&rig, i, "%s", name), text, strlen(text)), 0);
}

static void assert_holds(unsigned i, const char *name, const char *text)
{
    char got[64];
    ssize_t len = rig_get(rig_path(&rig, i, "%s", name), got, sizeof(got));

    assert_int_equal(len, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

/* The second host's kernel caches that d has one file and no other name. */
static void fill_caches(void)
{
    make("d");
    put(0, "d/replaced", "old");
    put(0, "d/gone", "old");
    put(0, "d/from", "moved");
    rig_sync(&rig, 1);
    assert_true(exists(1, "d/gone"));
    assert_true(exists(1, "d/from"));
    assert_true(!exists(1, "d/made"));
    assert_holds(1, "d/replaced", "old");
}

static void change(void)
{
    put(0, "d/tmp", "new");
    assert_int_equal(rename(rig_path(&rig, 0, "d/tmp"), rig_path(&rig, 0, "d/replaced")), 0);
    assert_int_equal(unlink(rig_path(&rig, 0, "d/gone")), 0);
    assert_int_equal(rename(rig_path(&rig, 0, "d/from"), rig_path(&rig, 0, "d/to")), 0);
    make("d/made");
}

static void assert_fresh(void)
{
    assert_true(exists(1, "d/made"));
    assert_true(!exists(1, "d/gone"));
    assert_true(!exists(1, "d/from"));
    assert_holds(1, "d/to", "moved");
    assert_int_equal(ino_of(1, "d/replaced"), ino_of(0, "d/replaced"));
    assert_holds(1, "d/replaced", "new");
}

/* ---- Locks: promise P4 ------------------------------------------------------------------------*/

/* Takes a lock on the second host. This waits for all changes of the first host. */
static void lock(void)
{
    int fd = open(rig_path(&rig, 1, "lock"), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_fresh();
    close(fd);
}

static void a_lock_waits_for_the_mirror(void **state)
{
    struct status before, after;
    int pid;

    (void)state;
    put(0, "lock", "");
    fill_caches();
    before = status();
    pid = hold();
    change();
    lock();
    after = status();
    assert_int_not_equal(after.pid, pid);
    assert_true(after.restarts > before.restarts);
    /* The next process has made all of them known. */
    assert_int_equal(after.missed, before.missed);
    assert_true(after.done >= before.done + 5);
}

/* No process ever answers. Then the names are forgotten without one. */
static void a_lock_does_not_wait_forever(void **state)
{
    struct status s;

    (void)state;
    put(0, "lock", "");
    fill_caches();
    change();
    lock();
    s = status();
    assert_int_equal(s.on, 0);
    assert_int_equal(s.pid, 0);
    assert_int_equal(s.done, 0);
    assert_true(s.missed >= 5);
    /* The next lock does not wait: for a while no new process is started. */
    assert_int_equal(unlink(rig_path(&rig, 0, "d/to")), 0);
    rig_sync(&rig, 1);
    assert_true(!exists(1, "d/to"));
    assert_int_equal(status().pid, 0);
}

/* ---- A directory of another user ---------------------------------------------------------------
 *
 * The kernel asks for its ACL before it lets the mirror's process in. The tree has neither any
 * more.
 */

static void change_and_remove(void)
{
    assert_int_equal(chmod(rig_path(&rig, 0, "theirs/file"), 0600), 0);
    put(0, "theirs/file", "changed");
    assert_int_equal(rename(rig_path(&rig, 0, "theirs/file"), rig_path(&rig, 0, "theirs/moved")),
                     0);
    assert_int_equal(link(rig_path(&rig, 0, "theirs/moved"), rig_path(&rig, 0, "theirs/link")), 0);
    assert_int_equal(unlink(rig_path(&rig, 0, "theirs/moved")), 0);
    assert_int_equal(unlink(rig_path(&rig, 0, "theirs/link")), 0);
    make("theirs/sub/new");
    assert_int_equal(rmdir(rig_path(&rig, 0, "theirs/sub/new")), 0);
    assert_int_equal(rmdir(rig_path(&rig, 0, "theirs/sub")), 0);
    assert_int_equal(rmdir(rig_path(&rig, 0, "theirs")), 0);
}

static void a_removed_directory_of_another_user(void **state)
{
    struct status before, after;
    int pid;

    (void)state;
    make("theirs");
    make("theirs/sub");
    put(0, "theirs/file", "x");
    assert_int_equal(chown(rig_path(&rig, 0, "theirs/sub"), 1000, 1000), 0);
    assert_int_equal(chown(rig_path(&rig, 0, "theirs"), 1000, 1000), 0);
    assert_int_equal(chmod(rig_path(&rig, 0, "theirs/sub"), 0750), 0);
    assert_int_equal(chmod(rig_path(&rig, 0, "theirs"), 0750), 0);
    rig_sync(&rig, 1);
    assert_true(exists(1, "theirs/sub"));
    assert_true(exists(1, "theirs/file"));
    assert_true(!exists(1, "theirs/moved"));
    before = status();
    pid = hold();
    change_and_remove();
    assert_int_equal(kill(pid, SIGCONT), 0);
    rig_sync(&rig, 1);
    after = status();
    assert_int_equal(after.rests, before.rests);
    assert_int_equal(after.missed, before.missed);
    assert_true(after.done >= before.done + 9);
    assert_true(!exists(1, "theirs"));
}

/* ---- Stale names ------------------------------------------------------------------------------*/

/* True if n more names than before were updated, and none is stale. */
static bool all_updated(unsigned long long n)
{
    unsigned long long updated, stale, late;

    assert_int_equal(sscanf(rig_tell(&rig, "names 1"), "%llu %llu %llu", &updated, &stale, &late),
                     3);
    return updated >= n && stale == 0;
}

static unsigned long long updated_names(void)
{
    unsigned long long updated;

    assert_int_equal(sscanf(rig_tell(&rig, "names 1"), "%llu", &updated), 1);
    return updated;
}

/* The events wait for the process, and the barrier for the events; the names do not. */
static void names_do_not_wait_for_events(void **state)
{
    uint64_t end = clock_boot_ms() + WAIT_MS;
    unsigned long long updated;
    struct status before, after;
    int pid;

    (void)state;
    if (!rig_can_forget_all())
        skip(); /* a documented limit */
    fill_caches();
    before = status();
    updated = updated_names();
    pid = hold();
    change();
    while (!all_updated(updated + 5) && clock_boot_ms() < end)
        pause_ms(10);
    assert_true(all_updated(updated + 5));
    assert_fresh();
    assert_int_equal(status().done, before.done);
    assert_int_equal(kill(pid, SIGCONT), 0);
    rig_sync(&rig, 1);
    after = status();
    assert_int_equal(after.pid, pid);
    assert_int_equal(after.missed, before.missed);
    assert_true(after.done >= before.done + 5);
    assert_fresh();
}

/* ---- Too many changes -------------------------------------------------------------------------*/

static void change_much(void)
{
    char name[32];

    for (unsigned i = 0; i < CHANGES; i++) {
        snprintf(name, sizeof(name), "d/n%u", i);
        make(name);
    }
}

static void assert_all_there(void)
{
    char name[32];

    for (unsigned i = 0; i < CHANGES; i++) {
        snprintf(name, sizeof(name), "d/n%u", i);
        assert_true(exists(1, name));
    }
}

static bool has_missed(unsigned n)
{
    uint64_t end = clock_boot_ms() + WAIT_MS;

    while (status().missed < n && clock_boot_ms() < end)
        pause_ms(10);
    return status().missed >= n;
}

static void look_for_all(void)
{
    char name[32];

    for (unsigned i = 0; i < CHANGES; i++) {
        snprintf(name, sizeof(name), "d/n%u", i);
        assert_true(!exists(1, name));
    }
}

static void surplus_changes_are_skipped(void **state)
{
    struct status s;
    int pid;

    (void)state;
    fill_caches();
    look_for_all(); /* the kernel caches that these names do not exist */
    pid = hold();
    change();
    change_much();
    if (rig_can_forget_all())
        assert_true(has_missed(CHANGES - LANE_MAX - 1)); /* while the process is stopped */
    /* The kernel's stale name must not lead to the renamed file: this makes a new file. */
    put(1, "d/from", "mine");
    assert_int_equal(kill(pid, SIGCONT), 0);
    rig_sync(&rig, 1);
    s = status();
    assert_int_equal(s.pid, pid);
    assert_true(s.missed > 0 && s.missed <= CHANGES + 8);
    assert_all_there();
    assert_holds(1, "d/from", "mine");
    assert_int_equal(unlink(rig_path(&rig, 1, "d/from")), 0);
    assert_fresh();
    make("d/after");
    rig_sync(&rig, 1);
    assert_int_equal(status().missed, s.missed);
    assert_true(status().done > s.done);
    assert_true(exists(1, "d/after"));
}

/* With a mount below, the names cannot all be forgotten: that would unmount it. */
static void mounts_below_survive(void **state)
{
    struct status s;
    int pid;

    (void)state;
    fill_caches();
    make("over");
    rig_sync(&rig, 1);
    assert_int_equal(mount("tmpfs", rig_path(&rig, 1, "over"), "tmpfs", 0, NULL), 0);
    put(1, "over/below", "x");
    look_for_all();
    pid = hold();
    change();
    change_much();
    assert_int_equal(kill(pid, SIGCONT), 0);
    rig_sync(&rig, 1);
    s = status();
    assert_true(s.missed > 0);
    assert_all_there();
    assert_fresh();
    assert_holds(1, "over/below", "x");
    assert_int_equal(umount2(rig_path(&rig, 1, "over"), 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_lock_waits_for_the_mirror, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(a_lock_does_not_wait_forever, set_up_silent, tear_down),
        cmocka_unit_test_setup_teardown(a_lock_does_not_wait_forever, set_up_hanging, tear_down),
        cmocka_unit_test_setup_teardown(names_do_not_wait_for_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_removed_directory_of_another_user, set_up, tear_down),
        cmocka_unit_test_setup_teardown(surplus_changes_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mounts_below_survive, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
