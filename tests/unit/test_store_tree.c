/* SPDX-License-Identifier: Apache-2.0 */
/* store/tree.c: the operations on names, each with every status that it can return. */
#include "store/internal.h"
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT      1
#define REPLACE   CFS__RENAME__MODE__REPLACE
#define NOREPLACE CFS__RENAME__MODE__NOREPLACE
#define EXCHANGE  CFS__RENAME__MODE__EXCHANGE

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

static char *long_name(size_t len)
{
    static char name[LIMIT_NAME_MAX + 2];

    memset(name, 'n', len);
    name[len] = '\0';
    return name;
}

static void assert_change(size_t i, Cfs__Change__Kind kind, uint64_t ino, uint64_t parent,
                          const char *name)
{
    assert_true(i < k->n_changes);
    assert_int_equal(k->changes[i].kind, kind);
    assert_int_equal(k->changes[i].ino, ino);
    assert_int_equal(k->changes[i].parent, parent);
    assert_string_equal(k->names[i][0], name);
    assert_int_equal(k->changes[i].index, store_applied(k->store));
    assert_int_equal(k->changes[i].session, k->session);
}

/* ---- Make -------------------------------------------------------------------------------------*/

static void test_root(void **state)
{
    Cfs__Attr root = kit_stat(k, ROOT);

    (void)state;
    assert_int_equal(root.mode, S_IFDIR | 0755);
    assert_int_equal(root.nlink, 2);
    assert_int_equal(root.uid, 0);
    assert_int_equal(root.parent, ROOT);
    assert_int_equal(root.mtime_ns, 1000000000); /* the time of the first session */
    assert_int_equal(root.ctime_ns, 1000000000);
    kit_session(k, 2, 78);
    assert_int_equal(kit_stat(k, ROOT).mtime_ns, 1000000000);
}

static void test_make_file(void **state)
{
    Cfs__Attr attr, root;

    (void)state;
    assert_int_equal(kit_make_as(k, ROOT, "f", S_IFREG | 06640, 5, 6), 0);
    attr = k->attr;
    assert_int_equal(attr.ino, 2);
    assert_int_equal(attr.mode, S_IFREG | 06640);
    assert_int_equal(attr.nlink, 1);
    assert_int_equal(attr.uid, 5);
    assert_int_equal(attr.gid, 6);
    assert_int_equal(attr.size, 0);
    assert_int_equal(attr.blocks, 0);
    assert_int_equal(attr.atime_ns, k->now);
    assert_int_equal(attr.mtime_ns, k->now);
    assert_int_equal(attr.ctime_ns, k->now);
    assert_int_equal(attr.created, store_applied(k->store));
    assert_int_equal(attr.modified, store_applied(k->store));
    assert_int_equal(attr.children_modified, 0);
    assert_int_equal(attr.version, 0);
    assert_int_equal(attr.parent, 0);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__CREATE, attr.ino, ROOT, "f");

    root = kit_stat(k, ROOT);
    assert_int_equal(root.nlink, 2);
    assert_int_equal(root.size, 1);
    assert_int_equal(root.cversion, 1);
    assert_int_equal(root.version, 0);
    assert_int_equal(root.mtime_ns, k->now);
    assert_int_equal(root.ctime_ns, k->now);
    assert_int_equal(root.children_modified, store_applied(k->store));
    assert_int_equal(kit_find(k, ROOT, "f"), attr.ino);
}

static void test_make_directory(void **state)
{
    uint64_t dir = kit_dir(k, ROOT, "d");
    Cfs__Attr attr = kit_stat(k, dir);

    (void)state;
    assert_int_equal(attr.nlink, 2);
    assert_int_equal(attr.parent, ROOT);
    assert_int_equal(attr.children_modified, store_applied(k->store));
    assert_int_equal(kit_stat(k, ROOT).nlink, 3);
    assert_int_equal(kit_dir(k, dir, "e"), dir + 1);
    assert_int_equal(kit_stat(k, dir).nlink, 3);
    assert_int_equal(kit_stat(k, ROOT).nlink, 3);
}

static void test_make_special(void **state)
{
    (void)state;
    assert_int_equal(kit_make(k, ROOT, "fifo", S_IFIFO | 0600), 0);
    assert_int_equal(kit_make(k, ROOT, "sock", S_IFSOCK | 0600), 0);
    assert_int_equal(kit_make(k, ROOT, "chr", S_IFCHR | 0600), 0);
    assert_int_equal(kit_make(k, ROOT, "blk", S_IFBLK | 0600), 0);
    assert_int_equal(kit_make(k, ROOT, "none", 0600), EINVAL);
    assert_int_equal(kit_make(k, ROOT, "odd", 0030000 | 0600), EINVAL);
    assert_int_equal(kit_make(k, ROOT, "more", 0x10000 | S_IFREG), EINVAL);
    assert_int_equal(kit_stat(k, ROOT).size, 4);
}

static void test_make_symlink(void **state)
{
    static char target[LIMIT_SYMLINK_MAX + 2];
    char out[LIMIT_SYMLINK_MAX];
    uint64_t ino;

    (void)state;
    assert_int_equal(kit_symlink(k, ROOT, "l", "to/there"), 0);
    ino = k->attr.ino;
    assert_int_equal(k->attr.size, 8);
    assert_int_equal(k->attr.mode, S_IFLNK | 0777);
    assert_int_equal(reader_readlink(k->reader, ino, out, sizeof out), 8);
    assert_memory_equal(out, "to/there", 8);
    assert_int_equal(reader_readlink(k->reader, ino, out, 3), 3);
    assert_int_equal(reader_readlink(k->reader, ROOT, out, sizeof out), -EINVAL);
    assert_int_equal(reader_readlink(k->reader, 99, out, sizeof out), -ESTALE);

    memset(target, 't', LIMIT_SYMLINK_MAX + 1);
    assert_int_equal(kit_symlink(k, ROOT, "long", target), ENAMETOOLONG);
    target[LIMIT_SYMLINK_MAX] = '\0';
    assert_int_equal(kit_symlink(k, ROOT, "long", target), 0);
    assert_int_equal(reader_readlink(k->reader, k->attr.ino, out, sizeof out), LIMIT_SYMLINK_MAX);
    assert_int_equal(kit_symlink(k, ROOT, "empty", ""), EINVAL);
    assert_int_equal(kit_unlink(k, ROOT, "l"), 0);
    assert_true(reader_readlink(k->reader, ino, out, sizeof out) >
                0); /* it may be open somewhere */
    assert_int_equal(kit_reap(k, ino), 0);
    assert_int_equal(reader_readlink(k->reader, ino, out, sizeof out), -ESTALE);
}

static void test_make_errors(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f"), dir = kit_dir(k, ROOT, "gone");

    (void)state;
    assert_int_equal(kit_make(k, ROOT, "f", S_IFREG | 0644), EEXIST);
    assert_int_equal(kit_make(k, ROOT, "f", S_IFDIR | 0755), EEXIST);
    assert_int_equal(kit_make(k, file, "x", S_IFREG | 0644), ENOTDIR);
    assert_int_equal(kit_make(k, 99, "x", S_IFREG | 0644), ENOENT);
    assert_int_equal(kit_make(k, UINT64_MAX, "x", S_IFREG | 0644), ENOENT);
    assert_int_equal(kit_rmdir(k, ROOT, "gone"), 0);
    assert_int_equal(kit_make(k, dir, "x", S_IFREG | 0644), ENOENT);
    assert_int_equal(kit_make(k, ROOT, "", S_IFREG | 0644), EINVAL);
    assert_int_equal(kit_make(k, ROOT, "a/b", S_IFREG | 0644), EINVAL);
    assert_int_equal(kit_make(k, ROOT, ".", S_IFREG | 0644), EEXIST);
    assert_int_equal(kit_make(k, ROOT, "..", S_IFREG | 0644), EEXIST);
    assert_int_equal(kit_make(k, ROOT, "...", S_IFREG | 0644), 0);
    assert_int_equal(kit_make(k, ROOT, long_name(256), S_IFREG | 0644), ENAMETOOLONG);
    assert_int_equal(kit_make(k, ROOT, long_name(255), S_IFREG | 0644), 0);
    assert_int_equal(kit_find(k, ROOT, long_name(255)), k->attr.ino);
}

static void test_name_bytes(void **state)
{
    Cfs__Make make = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint8_t name[] = {0xff, 0x01, '\n', 0x80};
    uint8_t nul[] = {'a', 0, 'b'};
    Cfs__Attr attr;

    (void)state;
    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &make;
    make.parent = ROOT;
    make.mode = S_IFREG | 0600;
    make.name = (ProtobufCBinaryData){sizeof nul, nul};
    assert_int_equal(kit_run(k, &c), EINVAL);
    make.name = (ProtobufCBinaryData){sizeof name, name};
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(reader_lookup(k->reader, ROOT, (const char *)name, sizeof name, &attr), 0);
    assert_int_equal(attr.ino, k->attr.ino);
    make.target = (ProtobufCBinaryData){1, name};
    make.name = (ProtobufCBinaryData){1, name};
    assert_int_equal(kit_run(k, &c), EINVAL); /* a file with a target */
    make.mode = S_IFLNK | 0777;
    make.target = (ProtobufCBinaryData){sizeof nul, nul};
    assert_int_equal(kit_run(k, &c), EINVAL);
}

static void test_rdev(void **state)
{
    Cfs__Make make = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint8_t name[] = "d";

    (void)state;
    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &make;
    make.parent = ROOT;
    make.mode = S_IFCHR | 0600;
    make.rdev = 0x123456789a;
    make.name = (ProtobufCBinaryData){1, name};
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.rdev, 0x123456789a);
    make.mode = S_IFREG | 0600;
    name[0] = 'e';
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(k->attr.rdev, 0);
}

static void test_setgid_directory(void **state)
{
    uint64_t dir;

    (void)state;
    assert_int_equal(kit_make_as(k, ROOT, "d", S_IFDIR | 02775, 1, 50), 0);
    dir = k->attr.ino;
    assert_int_equal(kit_make_as(k, dir, "f", S_IFREG | 0640, 2, 60), 0);
    assert_int_equal(k->attr.gid, 50);
    assert_int_equal(k->attr.mode, S_IFREG | 0640);
    assert_int_equal(kit_make_as(k, dir, "e", S_IFDIR | 0755, 2, 60), 0);
    assert_int_equal(k->attr.gid, 50);
    assert_int_equal(k->attr.uid, 2);
    assert_int_equal(k->attr.mode, S_IFDIR | 02755);
}

/* Inode numbers that could not be stored are not assigned. */
static void test_last_number(void **state)
{
    uint64_t last = ((uint64_t)1 << 43) - 1;
    static uint8_t data[100];

    (void)state;
    k->store->state.n.next_ino = last;
    assert_int_equal(kit_file(k, ROOT, "last"), last);
    assert_int_equal(kit_write(k, last, (64u << 20) - 100, data, sizeof data), 0);
    assert_int_equal(kit_make(k, ROOT, "more", S_IFREG | 0644), ENOSPC);
}

/* ---- Link -------------------------------------------------------------------------------------*/

static void test_link(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f"), dir = kit_dir(k, ROOT, "d");
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(kit_link(k, file, dir, "g"), 0);
    assert_int_equal(k->attr.ino, file);
    assert_int_equal(k->attr.nlink, 2);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->attr.mtime_ns, before.mtime_ns);
    assert_int_equal(k->attr.version, before.version);
    assert_int_equal(k->attr.aversion, before.aversion);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__LINK, file, dir, "g");
    assert_int_equal(kit_stat(k, dir).size, 1);
    assert_int_equal(kit_stat(k, dir).mtime_ns, k->now);
    assert_int_equal(kit_stat(k, dir).cversion, 1);

    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    assert_int_equal(k->attr.nlink, 1);
    assert_int_equal(kit_find(k, dir, "g"), file);
}

static void test_link_errors(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f"), dir = kit_dir(k, ROOT, "d");

    (void)state;
    assert_int_equal(kit_link(k, dir, ROOT, "x"), EPERM);
    assert_int_equal(kit_link(k, file, ROOT, "d"), EEXIST);
    assert_int_equal(kit_link(k, file, ROOT, "f"), EEXIST);
    assert_int_equal(kit_link(k, 99, ROOT, "x"), ESTALE);
    assert_int_equal(kit_link(k, file, 99, "x"), ENOENT);
    assert_int_equal(kit_link(k, file, file, "x"), ENOTDIR);
    assert_int_equal(kit_link(k, file, ROOT, "."), EEXIST);
    assert_int_equal(kit_link(k, file, ROOT, ""), EINVAL);
    assert_int_equal(kit_link(k, file, ROOT, long_name(256)), ENAMETOOLONG);
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    assert_int_equal(kit_link(k, file, ROOT, "x"), ENOENT); /* an orphan gets no new name */
    assert_int_equal(kit_find(k, ROOT, "x"), 0);
}

static void test_link_limit(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f"), dir = kit_dir(k, ROOT, "d");

    (void)state;
    kit_check(k);
    kit_close(k);
    /* Making 65000 links takes too long, so the count is set directly. */
    kit_sql(k->dir, "UPDATE inode SET nlink = 64999 WHERE ino IN (2, 3)");
    kit_open(k);
    assert_int_equal(kit_link(k, file, ROOT, "x"), 0);
    assert_int_equal(k->attr.nlink, LIMIT_LINK_MAX);
    assert_int_equal(kit_link(k, file, ROOT, "y"), EMLINK);
    assert_int_equal(kit_make(k, dir, "s1", S_IFDIR | 0755), 0);
    assert_int_equal(kit_make(k, dir, "s2", S_IFDIR | 0755), EMLINK);
    assert_int_equal(kit_make(k, dir, "f2", S_IFREG | 0755), 0);
    kit_dir(k, ROOT, "other");
    assert_int_equal(kit_rename(k, ROOT, "other", dir, "s2", REPLACE), EMLINK);
    assert_int_equal(kit_rename(k, ROOT, "other", dir, "f2", EXCHANGE), EMLINK);
    assert_int_equal(kit_rename(k, dir, "f2", ROOT, "other", EXCHANGE), EMLINK);
    assert_int_equal(kit_rename(k, ROOT, "other", dir, "s1", REPLACE), 0);
    assert_int_equal(kit_rename(k, dir, "s1", dir, "s3", REPLACE), 0);
    kit_close(k);
}

/* ---- Unlink, rmdir ----------------------------------------------------------------------------*/

struct orphans {
    size_t n;
    uint64_t ino[8];
    uint64_t unlinked[8];
};

static void on_orphan(void *arg, uint64_t ino, uint64_t unlinked)
{
    struct orphans *o = arg;

    o->ino[o->n] = ino;
    o->unlinked[o->n++] = unlinked;
}

static void test_unlink(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f");
    struct orphans orphans = {0};
    uint64_t index;

    (void)state;
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    index = store_applied(k->store);
    assert_int_equal(k->attr.ino, file);
    assert_int_equal(k->attr.nlink, 0);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, file, ROOT, "f");
    assert_int_equal(kit_find(k, ROOT, "f"), 0);
    assert_int_equal(kit_stat(k, ROOT).size, 0);
    assert_int_equal(kit_stat(k, ROOT).cversion, 2);
    assert_int_equal(kit_stat(k, file).nlink, 0); /* kept for hosts that have it open */
    store_orphans(k->store, 0, 8, on_orphan, &orphans);
    assert_int_equal(orphans.n, 1);
    assert_int_equal(orphans.ino[0], file);
    assert_int_equal(orphans.unlinked[0], index);
    assert_int_equal(kit_write(k, file, 0, "still", 5), 0);
    assert_int_equal(kit_reap(k, file), 0);
    assert_int_equal(k->n_changes, 0);
    orphans.n = 0;
    store_orphans(k->store, 0, 8, on_orphan, &orphans);
    assert_int_equal(orphans.n, 0);
    assert_int_equal(kit_write(k, file, 0, "gone", 4), ESTALE);
}

static void test_unlink_special(void **state)
{
    Cfs__Attr attr;
    uint64_t fifo;

    (void)state;
    assert_int_equal(kit_make(k, ROOT, "p", S_IFIFO | 0600), 0);
    fifo = k->attr.ino;
    assert_int_equal(kit_setxattr(k, fifo, "user.a", "b", 1, CFS__SET_XATTR__MODE__ANY), 0);
    assert_int_equal(kit_unlink(k, ROOT, "p"), 0);
    assert_int_equal(k->attr.nlink, 0);
    assert_int_equal(kit_chmod(k, fifo, 0640), 0); /* for a process that has it open */
    assert_int_equal(reader_attr(k->reader, fifo, &attr), 0);
    assert_int_equal(attr.mode, S_IFIFO | 0640);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(kit_link(k, fifo, ROOT, "q"), ENOENT);
    assert_int_equal(kit_reap(k, fifo), 0);
    assert_int_equal(reader_attr(k->reader, fifo, &attr), -ESTALE);
}

static void test_unlink_errors(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f");

    (void)state;
    kit_dir(k, ROOT, "d");
    assert_int_equal(kit_unlink(k, ROOT, "x"), ENOENT);
    assert_int_equal(kit_unlink(k, 99, "x"), ENOENT);
    assert_int_equal(kit_unlink(k, file, "x"), ENOTDIR);
    assert_int_equal(kit_unlink(k, ROOT, "d"), EISDIR);
    assert_int_equal(kit_unlink(k, ROOT, "."), EISDIR);
    assert_int_equal(kit_unlink(k, ROOT, ".."), EISDIR);
    assert_int_equal(kit_unlink(k, ROOT, ""), EINVAL);
    assert_int_equal(kit_unlink(k, ROOT, long_name(256)), ENAMETOOLONG);
}

static void test_rmdir(void **state)
{
    uint64_t dir = kit_dir(k, ROOT, "d");
    Cfs__Attr attr;

    (void)state;
    kit_file(k, ROOT, "f");
    kit_file(k, dir, "x");
    assert_int_equal(kit_rmdir(k, ROOT, "d"), ENOTEMPTY);
    assert_int_equal(kit_rmdir(k, ROOT, "f"), ENOTDIR);
    assert_int_equal(kit_rmdir(k, ROOT, "y"), ENOENT);
    assert_int_equal(kit_rmdir(k, ROOT, "."), EINVAL);
    assert_int_equal(kit_rmdir(k, ROOT, ".."), ENOTEMPTY);
    assert_int_equal(kit_rmdir(k, 99, "y"), ENOENT);
    assert_int_equal(kit_unlink(k, dir, "x"), 0);
    assert_int_equal(kit_rmdir(k, ROOT, "d"), 0);
    assert_int_equal(k->attr.ino, dir);
    assert_int_equal(k->attr.nlink, 0);
    assert_change(0, CFS__CHANGE__KIND__RMDIR, dir, ROOT, "d");
    assert_int_equal(kit_stat(k, ROOT).nlink, 2);
    assert_int_equal(kit_chmod(k, dir, 0700), 0); /* for a process whose working directory it is */
    assert_int_equal(reader_attr(k->reader, dir, &attr), 0);
    assert_int_equal(attr.mode, S_IFDIR | 0700);
    assert_int_equal(attr.nlink, 0);
    assert_int_equal(reader_lookup(k->reader, dir, "x", 1, &attr), -ESTALE);
    assert_int_equal(kit_make(k, dir, "x", S_IFREG | 0644), ENOENT);
    assert_int_equal(kit_make(k, dir, "x", S_IFDIR | 0755), ENOENT);
    assert_int_equal(kit_rename(k, ROOT, "f", dir, "f", REPLACE), ENOENT);
    assert_int_equal(kit_setxattr(k, dir, "user.coordfs.ttl", "9", 1, CFS__SET_XATTR__MODE__ANY),
                     EINVAL);
    assert_int_equal(kit_reap(k, dir), 0);
    assert_int_equal(reader_attr(k->reader, dir, &attr), -ESTALE);
    assert_true(kit_dir(k, ROOT, "d") > dir); /* numbers are never reused */
}

/* ---- Rename -----------------------------------------------------------------------------------*/

static void test_rename_simple(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f"), dir = kit_dir(k, ROOT, "d");
    Cfs__Attr before = kit_stat(k, file), root = kit_stat(k, ROOT);

    (void)state;
    assert_int_equal(kit_rename(k, ROOT, "f", dir, "g", REPLACE), 0);
    assert_int_equal(kit_find(k, ROOT, "f"), 0);
    assert_int_equal(kit_find(k, dir, "g"), file);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__RENAME, file, ROOT, "f");
    assert_int_equal(k->changes[0].new_parent, dir);
    assert_string_equal(k->names[0][1], "g");
    assert_int_equal(k->changes[0].victim, 0);
    assert_int_equal(kit_stat(k, file).ctime_ns, k->now);
    assert_int_equal(kit_stat(k, file).mtime_ns, before.mtime_ns);
    assert_int_equal(kit_stat(k, ROOT).mtime_ns, k->now);
    assert_int_equal(kit_stat(k, dir).mtime_ns, k->now);
    assert_int_equal(kit_stat(k, ROOT).cversion, root.cversion + 1);
    assert_int_equal(kit_stat(k, dir).cversion, 1);

    root = kit_stat(k, ROOT);
    assert_int_equal(kit_rename(k, ROOT, "d", ROOT, "e", NOREPLACE), 0);
    assert_int_equal(kit_stat(k, ROOT).cversion, root.cversion + 1); /* once for both names */
    assert_int_equal(kit_stat(k, ROOT).size, root.size);
}

static void test_rename_directory(void **state)
{
    uint64_t a = kit_dir(k, ROOT, "a"), b = kit_dir(k, ROOT, "b"), c = kit_dir(k, a, "c");
    Cfs__Attr attr;

    (void)state;
    assert_int_equal(kit_rename(k, a, "c", b, "c", REPLACE), 0);
    assert_int_equal(kit_stat(k, a).nlink, 2);
    assert_int_equal(kit_stat(k, b).nlink, 3);
    assert_int_equal(kit_stat(k, c).parent, b);
    assert_int_equal(reader_lookup(k->reader, c, "..", 2, &attr), 0);
    assert_int_equal(attr.ino, b);
    assert_int_equal(reader_lookup(k->reader, c, ".", 1, &attr), 0);
    assert_int_equal(attr.ino, c);
}

static void test_rename_replaces(void **state)
{
    uint64_t f = kit_file(k, ROOT, "f"), g = kit_file(k, ROOT, "g");
    uint64_t d = kit_dir(k, ROOT, "d"), e = kit_dir(k, ROOT, "e");
    Cfs__Attr attr;

    (void)state;
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", REPLACE), 0);
    assert_int_equal(kit_find(k, ROOT, "g"), f);
    assert_int_equal(kit_stat(k, g).nlink, 0);
    assert_int_equal(kit_stat(k, g).ctime_ns, k->now);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].victim, g);
    assert_int_equal(kit_stat(k, ROOT).size, 3);

    assert_int_equal(kit_rename(k, ROOT, "d", ROOT, "e", REPLACE), 0);
    assert_int_equal(kit_find(k, ROOT, "e"), d);
    assert_int_equal(kit_stat(k, e).nlink, 0);
    assert_int_equal(kit_reap(k, e), 0);
    assert_int_equal(reader_attr(k->reader, e, &attr), -ESTALE);
    assert_int_equal(kit_stat(k, ROOT).nlink, 3);
    assert_int_equal(kit_stat(k, ROOT).size, 2);
}

static void test_rename_replaces_elsewhere(void **state)
{
    uint64_t a = kit_dir(k, ROOT, "a"), b = kit_dir(k, ROOT, "b"), s = kit_dir(k, a, "s");
    uint64_t file = kit_file(k, b, "f");

    (void)state;
    kit_dir(k, b, "s");
    assert_int_equal(kit_rename(k, a, "s", b, "s", REPLACE), 0);
    assert_int_equal(kit_stat(k, a).nlink, 2);
    assert_int_equal(kit_stat(k, a).size, 0);
    assert_int_equal(kit_stat(k, b).nlink, 3);
    assert_int_equal(kit_stat(k, b).size, 2);
    assert_int_equal(kit_stat(k, s).parent, b);
    assert_int_equal(kit_link(k, file, a, "f"), 0);
    kit_file(k, a, "h");
    assert_int_equal(kit_rename(k, a, "h", b, "f", REPLACE), 0);
    assert_int_equal(kit_stat(k, file).nlink, 1);
}

static void test_rename_same_inode(void **state)
{
    uint64_t file = kit_file(k, ROOT, "f");
    Cfs__Attr before;
    struct store_hash hash;

    (void)state;
    assert_int_equal(kit_link(k, file, ROOT, "g"), 0);
    before = kit_stat(k, ROOT);
    hash = store_state_hash(k->store);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", REPLACE), 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", EXCHANGE), 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "f", REPLACE), 0);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "f", NOREPLACE), EEXIST);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", NOREPLACE), EEXIST);
    assert_int_equal(kit_find(k, ROOT, "f"), file);
    assert_int_equal(kit_find(k, ROOT, "g"), file);
    assert_int_equal(kit_stat(k, ROOT).cversion, before.cversion);
    assert_int_equal(kit_stat(k, file).ctime_ns, before.ctime_ns);
    assert_true(hash.low != store_state_hash(k->store).low); /* counters: the index moved on */
}

static void test_rename_errors(void **state)
{
    uint64_t f = kit_file(k, ROOT, "f"), d = kit_dir(k, ROOT, "d"), e = kit_dir(k, d, "e");

    (void)state;
    kit_dir(k, ROOT, "full");
    kit_file(k, kit_find(k, ROOT, "full"), "x");
    assert_int_equal(kit_rename(k, ROOT, "x", ROOT, "y", REPLACE), ENOENT);
    assert_int_equal(kit_rename(k, 99, "x", ROOT, "y", REPLACE), ENOENT);
    assert_int_equal(kit_rename(k, ROOT, "f", 99, "y", REPLACE), ENOENT);
    assert_int_equal(kit_rename(k, f, "x", ROOT, "y", REPLACE), ENOTDIR);
    assert_int_equal(kit_rename(k, ROOT, "f", f, "y", REPLACE), ENOTDIR);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "d", REPLACE), EISDIR);
    assert_int_equal(kit_rename(k, ROOT, "d", ROOT, "f", REPLACE), ENOTDIR);
    assert_int_equal(kit_rename(k, ROOT, "d", ROOT, "full", REPLACE), ENOTEMPTY);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "d", NOREPLACE), EEXIST);
    assert_int_equal(kit_rename(k, ROOT, "d", d, "y", REPLACE), EINVAL);
    assert_int_equal(kit_rename(k, ROOT, "d", e, "y", REPLACE), EINVAL);
    assert_int_equal(kit_rename(k, ROOT, "d", e, "y", NOREPLACE), EINVAL);
    assert_int_equal(kit_rename(k, d, "e", ROOT, "d", REPLACE), ENOTEMPTY);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, ".", REPLACE), EBUSY);
    assert_int_equal(kit_rename(k, ROOT, "..", ROOT, "g", REPLACE), EBUSY);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "..", NOREPLACE), EEXIST);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "", REPLACE), EINVAL);
    assert_int_equal(kit_rename(k, ROOT, "a/b", ROOT, "g", REPLACE), EINVAL);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, long_name(256), REPLACE), ENAMETOOLONG);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", (Cfs__Rename__Mode)7), EINVAL);
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "g", EXCHANGE), ENOENT);
    assert_int_equal(kit_rename(k, ROOT, "g", ROOT, "f", EXCHANGE), ENOENT);
    assert_int_equal(kit_rename(k, ROOT, "d", d, "e", EXCHANGE), EINVAL);
    assert_int_equal(kit_rename(k, d, "e", ROOT, "d", EXCHANGE), EINVAL);
}

static void test_exchange(void **state)
{
    uint64_t a = kit_dir(k, ROOT, "a"), b = kit_dir(k, ROOT, "b");
    uint64_t f = kit_file(k, a, "f"), s = kit_dir(k, b, "s");
    Cfs__Attr attr;

    (void)state;
    kit_file(k, s, "inside");
    assert_int_equal(kit_rename(k, a, "f", b, "s", EXCHANGE), 0);
    assert_int_equal(kit_find(k, a, "f"), s);
    assert_int_equal(kit_find(k, b, "s"), f);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__EXCHANGE, f, a, "f");
    assert_int_equal(k->changes[0].victim, s);
    assert_int_equal(k->changes[0].new_parent, b);
    assert_string_equal(k->names[0][1], "s");
    assert_int_equal(kit_stat(k, a).nlink, 3);
    assert_int_equal(kit_stat(k, b).nlink, 2);
    assert_int_equal(kit_stat(k, s).parent, a);
    assert_int_equal(reader_lookup(k->reader, s, "..", 2, &attr), 0);
    assert_int_equal(attr.ino, a);
    assert_int_equal(kit_stat(k, f).ctime_ns, k->now);
    assert_int_equal(kit_stat(k, s).ctime_ns, k->now);
    assert_int_equal(kit_stat(k, a).mtime_ns, k->now);
    assert_int_equal(kit_stat(k, b).mtime_ns, k->now);
    kit_check(k);

    assert_int_equal(kit_rename(k, a, "f", b, "s", EXCHANGE), 0); /* and back */
    assert_int_equal(kit_find(k, a, "f"), f);
    kit_file(k, a, "g");
    assert_int_equal(kit_rename(k, a, "f", a, "g", EXCHANGE), 0);
    assert_int_equal(kit_find(k, a, "g"), f);
    assert_int_equal(kit_stat(k, a).size, 2);
}

static void test_deep_loops(void **state)
{
    uint64_t at = ROOT, top = 0, half = 0;

    (void)state;
    for (int i = 0; i < 60; i++) {
        at = kit_dir(k, at, "d");
        top = i == 0 ? at : top;
        half = i == 30 ? at : half;
    }
    assert_int_equal(kit_rename(k, ROOT, "d", at, "x", REPLACE), EINVAL);
    assert_int_equal(kit_rename(k, top, "d", at, "x", REPLACE), EINVAL);
    kit_dir(k, ROOT, "other");
    assert_int_equal(kit_rename(k, ROOT, "other", at, "x", REPLACE), 0);
    assert_int_equal(kit_rename(k, half, "d", ROOT, "y", REPLACE), 0);
    assert_int_equal(kit_rename(k, ROOT, "d", at, "z", REPLACE), 0); /* not above it any more */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_root),
        T(test_make_file),
        T(test_make_directory),
        T(test_make_special),
        T(test_make_symlink),
        T(test_make_errors),
        T(test_name_bytes),
        T(test_rdev),
        T(test_setgid_directory),
        T(test_last_number),
        T(test_link),
        T(test_link_errors),
        T(test_link_limit),
        T(test_unlink),
        T(test_unlink_special),
        T(test_unlink_errors),
        T(test_rmdir),
        T(test_rename_simple),
        T(test_rename_directory),
        T(test_rename_replaces),
        T(test_rename_replaces_elsewhere),
        T(test_rename_same_inode),
        T(test_rename_errors),
        T(test_exchange),
        T(test_deep_loops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
