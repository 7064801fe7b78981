/* SPDX-License-Identifier: Apache-2.0 */
/* Puts store/ (reads) and raft/ (changes) behind fs/backend.h. */
#ifndef DAEMON_BACKEND_H
#define DAEMON_BACKEND_H

#include "daemon/daemon.h"

/* The view that fs/ gets; borrows d. */
struct backend backend_of(struct daemon *d);

#endif
