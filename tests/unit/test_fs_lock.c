/* SPDX-License-Identifier: Apache-2.0 */
/* flock(2) and fcntl(2) through real mounts: two hosts on one store. */
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
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "proto/ioctl.h"
#include "tests/lib/fs_rig.h"

#define PATIENCE_MS 60000

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 2, 60000);
    return 0;
}

static int set_up_impatient(void **state)
{
    (void)state;
    rig_start(&rig, 2, 300);
    return 0;
}

/* No locks and commands remain: all handles are closed now or will be soon. */
static bool become(const char *what, unsigned long n)
{
    for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
        if (rig_ask(&rig, what) == n)
            return true;
        usleep(5000);
    }
    return false;
}

static int tear_down(void **state)
{
    (void)state;
    rig_tell(&rig, "resume");
    assert_true(become("waiting", 0));
    assert_true(become("held", 0));
    rig_stop(&rig);
    return 0;
}

static int open_on(unsigned mount, const char *name, int flags)
{
    int fd = open(rig_path(&rig, mount, "%s", name), flags | O_CREAT | O_CLOEXEC, 0666);

    assert_true(fd >= 0);
    return fd;
}

/* ---- Locks, in one line each: 0 or an errno ---- */

static int flock_of(int fd, int op)
{
    return flock(fd, op) == 0 ? 0 : errno;
}

static int fcntl_of(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    return fcntl(fd, cmd, &lock) == 0 ? 0 : errno;
}

static int getlk(int fd, short type, off_t start, off_t len, struct flock *out)
{
    *out = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, F_GETLK, out) == 0 ? 0 : errno;
}

/* ---- Children ---- */

static void on_signal(int sig)
{
    (void)sig;
}

static void hold_signal(int how)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(how, &set, NULL);
}

static void catch_signal(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

    sigaction(SIGUSR1, &action, NULL);
    hold_signal(SIG_UNBLOCK);
}

/* Starts a child that exits with the result of fn. SIGUSR1 is blocked until fn catches it. */
static pid_t child(int (*fn)(void *arg), void *arg)
{
    pid_t pid;

    hold_signal(SIG_BLOCK);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn(arg));
    hold_signal(SIG_UNBLOCK);
    return pid;
}

static int status_of(pid_t pid)
{
    int status = 0;

    for (unsigned ms = 0; ms < PATIENCE_MS; ms += 2) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
        usleep(2000);
    }
    kill(pid, SIGKILL);
    fail_msg("a child does not end");
    return status;
}

static int exit_of(pid_t pid)
{
    int status = status_of(pid);

    if (!WIFEXITED(status))
        fail_msg("a child ended with signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void await_exit(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

/* The exit status of a child that is interrupted until it ends, because nothing shows when its call
 * has begun. */
static int exit_of_interrupted(pid_t pid)
{
    siginfo_t info = {0};

    for (unsigned ms = 0; ms < PATIENCE_MS && info.si_pid == 0; ms += 20) {
        kill(pid, SIGUSR1);
        usleep(20000);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    return exit_of(pid);
}

struct job {
    unsigned mount;
    const char *name;
    int op;     /* of flock, or */
    short type; /* of fcntl, if not 0 */
    off_t start;
    int sa_flags;
};

static int do_job(void *arg)
{
    const struct job *job = arg;
    int fd = open_on(job->mount, job->name, O_RDWR);

    catch_signal(job->sa_flags);
    if (job->op != 0)
        return flock_of(fd, job->op);
    return fcntl_of(fd, F_SETLKW, job->type, job->start, 1);
}

/* Starts a child that waits for a lock, and waits until n requests are waiting. */
static pid_t waiter(const struct job *job, unsigned n)
{
    struct job copy = *job;
    pid_t pid = child(do_job, &copy);

    assert_true(become("waiting", n));
    return pid;
}

/* ---- flock ----------------------------------------------------------------------------------- */

static void flock_excludes_the_other_host(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR), c = open_on(1, "f", O_RDONLY);

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(flock_of(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    assert_int_equal(flock_of(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    assert_int_equal(flock_of(a, LOCK_SH | LOCK_NB), 0); /* a downgrade */
    assert_int_equal(flock_of(b, LOCK_SH | LOCK_NB), 0);
    assert_int_equal(flock_of(c, LOCK_SH | LOCK_NB), 0);
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    assert_int_equal(flock_of(b, LOCK_EX | LOCK_NB), EWOULDBLOCK); /* c still has its own */
    assert_int_equal(rig_ask(&rig, "held"), 1); /* a and b have lost theirs, as in Linux */
    close(c);
    assert_true(become("held", 0));
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), 0);
    close(a);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    close(b);
}

static void a_lock_costs_one_change_and_its_release_another(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(0, "f", O_RDWR);
    unsigned long n = rig_ask(&rig, "applied");

    (void)state;
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_UNLCK, 0, 0), 0);
    assert_int_equal(rig_ask(&rig, "applied"), n);
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    assert_int_equal(rig_ask(&rig, "applied"), n + 1);
    assert_int_equal(flock_of(a, LOCK_UN), 0);
    assert_int_equal(rig_ask(&rig, "applied"), n + 2);
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 0), 0);
    assert_int_equal(fcntl_of(a, F_SETLK, F_UNLCK, 0, 0), 0);
    assert_int_equal(rig_ask(&rig, "applied"), n + 4);
    close(a); /* holds no lock any more */
    close(b);
    rig_sync(&rig, 0);
    assert_int_equal(rig_ask(&rig, "applied"), n + 4);
}

static void a_killed_holder_frees_its_locks(void **state)
{
    struct job holder = {0, "f", LOCK_EX, 0, 0, 0}, next = {1, "f", LOCK_EX, 0, 0, 0};
    int go[2], fd;
    pid_t pid, waiting;
    char byte;

    (void)state;
    assert_int_equal(pipe(go), 0);
    pid = fork();
    if (pid == 0) {
        assert_int_equal(do_job(&holder), 0);
        assert_int_equal(write(go[1], "x", 1), 1);
        pause();
        _exit(1);
    }
    assert_int_equal(read(go[0], &byte, 1), 1);
    waiting = waiter(&next, 1);
    kill(pid, SIGKILL);
    assert_int_equal(exit_of(waiting), 0);
    assert_true(WIFSIGNALED(status_of(pid)));
    fd = open_on(0, "f", O_RDWR);
    assert_int_equal(flock_of(fd, LOCK_EX), 0);
    close(fd);
    close(go[0]);
    close(go[1]);
}

static int sleep_until_told(void *arg)
{
    char byte;

    return read(*(int *)arg, &byte, 1) == 1 ? 0 : 1;
}

static void a_fork_inherits_the_lock(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR), go[2];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    pid = child(sleep_until_told, &go[0]);
    close(a);
    usleep(50000);
    assert_int_equal(flock_of(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(exit_of(pid), 0);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    close(b);
    close(go[0]);
    close(go[1]);
}

/* The kernel sends RELEASE after close(2) has returned, but before its next request. So `flock -n`
 * never fails because of a lock that was closed before. */
static void a_closed_lock_is_free(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        int fd = open_on(0, "f", O_RDWR);

        assert_int_equal(flock_of(fd, LOCK_EX | LOCK_NB), 0);
        close(fd);
    }
    for (int i = 0; i < 100; i++) { /* they are released in one command */
        int fds[8];

        for (int k = 0; k < 8; k++) {
            fds[k] = open_on(0, k % 2 != 0 ? "f" : "g", O_RDWR);
            assert_int_equal(flock_of(fds[k], LOCK_SH | LOCK_NB), 0);
        }
        for (int k = 0; k < 8; k++)
            close(fds[k]);
        fds[0] = open_on(0, "f", O_RDWR);
        assert_int_equal(flock_of(fds[0], LOCK_EX | LOCK_NB), 0);
        close(fds[0]);
    }
}

/* ---- fcntl ----------------------------------------------------------------------------------- */

static int holds_range(void *arg)
{
    int fd = open_on(0, "f", O_RDWR), err = fcntl_of(fd, F_SETLK, F_WRLCK, 10, 10);

    return err != 0 ? err : sleep_until_told(arg);
}

static void ranges_exclude_the_other_host(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR), go[2];
    struct flock found;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(go), 0);
    pid = child(holds_range, &go[0]);
    assert_true(become("held", 1));
    assert_int_equal(fcntl_of(b, F_SETLK, F_RDLCK, 15, 1), EAGAIN);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 10), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 20, 0), 0);
    assert_int_equal(getlk(b, F_RDLCK, 0, 0, &found), 0);
    assert_int_equal(found.l_type, F_WRLCK);
    assert_int_equal(found.l_start, 10);
    assert_int_equal(found.l_len, 10);
    assert_int_equal(found.l_pid, 0); /* the holder is on another host */
    assert_int_equal(getlk(a, F_RDLCK, 12, 1, &found), 0);
    assert_int_equal(found.l_pid, pid);
    assert_int_equal(getlk(a, F_WRLCK, 10, 10, &found), 0);
    assert_int_equal(found.l_pid, pid);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(exit_of(pid), 0);
    assert_int_equal(fcntl_of(a, F_SETLKW, F_WRLCK, 10, 10), 0);
    assert_int_equal(getlk(b, F_WRLCK, 0, 0, &found), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_UNLCK, 0, 0), 0);
    close(a);
    close(b);
    close(go[0]);
    close(go[1]);
}

/* Unlocking the middle of a range frees only this part. */
static void ranges_split(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);
    struct flock found;

    (void)state;
    /* The same process on two hosts is two owners. */
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 100), 0);
    assert_int_equal(fcntl_of(a, F_SETLK, F_UNLCK, 40, 20), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 40, 20), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 39, 1), EAGAIN);
    assert_int_equal(fcntl_of(b, F_SETLK, F_RDLCK, 60, 1), EAGAIN);
    assert_int_equal(getlk(b, F_WRLCK, 30, 0, &found), 0);
    assert_int_equal(found.l_start, 0);
    assert_int_equal(found.l_len, 40);
    assert_int_equal(fcntl_of(a, F_SETLK, F_RDLCK, 0, 40), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_RDLCK, 0, 40), 0);
    close(a);
    close(b);
}

static void any_close_drops_the_process_s_ranges(void **state)
{
    int a = open_on(0, "f", O_RDWR), other = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);

    (void)state;
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 0), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
    close(other);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 0), 0); /* the unlock was committed before
                                                               * close returned */
    close(a);
    close(b);
}

/* The ways in which a process gives up its lock while its file stays open elsewhere: a child has
 * inherited the descriptor but not the lock, or the process has another descriptor of the same
 * file. */
enum end {
    END_EXIT,
    END_CLOSE_COPY,
    END_CLOSE_OTHER,
    END_CLOSE_EARLIER,
    END_CLOSE_TRUNCATED,
    ENDS
};

struct ending {
    enum end how;
    int go;   /* the child keeps the file open until it reads this */
    int told; /* readable: the holder has given up the lock */
};

/* The child is the last process that has `fd` open. */
static void leave_open(int fd, int go)
{
    if (fork() != 0)
        return;
    alarm(PATIENCE_MS / 1000); /* for a test that fails */
    sleep_until_told(&go);
    close(fd);
    _exit(0);
}

static int hold_and_end(void *arg)
{
    static const int flags[ENDS] = {O_RDONLY, O_RDONLY, O_RDWR, O_RDWR, O_RDWR};
    const struct ending *e = arg;
    int go = e->go;
    int earlier = open_on(0, "f", O_RDONLY), fd = open_on(0, "f", flags[e->how]);
    int err = fcntl_of(fd, F_SETLK, flags[e->how] == O_RDONLY ? F_RDLCK : F_WRLCK, 0, 0);
    int other = open_on(0, "f", e->how == END_CLOSE_TRUNCATED ? O_RDONLY | O_TRUNC : O_RDONLY);

    alarm(PATIENCE_MS / 1000);
    leave_open(fd, e->go);
    if (err == 0 && e->how == END_CLOSE_COPY)
        close(dup(fd));
    if (err == 0 && (e->how == END_CLOSE_OTHER || e->how == END_CLOSE_TRUNCATED))
        close(other);
    if (err == 0 && e->how == END_CLOSE_EARLIER)
        close(earlier);
    if (e->how == END_EXIT)
        return err;
    return write(e->told, "x", 1) == 1 && sleep_until_told(&go) == 0 ? err : 1;
}

static void ranges_end_with_their_process_or_a_close(void **state)
{
    (void)state;
    for (int how = 0; how < ENDS; how++) {
        int go[2], told[2], b = open_on(1, "f", O_RDWR), c;
        struct ending e = {.how = (enum end)how};
        char byte;
        pid_t pid;

        assert_true(pipe(go) == 0 && pipe(told) == 0);
        e.go = go[0];
        e.told = told[1];
        pid = child(hold_and_end, &e);
        if (how == END_EXIT)
            await_exit(pid);
        else
            assert_int_equal(read(told[0], &byte, 1), 1);
        assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 0), 0);
        assert_int_equal(fcntl_of(b, F_SETLK, F_UNLCK, 0, 0), 0);
        /* Opened after the child was started: otherwise the child would keep the file and its lock.
         */
        c = open_on(0, "f", O_RDWR);
        assert_int_equal(fcntl_of(c, F_OFD_SETLK, F_WRLCK, 0, 0), 0);
        assert_int_equal(write(go[1], "xx", 2), 2);
        assert_int_equal(exit_of(pid), 0);
        close(b);
        close(c);
        for (int i = 0; i < 2; i++) {
            close(go[i]);
            close(told[i]);
        }
    }
}

static void ofd_locks_go_with_their_handle(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(0, "f", O_RDWR), c = open_on(1, "f", O_RDWR);

    (void)state;
    assert_int_equal(fcntl_of(a, F_OFD_SETLK, F_WRLCK, 0, 0), 0);
    assert_int_equal(fcntl_of(b, F_OFD_SETLK, F_WRLCK, 0, 0), EAGAIN); /* also within one process */
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
    close(a);
    assert_int_equal(fcntl_of(b, F_OFD_SETLK, F_WRLCK, 0, 0), 0);
    assert_int_equal(fcntl_of(c, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    close(b);
    assert_int_equal(fcntl_of(c, F_OFD_SETLKW, F_RDLCK, 5, 1), 0);
    close(c);
}

static int second_of_two(void *arg)
{
    int fd = open_on(1, "f", O_RDWR);

    (void)arg;
    if (fcntl_of(fd, F_SETLK, F_WRLCK, 1, 1) != 0)
        return 100;
    return fcntl_of(fd, F_SETLKW, F_WRLCK, 0, 1);
}

static void closing_a_cycle_fails(void **state)
{
    int a = open_on(0, "f", O_RDWR);
    pid_t pid;

    (void)state;
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 1), 0);
    pid = child(second_of_two, NULL);
    assert_true(become("waiting", 1));
    assert_int_equal(fcntl_of(a, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    assert_int_equal(fcntl_of(a, F_SETLK, F_UNLCK, 0, 1), 0);
    assert_int_equal(exit_of(pid), 0);
    close(a);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void waiters_are_served_in_order(void **state)
{
    struct job job = {1, "f", LOCK_EX, 0, 0, 0};
    int a = open_on(0, "f", O_RDWR);
    pid_t first, second;

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    first = waiter(&job, 1);
    job.mount = 0;
    second = waiter(&job, 2);
    assert_int_equal(flock_of(a, LOCK_UN), 0);
    assert_int_equal(exit_of(first), 0);
    assert_int_equal(exit_of(second), 0);
    close(a);
}

static void a_signal_ends_the_wait(void **state)
{
    struct job jobs[] = {{1, "f", LOCK_EX, 0, 0, 0}, {1, "f", 0, F_WRLCK, 0, 0}};
    int a = open_on(0, "f", O_RDWR);

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        pid_t pid = waiter(&jobs[i], 1);

        kill(pid, SIGUSR1);
        assert_int_equal(exit_of(pid), EINTR);
        assert_true(become("waiting", 0));
        pid = waiter(&jobs[i], 1);
        kill(pid, SIGKILL);
        assert_true(WIFSIGNALED(status_of(pid)));
        assert_true(become("waiting", 0));
    }
    assert_int_equal(rig_ask(&rig, "held"), 2);
    close(a);
}

static void a_restarted_call_keeps_waiting(void **state)
{
    struct job job = {1, "f", LOCK_EX, 0, 0, SA_RESTART};
    int a = open_on(0, "f", O_RDWR);
    pid_t pid;

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    pid = waiter(&job, 1);
    for (int i = 0; i < 5; i++) {
        kill(pid, SIGUSR1);
        usleep(20000);
    }
    assert_true(become("waiting", 1));
    assert_int_equal(flock_of(a, LOCK_UN), 0);
    assert_int_equal(exit_of(pid), 0);
    close(a);
}

static void an_upgrade_waits_for_the_others(void **state)
{
    struct job job = {1, "f", LOCK_SH, 0, 0, 0};
    int a = open_on(0, "f", O_RDWR), b = open_on(0, "f", O_RDWR);
    pid_t pid;

    (void)state;
    assert_int_equal(flock_of(a, LOCK_SH), 0);
    assert_int_equal(flock_of(b, LOCK_SH), 0);
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    assert_int_equal(rig_ask(&rig, "held"), 1); /* as in Linux, the old one is lost */
    assert_int_equal(flock_of(b, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(flock_of(b, LOCK_SH), 0);
    assert_int_equal(flock_of(a, LOCK_SH), 0);
    pid = fork();
    if (pid == 0)
        _exit(flock_of(a, LOCK_EX)); /* of the handle that parent and child share */
    assert_true(become("waiting", 1));
    assert_int_equal(rig_ask(&rig, "held"), 1); /* flock(2) gives up the old lock first */
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    assert_int_equal(exit_of(pid), 0);
    pid = waiter(&job, 1);
    assert_int_equal(flock_of(a, LOCK_SH), 0);
    assert_int_equal(exit_of(pid), 0);
    close(a);
    close(b);
}

/* A handle that lost its flock is bound to no session, and its close has nothing to release. */
static void a_failed_upgrade_leaves_nothing_behind(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);

    (void)state;
    assert_int_equal(flock_of(a, LOCK_SH), 0);
    assert_int_equal(flock_of(b, LOCK_SH), 0);
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    rig_tell(&rig, "renew 0");
    assert_int_equal(pwrite(a, "x", 1, 0), 1);
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), 0);
    close(a);
    close(b);
}

/* Promise 4: the next shared holder sees the content that was written under the exclusive lock. */
static void a_weaker_lock_shows_what_was_written(void **state)
{
    char block[8192], seen[8192];
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);

    (void)state;
    for (int round = 0; round < 4; round++) {
        memset(block, 'a' + round, sizeof(block));
        if (round % 2 == 0)
            assert_int_equal(flock_of(a, LOCK_EX), 0);
        else
            assert_int_equal(fcntl_of(a, F_SETLKW, F_WRLCK, 0, 0), 0);
        assert_int_equal(pwrite(a, block, sizeof(block), 0), sizeof(block));
        if (round % 2 == 0) {
            assert_int_equal(flock_of(a, LOCK_SH), 0);
            assert_int_equal(flock_of(b, LOCK_SH), 0);
        } else {
            assert_int_equal(fcntl_of(a, F_SETLKW, F_RDLCK, 0, 0), 0);
            assert_int_equal(fcntl_of(b, F_OFD_SETLKW, F_RDLCK, 0, 0), 0);
        }
        assert_int_equal(pread(b, seen, sizeof(seen), 0), sizeof(seen));
        assert_memory_equal(seen, block, sizeof(seen));
        assert_int_equal(flock_of(b, LOCK_UN), 0);
        assert_int_equal(fcntl_of(b, F_OFD_SETLK, F_UNLCK, 0, 0), 0);
    }
    close(a);
    close(b);
}

/* A snapshot that is installed may contain the grant. Then no separate message announces it. */
static void grants_in_a_snapshot_are_found(void **state)
{
    struct job job = {1, "f", LOCK_EX, 0, 0, 0};
    int a = open_on(0, "f", O_RDWR);
    pid_t pid;

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    pid = waiter(&job, 1);
    rig_tell(&rig, "replaced"); /* the request still waits */
    assert_int_equal(rig_ask(&rig, "waiting"), 1);
    rig_tell(&rig, "deaf 1");
    assert_int_equal(flock_of(a, LOCK_UN), 0);
    assert_int_equal(rig_ask(&rig, "waiting"), 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
    rig_tell(&rig, "hear 1");
    rig_tell(&rig, "replaced");
    assert_int_equal(exit_of(pid), 0);
    close(a);
}

/* ---- Trouble --------------------------------------------------------------------------------- */

static void failures_without_a_quorum_leave_no_lock(void **state)
{
    struct job job = {1, "f", LOCK_EX, 0, 0, 0};
    int a = open_on(0, "f", O_RDWR), b = open_on(0, "g", O_RDWR);
    pid_t pid;

    (void)state;
    rig_sync(&rig, 0);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    rig_tell(&rig, "stall");
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), ETIMEDOUT);
    assert_int_equal(fcntl_of(a, F_SETLK, F_WRLCK, 0, 5), ETIMEDOUT);
    assert_int_equal(flock_of(b, LOCK_UN), ETIMEDOUT);
    pid = child(do_job, &job); /* waits without a deadline */
    assert_true(rig_wait_pending(&rig, 1));
    usleep(100000);
    assert_int_equal(exit_of_interrupted(pid), EINTR);
    rig_tell(&rig, "resume");
    assert_true(become("pending", 0));
    assert_true(become("held", 0)); /* also b's lock: its release was retried */
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), 0);
    close(a);
    close(b);
}

static void an_uncertain_lock_is_given_back(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);

    (void)state;
    rig_tell(&rig, "fail 1 110"); /* ETIMEDOUT */
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), ETIMEDOUT);
    assert_int_equal(flock_of(b, LOCK_EX | LOCK_NB), 0);
    rig_tell(&rig, "fail 2 110"); /* releases are retried */
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    assert_int_equal(rig_ask(&rig, "held"), 0);
    rig_tell(&rig, "delay 400"); /* longer than the mount's deadline, but the command is applied */
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), ETIMEDOUT);
    rig_tell(&rig, "delay 0");
    assert_true(become("pending", 0));
    assert_true(become("held", 0));
    /* A failed change of a lock leaves the old lock in place. */
    assert_int_equal(flock_of(a, LOCK_SH | LOCK_NB), 0);
    rig_tell(&rig, "fail 1 110");
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), ETIMEDOUT);
    assert_int_equal(rig_ask(&rig, "held"), 1);
    close(a);
    close(b);
}

/* ---- Freshness ------------------------------------------------------------------------------- */

static void blocks(char *out, size_t len, char byte)
{
    memset(out, byte, len);
}

/* Whole blocks are acknowledged before they are committed. The unlock commits them first, also
 * those of other files. */
static void the_next_holder_sees_earlier_writes(void **state)
{
    static const char *const how[] = {"flock", "close", "posix", "posix close"};
    char data[8192], seen[8192];

    (void)state;
    for (size_t i = 0; i < 4 * ARRAY_LEN(how); i++) {
        int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);
        int other = open_on(0, "other", O_WRONLY);
        bool posix = i % 4 >= 2;

        blocks(data, sizeof(data), (char)('a' + i));
        assert_int_equal(rig_get(rig_path(&rig, 1, "other"), seen, sizeof(seen)) >= 0, 1);
        assert_int_equal(posix ? fcntl_of(a, F_SETLKW, F_WRLCK, 0, 0) : flock_of(a, LOCK_EX), 0);
        assert_int_equal(pwrite(a, data, sizeof(data), 0), sizeof(data));
        assert_int_equal(pwrite(other, data, sizeof(data), 0), sizeof(data));
        if (i % 4 == 0)
            assert_int_equal(flock_of(a, LOCK_UN), 0);
        else if (i % 4 == 2)
            assert_int_equal(fcntl_of(a, F_SETLK, F_UNLCK, 0, 0), 0);
        else
            close(a);
        assert_int_equal(posix ? fcntl_of(b, F_SETLKW, F_WRLCK, 0, 0) : flock_of(b, LOCK_EX), 0);
        assert_int_equal(pread(b, seen, sizeof(seen), 0), sizeof(seen));
        assert_memory_equal(seen, data, sizeof(data));
        assert_int_equal(rig_get(rig_path(&rig, 1, "other"), seen, sizeof(seen)), sizeof(seen));
        assert_memory_equal(seen, data, sizeof(data));
        if (i % 4 == 0 || i % 4 == 2)
            close(a);
        close(b);
        close(other);
    }
}

/* ---- Lost locks ------------------------------------------------------------------------------ */

static void assert_lost(int fd)
{
    char data[4096] = "";
    struct flock found;

    assert_int_equal(pwrite(fd, data, sizeof(data), 0), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(pread(fd, data, 10, 0), -1);
    assert_int_equal(errno, EIO);
    assert_int_equal(fsync(fd) < 0 ? errno : 0, EIO);
    assert_int_equal(ftruncate(fd, 3) < 0 ? errno : 0, EIO);
    assert_int_equal(flock_of(fd, LOCK_EX | LOCK_NB), EIO);
    assert_int_equal(fcntl_of(fd, F_SETLK, F_UNLCK, 0, 0), EIO);
    assert_int_equal(getlk(fd, F_WRLCK, 0, 0, &found), 0);
    assert_int_equal(close(fd) < 0 ? errno : 0, EIO);
}

static void a_lost_session_loses_its_locks(void **state)
{
    int a = open_on(0, "f", O_RDWR), p = open_on(0, "p", O_RDWR), o = open_on(0, "o", O_RDWR);
    int had = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);
    char data[4096];

    (void)state;
    assert_int_equal(flock_of(had, LOCK_EX), 0);
    assert_int_equal(flock_of(had, LOCK_UN), 0);
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    assert_int_equal(fcntl_of(p, F_SETLK, F_RDLCK, 3, 1), 0);
    assert_int_equal(fcntl_of(o, F_OFD_SETLK, F_WRLCK, 3, 1), 0);
    blocks(data, sizeof(data), 'x');
    assert_int_equal(pwrite(had, data, 5, 0), 5);
    rig_tell(&rig, "renew 0");
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    rig_sync(&rig, 0);
    assert_int_equal(pwrite(had, data, 5, 5),
                     5); /* the handle holds no lock, so it loses nothing */
    assert_lost(a);
    assert_lost(p);
    assert_lost(o);
    a = open_on(0, "f", O_RDWR);
    assert_int_equal(flock_of(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    close(b);
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    assert_int_equal(pwrite(a, data, sizeof(data), 0), sizeof(data));
    close(a);
    close(had);
}

static void an_expired_lease_loses_its_locks(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(0, "g", O_RDWR), c = open_on(1, "f", O_RDWR);

    (void)state;
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    rig_tell(&rig, "lapse 0");
    assert_lost(a); /* its locks in the state machine are released too */
    rig_tell(&rig, "lease 0");
    assert_int_equal(flock_of(c, LOCK_EX), 0);
    assert_lost(b);
    close(c);
}

/* A write under a lock is committed while the lock is held, or never. */
static void writes_do_not_outlive_the_lock(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR), c = open_on(0, "g", O_RDWR);
    char data[8192], seen[8192];
    pid_t pid;

    (void)state;
    rig_sync(&rig, 0);
    blocks(data, sizeof(data), 'o');
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    rig_tell(&rig, "stall");
    rig_tell(&rig, "renew 0");
    pid = fork();
    if (pid == 0) /* waits for its commit, which is ordered after the end of the session */
        _exit(pwrite(a, data, 10, 0) < 0 ? errno : 0);
    assert_true(rig_wait_pending(&rig, 2));
    rig_tell(&rig, "resume");
    assert_int_equal(pwrite(c, "x", 1, 0), 1); /* holds no lock: continues in the next session */
    assert_int_equal(exit_of(pid), EIO);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    assert_int_equal(pread(b, seen, sizeof(seen), 0), 0);
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    close(a);
    close(b);
    close(c);
}

/* An acknowledged write under the lock is dropped, and close reports it. (On a slow machine it may
 * be committed in time; then the test tries again.) */
static void acknowledged_writes_are_dropped_with_the_lock(void **state)
{
    char data[4096], seen[4096];
    bool dropped = false;

    (void)state;
    blocks(data, sizeof(data), 'o');
    for (int i = 0; i < 20 && !dropped; i++) {
        int a = open_on(0, "f", O_RDWR | O_TRUNC), b = open_on(1, "f", O_RDWR);
        unsigned long n;

        assert_int_equal(flock_of(a, LOCK_EX), 0);
        n = rig_ask(&rig, "applied");
        assert_int_equal(pwrite(a, data, sizeof(data), 0), sizeof(data));
        rig_tell(&rig, "renew 0");
        assert_int_equal(flock_of(b, LOCK_EX), 0);
        dropped = rig_ask(&rig, "applied") == n + 1;
        if (dropped) {
            rig_sync(&rig, 1);
            assert_int_equal(pread(b, seen, sizeof(seen), 0), 0);
            assert_int_equal(close(a) < 0 ? errno : 0, EIO);
            rig_sync(&rig, 0);
            assert_int_equal(rig_get(rig_path(&rig, 0, "f"), seen, sizeof(seen)), 0);
        } else {
            close(a);
        }
        close(b);
    }
    assert_true(dropped);
}

static void waiters_retry_in_the_next_session(void **state)
{
    struct job job = {0, "f", LOCK_EX, 0, 0, 0}, range = {0, "f", 0, F_WRLCK, 0, 0};
    int b = open_on(1, "f", O_RDWR);
    pid_t first, second;

    (void)state;
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 0), 0);
    first = waiter(&job, 1);
    second = waiter(&range, 2);
    rig_tell(&rig, "renew 0");
    rig_sync(&rig, 0);
    assert_true(become("waiting", 2));
    assert_int_equal(flock_of(b, LOCK_UN), 0);
    assert_int_equal(exit_of(first), 0);
    rig_tell(&rig, "renew 0");
    assert_int_equal(fcntl_of(b, F_SETLK, F_UNLCK, 0, 0), 0);
    assert_int_equal(exit_of(second), 0);
    close(b);
}

/* A grant that arrives after the lease has expired does not count: another host may get the lock
 * soon. */
static void a_doubtful_grant_is_requested_again(void **state)
{
    struct job job = {0, "f", LOCK_EX, 0, 0, 0}, range = {0, "f", 0, F_WRLCK, 0, 0};
    unsigned long n;
    pid_t first, second;

    (void)state;
    close(open_on(0, "f", O_RDWR));
    n = rig_ask(&rig, "applied");
    rig_tell(&rig, "lapse 0");
    first = child(do_job, &job);
    second = child(do_job, &range);
    assert_true(become("applied", n + 4)); /* each lock was taken and given back */
    assert_int_equal(rig_ask(&rig, "held"), 0);
    assert_int_equal(waitpid(first, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(second, NULL, WNOHANG), 0);
    rig_tell(&rig, "lease 0");
    assert_int_equal(exit_of(first), 0);
    assert_int_equal(exit_of(second), 0);
}

static int hold_and_pause(void *arg)
{
    int fd = open_on(0, "f", O_RDWR), err = flock_of(fd, LOCK_EX);

    if (err != 0 || write(*(int *)arg, "x", 1) != 1)
        return 1;
    pause();
    return 2;
}

static int only_pause(void *arg)
{
    int fd = open_on(0, "g", O_RDWR);

    if (fd < 0 || write(*(int *)arg, "x", 1) != 1)
        return 1;
    pause();
    return 2;
}

static void lostlock_signals_the_holder(void **state)
{
    int ready[2];
    pid_t holder, other;
    char byte;

    (void)state;
    rig_start_lostlock(&rig, 2, FS_LOSTLOCK_TERM);
    assert_int_equal(pipe(ready), 0);
    holder = child(hold_and_pause, &ready[1]);
    other = child(only_pause, &ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    rig_tell(&rig, "renew 0");
    assert_int_equal(WTERMSIG(status_of(holder)), SIGTERM);
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
    kill(other, SIGKILL);
    status_of(other);
    close(ready[0]);
    close(ready[1]);
    tear_down(NULL);
}

/* ---- Other things that belong to handles and sessions ---------------------------------------- */

static uint64_t fence_of(unsigned mount, const char *name)
{
    char text[32] = "";

    if (getxattr(rig_path(&rig, mount, "%s", name), "user.coordfs.fence", text, 31) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

static void tokens_grow(void **state)
{
    int a = open_on(0, "f", O_RDWR), b = open_on(1, "f", O_RDWR);
    uint64_t first, second;

    (void)state;
    assert_int_equal(fence_of(0, "f"), 0);
    assert_int_equal(errno, ENODATA);
    assert_int_equal(flock_of(a, LOCK_EX), 0);
    first = fence_of(0, "f");
    assert_true(first > 0);
    assert_int_equal(fence_of(1, "f"), 0); /* the other host holds no lock */
    assert_int_equal(flock_of(a, LOCK_UN), 0);
    assert_int_equal(fence_of(0, "f"), 0);
    assert_int_equal(flock_of(b, LOCK_EX), 0);
    second = fence_of(1, "f");
    assert_true(second > first);
    assert_int_equal(fcntl_of(b, F_SETLK, F_WRLCK, 0, 1), 0);
    assert_true(fence_of(1, "f") > second); /* the latest */
    close(a);
    close(b);
}

static bool is_gone(unsigned mount, const char *name)
{
    struct stat st;

    for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
        rig_sync(&rig, mount);
        if (stat(rig_path(&rig, mount, "%s", name), &st) < 0 && errno == ENOENT)
            return true;
        usleep(5000);
    }
    return false;
}

/* An entry with ephemeral=open lives as long as a process of its host has it open. */
static void the_last_close_removes_an_entry_kept_open(void **state)
{
    struct coordfs_ioc_create create = {
        .name = "e", .mode = S_IFREG | 0644, .flags = COORDFS_IOC_CREATE_EPHEMERAL_OPEN};
    int dir = open(rig.mnt[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    int a, b, other;

    (void)state;
    assert_int_equal(ioctl(dir, COORDFS_IOC_CREATE, &create), 0);
    close(dir);
    a = open_on(0, "e", O_RDWR);
    b = open_on(0, "e", O_RDONLY);
    other = open_on(1, "e", O_RDONLY);
    close(a);
    close(other);
    rig_sync(&rig, 0);
    assert_int_equal(stat(rig_path(&rig, 0, "e"), &st), 0);
    assert_int_equal(stat(rig_path(&rig, 1, "e"), &st), 0);
    close(b);
    assert_true(is_gone(0, "e"));
    assert_true(is_gone(1, "e"));
}

/* ---- Races ----------------------------------------------------------------------------------- */

enum { ROUNDS = 40, WORKERS = 4 };

struct counter {
    unsigned mount;
    int kind; /* 0: flock; 1: POSIX; 2: OFD */
    bool nervous;
};

static int acquire(int fd, int kind)
{
    if (kind == 0)
        return flock_of(fd, LOCK_EX);
    return fcntl_of(fd, kind == 1 ? F_SETLKW : F_OFD_SETLKW, F_WRLCK, 0, 0);
}

static int release(int fd, int kind)
{
    if (kind == 0)
        return flock_of(fd, LOCK_UN);
    return fcntl_of(fd, kind == 1 ? F_SETLK : F_OFD_SETLK, F_UNLCK, 0, 0);
}

/* Adds one to the number in the file. */
static int increment(const struct counter *c)
{
    char text[32] = "";
    const char *path = rig_path(&rig, c->mount, "count");
    ssize_t n = rig_get(path, text, sizeof(text) - 1);

    if (n < 0)
        return (int)-n;
    snprintf(text, sizeof(text), "%lu\n", strtoul(text, NULL, 10) + 1);
    return -rig_put(path, text, strlen(text));
}

static int count(void *arg)
{
    const struct counter *c = arg;
    int fd = open_on(c->mount, "lock", O_RDWR), err = 0;

    catch_signal(c->nervous ? 0 : SA_RESTART);
    for (int i = 0; i < ROUNDS && err == 0; i++) {
        while ((err = acquire(fd, c->kind)) == EINTR)
            continue;
        if (err == 0)
            err = increment(c);
        if (err == 0 && i % 3 == 2) { /* sometimes by closing */
            close(fd);
            fd = open_on(c->mount, "lock", O_RDWR);
        } else if (err == 0) {
            while ((err = release(fd, c->kind)) == EINTR)
                continue;
        }
    }
    return err;
}

/* The sums are exact although signals arrive all the time, so grants and interrupts come in all
 * orders. */
static void counters_are_exact(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct counter counters[WORKERS];
        pid_t pids[WORKERS], sniper;
        char text[32] = "";

        assert_int_equal(rig_put(rig_path(&rig, 0, "count"), "0\n", 2), 0);
        for (int i = 0; i < WORKERS; i++) {
            counters[i] = (struct counter){(unsigned)i % 2, kind, i >= WORKERS / 2};
            pids[i] = child(count, &counters[i]);
        }
        sniper = fork();
        if (sniper == 0) {
            catch_signal(0);
            for (;;)
                for (int i = WORKERS / 2; i < WORKERS; i++) {
                    usleep(3000);
                    kill(pids[i], SIGUSR1);
                }
        }
        for (int i = 0; i < WORKERS; i++)
            await_exit(pids[i]); /* the pid is not reused: the sniper still sends signals to it */
        kill(sniper, SIGKILL);
        status_of(sniper);
        for (int i = 0; i < WORKERS; i++)
            assert_int_equal(exit_of(pids[i]), 0);
        rig_sync(&rig, 1);
        assert_true(rig_get(rig_path(&rig, 1, "count"), text, sizeof(text) - 1) > 0);
        assert_int_equal(strtoul(text, NULL, 10), ROUNDS * WORKERS);
        assert_true(become("held", 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(flock_excludes_the_other_host),
        TEST(a_lock_costs_one_change_and_its_release_another),
        TEST(a_killed_holder_frees_its_locks),
        TEST(a_fork_inherits_the_lock),
        TEST(a_closed_lock_is_free),
        TEST(ranges_exclude_the_other_host),
        TEST(ranges_split),
        TEST(any_close_drops_the_process_s_ranges),
        TEST(ranges_end_with_their_process_or_a_close),
        TEST(ofd_locks_go_with_their_handle),
        TEST(closing_a_cycle_fails),
        TEST(waiters_are_served_in_order),
        TEST(a_signal_ends_the_wait),
        TEST(a_restarted_call_keeps_waiting),
        TEST(an_upgrade_waits_for_the_others),
        TEST(a_failed_upgrade_leaves_nothing_behind),
        TEST(a_weaker_lock_shows_what_was_written),
        TEST(grants_in_a_snapshot_are_found),
        cmocka_unit_test_setup_teardown(failures_without_a_quorum_leave_no_lock, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_uncertain_lock_is_given_back, set_up_impatient,
                                        tear_down),
        TEST(the_next_holder_sees_earlier_writes),
        TEST(a_lost_session_loses_its_locks),
        TEST(an_expired_lease_loses_its_locks),
        TEST(writes_do_not_outlive_the_lock),
        TEST(acknowledged_writes_are_dropped_with_the_lock),
        TEST(waiters_retry_in_the_next_session),
        TEST(a_doubtful_grant_is_requested_again),
        cmocka_unit_test(lostlock_signals_the_holder),
        TEST(tokens_grow),
        TEST(the_last_close_removes_an_entry_kept_open),
        TEST(counters_are_exact),
#undef TEST
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
