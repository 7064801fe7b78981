/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * The numbers of the changes have no gaps, and the raft index and the end offset grow with the
 * number. So a position by index or by offset is found by bisection over the numbers: about twenty
 * lookups in the B-tree. */
#include "store/history_reader.h"

#include <errno.h>

#include "store/history.h"
#include "store/internal.h"

/* Finds a kept change by its number: 1 or -EIO. The caller must not use its paths. */
static int find(struct db *db, uint64_t number, struct feed_change *out)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_HISTORY_AFTER);
    int row;

    db_bind(st, 1, number - 1);
    db_bind(st, 2, 1);
    row = db_step(db, st);
    if (row > 0)
        history_read(st, out);
    db_reset(st);
    return row > 0 ? 1 : -EIO;
}

static int find_start(struct db *db, uint64_t first, uint64_t *out)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_HISTORY_AFTER);
    struct buf line = BUF_EMPTY;
    struct feed_change c;
    int row;

    db_bind(st, 1, first - 1);
    db_bind(st, 2, 1);
    row = db_step(db, st);
    if (row > 0) {
        history_read(st, &c);
        feed_json(&line, &c);
        *out = c.end - line.len;
    }
    buf_fini(&line);
    db_reset(st);
    return row > 0 ? 0 : -EIO;
}

static int get_applied(struct db *db, uint64_t *out)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_STATE_GET);
    int row = db_step(db, st);

    if (row > 0)
        *out = db_u64(st, 0);
    db_reset(st);
    return row > 0 ? 0 : -EIO;
}

static int range_in(struct db *db, struct history_reader_range *out)
{
    struct history_state state;
    struct feed_change c;
    int row = state_load_history(db, &state);

    if (row < 0)
        return row;
    *out =
        (struct history_reader_range){.first = state.first, .last = state.last, .end = state.bytes};
    if (state.first > state.last)
        return state.first > 1 ? get_applied(db, &out->oldest) : 0;
    row = find(db, state.first, &c);
    if (row < 0)
        return row;
    out->oldest = c.index;
    return find_start(db, state.first, &out->start);
}

int history_reader_range(struct store_reader *r, struct history_reader_range *out)
{
    bool opened;
    int err;
    struct db *db = internal_reader_enter(r, &opened, &err);

    if (db == NULL)
        return err;
    err = range_in(db, out);
    internal_reader_leave(r, opened);
    return err;
}

static int pass(struct db *db, uint64_t after,
                bool (*fn)(void *arg, const struct feed_change *change), void *arg)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_HISTORY_AFTER);
    uint64_t expected = after + 1;
    struct feed_change c;
    int row;

    db_bind(st, 1, after);
    db_bind(st, 2, INT64_MAX);
    while ((row = db_step(db, st)) > 0) {
        history_read(st, &c);
        if (c.number != expected++) {
            row = -ESTALE;
            break;
        }
        if (!fn(arg, &c))
            break;
    }
    db_reset(st);
    return row < 0 ? row : 0;
}

int history_reader_each(struct store_reader *r, uint64_t after,
                        bool (*fn)(void *arg, const struct feed_change *change), void *arg)
{
    bool opened;
    int err;
    struct db *db = internal_reader_enter(r, &opened, &err);

    if (db == NULL)
        return err;
    err = pass(db, after, fn, arg);
    internal_reader_leave(r, opened);
    return err;
}

static bool index_is_upto(const struct feed_change *c, uint64_t index)
{
    return c->index <= index;
}

static bool end_is_upto(const struct feed_change *c, uint64_t offset)
{
    return c->end <= offset;
}

/* Finds the last number in [first - 1, last] for which `holds` is true. It must be true for all
 * before that number and false for all after. */
static int bisect(struct db *db, const struct history_reader_range *range,
                  bool (*holds)(const struct feed_change *c, uint64_t value), uint64_t value,
                  uint64_t *out)
{
    uint64_t low = range->first - 1, high = range->last;
    struct feed_change c;

    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        int row = find(db, middle, &c);

        if (row < 0)
            return row;
        if (holds(&c, value))
            low = middle;
        else
            high = middle - 1;
    }
    *out = low;
    return 0;
}

/* Earlier changes of the first kept change's index may have been deleted. */
static int since_in(struct db *db, uint64_t index, uint64_t *out)
{
    struct history_reader_range range;
    int err = range_in(db, &range);

    if (err == 0 && range.first > 1 && index < range.oldest)
        err = -ESTALE;
    return err == 0 ? bisect(db, &range, index_is_upto, index, out) : err;
}

int history_reader_since(struct store_reader *r, uint64_t index, uint64_t *out)
{
    bool opened;
    int err;
    struct db *db = internal_reader_enter(r, &opened, &err);

    if (db == NULL)
        return err;
    err = since_in(db, index, out);
    internal_reader_leave(r, opened);
    return err;
}

static int at_in(struct db *db, uint64_t offset, uint64_t *out)
{
    struct history_reader_range range;
    int err = range_in(db, &range);

    if (err == 0 && offset < range.start)
        err = -ESTALE;
    return err == 0 ? bisect(db, &range, end_is_upto, offset, out) : err;
}

int history_reader_at(struct store_reader *r, uint64_t offset, uint64_t *out)
{
    bool opened;
    int err;
    struct db *db = internal_reader_enter(r, &opened, &err);

    if (db == NULL)
        return err;
    err = at_in(db, offset, out);
    internal_reader_leave(r, opened);
    return err;
}
