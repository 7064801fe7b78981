/* SPDX-License-Identifier: Apache-2.0 */
/* The history of changes: what it reports, how much is kept, and that all members have the same. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/limits.h"
#include "store/history.h"
#include "tests/lib/txn_kit.h"

#define ROOT 1
#define ANY  CFS__SET_XATTR__MODE__ANY

static struct kit kit, *k = &kit;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

/* ---- Reads ----------------------------------------------------------------------------------- */

static bool add_line(void *arg, const struct feed_change *c)
{
    feed_text(arg, c);
    return true;
}

/* Everything that happened after `number`, without the indexes, which depend on the kit. */
static const char *told(struct kit *at, uint64_t after)
{
    static struct buf text;
    static char out[8192];
    char *line, *rest;

    text.len = 0;
    assert_int_equal(history_reader_each(at->reader, after, add_line, &text), 0);
    buf_append(&text, "", 1);
    out[0] = '\0';
    rest = (char *)text.data;
    while ((line = strsep(&rest, "\n")) != NULL && *line != '\0') {
        strcat(out, strchr(line, ' ') + 1);
        strcat(out, ";");
    }
    return out;
}

static struct history_reader_range range(struct kit *at)
{
    struct history_reader_range r;

    assert_int_equal(history_reader_range(at->reader, &r), 0);
    return r;
}

#define assert_told(after, text) assert_string_equal(told(k, after), text)

static uint64_t here(void)
{
    return range(k).last;
}

static void set_limit(struct kit *at, const char *limit)
{
    assert_int_equal(kit_setxattr(at, ROOT, HISTORY_XATTR, limit, strlen(limit), ANY), 0);
}

/* Commits a transaction of a second member. */
static uint32_t commit(struct txn_kit *t)
{
    static uint64_t nonce;
    struct kit_host host = kit_host(k, 2, ++nonce, 0);

    return txn_commit(t, k, &host);
}

/* ---- The reported changes -------------------------------------------------------------------- */

static void test_each_kind(void **state)
{
    uint64_t at, d, f;

    (void)state;
    assert_told(0, "attr /;"); /* the first session sets the root's times */
    at = here();
    d = kit_dir(k, ROOT, "d");
    f = kit_file(k, d, "f");
    kit_write(k, f, 0, "x", 1);
    kit_chmod(k, f, 0600);
    kit_setxattr(k, f, "user.x", "y", 1, ANY);
    kit_link(k, f, ROOT, "a");
    kit_rename(k, d, "f", ROOT, "g", CFS__RENAME__MODE__REPLACE);
    kit_rename(k, ROOT, "g", ROOT, "d", CFS__RENAME__MODE__EXCHANGE);
    kit_rmdir(k, ROOT, "g");
    kit_unlink(k, ROOT, "a");
    kit_symlink(k, ROOT, "s", "target");
    assert_told(at, "create /d;create /d/f;data /d/f;attr /d/f;xattr /d/f;link /a;"
                    "rename /d/f -> /g;exchange /g -> /d;rmdir /g;unlink /a;create /s;");
    at = here();
    kit_unlink(k, ROOT, "d");
    kit_write(k, f, 0, "y", 1); /* through an open handle */
    assert_told(at, "unlink /d;data (unlinked);");
}

/* A refused command leaves nothing in the history. */
static void test_refused(void **state)
{
    uint64_t at = here();

    (void)state;
    assert_int_equal(kit_unlink(k, ROOT, "none"), ENOENT);
    assert_int_equal(kit_noop(k), 0);
    assert_int_equal(here(), at);
}

/* A file with several names is reported with the name in the directory with the lowest number, and
 * there with the first name in byte order. */
static void test_many_names(void **state)
{
    uint64_t d = kit_dir(k, ROOT, "d"), f = kit_file(k, d, "z"), at;

    (void)state;
    kit_link(k, f, d, "a");
    at = here();
    kit_write(k, f, 0, "x", 1);
    kit_link(k, f, ROOT, "z");
    kit_write(k, f, 0, "y", 1);
    kit_link(k, f, ROOT, "b");
    kit_write(k, f, 0, "z", 1);
    assert_told(at, "data /d/a;link /z;data /z;link /b;data /b;");
}

/* The cached path of a directory must not outlive a rename of one of its ancestors. */
static void test_moved_directories(void **state)
{
    uint64_t a = kit_dir(k, ROOT, "a"), b = kit_dir(k, a, "b"), c = kit_dir(k, b, "c");
    uint64_t f = kit_file(k, c, "f"), other = kit_dir(k, ROOT, "other"), at = here();

    (void)state;
    kit_write(k, f, 0, "x", 1);
    kit_rename(k, ROOT, "a", other, "A", CFS__RENAME__MODE__REPLACE);
    kit_write(k, f, 0, "x", 1);
    kit_rename(k, a, "b", ROOT, "other", CFS__RENAME__MODE__NOREPLACE); /* refused */
    kit_file(k, c, "g");
    kit_dir(k, ROOT, "new");
    kit_rename(k, other, "A", ROOT, "new", CFS__RENAME__MODE__EXCHANGE);
    kit_file(k, c, "h");
    assert_told(at, "data /a/b/c/f;rename /a -> /other/A;data /other/A/b/c/f;"
                    "create /other/A/b/c/g;create /new;exchange /other/A -> /new;"
                    "create /new/b/c/h;");
}

/* The paths of a transaction are valid at their steps. A transaction that fails leaves nothing, not
 * even a cached path. */
static void test_transaction(void **state)
{
    uint64_t d = kit_dir(k, ROOT, "d"), at = here();
    static struct txn_kit t;

    (void)state;
    txn_begin(&t, ROOT);
    txn_make(&t, "/e", S_IFDIR | 0755);
    txn_put(&t, "/e/f", "x");
    txn_move(&t, "/e", "/d/g", CFS__RENAME__MODE__REPLACE);
    txn_put(&t, "/d/g/f", "y");
    assert_int_equal(commit(&t), 0);
    assert_told(at, "create /e;create /e/f;data /e/f;rename /e -> /d/g;data /d/g/f;");

    at = here();
    txn_begin(&t, ROOT);
    txn_move(&t, "/d", "/moved", CFS__RENAME__MODE__REPLACE);
    txn_put(&t, "/moved/f", "x");
    txn_check(&t, "/none", CFS__TXN_CHECK__KIND__EXISTS, 0);
    assert_int_equal(commit(&t), ENOENT);
    assert_int_equal(here(), at);
    kit_file(k, d, "f");
    assert_told(at, "create /d/f;");
}

struct seen {
    size_t n;
    struct feed_change last;
    uint64_t more;
};

static bool see(void *arg, const struct feed_change *c)
{
    struct seen *seen = arg;

    if (seen->n > 0)
        assert_int_equal(c->end > seen->last.end, true);
    seen->more += c->more;
    seen->n++;
    seen->last = *c;
    return true;
}

static void test_fields(void **state)
{
    uint64_t f = kit_file(k, ROOT, "f"), at;
    struct seen seen = {0};

    (void)state;
    k->now = 1700000000000000042;
    kit_write(k, f, 0, "x", 1);
    at = here();
    kit_write(k, f, 0, "y", 1);
    assert_int_equal(history_reader_each(k->reader, at, see, &seen), 0);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.last.number, at + 1);
    assert_int_equal(seen.last.index, store_applied(k->store));
    assert_int_equal(seen.last.kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(seen.last.ino, f);
    assert_int_equal(seen.last.version, kit_stat(k, f).version);
    assert_int_equal(seen.last.session, k->session);
    assert_int_equal(seen.last.member, 1);
    assert_int_equal(seen.last.time_ns, k->now);
    kit_chmod(k, f, 0600);
    assert_int_equal(history_reader_each(k->reader, at + 1, see, &seen), 0);
    assert_int_equal(seen.last.version, kit_stat(k, f).aversion);
}

/* Changes that the state machine makes by itself have no session; `more` counts down the changes of
 * an index. */
static void test_changes_without_a_session(void **state)
{
    struct kit_host host = kit_host(k, 2, 77, 0);
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Make make = CFS__MAKE__INIT;
    Cfs__CloseSession bye = CFS__CLOSE_SESSION__INIT;
    struct seen seen = {0};
    uint64_t at = here();

    (void)state;
    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &make;
    make.parent = ROOT;
    make.mode = S_IFREG | 0644;
    make.ephemeral = CFS__EPHEMERAL__EPHEMERAL_SESSION;
    for (int i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        make.name = kit_bytes(name, 1);
        assert_int_equal(kit_run_as(k, &host, &c), 0);
    }
    assert_int_equal(history_reader_each(k->reader, at, see, &seen), 0);
    assert_int_equal(seen.last.member, 2);
    at = here();
    seen = (struct seen){0};
    c.op_case = CFS__COMMAND__OP_CLOSE_SESSION;
    c.close_session = &bye;
    assert_int_equal(kit_run_as(k, &host, &c), 0);
    assert_told(at, "unlink /a;unlink /b;unlink /c;");
    assert_int_equal(history_reader_each(k->reader, at, see, &seen), 0);
    assert_int_equal(seen.more, 2 + 1 + 0);
    assert_int_equal(seen.last.session, 0);
    assert_int_equal(seen.last.member, 0);
}

/* At any depth, only LIMIT_HISTORY_PATH bytes of the path are reported. */
static void test_deep(void **state)
{
    char name[101];
    uint64_t dir = ROOT, at;
    const char *text;

    (void)state;
    memset(name, 'n', 100);
    name[100] = '\0';
    for (int i = 0; i < 60; i++)
        dir = kit_dir(k, dir, name);
    at = here();
    kit_file(k, dir, "f");
    text = told(k, at);
    assert_int_equal(strlen(text), strlen("create ;") + 40 * 101 + strlen("f"));
    assert_memory_equal(text, "create nnn", 10);
}

/* ---- The limit ------------------------------------------------------------------------------- */

static void test_limit(void **state)
{
    char value[32] = "";
    struct history_reader_range r;
    uint64_t f = kit_file(k, ROOT, "f");

    (void)state;
    assert_int_equal(
        reader_getxattr(k->reader, ROOT, HISTORY_XATTR, strlen(HISTORY_XATTR), value, sizeof value),
        6);
    assert_memory_equal(value, "100000", 6);
    assert_int_equal(kit_setxattr(k, ROOT, HISTORY_XATTR, "0", 1, ANY), EINVAL);
    assert_int_equal(kit_setxattr(k, ROOT, HISTORY_XATTR, "", 0, ANY), EINVAL);
    assert_int_equal(kit_setxattr(k, ROOT, HISTORY_XATTR, "1000001", 7, ANY), EINVAL);
    assert_int_equal(kit_setxattr(k, ROOT, HISTORY_XATTR, "12x", 3, ANY), EINVAL);
    assert_int_equal(kit_setxattr(k, f, HISTORY_XATTR, "12", 2, ANY), EINVAL);
    assert_int_equal(kit_removexattr(k, ROOT, HISTORY_XATTR), ENODATA);
    set_limit(k, "100");
    assert_int_equal(
        reader_getxattr(k->reader, ROOT, HISTORY_XATTR, strlen(HISTORY_XATTR), value, sizeof value),
        3);
    kit_check(k);
    for (int i = 0; i < 500; i++) {
        kit_write(k, f, 0, "x", 1);
        r = range(k);
        assert_true(r.last + 1 - r.first < 100 + HISTORY_PRUNE_EVERY);
    }
    assert_true(r.last + 1 - r.first >= 100);
    assert_true(r.start > 0 && r.oldest > 0);
    kit_check(k);
    set_limit(k, "1");
    for (int i = 0; i < 200; i++)
        kit_write(k, f, 0, "x", 1);
    r = range(k);
    assert_true(r.first <= r.last);
    kit_check(k);
    kit_close(k);
    kit_open(k);
    assert_int_equal(range(k).last, r.last);
    assert_int_equal(range(k).end, r.end);
    assert_int_equal(kit_removexattr(k, ROOT, HISTORY_XATTR), 0);
    assert_int_equal(kit_removexattr(k, ROOT, HISTORY_XATTR), ENODATA);
}

/* After the limit was lowered, the history shrinks step by step. */
static void test_lowered_limit(void **state)
{
    uint64_t f = kit_file(k, ROOT, "f");
    struct history_reader_range r;

    (void)state;
    k->sync = false;
    for (int i = 0; i < 3000; i++)
        kit_write(k, f, 0, "x", 1);
    set_limit(k, "10");
    for (int i = 0; i < 5 * HISTORY_PRUNE_EVERY; i++) {
        uint64_t first = range(k).first;

        kit_write(k, f, 0, "x", 1);
        assert_true(range(k).first - first <= HISTORY_PRUNE_MAX);
    }
    r = range(k);
    assert_true(r.last + 1 - r.first <= 10 + HISTORY_PRUNE_EVERY);
}

/* A transaction that fails does not leave its limit in memory. */
static void test_limit_undone(void **state)
{
    static struct txn_kit t;

    (void)state;
    txn_begin(&t, ROOT);
    txn_set_xattr(&t, "/", HISTORY_XATTR, "50");
    txn_check(&t, "/none", CFS__TXN_CHECK__KIND__EXISTS, 0);
    assert_int_equal(commit(&t), ENOENT);
    kit_check(k);
    txn_begin(&t, ROOT);
    txn_set_xattr(&t, "/", HISTORY_XATTR, "50");
    assert_int_equal(commit(&t), 0);
    kit_check(k);
}

/* ---- Finding ----------------------------------------------------------------------------------*/

static bool first_index(void *arg, const struct feed_change *c)
{
    *(uint64_t *)arg = c->index;
    return false;
}

static void test_since(void **state)
{
    uint64_t f = kit_file(k, ROOT, "f"), number, index, begin = store_applied(k->store);
    struct history_reader_range r;

    (void)state;
    assert_int_equal(history_reader_since(k->reader, 0, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(history_reader_since(k->reader, UINT64_MAX, &number), 0);
    assert_int_equal(number, here());
    for (int i = 0; i < 100; i++) {
        kit_write(k, f, 0, "x", 1);
        kit_noop(k); /* an index without a change */
    }
    for (uint64_t since = begin; since + 2 < store_applied(k->store); since++) {
        assert_int_equal(history_reader_since(k->reader, since, &number), 0);
        assert_int_equal(history_reader_each(k->reader, number, first_index, &index), 0);
        assert_true(index > since && index <= since + 2);
    }
    set_limit(k, "10");
    for (int i = 0; i < 100; i++)
        kit_write(k, f, 0, "x", 1);
    r = range(k);
    assert_int_equal(history_reader_since(k->reader, r.oldest - 1, &number), -ESTALE);
    assert_int_equal(history_reader_since(k->reader, r.oldest, &number), 0);
    assert_int_equal(number, r.first);
    assert_int_equal(history_reader_each(k->reader, r.first - 2, first_index, &index), -ESTALE);
    assert_int_equal(history_reader_each(k->reader, r.first - 1, first_index, &index), 0);
    assert_int_equal(index, r.oldest);
}

static bool check_line(void *arg, const struct feed_change *c)
{
    struct buf line = BUF_EMPTY;
    uint64_t number, *start = arg;

    feed_json(&line, c);
    assert_int_equal(*start + line.len, c->end);
    assert_int_equal(history_reader_at(k->reader, *start, &number), 0);
    assert_int_equal(number, c->number - 1);
    assert_int_equal(history_reader_at(k->reader, c->end - 1, &number), 0);
    assert_int_equal(number, c->number - 1);
    *start = c->end;
    buf_fini(&line);
    return true;
}

static bool collect(void *arg, const struct feed_change *c)
{
    struct feed_change **next = arg;

    *(*next)++ = *c;
    return true;
}

static bool add_hash(void *arg, const struct feed_change *c)
{
    hash_add(arg, history_hash(c));
    return true;
}

/* Makes a database of schema version 2: without a history and without its hash. */
static void make_old(void)
{
    struct store_hash sum, of_history = {0, 0};
    uint8_t bytes[HASH_SIZE];
    sqlite3 *db;
    sqlite3_stmt *st;
    char *path = xasprintf("%s/coordfs.db", k->dir);

    assert_int_equal(history_reader_each(k->reader, 0, add_hash, &of_history), 0);
    kit_close(k);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT sum FROM state", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    sum = hash_decode(sqlite3_column_blob(st, 0));
    sqlite3_finalize(st);
    hash_sub(&sum, of_history);
    hash_encode(sum, bytes);
    assert_int_equal(sqlite3_prepare_v2(db, "UPDATE state SET sum = ?1", -1, &st, NULL), SQLITE_OK);
    sqlite3_bind_blob(st, 1, bytes, sizeof bytes, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_exec(db,
                                  "DROP TABLE part; DROP TABLE quota; DROP TABLE charged;"
                                  "DROP TABLE history; DROP TABLE setting;"
                                  "PRAGMA user_version = 2",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    free(path);
    kit_open(k);
}

/* A migrated database does not claim that nothing happened before. */
static void test_migrated(void **state)
{
    uint64_t number, then;
    struct history_reader_range r;

    (void)state;
    kit_make(k, ROOT, "old", S_IFDIR | 0755);
    make_old();
    then = store_applied(k->store);
    for (int i = 0; i < 2; i++) {
        r = range(k);
        assert_int_equal(r.first, 2);
        assert_int_equal(r.last, 1);
        assert_int_equal(r.oldest, then);
        assert_int_equal(history_reader_since(k->reader, then - 1, &number), -ESTALE);
        assert_int_equal(history_reader_since(k->reader, then, &number), 0);
        assert_told(number, "");
        kit_close(k);
        kit_open(k);
    }
    kit_make(k, ROOT, "new", S_IFDIR | 0755);
    assert_told(number, "create /new;");
    r = range(k);
    assert_int_equal(r.first, 2);
    assert_int_equal(r.oldest, then + 1);
    assert_int_equal(history_reader_since(k->reader, 0, &number), -ESTALE);
    assert_int_equal(history_reader_since(k->reader, then, &number), -ESTALE);
    assert_int_equal(history_reader_since(k->reader, r.oldest, &number), 0);
    assert_int_equal(number, 2);
}

static void test_offsets(void **state)
{
    struct feed_change changes[300], *end = changes;
    uint64_t number, start, f = kit_file(k, ROOT, "a \"name\"\\ \n \xff \xc3\xa4");
    struct history_reader_range r;

    (void)state;
    set_limit(k, "20");
    for (int i = 0; i < 200; i++)
        kit_write(k, f, 0, "x", 1);
    r = range(k);
    start = r.start;
    assert_int_equal(history_reader_each(k->reader, r.first - 1, collect, &end), 0);
    for (struct feed_change *c = changes; c < end; c++) {
        c->path = (struct feed_path){(const uint8_t *)"/a \"name\"\\ \n \xff \xc3\xa4", 17};
        check_line(&start, c);
    }
    assert_int_equal(start, r.end);
    assert_int_equal(history_reader_at(k->reader, r.start - 1, &number), -ESTALE);
    assert_int_equal(history_reader_at(k->reader, r.end, &number), 0);
    assert_int_equal(number, r.last);
}

/* ---- Snapshots and replays ------------------------------------------------------------------- */

/* A member that received a snapshot can report what happened before it. */
static void test_copy(void **state)
{
    static struct kit other;
    struct store_snapshot_info info;
    struct store_snapshot_out *c;
    struct store_snapshot_in *st;
    static uint8_t piece[65536];
    char before[8192];
    uint64_t at = 0;
    int64_t n;

    (void)state;
    set_limit(k, "5000");
    for (int i = 0; i < 20; i++)
        kit_write(k, kit_file(k, ROOT, (char[]){(char)('a' + i), '\0'}), 0, "x", 1);
    strcpy(before, told(k, 0));
    c = store_snapshot_out_open(k->store);
    while (store_snapshot_out_poll(c) == STORE_BUSY)
        usleep(1000);
    assert_int_equal(store_snapshot_out_poll(c), STORE_READY);
    store_snapshot_out_info(c, &info);
    kit_init(&other);
    st = store_snapshot_in_open(other.store);
    while ((n = store_snapshot_out_read(c, at, piece, sizeof piece)) > 0) {
        assert_int_equal(store_snapshot_in_write(st, at, piece, (size_t)n), 0);
        at += (uint64_t)n;
    }
    store_snapshot_in_verify(st, &info);
    while (store_snapshot_in_poll(st) == STORE_BUSY)
        usleep(1000);
    assert_int_equal(store_snapshot_in_poll(st), STORE_READY);
    store_snapshot_in_install(st);
    assert_string_equal(told(&other, 0), before);
    kit_assert_hash(k, &other);
    buf_fini(&info.config);
    store_snapshot_out_close(c);
    kit_fini(&other);
}

/* The same entries give the same history, also if the store was closed in between. */
static void test_replay(void **state)
{
    static struct kit other;
    char before[8192];
    uint64_t d = kit_dir(k, ROOT, "d"), f = kit_file(k, d, "f");

    (void)state;
    set_limit(k, "70");
    for (int i = 0; i < 150; i++) {
        kit_write(k, f, 0, "x", 1);
        if (i % 50 == 0)
            kit_rename(k, ROOT, i == 50 ? "e" : "d", ROOT, i == 50 ? "d" : "e",
                       CFS__RENAME__MODE__REPLACE);
        if (i % 40 == 0) {
            kit_close(k);
            kit_open(k);
        }
    }
    strcpy(before, told(k, range(k).first - 1));
    kit_empty(&other);
    kit_follow(&other, k);
    kit_assert_hash(k, &other);
    assert_string_equal(told(&other, range(&other).first - 1), before);
    kit_fini(&other);
}

/* ---- The control directory's name -------------------------------------------------------------*/

static void test_reserved_name(void **state)
{
    uint64_t d = kit_dir(k, ROOT, "d"), f = kit_file(k, ROOT, "f");
    static struct txn_kit t;

    (void)state;
    assert_int_equal(kit_make(k, ROOT, LIMIT_CONTROL_NAME, S_IFDIR | 0755), EPERM);
    assert_int_equal(kit_symlink(k, ROOT, LIMIT_CONTROL_NAME, "x"), EPERM);
    assert_int_equal(kit_link(k, f, ROOT, LIMIT_CONTROL_NAME), EPERM);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, LIMIT_CONTROL_NAME, 0), EPERM);
    txn_begin(&t, ROOT);
    txn_put(&t, "/" LIMIT_CONTROL_NAME, "x");
    assert_int_equal(commit(&t), EPERM);
    assert_int_equal(kit_make(k, d, LIMIT_CONTROL_NAME, S_IFDIR | 0755), 0);
    assert_int_equal(kit_rename(k, d, LIMIT_CONTROL_NAME, ROOT, LIMIT_CONTROL_NAME, 0), EPERM);
    assert_int_equal(kit_rename(k, d, LIMIT_CONTROL_NAME, ROOT, LIMIT_CONTROL_NAME ".", 0), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_each_kind),
        T(test_refused),
        T(test_many_names),
        T(test_moved_directories),
        T(test_transaction),
        T(test_fields),
        T(test_changes_without_a_session),
        T(test_deep),
        T(test_limit),
        T(test_lowered_limit),
        T(test_limit_undone),
        T(test_since),
        T(test_migrated),
        T(test_offsets),
        T(test_copy),
        T(test_replay),
        T(test_reserved_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
