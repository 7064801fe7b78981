/* SPDX-License-Identifier: Apache-2.0 */
#include "store/state.h"

#include <string.h>

#include "proto/limits.h"
#include "store/row.h"

static int load_counters(struct db *db, struct state *s)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_STATE_GET);
    uint64_t fields[COUNTERS_N];
    int row = db_step(db, st);
    const uint8_t *sum;
    size_t len;

    if (row <= 0)
        return row;
    db_u64_all(st, 0, fields, COUNTERS_N);
    memcpy(&s->n, fields, sizeof s->n);
    sum = db_bytes(st, COUNTERS_N, &len);
    if (len == HASH_SIZE)
        s->rows = hash_decode(sum);
    db_reset(st);
    return len == HASH_SIZE;
}

static void keep_config(struct state *s, uint64_t index, const void *data, size_t len)
{
    buf_fini(&s->config);
    s->config = buf_copy(data, len);
    s->config_index = index;
    s->config_hash = hash_bytes(data, len);
}

static int load_config(struct db *db, struct state *s)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_CONFIG_GET);
    int row = db_step(db, st);
    const uint8_t *data;
    size_t len;

    if (row <= 0)
        return row;
    data = db_bytes(st, 1, &len);
    keep_config(s, db_u64(st, 0), data, len);
    db_reset(st);
    return 1;
}

static int count_specials(struct db *db, struct state *s)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_SPECIAL_COUNT);
    int row = db_step(db, st);

    if (row > 0) {
        s->specials = db_u64(st, 0);
        s->guards = db_u64(st, 1);
    }
    db_reset(st);
    return row;
}

static int count_rows(struct db *db, enum statement which, uint64_t *out)
{
    sqlite3_stmt *st = db_get(db, which);
    int row = db_step(db, st);

    if (row > 0)
        *out = db_u64(st, 0);
    db_reset(st);
    return row;
}

/* The first change of a tree is always one of the root. */
static int was_changed(struct db *db, bool *out)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_INODE_GET);
    struct inode root = {.ino = 0};
    int row;

    db_bind(st, 1, ROW_ROOT_INO);
    row = db_step(db, st);
    if (row > 0)
        row_inode_read(st, 0, &root);
    db_reset(st);
    *out = row > 0 && root.cversion + root.aversion > 0;
    return row;
}

/* An older version of the program kept no history. It begins as if one change had been deleted. */
static int load_none(struct db *db, struct history_state *out)
{
    bool changed;
    int row = was_changed(db, &changed);

    out->last = changed ? 1 : 0;
    out->first = out->last + 1;
    return row;
}

/* If there are no rows, nothing was ever changed, because the last change is never deleted. */
int state_load_history(struct db *db, struct history_state *out)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_HISTORY_RANGE);
    int row = db_step(db, st);

    *out = (struct history_state){.limit = LIMIT_HISTORY};
    if (row > 0) {
        out->first = db_u64(st, 0);
        out->last = db_u64(st, 1);
        out->bytes = db_u64(st, 2);
    }
    db_reset(st);
    if (row == 0)
        row = load_none(db, out);
    if (row < 0)
        return row;
    st = db_get(db, STATEMENT_SETTING_GET);
    sqlite3_bind_text(st, 1, STATE_HISTORY_LIMIT, -1, SQLITE_STATIC);
    row = db_step(db, st);
    if (row > 0)
        out->limit = db_u64(st, 0);
    db_reset(st);
    return row < 0 ? row : 1;
}

static int load_clock(struct db *db, struct state *s)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_SETTING_GET);
    int row;

    sqlite3_bind_text(st, 1, STATE_CLOCK, -1, SQLITE_STATIC);
    row = db_step(db, st);
    if (row > 0)
        s->clock = (int64_t)db_u64(st, 0);
    db_reset(st);
    return row < 0 ? row : 1;
}

int state_load(struct db *db, struct state *out)
{
    int row;

    memset(out, 0, sizeof *out);
    row = load_counters(db, out);
    if (row > 0)
        row = load_config(db, out);
    if (row > 0)
        row = count_specials(db, out);
    if (row > 0)
        row = count_rows(db, STATEMENT_STAGED_WRITE_COUNT, &out->staged_writes);
    if (row > 0)
        row = count_rows(db, STATEMENT_QUOTAS, &out->quotas);
    if (row > 0)
        row = state_load_history(db, &out->history);
    if (row > 0)
        row = load_clock(db, out);
    return row;
}

void state_fini(struct state *s)
{
    buf_fini(&s->config);
}

void state_save(struct db *db, const struct state *s)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_STATE_PUT);
    uint64_t fields[COUNTERS_N];
    uint8_t sum[HASH_SIZE];

    memcpy(fields, &s->n, sizeof s->n);
    hash_encode(s->rows, sum);
    db_bind_all(st, 1, fields, COUNTERS_N);
    db_bind_bytes(st, COUNTERS_N + 1, sum, sizeof sum);
    db_run(db, st);
}

void state_set_config(struct db *db, struct state *s, uint64_t index, const void *data, size_t len)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_CONFIG_PUT);

    keep_config(s, index, data, len);
    db_bind(st, 1, index);
    db_bind_bytes(st, 2, data, len);
    db_run(db, st);
}

struct store_hash state_hash(const struct state *s)
{
    struct store_hash sum = s->rows;
    uint64_t fields[COUNTERS_N + 1];

    memcpy(fields, &s->n, sizeof s->n);
    fields[COUNTERS_N] = s->config_index;
    hash_add(&sum, hash_row(HASH_STATE, fields, ARRAY_LEN(fields), s->config_hash));
    return sum;
}
