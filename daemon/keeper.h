/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps this member's session alive, and, where this member leads, expires those of others and the
 * entries whose time is over. The rules of leases are in daemon/lease.h (the member's side) and
 * daemon/lessor.h (the leader's); here they meet messages, barriers, the log and the filesystem.
 *
 * Loop thread, but for keeper_session, keeper_announce and keeper_leave. */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

#include <jansson.h>

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

struct keeper *keeper_new(struct daemon *d);
void keeper_free(struct keeper *k);

/* ---- Any thread --------------------------------------------------------------------------------
 */

/* This member's session while its lease holds, compared with the clock right now; else 0. Never
 * waits. */
uint64_t keeper_session(struct keeper *k);
/* The filesystem has come into being: it is told which session there is. */
void keeper_announce(struct keeper *k);
/* Not on the loop: closes the session, so that nobody has to wait for its end. Returns after two
 * seconds at most, at once where there is no quorum. No other session is opened. */
void keeper_leave(struct keeper *k);

/* ---- What happens ------------------------------------------------------------------------------
 */

void keeper_tick(struct keeper *k); /* ~100 ms */
void keeper_message(struct keeper *k, uint64_t from, const Cfs__App *app);
void keeper_leader(struct keeper *k, uint64_t leader, uint64_t term);
/* This member's session was opened; has ended, after fs_changed of the entry that ended it. */
void keeper_opened(struct keeper *k, uint64_t session);
void keeper_ended(struct keeper *k, uint64_t session);
/* The state was replaced by a snapshot. */
void keeper_installed(struct keeper *k);

/* ---- What is shown -----------------------------------------------------------------------------
 */

void keeper_status(struct keeper *k, json_t *out); /* adds its part */
json_t *keeper_sessions(struct keeper *k);         /* all of the cluster's; gives */

#endif
