/* SPDX-License-Identifier: Apache-2.0 */
/* Implements raft/machine.h by store/. Keeps the results of applied entries (replies, changes, lock
 * grants) until their transaction is committed, then passes them to the client and the filesystem.
 * Loop thread. */
#ifndef DAEMON_MACHINE_H
#define DAEMON_MACHINE_H

#include "daemon/daemon.h"

struct machine_adapter *machine_new(struct daemon *d);
void machine_free(struct machine_adapter *m);

/* The interface for raft; borrows m. */
struct machine machine_of(struct machine_adapter *m);

/* Call after the transaction was committed: completes this host's requests and passes on lock
 * grants. The changes were passed to the filesystem by the commit itself. */
void machine_deliver(struct machine_adapter *m);

#endif
