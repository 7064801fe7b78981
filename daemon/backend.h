/* SPDX-License-Identifier: Apache-2.0 */
/* Implements fs/backend.h: reads by store/, changes by raft/. */
#ifndef DAEMON_BACKEND_H
#define DAEMON_BACKEND_H

#include "daemon/daemon.h"

/* The interface for fs/; borrows d. */
struct backend backend_of(struct daemon *d);

#endif
