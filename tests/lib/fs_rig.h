/* SPDX-License-Identifier: Apache-2.0 */
/* Real mounts for a test: a child process serves them (tests/lib/local_serve.h), and the test uses
 * them. */
#ifndef TESTS_LIB_FS_RIG_H
#define TESTS_LIB_FS_RIG_H

#include <stdio.h>
#include <sys/types.h>

#include "base/base.h"
#include "fs/fs.h"

#define RIG_MOUNTS_MAX 3

struct rig {
    char dir[64];                 /* a directory for this rig, removed at the end */
    char mnt[RIG_MOUNTS_MAX][80]; /* mount points */
    unsigned n;
    bool last_uncached;
    bool strong;
    enum fs_lostlock lostlock;
    unsigned deny_ms;
    unsigned writeback_ms;
    bool mirror;
    char mirror_program[80]; /* "": the real one */
    unsigned mirror_ms, lane_max;
    pid_t pid; /* of the child */
    FILE *to, *from;
};

/* NULL, or the reason why mounts are impossible here ("no root", "no /dev/fuse"). */
const char *rig_missing(void);
/* For main(): if mounts are impossible, prints "SKIP…: reason" and exits with 77. */
void rig_require(void);

/* Starts a child with n mounts. timeout_ms 0: the default. */
void rig_start(struct rig *rig, unsigned n, unsigned timeout_ms);
/* The same with three mounts, the last of which has no kernel caches. */
void rig_start_uncached(struct rig *rig);
/* Two mounts, the second with consistency=strong. */
void rig_start_strong(struct rig *rig, unsigned timeout_ms);
/* Three mounts, the second and the third with consistency=strong. */
void rig_start_strong_three(struct rig *rig);
/* n mounts with this option. */
void rig_start_lostlock(struct rig *rig, unsigned n, enum fs_lostlock lostlock);
/* Two mounts that commit buffered writes on events only, not after a time: a test's writes are one
 * step even on a slow machine. */
void rig_start_patient(struct rig *rig);
void rig_start_deadline(struct rig *rig, unsigned timeout_ms); /* the same, for changes that fail */
/* Two mounts, the second with stale=deny, after deny_ms. */
void rig_start_deny(struct rig *rig, unsigned deny_ms);
/* Two mounts with inotify events for changes of other mounts; fs/fs.h explains the numbers. /bin/sh
 * runs `script` in place of the mirror's process; NULL: the real one. */
void rig_start_mirror(struct rig *rig, unsigned mirror_ms, unsigned lane_max, const char *script);
/* Checks the store, ends the child, checks its exit status and removes everything. */
void rig_stop(struct rig *rig);
/* Kills the child (SIGKILL); the mounts remain. */
void rig_kill(struct rig *rig);
/* Serves the same store and mountpoints again after rig_kill. */
void rig_restart(struct rig *rig, unsigned timeout_ms);
/* Unmounts the remaining mounts and removes the directory, after rig_kill. */
void rig_clean(struct rig *rig);

/* Sends a command and returns the answer (a static buffer). */
const char *rig_tell(struct rig *rig, const char *command);
unsigned long rig_ask(struct rig *rig, const char *command); /* the answer as a number */
/* Waits until at least n changes are parked. False: that did not happen in time. */
bool rig_wait_pending(struct rig *rig, unsigned n);

/* The barrier: afterwards mount i shows every earlier change. */
void rig_sync(struct rig *rig, unsigned i);
/* True if the kernel can be told to ask for all names again (Linux 6.16). Before that, a barrier
 * loses its patience with a directory that is locked. */
bool rig_can_forget_all(void);

/* The path mnt[i]/name, formatted; one of several static buffers. */
BASE_PRINTF(3, 4) const char *rig_path(struct rig *rig, unsigned i, const char *fmt, ...);

/* Whole files. put returns 0 or -errno; get returns the length or -errno. */
int rig_put(const char *path, const void *data, size_t len);
ssize_t rig_get(const char *path, void *out, size_t size);

#endif
