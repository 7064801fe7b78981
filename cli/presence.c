/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "cli/transact.h"
#include "proto/ioctl.h"

/* O_RDWR if permitted, also for a shared lock: the command may write through the descriptor. */
static int open_lock(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    struct path_mount mounted;
    struct stat st;

    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EISDIR))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (!path_find_mount(fd, &mounted)) {
        close(fd);
        return -ENOTTY;
    }
    path_mount_fini(&mounted);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd); /* Linux keeps locks of directories local to this host */
    return -EINVAL;
}

const char *presence_error(int err)
{
    return err == -ENOTTY        ? explain_text(EXPLAIN_NOT_COORDFS)
           : err == -EINVAL      ? explain_text(EXPLAIN_LOCK_DIRECTORY)
           : err == -EWOULDBLOCK ? explain_text(EXPLAIN_LOCK_TAKEN)
                                 : explain_errno(-err);
}

/* ---- Waiting ----------------------------------------------------------------------------------*/

static void on_alarm(int sig)
{
    (void)sig;
}

/* Repeats the signal after the time is over: the first one may come before flock(2) sleeps. */
static void set_alarm(int64_t ms)
{
    struct sigaction action = {.sa_handler = on_alarm};
    struct itimerval timer = {.it_value = {ms / 1000, ms % 1000 * 1000}};

    if (ms > 0)
        timer.it_interval.tv_usec = 100000;
    sigaction(SIGALRM, &action, NULL); /* no SA_RESTART */
    setitimer(ITIMER_REAL, &timer, NULL);
}

static int lock_in_time(int fd, bool shared, int64_t wait_ms)
{
    int op = (shared ? LOCK_SH : LOCK_EX) | (wait_ms == 0 ? LOCK_NB : 0);
    uint64_t end = clock_boot_ms() + (uint64_t)wait_ms;
    int err;

    if (wait_ms > 0)
        set_alarm(wait_ms);
    do {
        err = flock(fd, op) == 0 ? 0 : -errno;
    } while (err == -EINTR && (wait_ms < 0 || clock_boot_ms() < end));
    if (wait_ms > 0)
        set_alarm(0);
    return err == -EINTR ? -EWOULDBLOCK : err;
}

/* True if the path still names the file that we have locked. */
static bool is_current(int fd, const char *path)
{
    struct stat ours, named;

    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev &&
           ours.st_ino == named.st_ino;
}

int presence_take(struct presence *p, const char *path, bool shared, int64_t wait_ms)
{
    uint64_t end = clock_boot_ms() + (uint64_t)wait_ms;
    int fd, err;

    for (;;) {
        fd = open_lock(path);
        if (fd < 0)
            return fd;
        err = lock_in_time(fd, shared, wait_ms);
        if (err == 0 && is_current(fd, path))
            break;
        close(fd);
        if (err != 0)
            return err;
        if (wait_ms > 0)
            wait_ms = clock_boot_ms() < end ? (int64_t)(end - clock_boot_ms()) : 0;
    }
    *p = (struct presence){fd, xstrdup(path), path_xattr(fd, "fence"), presence_session(fd)};
    return 0;
}

void presence_release(struct presence *p)
{
    flock(p->fd, LOCK_UN); /* a process that the command left behind may have the file open */
    close(p->fd);
    free(p->path);
    free(p->fence);
    *p = (struct presence){.fd = -1};
}

/* ---- Holding ----------------------------------------------------------------------------------*/

uint64_t presence_session(int fd)
{
    uint64_t session;

    return ioctl(fd, COORDFS_IOC_LEASE, &session) == 0 ? session : 0;
}

uint64_t presence_until(void *arg)
{
    const struct presence *p = arg;
    uint64_t asked_ms = clock_boot_ms();

    return p->session != 0 && presence_session(p->fd) == p->session
               ? asked_ms + PRESENCE_PATIENCE_MS
               : 0;
}

int presence_write(const struct presence *p, const void *data, size_t len)
{
    Cfs__Txn *txn = transact_new();
    Cfs__Reply *reply;
    char *name;
    int dir = path_open_parent(p->path, false, &name), err;

    if (dir < 0)
        return -EIO;
    transact_check(txn, name, CFS__TXN_CHECK__KIND__LOCKED, 0);
    transact_put(txn, name, data, len);
    reply = transact_run(dir, txn);
    err = reply == NULL ? -errno : -(int)reply->status;
    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
    cfs__txn__free_unpacked(txn, NULL);
    free(name);
    close(dir);
    return err;
}

void presence_export(const struct presence *p)
{
    setenv("COORDFS_LOCK", p->path, 1);
    if (p->fence != NULL)
        setenv("COORDFS_FENCE", p->fence, 1);
    else
        unsetenv("COORDFS_FENCE");
}
