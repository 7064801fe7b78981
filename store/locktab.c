/* SPDX-License-Identifier: Apache-2.0 */
#include "store/locktab.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(LOCK_N == 10 && LOCK_N <= HASH_FIELDS_MAX, "as the columns");

static const struct store_hash no_bytes;

/* ---- Rows -------------------------------------------------------------------------------------*/

void locktab_read(sqlite3_stmt *st, struct lock_row *out)
{
    uint64_t fields[LOCK_N];

    db_u64_all(st, 0, fields, LOCK_N);
    memcpy(out, fields, sizeof *out);
}

struct store_hash locktab_row_hash(const struct lock_row *row, bool waits)
{
    uint64_t fields[LOCK_N];

    memcpy(fields, row, sizeof *row);
    return hash_row(waits ? HASH_WAITER : HASH_LOCK, fields, LOCK_N, no_bytes);
}

static void run_one(struct rows *r, sqlite3_stmt *st)
{
    db_run(r->db, st);
    check(sqlite3_changes(r->db->conn) == 1);
}

static void insert_row(struct rows *r, const struct lock_row *row, bool waits)
{
    sqlite3_stmt *st = db_get(r->db, waits ? STATEMENT_WAITER_INSERT : STATEMENT_LOCK_INSERT);
    uint64_t fields[LOCK_N];

    memcpy(fields, row, sizeof *row);
    db_bind_all(st, 1, fields, LOCK_N);
    run_one(r, st);
    hash_add(&r->state->rows, locktab_row_hash(row, waits));
}

static void delete_row(struct rows *r, const struct lock_row *row, bool waits)
{
    sqlite3_stmt *st = db_get(r->db, waits ? STATEMENT_WAITER_DELETE : STATEMENT_LOCK_DELETE);
    uint64_t key[] = {row->ino, row->kind, row->session, row->owner, row->first};

    if (waits)
        db_bind(st, 1, row->number);
    else
        db_bind_all(st, 1, key, ARRAY_LEN(key));
    run_one(r, st);
    hash_sub(&r->state->rows, locktab_row_hash(row, waits));
}

/* ---- Finding ----------------------------------------------------------------------------------*/

/* uthash reads keys byte by byte, which the analyzer cannot follow; all of each key is set.
 * NOLINTBEGIN(clang-analyzer-core.UndefinedBinaryOperatorResult) */

struct lock *locktab_waiter(const struct locktab *t, uint64_t number)
{
    struct lock *lock;

    HASH_FIND(hh, t->waiters, &number, sizeof number, lock);
    return lock;
}

struct lock_file *locktab_file(const struct locktab *t, uint64_t ino, enum lock_kind kind)
{
    uint64_t key[] = {ino, kind};
    struct lock_file *file;

    HASH_FIND(hh, t->files, key, sizeof key, file);
    return file;
}

struct lock_owner *locktab_owner(const struct locktab *t, const struct lock_row *row)
{
    uint64_t key[] = {row->session, row->kind, row->owner};
    struct lock_owner *owner;

    HASH_FIND(hh, t->owners, key, sizeof key, owner);
    return owner;
}

struct lock_handle *locktab_handle(const struct locktab *t, uint64_t session, uint64_t handle)
{
    uint64_t key[] = {session, handle};
    struct lock_handle *found;

    HASH_FIND(hh, t->handles, key, sizeof key, found);
    return found;
}

struct lock_session *locktab_session(const struct locktab *t, uint64_t session)
{
    struct lock_session *found;

    HASH_FIND(hh, t->sessions, &session, sizeof session, found);
    return found;
}

/* NOLINTEND(clang-analyzer-core.UndefinedBinaryOperatorResult) */

/* ---- Finding, or making -----------------------------------------------------------------------*/

static struct lock_file *get_file(struct locktab *t, const struct lock_row *row)
{
    struct lock_file *file = locktab_file(t, row->ino, (enum lock_kind)row->kind);

    if (file != NULL)
        return file;
    file = xcalloc(1, sizeof *file);
    file->key[0] = row->ino;
    file->key[1] = row->kind;
    TAILQ_INIT(&file->held);
    TAILQ_INIT(&file->waiting);
    HASH_ADD(hh, t->files, key, sizeof file->key, file);
    return file;
}

static struct lock_owner *get_owner(struct locktab *t, const struct lock_row *row)
{
    struct lock_owner *owner = locktab_owner(t, row);

    if (owner != NULL)
        return owner;
    owner = xcalloc(1, sizeof *owner);
    owner->key[0] = row->session;
    owner->key[1] = row->kind;
    owner->key[2] = row->owner;
    LIST_INIT(&owner->held);
    LIST_INIT(&owner->waiting);
    HASH_ADD(hh, t->owners, key, sizeof owner->key, owner);
    return owner;
}

static struct lock_session *get_session(struct locktab *t, uint64_t id)
{
    struct lock_session *session = locktab_session(t, id);

    if (session != NULL)
        return session;
    session = xcalloc(1, sizeof *session);
    session->id = id;
    LIST_INIT(&session->handles);
    HASH_ADD(hh, t->sessions, id, sizeof session->id, session);
    return session;
}

static struct lock_handle *get_handle(struct locktab *t, const struct lock_row *row)
{
    struct lock_handle *handle = locktab_handle(t, row->session, row->handle);

    if (handle != NULL)
        return handle;
    handle = xcalloc(1, sizeof *handle);
    handle->key[0] = row->session;
    handle->key[1] = row->handle;
    LIST_INIT(&handle->locks);
    handle->session = get_session(t, row->session);
    LIST_INSERT_HEAD(&handle->session->handles, handle, in_session);
    HASH_ADD(hh, t->handles, key, sizeof handle->key, handle);
    return handle;
}

/* ---- Coming and going -------------------------------------------------------------------------*/

static struct lock *link_lock(struct locktab *t, const struct lock_row *row, bool waits)
{
    struct lock *lock = xcalloc(1, sizeof *lock);

    lock->row = *row;
    lock->waits = waits;
    lock->file = get_file(t, row);
    lock->by = get_owner(t, row);
    lock->through = get_handle(t, row);
    LIST_INSERT_HEAD(&lock->through->locks, lock, in_handle);
    lock->through->session->count++;
    t->count++;
    if (waits) {
        const struct lock *last = TAILQ_LAST(&lock->file->waiting, lock_queue);

        check(last == NULL || last->row.number < row->number);
        TAILQ_INSERT_TAIL(&lock->file->waiting, lock, in_file);
        lock->file->n_waiting++;
        LIST_INSERT_HEAD(&lock->by->waiting, lock, in_owner);
        HASH_ADD(hh, t->waiters, row.number, sizeof lock->row.number, lock);
    } else {
        TAILQ_INSERT_TAIL(&lock->file->held, lock, in_file);
        LIST_INSERT_HEAD(&lock->by->held, lock, in_owner);
    }
    return lock;
}

static void free_handle(struct locktab *t, struct lock_handle *handle)
{
    struct lock_session *session = handle->session;

    LIST_REMOVE(handle, in_session);
    HASH_DELETE(hh, t->handles, handle);
    free(handle);
    if (LIST_EMPTY(&session->handles)) {
        check(session->count == 0);
        HASH_DELETE(hh, t->sessions, session);
        free(session);
    }
}

static void unlink_lock(struct locktab *t, struct lock *lock)
{
    struct lock_file *file = lock->file;
    struct lock_owner *owner = lock->by;

    if (lock->waits) {
        TAILQ_REMOVE(&file->waiting, lock, in_file);
        file->n_waiting--;
        HASH_DELETE(hh, t->waiters, lock);
    } else {
        TAILQ_REMOVE(&file->held, lock, in_file);
    }
    LIST_REMOVE(lock, in_owner);
    LIST_REMOVE(lock, in_handle);
    lock->through->session->count--;
    t->count--;
    if (LIST_EMPTY(&lock->through->locks))
        free_handle(t, lock->through);
    if (LIST_EMPTY(&owner->held) && LIST_EMPTY(&owner->waiting)) {
        HASH_DELETE(hh, t->owners, owner);
        free(owner);
    }
    if (TAILQ_EMPTY(&file->held) && TAILQ_EMPTY(&file->waiting)) {
        HASH_DELETE(hh, t->files, file);
        free(file);
    }
    free(lock);
}

struct lock *locktab_hold(struct locktab *t, const struct lock_row *row)
{
    insert_row(t->rows, row, false);
    return link_lock(t, row, false);
}

struct lock *locktab_wait(struct locktab *t, const struct lock_row *row)
{
    insert_row(t->rows, row, true);
    return link_lock(t, row, true);
}

void locktab_drop(struct locktab *t, struct lock *lock)
{
    delete_row(t->rows, &lock->row, lock->waits);
    unlink_lock(t, lock);
}

/* ---- Life -------------------------------------------------------------------------------------*/

static void load(struct locktab *t, enum statement which, bool waits)
{
    sqlite3_stmt *st = db_get(t->rows->db, which);
    struct lock_row row;

    while (db_step(t->rows->db, st) > 0) {
        locktab_read(st, &row);
        link_lock(t, &row, waits);
    }
}

void locktab_load(struct locktab *t, struct rows *rows)
{
    memset(t, 0, sizeof *t);
    t->rows = rows;
    load(t, STATEMENT_LOCK_ALL, false);
    load(t, STATEMENT_WAITER_ALL, true);
}

void locktab_fini(struct locktab *t)
{
    while (t->files != NULL) {
        struct lock_file *file = t->files; /* freed with its last lock */
        struct lock *lock = TAILQ_FIRST(&file->held);

        unlink_lock(t, lock != NULL ? lock : TAILQ_FIRST(&file->waiting));
    }
    check(t->count == 0);
}

struct store_hash locktab_hash(const struct locktab *t)
{
    struct store_hash sum = {0, 0};

    for (const struct lock_file *file = t->files; file != NULL; file = file->hh.next) {
        const struct lock *lock;

        TAILQ_FOREACH (lock, &file->held, in_file)
            hash_add(&sum, locktab_row_hash(&lock->row, false));
        TAILQ_FOREACH (lock, &file->waiting, in_file)
            hash_add(&sum, locktab_row_hash(&lock->row, true));
    }
    return sum;
}
