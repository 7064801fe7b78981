/* SPDX-License-Identifier: Apache-2.0 */
/* store/rights.c: setting an attribute user.coordfs.* requires the right to do the same by hand.
 * Each case is tried as a command and as a step of a transaction. */
#include "tests/lib/lock_kit.h"
#include "tests/lib/txn_kit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROOT  1
#define OWNER 1000
#define OTHER 2000

static struct kit kit;
static struct kit *const k = &kit;
static struct kit_host host;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    host = kit_host(k, 11, 1, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

/* Makes an entry that belongs to OWNER. */
static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
    Cfs__Make op = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    op.parent = parent;
    op.name = kit_bytes(name, strlen(name));
    op.mode = mode;
    op.uid = op.gid = OWNER;
    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &op;
    assert_int_equal(kit_run_as(k, &host, &c), 0);
    return k->attr.ino;
}

static uint32_t set_alone(uint32_t uid, uint64_t ino, const char *name, const char *value)
{
    Cfs__SetXattr op = CFS__SET_XATTR__INIT;
    Cfs__Cred cred = CFS__CRED__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    cred.uid = cred.gid = uid;
    op.ino = ino;
    op.name = kit_bytes(name, strlen(name));
    op.value = kit_bytes(value, strlen(value));
    op.cred = &cred;
    c.op_case = CFS__COMMAND__OP_SET_XATTR;
    c.set_xattr = &op;
    return kit_run_as(k, &host, &c);
}

static uint32_t remove_alone(uint32_t uid, uint64_t ino, const char *name)
{
    Cfs__RemoveXattr op = CFS__REMOVE_XATTR__INIT;
    Cfs__Cred cred = CFS__CRED__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    cred.uid = cred.gid = uid;
    op.ino = ino;
    op.name = kit_bytes(name, strlen(name));
    op.cred = &cred;
    c.op_case = CFS__COMMAND__OP_REMOVE_XATTR;
    c.remove_xattr = &op;
    return kit_run_as(k, &host, &c);
}

static uint32_t set_in_txn(uint32_t uid, const char *path, const char *name, const char *value)
{
    struct txn_kit t;

    txn_begin(&t, ROOT);
    txn_as(&t, uid, uid, uid);
    txn_set_xattr(&t, path, name, value);
    return txn_commit(&t, k, &host);
}

/* The command and the step must have the same result. */
static void expect(uint32_t wanted, uint32_t uid, uint64_t ino, const char *path, const char *name,
                   const char *value)
{
    char full[100];

    snprintf(full, sizeof full, "user.coordfs.%s", name);
    assert_int_equal(set_alone(uid, ino, full, value), wanted);
    assert_int_equal(set_in_txn(uid, path, full, value), wanted);
    if (wanted == 0)
        assert_int_equal(remove_alone(0, ino, full), 0);
    else
        assert_null(txn_getxattr(k, ino, full));
}

static void test_an_end_requires_the_right_to_remove(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0755), file = make(dir, "f", S_IFREG | 0666);

    (void)state;
    expect(EACCES, OTHER, file, "dir/f", "ttl", "1");
    expect(EACCES, OTHER, file, "dir/f", "ephemeral", "open");
    expect(EACCES, OTHER, file, "dir/f", "ephemeral", "session");
    expect(0, OWNER, file, "dir/f", "ttl", "1");
    expect(0, OWNER, file, "dir/f", "ephemeral", "open");
    expect(0, 0, file, "dir/f", "ttl", "1");
}

static void test_writing_the_directory_permits_an_end(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0777), file = make(dir, "f", S_IFREG | 0666);

    (void)state;
    expect(0, OTHER, file, "dir/f", "ttl", "1");
    expect(0, OTHER, file, "dir/f", "ephemeral", "session");
}

static void test_a_sticky_directory_protects_its_files(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 01777), file = make(dir, "f", S_IFREG | 0666);

    (void)state;
    expect(EPERM, OTHER, file, "dir/f", "ttl", "1");
    expect(0, OWNER, file, "dir/f", "ttl", "1");
}

static void test_ends_of_directories(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0755), sub = make(dir, "sub", S_IFDIR | 0777);

    (void)state;
    expect(EACCES, OTHER, sub, "dir/sub", "container", "1");
    expect(EACCES, OTHER, sub, "dir/sub", "ttl", "1");
    expect(0, OTHER, sub, "dir/sub", "ephemeral", "session"); /* a default for new entries in it */
    expect(0, OWNER, sub, "dir/sub", "container", "1");
}

static void test_an_end_can_be_cancelled(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0755), file = make(dir, "f", S_IFREG | 0666);

    (void)state;
    assert_int_equal(set_alone(OWNER, file, "user.coordfs.ttl", "1"), 0);
    assert_int_equal(remove_alone(OTHER, file, "user.coordfs.ttl"), 0);
}

static void test_only_the_owner_sets_a_guard(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0777);

    (void)state;
    make(ROOT, "lock", S_IFREG | 0666);
    expect(EPERM, OTHER, dir, "dir", "guard", "/lock");
    assert_int_equal(set_alone(OWNER, dir, "user.coordfs.guard", "/lock"), 0);
    assert_int_equal(remove_alone(OTHER, dir, "user.coordfs.guard"), EPERM);
    assert_int_equal(remove_alone(OWNER, dir, "user.coordfs.guard"), 0);
}

static void test_quotas(void **state)
{
    static const char bytes[] = "user.coordfs.quota.bytes";
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0777);

    (void)state;
    expect(EPERM, OTHER, dir, "dir", "quota.bytes", "1");
    assert_int_equal(set_alone(OWNER, dir, bytes, "100"), 0);
    assert_int_equal(set_alone(OWNER, dir, bytes, "50"), 0);     /* the owner may lower it */
    assert_int_equal(set_alone(OWNER, dir, bytes, "60"), EPERM); /* only root raises it */
    assert_int_equal(set_in_txn(OWNER, "dir", bytes, "1M"), EPERM);
    assert_int_equal(remove_alone(OWNER, dir, bytes), EPERM);
    assert_int_equal(remove_alone(OTHER, dir, bytes), EPERM);
    assert_string_equal(txn_getxattr(k, dir, bytes), "50");
    assert_int_equal(set_alone(0, dir, bytes, "1000"), 0);
    assert_int_equal(remove_alone(0, dir, bytes), 0);
    assert_int_equal(remove_alone(OWNER, dir, bytes), ENODATA);
}

static void test_ordinary_attributes_are_not_checked(void **state)
{
    uint64_t dir = make(ROOT, "dir", S_IFDIR | 0755), file = make(dir, "f", S_IFREG | 0666);

    (void)state;
    assert_int_equal(set_alone(OTHER, file, "user.note", "x"), 0);
    assert_int_equal(remove_alone(OTHER, file, "user.note"), 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_an_end_requires_the_right_to_remove),
        T(test_writing_the_directory_permits_an_end),
        T(test_a_sticky_directory_protects_its_files),
        T(test_ends_of_directories),
        T(test_an_end_can_be_cancelled),
        T(test_only_the_owner_sets_a_guard),
        T(test_quotas),
        T(test_ordinary_attributes_are_not_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
