/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps this member's session alive, and, where this member leads, expires those of others and the
 * entries whose time is over. The rules of leases are in daemon/lease_member.h (the member's side)
 * and daemon/lease_leader.h (the leader's); here they meet messages, barriers, the log and the
 * filesystem.
 *
 * Loop thread, but for session_manager_session, session_manager_announce and session_manager_leave.
 */
#ifndef DAEMON_SESSION_MANAGER_H
#define DAEMON_SESSION_MANAGER_H

#include <jansson.h>

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

struct session_manager *session_manager_new(struct daemon *d);
void session_manager_free(struct session_manager *m);

/* ---- Any thread --------------------------------------------------------------------------------
 */

/* This member's session while its lease holds, compared with the clock right now; else 0. Never
 * waits. */
uint64_t session_manager_session(struct session_manager *m);
/* The filesystem has come into being: it is told which session there is. */
void session_manager_announce(struct session_manager *m);
/* Not on the loop: closes the session, so that nobody has to wait for its end. Returns after two
 * seconds at most, at once where there is no quorum. No other session is opened. */
void session_manager_leave(struct session_manager *m);

/* ---- What happens ------------------------------------------------------------------------------
 */

void session_manager_tick(struct session_manager *m); /* ~100 ms */
void session_manager_message(struct session_manager *m, uint64_t from, const Cfs__App *app);
void session_manager_leader(struct session_manager *m, uint64_t leader, uint64_t term);
/* This member's session was opened; has ended, after fs_changed of the entry that ended it. */
void session_manager_opened(struct session_manager *m, uint64_t session);
void session_manager_ended(struct session_manager *m, uint64_t session);
/* The state was replaced by a snapshot. */
void session_manager_installed(struct session_manager *m);

/* ---- What is shown -----------------------------------------------------------------------------
 */

void session_manager_status(struct session_manager *m, json_t *out); /* adds its part */
json_t *session_manager_sessions(struct session_manager *m); /* all of the cluster's; gives */

#endif
