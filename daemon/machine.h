/* SPDX-License-Identifier: Apache-2.0 */
/* Puts store/ behind raft/machine.h, and carries what the application of entries brought (replies
 * and changes) to the client and the filesystem once its transaction is committed. Loop thread. */
#ifndef DAEMON_MACHINE_H
#define DAEMON_MACHINE_H

#include "daemon/daemon.h"

struct machine_adapter *machine_new(struct daemon *d);
void machine_free(struct machine_adapter *m);

/* The view that raft gets; borrows m. */
struct machine machine_of(struct machine_adapter *m);

/* After the transaction was committed: invalidates what the kernel may have cached, then completes
 * this host's requests. */
void machine_deliver(struct machine_adapter *m);

#endif
