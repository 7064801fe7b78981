/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of locks: flock(2), and the byte ranges of fcntl(2), POSIX and OFD. What each command
 * does and answers is said in proto/command.proto. See store/op.h.
 *
 * Conflicts. Two locks of one kind on one file are in conflict when their ranges overlap, their
 * owners differ, and one is exclusive. What is held is never in conflict.
 *
 * Queue. A request is granted unless it is in conflict with a lock that is held, or with an earlier
 * request that waits: so nobody is overtaken for ever. Requests are numbered by the raft index of
 * their command. Exceptions, for nobody must wait behind one who waits for him:
 *   flock: a handle that holds a lock (an upgrade) does not mind those who wait;
 *   POSIX: an owner does not mind the request of one who waits, through however many others, for a
 *   lock that he holds (store/waits.h).
 * Whenever a lock or a request goes, those behind it that are now free of conflicts are granted, in
 * order, by the same log entry.
 *
 * Conversions. flock: another type replaces the handle's lock; when that has to wait, the old lock
 * is given up first (flock(2): not atomic), but a request that does not want to wait leaves it.
 * POSIX: a range replaces what the owner had of it, splitting and merging; while it waits, the old
 * locks stay.
 *
 * Deadlocks. A POSIX request whose waiting would close a cycle of owners each of which waits for a
 * lock that the next one holds is refused. Cycles that exist only because of the order of the queue
 * are dissolved instead. flock has no deadlock detection, as flock(2) has none.
 *
 * Fencing tokens. A lock's is the raft index of the entry that granted it; of merged ranges, the
 * latest one's. So a later holder always has a larger one than all earlier ones had. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "store/op.h"

uint32_t lock_take(struct op *op, const Cfs__Lock *c);
uint32_t lock_give_up(struct op *op, const Cfs__Unlock *c);
uint32_t lock_release_handles(struct op *op, const Cfs__ReleaseHandle *c);
uint32_t lock_cancel(struct op *op, const Cfs__CancelLock *c);

/* All of a session's, held and waited for. */
void lock_end_session(struct op *op, uint64_t session);

/* Is there any lock of the file, or a request for one? */
bool lock_exists(const struct locktab *t, uint64_t ino);
/* Does the session hold the whole file exclusively, by flock or by a POSIX lock of one owner? */
bool lock_guards(const struct locktab *t, uint64_t ino, uint64_t session);

/* Does the session's owner hold all of this range, at least that strong? The token. */
bool lock_holds(const struct locktab *t, uint64_t session, const Cfs__Lock *asked, uint64_t *fence);

/* What is true after each entry: nothing held is in conflict, no request waits that could be
 * granted. False: what is wrong, in why. */
bool lock_check(struct locktab *t, char *why, size_t why_len);

#endif
