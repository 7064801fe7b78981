/* SPDX-License-Identifier: Apache-2.0 */
/* The table of all locks, held and waited for. It exists in memory, where the rules of store/lock.c
 * work on it, and in the database, where every change updates rows. This file knows no rules.
 * Writer's thread, or a check's with a connection of its own.
 *
 * An owner is an entity that cannot conflict with itself: a handle for flock; for POSIX locks, what
 * the kernel calls the lock owner. A lock is taken through a handle and goes away with it.
 *
 * The order of hash tables and lists has no meaning, except that of a file's `waiting`, which is
 * sorted by `number`. */
#ifndef STORE_LOCKTAB_H
#define STORE_LOCKTAB_H

#include <sys/queue.h>
#include <uthash.h>

#include "store/row.h"

/* The values of proto/command.proto. */
enum lock_kind { LOCK_FLOCK = 0, LOCK_POSIX = 1 };

#define LOCK_END INT64_MAX /* the largest offset of a byte */

/* In the order of the columns, all of 64 bits. */
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
    /* A raft index. Held: the fencing token. Waiting: the place in the queue, never used again. */
    uint64_t number;
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
    UT_hash_handle hh; /* in locktab.waiters */
};

TAILQ_HEAD(lock_queue, lock);
LIST_HEAD(lock_list, lock);

/* The locks of one kind on one file. Freed with the last of them, like owners and handles. */
struct lock_file {
    uint64_t key[2]; /* ino, kind */
    struct lock_queue held;
    struct lock_queue waiting; /* sorted by number */
    size_t n_waiting;
    UT_hash_handle hh;
};

struct lock_owner {
    uint64_t key[3]; /* session, kind, owner */
    struct lock_list held;
    struct lock_list waiting;
    uint64_t visited; /* this and the following: for store/waits.c */
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
    size_t count; /* of its locks and requests */
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
    size_t count; /* of all locks and requests */
    uint64_t visit;
};

/* Loads all locks. Borrows `rows` until locktab_fini. */
void locktab_load(struct locktab *t, struct rows *rows);
void locktab_fini(struct locktab *t);

/* Inserts a row and its lock: into `held`, or at the end of `waiting`. */
struct lock *locktab_hold(struct locktab *t, const struct lock_row *row);
struct lock *locktab_wait(struct locktab *t, const struct lock_row *row);
/* Deletes the row and frees the lock, and the file, owner and handle if it was their last lock. */
void locktab_drop(struct locktab *t, struct lock *lock);

/* These return NULL if there are no locks. */
struct lock *locktab_waiter(const struct locktab *t, uint64_t number);
struct lock_file *locktab_file(const struct locktab *t, uint64_t ino, enum lock_kind kind);
struct lock_owner *locktab_owner(const struct locktab *t, const struct lock_row *row);
struct lock_handle *locktab_handle(const struct locktab *t, uint64_t session, uint64_t handle);
struct lock_session *locktab_session(const struct locktab *t, uint64_t session);

/* True if the ranges overlap, the owners differ, and one is exclusive. Both must be on one file. */
static inline bool locktab_conflict(const struct lock_row *a, const struct lock_row *b)
{
    return (a->exclusive || b->exclusive) && a->first <= b->last && b->first <= a->last &&
           (a->session != b->session || a->owner != b->owner);
}

/* The sum of the hashes of all rows, computed from memory. */
struct store_hash locktab_hash(const struct locktab *t);

/* Reads a row of STATEMENT_LOCK_ALL or STATEMENT_WAITER_ALL; computes its hash. */
void locktab_read(sqlite3_stmt *st, struct lock_row *out);
struct store_hash locktab_row_hash(const struct lock_row *row, bool waits);

#endif
