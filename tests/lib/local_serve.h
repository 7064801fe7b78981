/* SPDX-License-Identifier: Apache-2.0 */
/* Serves mounts over a local backend, in the calling process, and obeys commands from a descriptor:
 * the body of the tool localfs, and of the child process that a test has for its mounts (a process
 * that serves a mount should not use it: if an answer were missing it could not even be killed). */
#ifndef TESTS_LIB_LOCAL_SERVE_H
#define TESTS_LIB_LOCAL_SERVE_H

#include <stdio.h>

#include "base/base.h"
#include "fs/fs.h"

#define LOCAL_SERVE_MOUNTS_MAX 8

struct local_serve_options {
    const char *dir;                /* of the store */
    const char *const *mountpoints; /* each is a host of its own */
    unsigned n;
    unsigned timeout_ms;   /* of requests; 0: the default */
    bool last_uncached;    /* the last mount has no kernel caches */
    unsigned writeback_ms; /* as in struct fs_options */
    unsigned deny_ms;      /* all but the first mount have stale=deny, after so long; 0: none */
    bool strong;           /* all but the first mount have consistency=strong */
    bool mirror; /* inotify events for other hosts' changes: BUILD/coordfsd makes them … */
    const char *mirror_program;   /* … or this */
    unsigned mirror_ms, lane_max; /* as in struct fs_options */
    bool debug;
    enum fs_lostlock lostlock;
};

/* Writes "ready" to out when all are mounted; then obeys what it reads from in, one command a line,
 * each answered by one line on out:
 *   stall | resume        no quorum from now on, quorum again: "ok"
 *   delay MS              each change takes this long: "ok"
 *   fail N ERRNO          the next N changes fail in transport: "ok"
 *   applied               how many changes were applied
 *   pending               how many are on their way
 *   requests              how many requests the kernel has sent to the first mount
 *   held | waiting        how many locks are held, how many requests for one wait
 *   reap                  reaps unlinked files that nobody holds open; how many
 *   check                 verifies the store's invariants: "ok", or what is wrong
 *   replaced              as if a snapshot had been installed: "ok"
 *   renew N               the N-th host's session (from 0) ends, and it gets another: "ok"
 *   lapse N | lease N     its lease is over, is renewed: "ok"
 *   deaf N | hear N       it is not told of grants, is told again: "ok"
 *   mirror I              the status of mount I's mirror: "ON PID DONE REFUSED MISSED RESTARTS"
 *   stop                  ends serving: "ok"
 * Returns when in ends, or all are unmounted: 0, or 1 when something went wrong. */
int local_serve(const struct local_serve_options *options, int in, FILE *out);

#endif
