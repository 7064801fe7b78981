/* SPDX-License-Identifier: Apache-2.0 */
/* The locks that were taken through this mount: which handles hold one, and in which session of the
 * host. The state machine has the details (store/lock.h); this module only knows whether a handle
 * has a lock to lose or to release.
 *
 * Locks belong to handles (fh): the kernel reuses lock owners, and it sends no unlock for OFD locks
 * and flock at close. So the locks that were taken through a handle go when it is released. The
 * locks of a POSIX owner also go when one of its processes closes the file (FLUSH).
 *
 * Loss. Locks live as long as the session in which they were taken. If the host has another
 * session, or its lease is over (it may have expired then), each handle that holds a lock is lost
 * permanently. Every operation through it gives EIO. Content that was written through it and not
 * submitted is dropped; submitted content is refused by the state machine (backend_ops.submit_in).
 *
 * Reader thread only. */
#ifndef FS_LOCK_LOCKS_H
#define FS_LOCK_LOCKS_H

#include <sys/queue.h>

#include "base/base.h"

struct fs;
struct handle;
struct lock_request;
struct posix_link; /* a POSIX owner, and a handle through which it took locks */
struct posix_owner;

/* The part of a handle. */
struct handle_locks {
    uint64_t session; /* session in which it asked for a lock last; 0: it never did */
    bool flocked;     /* holds a flock */
    bool lost;
    unsigned lock_requests; /* lock requests on their way or waiting */
    LIST_HEAD(, posix_link) posix;
};

struct locks {
    uint64_t session; /* the host's session, as last told */
    struct posix_owner *owners;
    LIST_HEAD(, lock_request) lock_requests; /* fs/lock/lock_request.h */
    struct lock_request *queued;             /* those that wait in the state machine, by number */
    /* Released handles that the state machine will be told of together. */
    uint64_t *released;
    size_t n_released, cap_released;
    uint64_t released_session;
    unsigned releasing; /* ReleaseHandle commands on their way */
    /* Files of lost handles, for fs/lock/lostlock.h. */
    uint64_t *lost;
    size_t n_lost, cap_lost;
};

void locks_init(struct locks *l);
void locks_fini(struct fs *fs);

/* ---- The session ----------------------------------------------------------------------------- */

/* The session in which commands must be submitted; 0: there is none. */
uint64_t locks_session(struct fs *fs);
/* True if this is the host's session at this very moment and its lease holds. */
bool locks_hold_now(struct fs *fs, uint64_t session);
/* From now on this is the host's session (0: none): the locks of another one are lost. */
void locks_set_session(struct fs *fs, uint64_t session);

/* ---- Handles; h may be NULL ---- */

/* True if a lock was lost that was held through the handle. Asks for the session at this moment. */
bool locks_lost(struct fs *fs, struct handle *h);
/* The session that a change through the handle belongs to; 0: the handle holds no lock. */
uint64_t locks_bound(const struct handle *h);
/* RELEASE: releases the locks that were taken through the handle. */
void locks_closed(struct fs *fs, struct handle *h);
/* Submits the gathered handles. */
void locks_send(struct fs *fs);

/* ---- Owners of POSIX locks ---- */

/* The owner holds a lock of the handle's file, taken through the handle. */
void locks_hold_posix(struct fs *fs, struct handle *h, uint64_t owner);
bool locks_has_posix(struct fs *fs, uint64_t ino, uint64_t owner);
/* The number of grants to the owner since it last held nothing. */
unsigned locks_posix_grants(struct fs *fs, uint64_t ino, uint64_t owner);
/* The owner has released a lock. Drops the owner if that was the last. */
void locks_settle_posix(struct fs *fs, uint64_t session, uint64_t ino, uint64_t owner);

/* Each turn of the reader's loop: handles lost locks. */
void locks_turn(struct fs *fs);

#endif
