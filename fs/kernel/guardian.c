/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

#define CONNECTIONS_MAX 8 /* of one process: a test can have several mounts */
#define FILES_MAX       (1 << 16)

/* For die(): file descriptors + 1. */
static atomic_int connections[CONNECTIONS_MAX];

/* Safe in a signal handler and after fork. */
static void abort_connection(int fd)
{
    ssize_t n = write(fd, "1", 1);

    (void)n; /* the guardian has ended by itself */
}

static void abort_all(void)
{
    for (size_t i = 0; i < ARRAY_LEN(connections); i++) {
        int fd = atomic_load(&connections[i]) - 1;

        if (fd >= 0)
            abort_connection(fd);
    }
}

static void replace_connection(int old, int new)
{
    for (size_t i = 0; i < ARRAY_LEN(connections); i++) {
        int expected = old + 1;

        if (atomic_compare_exchange_strong(&connections[i], &expected, new + 1))
            return;
    }
}

/* Opens the file that aborts the connection, in a private mount of fusectl. Returns -errno on
 * failure. */
static int open_abort(int device)
{
    char path[32];
    int context = fsopen("fusectl", FSOPEN_CLOEXEC), mount = -1, fd = -1;

    if (context >= 0 && fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
    snprintf(path, sizeof(path), "%d/abort", device);
    if (mount >= 0)
        fd = openat(mount, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    if (mount >= 0)
        close(mount);
    if (context >= 0)
        close(context);
    return fd;
}

/* Closes every descriptor but fd, which becomes the only one. /dev/fuse is among the closed ones.
 */
static void close_others(int fd)
{
    if (fd != 0 && dup2(fd, 0) < 0)
        _exit(1);
    if (syscall(SYS_close_range, 1, ~0u, 0) != 0)
        for (int i = 1; i < FILES_MAX; i++)
            close(i);
}

BASE_NORETURN static void guard(int fd, pid_t daemon)
{
    sigset_t all;
    int signal_number;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    close_others(fd);
    prctl(PR_SET_NAME, "coordfs-guard");
    if (prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0 && getppid() == daemon) {
        sigemptyset(&all);
        sigaddset(&all, SIGUSR1);
        while (sigwait(&all, &signal_number) != 0)
            continue;
    }
    abort_connection(0);
    _exit(0);
}

void guardian_start(struct guardian *g, int device)
{
    pid_t self = getpid();
    int fd = device < 0 ? -ENODEV : open_abort(device);

    g->pid = 0;
    g->abort_fd = fd;
    if (fd < 0) {
        g->abort_fd = -1;
        log_info("no guardian for the mount: %s", strerror(-fd));
        return;
    }
    replace_connection(-1, fd);
    die_calls(abort_all);
    g->pid = fork();
    if (g->pid == 0)
        guard(fd, self);
    if (g->pid < 0) {
        log_warn("no guardian for the mount: %s", strerror(errno));
        g->pid = 0;
    }
}

void guardian_stop(struct guardian *g)
{
    if (g->pid > 0) {
        kill(g->pid, SIGKILL);
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        g->pid = 0;
    }
    if (g->abort_fd >= 0) {
        replace_connection(g->abort_fd, -1);
        close(g->abort_fd);
        g->abort_fd = -1;
    }
}
