/* SPDX-License-Identifier: Apache-2.0 */
/* A lock request: from the Lock command to the grant, or to the end of the wait.
 *
 * The answer to the command is: granted, refused, or queued. If it is queued, the grant comes later
 * through the log (fs_granted). If a program is interrupted, its request is cancelled: it gets
 * EINTR if the cancellation was in time, otherwise it has the lock. It waits only a moment for this
 * answer (LOCK_REQUEST_GRACE_MS: a host without a quorum gets none). Then it gets EINTR, and a
 * later grant is given back when it is known. The same holds for a request whose deadline has
 * passed.
 *
 * A session that ends takes all its waiting requests along. A program that held no lock loses
 * nothing by that, and its request is sent again in the next session.
 *
 * Before a program is told that it has a lock, the kernel has forgotten everything that was changed
 * before (promise 4). That part of the wait is not interruptible: it lasts as long as other
 * requests of this host hold directories' locks.
 *
 * Reader thread only, except lock_request_post_grant. */
#ifndef FS_LOCK_LOCK_REQUEST_H
#define FS_LOCK_LOCK_REQUEST_H

#include "fs/request/request.h"

#define LOCK_REQUEST_GRACE_MS 500

/* Takes the request, which has fh and patience. It ends with 0 (the caller still waits for the
 * lanes) or an errno. The handle exists and is not lost. lock: borrowed. */
void lock_request_start(struct request *r, const Cfs__Lock *lock);

/* Loop thread: fs_granted. */
void lock_request_post_grant(struct fs *fs, uint64_t id, uint64_t fence);

void lock_requests_session(struct fs *fs);  /* the host has another session, or none */
void lock_requests_replaced(struct fs *fs); /* a snapshot was installed: grants were missed */
void lock_requests_closed(struct fs *fs,
                          uint64_t fh); /* the handle is released, and its locks with it */
void lock_requests_fini(struct fs *fs); /* no program waits for them any more */

#endif
