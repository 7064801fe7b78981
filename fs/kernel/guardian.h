/* SPDX-License-Identifier: Apache-2.0 */
/* The guardian: a small process that aborts the FUSE connection when the daemon dies.
 *
 * Normally the kernel aborts the connection itself: the daemon's last thread closes /dev/fuse. But
 * a thread that tells the kernel to forget a name (fs/cache/lane.h) may wait for a directory's
 * lock, and the kernel may hold that lock for one of our own requests. If the daemon is killed at
 * that moment, no process answers the request. The thread never gets the lock and keeps /dev/fuse
 * open, so the request never ends. Every process that uses the mount hangs, and the next daemon
 * hangs, too. Only an abort of the connection ends this, and a dead process cannot do it.
 *
 * The thread that starts the mount starts the guardian. It must live as long as the mount, because
 * its death is the guardian's signal (PR_SET_PDEATHSIG). die() waits for all threads to write a
 * core, so it aborts the connections itself first. If fusectl is not available (Linux before 5.2,
 * missing capabilities), there is no guardian and the log says so. */
#ifndef FS_KERNEL_GUARDIAN_H
#define FS_KERNEL_GUARDIAN_H

#include <sys/types.h>

#include "base/base.h"

struct guardian {
    pid_t pid;    /* 0: none */
    int abort_fd; /* the file of the connection in fusectl; -1: none */
};

/* device: the minor number of the mount's device, which is the connection's name in fusectl; -1:
 * unknown. */
void guardian_start(struct guardian *g, int device);

/* The mount is about to end in order. Call it on the thread that started the guardian. */
void guardian_stop(struct guardian *g);

#endif
