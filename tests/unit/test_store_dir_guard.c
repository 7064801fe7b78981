/* SPDX-License-Identifier: Apache-2.0 */
/* store/dir_guard.c: below a guarded directory no command changes anything without the lock. */
#include "tests/lib/lock_kit.h"
#include "tests/lib/txn_kit.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT  1
#define GUARD "user.coordfs.guard"

static struct kit kit;
static struct kit *const k = &kit;
static struct kit_host a, b;
static uint64_t lock, dir, sub, f, deep, outside, o;

/* /lock; /dir (guarded) with f, sub/deep; /outside with o */
static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    a = kit_host(k, 11, 1, 0);
    b = kit_host(k, 12, 1, 0);
    lock = kit_file(k, ROOT, "lock");
    dir = kit_dir(k, ROOT, "dir");
    f = kit_file(k, dir, "f");
    sub = kit_dir(k, dir, "sub");
    deep = kit_file(k, sub, "deep");
    outside = kit_dir(k, ROOT, "outside");
    o = kit_file(k, outside, "o");
    assert_int_equal(txn_setxattr_as(k, &a, dir, GUARD, "/lock"), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

/* ---- Each command that changes something ----------------------------------------------------- */

#define COMMAND(member, CASE)                                                                      \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

static ProtobufCBinaryData text(const char *s)
{
    return kit_bytes(s, strlen(s));
}

static uint32_t do_make(struct kit_host *h)
{
    return txn_make_as(k, h, sub, "new", S_IFREG | 0644, CFS__EPHEMERAL__EPHEMERAL_INHERIT, false);
}

static uint32_t do_make_sequential(struct kit_host *h)
{
    return txn_make_as(k, h, dir, "new", S_IFDIR | 0755, CFS__EPHEMERAL__EPHEMERAL_SESSION, true);
}

static uint32_t link_to(struct kit_host *h, uint64_t ino, uint64_t parent)
{
    Cfs__Link op = CFS__LINK__INIT;
    COMMAND(link, LINK);

    op.ino = ino;
    op.parent = parent;
    op.name = text("linked");
    return kit_run_as(k, h, &c);
}

static uint32_t do_link_in(struct kit_host *h)
{
    return link_to(h, o, sub);
}

static uint32_t do_link_out(struct kit_host *h)
{
    return link_to(h, deep, outside);
}

static uint32_t do_unlink(struct kit_host *h)
{
    return txn_unlink_as(k, h, sub, "deep", false);
}

static uint32_t do_rmdir(struct kit_host *h)
{
    return txn_unlink_as(k, h, dir, "sub", true);
}

static uint32_t rename_as(struct kit_host *h, uint64_t from, const char *name, uint64_t to)
{
    Cfs__Rename op = CFS__RENAME__INIT;
    COMMAND(rename, RENAME);

    op.parent = from;
    op.name = text(name);
    op.new_parent = to;
    op.new_name = text("moved");
    return kit_run_as(k, h, &c);
}

static uint32_t do_rename_in(struct kit_host *h)
{
    return rename_as(h, outside, "o", sub);
}

static uint32_t do_rename_out(struct kit_host *h)
{
    return rename_as(h, dir, "f", outside);
}

static uint32_t do_rename_within(struct kit_host *h)
{
    return rename_as(h, dir, "f", sub);
}

static uint32_t do_chmod(struct kit_host *h)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    COMMAND(set_attr, SET_ATTR);

    op.ino = sub;
    op.set_mode = true;
    op.mode = 0700;
    return kit_run_as(k, h, &c);
}

static uint32_t do_truncate(struct kit_host *h)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    COMMAND(set_attr, SET_ATTR);

    op.ino = deep;
    op.set_size = true;
    op.size = 7;
    return kit_run_as(k, h, &c);
}

static uint32_t do_write(struct kit_host *h)
{
    return txn_write_as(k, h, deep, "text");
}

static uint32_t do_set_xattr(struct kit_host *h)
{
    return txn_setxattr_as(k, h, f, "user.x", "1");
}

static uint32_t do_set_znode(struct kit_host *h)
{
    return txn_setxattr_as(k, h, f, "user.coordfs.ttl", "1");
}

static uint32_t do_remove_xattr(struct kit_host *h)
{
    Cfs__RemoveXattr op = CFS__REMOVE_XATTR__INIT;
    COMMAND(remove_xattr, REMOVE_XATTR);

    op.ino = deep;
    op.name = text("user.there");
    return kit_run_as(k, h, &c);
}

static uint32_t do_fallocate(struct kit_host *h)
{
    Cfs__Fallocate op = CFS__FALLOCATE__INIT;
    COMMAND(fallocate, FALLOCATE);

    op.ino = deep;
    op.len = 10;
    return kit_run_as(k, h, &c);
}

static uint32_t do_copy(struct kit_host *h)
{
    Cfs__Copy op = CFS__COPY__INIT;
    COMMAND(copy, COPY);

    op.src = o;
    op.dst = deep;
    op.len = 10;
    op.truncate = true;
    return kit_run_as(k, h, &c);
}

static uint32_t do_txn(struct kit_host *h)
{
    static struct txn_kit t;

    txn_begin(&t, outside);
    txn_put(&t, "o", "new");
    txn_put(&t, "../dir/sub/deep", "new");
    return txn_commit(&t, k, h);
}

static const struct {
    const char *name;
    uint32_t (*run)(struct kit_host *h);
} changes[] = {
    {"make", do_make},
    {"make sequential", do_make_sequential},
    {"link in", do_link_in},
    {"link out", do_link_out},
    {"unlink", do_unlink},
    {"rmdir", do_rmdir},
    {"rename in", do_rename_in},
    {"rename out", do_rename_out},
    {"rename within", do_rename_within},
    {"chmod", do_chmod},
    {"truncate", do_truncate},
    {"write", do_write},
    {"set xattr", do_set_xattr},
    {"set znode", do_set_znode},
    {"remove xattr", do_remove_xattr},
    {"fallocate", do_fallocate},
    {"copy", do_copy},
    {"txn", do_txn},
};

static void prepare(const char *name)
{
    if (strcmp(name, "rmdir") == 0)
        assert_int_equal(txn_unlink_as(k, &a, sub, "deep", false), 0);
    if (strcmp(name, "remove xattr") == 0)
        assert_int_equal(txn_setxattr_as(k, &a, deep, "user.there", "1"), 0);
}

/* Every command is refused without the lock, with a shared lock and after the lock was released.
 * With the lock, it is applied. */
static void test_all_changes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        Cfs__Attr before, after;

        if (i > 0)
            set_up(state);
        assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
        prepare(changes[i].name);
        before = kit_stat(k, dir);
        if (changes[i].run(&b) != EACCES)
            fail_msg("%s without the lock: %u", changes[i].name, k->status);
        assert_int_equal(lock_flock(k, &a, lock, 1, READ), 0);
        assert_int_equal(lock_flock(k, &b, lock, 1, READ), 0);
        if (changes[i].run(&b) != EACCES || changes[i].run(&a) != EACCES)
            fail_msg("%s with a shared lock: %u", changes[i].name, k->status);
        assert_int_equal(lock_unflock(k, &a, lock, 1), 0);
        assert_int_equal(k->n_changes, 0);
        after = kit_stat(k, dir);
        assert_memory_equal(&before, &after, sizeof after);
        assert_int_equal(lock_flock(k, &b, lock, 1, WRITE), 0);
        if (changes[i].run(&a) != EACCES)
            fail_msg("%s after the lock was lost: %u", changes[i].name, k->status);
        if (changes[i].run(&b) != 0)
            fail_msg("%s with the lock: %u", changes[i].name, k->status);
        kit_check(k);
        if (i + 1 < ARRAY_LEN(changes))
            tear_down(state);
    }
}

/* ---- Holding the lock ------------------------------------------------------------------------ */

static void test_posix_lock(void **state)
{
    (void)state;
    assert_int_equal(lock_range(k, &a, lock, 1, 0, 999, WRITE), 0);
    assert_int_equal(do_write(&a), EACCES); /* a locks only a part of the file */
    assert_int_equal(lock_range(k, &a, lock, 1, 1000, LOCK_KIT_END, WRITE), 0);
    assert_int_equal(do_write(&a), 0); /* now a locks all of it */
    assert_int_equal(lock_range(k, &a, lock, 1, 500, 500, READ), 0);
    assert_int_equal(do_write(&a), EACCES);
}

static void test_waiting_is_not_holding(void **state)
{
    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(lock_flock(k, &b, lock, 1, WRITE), EINPROGRESS);
    assert_int_equal(do_write(&b), EACCES);
    assert_int_equal(do_write(&a), 0);
    assert_int_equal(lock_close(k, &a), 0); /* b gets the lock */
    assert_int_equal(do_write(&b), 0);
}

/* The lock counts for the session, whichever handle has it. A command that was sent before the
 * session expired and arrives later is refused. */
static void test_expired_holder(void **state)
{
    Cfs__Write op = CFS__WRITE__INIT;
    COMMAND(write, WRITE);
    struct stamp stamp;

    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(lock_expire(k, &b, a.session, k->term), 0);
    op.ino = deep;
    op.truncate = true;
    stamp = (struct stamp){a.session, a.seq + 1, a.seq, 5};
    kit_stamped(k, &stamp, &c);
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    a = kit_host(k, 11, 2, 0);
    assert_int_equal(do_write(&a), EACCES);
}

/* ---- Below the directory --------------------------------------------------------------------- */

static void test_not_below(void **state)
{
    Cfs__SetAttr op = CFS__SET_ATTR__INIT;
    COMMAND(set_attr, SET_ATTR);

    (void)state;
    op.ino = dir;
    op.set_mode = true;
    op.mode = 0700;
    assert_int_equal(kit_run_as(k, &b, &c), 0); /* the directory itself */
    assert_int_equal(txn_write_as(k, &b, o, "x"), 0);
    assert_int_equal(txn_write_as(k, &b, lock, "x"), 0);
    assert_int_equal(rename_as(&b, ROOT, "dir", outside), 0);
    assert_int_equal(do_write(&b), EACCES); /* the guard moves with the directory */
    assert_int_equal(kit_removexattr(k, dir, GUARD), 0);
    assert_int_equal(do_write(&b), 0);
}

/* A guard protects a file under each of its names. */
static void test_hard_links(void **state)
{
    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(do_link_in(&a), 0); /* o is sub/linked too */
    assert_int_equal(txn_write_as(k, &b, o, "x"), EACCES);
    assert_int_equal(txn_unlink_as(k, &b, outside, "o", false), 0); /* this name is outside the
                                                                     * directory */
    assert_int_equal(txn_write_as(k, &b, o, "x"), EACCES);
    assert_int_equal(txn_write_as(k, &a, o, "x"), 0);
    assert_int_equal(txn_unlink_as(k, &a, sub, "linked", false), 0);
    assert_int_equal(txn_write_as(k, &b, o, "x"), 0); /* no name of it is below a guard any more */
}

/* If guards are nested, the session needs all locks. */
static void test_nested(void **state)
{
    uint64_t second = kit_file(k, ROOT, "second");

    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(txn_setxattr_as(k, &b, sub, GUARD, "/second"), EACCES); /* sub is below dir */
    assert_int_equal(txn_setxattr_as(k, &a, sub, GUARD, "/second"), 0);
    assert_int_equal(do_write(&a), EACCES);
    assert_int_equal(do_set_xattr(&a), 0); /* f is not below sub */
    assert_int_equal(lock_flock(k, &b, second, 1, WRITE), 0);
    assert_int_equal(do_write(&b), EACCES);
    assert_int_equal(lock_unflock(k, &b, second, 1), 0);
    assert_int_equal(lock_flock(k, &a, second, 2, WRITE), 0);
    assert_int_equal(do_write(&a), 0);
}

static void test_root(void **state)
{
    (void)state;
    assert_int_equal(kit_removexattr(k, dir, GUARD), 0);
    assert_int_equal(txn_setxattr_as(k, &a, ROOT, GUARD, "lock"), 0);
    assert_int_equal(txn_make_as(k, &b, ROOT, "x", S_IFREG, 0, false), EACCES);
    assert_int_equal(txn_write_as(k, &b, o, "x"), EACCES);
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(txn_write_as(k, &a, o, "x"), 0);
    assert_int_equal(kit_removexattr(k, ROOT, GUARD), 0); /* from another session */
}

/* If the lock file is gone, nobody can hold the lock. The guard can be removed. */
static void test_lock_file_gone(void **state)
{
    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(kit_unlink(k, ROOT, "lock"), 0);
    assert_int_equal(do_write(&a), 0); /* a still holds the lock */
    kit_file(k, ROOT, "lock");         /* another one */
    assert_int_equal(lock_flock(k, &b, k->attr.ino, 1, WRITE), 0);
    assert_int_equal(do_write(&b), EACCES);
    assert_int_equal(lock_release(k, &a, 1), 0);
    assert_int_equal(kit_reap(k, lock), 0);
    assert_int_equal(do_write(&a), EACCES);
    kit_close(k);
    kit_open(k);
    assert_int_equal(do_write(&b), EACCES);
    assert_int_equal(txn_setxattr_as(k, &b, dir, GUARD, "/lock"), 0);
    assert_int_equal(do_write(&b), 0);
}

/* Changes that the state machine makes by itself need no lock. */
static void test_expiries(void **state)
{
    uint64_t e;

    (void)state;
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(
        txn_make_as(k, &a, dir, "e", S_IFREG, CFS__EPHEMERAL__EPHEMERAL_SESSION, false), 0);
    assert_int_equal(txn_make_as(k, &a, dir, "t", S_IFREG, 0, false), 0);
    e = k->attr.ino;
    assert_int_equal(txn_setxattr_as(k, &a, e, "user.coordfs.ttl", "1"), 0);
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(kit_find(k, dir, "e"), 0);
    assert_int_equal(txn_expire(k, &b, e, 0, 0), 0); /* it begins the cluster's time */
    assert_int_equal(txn_expire(k, &b, e, 0, 1000), 0);
    assert_int_equal(kit_find(k, dir, "t"), 0);
}

/* A tree deeper than LIMIT_GUARD_DEPTH: the change is refused. */
static void test_depth(void **state)
{
    uint64_t at = dir;

    (void)state;
    assert_int_equal(kit_removexattr(k, dir, GUARD), 0);
    for (int i = 2; i < LIMIT_GUARD_DEPTH; i++) {
        assert_int_equal(
            txn_make_as(k, &a, at, "d", S_IFDIR | 0755, CFS__EPHEMERAL__EPHEMERAL_INHERIT, false),
            0);
        at = k->attr.ino;
    }
    assert_int_equal(txn_setxattr_as(k, &a, dir, GUARD, "/lock"), 0);
    assert_int_equal(lock_flock(k, &a, lock, 1, WRITE), 0);
    assert_int_equal(txn_make_as(k, &a, at, "d", S_IFDIR | 0755, 0, false), 0);
    assert_int_equal(txn_make_as(k, &a, k->attr.ino, "d", S_IFDIR | 0755, 0, false), EACCES);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_all_changes),    T(test_posix_lock), T(test_waiting_is_not_holding),
        T(test_expired_holder), T(test_not_below),  T(test_hard_links),
        T(test_nested),         T(test_root),       T(test_lock_file_gone),
        T(test_expiries),       T(test_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
