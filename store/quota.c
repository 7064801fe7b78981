/* SPDX-License-Identifier: Apache-2.0 */
#include "store/quota.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"

_Static_assert(QUOTA_N == 5 && QUOTA_N <= HASH_FIELDS_MAX, "as the columns");

static const struct store_hash no_bytes;

/* ---- Rows -------------------------------------------------------------------------------------*/

void quota_read(sqlite3_stmt *st, int column, struct quota *out)
{
    uint64_t fields[QUOTA_N];

    db_u64_all(st, column, fields, QUOTA_N);
    memcpy(out, fields, sizeof *out);
}

struct store_hash quota_hash(const struct quota *q)
{
    uint64_t fields[QUOTA_N];

    memcpy(fields, q, sizeof *q);
    return hash_row(HASH_QUOTA, fields, QUOTA_N, no_bytes);
}

struct store_hash quota_charged_hash(uint64_t ino, uint64_t dir)
{
    uint64_t fields[] = {ino, dir};

    return hash_row(HASH_CHARGED, fields, ARRAY_LEN(fields), no_bytes);
}

static bool exist(const struct op *op)
{
    return op->rows->state->quotas > 0;
}

static bool find(struct op *op, uint64_t dir, struct quota *out)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_QUOTA_GET);
    bool found;

    db_bind(st, 1, dir);
    found = db_step(op->rows->db, st) > 0;
    if (found)
        quota_read(st, 0, out);
    db_reset(st);
    return found;
}

static void run_one(struct op *op, sqlite3_stmt *st)
{
    db_run(op->rows->db, st);
    check(sqlite3_changes(op->rows->db->conn) == 1);
}

/* was NULL: inserts a row. is NULL: deletes the row. */
static void save(struct op *op, const struct quota *was, const struct quota *is)
{
    struct state *state = op->rows->state;
    uint64_t fields[QUOTA_N];
    sqlite3_stmt *st;

    if (was != NULL) {
        hash_sub(&state->rows, quota_hash(was));
        state->quotas--;
    }
    if (is == NULL) {
        st = db_get(op->rows->db, STATEMENT_QUOTA_DELETE);
        db_bind(st, 1, was->dir);
        run_one(op, st);
        return;
    }
    st = db_get(op->rows->db, STATEMENT_QUOTA_PUT);
    memcpy(fields, is, sizeof *is);
    db_bind_all(st, 1, fields, QUOTA_N);
    run_one(op, st);
    hash_add(&state->rows, quota_hash(is));
    state->quotas++;
}

/* ---- Orphans: whom they are charged to --------------------------------------------------------*/

static uint64_t find_charged(struct op *op, uint64_t ino)
{
    return db_find_u64(op->rows->db, STATEMENT_CHARGED_GET, ino);
}

static void drop_charged(struct op *op, uint64_t ino, uint64_t dir)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_CHARGED_DELETE);

    db_bind(st, 1, ino);
    run_one(op, st);
    hash_sub(&op->rows->state->rows, quota_charged_hash(ino, dir));
}

static void put_charged(struct op *op, uint64_t ino, uint64_t dir)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_CHARGED_INSERT);

    db_bind(st, 1, ino);
    db_bind(st, 2, dir);
    run_one(op, st);
    hash_add(&op->rows->state->rows, quota_charged_hash(ino, dir));
}

static uint64_t first_charged(struct op *op, uint64_t dir)
{
    return db_find_u64(op->rows->db, STATEMENT_CHARGED_OF_DIR, dir);
}

/* A quota is removed: its orphans are charged to the next quota above from now on. That quota
 * already includes them. */
static void pass_on_charged(struct op *op, uint64_t from, uint64_t to)
{
    uint64_t ino;

    while ((ino = first_charged(op, from)) != 0) {
        drop_charged(op, ino, from);
        if (to != 0)
            put_charged(op, ino, to);
    }
}

/* ---- The way up -------------------------------------------------------------------------------*/

static uint64_t parent_of(struct op *op, uint64_t dir)
{
    struct inode inode;

    check(row_inode_find(op->rows, dir, &inode));
    return inode.parent;
}

/* Finds the first quota from this directory upwards. */
static bool find_upwards(struct op *op, uint64_t dir, struct quota *out)
{
    if (!exist(op))
        return false;
    while (!find(op, dir, out)) {
        if (dir == ROW_ROOT_INO)
            return false;
        dir = parent_of(op, dir);
    }
    return true;
}

/* Finds the first quota above q. */
static bool find_next(struct op *op, const struct quota *q, struct quota *out)
{
    return q->dir != ROW_ROOT_INO && find_upwards(op, parent_of(op, q->dir), out);
}

uint64_t quota_of_dir(struct op *op, uint64_t dir)
{
    struct quota q;

    return find_upwards(op, dir, &q) ? q.dir : 0;
}

static uint64_t dir_of_file(struct op *op, uint64_t ino)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_DIRENT_PARENTS);
    uint64_t dir;

    db_bind(st, 1, ino);
    check(db_step(op->rows->db, st) > 0);
    dir = db_u64(st, 0); /* all names of a file are below the same quota */
    db_reset(st);
    return dir;
}

uint64_t quota_of(struct op *op, const struct inode *inode)
{
    if (!exist(op) || inode->ino == ROW_ROOT_INO)
        return 0;
    if (inode->nlink == 0)
        return find_charged(op, inode->ino);
    return quota_of_dir(op, op_is_dir(inode) ? inode->parent : dir_of_file(op, inode->ino));
}

static bool fits(uint64_t used, uint64_t more, uint64_t max)
{
    return more == 0 || (used <= max && more <= max - used);
}

bool quota_has_room(struct op *op, uint64_t quota, uint64_t bytes, uint64_t entries)
{
    struct quota q;
    bool more;

    if (quota == 0 || (bytes == 0 && entries == 0))
        return true;
    check(find(op, quota, &q));
    do {
        if (!fits(q.bytes, bytes, q.max_bytes) || !fits(q.entries, entries, q.max_entries))
            return false;
        more = find_next(op, &q, &q);
    } while (more);
    return true;
}

/* ---- Charging ---------------------------------------------------------------------------------*/

static uint64_t cost(const struct inode *inode)
{
    return inode->stored + inode->xattr_bytes + (op_type(inode) == S_IFLNK ? inode->size : 0);
}

/* The sums are modulo 2^64: a negative amount is a large number. */
static void charge(struct op *op, uint64_t quota, uint64_t bytes, uint64_t entries)
{
    struct quota was, is;

    if (quota == 0)
        return;
    check(find(op, quota, &was));
    do {
        is = was;
        is.bytes += bytes;
        is.entries += entries;
        save(op, &was, &is);
    } while (find_next(op, &is, &was));
}

void quota_made(struct op *op, uint64_t dir, const struct inode *inode)
{
    charge(op, quota_of_dir(op, dir), cost(inode), 1);
}

void quota_saved(struct op *op, const struct op_inode *i)
{
    if (exist(op) && cost(&i->was) != cost(&i->is))
        charge(op, quota_of(op, &i->is), cost(&i->is) - cost(&i->was), 0);
}

/* A directory may have had its own quota. */
void quota_orphaned(struct op *op, uint64_t dir, const struct inode *inode)
{
    uint64_t quota = quota_of_dir(op, dir);
    struct quota own;

    if (exist(op) && op_is_dir(inode) && find(op, inode->ino, &own)) {
        pass_on_charged(op, own.dir, quota);
        save(op, &own, NULL);
    }
    if (quota != 0)
        put_charged(op, inode->ino, quota);
}

void quota_reaped(struct op *op, const struct inode *inode)
{
    uint64_t quota = exist(op) ? find_charged(op, inode->ino) : 0;

    if (quota == 0)
        return;
    drop_charged(op, inode->ino, quota);
    charge(op, quota, -cost(inode), UINT64_MAX);
}

/* ---- Counting ---------------------------------------------------------------------------------*/

static uint64_t count(struct op *op, enum statement which, uint64_t dir, uint64_t *second)
{
    sqlite3_stmt *st = db_get(op->rows->db, which);
    uint64_t first;

    db_bind(st, 1, dir);
    check(db_step(op->rows->db, st) > 0);
    first = db_u64(st, 0);
    if (second != NULL)
        *second = db_u64(st, 1);
    db_reset(st);
    return first;
}

/* Counts everything below a directory that has no quota yet. */
static uint32_t count_below(struct op *op, struct quota *q)
{
    uint64_t entries, bytes;

    if (count(op, STATEMENT_QUOTA_BOUND, q->dir, NULL) > LIMIT_QUOTA_COUNT)
        return E2BIG;
    if (count(op, STATEMENT_QUOTA_FOREIGN, q->dir, NULL) > 0)
        return EXDEV;
    q->entries = count(op, STATEMENT_QUOTA_COUNT, q->dir, &q->bytes);
    entries = count(op, STATEMENT_QUOTA_ORPHANS, q->dir, &bytes);
    q->entries += entries;
    q->bytes += bytes;
    return 0;
}

/* ---- Xattrs -----------------------------------------------------------------------------------*/

#define PREFIX "user.coordfs."

static uint64_t *max_bytes(struct quota *q)
{
    return &q->max_bytes;
}

static uint64_t *max_entries(struct quota *q)
{
    return &q->max_entries;
}

static uint64_t *bytes(struct quota *q)
{
    return &q->bytes;
}

static uint64_t *entries(struct quota *q)
{
    return &q->entries;
}

static const struct name {
    const char *name;
    uint64_t *(*field)(struct quota *q);
    bool settable;
} names[] = {
    {PREFIX "quota.bytes", max_bytes, true},
    {PREFIX "quota.entries", max_entries, true},
    {PREFIX "usage.bytes", bytes, false},
    {PREFIX "usage.entries", entries, false},
};

static const struct name *find_name(struct bytes text)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (text.len == strlen(names[i].name) && memcmp(text.data, names[i].name, text.len) == 0)
            return &names[i];
    return NULL;
}

bool quota_is_name(struct bytes name)
{
    return find_name(name) != NULL;
}

/* Parses a limit; the result is below QUOTA_NONE. */
static bool parse(struct bytes text, uint64_t *out)
{
    static const char suffixes[] = {'K', 'M', 'G', 'T'};
    const char *suffix =
        text.len > 1 ? memchr(suffixes, text.data[text.len - 1], sizeof(suffixes)) : NULL;
    uint64_t factor = 1;

    if (suffix != NULL) {
        factor <<= 10 * (suffix - suffixes + 1);
        text.len--;
    }
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(text.data[i] - '0'), out))
            return false;
    }
    return text.len > 0 && !__builtin_mul_overflow(*out, factor, out) && *out < QUOTA_NONE;
}

bool quota_loosens(struct op *op, const struct inode *inode, struct bytes name,
                   const struct bytes *value)
{
    const struct name *n = find_name(name);
    struct quota was;
    uint64_t limit;

    if (!n->settable || !find(op, inode->ino, &was) || *n->field(&was) == QUOTA_NONE)
        return false;
    return value == NULL || (parse(*value, &limit) && limit > *n->field(&was));
}

static uint32_t check_mode(const Cfs__SetXattr *c, bool there)
{
    if (c->mode == CFS__SET_XATTR__MODE__CREATE && there)
        return EEXIST;
    return c->mode == CFS__SET_XATTR__MODE__REPLACE && !there ? ENODATA : 0;
}

uint32_t quota_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c)
{
    const struct name *name = find_name(op_bytes(c->name));
    struct quota was, is = {inode->ino, QUOTA_NONE, QUOTA_NONE, 0, 0};
    bool found = find(op, inode->ino, &was);
    uint32_t status;

    if (!name->settable)
        return EPERM;
    if (found)
        is = was;
    if ((status = check_mode(c, *name->field(&is) != QUOTA_NONE)))
        return status;
    if (!op_is_dir(inode) || inode->nlink == 0 || !parse(op_bytes(c->value), name->field(&is)))
        return EINVAL;
    if (!found && (status = count_below(op, &is)))
        return status;
    save(op, found ? &was : NULL, &is);
    return 0;
}

uint32_t quota_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c)
{
    const struct name *name = find_name(op_bytes(c->name));
    struct quota was, is, above;

    if (!name->settable)
        return EPERM;
    if (!find(op, inode->ino, &was) || *name->field(&was) == QUOTA_NONE)
        return ENODATA;
    is = was;
    *name->field(&is) = QUOTA_NONE;
    if (is.max_bytes != QUOTA_NONE || is.max_entries != QUOTA_NONE) {
        save(op, &was, &is);
        return 0;
    }
    pass_on_charged(op, was.dir, find_next(op, &was, &above) ? above.dir : 0);
    save(op, &was, NULL);
    return 0;
}

int quota_get(const struct quota *q, struct bytes text, struct buf *out)
{
    const struct name *name = find_name(text);
    struct quota copy;
    uint64_t value;

    if (q == NULL)
        return -ENODATA;
    copy = *q;
    value = *name->field(&copy);
    if (name->settable && value == QUOTA_NONE)
        return -ENODATA;
    buf_printf(out, "%llu", (unsigned long long)value);
    return 0;
}

void quota_list(const struct quota *q, struct buf *list)
{
    struct quota copy;

    if (q == NULL)
        return;
    copy = *q;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].settable && *names[i].field(&copy) != QUOTA_NONE)
            buf_append(list, names[i].name, strlen(names[i].name) + 1);
}
