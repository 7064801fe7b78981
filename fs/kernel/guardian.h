/* SPDX-License-Identifier: Apache-2.0 */
/* The guardian: a small process that ends the connection with the kernel when the daemon dies.
 *
 * Normally the kernel does that itself, as /dev/fuse is closed with the daemon's last thread. But a
 * thread that tells the kernel to forget a name (fs/cache/lane.h) may wait in there for a
 * directory's lock, which is held for a request of ours that came in the same moment. If the daemon
 * is killed just then, nobody answers that request any more, so the thread never gets its lock,
 * keeps /dev/fuse open, and the request is never ended: all that use the mount hang, and the next
 * daemon with them. Nothing but aborting the connection ends that, and the dead cannot do it.
 *
 * It is started by the thread that starts the mount, and which must live as long as the mount does;
 * its death is the signal (PR_SET_PDEATHSIG). die(), which waits for all threads to write a core,
 * aborts the connections itself before. Where fusectl cannot be had (Linux before 5.2, missing
 * capabilities) there is no guardian, and the log says so. */
#ifndef FS_KERNEL_GUARDIAN_H
#define FS_KERNEL_GUARDIAN_H

#include <sys/types.h>

#include "base/base.h"

struct guardian {
    pid_t pid;    /* 0: none */
    int abort_fd; /* fusectl's file of the connection; -1: none */
};

/* device: the minor number of the mount's device, as fusectl names connections; -1: not known. */
void guardian_start(struct guardian *g, int device);

/* The mount is about to end in an orderly way. The thread that started it. */
void guardian_stop(struct guardian *g);

#endif
