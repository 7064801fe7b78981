/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemons of a cluster say to one another beside raft (proto/app.proto). Loop thread. */
#ifndef DAEMON_APP_H
#define DAEMON_APP_H

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

/* Sends it to a peer's daemon; it may be lost. Borrows. */
void app_send(struct daemon *d, uint64_t peer, const Cfs__App *app);

/* Passes on what came in, whatever the bytes are. */
void app_receive(struct daemon *d, uint64_t from, const uint8_t *data, size_t len);

#endif
