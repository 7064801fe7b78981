/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the daemons of a cluster that are not raft's (proto/app.proto). Loop thread.
 * The modules that handle these messages include this header; it does not know them. */
#ifndef DAEMON_APP_H
#define DAEMON_APP_H

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

/* Sends a message to another member's daemon. The message may be lost. Borrows. */
void app_send(struct daemon *d, uint64_t peer, const Cfs__App *app);

/* Decodes a received message (gives: cfs__app__free_unpacked). NULL if the bytes are not one. */
Cfs__App *app_decode(const uint8_t *data, size_t len);

#endif
