/* SPDX-License-Identifier: Apache-2.0 */
#include "store/reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/content.h"
#include "store/history.h"
#include "store/internal.h"
#include "store/op.h"
#include "store/quota.h"
#include "store/znode.h"

struct store_reader {
    struct store *store;
    struct db db; /* db.conn is NULL before the first read and after an installation */
    bool begun;
    LIST_ENTRY(store_reader) next;
};

/* ---- Life -------------------------------------------------------------------------------------*/

struct store_reader *reader_new(struct store *s)
{
    struct store_reader *r = xcalloc(1, sizeof *r);

    r->store = s;
    pthread_mutex_lock(&s->readers_mutex);
    LIST_INSERT_HEAD(&s->readers, r, next);
    pthread_mutex_unlock(&s->readers_mutex);
    return r;
}

void reader_free(struct store_reader *r)
{
    struct store *s = r->store;

    check(!r->begun);
    /* An installation may be closing this connection. */
    pthread_rwlock_rdlock(&s->readers_lock);
    pthread_mutex_lock(&s->readers_mutex);
    LIST_REMOVE(r, next);
    pthread_mutex_unlock(&s->readers_mutex);
    if (r->db.conn != NULL)
        db_abandon(&r->db);
    pthread_rwlock_unlock(&s->readers_lock);
    free(r);
}

void internal_close_readers(struct store *s)
{
    struct store_reader *r;

    pthread_mutex_lock(&s->readers_mutex);
    LIST_FOREACH (r, &s->readers, next)
        if (r->db.conn != NULL)
            db_abandon(&r->db);
    pthread_mutex_unlock(&s->readers_mutex);
}

/* ---- Snapshots --------------------------------------------------------------------------------*/

static int connect_reader(struct store_reader *r)
{
    char errmsg[256];

    if (r->db.conn != NULL)
        return 0;
    return db_open(&r->db, r->store->state_dir.db, DB_READER, errmsg, sizeof errmsg) == 0 ? 0
                                                                                          : -EIO;
}

int reader_begin(struct store_reader *r)
{
    int err;

    check(!r->begun);
    pthread_rwlock_rdlock(&r->store->readers_lock);
    err = connect_reader(r);
    if (err == 0)
        err = db_run(&r->db, db_get(&r->db, STATEMENT_BEGIN_READ));
    if (err == 0)
        r->begun = true;
    else
        pthread_rwlock_unlock(&r->store->readers_lock);
    return err;
}

void reader_end(struct store_reader *r)
{
    check(r->begun);
    r->begun = false;
    /* Nothing was written. If ending the transaction fails, the connection is given up. */
    if (db_run(&r->db, db_get(&r->db, STATEMENT_COMMIT)) != 0)
        db_abandon(&r->db);
    pthread_rwlock_unlock(&r->store->readers_lock);
}

/* A read outside reader_begin and reader_end makes its own snapshot; then *opened is true and
 * leave() ends it. */
static int enter(struct store_reader *r, bool *opened)
{
    *opened = !r->begun;
    return r->begun ? 0 : reader_begin(r);
}

static void leave(struct store_reader *r, bool opened)
{
    if (opened)
        reader_end(r);
}

struct db *internal_reader_enter(struct store_reader *r, bool *opened, int *err)
{
    *err = enter(r, opened);
    return *err == 0 ? &r->db : NULL;
}

void internal_reader_leave(struct store_reader *r, bool opened)
{
    leave(r, opened);
}

/* ---- Statements -------------------------------------------------------------------------------
The functions below run within a snapshot. */

static int find_inode(struct store_reader *r, uint64_t ino, struct inode *out)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_INODE_GET);
    int row;

    db_bind(st, 1, ino);
    row = db_step(&r->db, st);
    if (row > 0)
        row_inode_read(st, 0, out);
    db_reset(st);
    return row > 0 ? 0 : row == 0 ? -ESTALE : row;
}

/* One that can have names: one that is removed has attributes only. */
static int find_dir(struct store_reader *r, uint64_t ino, struct inode *out)
{
    int err = find_inode(r, ino, out);

    if (err == 0 && !op_is_dir(out))
        return -ENOTDIR;
    return err == 0 && out->nlink == 0 ? -ESTALE : err;
}

static int get_applied(struct store_reader *r, uint64_t *out)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_STATE_GET);
    int row = db_step(&r->db, st);

    if (row > 0)
        *out = db_u64(st, 0);
    db_reset(st);
    return row > 0 ? 0 : -EIO;
}

static int lookup_dots(struct store_reader *r, uint64_t parent, bool up, struct inode *out)
{
    int err = find_dir(r, parent, out);

    return err == 0 && up ? find_inode(r, out->parent, out) : err;
}

static int lookup(struct store_reader *r, uint64_t parent, const char *name, size_t name_len,
                  struct inode *out)
{
    sqlite3_stmt *st;
    struct inode dir;
    int row, err;

    if (name_len > LIMIT_NAME_MAX)
        return -ENAMETOOLONG;
    if ((name_len == 1 || name_len == 2) && memcmp(name, "..", name_len) == 0)
        return lookup_dots(r, parent, name_len == 2, out);
    st = db_get(&r->db, STATEMENT_LOOKUP);
    db_bind(st, 1, parent);
    db_bind_bytes(st, 2, name, name_len);
    row = db_step(&r->db, st);
    if (row > 0)
        row_inode_read(st, 0, out);
    db_reset(st);
    if (row != 0)
        return row > 0 ? 0 : row;
    err = find_dir(r, parent, &dir);
    return err == 0 ? -ENOENT : err;
}

/* Copies a value to out, which must be large enough. size 0 asks for the length only. */
static int64_t copy_out(struct bytes value, void *out, size_t size)
{
    if (size == 0)
        return (int64_t)value.len;
    if (value.len > size)
        return -ERANGE;
    memcpy(out, value.data, value.len);
    return (int64_t)value.len;
}

/* ---- Attributes and names ---------------------------------------------------------------------*/

int reader_applied(struct store_reader *r, uint64_t *out)
{
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = get_applied(r, out);
    leave(r, opened);
    return err;
}

int reader_attr(struct store_reader *r, uint64_t ino, Cfs__Attr *out)
{
    struct inode inode;
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = find_inode(r, ino, &inode);
    leave(r, opened);
    if (err == 0)
        op_fill_attr(&inode, out);
    return err;
}

int reader_lookup(struct store_reader *r, uint64_t parent, const char *name, size_t name_len,
                  Cfs__Attr *out)
{
    struct inode inode;
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = lookup(r, parent, name, name_len, &inode);
    leave(r, opened);
    if (err == 0)
        op_fill_attr(&inode, out);
    return err;
}

static int64_t readlink_in(struct store_reader *r, uint64_t ino, char *out, size_t size)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_SYMLINK_GET);
    struct inode inode;
    int64_t len = -EINVAL;
    int row;

    db_bind(st, 1, ino);
    row = db_step(&r->db, st);
    if (row > 0) {
        struct bytes target = row_bytes(st, 0);

        len = (int64_t)min_u64(target.len, size); /* truncated, as readlink(2) does */
        memcpy(out, target.data, (size_t)len);
    }
    db_reset(st);
    if (row != 0)
        return row > 0 ? len : row;
    row = find_inode(r, ino, &inode);
    return row != 0 ? row : -EINVAL;
}

int64_t reader_readlink(struct store_reader *r, uint64_t ino, char *out, size_t size)
{
    bool opened;
    int64_t len = enter(r, &opened);

    if (len != 0)
        return len;
    len = readlink_in(r, ino, out, size);
    leave(r, opened);
    return len;
}

/* ---- Content ----------------------------------------------------------------------------------*/

/* Copies what one block stores of the range [offset, offset + len). The rest of out is already
 * zero. */
static int copy_block(sqlite3_stmt *st, uint64_t offset, size_t len, uint8_t *out)
{
    uint64_t start = (db_u64(st, 0) & ((1u << CONTENT_INDEX_BITS) - 1)) * CONTENT_BLOCK;
    struct bytes sum = row_bytes(st, 1), data = row_bytes(st, 2);
    uint64_t from = max_u64(offset, start);
    uint64_t to = min_u64(offset + len, start + data.len);

    /* An error is better than wrong data. */
    if (sum.len != HASH_SIZE || !hash_equal(hash_decode(sum.data), hash_bytes(data.data, data.len)))
        return -EIO;
    if (from < to)
        memcpy(out + (from - offset), data.data + (from - start), to - from);
    return 0;
}

static int64_t read_range(struct store_reader *r, const struct inode *inode, uint64_t offset,
                          void *out, size_t len)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_BLOCK_RANGE);
    int row, err = 0;

    if (offset >= inode->size || len == 0)
        return 0;
    len = min_u64(len, inode->size - offset);
    memset(out, 0, len);
    db_bind(st, 1, content_id(inode->ino, offset / CONTENT_BLOCK));
    db_bind(st, 2, content_id(inode->ino, (offset + len - 1) / CONTENT_BLOCK));
    while (err == 0 && (row = db_step(&r->db, st)) != 0)
        err = row > 0 ? copy_block(st, offset, len, out) : row;
    db_reset(st);
    return err != 0 ? err : (int64_t)len;
}

int64_t reader_read(struct store_reader *r, uint64_t ino, uint64_t offset, void *out, size_t len)
{
    struct inode inode;
    bool opened;
    int64_t n = enter(r, &opened);

    if (n != 0)
        return n;
    n = find_inode(r, ino, &inode);
    if (n == 0 && op_type(&inode) != S_IFREG)
        n = op_is_dir(&inode) ? -EISDIR : -EINVAL;
    if (n == 0)
        n = read_range(r, &inode, offset, out, len);
    leave(r, opened);
    return n;
}

/* Reads the next block. 1: *from and *to are the range of the file that it stores. 0: no more. */
static int next_stored(sqlite3_stmt *st, struct db *db, uint64_t *from, uint64_t *to)
{
    int row = db_step(db, st);

    if (row <= 0)
        return row;
    *from = (db_u64(st, 0) & ((1u << CONTENT_INDEX_BITS) - 1)) * CONTENT_BLOCK;
    *to = *from + (db_u64(st, 2) + READER_SEEK_BLOCK - 1) / READER_SEEK_BLOCK * READER_SEEK_BLOCK;
    return row;
}

static int64_t seek_in(struct store_reader *r, const struct inode *inode, uint64_t offset,
                       bool hole)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_BLOCK_RANGE_META);
    uint64_t from = 0, to = 0;
    int row;

    if (offset >= inode->size)
        return -ENXIO;
    db_bind(st, 1, content_id(inode->ino, offset / CONTENT_BLOCK));
    db_bind(st, 2, content_id(inode->ino, (inode->size - 1) / CONTENT_BLOCK));
    while ((row = next_stored(st, &r->db, &from, &to)) > 0) {
        if (hole && from > offset)
            break;
        if (!hole && to > offset)
            break;
        offset = max_u64(offset, hole ? to : 0);
    }
    db_reset(st);
    if (row < 0)
        return row;
    if (hole)
        return (int64_t)min_u64(offset, inode->size);
    return row > 0 ? (int64_t)max_u64(offset, from) : -ENXIO;
}

int64_t reader_seek(struct store_reader *r, uint64_t ino, uint64_t offset, bool hole)
{
    struct inode inode;
    bool opened;
    int64_t n = enter(r, &opened);

    if (n != 0)
        return n;
    n = find_inode(r, ino, &inode);
    if (n == 0 && op_type(&inode) != S_IFREG)
        n = op_is_dir(&inode) ? -EISDIR : -EINVAL;
    if (n == 0)
        n = seek_in(r, &inode, offset, hole);
    leave(r, opened);
    return n;
}

/* ---- Extended attributes ----------------------------------------------------------------------*/

static int64_t getxattr_in(struct store_reader *r, uint64_t ino, const char *name, size_t name_len,
                           void *out, size_t size)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_XATTR_GET);
    struct inode inode;
    int64_t len;
    int row;

    db_bind(st, 1, ino);
    db_bind_bytes(st, 2, name, name_len);
    row = db_step(&r->db, st);
    len = row > 0 ? copy_out(row_bytes(st, 0), out, size) : row;
    db_reset(st);
    if (row != 0)
        return len;
    row = find_inode(r, ino, &inode);
    return row != 0 ? row : -ENODATA;
}

/* ---- Those that are no xattrs (store/znode.h) ---- */

static int64_t path_in(struct store_reader *r, uint64_t ino, char *out, size_t size);

static int64_t path_of(void *arg, uint64_t ino, char *out, size_t size)
{
    return path_in(arg, ino, out, size);
}

static uint64_t member_of(void *arg, uint64_t session)
{
    struct store_reader *r = arg;

    return db_find_u64(&r->db, STATEMENT_SESSION_MEMBER, session);
}

/* 0 or -errno. Finds the special properties of the inode; all zero if it has none. */
static int find_special(struct store_reader *r, uint64_t ino, struct special *out)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_SPECIAL_GET);
    int row;

    *out = (struct special){.ino = ino};
    db_bind(st, 1, ino);
    row = db_step(&r->db, st);
    if (row > 0)
        special_read(st, 0, out);
    db_reset(st);
    return row < 0 ? row : 0;
}

/* 1: the directory has a quota. 0: it has none. Or -errno. */
static int find_quota(struct store_reader *r, uint64_t dir, struct quota *out)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_QUOTA_GET);
    int row;

    db_bind(st, 1, dir);
    row = db_step(&r->db, st);
    if (row > 0)
        quota_read(st, 0, out);
    db_reset(st);
    return row;
}

static int get_quota(struct store_reader *r, uint64_t ino, struct bytes name, struct buf *value)
{
    struct quota quota;
    int row = find_quota(r, ino, &quota);

    return row < 0 ? row : quota_get(row > 0 ? &quota : NULL, name, value);
}

static int64_t get_znode(struct store_reader *r, uint64_t ino, struct bytes name, void *out,
                         size_t size)
{
    const struct znode_lookup lookup = {path_of, member_of, r};
    struct buf value = BUF_EMPTY;
    struct special special;
    struct inode inode;
    int64_t len = find_inode(r, ino, &inode);

    if (len == 0 && quota_is_name(name))
        len = get_quota(r, ino, name, &value);
    else if (len == 0 && (len = find_special(r, ino, &special)) == 0)
        len = znode_get(&special, name, &lookup, &value);
    if (len == 0)
        len = copy_out((struct bytes){value.data, value.len}, out, size);
    buf_fini(&value);
    return len;
}

static int64_t get_history_limit(struct store_reader *r, void *out, size_t size)
{
    struct history_state state;
    char text[24];
    int err = state_load_history(&r->db, &state);

    if (err < 0)
        return err;
    snprintf(text, sizeof text, "%llu", (unsigned long long)state.limit);
    return copy_out((struct bytes){(const uint8_t *)text, strlen(text)}, out, size);
}

int64_t reader_getxattr(struct store_reader *r, uint64_t ino, const char *name, size_t name_len,
                        void *out, size_t size)
{
    bool opened;
    int64_t len = enter(r, &opened);

    if (len != 0)
        return len;
    if (history_is_setting(ino, (struct bytes){(const uint8_t *)name, name_len}))
        len = get_history_limit(r, out, size);
    else if (znode_is_name((struct bytes){(const uint8_t *)name, name_len}))
        len = get_znode(r, ino, (struct bytes){(const uint8_t *)name, name_len}, out, size);
    else
        len = getxattr_in(r, ino, name, name_len, out, size);
    leave(r, opened);
    return len;
}

static int64_t listxattr_in(struct store_reader *r, uint64_t ino, struct buf *names)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_XATTR_ALL);
    struct special special;
    struct quota quota;
    struct inode inode;
    int row = find_inode(r, ino, &inode);

    if (row == 0)
        row = find_special(r, ino, &special);
    if (row != 0)
        return row;
    znode_list(&special, names);
    row = op_is_dir(&inode) ? find_quota(r, ino, &quota) : 0;
    if (row < 0)
        return row;
    quota_list(row > 0 ? &quota : NULL, names);
    if (inode.xattr_bytes == 0)
        return 0;
    db_bind(st, 1, ino);
    while ((row = db_step(&r->db, st)) > 0) {
        struct bytes name = row_bytes(st, 0);

        buf_append(names, name.data, name.len);
        buf_append(names, "", 1);
    }
    return row;
}

int64_t reader_listxattr(struct store_reader *r, uint64_t ino, char *out, size_t size)
{
    struct buf names = BUF_EMPTY;
    bool opened;
    int64_t len = enter(r, &opened);

    if (len != 0)
        return len;
    len = listxattr_in(r, ino, &names);
    leave(r, opened);
    if (len == 0 && names.len > 0)
        len = copy_out((struct bytes){names.data, names.len}, out, size);
    buf_fini(&names);
    return len;
}

/* ---- Directories ------------------------------------------------------------------------------*/

static int readdir_in(struct store_reader *r, uint64_t ino, uint64_t after, bool attrs,
                      bool (*fn)(void *arg, const struct reader_entry *entry), void *arg)
{
    sqlite3_stmt *st = db_get(&r->db, attrs ? STATEMENT_READDIR_ATTRS : STATEMENT_READDIR);
    struct inode inode;
    Cfs__Attr attr;
    bool more = true;
    int row = find_dir(r, ino, &inode);

    if (row != 0)
        return row;
    if (after >= (uint64_t)1 << 62)
        return 0;                                /* `after` is at or beyond every cookie */
    check(st == NULL || !sqlite3_stmt_busy(st)); /* fn must not call readdir */
    db_bind(st, 1, ino);
    db_bind(st, 2, after);
    while (more && (row = db_step(&r->db, st)) > 0) {
        struct bytes name = row_bytes(st, 3);
        struct reader_entry entry = {.cookie = db_u64(st, 0),
                                     .name = (const char *)name.data,
                                     .name_len = name.len,
                                     .ino = db_u64(st, 1),
                                     .type = (uint32_t)db_u64(st, 2)};

        if (attrs) {
            row_inode_read(st, 4, &inode);
            op_fill_attr(&inode, &attr);
            entry.attr = &attr;
        }
        more = fn(arg, &entry);
    }
    db_reset(st);
    return row < 0 ? row : 0;
}

int reader_readdir(struct store_reader *r, uint64_t ino, uint64_t after, bool attrs,
                   bool (*fn)(void *arg, const struct reader_entry *entry), void *arg)
{
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = readdir_in(r, ino, after, attrs, fn, arg);
    leave(r, opened);
    return err;
}

/* ---- Locks and sessions -----------------------------------------------------------------------*/

static void to_reader_lock(const struct lock_row *row, bool waits, uint64_t member,
                           struct reader_lock *out)
{
    *out = (struct reader_lock){
        .ino = row->ino,
        .kind = (uint32_t)row->kind,
        .session = row->session,
        .member = member,
        .owner = row->owner,
        .handle = row->handle,
        .start = row->first,
        .end = row->last,
        .write = row->exclusive,
        .pid = (uint32_t)row->pid,
        .waits = waits,
        .number = row->number,
    };
}

static int getlk_in(struct store_reader *r, uint64_t session, const Cfs__Lock *asked,
                    struct reader_lock *out)
{
    bool flock = asked->kind == CFS__LOCK__KIND__FLOCK;
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_LOCK_CONFLICT);
    struct lock_row row;
    int found;

    db_bind(st, 1, asked->ino);
    db_bind(st, 2, flock ? LOCK_FLOCK : LOCK_POSIX);
    db_bind(st, 3, session);
    db_bind(st, 4, flock ? asked->handle : asked->owner);
    db_bind(st, 5, flock ? 0 : asked->start);
    db_bind(st, 6, flock ? LOCK_END : asked->end);
    db_bind(st, 7, asked->write);
    found = db_step(&r->db, st);
    if (found > 0) {
        locktab_read(st, &row);
        to_reader_lock(&row, false, 0, out);
    }
    db_reset(st);
    return found;
}

int reader_getlk(struct store_reader *r, uint64_t session, const Cfs__Lock *asked,
                 struct reader_lock *out)
{
    bool opened;
    int found = enter(r, &opened);

    if (found != 0)
        return found;
    found = getlk_in(r, session, asked, out);
    leave(r, opened);
    return found;
}

static int holds_in(struct store_reader *r, uint64_t session, const Cfs__Lock *asked,
                    uint64_t *fence, bool *some)
{
    bool flock = asked->kind == CFS__LOCK__KIND__FLOCK;
    uint64_t at = flock ? 0 : asked->start, end = flock ? LOCK_END : asked->end;
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_LOCK_OWN);
    struct lock_row row;
    int found;

    *fence = 0;
    *some = false;
    db_bind(st, 1, asked->ino);
    db_bind(st, 2, flock ? LOCK_FLOCK : LOCK_POSIX);
    db_bind(st, 3, session);
    db_bind(st, 4, flock ? asked->handle : asked->owner);
    db_bind(st, 5, at);
    db_bind(st, 6, end);
    while ((found = db_step(&r->db, st)) > 0) { /* sorted by offset, without overlaps */
        locktab_read(st, &row);
        *some = true;
        if (row.first > at || (asked->write && !row.exclusive))
            break;
        at = row.last + 1;
        *fence = max_u64(*fence, row.number);
    }
    db_reset(st);
    return found < 0 ? found : at > end;
}

int reader_holds(struct store_reader *r, uint64_t session, const Cfs__Lock *asked, uint64_t *fence,
                 bool *some)
{
    bool opened;
    int found = enter(r, &opened);

    if (found != 0)
        return found;
    found = holds_in(r, session, asked, fence, some);
    leave(r, opened);
    return found;
}

static int wait_state_in(struct store_reader *r, uint64_t session, uint64_t id,
                         const Cfs__Lock *asked, uint64_t *fence)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_WAITER_GET);
    bool some, waits;
    int found;

    db_bind(st, 1, id);
    found = db_step(&r->db, st);
    waits = found > 0 && db_u64(st, 0) == session;
    db_reset(st);
    if (found < 0 || waits)
        return found < 0 ? found : STORE_WAITING;
    found = holds_in(r, session, asked, fence, &some);
    return found < 0 ? found : found > 0 ? STORE_GRANTED : STORE_GONE;
}

int reader_wait_state(struct store_reader *r, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                      uint64_t *fence)
{
    bool opened;
    int state = enter(r, &opened);

    if (state != 0)
        return state;
    state = wait_state_in(r, session, id, asked, fence);
    leave(r, opened);
    return state;
}

int reader_ends_with_open(struct store_reader *r, uint64_t session, uint64_t ino)
{
    struct special special;
    sqlite3_stmt *st;
    bool opened;
    int found = enter(r, &opened);

    if (found != 0)
        return found;
    st = db_get(&r->db, STATEMENT_SPECIAL_GET);
    db_bind(st, 1, ino);
    found = db_step(&r->db, st);
    if (found > 0) {
        special_read(st, 0, &special);
        found = special.ephemeral == CFS__EPHEMERAL__EPHEMERAL_OPEN && special.session == session;
    }
    db_reset(st);
    leave(r, opened);
    return found;
}

int reader_fence(struct store_reader *r, uint64_t session, uint64_t ino, uint64_t *out)
{
    sqlite3_stmt *st;
    bool opened;
    int row, err = enter(r, &opened);

    if (err != 0)
        return err;
    st = db_get(&r->db, STATEMENT_LOCK_FENCE);
    db_bind(st, 1, ino);
    db_bind(st, 2, session);
    row = db_step(&r->db, st);
    if (row > 0)
        *out = db_u64(st, 0);
    db_reset(st);
    leave(r, opened);
    return row > 0 ? 0 : row == 0 ? -ENODATA : row;
}

static int locks_in(struct store_reader *r, bool (*fn)(void *arg, const struct reader_lock *lock),
                    void *arg)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_LOCK_LIST);
    struct reader_lock lock;
    struct lock_row row;
    int found = 0;

    check(st == NULL || !sqlite3_stmt_busy(st));
    while ((found = db_step(&r->db, st)) > 0) {
        locktab_read(st, &row);
        to_reader_lock(&row, db_u64(st, LOCK_N) != 0, db_u64(st, LOCK_N + 1), &lock);
        if (!fn(arg, &lock))
            break;
    }
    db_reset(st);
    return found < 0 ? found : 0;
}

int reader_locks(struct store_reader *r, bool (*fn)(void *arg, const struct reader_lock *lock),
                 void *arg)
{
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = locks_in(r, fn, arg);
    leave(r, opened);
    return err;
}

static int sessions_in(struct store_reader *r,
                       bool (*fn)(void *arg, const struct reader_session *session), void *arg)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_SESSION_LIST);
    int found = 0;

    check(st == NULL || !sqlite3_stmt_busy(st));
    while ((found = db_step(&r->db, st)) > 0) {
        struct reader_session session = {db_u64(st, 0), db_u64(st, 1), (unsigned)db_u64(st, 2),
                                         db_u64(st, 3), db_u64(st, 4), db_u64(st, 5)};

        if (!fn(arg, &session))
            break;
    }
    db_reset(st);
    return found < 0 ? found : 0;
}

int reader_sessions(struct store_reader *r,
                    bool (*fn)(void *arg, const struct reader_session *session), void *arg)
{
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = sessions_in(r, fn, arg);
    leave(r, opened);
    return err;
}

/* ---- The whole tree ---------------------------------------------------------------------------*/

int reader_usage(struct store_reader *r, struct reader_usage *out)
{
    sqlite3_stmt *st;
    bool opened;
    int row, err = enter(r, &opened);

    if (err != 0)
        return err;
    st = db_get(&r->db, STATEMENT_USAGE);
    row = db_step(&r->db, st);
    if (row > 0)
        *out = (struct reader_usage){db_u64(st, 0), db_u64(st, 1), LIMIT_TREE_ENTRIES,
                                     LIMIT_TREE_BYTES};
    db_reset(st);
    leave(r, opened);
    return row > 0 ? 0 : -EIO;
}

int64_t reader_room(struct store_reader *r, uint64_t ino)
{
    uint64_t used, room = 0;
    sqlite3_stmt *st;
    bool opened;
    int row, err = enter(r, &opened);

    if (err != 0)
        return err;
    st = db_get(&r->db, STATEMENT_ROOM);
    db_bind(st, 1, ino);
    row = db_step(&r->db, st);
    if (row > 0) {
        used = db_u64(st, 0);
        room = used < LIMIT_TREE_BYTES ? LIMIT_TREE_BYTES - used : 0;
        if (sqlite3_column_type(st, 1) != SQLITE_NULL)
            room = min_u64(room, db_u64(st, 1));
    }
    db_reset(st);
    leave(r, opened);
    return row > 0 ? (int64_t)room : -EIO;
}

/* Puts "/NAME" in front of the path at out[*at], and replaces *ino by its parent. */
static int prepend_name(struct store_reader *r, uint64_t *ino, char *out, size_t *at)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_DIRENT_OF_INODE);
    int row, err = 0;

    db_bind(st, 1, *ino);
    row = db_step(&r->db, st);
    if (row > 0) {
        struct bytes name = row_bytes(st, 1);

        *ino = db_u64(st, 0);
        if (name.len + 1 > *at) {
            err = -ENAMETOOLONG;
        } else {
            *at -= name.len + 1;
            out[*at] = '/';
            memcpy(out + *at + 1, name.data, name.len);
        }
    }
    db_reset(st);
    return row > 0 ? err : row == 0 ? -ENOENT : row;
}

static int64_t path_in(struct store_reader *r, uint64_t ino, char *out, size_t size)
{
    size_t at = size;
    int err = 0;

    if (size < 2)
        return -ENAMETOOLONG;
    out[--at] = '\0';
    if (ino == ROW_ROOT_INO)
        out[--at] = '/';
    while (err == 0 && ino != ROW_ROOT_INO)
        err = prepend_name(r, &ino, out, &at);
    if (err != 0)
        return err;
    memmove(out, out + at, size - at);
    return (int64_t)(size - at - 1);
}

int64_t reader_path(struct store_reader *r, uint64_t ino, char *out, size_t size)
{
    bool opened;
    int64_t len = enter(r, &opened);

    if (len != 0)
        return len;
    len = path_in(r, ino, out, size);
    leave(r, opened);
    return len;
}

static int names_in(struct store_reader *r, uint64_t ino,
                    bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                    void *arg)
{
    sqlite3_stmt *st = db_get(&r->db, STATEMENT_DIRENTS_OF_INODE);
    bool more = true;
    int row = 0;

    db_bind(st, 1, ino);
    while (more && (row = db_step(&r->db, st)) > 0) {
        struct bytes name = row_bytes(st, 1);

        more = fn(arg, db_u64(st, 0), (const char *)name.data, name.len);
    }
    db_reset(st);
    return row < 0 ? row : 0;
}

int reader_names(struct store_reader *r, uint64_t ino,
                 bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                 void *arg)
{
    bool opened;
    int err = enter(r, &opened);

    if (err != 0)
        return err;
    err = names_in(r, ino, fn, arg);
    leave(r, opened);
    return err;
}
