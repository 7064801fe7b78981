/* SPDX-License-Identifier: Apache-2.0 */
/* A program asks for a lock: from the Lock command to the grant, or to the end of the wait.
 *
 * The command is answered: granted; refused; or queued, and then the grant comes later, by the log
 * (fs_granted). A program that is interrupted has its request cancelled, and hears EINTR if that
 * was in time, else that it has the lock. It waits for this answer a moment only (ASK_GRACE_MS: a
 * host without a quorum gets none): then it hears EINTR, and what it may be granted nevertheless is
 * given up when that is known. The same holds for a request whose time is over.
 *
 * A session that ends takes all that waits in it along. Who held nothing loses nothing by that, and
 * asks again in the next one.
 *
 * Before a program hears that it has a lock, the kernel has forgotten all that was changed before
 * (promise P4). That part of the wait is not interruptible: it lasts as long as other requests of
 * this host hold directories' locks.
 *
 * Reader thread only, but for lock_request_post_grant. */
#ifndef FS_LOCK_LOCK_REQUEST_H
#define FS_LOCK_LOCK_REQUEST_H

#include "fs/request/request.h"

#define LOCK_REQUEST_GRACE_MS 500

/* Takes the request, which has fh and patience; it ends with 0 (lanes are left to be waited for) or
 * an errno. The handle exists and is not lost. lock: borrowed. */
void lock_request_start(struct request *r, const Cfs__Lock *lock);

/* Loop thread: fs_granted. */
void lock_request_post_grant(struct fs *fs, uint64_t id, uint64_t fence);

void lock_requests_session(struct fs *fs);  /* the host has another one, or none */
void lock_requests_replaced(struct fs *fs); /* a snapshot was installed: grants were missed */
void lock_requests_closed(struct fs *fs,
                          uint64_t fh); /* the handle is released: so are their locks */
void lock_requests_fini(struct fs *fs); /* nobody waits for them any more */

#endif
