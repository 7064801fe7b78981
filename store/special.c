/* SPDX-License-Identifier: Apache-2.0 */
#include "store/special.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/history.h"

_Static_assert(SPECIAL_N == 8 && SPECIAL_N <= HASH_FIELDS_MAX, "as the columns");

#define SECOND INT64_C(1000000000)

/* ---- Rows -------------------------------------------------------------------------------------*/

void special_read(sqlite3_stmt *st, int column, struct special *out)
{
    uint64_t fields[SPECIAL_N];

    db_u64_all(st, column, fields, SPECIAL_N);
    memcpy(out, fields, sizeof *out);
}

struct store_hash special_hash(const struct special *s)
{
    uint64_t fields[SPECIAL_N];

    memcpy(fields, s, sizeof *s);
    return hash_row(HASH_SPECIAL, fields, SPECIAL_N, (struct store_hash){0, 0});
}

bool special_find(struct op *op, uint64_t ino, struct special *out)
{
    sqlite3_stmt *st;
    bool found;

    *out = (struct special){.ino = ino};
    if (op->rows->state->specials == 0)
        return false;
    st = db_get(op->rows->db, STATEMENT_SPECIAL_GET);
    db_bind(st, 1, ino);
    found = db_step(op->rows->db, st) > 0;
    if (found)
        special_read(st, 0, out);
    db_reset(st);
    return found;
}

static bool is_nothing(const struct special *s)
{
    const struct special nothing = {.ino = s->ino};

    return memcmp(s, &nothing, sizeof *s) == 0;
}

/* Updates the counters that are kept in memory when a row is added (by 1) or removed (by -1). */
static void count(struct op *op, const struct special *s, uint64_t by)
{
    struct session *session = s->session != 0 ? session_find(op->sessions, s->session) : NULL;

    op->rows->state->specials += by;
    op->rows->state->guards += s->guard != 0 ? by : 0;
    check((s->session != 0) == (session != NULL));
    if (session != NULL)
        session->ephemerals += by;
}

static void went(struct op *op, const struct special *s)
{
    hash_sub(&op->rows->state->rows, special_hash(s));
    count(op, s, UINT64_MAX); /* - 1 */
}

static void came(struct op *op, const struct special *s)
{
    hash_add(&op->rows->state->rows, special_hash(s));
    count(op, s, 1);
}

static void run_one(struct op *op, sqlite3_stmt *st)
{
    db_run(op->rows->db, st);
    check(sqlite3_changes(op->rows->db->conn) == 1);
}

static void delete_row(struct op *op, const struct special *s)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_SPECIAL_DELETE);

    db_bind(st, 1, s->ino);
    run_one(op, st);
}

static void put_row(struct op *op, const struct special *s)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_SPECIAL_PUT);
    uint64_t fields[SPECIAL_N];

    memcpy(fields, s, sizeof *s);
    db_bind_all(st, 1, fields, SPECIAL_N);
    run_one(op, st);
}

void special_save(struct op *op, const struct special *was, const struct special *is)
{
    check(was->ino == is->ino);
    if (memcmp(was, is, sizeof *is) == 0)
        return;
    if (!is_nothing(was))
        went(op, was);
    if (is_nothing(is)) {
        delete_row(op, was);
        return;
    }
    put_row(op, is);
    came(op, is);
}

/* ---- Making -----------------------------------------------------------------------------------*/

bool special_has_room(const struct op *op)
{
    const struct session *session = session_find(op->sessions, op->session);

    return session != NULL && session->ephemerals < LIMIT_EPHEMERALS;
}

uint32_t special_plan(struct op *op, const struct special *dir, Cfs__Ephemeral wanted,
                      uint32_t type, struct special *out)
{
    *out = (struct special){.ino = 0};
    if (wanted != CFS__EPHEMERAL__EPHEMERAL_INHERIT &&
        wanted != CFS__EPHEMERAL__EPHEMERAL_SESSION && wanted != CFS__EPHEMERAL__EPHEMERAL_OPEN)
        return EINVAL;
    if (wanted == CFS__EPHEMERAL__EPHEMERAL_INHERIT)
        wanted = (Cfs__Ephemeral)dir->ephemeral;
    if (wanted == CFS__EPHEMERAL__EPHEMERAL_INHERIT)
        return 0;
    /* Types that cannot be held open would be removed immediately. */
    if (wanted == CFS__EPHEMERAL__EPHEMERAL_OPEN && type != S_IFREG && type != S_IFDIR)
        wanted = CFS__EPHEMERAL__EPHEMERAL_SESSION;
    out->ephemeral = (uint64_t)wanted;
    out->session = op->session;
    return special_has_room(op) ? 0 : EDQUOT;
}

void special_made(struct op *op, const struct special *plan, uint64_t ino)
{
    struct special was = {.ino = ino}, is = *plan;

    is.ino = ino;
    special_save(op, &was, &is);
}

/* ---- What happens to it -----------------------------------------------------------------------*/

void special_forget(struct op *op, uint64_t ino)
{
    struct special was, is = {.ino = ino};

    if (special_find(op, ino, &was))
        special_save(op, &was, &is);
}

/* Clocks of hosts may show any time: the sum must not overflow, and 0 means "none". */
int64_t special_begin_ttl(const struct op *op, uint64_t seconds)
{
    int64_t at;

#ifdef BREAK_TTL
    if (op->rows->state->clock != 0)
        return special_later(op->rows->state->clock, seconds * 1000);
#endif
    if (__builtin_add_overflow(op->now, (int64_t)seconds * SECOND, &at))
        return -INT64_MAX;
    return at > 0 ? -at : -1;
}

int64_t special_later(int64_t clock, uint64_t elapsed_ms)
{
    int64_t later, ns;

    if (__builtin_mul_overflow(elapsed_ms, INT64_C(1000000), &ns) ||
        __builtin_add_overflow(clock, ns, &later))
        return INT64_MAX;
    return later;
}

static struct store_hash clock_hash(int64_t clock)
{
    return history_setting_hash((struct bytes){(const uint8_t *)STATE_CLOCK, strlen(STATE_CLOCK)},
                                (uint64_t)clock);
}

/* Its beginning only makes a deadline easy to read. So any wall clock will do. */
static void advance_clock(struct op *op, uint64_t elapsed_ms)
{
    struct state *state = op->rows->state;
    int64_t clock =
        state->clock != 0 ? special_later(state->clock, elapsed_ms) : (op->now > 0 ? op->now : 1);
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_SETTING_PUT);

    sqlite3_bind_text(st, 1, STATE_CLOCK, -1, SQLITE_STATIC);
    db_bind(st, 2, (uint64_t)clock);
    db_run(op->rows->db, st);
    if (state->clock != 0)
        hash_sub(&state->rows, clock_hash(state->clock));
    hash_add(&state->rows, clock_hash(clock));
    state->clock = clock;
}

/* Finds an inode whose ttl has begun and has no deadline yet: by the senders' clocks the oldest. */
static bool find_begun(struct op *op, struct special *out)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_SPECIAL_PENDING);
    bool found = db_step(op->rows->db, st) > 0;
    uint64_t ino = found ? db_u64(st, 0) : 0;

    db_reset(st);
    return found && special_find(op, ino, out);
}

void special_advance(struct op *op, uint64_t elapsed_ms)
{
    struct special was, is;

    advance_clock(op, elapsed_ms);
    for (unsigned i = 0; i < LIMIT_EXPIRE_MAX && find_begun(op, &was); i++) {
        is = was;
        is.deadline = special_later(op->rows->state->clock, was.ttl * 1000);
        special_save(op, &was, &is);
    }
}

static void renew(struct op *op, const struct special *was, bool runs)
{
    struct special is = *was;

    is.deadline = runs ? special_begin_ttl(op, was->ttl) : 0;
    special_save(op, was, &is);
}

void special_written(struct op *op, uint64_t ino)
{
    struct special was;

    if (special_find(op, ino, &was) && was.ttl != 0)
        renew(op, &was, true);
}

void special_dir_changed(struct op *op, uint64_t ino, uint64_t size)
{
    struct special was;

    if (special_find(op, ino, &was) && was.ttl != 0)
        renew(op, &was, size == 0);
}
