/* SPDX-License-Identifier: Apache-2.0 */
/* A backend over the real store, in which one thread applies commands in place of consensus. It has
 * one or more "hosts". Each host has a session, a reader and optionally a mounted filesystem, as if
 * it were a member of a cluster.
 *
 * The caller's sequence: local_open, local_host_new for each mount, fs_mount with
 * local_host_backend, local_host_attach, fs_run … fs_run returned; local_stop, fs_free,
 * local_host_free, local_close. */
#ifndef TESTS_LIB_LOCAL_BACKEND_H
#define TESTS_LIB_LOCAL_BACKEND_H

#include "fs/backend.h"
#include "fs/fs.h"

struct local;
struct local_host;

/* Opens (or makes) a store in dir. Dies on an error. */
struct local *local_open(const char *dir);
/* From now on every submitted request, also an earlier one, completes with -ESHUTDOWN. */
void local_stop(struct local *l);
void local_close(struct local *l);

struct local_host *local_host_new(struct local *l);
void local_host_free(struct local_host *h);
struct backend local_host_backend(struct local_host *h);
/* Passes changes to fs from now on. NULL: passes no more changes. */
void local_host_attach(struct local_host *h, struct fs *fs);

/* ---- Trouble. Any thread. ---- */

/* Each command takes this long. */
void local_set_delay(struct local *l, unsigned ms);
/* No quorum: a request completes only by its deadline or by cancellation. */
void local_set_stalled(struct local *l, bool stalled);
/* The next n commands fail in transport with err (-errno), without being applied. */
void local_fail_next(struct local *l, unsigned n, int err);

/* Ends the host's session soon and opens another one. */
void local_renew(struct local_host *h);
/* Expires the host's lease without telling the host; or continues the session and tells the host.
 */
void local_lapse(struct local_host *h, bool lapsed);

/* The host gets no grants, as if they had arrived with a snapshot. */
void local_set_deaf(struct local_host *h, bool deaf);

/* Commands (log entries of type COMMAND) applied since local_open. */
uint64_t local_applied(struct local *l);
/* Commands and barriers in progress. */
unsigned local_pending(struct local *l);
/* The number of held locks, or (`waiting`) of waiting requests. */
unsigned local_locks(struct local *l, bool waiting);
/* Runs store_check while no command is applied. */
bool local_check(struct local *l, char *why, size_t why_len);
/* Reaps unlinked files that no attached host uses. Returns the number of proposed inodes. */
unsigned local_reap(struct local *l);

#endif
