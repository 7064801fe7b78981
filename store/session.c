/* SPDX-License-Identifier: Apache-2.0 */
#include "store/session.h"

#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

_Static_assert(offsetof(struct session, ttl_ms) == SESSION_N * sizeof(uint64_t),
               "the columns come first");

static const struct store_hash no_bytes;

void session_read(sqlite3_stmt *st, struct session *out)
{
    uint64_t fields[SESSION_N];

    db_u64_all(st, 0, fields, SESSION_N);
    memset(out, 0, sizeof *out);
    memcpy(out, fields, sizeof fields);
}

struct store_hash session_hash(const struct session *session)
{
    uint64_t fields[SESSION_N];

    memcpy(fields, session, sizeof fields);
    return hash_row(HASH_SESSION, fields, SESSION_N, no_bytes);
}

struct store_hash session_lease_hash(uint64_t session, uint64_t ttl_ms)
{
    uint64_t fields[] = {session, ttl_ms};

    return hash_row(HASH_LEASE, fields, ARRAY_LEN(fields), no_bytes);
}

static void add(struct sessions *s, struct session *session)
{
    HASH_ADD(hh, s->by_id, id, sizeof session->id, session);
}

void sessions_load(struct sessions *s, struct rows *rows)
{
    sqlite3_stmt *st = db_get(rows->db, STATEMENT_SESSION_ALL);

    s->rows = rows;
    s->by_id = NULL;
    LIST_INIT(&s->dirty);
    while (db_step(rows->db, st) > 0) {
        struct session *session = xmalloc(sizeof *session);

        session_read(st, session);
        session->ttl_ms = db_u64(st, SESSION_N);
        add(s, session);
    }
    sessions_recount(s);
}

void sessions_recount(struct sessions *s)
{
    sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_SPECIAL_SESSIONS);

    for (struct session *i = s->by_id; i != NULL; i = i->hh.next)
        i->ephemerals = 0;
    while (db_step(s->rows->db, st) > 0) {
        struct session *session = session_find(s, db_u64(st, 0));

        if (session != NULL) /* if it is missing, a check reports it */
            session->ephemerals = db_u64(st, 1);
    }
}

static void drop(struct sessions *s, struct session *session)
{
    HASH_DELETE(hh, s->by_id, session);
    if (session->dirty)
        LIST_REMOVE(session, next_dirty);
    free(session);
}

void sessions_fini(struct sessions *s)
{
    struct session *session, *next;

    HASH_ITER (hh, s->by_id, session, next)
        drop(s, session);
}

void sessions_save(struct sessions *s)
{
    struct session *session;

    while ((session = LIST_FIRST(&s->dirty)) != NULL) {
        sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_SESSION_UPDATE);

        db_bind(st, 1, session->id);
        db_bind(st, 2, session->last_seq);
        db_bind(st, 3, session->forgotten);
        db_bind(st, 4, session->used);
        db_run(s->rows->db, st);
        session->dirty = false;
        LIST_REMOVE(session, next_dirty);
    }
}

size_t sessions_count(const struct sessions *s)
{
    return HASH_COUNT(s->by_id);
}

struct session *session_find(const struct sessions *s, uint64_t id)
{
    struct session *session;

    HASH_FIND(hh, s->by_id, &id, sizeof id, session);
    return session;
}

struct session *session_of_member(const struct sessions *s, uint64_t member)
{
    for (struct session *i = s->by_id; i != NULL; i = i->hh.next)
        if (i->member == member)
            return i;
    return NULL;
}

/* ---- Leases -----------------------------------------------------------------------------------*/

static uint64_t clamp_ttl(uint64_t ttl_ms)
{
    return min_u64(max_u64(ttl_ms, LIMIT_SESSION_TTL_MIN), LIMIT_SESSION_TTL_MAX);
}

static void insert_lease(struct sessions *s, const struct session *session)
{
    sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_LEASE_INSERT);

    if (session->ttl_ms == LIMIT_SESSION_TTL_MS)
        return;
    db_bind(st, 1, session->id);
    db_bind(st, 2, session->ttl_ms);
    db_run(s->rows->db, st);
    hash_add(&s->rows->state->rows, session_lease_hash(session->id, session->ttl_ms));
}

static void delete_lease(struct sessions *s, const struct session *session)
{
    sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_LEASE_DELETE);

    if (session->ttl_ms == LIMIT_SESSION_TTL_MS)
        return;
    db_bind(st, 1, session->id);
    db_run(s->rows->db, st);
    hash_sub(&s->rows->state->rows, session_lease_hash(session->id, session->ttl_ms));
}

/* ---- Opening and ending -----------------------------------------------------------------------*/

void session_delete(struct sessions *s, struct session *session)
{
    sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_SESSION_DELETE);

    row_reply_delete_upto(s->rows, session->id, INT64_MAX);
    delete_lease(s, session);
    db_bind(st, 1, session->id);
    db_run(s->rows->db, st);
    hash_sub(&s->rows->state->rows, session_hash(session));
    drop(s, session);
}

/* The smallest (used, id) is unique, so the result does not depend on the order of the hash table.
 */
struct session *session_surplus(const struct sessions *s)
{
    struct session *least = s->by_id;

    if (sessions_count(s) < LIMIT_SESSIONS_MAX)
        return NULL;
    for (struct session *i = s->by_id; i != NULL; i = i->hh.next)
        if (i->used < least->used || (i->used == least->used && i->id < least->id))
            least = i;
    return least;
}

static int compare_ids(const void *a, const void *b)
{
    const struct session *const *x = a, *const *y = b;

    return (*x)->id < (*y)->id ? -1 : (*x)->id > (*y)->id;
}

struct session **sessions_sorted(const struct sessions *s, size_t *n)
{
    struct session **all = xcalloc(sessions_count(s) + 1, sizeof *all);

    *n = 0;
    for (struct session *i = s->by_id; i != NULL; i = i->hh.next)
        all[(*n)++] = i;
    qsort(all, *n, sizeof(struct session *), compare_ids);
    return all;
}

struct session *session_open(struct sessions *s, uint64_t id, uint64_t member, uint64_t nonce,
                             uint64_t previous, uint64_t ttl_ms)
{
    sqlite3_stmt *st = db_get(s->rows->db, STATEMENT_SESSION_INSERT);
    struct session *session = xcalloc(1, sizeof *session);
    uint64_t fields[SESSION_N];

    session->id = id;
    session->member = member;
    session->nonce = nonce;
    session->previous = previous;
    session->used = id;
    session->ttl_ms = ttl_ms != 0 ? clamp_ttl(ttl_ms) : LIMIT_SESSION_TTL_MS;
    memcpy(fields, session, sizeof fields);
    db_bind_all(st, 1, fields, SESSION_N);
    db_run(s->rows->db, st);
    hash_add(&s->rows->state->rows, session_hash(session));
    insert_lease(s, session);
    s->rows->state->n.opened++;
    add(s, session);
    return session;
}

void session_applied(struct sessions *s, struct session *session, uint64_t index, uint64_t acked,
                     struct bytes reply)
{
    struct store_hash *sum = &s->rows->state->rows;
    uint64_t forget;

    hash_sub(sum, session_hash(session));
    session->last_seq++;
    session->used = index;
    row_reply_insert(s->rows, session->id, session->last_seq, reply);
    forget =
        session->last_seq > LIMIT_SESSION_WINDOW ? session->last_seq - LIMIT_SESSION_WINDOW : 0;
    forget = max_u64(forget, acked);
#ifdef BREAK_REPLIES
    forget = session->last_seq - 1;
#endif
    if (forget > session->forgotten) {
        row_reply_delete_upto(s->rows, session->id, forget);
        session->forgotten = forget;
    }
    if (!session->dirty)
        LIST_INSERT_HEAD(&s->dirty, session, next_dirty);
    session->dirty = true;
    hash_add(sum, session_hash(session));
}
