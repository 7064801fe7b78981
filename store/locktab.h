/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all locks, those that are held and those that are waited for: in memory, where the
 * rules of store/lock.c are decided, and in the database, row by row with each change. Writer's
 * thread (or a check's, over a connection of its own). No rule is in here.
 *
 * An owner is who cannot be in conflict with itself: of flock, a handle; of POSIX locks, what the
 * kernel calls a lock owner. A handle is what a lock was taken through, and goes away with.
 *
 * The order in hash tables and lists is no part of the state; only that of a file's `waiting`,
 * which is by `number`, has a meaning. */
#ifndef STORE_LOCKTAB_H
#define STORE_LOCKTAB_H

#include <sys/queue.h>
#include <uthash.h>

#include "store/row.h"

/* As in proto/command.proto. */
enum lock_kind { LOCK_FLOCK = 0, LOCK_POSIX = 1 };

#define LOCK_END INT64_MAX /* the last byte that there can be */

/* In the order of the columns: all of 64 bits. */
struct lock_row {
    uint64_t ino;
    uint64_t kind;
    uint64_t session;
    uint64_t owner; /* flock: the handle */
    uint64_t first;
    uint64_t last; /* inclusive */
    uint64_t exclusive;
    uint64_t handle;
    uint64_t pid;
    uint64_t number; /* held: the fencing token; waiting: the place in the queue, never used again.
                        Both are raft indexes */
};

#define LOCK_N (sizeof(struct lock_row) / sizeof(uint64_t))

struct lock {
    struct lock_row row;
    bool waits;
    struct lock_file *file;
    struct lock_owner *by;
    struct lock_handle *through;
    TAILQ_ENTRY(lock) in_file;
    LIST_ENTRY(lock) in_owner;
    LIST_ENTRY(lock) in_handle;
    UT_hash_handle hh; /* locktab.waiters */
};

TAILQ_HEAD(lock_queue, lock);
LIST_HEAD(lock_list, lock);

/* The locks of one kind on one file. Gone with the last of them; so are owners and handles. */
struct lock_file {
    uint64_t key[2]; /* ino, kind */
    struct lock_queue held;
    struct lock_queue waiting; /* in order of their numbers */
    size_t n_waiting;
    UT_hash_handle hh;
};

struct lock_owner {
    uint64_t key[3]; /* session, kind, owner */
    struct lock_list held;
    struct lock_list waiting;
    uint64_t visited; /* this and below: store/waits.c's */
    struct lock_owner *below;
    UT_hash_handle hh;
};

struct lock_handle {
    uint64_t key[2]; /* session, handle */
    struct lock_list locks;
    struct lock_session *session;
    LIST_ENTRY(lock_handle) in_session;
    UT_hash_handle hh;
};

struct lock_session {
    uint64_t id;
    size_t count; /* of its locks */
    LIST_HEAD(, lock_handle) handles;
    UT_hash_handle hh;
};

struct locktab {
    struct rows *rows;
    struct lock *waiters; /* by number */
    struct lock_file *files;
    struct lock_owner *owners;
    struct lock_handle *handles;
    struct lock_session *sessions;
    size_t count; /* of all locks */
    uint64_t visit;
};

/* Reads them all. The rows stay borrowed. */
void locktab_load(struct locktab *t, struct rows *rows);
void locktab_fini(struct locktab *t);

/* A new row, and its lock: `held`, or waiting behind all others. */
struct lock *locktab_hold(struct locktab *t, const struct lock_row *row);
struct lock *locktab_wait(struct locktab *t, const struct lock_row *row);
/* Deletes both. Frees the lock; and the file, the owner, the handle when it was their last. */
void locktab_drop(struct locktab *t, struct lock *lock);

/* NULL: there are no locks. */
struct lock *locktab_waiter(const struct locktab *t, uint64_t number);
struct lock_file *locktab_file(const struct locktab *t, uint64_t ino, enum lock_kind kind);
struct lock_owner *locktab_owner(const struct locktab *t, const struct lock_row *row);
struct lock_handle *locktab_handle(const struct locktab *t, uint64_t session, uint64_t handle);
struct lock_session *locktab_session(const struct locktab *t, uint64_t session);

/* Do the ranges overlap, with different owners, and one of them exclusive? Both of one file. */
static inline bool locktab_conflict(const struct lock_row *a, const struct lock_row *b)
{
    return (a->exclusive || b->exclusive) && a->first <= b->last && b->first <= a->last &&
           (a->session != b->session || a->owner != b->owner);
}

/* The sum of the hashes of all rows, from memory. */
struct store_hash locktab_hash(const struct locktab *t);

/* A row out of STATEMENT_LOCK_ALL or STATEMENT_WAITER_ALL, and its hash. */
void locktab_read(sqlite3_stmt *st, struct lock_row *out);
struct store_hash locktab_row_hash(const struct lock_row *row, bool waits);

#endif
