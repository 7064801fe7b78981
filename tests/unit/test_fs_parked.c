/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests through a real mount: interrupts, deadlines, failures of the transport, and a
 * serving process that is killed. */
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
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define LONG_MS 60000 /* a deadline that no test reaches */

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 1, LONG_MS);
    return 0;
}

static int set_up_impatient(void **state)
{
    (void)state;
    rig_start(&rig, 1, 200);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void on_signal(int sig)
{
    (void)sig;
}

/* Functions for a child process. They return 0 or an errno. */
static int do_mkdir(void)
{
    return mkdir(rig_path(&rig, 0, "d"), 0755) == 0 ? 0 : errno;
}

static int do_put(void)
{
    return -rig_put(rig_path(&rig, 0, "f"), "hello", 5);
}

static int do_fsync(void)
{
    int fd = open(rig.mnt[0], O_RDONLY);

    return fsync(fd) == 0 ? 0 : errno;
}

/* Starts a child that runs fn, and waits until its request is parked. */
static pid_t park(int (*fn)(void))
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct sigaction action = {.sa_handler = on_signal};

        sigaction(SIGUSR1, &action, NULL); /* no SA_RESTART */
        _exit(fn());
    }
    assert_true(rig_wait_pending(&rig, 1));
    return pid;
}

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_exits(pid_t pid, int code)
{
    int status = status_of(pid);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void signals_interrupt(void **state)
{
    static int (*const fns[])(void) = {do_mkdir, do_put, do_fsync};

    (void)state;
    rig_tell(&rig, "stall");
    for (size_t i = 0; i < ARRAY_LEN(fns); i++) {
        pid_t pid = park(fns[i]);

        assert_int_equal(kill(pid, SIGUSR1), 0);
        assert_exits(pid, EINTR);
        pid = park(fns[i]);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_true(WIFSIGNALED(status_of(pid)));
    }
    rig_tell(&rig, "resume");
    assert_int_equal(rig_ask(&rig, "applied"), 0);
    assert_int_equal(do_mkdir(), 0);
}

/* A signal does not interrupt a change that is nearly complete. */
static void signals_leave_time_to_finish(void **state)
{
    pid_t pid;

    (void)state;
    rig_tell(&rig, "stall");
    pid = park(do_mkdir);
    assert_int_equal(kill(pid, SIGUSR1), 0);
    rig_tell(&rig, "resume");
    assert_exits(pid, 0);
}

static void deadlines_end_waiting(void **state)
{
    (void)state;
    rig_tell(&rig, "stall");
    assert_int_equal(do_mkdir(), ETIMEDOUT);
    assert_int_equal(do_put(), ETIMEDOUT);
    assert_int_equal(do_fsync(), ETIMEDOUT);
    assert_int_equal(rename(rig_path(&rig, 0, "a"), rig_path(&rig, 0, "b")), -1);
    assert_int_equal(errno, ENOENT); /* the kernel knows this without a request */
    rig_tell(&rig, "resume");
    assert_int_equal(do_mkdir(), 0);
}

/* Without a quorum, reads still work. */
static void reads_work_without_a_quorum(void **state)
{
    char buf[10];
    struct stat st;
    DIR *dir;
    pid_t pid;

    (void)state;
    assert_int_equal(do_put(), 0);
    assert_int_equal(mkdir(rig_path(&rig, 0, "sub"), 0755), 0);
    rig_tell(&rig, "stall");
    pid = park(do_mkdir);
    assert_int_equal(rig_get(rig_path(&rig, 0, "f"), buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(stat(rig.mnt[0], &st), 0);
    dir = opendir(rig_path(&rig, 0, "sub"));
    assert_non_null(dir);
    assert_non_null(readdir(dir));
    closedir(dir);
    rig_tell(&rig, "resume");
    assert_exits(pid, 0);
}

static void assert_reads(int fd, const char *expected)
{
    char buf[40] = "";

    assert_int_equal(pread(fd, buf, sizeof(buf) - 1, 0), strlen(expected));
    assert_string_equal(buf, expected);
}

struct writing {
    pthread_t thread;
    int fd;
    const char *text;
    ssize_t result;
};

static void *write_it(void *arg)
{
    struct writing *w = arg;

    w->result = pwrite(w->fd, w->text, strlen(w->text), 0);
    return NULL;
}

static void begin_writing(struct writing *w, int flags, const char *text)
{
    *w = (struct writing){.fd = open(rig_path(&rig, 0, "f"), flags), .text = text};
    assert_true(w->fd >= 0);
    assert_int_equal(pthread_create(&w->thread, NULL, write_it, w), 0);
    assert_true(rig_wait_pending(&rig, 1));
}

static ssize_t end_writing(struct writing *w)
{
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    close(w->fd);
    return w->result;
}

/* A write is visible only after its commit, also to the writer's own process and to a process that
 * opened the file long before. (Regression: a register showed a value that the next host did not
 * have yet.) */
static void uncommitted_writes_are_invisible(void **state)
{
    struct writing w;
    struct stat st;
    int before, meanwhile;

    (void)state;
    assert_int_equal(do_put(), 0);
    before = open(rig_path(&rig, 0, "f"), O_RDONLY);
    assert_true(before >= 0);
    rig_tell(&rig, "stall");
    begin_writing(&w, O_WRONLY, "HELLO, you");
    meanwhile = open(rig_path(&rig, 0, "f"), O_RDONLY);
    assert_true(meanwhile >= 0);
    assert_reads(before, "hello");
    assert_reads(meanwhile, "hello");
    assert_int_equal(fstat(meanwhile, &st), 0);
    assert_int_equal(st.st_size, 5);
    rig_tell(&rig, "resume");
    assert_int_equal(end_writing(&w), 10);
    assert_reads(before, "HELLO, you");
    assert_reads(meanwhile, "HELLO, you");
    close(before);
    close(meanwhile);
}

/* A file that is being replaced looks neither empty nor half-written. */
static void replaced_content_is_visible_until_the_commit(void **state)
{
    struct writing w;
    int meanwhile;

    (void)state;
    assert_int_equal(do_put(), 0);
    rig_tell(&rig, "stall");
    begin_writing(&w, O_WRONLY | O_TRUNC, "ok");
    meanwhile = open(rig_path(&rig, 0, "f"), O_RDONLY);
    assert_true(meanwhile >= 0);
    assert_reads(meanwhile, "hello");
    rig_tell(&rig, "resume");
    assert_int_equal(end_writing(&w), 2);
    assert_reads(meanwhile, "ok");
    close(meanwhile);
}

static void many_wait_at_once(void **state)
{
    enum { N = 40 };
    pid_t pids[N];

    (void)state;
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(mkdir(rig_path(&rig, 0, "d%u", i), 0755), 0);
    rig_tell(&rig, "stall");
    for (unsigned i = 0; i < N; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            _exit(-rig_put(rig_path(&rig, 0, "d%u/f", i), "x", 1));
    }
    assert_true(rig_wait_pending(&rig, N));
    for (unsigned i = 0; i < N; i += 2)
        kill(pids[i], SIGKILL);
    for (unsigned i = 0; i < N; i += 2)
        assert_true(WIFSIGNALED(status_of(pids[i])));
    rig_tell(&rig, "resume");
    for (unsigned i = 1; i < N; i += 2)
        assert_exits(pids[i], 0);
    assert_string_equal(rig_tell(&rig, "check"), "ok");
}

static void transport_failures_reach_the_caller(void **state)
{
    static const struct {
        int err, expected;
    } cases[] = {{ESTALE, EIO}, {ETIMEDOUT, ETIMEDOUT}, {ESHUTDOWN, ENOTCONN}, {EINTR, EINTR}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char command[32];

        snprintf(command, sizeof(command), "fail 1 %d", cases[i].err);
        rig_tell(&rig, command);
        assert_int_equal(do_mkdir(), cases[i].expected);
    }
    assert_int_equal(do_mkdir(), 0);
}

/* Stopping answers all parked requests; afterwards nothing is mounted. */
static void stopping_answers_all(void **state)
{
    struct stat outside, inside;
    pid_t pid;

    (void)state;
    rig_start(&rig, 2, LONG_MS);
    rig_tell(&rig, "stall");
    pid = park(do_mkdir);
    assert_int_equal(stat(rig.dir, &outside), 0);
    rig_stop(&rig);
    assert_exits(pid, ENOTCONN);
    assert_int_equal(stat(rig.dir, &inside), -1);
}

/* After kill -9, waiting processes get an error, and the mountpoint is usable again. */
static void a_killed_server_leaves_a_usable_mountpoint(void **state)
{
    struct statfs st;
    pid_t pid;
    int status;

    (void)state;
    rig_start(&rig, 1, LONG_MS);
    assert_int_equal(do_put(), 0);
    rig_tell(&rig, "stall");
    pid = park(do_mkdir);
    rig_kill(&rig);
    status = status_of(pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == ECONNABORTED || WEXITSTATUS(status) == ENOTCONN);
    assert_int_equal(statfs(rig.mnt[0], &st), -1);
    assert_int_equal(errno, ENOTCONN);
    rig_restart(&rig, LONG_MS);
    assert_int_equal(statfs(rig.mnt[0], &st), 0);
    assert_int_equal(do_mkdir(), 0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signals_interrupt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signals_leave_time_to_finish, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlines_end_waiting, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(reads_work_without_a_quorum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(uncommitted_writes_are_invisible, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaced_content_is_visible_until_the_commit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(many_wait_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(transport_failures_reach_the_caller, set_up, tear_down),
        cmocka_unit_test(stopping_answers_all),
        cmocka_unit_test(a_killed_server_leaves_a_usable_mountpoint),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
