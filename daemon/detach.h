/* SPDX-License-Identifier: Apache-2.0 */
/* Detaches the daemon from its terminal. The parent process waits until the daemon is ready or has
 * failed, and exits with its status. Main thread, before any other thread exists. */
#ifndef DAEMON_DETACH_H
#define DAEMON_DETACH_H

#include "base/base.h"

/* Forks and returns in the child, which has its own session and /dev/null as standard input and
 * output. Standard error stays open until detach_ready. */
void detach_start(void);

/* The daemon is ready: the parent exits 0, and standard error becomes /dev/null. Does nothing if
 * detach_start was not called. */
void detach_ready(void);

#endif
