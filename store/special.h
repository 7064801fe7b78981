/* SPDX-License-Identifier: Apache-2.0 */
/* Special properties of inodes: one row of the table `special` for each inode that has any. Most
 * trees have few. If there are none, looking costs nothing.
 *
 *   ephemeral  The entry lives as long as a session, or until no process on that session's host has
 *              it open. A directory can pass this on: everything that a session creates in it is
 *              ephemeral for that session. A directory that was created ephemeral also ends with
 *              its session; one that was only told so by an xattr does not. An entry that is not
 *              empty when its time is over is removed when it becomes empty.
 *   ttl        A file is removed this many seconds after the last change of its data, a directory
 *              after it became empty; or after the ttl was set, if that was later.
 *              A ttl counts in the cluster's time: ns that the leaders have measured, each on its
 *              CLOCK_BOOTTIME, and put into the log (ExpireEntries). It begins with the wall clock
 * of the leader that begins it, and no wall clock has a part in it after that. A ttl begins at some
 * time between two ExpireEntries, so it gets its deadline with the second one: no entry is removed
 * early. container  A directory is removed together with its last entry. guard      Below the
 * directory, only a session that holds the lock on the lock file may change anything
 * (store/dir_guard.h). sequence   The next number that the directory gives to a sequential entry.
 *
 * An entry with a limited life has one name: it cannot be linked, and an inode with several names
 * cannot become one.
 *
 * Users see these properties as xattrs user.coordfs.NAME (store/znode.h). Writer's thread; see
 * store/op.h. */
#ifndef STORE_SPECIAL_H
#define STORE_SPECIAL_H

#include "store/op.h"

/* In the order of the columns, all of 64 bits. If all but ino are zero, there is no row. */
struct special {
    uint64_t ino;
    uint64_t ephemeral; /* Cfs__Ephemeral */
    uint64_t session;   /* with whose end it is removed; 0: the directory only passes it on */
    uint64_t ttl;       /* seconds */
    int64_t deadline;   /* in the cluster's time; 0: none, or the ttl does not run yet. Below 0: the
                           ttl has begun and gets its deadline with the next ExpireEntries; until
                           then this is the negative of what the sender's wall clock says */
    uint64_t container; /* 0 or 1 */
    uint64_t guard;     /* the inode of the lock file */
    uint64_t sequence;
};

#define SPECIAL_N (sizeof(struct special) / sizeof(uint64_t))

/* Finds the properties of the inode; all zero if it has none. True: it has some. */
bool special_find(struct op *op, uint64_t ino, struct special *out);
/* Inserts, changes or deletes the row. */
void special_save(struct op *op, const struct special *was, const struct special *is);

/* True if the entry has a limited life. */
static inline bool special_is_mortal(const struct special *s)
{
    return s->session != 0 || s->ttl != 0;
}

/* ---- What operations call ---- */

/* Before an entry is created: computes its properties from those of its directory and from what the
 * command wants; all zero if it is not special. 0, EINVAL or EDQUOT. */
uint32_t special_plan(struct op *op, const struct special *dir, Cfs__Ephemeral wanted,
                      uint32_t type, struct special *out);
/* Call after the entry was created. */
void special_made(struct op *op, const struct special *plan, uint64_t ino);

/* Call when an inode has lost its last name. */
void special_forget(struct op *op, uint64_t ino);
/* Call when the data of a file were changed. */
void special_written(struct op *op, uint64_t ino);
/* Call when the entries of a directory were changed; `size` entries are left. */
void special_dir_changed(struct op *op, uint64_t ino, uint64_t size);

/* The deadline of a ttl that begins now: below 0 (see struct special). */
int64_t special_begin_ttl(const struct op *op, uint64_t seconds);

/* Advances the cluster's time, then gives their deadlines to up to LIMIT_EXPIRE_MAX ttls that have
 * begun. */
void special_advance(struct op *op, uint64_t elapsed_ms);

/* The cluster's time so many ms after `clock`. Pure. */
int64_t special_later(int64_t clock, uint64_t elapsed_ms);

/* True if the session may have one more ephemeral entry. */
bool special_has_room(const struct op *op);

/* ---- For checks ---- */
void special_read(sqlite3_stmt *st, int column, struct special *out);
struct store_hash special_hash(const struct special *s);

#endif
