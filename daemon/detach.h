/* SPDX-License-Identifier: Apache-2.0 */
/* Detaching from the terminal while the caller waits for the verdict: the parent process stays
 * until the daemon is ready or has failed, and exits with its status. Main thread, before any
 * other thread exists. */
#ifndef DAEMON_DETACH_H
#define DAEMON_DETACH_H

#include "base/base.h"

/* Forks. Returns in the child, which is in a session of its own, with standard input and output
 * from and to /dev/null; standard error stays until detach_ready. */
void detach_start(void);

/* The daemon is ready: the parent exits 0; standard error goes to /dev/null. No-op when
 * detach_start was not called. */
void detach_ready(void);

#endif
