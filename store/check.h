/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of the database, executed. Slow: they read everything. Any thread; each check uses
 * a read-only connection of its own.
 *
 *  S1  SQLite finds the file sound (integrity_check; quick_check for copies).
 *  S2  Tables and indexes are exactly those of this version.
 *  S3  The counters and the configuration are there, and the configuration is not from the future.
 *  S4  Every inode number and every cookie in use is below its counter; cookies are unique.
 *  S5  The totals of inodes, entries, bytes and meta data bytes are right.
 *  S6  The root is inode 1, a directory, its own parent, and has no name.
 *  S7  Every entry has a well-formed name, lies in a directory, and names an inode of its type.
 *  S8  Every directory but the root has exactly one name, in its parent; nothing else has a parent.
 *  S9  Every directory can be reached from the root (so there are no cycles).
 *  S10 nlink is the number of names; of a directory, 2 + the number of its subdirectories.
 *  S11 The size of a directory is its number of entries, of a symlink the length of its target; of
 *      a file it is within the limit; of anything else 0.
 *  S12 Orphans are exactly the inodes without links, are regular files, and not from the future.
 *  S13 Every block belongs to a regular file, is not empty, lies within its size, has its checksum.
 *  S14 An inode's stored bytes are those of its blocks.
 *  S15 Exactly the symlinks have a target, of permitted length.
 *  S16 Every xattr belongs to an inode and is within the limits; xattr_bytes is their sum.
 *  S17 No inode is from the future; types are known; permissions have no other bits.
 *  S18 Sessions: one per member, not from the future, not too many; exactly the replies in
 *      (forgotten, last_seq] are kept, and not too many.
 *  S19 The log is contiguous, every row has its checksum, a known type and a term that does not
 *      fall; first - 1 <= applied <= last; the row `applied` has the term that was applied.
 *      A file without an owner (a copy) has no log.
 *  S20 The sum of the hashes of all rows is the one that was kept incrementally.
 *  S21 The state in memory is the one in the database (store_check only).
 *  S22 ACLs are well-formed and not empty; an access ACL says more than the mode, and has its
 *      permissions; only directories have a default ACL, and symlinks none.
 *  S40 Every lease is a session's, of permitted length, and not the default.
 *  S41 Every lock, and every request for one, is well-formed, a session's, of a regular file, and
 *      not from the future.
 *  S42 Nothing that is held is in conflict; no request waits that could be granted.
 *  S43 What is special is an inode that has a name, and only what it can be; its session is there;
 *      a ttl runs where it should.
 *  S44 No session has too many ephemeral entries.
 *  S50 What is staged is a session's, not empty, within the limits, and not from the future.
 *  S51 Quotas are of directories; what is charged to one apart from its tree is an orphan.
 *  S52 What is charged to a quota is what is below its directory, and its orphans.
 *  S53 All names of a file are below the same quota.
 *  S60 The history's numbers have no gap, its indexes do not fall and are not from the future; all
 *      changes of one index are there, but for those deleted from the front; its lines are as long
 *      as was counted.
 *  S61 Settings are known, within their limits, and not the default.
 *  S62 No entry of the root has the control directory's name. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include <stdatomic.h>

#include "store/state.h"

/* All but S21: true, and the state hash; or false, and the first violation in `why`. With
 * `must_have_owner`, a database without an identity is a violation. */
bool check_file(const char *path, bool must_have_owner, struct store_hash *hash, char *why,
                size_t why_len);

/* What a received copy must pass: S1 (quick), S2, S3, S13's checksums, S20, and no owner and no
 * log. True gives the state (state_fini). Stops early, with false, when *cancel becomes true. */
bool check_snapshot(const char *path, atomic_bool *cancel, struct state *state, char *why,
                    size_t why_len);

#endif
