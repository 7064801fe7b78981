/* SPDX-License-Identifier: Apache-2.0 */
/* store/file.c and store/content.c: attributes, content, xattrs, reaping. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/limits.h"
#include "store/content.h"
#include "store/internal.h"

#define ROOT    1
#define B       CONTENT_BLOCK
#define ANY     CFS__SET_XATTR__MODE__ANY
#define CREATE  CFS__SET_XATTR__MODE__CREATE
#define REPLACE CFS__SET_XATTR__MODE__REPLACE

static struct kit kit;
static struct kit *const k = &kit;
static uint64_t file; /* a file in the root of each test */

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    file = kit_file(k, ROOT, "f");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

/* ---- Content ----------------------------------------------------------------------------------*/

static void assert_content(uint64_t ino, const void *wanted, size_t len)
{
    uint8_t *out = xmalloc(len + 10);

    assert_int_equal(kit_stat(k, ino).size, len);
    memset(out, 0xee, len + 10);
    assert_int_equal(reader_read(k->reader, ino, 0, out, len + 10), len);
    assert_memory_equal(out, wanted, len);
    free(out);
}

static void test_write(void **state)
{
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(kit_write(k, file, 0, "hello", 5), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->attr.size, 5);
    assert_int_equal(k->attr.blocks, 1);
    assert_int_equal(k->attr.version, before.version + 1);
    assert_int_equal(k->attr.aversion, before.aversion);
    assert_int_equal(k->attr.modified, store_applied(k->store));
    assert_int_equal(k->attr.created, before.created);
    assert_int_equal(k->attr.mtime_ns, k->now);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->attr.atime_ns, before.atime_ns);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(k->changes[0].ino, file);
    assert_content(file, "hello", 5);
    assert_int_equal(kit_write(k, file, 3, "p me", 4), 0);
    assert_int_equal(k->value, 3);
    assert_content(file, "help me", 7);
    assert_int_equal(kit_write(k, file, 1, "E", 1), 0);
    assert_content(file, "hElp me", 7);
}

static void test_holes(void **state)
{
    static uint8_t wanted[3 * B + 100];

    (void)state;
    assert_int_equal(kit_write(k, file, 2 * B + 50, "end", 3), 0);
    memcpy(wanted + 2 * B + 50, "end", 3);
    assert_content(file, wanted, 2 * B + 53);
    assert_int_equal(k->attr.blocks, 1);
    assert_int_equal(kit_write(k, file, B - 2, "abcd", 4), 0); /* across two blocks */
    memcpy(wanted + B - 2, "abcd", 4);
    assert_content(file, wanted, 2 * B + 53);
    assert_int_equal(kit_truncate(k, file, 3 * B + 100), 0);
    assert_content(file, wanted, 3 * B + 100);
    kit_check(k);
}

static void test_truncate_shows_zeros(void **state)
{
    static uint8_t wanted[2 * B];

    (void)state;
    memset(wanted, 'x', sizeof wanted);
    assert_int_equal(kit_write(k, file, 0, wanted, 2 * B), 0);
    assert_int_equal(kit_truncate(k, file, B + 10), 0);
    assert_int_equal(kit_truncate(k, file, 2 * B), 0);
    memset(wanted + B + 10, 0, B - 10);
    assert_content(file, wanted, 2 * B);
    assert_int_equal(kit_truncate(k, file, B), 0); /* exactly at a block */
    assert_int_equal(kit_truncate(k, file, B + 20), 0);
    memset(wanted + B, 0, B);
    assert_content(file, wanted, B + 20);
    assert_int_equal(kit_truncate(k, file, 10), 0);
    assert_int_equal(kit_write(k, file, 20, "y", 1), 0); /* a gap within a block */
    memset(wanted + 10, 0, B);
    wanted[20] = 'y';
    assert_content(file, wanted, 21);
    assert_int_equal(kit_truncate(k, file, 0), 0);
    assert_int_equal(k->attr.blocks, 0);
    assert_content(file, "", 0);
}

static void test_append(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent one = CFS__EXTENT__INIT, two = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&one, &two};
    Cfs__Command c = CFS__COMMAND__INIT;

    (void)state;
    assert_int_equal(kit_append(k, file, "one\n", 4), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(kit_append(k, file, "two\n", 4), 0);
    assert_int_equal(k->value, 4);
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = file;
    op.append = true;
    op.n_extents = 2;
    op.extents = extents;
    one.offset = 1000; /* ignored */
    one.data = kit_bytes("3,", 2);
    two.data = kit_bytes("4\n", 2);
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->value, 8);
    assert_content(file, "one\ntwo\n3,4\n", 12);
    op.truncate = true; /* the end is then the beginning */
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->value, 0);
    assert_content(file, "3,4\n", 4);
}

static void test_extents_in_order(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent e[3] = {CFS__EXTENT__INIT, CFS__EXTENT__INIT, CFS__EXTENT__INIT};
    Cfs__Extent *extents[] = {&e[0], &e[1], &e[2]};
    Cfs__Command c = CFS__COMMAND__INIT;

    (void)state;
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = file;
    op.n_extents = 3;
    op.extents = extents;
    e[0].offset = 4;
    e[0].data = kit_bytes("aaaa", 4);
    e[1].offset = 6;
    e[1].data = kit_bytes("bbbb", 4);
    e[2].offset = LIMIT_FILE_MAX + 5ull; /* without bytes, so its offset does not count */
    assert_int_equal(kit_write(k, file, 0, "0123456789abcdef", 16), 0);
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->value, 4);
    assert_content(file, "0123aabbbbabcdef", 16);
    assert_int_equal(k->attr.version, 2); /* one change */
    op.truncate = true;
    assert_int_equal(kit_run(k, &c), 0);
    assert_content(file, "\0\0\0\0aabbbb", 10);
}

static void test_empty_write(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(kit_write(k, file, 100, "", 0), 0);
    assert_int_equal(k->n_changes, 0);
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = file;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.ino, file);
    assert_int_equal(kit_stat(k, file).size, 0);
    assert_int_equal(kit_stat(k, file).mtime_ns, before.mtime_ns);
    assert_int_equal(kit_stat(k, file).version, before.version);
    op.truncate = true; /* O_TRUNC of an empty file is a change, as in Linux */
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.version, before.version + 1);
}

static void test_write_errors(void **state)
{
    static uint8_t big[LIMIT_WRITE_MAX + 1];
    uint64_t dir = kit_dir(k, ROOT, "d"), fifo;

    (void)state;
    assert_int_equal(kit_write(k, dir, 0, "x", 1), EISDIR);
    assert_int_equal(kit_write(k, 99, 0, "x", 1), ESTALE);
    assert_int_equal(kit_make(k, ROOT, "p", S_IFIFO | 0600), 0);
    fifo = k->attr.ino;
    assert_int_equal(kit_write(k, fifo, 0, "x", 1), EINVAL);
    assert_int_equal(kit_truncate(k, fifo, 0), EINVAL);
    assert_int_equal(kit_write(k, file, 0, "x", 1), 0);
    assert_int_equal(kit_write(k, file, LIMIT_FILE_MAX, "x", 1), EFBIG);
    assert_int_equal(kit_write(k, file, UINT64_MAX, "x", 1), EFBIG);
    assert_int_equal(kit_write(k, file, UINT64_MAX - 1, "xyz", 3), EFBIG);
    assert_int_equal(kit_write(k, file, LIMIT_FILE_MAX - 1, "x", 1), 0);
    assert_int_equal(k->attr.size, LIMIT_FILE_MAX);
    assert_int_equal(kit_append(k, file, "x", 1), EFBIG);
    assert_int_equal(kit_stat(k, file).size, LIMIT_FILE_MAX);
    assert_int_equal(kit_write(k, file, 0, big, sizeof big), E2BIG);
    assert_int_equal(kit_write(k, file, 0, big, sizeof big - 1), 0);
}

static void test_nothing_of_a_bad_write(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent one = CFS__EXTENT__INIT, two = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&one, &two};
    Cfs__Extent **many = xcalloc(LIMIT_EXTENTS_MAX + 1, sizeof(Cfs__Extent *));
    Cfs__Command c = CFS__COMMAND__INIT;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, "old", 3), 0);
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = file;
    op.truncate = true;
    op.n_extents = 2;
    op.extents = extents;
    one.data = kit_bytes("new", 3);
    two.data = kit_bytes("far", 3);
    two.offset = LIMIT_FILE_MAX - 2;
    assert_int_equal(kit_run(k, &c), EFBIG);
    assert_content(file, "old", 3);
    for (size_t i = 0; i <= LIMIT_EXTENTS_MAX; i++)
        many[i] = &one;
    op.extents = many;
    op.n_extents = LIMIT_EXTENTS_MAX + 1;
    assert_int_equal(kit_run(k, &c), E2BIG);
    assert_content(file, "old", 3);
    op.n_extents = LIMIT_EXTENTS_MAX;
    assert_int_equal(kit_run(k, &c), 0);
    assert_content(file, "new", 3);
    free(many);
}

static void test_kill_suid(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};
    Cfs__Command c = CFS__COMMAND__INIT;
    uint64_t aversion;

    (void)state;
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = file;
    op.kill = CFS__KILL__KILL_SUID;
    op.n_extents = 1;
    op.extents = extents;
    extent.data = kit_bytes("x", 1);
    assert_int_equal(kit_chmod(k, file, 06755), 0);
    aversion = k->attr.aversion;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 0755);
    assert_int_equal(k->attr.aversion, aversion + 1);
    assert_int_equal(k->n_changes, 2);
    assert_int_equal(k->changes[1].kind, CFS__CHANGE__KIND__ATTR);
    assert_int_equal(kit_chmod(k, file, 06745), 0); /* not executable for the group: locking */
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 02745);
    op.kill = CFS__KILL__KILL_SGID; /* the writer is not in the group */
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 0745);
    assert_int_equal(k->n_changes, 2);
    assert_int_equal(kit_chmod(k, file, 04755), 0);
    extent.data.len = 0;
    assert_int_equal(kit_run(k, &c), 0); /* no bytes were written, so nothing changed */
    assert_int_equal(k->attr.mode, S_IFREG | 04755);
}

/* Compares random writes and truncations with a plain array. */
static void test_random_content(void **state)
{
    static uint8_t wanted[6 * B], data[3 * B];
    unsigned seed = (unsigned)time(NULL);
    size_t size = 0;

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 150; i++) {
        size_t at = (size_t)random() % (3 * B), len = 1 + (size_t)random() % (i % 2 ? 100 : 3 * B);

        if (random() % 4 == 0) {
            at += (size_t)random() % (3 * B);
            assert_int_equal(kit_truncate(k, file, at), 0);
            if (at < size)
                memset(wanted + at, 0, size - at);
            size = at;
        } else {
            memset(data, 'a' + i % 26, len);
            assert_int_equal(kit_write(k, file, at, data, len), 0);
            memcpy(wanted + at, data, len);
            size = max_u64(size, at + len);
        }
        if (i % 10 == 0)
            assert_content(file, wanted, size);
    }
    assert_content(file, wanted, size);
    for (int i = 0; i < 50; i++) { /* reads of parts */
        size_t at = (size_t)random() % (size + 1), len = (size_t)random() % (2 * B);
        size_t n = min_u64(len, size - at);

        assert_int_equal(reader_read(k->reader, file, at, data, len), n);
        assert_memory_equal(data, wanted + at, n);
    }
}

/* ---- Limits of the tree -----------------------------------------------------------------------*/

static void test_full_tree(void **state)
{
    static uint8_t data[2 * B];
    uint64_t other = kit_file(k, ROOT, "g"), used;
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent e[3] = {CFS__EXTENT__INIT, CFS__EXTENT__INIT, CFS__EXTENT__INIT};
    Cfs__Extent *extents[] = {&e[0], &e[1], &e[2]};
    Cfs__Command c = CFS__COMMAND__INIT;

    (void)state;
    memset(data, 'd', sizeof data);
    assert_int_equal(kit_write(k, file, 0, data, 1000), 0);
    used = 1000;
    k->store->apply.max_bytes = 3 * B;
    assert_int_equal(kit_write(k, other, 0, data, 2 * B), 0);
    used += 2 * B;
    assert_int_equal(kit_write(k, file, 1000, data, 3 * B - used + 1), ENOSPC);
    assert_int_equal(kit_stat(k, file).size, 1000);
    assert_int_equal(kit_write(k, file, 1000, data, 3 * B - used), 0);
    assert_int_equal(kit_append(k, file, "x", 1), ENOSPC);
    assert_int_equal(kit_write(k, file, 5, "in place", 8), 0); /* a full tree can be changed */
    assert_int_equal(kit_write(k, file, 50 * B, "x", 1), ENOSPC);
    assert_int_equal(kit_truncate(k, file, 60 * B), 0); /* a hole takes no room */
    assert_int_equal(kit_setxattr(k, file, "user.a", "b", 1, ANY), ENOSPC);
    assert_int_equal(kit_symlink(k, ROOT, "l", "target"), ENOSPC);
    assert_int_equal(kit_make(k, ROOT, "empty", S_IFREG | 0644), 0);

    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &op;
    op.ino = other;
    op.n_extents = 3;
    op.extents = extents;
    op.truncate = true; /* the truncated content makes room for the new */
    for (int i = 0; i < 3; i++)
        e[i].data = (ProtobufCBinaryData){B, data};
    e[1].offset = B / 2;
    e[2].offset = B; /* overlapping: 2 B in all */
    assert_int_equal(kit_run(k, &c), 0);
    e[2].offset = B + 1;
    assert_int_equal(kit_run(k, &c), ENOSPC);
    assert_int_equal(kit_stat(k, other).size, 2 * B);
    kit_check(k);

    k->store->apply.max_inodes = 4;
    assert_int_equal(kit_make(k, ROOT, "more", S_IFREG | 0644), ENOSPC);
    assert_int_equal(kit_unlink(k, ROOT, "empty"), 0);
    assert_int_equal(kit_make(k, ROOT, "more", S_IFREG | 0644), ENOSPC); /* an orphan counts */
    k->store->apply.max_inodes = 5;
    assert_int_equal(kit_link(k, file, ROOT, "h1"), 0);
    assert_int_equal(kit_link(k, file, ROOT, "h2"), 0);
    assert_int_equal(kit_link(k, file, ROOT, "h3"), 0);
    assert_int_equal(kit_link(k, file, ROOT, "h4"), ENOSPC);
    assert_int_equal(kit_make(k, ROOT, "more", S_IFREG | 0644), ENOSPC);
}

/* ---- Attributes -------------------------------------------------------------------------------*/

static void test_set_attr(void **state)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    c.op_case = CFS__COMMAND__OP_SET_ATTR;
    c.set_attr = &op;
    op.ino = file;
    op.uid = op.gid = op.mode = 99; /* ignored without their flags */
    op.atime_ns = op.mtime_ns = -5;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.uid, 0);
    assert_int_equal(k->attr.mode, before.mode);
    assert_int_equal(k->attr.mtime_ns, before.mtime_ns);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->attr.aversion, before.aversion + 1);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__ATTR);

    op.set_uid = op.set_gid = op.set_mode = op.set_atime = op.set_mtime = true;
    op.uid = 7;
    op.gid = 8;
    op.mode = S_IFDIR | 01777; /* the type is ignored */
    op.atime_ns = -1234567890;
    op.mtime_ns = 4000000000000000000;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.uid, 7);
    assert_int_equal(k->attr.gid, 8);
    assert_int_equal(k->attr.mode, S_IFREG | 01777);
    assert_true(k->attr.atime_ns == -1234567890);
    assert_true(k->attr.mtime_ns == 4000000000000000000);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->attr.version, before.version);
    op.atime_now = op.mtime_now = true;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.atime_ns, k->now);
    assert_int_equal(k->attr.mtime_ns, k->now);
    op.ino = 99;
    assert_int_equal(kit_run(k, &c), ESTALE);
}

static void test_set_size(void **state)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint64_t dir = kit_dir(k, ROOT, "d");
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(kit_truncate(k, file, 100), 0);
    assert_int_equal(k->attr.version, before.version + 1);
    assert_int_equal(k->attr.aversion, before.aversion);
    assert_int_equal(k->attr.mtime_ns, k->now);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(kit_truncate(k, dir, 0), EISDIR);
    assert_int_equal(kit_truncate(k, file, LIMIT_FILE_MAX + 1ull), EFBIG);
    assert_int_equal(kit_truncate(k, file, UINT64_MAX), EFBIG);
    assert_int_equal(kit_truncate(k, file, LIMIT_FILE_MAX), 0);

    c.op_case = CFS__COMMAND__OP_SET_ATTR;
    c.set_attr = &op;
    op.ino = file;
    op.set_size = op.set_mtime = true;
    op.size = 3;
    op.mtime_ns = 42;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mtime_ns, 42);
    assert_int_equal(k->attr.size, 3);
    assert_int_equal(k->n_changes, 2);
}

static void test_set_attr_kill_suid(void **state)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint64_t dir = kit_dir(k, ROOT, "d");

    (void)state;
    assert_int_equal(kit_chmod(k, file, 06755), 0);
    assert_int_equal(kit_chmod(k, dir, 02775), 0);
    c.op_case = CFS__COMMAND__OP_SET_ATTR;
    c.set_attr = &op;
    op.ino = file;
    op.kill = CFS__KILL__KILL_SUID;
    op.set_uid = true;
    op.uid = 3;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 0755);
    op.ino = dir;
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.mode, S_IFDIR | 02775); /* means inheritance there */
    assert_int_equal(kit_make(k, ROOT, "p", S_IFIFO | 06755), 0);
    op.ino = k->attr.ino;
    assert_int_equal(kit_run(k, &c),
                     0); /* any change of the owner does it, except of a directory */
    assert_int_equal(k->attr.mode, S_IFIFO | 0755);
}

/* ---- Extended attributes ----------------------------------------------------------------------*/

static void test_xattr(void **state)
{
    char out[100];
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(kit_setxattr(k, file, "user.b", "two", 3, ANY), 0);
    assert_int_equal(k->attr.aversion, before.aversion + 1);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->attr.version, before.version);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__XATTR);
    assert_int_equal(kit_setxattr(k, file, "user.a", "", 0, CREATE), 0);
    assert_int_equal(reader_getxattr(k->reader, file, "user.b", 6, out, sizeof out), 3);
    assert_memory_equal(out, "two", 3);
    assert_int_equal(reader_getxattr(k->reader, file, "user.b", 6, NULL, 0), 3);
    assert_int_equal(reader_getxattr(k->reader, file, "user.b", 6, out, 2), -ERANGE);
    assert_int_equal(reader_getxattr(k->reader, file, "user.a", 6, out, sizeof out), 0);
    assert_int_equal(reader_getxattr(k->reader, file, "user.c", 6, out, sizeof out), -ENODATA);
    assert_int_equal(reader_getxattr(k->reader, 99, "user.c", 6, out, sizeof out), -ESTALE);
    assert_int_equal(reader_listxattr(k->reader, file, out, sizeof out), 14);
    assert_memory_equal(out, "user.a\0user.b\0", 14);
    assert_int_equal(reader_listxattr(k->reader, file, NULL, 0), 14);
    assert_int_equal(reader_listxattr(k->reader, file, out, 13), -ERANGE);
    assert_int_equal(reader_listxattr(k->reader, ROOT, out, sizeof out), 0);
    assert_int_equal(reader_listxattr(k->reader, 99, out, sizeof out), -ESTALE);
    assert_int_equal(kit_setxattr(k, file, "user.b", "three", 5, REPLACE), 0);
    assert_int_equal(reader_getxattr(k->reader, file, "user.b", 6, out, sizeof out), 5);
    assert_int_equal(kit_removexattr(k, file, "user.b"), 0);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__XATTR);
    assert_int_equal(kit_removexattr(k, file, "user.b"), ENODATA);
    assert_int_equal(reader_listxattr(k->reader, file, out, sizeof out), 7);
}

static void test_xattr_errors(void **state)
{
    char name[LIMIT_XATTR_NAME + 2];
    uint8_t *value = xcalloc(1, LIMIT_XATTR_VALUE + 1);

    (void)state;
    memset(name, 'n', sizeof name);
    name[LIMIT_XATTR_NAME + 1] = '\0';
    assert_int_equal(kit_setxattr(k, file, name, "v", 1, ANY), ERANGE);
    assert_int_equal(kit_removexattr(k, file, name), ERANGE);
    name[LIMIT_XATTR_NAME] = '\0';
    assert_int_equal(kit_setxattr(k, file, name, "v", 1, ANY), 0);
    assert_int_equal(kit_setxattr(k, file, "", "v", 1, ANY), ERANGE);
    assert_int_equal(kit_setxattr(k, file, "a", value, LIMIT_XATTR_VALUE + 1, ANY), E2BIG);
    assert_int_equal(kit_setxattr(k, file, "a", value, LIMIT_XATTR_VALUE, ANY), 0);
    assert_int_equal(kit_setxattr(k, file, "a", "v", 1, CREATE), EEXIST);
    assert_int_equal(kit_setxattr(k, file, "b", "v", 1, REPLACE), ENODATA);
    assert_int_equal(kit_setxattr(k, file, "b", "v", 1, (Cfs__SetXattr__Mode)9), EINVAL);
    assert_int_equal(kit_setxattr(k, 99, "b", "v", 1, ANY), ESTALE);
    assert_int_equal(kit_removexattr(k, 99, "b"), ESTALE);
    free(value);
}

static void test_xattr_total(void **state)
{
    uint8_t *value = xcalloc(1, LIMIT_XATTR_VALUE);
    char name[] = "user.a";

    (void)state;
    for (int i = 0; i < 15; i++, name[5]++)
        assert_int_equal(kit_setxattr(k, file, name, value, LIMIT_XATTR_VALUE, ANY), 0);
    assert_int_equal(kit_setxattr(k, file, name, value, LIMIT_XATTR_VALUE, ANY), ENOSPC);
    assert_int_equal(kit_setxattr(k, file, name, value, LIMIT_XATTR_VALUE - 96, ANY), 0);
    assert_int_equal(kit_setxattr(k, file, name, value, LIMIT_XATTR_VALUE - 95, ANY), ENOSPC);
    assert_int_equal(kit_setxattr(k, file, "user.a", value, 5, ANY), 0); /* smaller: always */
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    assert_int_equal(kit_reap(k, file), 0);
    assert_int_equal(k->store->state.n.meta_bytes, 0);
    free(value);
}

/* ---- Reaping ----------------------------------------------------------------------------------*/

static void test_reap(void **state)
{
    Cfs__Reap op = CFS__REAP__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint64_t dir = kit_dir(k, ROOT, "d"), linked = kit_file(k, ROOT, "linked");
    uint64_t inos[] = {file, dir, linked, 99, UINT64_MAX, file, 0};
    uint64_t *many = xcalloc(LIMIT_REAP_MAX + 1, sizeof *many);
    struct store_counts counts;
    Cfs__Attr attr;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, "data", 4), 0);
    assert_int_equal(kit_write(k, file, 5 * B, "data", 4), 0);
    store_counts(k->store, &counts);
    assert_int_equal(counts.bytes, 8);
    assert_int_equal(counts.inodes, 4);
    assert_int_equal(kit_reap(k, file), 0);
    assert_int_equal(kit_stat(k, file).size, 5 * B + 4); /* it has a name */
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    c.op_case = CFS__COMMAND__OP_REAP;
    c.reap = &op;
    op.inos = inos;
    op.n_inos = ARRAY_LEN(inos);
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(reader_attr(k->reader, file, &attr), -ESTALE);
    assert_int_equal(kit_stat(k, dir).nlink, 2);
    assert_int_equal(kit_stat(k, linked).nlink, 1);
    store_counts(k->store, &counts);
    assert_int_equal(counts.bytes, 0);
    assert_int_equal(counts.inodes, 3);
    op.inos = many;
    op.n_inos = LIMIT_REAP_MAX + 1;
    assert_int_equal(kit_run(k, &c), E2BIG);
    op.n_inos = LIMIT_REAP_MAX;
    assert_int_equal(kit_run(k, &c), 0);
    free(many);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_write),
        T(test_holes),
        T(test_truncate_shows_zeros),
        T(test_append),
        T(test_extents_in_order),
        T(test_empty_write),
        T(test_write_errors),
        T(test_nothing_of_a_bad_write),
        T(test_kill_suid),
        T(test_random_content),
        T(test_full_tree),
        T(test_set_attr),
        T(test_set_size),
        T(test_set_attr_kill_suid),
        T(test_xattr),
        T(test_xattr_errors),
        T(test_xattr_total),
        T(test_reap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
