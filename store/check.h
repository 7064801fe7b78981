/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of the database, executed. A check reads the whole database, so it is slow. Any
 * thread: each check opens a read-only connection of its own.
 *
 * "Not from the future" means: no raft index above the applied one, no number above its counter.
 *
 *    S1  SQLite reports the file as sound (integrity_check; quick_check for snapshots).
 *    S2  The tables and indexes are exactly those of this schema version.
 *    S3  The counters and the configuration exist; the configuration is not from the future.
 *    S4  Every inode number and every cookie is below its counter; cookies are unique.
 *    S5  The totals of inodes, entries, bytes and metadata bytes are correct.
 *    S6  The root is inode 1, a directory, its own parent, and has no name.
 *    S7  Every entry has a well-formed name, lies in a directory, and names an inode of its type.
 *    S8  Every directory has exactly one name, in its parent, except the root and orphans. Nothing
 *        else has a parent.
 *    S9  Every directory with a name can be reached from the root, so there are no cycles.
 *    S10 nlink is the number of names; for a directory, 2 plus the number of its subdirectories, or
 *        0 if it has no name, and then it has no entries.
 *    S11 The size of a directory is its number of entries, the size of a symlink the length of its
 *        target. The size of a file is within the limit. All other sizes are 0.
 *    S12 The orphans are exactly the inodes without links, and are not from the future.
 *    S13 Every block belongs to a regular file, is not empty, lies within the file's size, and
 *        matches its checksum.
 *    S14 An inode's stored bytes are the sum of its blocks' bytes.
 *    S15 Exactly the symlinks have a target, and its length is permitted.
 *    S16 Every xattr belongs to an inode and is within the limits; xattr_bytes is their sum.
 *    S17 No inode is from the future; types are known; permissions have no other bits.
 *    S18 Every member has at most one session. Sessions are not from the future and not too many.
 *        Exactly the replies in (forgotten, last_seq] are stored, and they are not too many.
 *    S19 The log is contiguous. Every row has its checksum, a known type, and a term not below its
 *        predecessor's. first - 1 <= applied <= last. The row `applied` has the applied term. A
 *        database without an owner (a snapshot) has no log.
 *    S20 The sum of the hashes of all rows equals the sum that was kept incrementally.
 *    S21 The state in memory equals the state in the database (store_check only).
 *    S22 ACLs are well-formed and not empty. An access ACL says more than the mode and agrees with
 *        it. Only directories have a default ACL. Symlinks have no ACL.
 *    S40 Every lease belongs to a session, has a permitted length, and differs from the default.
 *    S41 Every lock and every request for a lock is well-formed, belongs to a session, refers to a
 *        regular file, and is not from the future.
 *    S42 No two held locks conflict. No request waits that could be granted.
 *    S43 Every special inode has a name and only properties that its type may have. Its session
 *        exists. Its ttl runs exactly when it should.
 *    S44 No session has too many ephemeral entries.
 *    S50 Every staged write belongs to a session, is not empty, is within the limits, and is not
 *        from the future.
 *    S51 Quotas belong to directories. Inodes that are charged explicitly are orphans.
 *    S52 The charge of a quota is the sum of everything below its directory and of its orphans.
 *    S53 All names of a file are below the same quota.
 *    S60 The numbers of the history have no gap. Its indexes do not fall and are not from the
 *        future. All changes of an index are present, except those pruned from the front. Its lines
 *        are as long as counted.
 *    S61 Settings are known, within their limits, and differ from the default.
 *    S62 No entry of the root has the name of the control directory. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include <stdatomic.h>

#include "store/state.h"

/* Checks everything but S21. True, and the state hash; or false, and the first violation in `why`.
 * With `must_have_owner`, a database without an identity is a violation. */
bool check_file(const char *path, bool must_have_owner, struct store_hash *hash, char *why,
                size_t why_len);

/* Checks a received snapshot: S1 (quick), S2, S3, the checksums of S13, S20, no owner and no log.
 * True: gives the state (free it with state_fini). Returns false soon after *cancel becomes true.
 */
bool check_snapshot(const char *path, atomic_bool *cancel, struct state *state, char *why,
                    size_t why_len);

#endif
