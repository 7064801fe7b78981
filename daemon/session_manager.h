/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps this member's session alive. Where this member leads, also expires the overdue sessions of
 * all members and the entries whose life time is over. The rules of leases are in
 * daemon/lease_member.h (the member's side) and daemon/lease_leader.h (the leader's side); this
 * module connects them with messages, barriers, the log and the filesystem.
 *
 * Loop thread, except session_manager_session, session_manager_announce and
 * session_manager_leave. */
#ifndef DAEMON_SESSION_MANAGER_H
#define DAEMON_SESSION_MANAGER_H

#include <jansson.h>

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

struct session_manager *session_manager_new(struct daemon *d);
void session_manager_free(struct session_manager *m);

/* ---- Any thread ------------------------------------------------------------------------------ */

/* This member's session if its lease holds now (compared with the clock); otherwise 0. Never
 * waits. */
uint64_t session_manager_session(struct session_manager *m);
/* Tells a new filesystem which session the member has. */
void session_manager_announce(struct session_manager *m);
/* Closes the session, so that other hosts need not wait until it expires. Opens no other session.
 * Returns after at most two seconds, and immediately without a quorum. Not on the loop thread. */
void session_manager_leave(struct session_manager *m);

/* ---- Events ---------------------------------------------------------------------------------- */

void session_manager_tick(struct session_manager *m); /* ~100 ms */
void session_manager_message(struct session_manager *m, uint64_t from, const Cfs__App *app);
void session_manager_leader(struct session_manager *m, uint64_t leader, uint64_t term);
/* A session of this member was opened. A session has ended: called after fs_changed of the log
 * entry that ended it. */
void session_manager_opened(struct session_manager *m, uint64_t session);
void session_manager_ended(struct session_manager *m, uint64_t session);
/* Entries were applied. */
void session_manager_applied(struct session_manager *m);
/* A snapshot has replaced the state. */
void session_manager_installed(struct session_manager *m);

/* ---- Status ---------------------------------------------------------------------------------- */

void session_manager_status(struct session_manager *m, json_t *out); /* adds the session's fields */
json_t *session_manager_sessions(struct session_manager *m);         /* of all members; gives */

#endif
