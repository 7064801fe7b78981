/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of locks: flock(2), and the byte ranges of fcntl(2), both POSIX and OFD.
 * proto/command.proto says what each command does and answers. See store/op.h.
 *
 * Conflicts. Two locks of one kind on one file conflict if their ranges overlap, their owners
 * differ, and one of them is exclusive. Two held locks never conflict.
 *
 * Queue. A request waits if it conflicts with a held lock or with an earlier waiting request, so no
 * request can be overtaken without end. Requests are numbered by the raft index of their command.
 * Two exceptions exist, because an owner must not wait behind another that waits for it:
 *   flock: a handle that holds a lock (an upgrade) is not blocked by waiting requests.
 *   POSIX: an owner is not blocked by the request of an owner that waits, directly or through
 *          others, for a lock that the first owner holds (store/waits.h).
 * When a lock or a request disappears, the same log entry grants, in order, the requests behind it
 * that no longer conflict.
 *
 * Conversions. flock: a lock of another type replaces the handle's lock. If the new lock is not
 * free, the old one is given up first (flock(2) is not atomic), also if the request does not wait
 * and fails. POSIX: a range replaces what the owner held of it, and locks are split
 * and merged. While the request waits, the old locks stay.
 *
 * Deadlocks. A POSIX request is refused if its waiting would close a cycle of owners in which each
 * waits for a lock that the next one holds. A cycle that exists only because of the order of the
 * queue is broken instead: one request is granted out of turn. flock has no deadlock detection, as
 * in flock(2).
 *
 * Fencing tokens. The token of a lock is the raft index of the entry that granted it; a merged
 * range has the latest token of its pieces. So a later holder always has a larger token than all
 * earlier holders. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "store/op.h"

uint32_t lock_take(struct op *op, const Cfs__Lock *c);
uint32_t lock_give_up(struct op *op, const Cfs__Unlock *c);
uint32_t lock_release_handles(struct op *op, const Cfs__ReleaseHandle *c);
uint32_t lock_cancel(struct op *op, const Cfs__CancelLock *c);

/* Drops all locks and requests of a session. */
void lock_end_session(struct op *op, uint64_t session);

/* True if the file has any lock or any request for one. */
bool lock_exists(const struct locktab *t, uint64_t ino);
/* True if the session holds the whole file exclusively, by flock or by a POSIX lock of one owner.
 */
bool lock_guards(const struct locktab *t, uint64_t ino, uint64_t session);

/* True if the session's owner holds all of this range, at least as strongly. Then *fence is the
 * latest token. */
bool lock_holds(const struct locktab *t, uint64_t session, const Cfs__Lock *asked, uint64_t *fence);

/* Checks what must hold after every entry: no two held locks conflict, and no request waits that
 * could be granted. False: the violation is in `why`. */
bool lock_check(struct locktab *t, char *why, size_t why_len);

#endif
