/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1; /* a byte written here tells the parent */

/* The child has died or is dying: exits with its status. */
BASE_NORETURN static void exit_like(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            _exit(2);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

BASE_NORETURN static void wait_for(pid_t child, int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    exit_like(child);
}

static void to_null(int fd, int flags)
{
    int null = open("/dev/null", flags | O_CLOEXEC);

    check(null >= 0 && dup2(null, fd) == fd);
    close(null);
}

void detach_start(void)
{
    int fds[2];
    pid_t child;

    check(pipe2(fds, O_CLOEXEC) == 0);
    child = fork();
    check(child >= 0);
    if (child > 0) {
        close(fds[1]);
        wait_for(child, fds[0]);
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    check(chdir("/") == 0);
    to_null(STDIN_FILENO, O_RDONLY);
    to_null(STDOUT_FILENO, O_WRONLY);
}

void detach_ready(void)
{
    if (ready_fd < 0)
        return;
    to_null(STDERR_FILENO, O_WRONLY);
    check(write(ready_fd, "", 1) == 1 || errno == EPIPE);
    close(ready_fd);
    ready_fd = -1;
}
