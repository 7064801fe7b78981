/* SPDX-License-Identifier: Apache-2.0 */
/* store/reader.c: the view of the filesystem, also while the loop thread writes. */
#include "proto/encode.h"
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT 1

static struct kit kit;
static struct kit *const k = &kit;

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

static void test_lookup(void **state)
{
    uint64_t dir = kit_dir(k, ROOT, "d"), file = kit_file(k, dir, "f");
    char name[LIMIT_NAME_MAX + 1];
    Cfs__Attr attr;

    (void)state;
    assert_int_equal(reader_lookup(k->reader, dir, "f", 1, &attr), 0);
    assert_int_equal(attr.ino, file);
    assert_int_equal(reader_lookup(k->reader, ROOT, "f", 1, &attr), -ENOENT);
    assert_int_equal(reader_lookup(k->reader, file, "f", 1, &attr), -ENOTDIR);
    assert_int_equal(reader_lookup(k->reader, file, ".", 1, &attr), -ENOTDIR);
    assert_int_equal(reader_lookup(k->reader, 99, "f", 1, &attr), -ESTALE);
    assert_int_equal(reader_lookup(k->reader, 99, "..", 2, &attr), -ESTALE);
    assert_int_equal(reader_lookup(k->reader, UINT64_MAX, "f", 1, &attr), -ESTALE);
    memset(name, 'n', sizeof name);
    assert_int_equal(reader_lookup(k->reader, ROOT, name, sizeof name, &attr), -ENAMETOOLONG);
    assert_int_equal(reader_lookup(k->reader, ROOT, name, sizeof name - 1, &attr), -ENOENT);
    assert_int_equal(reader_lookup(k->reader, dir, "..", 2, &attr), 0);
    assert_int_equal(attr.ino, ROOT);
    assert_int_equal(reader_lookup(k->reader, ROOT, "..", 2, &attr), 0);
    assert_int_equal(attr.ino, ROOT);
}

static void test_read_errors(void **state)
{
    uint64_t dir = kit_dir(k, ROOT, "d"), file = kit_file(k, ROOT, "f");
    char out[10];

    (void)state;
    kit_symlink(k, ROOT, "l", "x");
    assert_int_equal(reader_read(k->reader, dir, 0, out, 1), -EISDIR);
    assert_int_equal(reader_read(k->reader, kit_find(k, ROOT, "l"), 0, out, 1), -EINVAL);
    assert_int_equal(reader_read(k->reader, 99, 0, out, 1), -ESTALE);
    kit_write(k, file, 0, "abc", 3);
    assert_int_equal(reader_read(k->reader, file, 3, out, 1), 0);
    assert_int_equal(reader_read(k->reader, file, UINT64_MAX, out, 10), 0);
    assert_int_equal(reader_read(k->reader, file, 2, out, 0), 0);
    assert_int_equal(reader_read(k->reader, file, 2, out, 10), 1);
    assert_int_equal(out[0], 'c');
}

static void test_path(void **state)
{
    uint64_t a = kit_dir(k, ROOT, "a"), b = kit_dir(k, a, "bb"), file = kit_file(k, b, "f");
    char out[64];

    (void)state;
    assert_int_equal(reader_path(k->reader, ROOT, out, sizeof out), 1);
    assert_string_equal(out, "/");
    assert_int_equal(reader_path(k->reader, a, out, sizeof out), 2);
    assert_string_equal(out, "/a");
    assert_int_equal(reader_path(k->reader, file, out, sizeof out), 7);
    assert_string_equal(out, "/a/bb/f");
    assert_int_equal(reader_path(k->reader, file, out, 8), 7);
    assert_int_equal(reader_path(k->reader, file, out, 7), -ENAMETOOLONG);
    assert_int_equal(reader_path(k->reader, ROOT, out, 1), -ENAMETOOLONG);
    assert_int_equal(reader_path(k->reader, 99, out, sizeof out), -ENOENT);
    assert_int_equal(kit_rename(k, ROOT, "a", ROOT, "z", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(reader_path(k->reader, file, out, sizeof out), 7);
    assert_string_equal(out, "/z/bb/f");
    assert_int_equal(kit_unlink(k, b, "f"), 0);
    assert_int_equal(reader_path(k->reader, file, out, sizeof out), -ENOENT);
}

static void test_usage(void **state)
{
    struct reader_usage u;

    (void)state;
    kit_file(k, ROOT, "f");
    kit_write(k, k->attr.ino, 0, "12345", 5);
    assert_int_equal(reader_usage(k->reader, &u), 0);
    assert_int_equal(u.inodes, 2);
    assert_int_equal(u.bytes, 5);
    assert_int_equal(u.max_inodes, LIMIT_TREE_ENTRIES);
    assert_int_equal(u.max_bytes, LIMIT_TREE_BYTES);
}

static void test_snapshot(void **state)
{
    struct store_reader *other = reader_new(k->store);
    uint64_t before = store_applied(k->store), applied;
    Cfs__Attr attr;

    (void)state;
    assert_int_equal(reader_begin(other), 0);
    assert_int_equal(reader_applied(other, &applied), 0);
    assert_int_equal(applied, before);
    kit_file(k, ROOT, "f");
    assert_int_equal(reader_lookup(other, ROOT, "f", 1, &attr), -ENOENT);
    assert_int_equal(reader_applied(other, &applied), 0);
    assert_int_equal(applied, before);
    assert_true(kit_find(k, ROOT, "f") != 0); /* the other reader sees it */
    reader_end(other);
    assert_int_equal(reader_lookup(other, ROOT, "f", 1, &attr), 0);
    assert_int_equal(reader_applied(other, &applied), 0);
    assert_int_equal(applied, before + 1);
    reader_free(other);
}

/* Uncommitted changes are not visible. */
static void test_uncommitted(void **state)
{
    struct store_entry e = {1, STORE_BARRIER, NULL, 0};
    struct store_result r;
    uint64_t applied;

    (void)state;
    store_begin(k->store);
    store_log_append(k->store, 2, &e);
    store_apply(k->store, 2, &e, &r);
    assert_int_equal(reader_applied(k->reader, &applied), 0);
    assert_int_equal(applied, 1);
    store_commit(k->store, false);
    assert_int_equal(reader_applied(k->reader, &applied), 0);
    assert_int_equal(applied, 2);
}

/* ---- Directories ------------------------------------------------------------------------------*/

struct listing {
    size_t n, max;
    uint64_t last;
    bool attrs;
    uint8_t *seen; /* by number of the name */
};

static bool on_entry(void *arg, const struct reader_entry *e)
{
    struct listing *l = arg;
    char name[32];

    assert_true(e->name_len < sizeof name);
    memcpy(name, e->name, e->name_len);
    name[e->name_len] = '\0';
    assert_true(e->cookie > l->last && e->cookie < (uint64_t)1 << 62);
    l->last = e->cookie;
    if (l->seen != NULL && name[0] == 'f')
        l->seen[atoi(name + 1)]++;
    if (l->attrs) {
        assert_non_null(e->attr);
        assert_int_equal(e->attr->ino, e->ino);
        assert_int_equal(e->attr->mode & S_IFMT, e->type);
    } else {
        assert_null(e->attr);
    }
    l->n++;
    return l->n < l->max;
}

static void test_readdir(void **state)
{
    struct listing l = {.max = 100};
    uint64_t file;

    (void)state;
    assert_int_equal(reader_readdir(k->reader, ROOT, 0, false, on_entry, &l), 0);
    assert_int_equal(l.n, 0);
    file = kit_file(k, ROOT, "f1");
    kit_dir(k, ROOT, "f2");
    kit_symlink(k, ROOT, "f3", "x");
    assert_int_equal(reader_readdir(k->reader, ROOT, 0, false, on_entry, &l), 0);
    assert_int_equal(l.n, 3);
    l = (struct listing){.max = 100, .attrs = true};
    assert_int_equal(reader_readdir(k->reader, ROOT, 0, true, on_entry, &l), 0);
    assert_int_equal(l.n, 3);
    l = (struct listing){.max = 2};
    assert_int_equal(reader_readdir(k->reader, ROOT, 0, false, on_entry, &l), 0);
    assert_int_equal(l.n, 2);
    l.max = 10; /* on from there */
    assert_int_equal(reader_readdir(k->reader, ROOT, l.last, false, on_entry, &l), 0);
    assert_int_equal(l.n, 3);
    assert_int_equal(reader_readdir(k->reader, ROOT, UINT64_MAX, false, on_entry, &l), 0);
    assert_int_equal(l.n, 3);
    assert_int_equal(reader_readdir(k->reader, file, 0, false, on_entry, &l), -ENOTDIR);
    assert_int_equal(reader_readdir(k->reader, 99, 0, false, on_entry, &l), -ESTALE);
}

static uint64_t last_cookie(void)
{
    struct listing l = {.max = 1000};

    assert_int_equal(reader_readdir(k->reader, ROOT, 0, false, on_entry, &l), 0);
    return l.last;
}

/* A file that is renamed while its directory is read is seen once. */
static void test_cookies_of_renames(void **state)
{
    uint64_t cookie, dir = kit_dir(k, ROOT, "f0");
    struct listing l = {.max = 10};

    (void)state;
    cookie = last_cookie();
    assert_int_equal(kit_rename(k, ROOT, "f0", ROOT, "f1", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(last_cookie(), cookie); /* a new name, the same place */
    kit_file(k, ROOT, "f2");
    cookie = last_cookie();
    kit_file(k, ROOT, "f3");
    assert_true(last_cookie() > cookie);
    assert_int_equal(kit_rename(k, ROOT, "f3", ROOT, "f2", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(last_cookie(), cookie); /* the replaced name keeps its place */
    kit_file(k, dir, "f7");
    assert_int_equal(kit_rename(k, dir, "f7", ROOT, "f7", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(reader_readdir(k->reader, ROOT, cookie, false, on_entry, &l), 0);
    assert_int_equal(l.n, 1); /* an entry from elsewhere comes last */
}

#define MANY 100000

/* A large directory is read in pieces while it changes: entries that stay are seen exactly once. */
static void test_large_directory(void **state)
{
    struct listing l = {.seen = xcalloc(MANY + 1000, 1)};
    char name[32];
    size_t added = 0;

    (void)state;
    store_begin(k->store);
    for (int i = 0; i < MANY; i++) {
        Cfs__Make op = CFS__MAKE__INIT;
        Cfs__Command c = CFS__COMMAND__INIT;
        struct stamp stamp = {k->session, ++k->seq, k->seq - 1, k->now};
        struct store_result r;
        struct store_entry e = {1, STORE_COMMAND, NULL, 0};
        struct buf b;

        snprintf(name, sizeof name, "f%d", i);
        c.op_case = CFS__COMMAND__OP_MAKE;
        c.make = &op;
        op.parent = ROOT;
        op.mode = S_IFREG | 0644;
        op.name = kit_bytes(name, strlen(name));
        b = encode_stamped(&stamp, &c);
        e.data = b.data;
        e.len = b.len;
        store_log_append(k->store, store_applied(k->store) + 1, &e);
        store_apply(k->store, store_applied(k->store) + 1, &e, &r);
        assert_int_equal(r.outcome, STORE_APPLIED);
        buf_fini(&b);
    }
    store_log_compact(k->store, store_applied(k->store));
    store_commit(k->store, false);

    do { /* even numbers stay, odd ones go, others come */
        size_t before = l.n;

        l.max = l.n + 1 + (size_t)random() % 4000;
        l.attrs = random() % 2;
        assert_int_equal(reader_readdir(k->reader, ROOT, l.last, l.attrs, on_entry, &l), 0);
        for (int i = 0; i < 10; i++) {
            snprintf(name, sizeof name, "f%ld", (random() % (MANY / 2)) * 2 + 1);
            kit_unlink(k, ROOT, name);
            snprintf(name, sizeof name, "g%zu", added++);
            kit_file(k, ROOT, name);
        }
        if (l.n == before || l.n < l.max)
            break;
    } while (true);
    for (int i = 0; i < MANY; i++)
        assert_true(i % 2 == 0 ? l.seen[i] == 1 : l.seen[i] <= 1);
    free(l.seen);
}

/* ---- Threads ----------------------------------------------------------------------------------*/

static atomic_bool stop_readers;

/* Each snapshot must show one moment: a file's size is its version, and its content repeats the
 * version's last digit. */
static void *read_on(void *arg)
{
    struct store_reader *r = arg;
    uint64_t last = 0, *reads = xcalloc(1, sizeof *reads);
    char out[600];

    while (!atomic_load(&stop_readers)) {
        uint64_t applied;
        Cfs__Attr attr;

        check(reader_begin(r) == 0);
        check(reader_applied(r, &applied) == 0);
        check(applied >= last); /* never an older state */
        last = applied;
        check(reader_lookup(r, ROOT, "f", 1, &attr) == 0);
        check(attr.modified <= applied);
        check(attr.size == attr.version % 500);
        check(reader_read(r, attr.ino, 0, out, sizeof out) == (int64_t)attr.size);
        for (uint64_t i = 0; i < attr.size; i++)
            check(out[i] == (char)('0' + attr.version % 10));
        reader_end(r);
        ++*reads;
    }
    return reads;
}

static void write_version(uint64_t ino, uint64_t version)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};
    Cfs__Command c = CFS__COMMAND__INIT;
    char data[500];

    memset(data, (char)('0' + version % 10), sizeof data);
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = ino;
    op.truncate = true;
    op.n_extents = 1;
    op.extents = extents;
    extent.data = kit_bytes(data, version % 500);
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.version, version);
}

static void test_threads(void **state)
{
    struct store_reader *readers[3];
    pthread_t threads[ARRAY_LEN(readers)];
    uint64_t ino = kit_file(k, ROOT, "f");

    (void)state;
    atomic_store(&stop_readers, false);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        readers[i] = reader_new(k->store);
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, readers[i]), 0);
    }
    for (uint64_t version = 1; version <= 4000; version++)
        write_version(ino, version);
    atomic_store(&stop_readers, true);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        uint64_t *reads;

        assert_int_equal(pthread_join(threads[i], (void **)&reads), 0);
        assert_true(*reads > 0);
        free(reads);
        reader_free(readers[i]);
    }
}

/* A block that is damaged on the disk is reported as an error. */
static void test_damaged_block(void **state)
{
    uint64_t ino = kit_file(k, ROOT, "f");
    char out[10];

    (void)state;
    kit_write(k, ino, 0, "abc", 3);
    kit_close(k);
    kit_sql(k->dir, "UPDATE block SET data = x'616264'");
    kit_open(k);
    assert_int_equal(reader_read(k->reader, ino, 0, out, sizeof out), -EIO);
    assert_int_equal(kit_write(k, ino, 0, "xyz", 3), 0); /* a write of the whole block repairs it */
    assert_int_equal(reader_read(k->reader, ino, 0, out, sizeof out), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_lookup),  T(test_read_errors),        T(test_path),
        T(test_usage),   T(test_snapshot),           T(test_uncommitted),
        T(test_readdir), T(test_cookies_of_renames), T(test_large_directory),
        T(test_threads), T(test_damaged_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
