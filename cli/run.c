/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define TICK_MS 100

/* ---- Is it still held? ------------------------------------------------------------------------*/

struct watch {
    const struct run *run;
    atomic_uint_fast64_t until; /* clock_boot_ms; 0: lost */
};

/* Runs until the process ends: its question to the daemon may never be answered. */
static void *watch_thread(void *arg)
{
    struct watch *w = arg;
    uint64_t until;

    do {
        until = w->run->until(w->run->arg);
        atomic_store(&w->until, until);
        usleep(RUN_ASK_MS * 1000);
    } while (until != 0);
    return NULL;
}

static bool is_lost(struct watch *w)
{
    return atomic_load(&w->until) <= clock_boot_ms();
}

/* The thread keeps the memory, because it is never joined. */
static struct watch *watch_start(const struct run *run)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    pthread_t thread;

    w->run = run;
    atomic_init(&w->until, run->until(run->arg));
    if (atomic_load(&w->until) == 0)
        return w;
    check(pthread_create(&thread, NULL, watch_thread, w) == 0);
    pthread_detach(thread);
    return w;
}

/* ---- The child --------------------------------------------------------------------------------*/

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT};

static void signals_of(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < ARRAY_LEN(forwarded); i++)
        sigaddset(set, forwarded[i]);
    sigaddset(set, SIGCHLD);
}

static bool has_terminal(void)
{
    return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* Makes the group the terminal's foreground group. */
static void give_terminal(pid_t group)
{
    sigset_t ttou, before;

    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &before);
    tcsetpgrp(STDIN_FILENO, group);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

/* An error goes through the pipe `failed`, which a successful exec closes. */
BASE_NORETURN static void child(const struct run *run, const sigset_t *mask, bool terminal,
                                int failed)
{
    int error;

    setpgid(0, 0);
    if (terminal)
        give_terminal(getpid());
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* only this process notices a loss */
    if (run->keep_fd >= 0)
        fcntl(run->keep_fd, F_SETFD, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(run->argv[0], run->argv);
    error = errno;
    if (write(failed, &error, sizeof error) < 0)
        _exit(126);
    _exit(error == ENOENT ? 127 : 126);
}

/* The pid; -errno of exec, or of fork. */
static pid_t start_child(const struct run *run, const sigset_t *mask, bool terminal)
{
    int failed[2], error = 0;
    pid_t pid;

    check(pipe2(failed, O_CLOEXEC) == 0);
    pid = fork();
    if (pid == 0)
        child(run, mask, terminal, failed[1]);
    close(failed[1]);
    if (pid < 0)
        pid = -errno;
    else if (read(failed[0], &error, sizeof error) == (ssize_t)sizeof error) {
        waitpid(pid, NULL, 0);
        pid = -error;
    }
    close(failed[0]);
    if (pid > 0)
        setpgid(pid, pid); /* the child does it too: one of both is first */
    return pid;
}

/* ---- Waiting ----------------------------------------------------------------------------------*/

struct wait {
    pid_t pid;
    bool terminal;
    struct watch *watch;
    uint64_t grace_ms;
    uint64_t kill_at; /* clock_boot_ms; 0: no SIGTERM was sent yet */
};

/* The user has stopped the command (^Z): this process stops too, until it is continued. */
static void stop_along(const struct wait *w)
{
    if (w->terminal)
        give_terminal(getpgrp());
    raise(SIGSTOP);
    if (w->terminal)
        give_terminal(w->pid);
    if (!is_lost(w->watch))
        kill(-w->pid, SIGCONT);
}

/* True if the command has ended. */
static bool reap(const struct wait *w, int *status)
{
    pid_t pid;

    while ((pid = waitpid(w->pid, status, WNOHANG | WUNTRACED)) == w->pid) {
        if (!WIFSTOPPED(*status))
            return true;
        if (w->kill_at == 0 && w->terminal)
            stop_along(w);
        else
            return false;
    }
    return pid < 0 && errno == ECHILD;
}

static void stop_if_lost(struct wait *w)
{
    uint64_t now = clock_boot_ms();

    if (w->kill_at == 0 && is_lost(w->watch)) {
        w->kill_at = now + w->grace_ms;
        kill(-w->pid, SIGTERM);
        kill(-w->pid, SIGCONT);
    } else if (w->kill_at != 0 && now >= w->kill_at) {
        kill(-w->pid, SIGKILL);
    }
}

/* The command has ended; the rest of its group gets the same grace. */
static void finish_group(const struct wait *w)
{
    while (kill(-w->pid, 0) == 0 && clock_boot_ms() < w->kill_at)
        usleep(TICK_MS * 1000 / 2);
    kill(-w->pid, SIGKILL);
}

static bool is_end(int signal)
{
    return signal == SIGTERM || signal == SIGINT || signal == SIGHUP || signal == SIGQUIT;
}

static int wait_for(struct wait *w, const sigset_t *signals, struct run_end *end)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    int status = 0, signal;

    while (!reap(w, &status)) {
        signal = sigtimedwait(signals, NULL, &tick);
        if (signal > 0 && signal != SIGCHLD)
            kill(-w->pid, signal);
        end->signalled = end->signalled || is_end(signal);
        stop_if_lost(w);
    }
    end->lost = w->kill_at != 0 || is_lost(w->watch);
    if (w->kill_at != 0)
        finish_group(w);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* After fork: error is of exec, or of fork. A command without a slash is looked for in PATH, which
 * is short under cron. */
static int not_executed(const char *name, int error)
{
    const char *path = getenv("PATH");

    if (error == ENOENT && strchr(name, '/') == NULL)
        return cli_fail(
            127,
            "%s: %s: not found in PATH (%s): give its absolute path, or set PATH (cron: "
            "a line PATH=... in the crontab)",
            name, strerror(error), path != NULL ? path : "not set");
    return cli_fail(error == ENOENT ? 127 : 126, "%s: %s", name, strerror(error));
}

int run_command(const struct run *run, struct run_end *end)
{
    struct wait w = {.terminal = has_terminal(), .grace_ms = run->grace_ms};
    sigset_t signals, before;
    int status;

    *end = (struct run_end){0};
    signals_of(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    w.watch = watch_start(run);
    end->lost = is_lost(w.watch);
    w.pid = end->lost ? -ECANCELED : start_child(run, &before, w.terminal);
    if (w.pid > 0)
        status = wait_for(&w, &signals, end);
    else
        status = end->lost ? CLI_LOST : not_executed(run->argv[0], (int)-w.pid);
    if (w.terminal)
        give_terminal(getpgrp());
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}
