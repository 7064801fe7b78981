/* SPDX-License-Identifier: Apache-2.0 */
/* What makes an inode special: a row of table `special` for each that is anything of the following.
 * Most trees have few; as long as there are none, looking costs nothing.
 *
 * ephemeral  An entry lives as long as a session, or until nobody on that session's host has it
 *            open any more. A directory that says so passes it on to all that is made in it, for
 * the session that makes it; a directory that was made so is itself bound to a session, but one
 * that was told so by an xattr is not. What is not empty when its time has come is removed when it
 * becomes empty. ttl        A file is removed so many seconds after the last change of its data, a
 * directory so many seconds after it became empty; or after it was told so, if that was later.
 * container  A directory is removed together with the last of its children.
 * guard      Below a directory, nothing is changed but by a session that holds the lock on a
 *            certain file (store/dir_guard.h).
 * sequence   The next number that a directory will give to a sequential entry.
 *
 * Entries that end by themselves have one name: others cannot be linked to them, and what has
 * several cannot be made one.
 *
 * Users see them as xattrs, user.coordfs.NAME (store/znode.h). Writer's thread; see store/op.h. */
#ifndef STORE_SPECIAL_H
#define STORE_SPECIAL_H

#include "store/op.h"

/* In the order of the columns: all of 64 bits. All zero but for ino: nothing special, no row. */
struct special {
    uint64_t ino;
    uint64_t ephemeral; /* Cfs__Ephemeral */
    uint64_t session;   /* with which it goes; 0: a directory that only passes it on */
    uint64_t ttl;       /* seconds */
    int64_t deadline;   /* nanoseconds since the epoch; 0: none, not (yet) */
    uint64_t container; /* 0, 1 */
    uint64_t guard;     /* the inode of the lock file */
    uint64_t sequence;
};

#define SPECIAL_N (sizeof(struct special) / sizeof(uint64_t))

/* What is special of the inode; all zero when nothing is. True: something. */
bool special_find(struct op *op, uint64_t ino, struct special *out);
/* Changes, inserts or deletes the row. */
void special_save(struct op *op, const struct special *was, const struct special *is);

/* Does it end by itself? */
static inline bool special_is_mortal(const struct special *s)
{
    return s->session != 0 || s->ttl != 0;
}

/* ---- What operations call ---- */

/* Before an entry is made: what it shall be, by its directory and by what is asked for; all zero
 * when it is nothing special. 0, EINVAL, EDQUOT. */
uint32_t special_plan(struct op *op, const struct special *dir, Cfs__Ephemeral wanted,
                      uint32_t type, struct special *out);
/* After it was made. */
void special_made(struct op *op, const struct special *plan, uint64_t ino);

/* An inode lost its last name. */
void special_forget(struct op *op, uint64_t ino);
/* A file's data changed. */
void special_written(struct op *op, uint64_t ino);
/* A directory's children changed; `size` of them are left. */
void special_dir_changed(struct op *op, uint64_t ino, uint64_t size);

/* So many seconds from now, as a deadline. */
int64_t special_after(const struct op *op, uint64_t seconds);

/* May the session have one more ephemeral entry? */
bool special_has_room(const struct op *op);

/* ---- For checks ---- */
void special_read(sqlite3_stmt *st, int column, struct special *out);
struct store_hash special_hash(const struct special *s);

#endif
