/* SPDX-License-Identifier: Apache-2.0 */
#include "store/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define NUMBERS 10 /* the columns before the paths */

/* Offsets into history.text. */
struct history_place {
    uint64_t version;
    size_t path;
    size_t new_path; /* where the first path ends */
    size_t end;
};

void history_fini(struct history *h)
{
    free(h->places);
    buf_fini(&h->text);
    buf_fini(&h->line);
    buf_fini(&h->path);
}

void history_forget(struct history *h)
{
    h->dir = 0;
}

/* ---- Paths ------------------------------------------------------------------------------------*/

/* Finds one of the inode's names; which one depends on the names only, not on the order of their
 * creation. False: the inode has no name. The name is borrowed until `st` is reset. */
static bool find_name(struct op *op, uint64_t ino, sqlite3_stmt **st, uint64_t *parent,
                      struct bytes *name)
{
    *st = db_get(op->rows->db, STATEMENT_DIRENT_FIRST);
    db_bind(*st, 1, ino);
    if (db_step(op->rows->db, *st) <= 0)
        return false;
    *parent = db_u64(*st, 0);
    *name = row_bytes(*st, 1);
    return true;
}

/* Finds the path of the directory, from its last component up to the root. */
static void look_up(struct op *op, uint64_t dir)
{
    struct history *h = op->history;
    char text[LIMIT_HISTORY_PATH];
    size_t at = sizeof text;
    uint64_t ino = dir, parent;
    struct bytes name;
    sqlite3_stmt *st;

    while (ino != ROW_ROOT_INO) {
        bool fits;

        check(find_name(op, ino, &st, &parent, &name));
        fits = name.len + 1 <= at;
        if (fits) {
            at -= name.len + 1;
            text[at] = '/';
            memcpy(text + at + 1, name.data, name.len);
        }
        db_reset(st);
        if (!fits) {
            at++; /* no slash in front: the path is incomplete */
            break;
        }
        ino = parent;
    }
    h->path.len = 0;
    buf_append(&h->path, text + at, sizeof text - at);
    h->dir = dir;
}

static void add_path(struct op *op, uint64_t dir, struct bytes name)
{
    struct history *h = op->history;

    if (h->dir != dir)
        look_up(op, dir);
    buf_append(&h->text, h->path.data, h->path.len);
    buf_append(&h->text, "/", 1);
    buf_append(&h->text, name.data, name.len);
}

static void add_path_of(struct op *op, uint64_t ino)
{
    struct buf copy;
    struct bytes name;
    sqlite3_stmt *st;
    uint64_t parent;

    if (ino == ROW_ROOT_INO) {
        buf_append(&op->history->text, "/", 1);
        return;
    }
    if (!find_name(op, ino, &st, &parent, &name)) {
        db_reset(st);
        return;
    }
    copy = buf_copy(name.data, name.len); /* look_up uses the statement again */
    db_reset(st);
    add_path(op, parent, (struct bytes){copy.data, copy.len});
    buf_fini(&copy);
}

/* ---- Notes ------------------------------------------------------------------------------------*/

static struct history_place *last_place(struct op *op)
{
    check(op->n_changes > 0 && op->n_changes <= op->history->cap);
    return &op->history->places[op->n_changes - 1];
}

void history_note(struct op *op, const Cfs__Change *change)
{
    struct history *h = op->history;
    struct history_place *place;

    if (op->n_changes > h->cap) {
        h->cap = 2 * op->n_changes;
        h->places = xrealloc(h->places, h->cap * sizeof *h->places);
    }
    if (op->n_changes == 1)
        h->text.len = 0;
    place = last_place(op);
    *place = (struct history_place){.path = h->text.len};
    if (change->kind >= CFS__CHANGE__KIND__DATA)
        add_path_of(op, change->ino);
    place->new_path = place->end = h->text.len;
}

void history_note_names(struct op *op, const Cfs__Change *change)
{
    struct history *h = op->history;
    struct history_place *place = last_place(op);

    h->text.len = place->path;
    add_path(op, change->parent, op_bytes(change->name));
    place->new_path = h->text.len;
    if (change->new_parent != 0)
        add_path(op, change->new_parent, op_bytes(change->new_name));
    place->end = h->text.len;
    if (change->kind == CFS__CHANGE__KIND__RENAME || change->kind == CFS__CHANGE__KIND__EXCHANGE ||
        change->kind == CFS__CHANGE__KIND__RMDIR)
        history_forget(h);
}

void history_note_version(struct op *op, uint64_t version)
{
    last_place(op)->version = version;
}

/* ---- Rows -------------------------------------------------------------------------------------*/

static struct bytes bytes_of(struct feed_path path)
{
    return (struct bytes){path.data, path.len};
}

static void get_numbers(const struct feed_change *c, uint64_t out[NUMBERS])
{
    const uint64_t numbers[NUMBERS] = {c->number,  c->index,   c->kind,   c->ino,
                                       c->version, c->session, c->member, (uint64_t)c->time_ns,
                                       c->more,    c->end};

    memcpy(out, numbers, sizeof numbers);
}

void history_read(sqlite3_stmt *st, struct feed_change *out)
{
    struct bytes path = row_bytes(st, NUMBERS), new_path = row_bytes(st, NUMBERS + 1);
    uint64_t n[NUMBERS];

    db_u64_all(st, 0, n, NUMBERS);
    *out = (struct feed_change){
        .number = n[0],
        .index = n[1],
        .kind = n[2],
        .ino = n[3],
        .version = n[4],
        .session = n[5],
        .member = n[6],
        .time_ns = (int64_t)n[7],
        .more = n[8],
        .end = n[9],
        .path = {path.data, path.len},
        .new_path = {new_path.data, new_path.len},
    };
}

struct store_hash history_hash(const struct feed_change *c)
{
    struct store_hash path = hash_bytes(c->path.data, c->path.len);
    uint64_t fields[NUMBERS + 2];

    get_numbers(c, fields);
    fields[NUMBERS] = 0;
    fields[NUMBERS + 1] = 0;
    if (c->new_path.len > 0) {
        struct store_hash h = hash_bytes(c->new_path.data, c->new_path.len);

        fields[NUMBERS] = h.low;
        fields[NUMBERS + 1] = h.high;
    }
    return hash_row(HASH_HISTORY, fields, ARRAY_LEN(fields), path);
}

static void insert(struct rows *r, const struct feed_change *c)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_HISTORY_INSERT);
    struct bytes path = bytes_of(c->path), new_path = bytes_of(c->new_path);
    uint64_t numbers[NUMBERS];

    get_numbers(c, numbers);
    db_bind_all(st, 1, numbers, NUMBERS);
    db_bind_bytes(st, NUMBERS + 1, path.data, path.len);
    db_bind_bytes(st, NUMBERS + 2, new_path.data, new_path.len);
    db_run(r->db, st);
    hash_add(&r->state->rows, history_hash(c));
}

static void delete_upto(struct rows *r, uint64_t number)
{
    struct history_state *state = &r->state->history;
    sqlite3_stmt *st = db_get(r->db, STATEMENT_HISTORY_AFTER);
    struct feed_change c;

    db_bind(st, 1, state->first - 1);
    db_bind(st, 2, number + 1 - state->first);
    while (db_step(r->db, st) > 0) {
        history_read(st, &c);
        hash_sub(&r->state->rows, history_hash(&c));
    }
    db_reset(st);
    st = db_get(r->db, STATEMENT_HISTORY_DELETE_UPTO);
    db_bind(st, 1, number);
    db_run(r->db, st);
    state->first = number + 1;
}

static void prune(struct rows *r)
{
    const struct history_state *state = &r->state->history;
    uint64_t n = state->last + 1 - state->first;

    if (n > state->limit)
        delete_upto(r, state->first - 1 + min_u64(n - state->limit, HISTORY_PRUNE_MAX));
}

static void record(struct op *op, size_t i, uint64_t member)
{
    const struct history_place *place = &op->history->places[i];
    struct history_state *state = &op->rows->state->history;
    const Cfs__Change *change = &op->changes[i];
    const uint8_t *text = op->history->text.data;
    struct feed_change c = {
        .number = state->last + 1,
        .index = change->index,
        .kind = (uint64_t)change->kind,
        .ino = change->ino,
        .version = place->version,
        .session = change->session,
        .member = change->session != 0 ? member : 0,
        .time_ns = op->now,
        .more = op->n_changes - 1 - i,
        .path = {text + place->path, place->new_path - place->path},
        .new_path = {text + place->new_path, place->end - place->new_path},
    };

    op->history->line.len = 0;
    feed_json(&op->history->line, &c);
    state->bytes += op->history->line.len;
    state->last++;
    c.end = state->bytes;
    insert(op->rows, &c);
    if (state->last % HISTORY_PRUNE_EVERY == 0)
        prune(op->rows);
}

void history_record(struct op *op)
{
    const struct session *session =
        op->session != 0 ? session_find(op->sessions, op->session) : NULL;

    for (size_t i = 0; i < op->n_changes; i++)
        record(op, i, session != NULL ? session->member : 0);
}

/* ---- The limit --------------------------------------------------------------------------------*/

bool history_is_setting(uint64_t ino, struct bytes name)
{
    return ino == ROW_ROOT_INO && name.len == strlen(HISTORY_XATTR) &&
           memcmp(name.data, HISTORY_XATTR, name.len) == 0;
}

struct store_hash history_setting_hash(struct bytes name, uint64_t value)
{
    return hash_row(HASH_SETTING, &value, 1, hash_bytes(name.data, name.len));
}

/* A row exists only if the limit is not the default. */
static void put_limit(struct rows *r, uint64_t limit)
{
    struct bytes name = {(const uint8_t *)STATE_HISTORY_LIMIT, strlen(STATE_HISTORY_LIMIT)};
    bool keep = limit != LIMIT_HISTORY;
    sqlite3_stmt *st = db_get(r->db, keep ? STATEMENT_SETTING_PUT : STATEMENT_SETTING_DELETE);

    sqlite3_bind_text(st, 1, STATE_HISTORY_LIMIT, -1, SQLITE_STATIC);
    if (keep)
        db_bind(st, 2, limit);
    db_run(r->db, st);
    if (r->state->history.limit != LIMIT_HISTORY)
        hash_sub(&r->state->rows, history_setting_hash(name, r->state->history.limit));
    if (keep)
        hash_add(&r->state->rows, history_setting_hash(name, limit));
    r->state->history.limit = limit;
}

uint32_t history_set_limit(struct op *op, struct bytes value)
{
    uint64_t limit = 0;

    if (value.len == 0 || value.len > 7)
        return EINVAL;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return EINVAL;
        limit = limit * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (limit < 1 || limit > LIMIT_HISTORY_MAX)
        return EINVAL;
    put_limit(op->rows, limit);
    return 0;
}

uint32_t history_reset_limit(struct op *op)
{
    if (op->rows->state->history.limit == LIMIT_HISTORY)
        return ENODATA;
    put_limit(op->rows, LIMIT_HISTORY);
    return 0;
}
