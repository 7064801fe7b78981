/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/forked.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_child(int out_fd, int (*fn)(void *arg), void *arg)
{
    struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the child must not outlive a test that is killed */
    signal(SIGABRT, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    alarm(FORKED_SECONDS);
    check(dup2(out_fd, STDOUT_FILENO) >= 0 && dup2(out_fd, STDERR_FILENO) >= 0);
    close(out_fd);
    exit(fn(arg));
}

static void read_all(int fd, struct buf *out)
{
    for (;;) {
        ssize_t n;

        buf_reserve(out, 4097);
        n = read(fd, out->data + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    out->data[out->len] = 0;
}

void forked_run(int (*fn)(void *arg), void *arg, struct forked *out)
{
    int fds[2], status;
    pid_t pid;

    fflush(NULL); /* otherwise the child would write our buffered output again */
    check(pipe(fds) == 0);
    pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        close(fds[0]);
        run_child(fds[1], fn, arg);
    }
    close(fds[1]);
    *out = (struct forked){0};
    read_all(fds[0], &out->output);
    close(fds[0]);
    while (waitpid(pid, &status, 0) < 0)
        check(errno == EINTR);
    out->exited = WIFEXITED(status);
    out->code = out->exited ? WEXITSTATUS(status) : WTERMSIG(status);
}

void forked_fini(struct forked *out)
{
    buf_fini(&out->output);
}

bool forked_aborted(const struct forked *out)
{
    return !out->exited && out->code == SIGABRT;
}

bool forked_said(const struct forked *out, const char *text)
{
    return strstr((const char *)out->output.data, text) != NULL;
}
