/* SPDX-License-Identifier: Apache-2.0 */
#include "store/staged_write.h"

#include <errno.h>
#include <stdlib.h>

#include "store/content.h"

#define PLACE_BITS 12 /* bits of an id: the extent's position in its Stage */

_Static_assert(LIMIT_EXTENTS_MAX <= 1u << PLACE_BITS, "the extents of a command fit into ids");

/* ---- Rows -------------------------------------------------------------------------------------*/

struct store_hash staged_write_hash(uint64_t session, const struct staged_write *staged)
{
    uint64_t fields[] = {staged->id, session, staged->stage, staged->offset, staged->len};

    return hash_row(HASH_STAGED_WRITE, fields, ARRAY_LEN(fields), staged->sum);
}

static void insert(struct op *op, const struct staged_write *staged, struct bytes data)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_STAGED_WRITE_INSERT);
    struct state *state = op->rows->state;
    uint8_t sum[HASH_SIZE];

    hash_encode(staged->sum, sum);
    db_bind(st, 1, staged->id);
    db_bind(st, 2, op->session);
    db_bind(st, 3, staged->stage);
    db_bind(st, 4, staged->offset);
    db_bind_bytes(st, 5, sum, sizeof sum);
    db_bind_bytes(st, 6, data.data, data.len);
    db_run(op->rows->db, st);
    hash_add(&state->rows, staged_write_hash(op->session, staged));
    state->n.bytes += staged->len;
    state->staged_writes++;
}

static struct staged_write read_row(sqlite3_stmt *st)
{
    struct bytes sum = row_bytes(st, 3);

    check(sum.len == HASH_SIZE);
    return (struct staged_write){
        .id = db_u64(st, 0),
        .stage = db_u64(st, 1),
        .offset = db_u64(st, 2),
        .sum = hash_decode(sum.data),
        .len = db_u64(st, 4),
    };
}

static size_t list(struct op *op, uint64_t session, uint64_t stage, struct staged_write **out)
{
    size_t n = 0, cap = 0;
    sqlite3_stmt *st;

    *out = NULL;
    if (stage == 0 || op->rows->state->staged_writes == 0)
        return 0;
    st = db_get(op->rows->db, STATEMENT_STAGED_WRITE_LIST);
    db_bind(st, 1, session);
    db_bind(st, 2, stage);
    while (db_step(op->rows->db, st) > 0) {
        if (n == cap) {
            cap = cap > 0 ? 2 * cap : 64;
            *out = xrealloc(*out, cap * sizeof **out);
        }
        (*out)[n++] = read_row(st);
    }
    return n;
}

size_t staged_write_list(struct op *op, uint64_t stage, struct staged_write **out)
{
    return list(op, op->session, stage, out);
}

void staged_write_drop(struct op *op, uint64_t session, uint64_t stage)
{
    struct state *state = op->rows->state;
    struct staged_write *staged;
    size_t n = list(op, session, stage, &staged);
    sqlite3_stmt *st;

    for (size_t i = 0; i < n; i++) {
        hash_sub(&state->rows, staged_write_hash(session, &staged[i]));
        state->n.bytes -= staged[i].len;
    }
    state->staged_writes -= n;
    free(staged);
    if (n == 0)
        return;
    st = db_get(op->rows->db, STATEMENT_STAGED_WRITE_DELETE);
    db_bind(st, 1, session);
    db_bind(st, 2, stage);
    db_run(op->rows->db, st);
}

/* ---- Staging ----------------------------------------------------------------------------------*/

static uint32_t check_extents(const Cfs__Stage *c, uint64_t *total)
{
    *total = 0;
    if (c->n_extents > LIMIT_EXTENTS_MAX)
        return E2BIG;
    for (size_t i = 0; i < c->n_extents; i++) {
        uint64_t offset = c->extents[i]->offset, len = c->extents[i]->data.len;

        if (len > LIMIT_WRITE_MAX - *total)
            return E2BIG;
        *total += len;
        if (len > 0 && (offset > LIMIT_FILE_MAX || len > LIMIT_FILE_MAX - offset))
            return EFBIG;
    }
    return 0;
}

/* A stage has a size limit, because the Write that applies it keeps every member busy. */
static uint32_t check_stage(struct op *op, const Cfs__Stage *c, uint64_t total)
{
    struct staged_write *staged;
    size_t n = staged_write_list(op, c->stage, &staged);

    for (size_t i = 0; i < n; i++)
        total += staged[i].len;
    free(staged);
    return total > LIMIT_STAGE_BYTES || n + c->n_extents > LIMIT_STAGE_EXTENTS ? E2BIG : 0;
}

uint32_t staged_write_add(struct op *op, const Cfs__Stage *c)
{
    struct inode inode;
    uint64_t total;
    uint32_t status;

    if (c->stage == 0)
        return EINVAL;
    if (!row_inode_find(op->rows, c->ino, &inode))
        return ESTALE;
    if ((status = op_check_regular(&inode)) || (status = check_extents(c, &total)) ||
        (status = check_stage(op, c, total)))
        return status;
    if (!op_has_room(op, total))
        return ENOSPC;
    for (size_t i = 0; i < c->n_extents; i++) {
        struct bytes data = op_bytes(c->extents[i]->data);
        struct staged_write staged = {
            .id = op->index << PLACE_BITS | i,
            .stage = c->stage,
            .offset = c->extents[i]->offset,
            .sum = hash_bytes(data.data, data.len),
            .len = data.len,
        };

        if (data.len > 0)
            insert(op, &staged, data);
    }
    return 0;
}

uint32_t staged_write_unstage(struct op *op, const Cfs__Unstage *c)
{
    staged_write_drop(op, op->session, c->stage);
    return 0;
}

/* ---- Writing ----------------------------------------------------------------------------------*/

void staged_write_apply(struct op *op, struct inode *inode, const struct staged_write *staged,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_STAGED_WRITE_GET);
        struct bytes data;

        db_bind(st, 1, staged[i].id);
        check(db_step(op->rows->db, st) > 0);
        data = row_bytes(st, 0);
        /* Rewriting damaged data would give it a valid checksum. */
        if (!hash_equal(hash_bytes(data.data, data.len), staged[i].sum))
            die("a staged write of inode %llu is damaged on this member's disk; replace the "
                "member's state",
                (unsigned long long)inode->ino);
        content_write(op->rows, inode, staged[i].offset, data);
        db_reset(st);
    }
}

/* ---- Sessions ---------------------------------------------------------------------------------*/

static uint64_t find_stage(struct op *op, uint64_t session)
{
    return db_find_u64(op->rows->db, STATEMENT_STAGED_WRITE_OF_SESSION, session);
}

void staged_write_end_session(struct op *op, uint64_t session)
{
    uint64_t stage;

    while (op->rows->state->staged_writes > 0 && (stage = find_stage(op, session)) != 0)
        staged_write_drop(op, session, stage);
}
