/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/encode.h"
#include "proto/limits.h"

static const struct store_identity identity = {.member = 1, .cluster = "test"};

/* ---- Life -------------------------------------------------------------------------------------*/

void kit_open(struct kit *k)
{
    char errmsg[256] = "";
    int err = store_open(k->dir, &identity, &k->store, errmsg, sizeof errmsg);

    if (err != 0)
        fail_msg("store_open: %d, %s", err, errmsg);
    k->reader = reader_new(k->store);
}

void kit_close(struct kit *k)
{
    reader_free(k->reader);
    store_close(k->store);
    k->reader = NULL;
    k->store = NULL;
}

void kit_make_dir(char *dir)
{
    const char *tmp = getenv("TMPDIR");

    assert_true(tmp == NULL || strlen(tmp) < 150);
    sprintf(dir, "%s/store-kit-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
}

void kit_empty(struct kit *k)
{
    memset(k, 0, sizeof *k);
    kit_make_dir(k->dir);
    k->term = 1;
    k->now = 1000000000;
    kit_open(k);
}

void kit_init(struct kit *k)
{
    kit_empty(k);
    kit_session(k, 1, 77);
}

void kit_remove_dir(const char *dir)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf -- '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Copies in another process: closing a file of the database in this one would drop the locks on it.
 */
void kit_copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char command[1200];

    snprintf(command, sizeof command, "if [ -e '%s/%s' ]; then cp '%s/%s' '%s/%s'; fi", from_dir,
             name, from_dir, name, to_dir, name);
    assert_int_equal(system(command), 0);
}

void kit_check(struct kit *k)
{
    char why[300] = "";

    if (!store_check(k->store, why, sizeof why))
        fail_msg("%s", why);
}

void kit_fini(struct kit *k)
{
    if (k->store != NULL) {
        kit_check(k);
        kit_close(k);
    }
    for (size_t i = 0; i < k->n_log; i++)
        buf_fini(&k->log[i].data);
    free(k->log);
    kit_remove_dir(k->dir);
}

/* ---- Entries ----------------------------------------------------------------------------------*/

static void record(struct kit *k, const struct store_entry *e)
{
    if ((k->n_log & (k->n_log + 1)) == 0) /* 0, 1, 3, 7 …: room for as many again */
        k->log = xrealloc(k->log, (2 * k->n_log + 1) * sizeof *k->log);
    k->log[k->n_log++] = (struct kit_entry){e->term, e->type, buf_copy(e->data, e->len)};
}

static void keep_name(char *out, ProtobufCBinaryData name)
{
    memcpy(out, name.data != NULL ? name.data : (const uint8_t *)"", name.len);
    out[name.len] = '\0';
}

static void keep_steps(struct kit *k, const Cfs__Reply *reply)
{
    assert_true(reply->n_steps <= KIT_STEPS);
    k->n_steps = reply->n_steps;
    for (size_t i = 0; i < reply->n_steps; i++) {
        memset(&k->steps[i], 0, sizeof k->steps[i]);
        k->steps[i].status = reply->steps[i]->status;
        if (reply->steps[i]->attr != NULL)
            k->steps[i].attr = *reply->steps[i]->attr;
        keep_name(k->steps[i].name, reply->steps[i]->name);
    }
}

static void keep_result(struct kit *k, const struct store_result *r)
{
    Cfs__Reply *reply;

    k->outcome = r->outcome;
    k->opened = r->session;
    k->has_reply = r->reply != NULL;
    k->status = 0;
    k->value = 0;
    memset(&k->attr, 0, sizeof k->attr);
    k->name[0] = '\0';
    k->n_steps = 0;
    if (r->reply != NULL) {
        reply = cfs__reply__unpack(NULL, r->reply_len, r->reply);
        assert_non_null(reply);
        k->status = reply->status;
        k->value = reply->value;
        if (reply->attr != NULL)
            k->attr = *reply->attr;
        keep_name(k->name, reply->name);
        keep_steps(k, reply);
        cfs__reply__free_unpacked(reply, NULL);
    }
    k->n_changes = r->n_changes;
    assert_true(r->n_changes <= KIT_CHANGES);
    for (size_t i = 0; i < r->n_changes; i++) {
        k->changes[i] = *r->changes[i];
        keep_name(k->names[i][0], r->changes[i]->name);
        keep_name(k->names[i][1], r->changes[i]->new_name);
    }
    k->n_grants = r->n_grants;
    assert_true(r->n_grants <= KIT_GRANTS);
    for (size_t i = 0; i < r->n_grants; i++)
        k->grants[i] = r->grants[i];
    k->n_ended = r->n_ended;
    assert_true(r->n_ended <= ARRAY_LEN(k->ended));
    for (size_t i = 0; i < r->n_ended; i++)
        k->ended[i] = r->ended[i];
}

void kit_entry(struct kit *k, enum store_entry_type type, const void *data, size_t len)
{
    struct store_entry entry = {k->term, type, data, len};
    struct store_result result;
    uint64_t index = store_applied(k->store) + 1;

    record(k, &entry);
    store_begin(k->store);
    store_log_append(k->store, index, &entry);
    store_apply(k->store, index, &entry, &result);
    keep_result(k, &result);
    store_commit(k->store, k->sync);
}

void kit_follow(struct kit *k, const struct kit *from)
{
    while (k->n_log < from->n_log) {
        const struct kit_entry *e = &from->log[k->n_log];

        k->term = e->term;
        kit_entry(k, e->type, e->data.data, e->data.len);
    }
}

void kit_stamped(struct kit *k, const struct stamp *stamp, Cfs__Command *c)
{
    struct buf b = encode_stamped(stamp, c);

    assert_true(store_acceptable(b.data, b.len));
    kit_entry(k, STORE_COMMAND, b.data, b.len);
    buf_fini(&b);
}

uint32_t kit_run(struct kit *k, Cfs__Command *c)
{
    struct stamp stamp;

    k->seq++;
    if (!k->keep)
        k->acked = k->seq - 1;
    k->now += 1000;
    stamp = (struct stamp){k->session, k->seq, k->acked, k->now};
    kit_stamped(k, &stamp, c);
    assert_int_equal(k->outcome, STORE_APPLIED);
    if (k->status != 0)
        assert_int_equal(k->n_changes, 0);
    return k->status;
}

struct kit_host kit_host(struct kit *k, uint64_t member, uint64_t nonce, uint32_t ttl_ms)
{
    Cfs__OpenSession open = CFS__OPEN_SESSION__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    struct stamp stamp = {0, 0, 0, k->now};

    open.member = member;
    open.nonce = nonce;
    open.ttl_ms = ttl_ms;
    c.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    c.open_session = &open;
    kit_stamped(k, &stamp, &c);
    return (struct kit_host){k->opened, 0};
}

void kit_session(struct kit *k, uint64_t member, uint64_t nonce)
{
    k->session = kit_host(k, member, nonce, 0).session;
    k->seq = k->acked = 0;
}

uint32_t kit_run_as(struct kit *k, struct kit_host *host, Cfs__Command *c)
{
    struct stamp stamp;

    host->seq++;
    k->now += 1000;
    stamp = (struct stamp){host->session, host->seq, host->seq - 1, k->now};
    kit_stamped(k, &stamp, c);
    assert_int_equal(k->outcome, STORE_APPLIED);
    return k->status;
}

/* ---- Commands ---------------------------------------------------------------------------------*/

ProtobufCBinaryData kit_bytes(const void *data, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

static ProtobufCBinaryData text(const char *s)
{
    return kit_bytes(s, strlen(s));
}

#define COMMAND(member, CASE)                                                                      \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

uint32_t kit_noop(struct kit *k)
{
    Cfs__Noop op = CFS__NOOP__INIT;
    COMMAND(noop, NOOP);

    return kit_run(k, &c);
}

static uint32_t make(struct kit *k, uint64_t parent, const char *name, uint32_t mode, uint32_t uid,
                     uint32_t gid, const char *target)
{
    Cfs__Make op = CFS__MAKE__INIT;
    COMMAND(make, MAKE);

    op.parent = parent;
    op.name = text(name);
    op.mode = mode;
    op.uid = uid;
    op.gid = gid;
    op.target = text(target);
    return kit_run(k, &c);
}

uint32_t kit_make(struct kit *k, uint64_t parent, const char *name, uint32_t mode)
{
    return make(k, parent, name, mode, 0, 0, "");
}

uint32_t kit_make_as(struct kit *k, uint64_t parent, const char *name, uint32_t mode, uint32_t uid,
                     uint32_t gid)
{
    return make(k, parent, name, mode, uid, gid, "");
}

uint32_t kit_symlink(struct kit *k, uint64_t parent, const char *name, const char *target)
{
    return make(k, parent, name, S_IFLNK | 0777, 0, 0, target);
}

uint32_t kit_link(struct kit *k, uint64_t ino, uint64_t parent, const char *name)
{
    Cfs__Link op = CFS__LINK__INIT;
    COMMAND(link, LINK);

    op.ino = ino;
    op.parent = parent;
    op.name = text(name);
    return kit_run(k, &c);
}

static uint32_t unlink_as(struct kit *k, uint64_t parent, const char *name, bool directory)
{
    Cfs__Unlink op = CFS__UNLINK__INIT;
    COMMAND(unlink, UNLINK);

    op.parent = parent;
    op.name = text(name);
    op.directory = directory;
    return kit_run(k, &c);
}

uint32_t kit_unlink(struct kit *k, uint64_t parent, const char *name)
{
    return unlink_as(k, parent, name, false);
}

uint32_t kit_rmdir(struct kit *k, uint64_t parent, const char *name)
{
    return unlink_as(k, parent, name, true);
}

uint32_t kit_rename(struct kit *k, uint64_t parent, const char *name, uint64_t new_parent,
                    const char *new_name, Cfs__Rename__Mode mode)
{
    Cfs__Rename op = CFS__RENAME__INIT;
    COMMAND(rename, RENAME);

    op.parent = parent;
    op.name = text(name);
    op.new_parent = new_parent;
    op.new_name = text(new_name);
    op.mode = mode;
    return kit_run(k, &c);
}

static uint32_t write_as(struct kit *k, uint64_t ino, uint64_t offset, const void *data, size_t len,
                         bool append)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};
    COMMAND(write, WRITE);

    op.ino = ino;
    op.append = append;
    op.n_extents = 1;
    op.extents = extents;
    extent.offset = offset;
    extent.data = kit_bytes(data, len);
    return kit_run(k, &c);
}

uint32_t kit_write(struct kit *k, uint64_t ino, uint64_t offset, const void *data, size_t len)
{
    return write_as(k, ino, offset, data, len, false);
}

uint32_t kit_append(struct kit *k, uint64_t ino, const void *data, size_t len)
{
    return write_as(k, ino, 12345, data, len, true);
}

uint32_t kit_truncate(struct kit *k, uint64_t ino, uint64_t size)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    COMMAND(set_attr, SET_ATTR);

    op.ino = ino;
    op.set_size = true;
    op.size = size;
    return kit_run(k, &c);
}

uint32_t kit_chmod(struct kit *k, uint64_t ino, uint32_t mode)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    COMMAND(set_attr, SET_ATTR);

    op.ino = ino;
    op.set_mode = true;
    op.mode = mode;
    return kit_run(k, &c);
}

uint32_t kit_setxattr(struct kit *k, uint64_t ino, const char *name, const void *value, size_t len,
                      Cfs__SetXattr__Mode mode)
{
    Cfs__SetXattr op = CFS__SET_XATTR__INIT;
    COMMAND(set_xattr, SET_XATTR);

    op.ino = ino;
    op.name = text(name);
    op.value = kit_bytes(value, len);
    op.mode = mode;
    return kit_run(k, &c);
}

uint32_t kit_removexattr(struct kit *k, uint64_t ino, const char *name)
{
    Cfs__RemoveXattr op = CFS__REMOVE_XATTR__INIT;
    COMMAND(remove_xattr, REMOVE_XATTR);

    op.ino = ino;
    op.name = text(name);
    return kit_run(k, &c);
}

uint32_t kit_reap(struct kit *k, uint64_t ino)
{
    Cfs__Reap op = CFS__REAP__INIT;
    COMMAND(reap, REAP);

    op.n_inos = 1;
    op.inos = &ino;
    return kit_run(k, &c);
}

uint64_t kit_file(struct kit *k, uint64_t parent, const char *name)
{
    assert_int_equal(kit_make(k, parent, name, S_IFREG | 0644), 0);
    return k->attr.ino;
}

uint64_t kit_dir(struct kit *k, uint64_t parent, const char *name)
{
    assert_int_equal(kit_make(k, parent, name, S_IFDIR | 0755), 0);
    return k->attr.ino;
}

/* ---- Reads ----------------------------------------------------------------------------------- */

Cfs__Attr kit_stat(struct kit *k, uint64_t ino)
{
    Cfs__Attr attr;

    assert_int_equal(reader_attr(k->reader, ino, &attr), 0);
    return attr;
}

uint64_t kit_find(struct kit *k, uint64_t parent, const char *name)
{
    Cfs__Attr attr;
    int err = reader_lookup(k->reader, parent, name, strlen(name), &attr);

    assert_true(err == 0 || err == -ENOENT);
    return err == 0 ? attr.ino : 0;
}

void kit_assert_hash(const struct kit *a, const struct kit *b)
{
    struct store_hash x = store_state_hash(a->store), y = store_state_hash(b->store);

    assert_int_equal(store_applied(a->store), store_applied(b->store));
    assert_true(x.low == y.low && x.high == y.high);
}

void kit_sql(const char *dir, const char *sql)
{
    char *path = xasprintf("%s/coordfs.db", dir);
    char *errmsg = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &errmsg) != SQLITE_OK)
        fail_msg("%s: %s", sql, errmsg);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    free(path);
}

void kit_dump_table(const char *dir, const char *table, struct buf *out)
{
    char *path = xasprintf("%s/coordfs.db", dir), *sql = xasprintf("SELECT * FROM %s", table);
    sqlite3_stmt *st;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        buf_printf(out, "%s:", table);
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            const uint8_t *bytes = sqlite3_column_blob(st, i);

            buf_printf(out, " ");
            for (int n = 0; n < sqlite3_column_bytes(st, i); n++)
                buf_printf(out, "%02x", bytes[n]);
        }
        buf_printf(out, "\n");
    }
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    free(sql);
    free(path);
}
