/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fs_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/ioctl.h"
#include "tests/lib/local_serve.h"

#define PATIENCE_MS 60000 /* no test depends on it: it turns a hang into a failure */

const char *rig_missing(void)
{
    if (geteuid() != 0)
        return "mounting needs root";
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return "no /dev/fuse";
    return NULL;
}

void rig_require(void)
{
    const char *why = rig_missing();

    if (why == NULL)
        return;
    printf("%s: %s\n", geteuid() == 0 ? "SKIP-MACHINE" : "SKIP", why);
    exit(77);
}

static void serve(const struct rig *rig, unsigned timeout_ms, int in_fd, int out_fd)
{
    const char *mountpoints[RIG_MOUNTS_MAX];
    char store[80];
    struct local_serve_options options = {.dir = store, .mountpoints = mountpoints, .n = rig->n};

    options.timeout_ms = timeout_ms;
    options.last_uncached = rig->last_uncached;
    options.strong = rig->strong;
    options.lostlock = rig->lostlock;
    options.deny_ms = rig->deny_ms;
    options.writeback_ms = rig->writeback_ms;
    options.mirror = rig->mirror;
    options.mirror_program = rig->mirror_program[0] == '\0' ? NULL : rig->mirror_program;
    options.mirror_ms = rig->mirror_ms;
    options.lane_max = rig->lane_max;
    snprintf(store, sizeof(store), "%s/store", rig->dir);
    for (unsigned i = 0; i < rig->n; i++)
        mountpoints[i] = rig->mnt[i];
    exit(local_serve(&options, in_fd, fdopen(out_fd, "w")));
}

/* The child ends when the test does, because its input then ends. */
static void start(struct rig *rig, unsigned timeout_ms)
{
    int to[2], from[2];
    char line[32] = "";

    fflush(NULL);
    check(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    rig->pid = fork();
    check(rig->pid >= 0);
    if (rig->pid == 0) {
        close(to[1]);
        close(from[0]);
        serve(rig, timeout_ms, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    rig->to = fdopen(to[1], "w");
    rig->from = fdopen(from[0], "r");
    if (fgets(line, sizeof(line), rig->from) == NULL || strcmp(line, "ready\n") != 0)
        die("no mounts");
}

static void make_dirs(struct rig *rig, unsigned n)
{
    char store[80];
    const char *tmp = getenv("TMPDIR");

    check(n <= RIG_MOUNTS_MAX);
    memset(rig, 0, sizeof(*rig));
    rig->n = n;
    if (tmp == NULL || strlen(tmp) > 40)
        tmp = "/tmp";
    snprintf(rig->dir, sizeof(rig->dir), "%s/fs-XXXXXX", tmp);
    check(mkdtemp(rig->dir) != NULL);
    check(chmod(rig->dir, 0755) == 0); /* other users need access */
    snprintf(store, sizeof(store), "%s/store", rig->dir);
    check(mkdir(store, 0700) == 0);
    for (unsigned i = 0; i < n; i++) {
        snprintf(rig->mnt[i], sizeof(rig->mnt[i]), "%s/mnt%u", rig->dir, i);
        check(mkdir(rig->mnt[i], 0755) == 0);
    }
}

void rig_start(struct rig *rig, unsigned n, unsigned timeout_ms)
{
    make_dirs(rig, n);
    start(rig, timeout_ms);
}

void rig_start_uncached(struct rig *rig)
{
    make_dirs(rig, 3);
    rig->last_uncached = true;
    start(rig, 0);
}

void rig_start_strong(struct rig *rig, unsigned timeout_ms)
{
    make_dirs(rig, 2);
    rig->strong = true;
    start(rig, timeout_ms);
}

void rig_start_strong_three(struct rig *rig)
{
    make_dirs(rig, 3);
    rig->strong = true;
    start(rig, 0);
}

void rig_start_lostlock(struct rig *rig, unsigned n, enum fs_lostlock lostlock)
{
    make_dirs(rig, n);
    rig->lostlock = lostlock;
    start(rig, 0);
}

void rig_start_deadline(struct rig *rig, unsigned timeout_ms)
{
    make_dirs(rig, 2);
    rig->writeback_ms = 3600000;
    start(rig, timeout_ms);
}

void rig_start_patient(struct rig *rig)
{
    rig_start_deadline(rig, 60000);
}

void rig_start_deny(struct rig *rig, unsigned deny_ms)
{
    make_dirs(rig, 2);
    rig->deny_ms = deny_ms;
    start(rig, 0);
}

void rig_start_mirror(struct rig *rig, unsigned mirror_ms, unsigned lane_max, const char *script)
{
    FILE *file;

    make_dirs(rig, 2);
    rig->mirror = true;
    rig->mirror_ms = mirror_ms;
    rig->lane_max = lane_max;
    if (script != NULL) {
        snprintf(rig->mirror_program, sizeof(rig->mirror_program), "%s/mirror", rig->dir);
        file = fopen(rig->mirror_program, "we");
        check(file != NULL && fprintf(file, "#!/bin/sh\n%s\n", script) > 0);
        check(fchmod(fileno(file), 0700) == 0 && fclose(file) == 0);
    }
    start(rig, 60000);
}

void rig_restart(struct rig *rig, unsigned timeout_ms)
{
    start(rig, timeout_ms);
}

static void forget_child(struct rig *rig)
{
    fclose(rig->to);
    fclose(rig->from);
    rig->to = rig->from = NULL;
    rig->pid = 0;
}

static void remove_dir(const struct rig *rig)
{
    pid_t pid = fork();
    int status;

    check(pid >= 0);
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--one-file-system", rig->dir, (char *)NULL);
        _exit(127);
    }
    check(waitpid(pid, &status, 0) == pid && status == 0);
}

void rig_clean(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++)
        umount2(rig->mnt[i], MNT_FORCE | MNT_DETACH);
    remove_dir(rig);
}

/* Returns the child's exit status. Kills the child if it does not end. */
static int wait_child(const struct rig *rig)
{
    int status = 0;

    for (unsigned ms = 0; ms < PATIENCE_MS; ms += 10) {
        if (waitpid(rig->pid, &status, WNOHANG) == rig->pid)
            return status;
        usleep(10000);
    }
    fprintf(stderr, "the serving process does not end\n");
    kill(rig->pid, SIGKILL);
    waitpid(rig->pid, &status, 0);
    return -1;
}

void rig_stop(struct rig *rig)
{
    const char *wrong = rig_tell(rig, "check");
    int status;

    if (strcmp(wrong, "ok") != 0)
        die("the store: %s", wrong);
    rig_tell(rig, "stop");
    status = wait_child(rig);
    forget_child(rig);
    rig_clean(rig);
    if (status != 0)
        die("the serving process ended with status %#x", (unsigned)status);
}

void rig_kill(struct rig *rig)
{
    check(kill(rig->pid, SIGKILL) == 0);
    for (unsigned ms = 0; waitpid(rig->pid, NULL, WNOHANG) != rig->pid; ms += 10) {
        if (ms > PATIENCE_MS) {
            rig_clean(rig);
            die("the serving process does not die");
        }
        usleep(10000);
    }
    forget_child(rig);
}

const char *rig_tell(struct rig *rig, const char *command)
{
    static char line[300];
    struct pollfd fd = {.fd = fileno(rig->from), .events = POLLIN};

    fprintf(rig->to, "%s\n", command);
    fflush(rig->to);
    if (poll(&fd, 1, PATIENCE_MS) <= 0 || fgets(line, sizeof(line), rig->from) == NULL)
        die("no answer to \"%s\"", command);
    line[strcspn(line, "\n")] = '\0';
    return line;
}

unsigned long rig_ask(struct rig *rig, const char *command)
{
    return strtoul(rig_tell(rig, command), NULL, 10);
}

bool rig_wait_pending(struct rig *rig, unsigned n)
{
    for (unsigned ms = 0; ms < PATIENCE_MS; ms += 5) {
        if (rig_ask(rig, "pending") >= n)
            return true;
        usleep(5000);
    }
    return false;
}

bool rig_can_forget_all(void)
{
    struct utsname kernel;
    int major, minor;

    check(uname(&kernel) == 0);
    check(sscanf(kernel.release, "%d.%d", &major, &minor) == 2);
    return major > 6 || (major == 6 && minor >= 16);
}

void rig_sync(struct rig *rig, unsigned i)
{
    int fd = open(rig->mnt[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    check(fd >= 0 && ioctl(fd, COORDFS_IOC_SYNC) == 0);
    close(fd);
}

const char *rig_path(struct rig *rig, unsigned i, const char *fmt, ...)
{
    static char paths[8][4096];
    static unsigned next;
    char *out = paths[next++ % ARRAY_LEN(paths)];
    va_list args;
    int n = snprintf(out, sizeof(paths[0]), "%s/", rig->mnt[i]);

    va_start(args, fmt);
    vsnprintf(out + n, sizeof(paths[0]) - (size_t)n, fmt, args);
    va_end(args);
    return out;
}

int rig_put(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n;
    int err = 0;

    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < len && err == 0; done += (size_t)n) {
        n = write(fd, (const char *)data + done, len - done);
        if (n <= 0)
            err = n == 0 ? -EIO : -errno;
    }
    if (close(fd) != 0 && err == 0)
        err = -errno;
    return err;
}

ssize_t rig_get(const char *path, void *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 0;

    if (fd < 0)
        return -errno;
    while (len < size && (n = read(fd, (char *)out + len, size - len)) > 0)
        len += (size_t)n;
    n = n < 0 ? -errno : (ssize_t)len;
    close(fd);
    return n;
}
