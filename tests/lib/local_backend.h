/* SPDX-License-Identifier: Apache-2.0 */
/* A backend over the real store, with one thread that applies in place of consensus; one or more
 * "hosts" on it, each with a session, a reader and (if it likes) a mounted filesystem of its own,
 * as if they were members of a cluster.
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

/* Opens (or makes) a store in dir. Dies when it cannot. */
struct local *local_open(const char *dir);
/* From here on everything that is or will be submitted completes with -ESHUTDOWN, and no more. */
void local_stop(struct local *l);
void local_close(struct local *l);

struct local_host *local_host_new(struct local *l);
void local_host_free(struct local_host *h);
struct backend local_host_backend(struct local_host *h);
/* Tells fs of changes from now on; NULL: of none any more. */
void local_host_attach(struct local_host *h, struct fs *fs);

/* ---- Trouble. Any thread. ---- */

/* Each command takes this long. */
void local_set_delay(struct local *l, unsigned ms);
/* No quorum: nothing completes but by its deadline or by cancellation. */
void local_set_stalled(struct local *l, bool stalled);
/* The next n commands fail in transport with err (-errno), without being applied. */
void local_fail_next(struct local *l, unsigned n, int err);

/* The host's session ends, soon; another one is opened. */
void local_renew(struct local_host *h);
/* Its lease is over, which nobody has noticed yet; or the session goes on, which it is told. */
void local_lapse(struct local_host *h, bool lapsed);

/* It hears nothing of grants, as if they had come with a snapshot. */
void local_set_deaf(struct local_host *h, bool deaf);

/* Commands (log entries of type COMMAND) applied since local_open. */
uint64_t local_applied(struct local *l);
/* Commands and barriers on their way. */
unsigned local_pending(struct local *l);
/* Locks that are held, or (`waiting`) requests that wait. */
unsigned local_locks(struct local *l, bool waiting);
/* store_check, while nothing is applied. */
bool local_check(struct local *l, char *why, size_t why_len);
/* Reaps unlinked files that no attached host holds open; how many were proposed. */
unsigned local_reap(struct local *l);

#endif
