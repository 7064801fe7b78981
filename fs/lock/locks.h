/* SPDX-License-Identifier: Apache-2.0 */
/* What is locked through this mount: which handles hold something, and in which session of the
 * host's. The state machine knows what exactly (store/lock.h); here it is only remembered whether
 * there is anything to be lost, and anything to be released.
 *
 * Locks hang on handles (fh): the kernel's lock owners are reused, and it sends no unlock for OFD
 * locks and flock at close. So whatever was taken through a handle goes when it is released. What
 * an owner of POSIX locks holds also goes when a process of his closes the file (FLUSH).
 *
 * Losing. Locks live as long as the session in which they were taken. When the host has another
 * one, or its lease is over (it may have been expired then), each handle that holds a lock is lost,
 * for ever: whatever is done through it is EIO, and what was written through it and is not
 * submitted is dropped; what is submitted is refused by the state machine (backend_ops.submit_in).
 *
 * Reader thread only. */
#ifndef FS_LOCK_LOCKS_H
#define FS_LOCK_LOCKS_H

#include <sys/queue.h>

#include "base/base.h"

struct fs;
struct handle;
struct lock_request;
struct posix_link; /* an owner of POSIX locks, and a handle that he took some through */
struct posix_owner;

/* A handle's part. */
struct handle_locks {
    uint64_t session; /* in which it asked for locks last; 0: it never did */
    bool flocked;     /* holds a flock */
    bool lost;
    unsigned lock_requests; /* requests that are on their way, or wait */
    LIST_HEAD(, posix_link) posix;
};

struct locks {
    uint64_t session; /* of the host, as last told */
    struct posix_owner *owners;
    LIST_HEAD(, lock_request) lock_requests; /* fs/lock/lock_request.h */
    struct lock_request *queued;             /* those that wait in the state machine, by number */
    /* Released handles that are to be told to the state machine together. */
    uint64_t *released;
    size_t n_released, cap_released;
    uint64_t released_session;
    unsigned releasing; /* ReleaseHandle on their way */
    /* Files of lost handles, for fs/lock/lostlock.h. */
    uint64_t *lost;
    size_t n_lost, cap_lost;
};

void locks_init(struct locks *l);
void locks_fini(struct fs *fs);

/* ---- The session -------------------------------------------------------------------------------
 */

/* The one in which commands are to be submitted; 0: there is none. */
uint64_t locks_session(struct fs *fs);
/* Is this the host's session at this very moment, and its lease holds? */
bool locks_hold_now(struct fs *fs, uint64_t session);
/* From now on this is the host's session (0: none): locks of another one are lost. */
void locks_set_session(struct fs *fs, uint64_t session);

/* ---- Handles; h may be NULL ---- */

/* Was a lock lost that was held through it? Asks for the session at this very moment. */
bool locks_lost(struct fs *fs, struct handle *h);
/* The session that a change made through the handle is part of; 0: it holds no lock. */
uint64_t locks_bound(const struct handle *h);
/* RELEASE: what was locked through it is released. */
void locks_closed(struct fs *fs, struct handle *h);
/* Submits what is gathered. */
void locks_send(struct fs *fs);

/* ---- Owners of POSIX locks ---- */

/* The owner holds something of the handle's file, taken through it. */
void locks_hold_posix(struct fs *fs, struct handle *h, uint64_t owner);
bool locks_has_posix(struct fs *fs, uint64_t ino, uint64_t owner);
/* How often he was given something, since he held nothing. */
unsigned locks_posix_grants(struct fs *fs, uint64_t ino, uint64_t owner);
/* He has given up something: forgets him if that was all. */
void locks_settle_posix(struct fs *fs, uint64_t session, uint64_t ino, uint64_t owner);

/* Each turn of the reader's loop: deals with who has lost a lock. */
void locks_turn(struct fs *fs);

#endif
