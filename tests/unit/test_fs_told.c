/* SPDX-License-Identifier: Apache-2.0 */
/* What a program was told, its kernel knows: the process of the mirror is stopped, so that the
 * second host's kernel believes what is long over, and a call on it hears the truth. (The same with
 * all calls at the same moment on several hosts: tests/tools/told.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/fs_rig.h"

#define PATIENCE_MS 120000
#define WAIT_MS     60000
#define ROUNDS      1500
#define USER        1000

static struct rig rig;
static pid_t held;

static int set_up(void **state)
{
    (void)state;
    held = 0;
    rig_start_mirror(&rig, PATIENCE_MS, 0, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (held != 0)
        kill(held, SIGCONT);
    rig_stop(&rig);
    return 0;
}

struct status {
    int on, pid;
    unsigned long long done, refused, missed, restarts;
};

static struct status status(void)
{
    struct status s;

    assert_int_equal(sscanf(rig_tell(&rig, "mirror 1"), "%d %d %llu %llu %llu %llu", &s.on, &s.pid,
                            &s.done, &s.refused, &s.missed, &s.restarts),
                     6);
    return s;
}

static void hold(void)
{
    const struct timespec pause = {0, 10000000};
    uint64_t end = clock_boot_ms() + WAIT_MS;
    struct status s;

    while (s = status(), !s.on && clock_boot_ms() < end)
        nanosleep(&pause, NULL);
    assert_true(s.on);
    held = s.pid;
    assert_int_equal(kill(held, SIGSTOP), 0);
}

static void let_go(void)
{
    assert_int_equal(kill(held, SIGCONT), 0);
    held = 0;
    rig_sync(&rig, 1);
}

/* The type of what the name leads to on host i; 0: there is nothing. */
static mode_t type(unsigned i, const char *name)
{
    struct stat st;

    if (lstat(rig_path(&rig, i, "%s", name), &st) == 0)
        return st.st_mode & S_IFMT;
    assert_int_equal(errno, ENOENT);
    return 0;
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

static void assert_fails(int rv, int error)
{
    int got = errno;

    assert_int_equal(rv, -1);
    assert_int_equal(got, error);
}

/* Files f1, f2 …, directories e1, e2 …, and nothing at n1, n2 …: the second host's kernel knows
 * that. */
static void let_it_believe(void)
{
    char name[16];

    make("d");
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(name, sizeof(name), "d/f%u", i);
        put(0, name, "theirs");
        snprintf(name, sizeof(name), "d/e%u", i);
        make(name);
    }
    rig_sync(&rig, 1);
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(name, sizeof(name), "d/f%u", i);
        assert_int_equal(type(1, name), S_IFREG);
        snprintf(name, sizeof(name), "d/e%u", i);
        assert_int_equal(type(1, name), S_IFDIR);
        snprintf(name, sizeof(name), "d/n%u", i);
        assert_int_equal(type(1, name), 0);
    }
}

static const char *there(const char *name)
{
    return rig_path(&rig, 0, "%s", name);
}

static const char *here(const char *name)
{
    return rig_path(&rig, 1, "%s", name);
}

static void what_is_gone_is_gone(void **state)
{
    (void)state;
    let_it_believe();
    hold();
    assert_int_equal(unlink(there("d/f1")), 0);
    assert_int_equal(rename(there("d/f2"), there("d/n2")), 0);
    assert_int_equal(rmdir(there("d/e1")), 0);

    assert_fails(unlink(here("d/f1")), ENOENT);
    assert_int_equal(type(1, "d/f1"), 0);
    assert_fails(rename(here("d/f2"), here("d/n1")), ENOENT);
    assert_int_equal(type(1, "d/f2"), 0);
    put(1, "d/f2", "mine");
    assert_fails(rmdir(here("d/e1")), ENOENT);
    assert_int_equal(type(1, "d/e1"), 0);
    let_go();
    assert_holds(0, "d/n2", "theirs");
    assert_holds(0, "d/f2", "mine");
}

static void what_is_there_is_there(void **state)
{
    (void)state;
    let_it_believe();
    hold();
    make("d/n1");
    put(0, "d/n2", "theirs");
    put(0, "d/n3", "theirs");
    put(0, "d/n4", "theirs");

    assert_fails(mkdir(here("d/n1"), 0755), EEXIST);
    assert_int_equal(type(1, "d/n1"), S_IFDIR);
    assert_fails(link(here("d/f1"), here("d/n2")), EEXIST);
    assert_int_equal(type(1, "d/n2"), S_IFREG);
    assert_fails(open(here("d/n3"), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644), EEXIST);
    assert_int_equal(type(1, "d/n3"), S_IFREG);
    assert_fails(renameat2(AT_FDCWD, here("d/f1"), AT_FDCWD, here("d/n4"), RENAME_NOREPLACE),
                 EEXIST);
    assert_int_equal(type(1, "d/n4"), S_IFREG);
    let_go();
}

static void what_is_another_is_another(void **state)
{
    (void)state;
    let_it_believe();
    hold();
    assert_int_equal(unlink(there("d/f1")), 0);
    make("d/f1");
    assert_int_equal(rmdir(there("d/e1")), 0);
    put(0, "d/e1", "theirs");
    put(0, "d/e2/inside", "theirs");

    assert_fails(unlink(here("d/f1")), EISDIR);
    assert_int_equal(type(1, "d/f1"), S_IFDIR);
    assert_fails(rmdir(here("d/e1")), ENOTDIR);
    assert_int_equal(type(1, "d/e1"), S_IFREG);
    assert_fails(rmdir(here("d/e2")), ENOTEMPTY);
    assert_int_equal(type(1, "d/e2/inside"), S_IFREG);
    let_go();
}

static bool lists(unsigned i, const char *name)
{
    DIR *dir = opendir(rig_path(&rig, i, "d"));
    const struct dirent *e;
    bool found = false;

    assert_non_null(dir);
    while ((e = readdir(dir)) != NULL)
        found = found || strcmp(e->d_name, name) == 0;
    closedir(dir);
    return found;
}

static void a_list_is_not_ahead_of_the_names(void **state)
{
    (void)state;
    if (!rig_can_forget_all())
        skip();
    let_it_believe();
    hold();
    make("d/n1");
    assert_int_equal(unlink(there("d/f1")), 0);
    assert_true(lists(1, "n1"));
    assert_int_equal(type(1, "d/n1"), S_IFDIR);
    assert_false(lists(1, "f1"));
    assert_int_equal(type(1, "d/f1"), 0);
    let_go();
}

static void fsync_of_a_directory_is_a_barrier(void **state)
{
    int fd;

    (void)state;
    if (!rig_can_forget_all())
        skip();
    let_it_believe();
    fd = open(here("d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    hold();
    make("d/n1");
    assert_int_equal(unlink(there("d/f1")), 0);
    assert_int_equal(rename(there("d/f2"), there("d/n2")), 0);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    assert_int_equal(type(1, "d/n1"), S_IFDIR);
    assert_int_equal(type(1, "d/f1"), 0);
    assert_int_equal(type(1, "d/f2"), 0);
    assert_int_equal(type(1, "d/n2"), S_IFREG);
    let_go();
}

/* The kernel asks for ACLs to check what the mirror's process may do in a directory that is gone.
 */
static void another_users_directory_goes_with_its_events(void **state)
{
    struct status before;

    (void)state;
    make("d");
    make("d/e");
    make("d/e/sub");
    assert_int_equal(chown(there("d/e"), USER, USER), 0);
    assert_int_equal(chmod(there("d/e"), 0750), 0);
    rig_sync(&rig, 1);
    assert_int_equal(type(1, "d/e/sub"), S_IFDIR);
    hold();
    before = status();
    assert_int_equal(rmdir(there("d/e/sub")), 0);
    assert_int_equal(rmdir(there("d/e")), 0);
    let_go();
    assert_int_equal(status().missed, before.missed);
    assert_int_equal(status().done, before.done + 2);
    assert_int_equal(type(1, "d/e"), 0);
}

/* ---- Opening what is replaced all the time ----------------------------------------------------*/

static atomic_bool stop;

static void *replace(void *arg)
{
    const char *path = arg;
    int fd;

    while (!atomic_load(&stop)) {
        unlink(path);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

/* As another user, who may write in the directory, but not open this file. Only this thread. */
static void become_user(void)
{
    assert_int_equal(syscall(SYS_setresgid, -1, USER, -1), 0);
    assert_int_equal(syscall(SYS_setresuid, -1, USER, -1), 0);
}

static void become_root(void)
{
    assert_int_equal(syscall(SYS_setresuid, -1, 0, -1), 0);
    assert_int_equal(syscall(SYS_setresgid, -1, 0, -1), 0);
}

/* Errors other than `allowed`, and files of root that USER has opened. */
static unsigned open_often(const char *path, int allowed)
{
    unsigned wrong = 0;
    struct stat st;
    int fd;

    for (unsigned i = 0; i < ROUNDS; i++) {
        fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        if (fd < 0) {
            if (errno != allowed && wrong++ == 0)
                print_message("open: %s\n", strerror(errno));
            continue;
        }
        assert_int_equal(fstat(fd, &st), 0);
        if (allowed != 0 && st.st_uid != USER)
            wrong++;
        close(fd);
    }
    return wrong;
}

static void open_finds_something(bool as_user)
{
    char path[100];
    pthread_t thread;
    unsigned wrong;

    make("d");
    assert_int_equal(chmod(there("d"), 0777), 0);
    snprintf(path, sizeof(path), "%s", there("d/f"));
    rig_sync(&rig, 1);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, replace, path), 0);
    if (as_user)
        become_user();
    wrong = open_often(here("d/f"), as_user ? EACCES : 0);
    become_root();
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(wrong, 0);
}

static void open_with_creat_never_fails(void **state)
{
    (void)state;
    open_finds_something(false);
}

static void open_with_creat_asks_for_permission(void **state)
{
    (void)state;
    open_finds_something(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_gone_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_there_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_another_is_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_list_is_not_ahead_of_the_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fsync_of_a_directory_is_a_barrier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_users_directory_goes_with_its_events, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(open_with_creat_never_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_with_creat_asks_for_permission, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
