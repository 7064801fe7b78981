/* SPDX-License-Identifier: Apache-2.0 */
#include "store/row.h"

#include <string.h>

_Static_assert(INODE_N == 19 && sizeof(struct inode) == 19 * sizeof(uint64_t), "as the columns");
_Static_assert(INODE_N <= HASH_FIELDS_MAX, "the columns fit into a hash");

static const struct store_hash no_bytes;

struct bytes row_bytes(sqlite3_stmt *st, int column)
{
    struct bytes b;

    b.data = db_bytes(st, column, &b.len);
    return b;
}

static void bind_bytes(sqlite3_stmt *st, int at, struct bytes b)
{
    db_bind_bytes(st, at, b.data, b.len);
}

/* came, went, became: update the state hash after a row was inserted, deleted or changed. */
static void came(struct rows *r, struct store_hash h)
{
    hash_add(&r->state->rows, h);
}

static void went(struct rows *r, struct store_hash h)
{
    hash_sub(&r->state->rows, h);
}

/* Runs a statement that must change exactly one row. */
static void run_one(struct rows *r, sqlite3_stmt *st)
{
    db_run(r->db, st);
    check(sqlite3_changes(r->db->conn) == 1);
}

/* ---- inode ------------------------------------------------------------------------------------*/

void row_inode_read(sqlite3_stmt *st, int column, struct inode *out)
{
    uint64_t fields[INODE_N];

    db_u64_all(st, column, fields, INODE_N);
    memcpy(out, fields, sizeof *out);
}

static void inode_fields(const struct inode *inode, uint64_t out[INODE_N])
{
    memcpy(out, inode, sizeof *inode);
}

struct store_hash row_inode_hash(const struct inode *inode)
{
    uint64_t fields[INODE_N];

    inode_fields(inode, fields);
    return hash_row(HASH_INODE, fields, INODE_N, no_bytes);
}

bool row_inode_find(struct rows *r, uint64_t ino, struct inode *out)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_INODE_GET);
    bool found;

    db_bind(st, 1, ino);
    found = db_step(r->db, st) > 0;
    if (found)
        row_inode_read(st, 0, out);
    db_reset(st);
    return found;
}

static void inode_write(struct rows *r, enum statement which, const struct inode *inode)
{
    sqlite3_stmt *st = db_get(r->db, which);
    uint64_t fields[INODE_N];

    inode_fields(inode, fields);
    db_bind_all(st, 1, fields, INODE_N);
    run_one(r, st);
}

void row_inode_insert(struct rows *r, const struct inode *inode)
{
    inode_write(r, STATEMENT_INODE_INSERT, inode);
    came(r, row_inode_hash(inode));
    r->state->n.inodes++;
}

void row_inode_update(struct rows *r, const struct inode *was, const struct inode *is)
{
    check(was->ino == is->ino);
    inode_write(r, STATEMENT_INODE_UPDATE, is);
    went(r, row_inode_hash(was));
    came(r, row_inode_hash(is));
}

void row_inode_delete(struct rows *r, const struct inode *was)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_INODE_DELETE);

    db_bind(st, 1, was->ino);
    run_one(r, st);
    went(r, row_inode_hash(was));
    r->state->n.inodes--;
}

/* ---- symlink ----------------------------------------------------------------------------------*/

struct store_hash row_symlink_hash(uint64_t ino, struct bytes target)
{
    return hash_row(HASH_SYMLINK, &ino, 1, hash_bytes(target.data, target.len));
}

void row_symlink_insert(struct rows *r, uint64_t ino, struct bytes target)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_SYMLINK_INSERT);

    db_bind(st, 1, ino);
    bind_bytes(st, 2, target);
    run_one(r, st);
    came(r, row_symlink_hash(ino, target));
    r->state->n.meta_bytes += target.len;
}

void row_symlink_delete(struct rows *r, uint64_t ino)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_SYMLINK_GET);
    struct bytes target;

    db_bind(st, 1, ino);
    check(db_step(r->db, st) > 0);
    target = row_bytes(st, 0);
    went(r, row_symlink_hash(ino, target));
    r->state->n.meta_bytes -= target.len;
    db_reset(st);

    st = db_get(r->db, STATEMENT_SYMLINK_DELETE);
    db_bind(st, 1, ino);
    run_one(r, st);
}

/* ---- orphan -----------------------------------------------------------------------------------*/

struct store_hash row_orphan_hash(uint64_t ino, uint64_t unlinked)
{
    uint64_t fields[] = {ino, unlinked};

    return hash_row(HASH_ORPHAN, fields, ARRAY_LEN(fields), no_bytes);
}

bool row_orphan_find(struct rows *r, uint64_t ino, uint64_t *unlinked)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_ORPHAN_GET);
    bool found;

    db_bind(st, 1, ino);
    found = db_step(r->db, st) > 0;
    if (found)
        *unlinked = db_u64(st, 0);
    db_reset(st);
    return found;
}

void row_orphan_insert(struct rows *r, uint64_t ino, uint64_t unlinked)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_ORPHAN_INSERT);

    db_bind(st, 1, ino);
    db_bind(st, 2, unlinked);
    run_one(r, st);
    came(r, row_orphan_hash(ino, unlinked));
}

void row_orphan_delete(struct rows *r, uint64_t ino, uint64_t unlinked)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_ORPHAN_DELETE);

    db_bind(st, 1, ino);
    run_one(r, st);
    went(r, row_orphan_hash(ino, unlinked));
}

/* ---- dirent -----------------------------------------------------------------------------------*/

struct store_hash row_dirent_hash(uint64_t parent, struct bytes name, const struct dirent *d)
{
    uint64_t fields[] = {parent, d->id, d->ino, d->type};

    return hash_row(HASH_DIRENT, fields, ARRAY_LEN(fields), hash_bytes(name.data, name.len));
}

static sqlite3_stmt *dirent_statement(struct rows *r, enum statement which, uint64_t parent,
                                      struct bytes name)
{
    sqlite3_stmt *st = db_get(r->db, which);

    db_bind(st, 1, parent);
    bind_bytes(st, 2, name);
    return st;
}

bool row_dirent_find(struct rows *r, uint64_t parent, struct bytes name, struct dirent *out)
{
    sqlite3_stmt *st = dirent_statement(r, STATEMENT_DIRENT_GET, parent, name);
    bool found = db_step(r->db, st) > 0;

    if (found)
        *out = (struct dirent){db_u64(st, 0), db_u64(st, 1), db_u64(st, 2)};
    db_reset(st);
    return found;
}

void row_dirent_insert(struct rows *r, uint64_t parent, struct bytes name, const struct dirent *d)
{
    sqlite3_stmt *st = dirent_statement(r, STATEMENT_DIRENT_INSERT, parent, name);

    db_bind(st, 3, d->id);
    db_bind(st, 4, d->ino);
    db_bind(st, 5, d->type);
    run_one(r, st);
    came(r, row_dirent_hash(parent, name, d));
    r->state->n.entries++;
}

void row_dirent_set(struct rows *r, uint64_t parent, struct bytes name, const struct dirent *was,
                    const struct dirent *is)
{
    sqlite3_stmt *st = dirent_statement(r, STATEMENT_DIRENT_SET, parent, name);

    check(was->id == is->id);
    db_bind(st, 3, is->ino);
    db_bind(st, 4, is->type);
    run_one(r, st);
    went(r, row_dirent_hash(parent, name, was));
    came(r, row_dirent_hash(parent, name, is));
}

void row_dirent_delete(struct rows *r, uint64_t parent, struct bytes name, const struct dirent *was)
{
    run_one(r, dirent_statement(r, STATEMENT_DIRENT_DELETE, parent, name));
    went(r, row_dirent_hash(parent, name, was));
    r->state->n.entries--;
}

/* ---- block ------------------------------------------------------------------------------------*/

struct store_hash row_block_hash(const struct block *b)
{
    uint64_t fields[] = {b->id, b->len};

    return hash_row(HASH_BLOCK, fields, ARRAY_LEN(fields), b->sum);
}

static struct store_hash read_sum(sqlite3_stmt *st, int column)
{
    size_t len;
    const uint8_t *sum = db_bytes(st, column, &len);

    check(len == HASH_SIZE);
    return hash_decode(sum);
}

bool row_block_find(struct rows *r, uint64_t id, struct block *out)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_BLOCK_META);
    bool found;

    db_bind(st, 1, id);
    found = db_step(r->db, st) > 0;
    if (found)
        *out = (struct block){id, read_sum(st, 0), db_u64(st, 1)};
    db_reset(st);
    return found;
}

static void block_write(struct rows *r, enum statement which, uint64_t id, struct bytes data,
                        struct block *is)
{
    sqlite3_stmt *st = db_get(r->db, which);
    uint8_t sum[HASH_SIZE];

    *is = (struct block){id, hash_bytes(data.data, data.len), data.len};
    hash_encode(is->sum, sum);
    db_bind(st, 1, id);
    db_bind_bytes(st, 2, sum, sizeof sum);
    bind_bytes(st, 3, data);
    run_one(r, st);
    came(r, row_block_hash(is));
    r->state->n.bytes += data.len;
}

void row_block_insert(struct rows *r, uint64_t id, struct bytes data, struct block *is)
{
    block_write(r, STATEMENT_BLOCK_INSERT, id, data, is);
}

void row_block_update(struct rows *r, const struct block *was, struct bytes data, struct block *is)
{
    went(r, row_block_hash(was));
    r->state->n.bytes -= was->len;
    block_write(r, STATEMENT_BLOCK_UPDATE, was->id, data, is);
}

uint64_t row_block_delete_range(struct rows *r, uint64_t first, uint64_t last)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_BLOCK_RANGE_META);
    uint64_t bytes = 0;
    bool any = false;

    db_bind(st, 1, first);
    db_bind(st, 2, last);
    while (db_step(r->db, st) > 0) {
        struct block b = {db_u64(st, 0), read_sum(st, 1), db_u64(st, 2)};

        any = true;
        bytes += b.len;
        went(r, row_block_hash(&b));
    }
    r->state->n.bytes -= bytes;
    if (!any)
        return 0;
    st = db_get(r->db, STATEMENT_BLOCK_DELETE_RANGE);
    db_bind(st, 1, first);
    db_bind(st, 2, last);
    db_run(r->db, st);
    return bytes;
}

/* ---- xattr ------------------------------------------------------------------------------------*/

struct store_hash row_xattr_hash(uint64_t ino, struct bytes name, struct bytes value)
{
    struct store_hash n = hash_bytes(name.data, name.len);
    uint64_t fields[] = {ino, n.low, n.high};

    return hash_row(HASH_XATTR, fields, ARRAY_LEN(fields), hash_bytes(value.data, value.len));
}

static sqlite3_stmt *xattr_statement(struct rows *r, enum statement which, uint64_t ino,
                                     struct bytes name)
{
    sqlite3_stmt *st = db_get(r->db, which);

    db_bind(st, 1, ino);
    bind_bytes(st, 2, name);
    return st;
}

bool row_xattr_find(struct rows *r, uint64_t ino, struct bytes name, struct buf *value)
{
    sqlite3_stmt *st = xattr_statement(r, STATEMENT_XATTR_GET, ino, name);
    bool found = db_step(r->db, st) > 0;

    if (found) {
        struct bytes v = row_bytes(st, 0);

        *value = buf_copy(v.data, v.len);
    }
    db_reset(st);
    return found;
}

void row_xattr_insert(struct rows *r, uint64_t ino, struct bytes name, struct bytes value)
{
    sqlite3_stmt *st = xattr_statement(r, STATEMENT_XATTR_INSERT, ino, name);

    bind_bytes(st, 3, value);
    run_one(r, st);
    came(r, row_xattr_hash(ino, name, value));
    r->state->n.meta_bytes += name.len + value.len;
}

void row_xattr_update(struct rows *r, uint64_t ino, struct bytes name, struct bytes was,
                      struct bytes is)
{
    sqlite3_stmt *st = xattr_statement(r, STATEMENT_XATTR_UPDATE, ino, name);

    bind_bytes(st, 3, is);
    run_one(r, st);
    went(r, row_xattr_hash(ino, name, was));
    came(r, row_xattr_hash(ino, name, is));
    r->state->n.meta_bytes += is.len - was.len;
}

void row_xattr_delete(struct rows *r, uint64_t ino, struct bytes name, struct bytes was)
{
    run_one(r, xattr_statement(r, STATEMENT_XATTR_DELETE, ino, name));
    went(r, row_xattr_hash(ino, name, was));
    r->state->n.meta_bytes -= name.len + was.len;
}

void row_xattr_delete_all(struct rows *r, uint64_t ino)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_XATTR_ALL);

    db_bind(st, 1, ino);
    while (db_step(r->db, st) > 0) {
        struct bytes name = row_bytes(st, 0), value = row_bytes(st, 1);

        went(r, row_xattr_hash(ino, name, value));
        r->state->n.meta_bytes -= name.len + value.len;
    }
    st = db_get(r->db, STATEMENT_XATTR_DELETE_ALL);
    db_bind(st, 1, ino);
    db_run(r->db, st);
}

/* ---- reply ------------------------------------------------------------------------------------*/

struct store_hash row_reply_hash(uint64_t session, uint64_t seq, struct bytes data)
{
    uint64_t fields[] = {session, seq};

    return hash_row(HASH_REPLY, fields, ARRAY_LEN(fields), hash_bytes(data.data, data.len));
}

bool row_reply_find(struct rows *r, uint64_t session, uint64_t seq, struct buf *out)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_REPLY_GET);
    bool found;

    db_bind(st, 1, session);
    db_bind(st, 2, seq);
    found = db_step(r->db, st) > 0;
    if (found) {
        struct bytes data = row_bytes(st, 0);

        *out = buf_copy(data.data, data.len);
    }
    db_reset(st);
    return found;
}

void row_reply_insert(struct rows *r, uint64_t session, uint64_t seq, struct bytes data)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_REPLY_INSERT);

    db_bind(st, 1, session);
    db_bind(st, 2, seq);
    bind_bytes(st, 3, data);
    run_one(r, st);
    came(r, row_reply_hash(session, seq, data));
}

void row_reply_delete_upto(struct rows *r, uint64_t session, uint64_t seq)
{
    sqlite3_stmt *st = db_get(r->db, STATEMENT_REPLY_UPTO);

    db_bind(st, 1, session);
    db_bind(st, 2, seq);
    while (db_step(r->db, st) > 0)
        went(r, row_reply_hash(session, db_u64(st, 1), row_bytes(st, 2)));
    st = db_get(r->db, STATEMENT_REPLY_DELETE_UPTO);
    db_bind(st, 1, session);
    db_bind(st, 2, seq);
    db_run(r->db, st);
}
