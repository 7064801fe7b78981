/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/lock/lostlock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/kernel/procfd.h"

struct punishment { /* belongs to the thread: it may outlive the mount */
    int signo;
    int mount_id;
    uint64_t *inos;
    size_t n;
};

static void strike(void *arg, int pidfd, pid_t pid, uint64_t ino)
{
    const struct punishment *p = arg;

    if (syscall(SYS_pidfd_send_signal, pidfd, p->signo, NULL, 0) < 0)
        log_warn("process %d: %s", (int)pid, strerror(errno));
    else
        log_warn("sent signal %d to process %d: it has inode %llu open, whose lock was lost",
                 p->signo, (int)pid, (unsigned long long)ino);
}

static void *run(void *arg)
{
    struct punishment *p = arg;

    procfd_find(p->mount_id, p->inos, p->n, strike, p);
    free(p->inos);
    free(p);
    return NULL;
}

void lostlock_punish(enum fs_lostlock how, int mount_id, const uint64_t *inos, size_t n)
{
    struct punishment *p;
    pthread_t thread;

    if (how == FS_LOSTLOCK_NONE)
        return;
    p = xcalloc(1, sizeof(*p));
    p->signo = how == FS_LOSTLOCK_KILL ? SIGKILL : SIGTERM;
    p->mount_id = mount_id;
    p->inos = xcalloc(n, sizeof(*inos));
    p->n = n;
    memcpy(p->inos, inos, n * sizeof(*inos));
    check(pthread_create(&thread, NULL, run, p) == 0);
    check(pthread_detach(thread) == 0);
}
