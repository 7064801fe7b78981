/* SPDX-License-Identifier: Apache-2.0 */
/* Serves mounts over a local backend in the calling process, and runs commands from a descriptor.
 * The tool localfs uses it, and so does the child process that a test has for its mounts. (A
 * process that serves a mount should not use the mount: if an answer were missing, it could not
 * even be killed.) */
#ifndef TESTS_LIB_LOCAL_SERVE_H
#define TESTS_LIB_LOCAL_SERVE_H

#include <stdio.h>

#include "base/base.h"
#include "fs/fs.h"

#define LOCAL_SERVE_MOUNTS_MAX 8

struct local_serve_options {
    const char *dir;                /* of the store */
    const char *const *mountpoints; /* each is a separate host */
    unsigned n;
    unsigned timeout_ms;   /* of requests; 0: the default */
    bool last_uncached;    /* the last mount has no kernel caches */
    unsigned writeback_ms; /* as in struct fs_options */
    unsigned deny_ms;      /* all mounts but the first have stale=deny after this time; 0: none */
    bool strong;           /* all mounts but the first have consistency=strong */
    bool mirror; /* inotify events for changes of other hosts, made by BUILD/coordfsd … */
    const char *mirror_program;   /* … or by this program */
    unsigned mirror_ms, lane_max; /* as in struct fs_options */
    bool debug;
    enum fs_lostlock lostlock;
};

/* Writes "ready" to out when all are mounted. Then reads commands from in, one per line, and
 * answers each with one line on out:
 *
 *   stall | resume        no quorum from now on, a quorum again: "ok"
 *   delay MS              each change takes this long: "ok"
 *   fail N ERRNO          the next N changes fail in transport: "ok"
 *   applied               number of applied changes
 *   pending               number of changes in progress
 *   requests              number of requests that the kernel has sent to the first mount
 *   held | waiting        number of held locks, of waiting requests
 *   reap                  reaps unlinked files that no host uses: their number
 *   check                 verifies the store's invariants: "ok", or the violation
 *   replaced              as if a snapshot had been installed: "ok"
 *   renew N               ends the session of host N (from 0) and opens another: "ok"
 *   lapse N | lease N     its lease expires, continues: "ok"
 *   deaf N | hear N       it gets no grants, gets grants again: "ok"
 *   mirror I              the status of mount I's mirror: "ON PID DONE REFUSED MISSED RESTARTS
 *                         RESTS"
 *   names I               of mount I's names: "UPDATED STALE LATE"
 *   stop                  ends serving: "ok"
 *
 * Returns when in ends or all are unmounted: 0, or 1 after an error. */
int local_serve(const struct local_serve_options *options, int in, FILE *out);

#endif
