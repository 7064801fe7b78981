/* SPDX-License-Identifier: Apache-2.0 */
#include "store/raftlog.h"

#include <endian.h>
#include <string.h>

#include "store/hash.h"

uint64_t raftlog_sum(uint64_t index, uint64_t term, uint64_t type, const void *data, size_t len)
{
    struct store_hash bytes = hash_bytes(data, len);
    uint64_t words[] = {htole64(index), htole64(term),      htole64(type),
                        htole64(len),   htole64(bytes.low), htole64(bytes.high)};

    return hash_sum64(words, sizeof words);
}

static int load_local(struct raftlog *l)
{
    sqlite3_stmt *st = db_get(l->db, STATEMENT_LOCAL_GET);
    int row = db_step(l->db, st);
    const char *cluster;
    size_t len;

    if (row <= 0)
        return row;
    cluster = (const char *)db_bytes(st, 0, &len);
    if (len < sizeof l->identity.cluster)
        memcpy(l->identity.cluster, cluster, len);
    l->identity.member = db_u64(st, 1);
    l->term = db_u64(st, 2);
    l->vote = db_u64(st, 3);
    db_reset(st);
    return len > 0 && len < sizeof l->identity.cluster;
}

static int load_range(struct raftlog *l, uint64_t applied)
{
    sqlite3_stmt *st = db_get(l->db, STATEMENT_LOG_RANGE);
    int row = db_step(l->db, st);

    if (row <= 0)
        return row;
    if (sqlite3_column_type(st, 0) == SQLITE_NULL) {
        l->first = applied + 1;
        l->last = applied;
    } else {
        l->first = db_u64(st, 0);
        l->last = db_u64(st, 1);
    }
    db_reset(st);
    return l->first >= 1 && l->first <= applied + 1 && l->last >= applied;
}

int raftlog_load(struct raftlog *l, struct db *db, uint64_t applied)
{
    int row;

    memset(l, 0, sizeof *l);
    l->db = db;
    row = load_local(l);
    return row > 0 ? load_range(l, applied) : row;
}

void raftlog_fini(struct raftlog *l)
{
    buf_fini(&l->row);
}

int raftlog_put_local(struct db *db, const struct store_identity *identity, uint64_t term,
                      uint64_t vote)
{
    sqlite3_stmt *st = db_get(db, STATEMENT_LOCAL_PUT);

    check(st == NULL ||
          sqlite3_bind_text(st, 1, identity->cluster, -1, SQLITE_STATIC) == SQLITE_OK);
    db_bind(st, 2, identity->member);
    db_bind(st, 3, term);
    db_bind(st, 4, vote);
    return db_run(db, st);
}

void raftlog_set_vote(struct raftlog *l, uint64_t term, uint64_t vote)
{
    check(term >= l->term);
    /* At most one vote per term, permanently. */
    check(term > l->term || l->vote == 0 || l->vote == vote);
#ifndef BREAK_VOTE
    raftlog_put_local(l->db, &l->identity, term, vote);
#endif
    l->term = term;
    l->vote = vote;
}

void raftlog_append(struct raftlog *l, uint64_t index, const struct store_entry *entry)
{
    sqlite3_stmt *st = db_get(l->db, STATEMENT_LOG_INSERT);

    check(index == l->last + 1);
    db_bind(st, 1, index);
    db_bind(st, 2, entry->term);
    db_bind(st, 3, (uint64_t)entry->type);
    db_bind(st, 4, raftlog_sum(index, entry->term, (uint64_t)entry->type, entry->data, entry->len));
    db_bind_bytes(st, 5, entry->data, entry->len);
    db_run(l->db, st);
    l->last = index;
}

static void delete_rows(struct raftlog *l, enum statement which, uint64_t index)
{
    sqlite3_stmt *st = db_get(l->db, which);

    db_bind(st, 1, index);
    db_run(l->db, st);
}

void raftlog_truncate(struct raftlog *l, uint64_t from)
{
    check(from >= l->first);
    if (from > l->last)
        return;
#ifndef BREAK_TRUNCATE
    delete_rows(l, STATEMENT_LOG_DELETE_FROM, from);
#endif
    l->last = from - 1;
}

void raftlog_compact(struct raftlog *l, uint64_t below)
{
    check(below <= l->last + 1);
    if (below <= l->first)
        return;
    delete_rows(l, STATEMENT_LOG_DELETE_BELOW, below);
    l->first = below;
}

bool raftlog_get(struct raftlog *l, uint64_t index, struct store_entry *out)
{
    sqlite3_stmt *st = db_get(l->db, STATEMENT_LOG_GET);
    const uint8_t *data;
    uint64_t sum;
    size_t len;

    if (index < l->first || index > l->last)
        return false;
    db_bind(st, 1, index);
    check(db_step(l->db, st) > 0);
    out->term = db_u64(st, 0);
    out->type = (enum store_entry_type)db_u64(st, 1);
    sum = db_u64(st, 2);
    data = db_bytes(st, 3, &len);
    if (sum != raftlog_sum(index, out->term, (uint64_t)out->type, data, len))
        die("row %llu of the raft log is damaged on this member's disk: remove the member and add "
            "it anew",
            (unsigned long long)index);
    l->row.len = 0;
    buf_append(&l->row, data, len);
    db_reset(st);
    out->data = l->row.data;
    out->len = len;
    return true;
}
