/* SPDX-License-Identifier: Apache-2.0 */
/* store/txn.c, store/access.c: each operation and condition; a failure at any step undoes all; the
 * permissions of the caller. */
#include "proto/encode.h"
#include "tests/lib/lock_kit.h"
#include "tests/lib/txn_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/limits.h"

#define ROOT 1

#define EXISTS   CFS__TXN_CHECK__KIND__EXISTS
#define ABSENT   CFS__TXN_CHECK__KIND__ABSENT
#define VERSION  CFS__TXN_CHECK__KIND__VERSION
#define CVERSION CFS__TXN_CHECK__KIND__CVERSION
#define AVERSION CFS__TXN_CHECK__KIND__AVERSION
#define HASH     CFS__TXN_CHECK__KIND__HASH
#define LOCKED   CFS__TXN_CHECK__KIND__LOCKED
#define REPLACE  CFS__RENAME__MODE__REPLACE

static struct kit kit;
static struct kit *const k = &kit;
static struct kit_host a, b;
static struct txn_kit t;
static uint64_t dir, f, sub; /* /dir with f ("one") and sub/ */

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    a = kit_host(k, 11, 1, 0);
    b = kit_host(k, 12, 1, 0);
    dir = kit_dir(k, ROOT, "dir");
    f = kit_file(k, dir, "f");
    assert_int_equal(txn_write_as(k, &a, f, "one"), 0);
    sub = kit_dir(k, dir, "sub");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static const char *content(uint64_t ino)
{
    static char text[300];
    int64_t len = reader_read(k->reader, ino, 0, text, sizeof text - 1);

    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

static uint32_t commit(void)
{
    return txn_commit(&t, k, &a);
}

/* A transaction with this one step and no credentials. */
#define ONE(call) (txn_begin(&t, dir), (void)(call), commit())

/* ---- Verbs ------------------------------------------------------------------------------------*/

static void test_all_verbs(void **state)
{
    uint64_t d, p, s;

    (void)state;
    txn_begin(&t, dir);
    txn_check(&t, "f", EXISTS, 0);
    txn_make(&t, "d", S_IFDIR | 0750); /* 2 */
    txn_put(&t, "d/p", "put");         /* each sees what those before it did */
    txn_link(&t, "d/p", "/dir/second");
    txn_chmod(&t, "d/p", 0600);
    txn_set_xattr(&t, "d/p", "user.x", "1"); /* 6 */
    txn_set_xattr(&t, "d/p", "user.y", "2");
    txn_remove_xattr(&t, "d/p", "user.x");
    txn_move(&t, "f", "sub/moved", REPLACE);
    txn_put(&t, "sub/moved", "two"); /* 10 */
    txn_make(&t, "d/link", S_IFLNK | 0777)->make->target = kit_bytes("p", 1);
    txn_put(&t, "gone", "x");
    txn_remove(&t, "gone", false);
    txn_check(&t, "gone", ABSENT, 0); /* 14 */
    assert_int_equal(commit(), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->n_steps, 14);
    for (size_t i = 0; i < k->n_steps; i++)
        assert_int_equal(k->steps[i].status, 0);
    d = kit_find(k, dir, "d");
    p = kit_find(k, d, "p");
    s = kit_find(k, dir, "second");
    assert_true(d != 0 && p != 0 && p == s);
    assert_int_equal(k->steps[1].attr.ino, d);
    assert_int_equal(k->steps[2].attr.ino, p);
    assert_int_equal(k->steps[9].attr.version, 2);
    assert_int_equal(kit_stat(k, p).mode, S_IFREG | 0600);
    assert_int_equal(kit_stat(k, d).mode, S_IFDIR | 0750);
    assert_string_equal(content(p), "put");
    assert_int_equal(kit_find(k, sub, "moved"), f);
    assert_int_equal(kit_find(k, dir, "f"), 0);
    assert_string_equal(content(f), "two");
    assert_null(txn_getxattr(k, p, "user.x"));
    assert_string_equal(txn_getxattr(k, p, "user.y"), "2");
    /* All changes are of one entry, and no kernel knows of them. */
    assert_int_equal(k->n_changes, 14);
    for (size_t i = 0; i < k->n_changes; i++) {
        assert_int_equal(k->changes[i].index, store_applied(k->store));
        assert_int_equal(k->changes[i].session, a.session);
        assert_true(k->changes[i].unseen);
    }
}

static void test_put(void **state)
{
    Cfs__TxnStep *s;

    (void)state;
    assert_int_equal(ONE(txn_put(&t, "f", "longer text")), 0);
    assert_string_equal(content(f), "longer text");
    assert_int_equal(kit_stat(k, f).version, 2);
    assert_int_equal(kit_stat(k, f).mode, S_IFREG | 0644); /* the mode is for new files */
    assert_int_equal(ONE(txn_put(&t, "f", "s")), 0);
    assert_string_equal(content(f), "s"); /* the whole content */
    txn_begin(&t, dir);
    txn_put(&t, "f", "+")->put->append = true;
    txn_put(&t, "f", "+")->put->append = true;
    assert_int_equal(commit(), 0);
    assert_string_equal(content(f), "s++");
    assert_int_equal(ONE(txn_put(&t, "f", "")), 0);
    assert_string_equal(content(f), "");
    assert_int_equal(kit_stat(k, f).version, 6);
    txn_begin(&t, dir);
    s = txn_put(&t, "new", "");
    s->put->mode = 0666;
    s->put->umask = 027;
    assert_int_equal(commit(), 0);
    assert_int_equal(k->steps[0].attr.mode, S_IFREG | 0640);
    assert_int_equal(ONE(txn_put(&t, "sub", "x")), EISDIR);
    assert_int_equal(ONE(txn_put(&t, "/", "x")), EISDIR);
    assert_int_equal(ONE(txn_put(&t, "", "x")), EISDIR);
    assert_int_equal(ONE(txn_put(&t, "new2", "x")->put->mode = 010000), EINVAL);
    assert_int_equal(kit_symlink(k, dir, "link", "f"), 0);
    assert_int_equal(ONE(txn_put(&t, "link", "x")), ELOOP);
    assert_int_equal(kit_make(k, dir, "fifo", S_IFIFO | 0666), 0);
    assert_int_equal(ONE(txn_put(&t, "fifo", "x")), EINVAL);
}

static void test_put_sequential(void **state)
{
    uint64_t ino;

    (void)state;
    txn_begin(&t, dir);
    txn_put(&t, "sub/n-", "first")->put->sequential = true;
    txn_put(&t, "sub/n-", "second")->put->sequential = true;
    txn_put(&t, "sub/", "third")->put->sequential = true;
    txn_make(&t, "sub/d", S_IFDIR | 0700)->make->sequential = true;
    txn_put(&t, "sub/e", "")->put->ephemeral = CFS__EPHEMERAL__EPHEMERAL_SESSION;
    assert_int_equal(commit(), 0);
    assert_string_equal(k->steps[0].name, "n-0000000000");
    assert_string_equal(k->steps[1].name, "n-0000000001");
    assert_string_equal(k->steps[2].name, "0000000002");
    assert_string_equal(k->steps[3].name, "d0000000003");
    assert_string_equal(k->steps[4].name, "");
    ino = kit_find(k, sub, "n-0000000001");
    assert_int_equal(ino, k->steps[1].attr.ino);
    assert_string_equal(content(ino), "second");
    assert_string_equal(txn_getxattr(k, kit_find(k, sub, "e"), "user.coordfs.owner"), "11");
    /* A number of a failed transaction is assigned again. */
    txn_begin(&t, dir);
    txn_put(&t, "sub/n-", "x")->put->sequential = true;
    txn_check(&t, "f", ABSENT, 0);
    assert_int_equal(commit(), EEXIST);
    assert_int_equal(ONE(txn_put(&t, "sub/n-", "x")->put->sequential = true), 0);
    assert_string_equal(k->steps[0].name, "n-0000000004");
    assert_int_equal(ONE(txn_put(&t, "f/", "x")->put->sequential = true), ENOTDIR);
    assert_int_equal(ONE(txn_put(&t, "none/", "x")->put->sequential = true), ENOENT);
    assert_int_equal(ONE(txn_put(&t, "", "x")->put->sequential = true), 0);
    assert_string_equal(k->steps[0].name, "0000000000");
}

/* A step returns the same status as the command. */
static void test_errors_of_verbs(void **state)
{
    (void)state;
    assert_int_equal(ONE(txn_make(&t, "f", S_IFREG | 0644)), EEXIST);
    assert_int_equal(ONE(txn_make(&t, "/", S_IFDIR | 0755)), EEXIST);
    assert_int_equal(ONE(txn_make(&t, "..", S_IFDIR | 0755)), EEXIST);
    assert_int_equal(ONE(txn_make(&t, "g", 0644)), EINVAL); /* without a type */
    assert_int_equal(ONE(txn_make(&t, "none/g", S_IFREG | 0644)), ENOENT);
    assert_int_equal(ONE(txn_remove(&t, "none", false)), ENOENT);
    assert_int_equal(ONE(txn_remove(&t, "sub", false)), EISDIR);
    assert_int_equal(ONE(txn_remove(&t, "f", true)), ENOTDIR);
    assert_int_equal(ONE(txn_remove(&t, "/dir", true)), ENOTEMPTY);
    assert_int_equal(ONE(txn_remove(&t, "/", true)), EBUSY);
    assert_int_equal(ONE(txn_remove(&t, "sub/..", true)), EBUSY);
    assert_int_equal(ONE(txn_move(&t, "none", "g", REPLACE)), ENOENT);
    assert_int_equal(ONE(txn_move(&t, "f", "none/g", REPLACE)), ENOENT);
    assert_int_equal(ONE(txn_move(&t, "f", "sub", REPLACE)), EISDIR);
    assert_int_equal(ONE(txn_move(&t, "sub", "sub/below", REPLACE)), EINVAL);
    assert_int_equal(ONE(txn_move(&t, "f", "sub", CFS__RENAME__MODE__NOREPLACE)), EEXIST);
    assert_int_equal(ONE(txn_move(&t, "f", "none", CFS__RENAME__MODE__EXCHANGE)), ENOENT);
    assert_int_equal(ONE(txn_move(&t, "f", ".", REPLACE)), EBUSY);
    assert_int_equal(ONE(txn_move(&t, "f", "sub", CFS__RENAME__MODE__EXCHANGE)), 0);
    assert_int_equal(kit_find(k, dir, "sub"), f);
    assert_int_equal(ONE(txn_link(&t, "f", "g")), EPERM); /* f is a directory now */
    assert_int_equal(ONE(txn_link(&t, "sub", "f")), EEXIST);
    assert_int_equal(ONE(txn_link(&t, "sub", "/")), EEXIST);
    assert_int_equal(ONE(txn_chmod(&t, "none", 0)), ENOENT);
    assert_int_equal(ONE(txn_set_xattr(&t, "sub", "user.coordfs.ttl", "never")), EINVAL);
    assert_int_equal(ONE(txn_remove_xattr(&t, "sub", "user.none")), ENODATA);
    assert_int_equal(ONE(txn_set_xattr(&t, "sub", "nonsense", "x")), EOPNOTSUPP);
}

static void test_paths(void **state)
{
    char path[300];

    (void)state;
    assert_int_equal(kit_symlink(k, ROOT, "way", "dir"), 0);
    assert_int_equal(ONE(txn_check(&t, "f", EXISTS, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "/dir/f", EXISTS, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "//dir/.//sub/../f", EXISTS, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "../../../dir", EXISTS, 0)),
                     0); /* above the root: the root */
    assert_int_equal(ONE(txn_check(&t, "", EXISTS, 0)), 0);
    assert_int_equal(k->steps[0].attr.ino, dir);
    assert_int_equal(ONE(txn_check(&t, "/", EXISTS, 0)), 0);
    assert_int_equal(k->steps[0].attr.ino, ROOT);
    assert_int_equal(ONE(txn_check(&t, "sub/", EXISTS, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "f/", EXISTS, 0)), ENOTDIR);
    assert_int_equal(ONE(txn_check(&t, "f/x", EXISTS, 0)), ENOTDIR);
    assert_int_equal(ONE(txn_check(&t, "none/x", EXISTS, 0)), ENOENT);
    assert_int_equal(ONE(txn_check(&t, "/way", EXISTS, 0)), 0); /* the symlink itself */
    assert_int_equal(ONE(txn_check(&t, "/way/f", EXISTS, 0)), ELOOP);
    memset(path, 'n', 256);
    path[256] = '\0';
    assert_int_equal(ONE(txn_check(&t, path, EXISTS, 0)), ENAMETOOLONG);
    txn_begin(&t, f);
    txn_check(&t, "", EXISTS, 0);
    assert_int_equal(commit(), ENOTDIR);
    txn_begin(&t, 999);
    txn_check(&t, "x", EXISTS, 0);
    assert_int_equal(commit(), ENOENT);
    txn_begin(&t, 999); /* not used */
    txn_check(&t, "/dir", EXISTS, 0);
    assert_int_equal(commit(), 0);
    txn_begin(&t, dir);
    txn_check(&t, "x", EXISTS, 0)->path = kit_bytes("f\0g", 3);
    assert_int_equal(commit(), EINVAL);
    {
        static char longest[LIMIT_TXN_PATH + 1];

        memset(longest, '/', sizeof longest);
        txn_begin(&t, dir);
        txn_check(&t, "", EXISTS, 0)->path = kit_bytes(longest, LIMIT_TXN_PATH);
        assert_int_equal(commit(), 0);
        txn_begin(&t, dir);
        txn_check(&t, "", EXISTS, 0)->path = kit_bytes(longest, LIMIT_TXN_PATH + 1);
        assert_int_equal(commit(), ENAMETOOLONG);
    }
}

/* ---- Conditions -------------------------------------------------------------------------------*/

static void test_conditions(void **state)
{
    (void)state;
    assert_int_equal(ONE(txn_check(&t, "none", EXISTS, 0)), ENOENT);
    assert_int_equal(ONE(txn_check(&t, "f", ABSENT, 0)), EEXIST);
    assert_int_equal(k->steps[0].attr.ino, f); /* the existing inode */
    assert_int_equal(k->value, 1);
    assert_int_equal(ONE(txn_check(&t, "none", ABSENT, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "none/x", ABSENT, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "f/x", ABSENT, 0)), 0);
    assert_int_equal(ONE(txn_check(&t, "f", VERSION, 1)), 0);
    assert_int_equal(ONE(txn_check(&t, "f", VERSION, 2)), ECANCELED);
    assert_int_equal(k->steps[0].attr.version, 1); /* the actual version */
    assert_int_equal(ONE(txn_check(&t, "none", VERSION, 0)), ENOENT);
    assert_int_equal(ONE(txn_check(&t, "", CVERSION, 2)), 0);
    assert_int_equal(ONE(txn_check(&t, "", CVERSION, 1)), ECANCELED);
    assert_int_equal(ONE(txn_check(&t, "f", AVERSION, 0)), 0);
    assert_int_equal(kit_chmod(k, f, 0600), 0);
    assert_int_equal(ONE(txn_check(&t, "f", AVERSION, 0)), ECANCELED);
    assert_int_equal(ONE(txn_check(&t, "f", (Cfs__TxnCheck__Kind)7, 0)), EINVAL);
    assert_int_equal(k->n_changes, 0);
}

static void test_hash(void **state)
{
    static uint8_t big[200000];
    Cfs__TxnStep *s;

    (void)state;
    assert_int_equal(ONE(txn_check(&t, "f", HASH, XXH3_64bits("one", 3))), 0);
    assert_int_equal(ONE(txn_check(&t, "f", HASH, XXH3_64bits("two", 3))), ECANCELED);
    assert_int_equal(ONE(txn_check(&t, "sub", HASH, 0)), EISDIR);
    assert_int_equal(ONE(txn_check(&t, "none", HASH, 0)), ENOENT);
    /* Holes in the middle, at the end and within a block; and an empty file. */
    memset(big + 70000, 'x', 5);
    memset(big, 'y', 3);
    assert_int_equal(kit_write(k, f, 70000, big + 70000, 5), 0);
    assert_int_equal(kit_write(k, f, 0, big, 3), 0);
    assert_int_equal(kit_truncate(k, f, sizeof big), 0);
    assert_int_equal(ONE(txn_check(&t, "f", HASH, XXH3_64bits(big, sizeof big))), 0);
    assert_int_equal(kit_truncate(k, f, 0), 0);
    assert_int_equal(ONE(txn_check(&t, "f", HASH, XXH3_64bits("", 0))), 0);
    /* Hashing takes time on all members, so it has a limit. */
    assert_int_equal(kit_truncate(k, f, LIMIT_FILE_MAX), 0);
    txn_begin(&t, dir);
    s = txn_put(&t, "g", "g");
    (void)s;
    txn_check(&t, "g", HASH, XXH3_64bits("g", 1));
    txn_check(&t, "f", HASH, 0);
    assert_int_equal(commit(), E2BIG);
    assert_int_equal(k->value, 3);
}

static void test_locked(void **state)
{
    (void)state;
    assert_int_equal(ONE(txn_check(&t, "f", LOCKED, 0)), EACCES);
    assert_int_equal(lock_flock(k, &b, f, 1, WRITE), 0);
    assert_int_equal(ONE(txn_check(&t, "f", LOCKED, 0)), EACCES);
    txn_begin(&t, dir);
    txn_check(&t, "f", LOCKED, 0);
    txn_put(&t, "f", "of b");
    assert_int_equal(txn_commit(&t, k, &b), 0);
    assert_string_equal(content(f), "of b");
}

/* ---- Bad input --------------------------------------------------------------------------------*/

static void test_malformed(void **state)
{
    (void)state;
    txn_begin(&t, dir);
    assert_int_equal(commit(), EINVAL);
    assert_int_equal(k->value, 0);
    txn_begin(&t, dir);
    txn_put(&t, "x", "x");
    txn_put(&t, "y", "y")->op_case = CFS__TXN_STEP__OP__NOT_SET;
    assert_int_equal(commit(), EINVAL);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->n_steps, 0);
    txn_begin(&t, dir);
    for (int i = 0; i <= LIMIT_TXN_STEPS; i++)
        txn_check(&t, "f", EXISTS, 0);
    assert_int_equal(commit(), EINVAL);
    t.txn.n_steps--;
    assert_int_equal(commit(), 0);
    txn_begin(&t, dir);
    txn_check(&t, "f", EXISTS, 0);
    txn_as(&t, 1000, 1000, 1000);
    {
        static uint32_t many[LIMIT_TXN_GROUPS + 1];

        t.cred.groups = many;
        t.cred.n_groups = ARRAY_LEN(many);
        assert_int_equal(commit(), EINVAL);
        t.cred.n_groups--;
        assert_int_equal(commit(), 0);
    }
    assert_int_equal(kit_find(k, dir, "x"), 0);
}

/* No member runs only a part of a transaction with an unknown operation or field of a later
 * version. */
static void test_unknown(void **state)
{
    ProtobufCMessageUnknownField field = {.tag = 999, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT};
    uint8_t one = 1;
    ProtobufCMessage *places[4];
    Cfs__Command c = CFS__COMMAND__INIT;
    struct stamp stamp = {a.session, a.seq + 1, a.seq, 5};
    Cfs__TxnStep *s;

    (void)state;
    field.len = 1;
    field.data = &one;
    txn_begin(&t, dir);
    txn_check(&t, "f", EXISTS, 0);
    s = txn_put(&t, "f", "x");
    txn_as(&t, 0, 0, 0);
    c.op_case = CFS__COMMAND__OP_TXN;
    c.txn = &t.txn;
    places[0] = &t.txn.base;
    places[1] = &s->base;
    places[2] = &s->put->base;
    places[3] = &t.cred.base;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct buf bytes = encode_stamped(&stamp, &c);

        assert_true(store_acceptable(bytes.data, bytes.len));
        buf_fini(&bytes);
        places[i]->unknown_fields = &field;
        places[i]->n_unknown_fields = 1;
        bytes = encode_stamped(&stamp, &c);
        assert_false(store_acceptable(bytes.data, bytes.len));
        buf_fini(&bytes);
        places[i]->n_unknown_fields = 0;
    }
}

/* ---- All or nothing ---------------------------------------------------------------------------*/

/* Dumps everything except the traces of the command itself. */
static char *dump(void)
{
    static const char *const tables[] = {"inode", "symlink", "orphan", "dirent", "block",
                                         "xattr", "lock",    "waiter", "lease",  "special"};
    struct buf out = BUF_EMPTY;
    struct store_counts counts;

    store_counts(k->store, &counts);
    buf_printf(&out, "%llu %llu\n", (unsigned long long)counts.inodes,
               (unsigned long long)counts.bytes);
    kit_close(k);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        kit_dump_table(k->dir, tables[i], &out);
    kit_dump_table(k->dir,
                   "(SELECT next_ino, next_dirent, inodes, entries, bytes, meta_bytes"
                   " FROM state)",
                   &out);
    kit_open(k);
    buf_append(&out, "", 1);
    return (char *)out.data;
}

/* A transaction that changes much and succeeds. */
static void build(void)
{
    txn_begin(&t, dir);
    txn_make(&t, "d", S_IFDIR | 0755);
    txn_set_xattr(&t, "d", "user.coordfs.ephemeral", "session");
    txn_put(&t, "d/s-", "text")->put->sequential = true;
    txn_put(&t, "f", "another text");
    txn_set_xattr(&t, "f", "user.coordfs.ttl", "60");
    txn_set_xattr(&t, "c", "user.coordfs.container", "1");
    txn_set_xattr(&t, "sub", "user.coordfs.guard", "/dir/lock");
    txn_move(&t, "c/only", "moved", REPLACE); /* this removes c, too */
    txn_remove(&t, "sub", true);
    txn_move(&t, "moved", "f", CFS__RENAME__MODE__EXCHANGE);
    txn_make(&t, "link", S_IFLNK | 0777)->make->target = kit_bytes("f", 1);
    txn_remove(&t, "mine", false); /* an ephemeral one */
    txn_chmod(&t, "d", 0700);
    txn_remove(&t, "f", false);
    txn_put(&t, "last", "x")->put->ephemeral = CFS__EPHEMERAL__EPHEMERAL_OPEN;
}

static void prepare(void)
{
    uint64_t c = kit_dir(k, dir, "c");

    kit_file(k, c, "only");
    kit_file(k, dir, "lock");
    assert_int_equal(
        txn_make_as(k, &b, dir, "mine", S_IFREG | 0644, CFS__EPHEMERAL__EPHEMERAL_SESSION, false),
        0);
}

static void test_failing_at_each_step(void **state)
{
    char *before, *after;
    size_t n;

    (void)state;
    prepare();
    before = dump();
    build();
    n = t.txn.n_steps;
    for (size_t at = 0; at <= n; at++) {
        build();
        txn_check(&t, "/dir", ABSENT, 0); /* a failing step, moved to each position */
        {
            Cfs__TxnStep *bad = t.pointers[n];

            memmove(&t.pointers[at + 1], &t.pointers[at], (n - at) * sizeof(Cfs__TxnStep *));
            t.pointers[at] = bad;
        }
        if (commit() != EEXIST)
            fail_msg("at %zu: %u", at, k->status);
        assert_int_equal(k->value, at + 1);
        assert_int_equal(k->n_steps, at + 1);
        assert_int_equal(k->steps[at].status, EEXIST);
        assert_int_equal(k->n_changes, 0);
        kit_check(k); /* sums, totals, counts in memory */
        after = dump();
        assert_string_equal(after, before);
        free(after);
    }
    build();
    assert_int_equal(commit(), 0);
    kit_check(k);
    after = dump();
    assert_string_not_equal(after, before);
    free(after);
    free(before);
    /* The result is the same as if the steps had been done one by one. */
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(lock_close(k, &b), 0);
    assert_int_equal(kit_find(k, dir, "last"), 0);
    assert_int_equal(kit_find(k, dir, "c"), 0);
}

/* An undone transaction must not leave limits or guards in memory. */
static void test_undone_counts(void **state)
{
    (void)state;
    kit_file(k, dir, "lock");
    for (int i = 0; i < 3; i++) {
        txn_begin(&t, dir);
        txn_set_xattr(&t, "", "user.coordfs.guard", "/dir/lock");
        txn_put(&t, "x", "x"); /* EACCES: the guard is in effect immediately */
        assert_int_equal(commit(), EACCES);
        assert_int_equal(k->value, 2);
        assert_int_equal(ONE(txn_put(&t, "f", "x")), 0); /* … and no longer now */
    }
    for (int i = 0; i < LIMIT_EPHEMERALS / 100 + 1; i++) {
        txn_begin(&t, dir);
        for (int n = 0; n < 100; n++)
            txn_put(&t, "e", "")->put->sequential = true;
        for (int n = 0; n < 100; n++)
            t.steps[n].put.ephemeral = CFS__EPHEMERAL__EPHEMERAL_SESSION;
        txn_check(&t, "f", ABSENT, 0);
        assert_int_equal(commit(), EEXIST); /* never EDQUOT */
    }
    assert_int_equal(kit_stat(k, dir).size, 3);
}

static void test_duplicate(void **state)
{
    Cfs__Command c = CFS__COMMAND__INIT;
    struct stamp stamp = {a.session, 1, 0, 5};

    (void)state;
    txn_begin(&t, dir);
    txn_put(&t, "f", "+")->put->append = true;
    txn_put(&t, "n", "x")->put->sequential = true;
    c.op_case = CFS__COMMAND__OP_TXN;
    c.txn = &t.txn;
    a = kit_host(k, 11, 2, 0);
    stamp.session = a.session;
    for (int i = 0; i < 2; i++) {
        kit_stamped(k, &stamp, &c);
        assert_int_equal(k->outcome, i == 0 ? STORE_APPLIED : STORE_DUPLICATE);
        assert_int_equal(k->n_steps, 2);
        assert_string_equal(k->steps[1].name, "n0000000000");
        assert_string_equal(content(f), "one+");
    }
}

static void test_same_elsewhere(void **state)
{
    static struct kit twin;

    (void)state;
    prepare();
    build();
    txn_check(&t, "none", EXISTS, 0);
    assert_int_equal(commit(), ENOENT);
    build();
    assert_int_equal(commit(), 0);
    kit_empty(&twin);
    kit_follow(&twin, k);
    kit_assert_hash(&twin, k);
    kit_fini(&twin);
}

/* ---- Permissions: user 1000 of groups 1000 and 50 ---------------------------------------------*/

static uint32_t as_user(void)
{
    txn_as(&t, 1000, 1000, 50);
    return commit();
}

#define USER(call) (txn_begin(&t, dir), (void)(call), as_user())

static void chown_to(uint64_t ino, uint32_t uid, uint32_t gid, uint32_t mode)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_SET_ATTR;
    c.set_attr = &op;
    op.ino = ino;
    op.set_uid = op.set_gid = op.set_mode = true;
    op.uid = uid;
    op.gid = gid;
    op.mode = mode;
    assert_int_equal(kit_run(k, &c), 0);
}

static void test_mode_bits(void **state)
{
    static const struct {
        uint32_t uid, gid, mode;
        uint32_t read, write;
    } cases[] = {
        {0, 0, 0644, 0, EACCES},       {0, 0, 0666, 0, 0},
        {0, 50, 0660, 0, 0},           {0, 1000, 0640, 0, EACCES},
        {0, 50, 0606, EACCES, EACCES}, /* the group's bits count, not the others' */
        {1000, 0, 0600, 0, 0},         {1000, 50, 0066, EACCES, EACCES},
        {0, 60, 0664, 0, EACCES},      {0, 60, 0662, EACCES, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *now = content(f);
        uint64_t hash = XXH3_64bits(now, strlen(now));

        chown_to(f, cases[i].uid, cases[i].gid, cases[i].mode);
        if (USER(txn_check(&t, "f", HASH, hash)) != cases[i].read)
            fail_msg("read %zu: %u", i, k->status);
        if (USER(txn_put(&t, "f", "user's")) != cases[i].write)
            fail_msg("write %zu: %u", i, k->status);
        txn_begin(&t, dir);
        txn_put(&t, "f", "root's");
        txn_as(&t, 0, 0, 0);
        assert_int_equal(commit(), 0);
    }
}

static void test_directories(void **state)
{
    uint64_t mine = kit_file(k, sub, "mine"), his = kit_file(k, sub, "his");

    (void)state;
    chown_to(mine, 1000, 1000, 0644);
    chown_to(his, 0, 0, 0666);
    chown_to(sub, 0, 0, 0755);
    assert_int_equal(USER(txn_put(&t, "sub/new", "x")), EACCES);
    assert_int_equal(USER(txn_make(&t, "sub/new", S_IFDIR | 0755)), EACCES);
    assert_int_equal(USER(txn_remove(&t, "sub/mine", false)), EACCES);
    assert_int_equal(USER(txn_link(&t, "sub/mine", "sub/two")), EACCES);
    assert_int_equal(USER(txn_move(&t, "sub/mine", "sub/two", REPLACE)), EACCES);
    assert_int_equal(USER(txn_put(&t, "sub/mine", "x")), 0);
    chown_to(sub, 0, 0, 0766); /* no search */
    assert_int_equal(USER(txn_put(&t, "sub/mine", "x")), EACCES);
    assert_int_equal(USER(txn_check(&t, "sub/none", ABSENT, 0)), EACCES);
    assert_int_equal(USER(txn_check(&t, "sub", EXISTS, 0)), 0);
    chown_to(sub, 0, 0, 01777); /* as /tmp */
    assert_int_equal(USER(txn_put(&t, "sub/new", "x")), 0);
    assert_int_equal(k->steps[0].attr.uid, 1000);
    assert_int_equal(k->steps[0].attr.gid, 1000);
    assert_int_equal(USER(txn_remove(&t, "sub/his", false)), EPERM);
    assert_int_equal(USER(txn_move(&t, "sub/his", "sub/x", REPLACE)), EPERM);
    assert_int_equal(USER(txn_move(&t, "sub/mine", "sub/his", REPLACE)), EPERM);
    assert_int_equal(USER(txn_move(&t, "sub/mine", "sub/his", CFS__RENAME__MODE__EXCHANGE)), EPERM);
    assert_int_equal(USER(txn_move(&t, "sub/mine", "sub/new", REPLACE)), 0);
    assert_int_equal(USER(txn_remove(&t, "sub/new", false)), 0);
    chown_to(sub, 1000, 0, 01755); /* the caller's own directory */
    assert_int_equal(USER(txn_remove(&t, "sub/his", false)), 0);
    /* Moving a directory changes its "..". */
    chown_to(dir, 0, 0, 0777);
    kit_dir(k, dir, "roots");
    assert_int_equal(USER(txn_move(&t, "roots", "sub/roots", REPLACE)), EACCES);
    assert_int_equal(USER(txn_move(&t, "roots", "renamed", REPLACE)), 0);
    /* A file in a setgid directory gets its group. A caller who is not in that group cannot create
     * a setgid file. */
    chown_to(sub, 0, 60, 02777);
    txn_begin(&t, dir);
    txn_put(&t, "sub/g", "")->put->mode = 02755;
    assert_int_equal(as_user(), 0);
    assert_int_equal(k->steps[0].attr.gid, 60);
    assert_int_equal(k->steps[0].attr.mode, S_IFREG | 0755);
    assert_int_equal(USER(txn_make(&t, "sub/null", S_IFCHR | 0666)), EPERM);
}

static void test_attributes(void **state)
{
    Cfs__TxnStep *s;

    (void)state;
    chown_to(f, 0, 0, 0666);
    assert_int_equal(USER(txn_chmod(&t, "f", 0600)), EPERM);
    txn_begin(&t, dir);
    s = txn_chmod(&t, "f", 0);
    s->set_attr->set_mode = false;
    s->set_attr->set_mtime = s->set_attr->mtime_now = true;
    assert_int_equal(as_user(), 0); /* touch: needs only the permission to write */
    s->set_attr->mtime_now = false;
    assert_int_equal(as_user(), EPERM);
    s->set_attr->set_mtime = false;
    s->set_attr->set_size = true;
    assert_int_equal(as_user(), 0);
    s->set_attr->set_size = false;
    s->set_attr->set_gid = true;
    s->set_attr->gid = 50;
    assert_int_equal(as_user(), EPERM);
    chown_to(f, 1000, 1000, 06755);
    assert_int_equal(as_user(), 0);
    assert_int_equal(kit_stat(k, f).gid, 50);
    assert_int_equal(kit_stat(k, f).mode, S_IFREG | 0755); /* chown clears the set-ID bits */
    s->set_attr->gid = 60;
    assert_int_equal(as_user(), EPERM);
    s->set_attr->set_gid = false;
    s->set_attr->set_uid = true;
    s->set_attr->uid = 1001;
    assert_int_equal(as_user(), EPERM);
    chown_to(f, 1000, 60, 0644);
    assert_int_equal(USER(txn_chmod(&t, "f", 06755)), 0);
    assert_int_equal(kit_stat(k, f).mode, S_IFREG | 04755); /* the caller is not in that group */
    assert_int_equal(USER(txn_put(&t, "f", "x")), 0);
    assert_int_equal(kit_stat(k, f).mode, S_IFREG | 0755); /* a write clears the set-ID bits, too */
}

static void test_xattrs(void **state)
{
    (void)state;
    chown_to(f, 0, 0, 0644);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "user.x", "1")), EACCES);
    chown_to(f, 0, 0, 0666);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "user.x", "1")), 0);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "user.coordfs.ttl", "9")),
                     EACCES); /* store/rights.h */
    assert_int_equal(USER(txn_remove_xattr(&t, "f", "user.x")), 0);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "trusted.x", "1")), EPERM);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "security.x", "1")), EPERM);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "system.posix_acl_access", "")), EPERM);
    assert_int_equal(USER(txn_set_xattr(&t, "f", "system.other", "")), EOPNOTSUPP);
    chown_to(sub, 0, 0, 01777);
    assert_int_equal(USER(txn_set_xattr(&t, "sub", "user.x", "1")), EPERM);
    assert_int_equal(kit_make(k, dir, "fifo", S_IFIFO | 0666), 0);
    assert_int_equal(USER(txn_set_xattr(&t, "fifo", "user.x", "1")), EPERM);
    assert_int_equal(ONE(txn_set_xattr(&t, "f", "trusted.x", "1")), 0);
}

struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};

static void set_acl(uint64_t ino, const struct acl_entry *entries, size_t n)
{
    uint8_t bytes[4 + 8 * 8] = {2};

    memcpy(bytes + 4, entries, n * sizeof *entries); /* little endian, as all we run on */
    assert_int_equal(kit_setxattr(k, ino, "system.posix_acl_access", bytes, 4 + 8 * n,
                                  CFS__SET_XATTR__MODE__ANY),
                     0);
}

static void test_acls(void **state)
{
    enum { USER_OBJ = 1, NAMED = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };
    static const struct {
        struct acl_entry entries[7];
        size_t n;
        uint32_t read, write;
    } cases[] = {
        /* the user's entry counts, not those of the groups and the others */
        {{{USER_OBJ, 6, 0}, {NAMED, 4, 1000}, {GROUP_OBJ, 6, 0}, {MASK, 6, 0}, {OTHER, 6, 0}},
         5,
         0,
         EACCES},
        {{{USER_OBJ, 6, 0}, {NAMED, 6, 1000}, {GROUP_OBJ, 0, 0}, {MASK, 4, 0}, {OTHER, 0, 0}},
         5,
         0,
         EACCES},
        /* the entry of another user */
        {{{USER_OBJ, 6, 0}, {NAMED, 6, 1001}, {GROUP_OBJ, 0, 0}, {MASK, 6, 0}, {OTHER, 4, 0}},
         5,
         0,
         EACCES},
        /* any group that permits; if none does, not the others' entry */
        {{{USER_OBJ, 6, 0},
          {GROUP_OBJ, 0, 0},
          {GROUP, 4, 50},
          {GROUP, 6, 1000},
          {MASK, 6, 0},
          {OTHER, 0, 0}},
         6,
         0,
         0},
        {{{USER_OBJ, 6, 0}, {GROUP_OBJ, 0, 0}, {GROUP, 4, 50}, {MASK, 6, 0}, {OTHER, 6, 0}},
         5,
         0,
         EACCES},
        {{{USER_OBJ, 6, 0}, {GROUP_OBJ, 6, 0}, {GROUP, 6, 60}, {MASK, 6, 0}, {OTHER, 4, 0}},
         5,
         0,
         EACCES},
        /* an empty mask: only the mode counts (Linux) */
        {{{USER_OBJ, 6, 0}, {NAMED, 0, 1000}, {GROUP_OBJ, 6, 0}, {MASK, 0, 0}, {OTHER, 6, 0}},
         5,
         0,
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *now;

        assert_int_equal(kit_find(k, dir, "f"), f);
        chown_to(f, 0, 0, 0644);
        now = content(f);
        set_acl(f, cases[i].entries, cases[i].n);
        if (USER(txn_check(&t, "f", HASH, XXH3_64bits(now, strlen(now)))) != cases[i].read)
            fail_msg("read %zu: %u", i, k->status);
        if (USER(txn_put(&t, "f", "user's")) != cases[i].write)
            fail_msg("write %zu: %u", i, k->status);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_all_verbs),
        T(test_put),
        T(test_put_sequential),
        T(test_errors_of_verbs),
        T(test_paths),
        T(test_conditions),
        T(test_hash),
        T(test_locked),
        T(test_malformed),
        T(test_unknown),
        T(test_failing_at_each_step),
        T(test_undone_counts),
        T(test_duplicate),
        T(test_same_elsewhere),
        T(test_mode_bits),
        T(test_directories),
        T(test_attributes),
        T(test_xattrs),
        T(test_acls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
