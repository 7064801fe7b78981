/* SPDX-License-Identifier: Apache-2.0 */
/* store/special.c, store/znode.c, store/expire.c: entries with a limited life, containers,
 * sequential names, and the xattrs that show and set them. */
#include "tests/lib/lock_kit.h"
#include "tests/lib/txn_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT   1
#define SECOND INT64_C(1000000000)

#define INHERIT CFS__EPHEMERAL__EPHEMERAL_INHERIT
#define SESSION CFS__EPHEMERAL__EPHEMERAL_SESSION
#define OPEN    CFS__EPHEMERAL__EPHEMERAL_OPEN

static struct kit kit;
static struct kit *const k = &kit;
static struct kit_host a, b;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    a = kit_host(k, 11, 1, 0);
    b = kit_host(k, 12, 1, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static uint64_t file_of(struct kit_host *h, uint64_t parent, const char *name, Cfs__Ephemeral e)
{
    assert_int_equal(txn_make_as(k, h, parent, name, S_IFREG | 0644, e, false), 0);
    return k->attr.ino;
}

static uint64_t dir_of(struct kit_host *h, uint64_t parent, const char *name, Cfs__Ephemeral e)
{
    assert_int_equal(txn_make_as(k, h, parent, name, S_IFDIR | 0755, e, false), 0);
    return k->attr.ino;
}

static void assert_xattr(uint64_t ino, const char *name, const char *wanted)
{
    char full[100];
    const char *found;

    snprintf(full, sizeof full, "user.coordfs.%s", name);
    found = txn_getxattr(k, ino, full);
    if (wanted == NULL && found == NULL)
        return;
    assert_non_null(found);
    assert_non_null(wanted);
    assert_string_equal(found, wanted);
}

static uint32_t set(struct kit_host *h, uint64_t ino, const char *name, const char *value)
{
    char full[100];

    snprintf(full, sizeof full, "user.coordfs.%s", name);
    return txn_setxattr_as(k, h, ino, full, value);
}

static void assert_change(size_t i, Cfs__Change__Kind kind, uint64_t ino, const char *name)
{
    assert_true(i < k->n_changes);
    assert_int_equal(k->changes[i].kind, kind);
    assert_int_equal(k->changes[i].ino, ino);
    assert_string_equal(k->names[i][0], name);
}

static void assert_by_itself(void)
{
    for (size_t i = 0; i < k->n_changes; i++) {
        assert_int_equal(k->changes[i].session, 0);
        assert_true(k->changes[i].unseen);
    }
}

/* ---- ephemeral --------------------------------------------------------------------------------*/

static void test_ephemeral(void **state)
{
    uint64_t f, p;

    (void)state;
    f = file_of(&a, ROOT, "f", SESSION);
    assert_false(k->changes[0].unseen); /* the kernel of a knows it */
    p = file_of(&a, ROOT, "stays", INHERIT);
    file_of(&b, ROOT, "of b", SESSION);
    assert_xattr(f, "ephemeral", "session");
    assert_xattr(f, "owner", "11");
    assert_xattr(p, "ephemeral", NULL);
    assert_xattr(p, "owner", NULL);
    assert_int_equal(lock_expire(k, &b, a.session, k->term), 0);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, f, "f");
    assert_int_equal(k->changes[0].parent, ROOT);
    assert_by_itself();
    assert_int_equal(kit_find(k, ROOT, "f"), 0);
    assert_int_equal(kit_find(k, ROOT, "stays"), p);
    assert_true(kit_find(k, ROOT, "of b") != 0);
    assert_int_equal(kit_stat(k, f).nlink, 0); /* it may be open somewhere */
    assert_int_equal(kit_reap(k, f), 0);
}

/* Entries end in the order of their inode numbers, not in the order in which they became ephemeral,
 * also after a restart. */
static void test_order_of_ends(void **state)
{
    uint64_t inos[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        inos[i] = file_of(&a, ROOT, (const char *[]){"d", "b", "c", "a"}[i], INHERIT);
    for (int i = 3; i >= 0; i--)
        assert_int_equal(set(&a, inos[i], "ephemeral", "session"), 0);
    kit_close(k);
    kit_open(k);
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(k->n_changes, 4);
    for (size_t i = 0; i < 4; i++)
        assert_change(i, CFS__CHANGE__KIND__UNLINK, inos[i],
                      (const char *[]){"d", "b", "c", "a"}[i]);
}

static void test_inherited(void **state)
{
    uint64_t top = dir_of(&a, ROOT, "top", INHERIT), sub, f, g;

    (void)state;
    assert_int_equal(set(&a, top, "ephemeral", "session"), 0);
    assert_xattr(top, "ephemeral", "session");
    assert_xattr(top, "owner", NULL); /* the directory itself is not ephemeral */
    f = file_of(&a, top, "f", INHERIT);
    sub = dir_of(&a, top, "sub", INHERIT);
    g = file_of(&a, sub, "g", INHERIT);
    assert_int_equal(txn_make_as(k, &a, top, "fifo", S_IFIFO | 0644, INHERIT, false), 0);
    assert_xattr(f, "owner", "11");
    assert_xattr(sub, "owner", "11");
    assert_xattr(g, "ephemeral", "session");
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(k->n_changes, 4);
    assert_by_itself();
    assert_int_equal(kit_find(k, ROOT, "top"), top);
    assert_int_equal(kit_stat(k, top).size, 0);
    assert_int_equal(kit_stat(k, top).nlink, 2);
}

/* A directory of session a that holds an entry of b stays until b's entry is removed. */
static void test_directory_with_others_entries(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", SESSION), sub = dir_of(&a, d, "sub", INHERIT), mine, his;

    (void)state;
    mine = file_of(&a, sub, "mine", INHERIT);
    his = file_of(&b, sub, "his", INHERIT);
    assert_xattr(his, "owner", "12"); /* it inherits the kind, not the owner */
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, mine, "mine");
    assert_xattr(sub, "owner", NULL);
    assert_xattr(sub, "container", "1");
    assert_int_equal(txn_unlink_as(k, &b, sub, "his", false), 0);
    assert_int_equal(k->n_changes, 3);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, his, "his");
    assert_change(1, CFS__CHANGE__KIND__RMDIR, sub, "sub");
    assert_change(2, CFS__CHANGE__KIND__RMDIR, d, "d");
    assert_false(k->changes[0].unseen);
    assert_true(k->changes[1].unseen && k->changes[2].unseen);
    assert_int_equal(kit_find(k, ROOT, "d"), 0);
}

static void test_ephemeral_open(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT), f, sub, link;

    (void)state;
    assert_int_equal(set(&a, d, "ephemeral", "open"), 0);
    f = file_of(&a, d, "f", INHERIT);
    sub = dir_of(&a, d, "sub", INHERIT);
    assert_xattr(f, "ephemeral", "open");
    assert_int_equal(txn_make_as(k, &a, d, "fifo", S_IFIFO | 0644, INHERIT, false), 0);
    link = k->attr.ino;
    assert_xattr(link, "ephemeral", "session"); /* the store does not know which hosts open it */
    assert_int_equal(txn_release_ephemeral(k, &b, f), 0); /* b has closed it, but it belongs to a */
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_release_ephemeral(k, &a, link), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_release_ephemeral(k, &a, 12345), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(txn_release_ephemeral(k, &a, f), 0);
    assert_int_equal(k->value, 1);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, f, "f");
    assert_by_itself();
    assert_int_equal(txn_release_ephemeral(k, &a, f), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_release_ephemeral(k, &a, sub), 0);
    assert_int_equal(k->value, 1);
    /* The end of the session removes it, too. */
    f = file_of(&a, ROOT, "g", OPEN);
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(kit_find(k, ROOT, "g"), 0);
    assert_int_equal(kit_stat(k, d).size, 0);
}

static void test_ephemeral_errors(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT), f = file_of(&a, d, "f", INHERIT);

    (void)state;
    assert_int_equal(set(&a, f, "ephemeral", "sessions"), EINVAL);
    assert_int_equal(set(&a, f, "ephemeral", ""), EINVAL);
    assert_int_equal(set(&a, f, "ephemeral", "session\n"), EINVAL);
    assert_int_equal(set(&a, d, "ephemeral", "session"), EINVAL); /* d is not empty */
    assert_int_equal(set(&a, ROOT, "ephemeral", "session"), EINVAL);
    assert_int_equal(kit_link(k, f, d, "second"), 0);
    assert_int_equal(set(&a, f, "ephemeral", "session"), EINVAL); /* f has two names */
    assert_int_equal(kit_unlink(k, d, "second"), 0);
    assert_int_equal(set(&a, f, "ephemeral", "session"), 0);
    assert_int_equal(kit_link(k, f, d, "second"), EPERM);
    assert_int_equal(set(&b, f, "ephemeral", "open"), 0); /* now it belongs to b */
    assert_xattr(f, "owner", "12");
    assert_int_equal(txn_make_as(k, &a, d, "g", S_IFREG, (Cfs__Ephemeral)3, false), EINVAL);
    assert_int_equal(kit_removexattr(k, f, "user.coordfs.ephemeral"), 0);
    assert_int_equal(kit_removexattr(k, f, "user.coordfs.ephemeral"), ENODATA);
    assert_xattr(f, "owner", NULL);
    assert_int_equal(kit_link(k, f, d, "second"), 0);
    assert_int_equal(kit_unlink(k, d, "second"), 0);
    assert_int_equal(kit_unlink(k, d, "f"), 0);
    assert_int_equal(set(&a, f, "ephemeral", "session"), EINVAL); /* f has no name */
    assert_int_equal(lock_close(k, &b), 0);
}

static void test_ephemeral_limit(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < LIMIT_EPHEMERALS; i++) {
        snprintf(name, sizeof name, "%d", i);
        file_of(&a, ROOT, name, SESSION);
    }
    assert_int_equal(txn_make_as(k, &a, ROOT, "x", S_IFREG, SESSION, false), EDQUOT);
    file_of(&a, ROOT, "y", INHERIT);
    assert_int_equal(set(&a, k->attr.ino, "ephemeral", "session"), EDQUOT);
    file_of(&b, ROOT, "z", SESSION);
    assert_int_equal(txn_unlink_as(k, &b, ROOT, "0", false), 0);
    file_of(&a, ROOT, "x", SESSION);
}

/* Ephemeral entries that are renamed or replaced. */
static void test_ephemeral_rename(void **state)
{
    uint64_t f = file_of(&a, ROOT, "f", SESSION), g = file_of(&a, ROOT, "g", INHERIT);

    (void)state;
    assert_int_equal(kit_rename(k, ROOT, "f", ROOT, "h", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(kit_rename(k, ROOT, "g", ROOT, "h", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(kit_stat(k, f).nlink, 0);
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(k->n_changes, 0); /* g has replaced it and is not ephemeral */
    assert_int_equal(kit_find(k, ROOT, "h"), g);
}

/* ---- ttl --------------------------------------------------------------------------------------*/

struct due {
    uint64_t ino[8];
    uint64_t version[8];
    size_t n;
};

static void add_due(void *arg, uint64_t ino, uint64_t version)
{
    struct due *d = arg;

    d->ino[d->n] = ino;
    d->version[d->n++] = version;
}

/* What is due when elapsed_ms have passed since the last ExpireEntries. */
static struct due due_in(uint64_t elapsed_ms)
{
    struct due d = {.n = 0};

    store_due(k->store, elapsed_ms, 8, add_due, &d);
    return d;
}

/* The leader measured so much, and finds nothing due. */
static void pass(uint64_t elapsed_ms)
{
    assert_int_equal(txn_expire(k, &b, 12345, 0, elapsed_ms), 0);
    assert_int_equal(k->value, 0);
}

static void test_ttl(void **state)
{
    uint64_t f = file_of(&a, ROOT, "f", INHERIT);
    struct due due;
    int64_t set_at;
    char text[32];

    (void)state;
    assert_int_equal(store_clock(k->store), 0);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_NONE);
    assert_int_equal(set(&a, f, "ttl", "60"), 0);
    set_at = k->now;
    assert_xattr(f, "ttl", "60");
    snprintf(text, sizeof text, "%lld", (long long)((set_at + 60 * SECOND) / SECOND + 1));
    assert_xattr(f, "expires", text);
    /* It has no deadline before the leader has measured a time that begins after it. */
    assert_int_equal(store_ttls(k->store), STORE_TTLS_BEGUN);
    assert_int_equal(due_in(UINT64_MAX).n, 0);
    pass(1000000);
    assert_true(store_clock(k->store) > 0);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_RUNNING);
    assert_int_equal(due_in(59999).n, 0);
    due = due_in(60000);
    assert_int_equal(due.n, 1);
    assert_int_equal(due.ino[0], f);
    assert_int_equal(due.version[0], 0);
    /* Another version; another inode; too early. Each leaves time. */
    assert_int_equal(txn_expire(k, &b, f, 1, 20000), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_expire(k, &b, f + 1, 0, 20000), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_expire(k, &b, f, 0, 19999), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(due_in(0).n, 0);
    assert_int_equal(due_in(1).n, 1);
    /* A change of the data restarts the ttl; a change of attributes does not. */
    assert_int_equal(txn_write_as(k, &a, f, "x"), 0);
    assert_int_equal(due_in(UINT64_MAX).n, 0);
    pass(30000); /* time before the change and after it: nobody knows how much */
    assert_int_equal(kit_chmod(k, f, 0600), 0);
    assert_int_equal(due_in(59999).n, 0);
    due = due_in(60000);
    assert_int_equal(due.n, 1);
    assert_int_equal(due.version[0], 1);
    assert_int_equal(txn_expire(k, &b, f, 0, 60000), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_expire(k, &b, f, 1, 0), 0);
    assert_int_equal(k->value, 1);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__UNLINK, f, "f");
    assert_by_itself();
    assert_int_equal(due_in(UINT64_MAX).n, 0);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_NONE);
}

/* Wall clocks may show any time, in any order; a command of a deposed leader counts nothing. */
static void test_ttl_clocks(void **state)
{
    uint64_t f = file_of(&a, ROOT, "f", INHERIT);
    Cfs__ExpireEntries op = CFS__EXPIRE_ENTRIES__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    int64_t clock;

    (void)state;
    assert_int_equal(set(&a, f, "ttl", "3600"), 0);
    k->now += 86400 * SECOND;
    pass(0);
    clock = store_clock(k->store);
    k->now += 86400 * SECOND;
    assert_int_equal(txn_expire(k, &b, f, 0, 3599999), 0);
    assert_int_equal(k->value, 0);
    assert_true(store_clock(k->store) == clock + INT64_C(3599999000000));
    command.op_case = CFS__COMMAND__OP_EXPIRE_ENTRIES;
    command.expire_entries = &op;
    op.elapsed_ms = 1000;
    op.clock = (uint64_t)store_clock(k->store);
    op.term = k->term + 1;
    assert_int_equal(kit_run_as(k, &b, &command), ESTALE);
    op.term = k->term;
    op.clock--; /* measured from another time: it would count twice */
    assert_int_equal(kit_run_as(k, &b, &command), ESTALE);
    assert_true(store_clock(k->store) == clock + INT64_C(3599999000000));
    kit_close(k); /* it is on the disk */
    kit_open(k);
    assert_true(store_clock(k->store) == clock + INT64_C(3599999000000));
    assert_int_equal(due_in(0).n, 0);
    k->now = 1; /* 1970 */
    assert_int_equal(txn_expire(k, &b, f, 0, 1), 0);
    assert_int_equal(k->value, 1);
    /* No overflow. */
    op.term = k->term;
    op.elapsed_ms = UINT64_MAX;
    op.clock = (uint64_t)store_clock(k->store);
    assert_int_equal(kit_run_as(k, &b, &command), 0);
    assert_true(store_clock(k->store) == INT64_MAX);
}

/* More ttls than one command gives deadlines to: the next one goes on. */
static void test_ttls_many(void **state)
{
    uint64_t f;
    char name[16];

    (void)state;
    pass(0);
    for (unsigned i = 0; i <= LIMIT_EXPIRE_MAX; i++) {
        snprintf(name, sizeof name, "f%u", i);
        f = file_of(&a, ROOT, name, INHERIT);
        assert_int_equal(set(&a, f, "ttl", "1"), 0);
    }
    pass(1000);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_BEGUN); /* f waits */
    assert_int_equal(due_in(999).n, 0);
    pass(1);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_RUNNING);
    assert_int_equal(txn_expire(k, &b, f, 0, 999), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_expire(k, &b, f, 0, 1), 0);
    assert_int_equal(k->value, 1);
}

/* The ttl of a directory runs from the moment when it became empty. */
static void test_ttl_of_directory(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT);
    struct due due;

    (void)state;
    assert_int_equal(set(&a, d, "ttl", "10"), 0);
    pass(0);
    assert_int_equal(due_in(10000).n, 1);
    file_of(&a, d, "f", INHERIT);
    assert_int_equal(store_ttls(k->store), STORE_TTLS_NONE);
    assert_int_equal(due_in(UINT64_MAX).n, 0);
    assert_xattr(d, "expires", NULL);
    assert_int_equal(txn_expire(k, &b, d, 1, 100000), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(txn_unlink_as(k, &a, d, "f", false), 0);
    pass(100000);
    assert_int_equal(due_in(9999).n, 0);
    due = due_in(10000);
    assert_int_equal(due.n, 1);
    assert_int_equal(due.version[0], kit_stat(k, d).cversion);
    assert_int_equal(txn_expire(k, &b, d, 2, 10000), 0);
    assert_int_equal(k->value, 1);
    assert_change(0, CFS__CHANGE__KIND__RMDIR, d, "d");
    /* A ttl set on a directory that is not empty runs from when it becomes empty. */
    d = dir_of(&a, ROOT, "d", INHERIT);
    file_of(&a, d, "f", INHERIT);
    assert_int_equal(set(&a, d, "ttl", "10"), 0);
    pass(10000);
    assert_int_equal(due_in(UINT64_MAX).n, 0);
    assert_int_equal(txn_unlink_as(k, &a, d, "f", false), 0);
    pass(10000);
    assert_int_equal(due_in(10000).n, 1);
    assert_int_equal(kit_removexattr(k, d, "user.coordfs.ttl"), 0);
    assert_int_equal(due_in(UINT64_MAX).n, 0);
}

static void test_ttl_errors(void **state)
{
    static const char *const nonsense[] = {
        "", "0", "-1", "1.5", " 1", "1 ", "x", "0x10", "1s", "315360001", "99999999999999999999"};
    uint64_t f = file_of(&a, ROOT, "f", INHERIT);
    Cfs__ExpireEntries op = CFS__EXPIRE_ENTRIES__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__ExpiringEntry entry = CFS__EXPIRING_ENTRY__INIT;
    Cfs__ExpiringEntry *entries[LIMIT_EXPIRE_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
        assert_int_equal(set(&a, f, "ttl", nonsense[i]), EINVAL);
    assert_int_equal(set(&a, ROOT, "ttl", "5"), EINVAL);
    assert_int_equal(set(&a, f, "ttl", "315360000"), 0);
    assert_int_equal(kit_link(k, f, ROOT, "second"), EPERM);
    /* The clock may show any time: no overflow. */
    k->now = INT64_MAX - 5000;
    assert_int_equal(set(&a, f, "ttl", "1"), 0);
    k->now = 1000000;
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        entries[i] = &entry;
    entry.ino = f;
    command.op_case = CFS__COMMAND__OP_EXPIRE_ENTRIES;
    command.expire_entries = &op;
    op.entries = entries;
    op.n_entries = ARRAY_LEN(entries);
    assert_int_equal(kit_run_as(k, &a, &command), E2BIG);
    op.n_entries--;
    assert_int_equal(kit_run_as(k, &a, &command), ESTALE); /* of no term */
    op.term = k->term;
    assert_int_equal(kit_run_as(k, &a, &command), 0);
    assert_int_equal(k->value, 0);
}

/* ---- container --------------------------------------------------------------------------------*/

static void test_container(void **state)
{
    uint64_t c = dir_of(&a, ROOT, "c", INHERIT), inner, f, other = dir_of(&a, ROOT, "o", INHERIT);

    (void)state;
    assert_int_equal(set(&a, c, "container", "1"), 0);
    assert_int_equal(kit_find(k, ROOT, "c"), c); /* it had no child yet, so it stays */
    inner = dir_of(&a, c, "inner", INHERIT);
    assert_int_equal(set(&a, inner, "container", "1"), 0);
    f = file_of(&a, inner, "f", INHERIT);
    file_of(&a, inner, "g", INHERIT);
    assert_int_equal(txn_unlink_as(k, &a, inner, "g", false), 0);
    assert_int_equal(k->n_changes, 1);
    /* Moving the last entry away removes the container, and its container. */
    assert_int_equal(kit_rename(k, inner, "f", other, "f", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(k->n_changes, 3);
    assert_change(0, CFS__CHANGE__KIND__RENAME, f, "f");
    assert_change(1, CFS__CHANGE__KIND__RMDIR, inner, "inner");
    assert_change(2, CFS__CHANGE__KIND__RMDIR, c, "c");
    assert_int_equal(kit_find(k, ROOT, "c"), 0);
    /* Renaming within the directory, and replacing, leaves the number of entries unchanged. */
    c = dir_of(&a, ROOT, "c", INHERIT);
    assert_int_equal(set(&a, c, "container", "1"), 0);
    file_of(&a, c, "f", INHERIT);
    assert_int_equal(kit_rename(k, c, "f", c, "g", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(kit_rename(k, other, "f", c, "g", CFS__RENAME__MODE__REPLACE), 0);
    assert_int_equal(kit_find(k, ROOT, "c"), c);
    dir_of(&a, c, "sub", INHERIT);
    assert_int_equal(txn_unlink_as(k, &a, c, "g", false), 0);
    assert_int_equal(txn_unlink_as(k, &a, c, "sub", true), 0);
    assert_int_equal(kit_find(k, ROOT, "c"), 0);
}

static void test_container_errors(void **state)
{
    uint64_t f = file_of(&a, ROOT, "f", INHERIT), d = dir_of(&a, ROOT, "d", INHERIT);

    (void)state;
    assert_int_equal(set(&a, f, "container", "1"), EINVAL);
    assert_int_equal(set(&a, d, "container", "yes"), EINVAL);
    assert_int_equal(set(&a, d, "container", "11"), EINVAL);
    assert_int_equal(set(&a, ROOT, "container", "1"), EINVAL);
    assert_int_equal(set(&a, d, "container", "1"), 0);
    assert_int_equal(kit_removexattr(k, d, "user.coordfs.container"), 0);
    file_of(&a, d, "f", INHERIT);
    assert_int_equal(txn_unlink_as(k, &a, d, "f", false), 0);
    assert_int_equal(kit_find(k, ROOT, "d"), d);
}

/* Nested containers: one entry removes a bounded number of them. */
static void test_deep_containers(void **state)
{
    uint64_t dir = ROOT;

    (void)state;
    for (int i = 0; i < 40; i++) {
        dir = dir_of(&a, dir, "c", INHERIT);
        assert_int_equal(set(&a, dir, "container", "1"), 0);
    }
    file_of(&a, dir, "f", INHERIT);
    assert_int_equal(txn_unlink_as(k, &a, dir, "f", false), 0);
    assert_int_equal(k->n_changes, 41);
    assert_int_equal(kit_find(k, ROOT, "c"), 0);
}

/* ---- sequential -------------------------------------------------------------------------------*/

static void make_sequential(uint64_t dir, const char *prefix, const char *wanted)
{
    assert_int_equal(txn_make_as(k, &a, dir, prefix, S_IFREG | 0600, INHERIT, true), 0);
    assert_string_equal(k->name, wanted);
    assert_int_equal(kit_find(k, dir, wanted), k->attr.ino);
    assert_int_equal(k->n_changes, 1);
    assert_string_equal(k->names[0][0], wanted);
}

static void test_sequential(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT);

    (void)state;
    make_sequential(d, "p-", "p-0000000000");
    make_sequential(d, "p-", "p-0000000001");
    make_sequential(d, "", "0000000002"); /* one counter for the directory */
    assert_xattr(d, "sequence", "3");
    assert_int_equal(txn_unlink_as(k, &a, d, "p-0000000001", false), 0);
    kit_close(k);
    kit_open(k);
    make_sequential(d, "p-", "p-0000000003"); /* a number is never reused */
    file_of(&a, d, "p-0000000004", INHERIT);
    make_sequential(d, "p-", "p-0000000005"); /* 4 is taken by another entry */
    assert_int_equal(txn_make_as(k, &b, d, "lock-", S_IFDIR | 0700, SESSION, true), 0);
    assert_string_equal(k->name, "lock-0000000006");
    assert_xattr(k->attr.ino, "owner", "12");
    assert_int_equal(txn_make_as(k, &b, ROOT, "r", S_IFREG | 0700, INHERIT, true), 0);
    assert_string_equal(k->name, "r0000000000");
}

static void test_sequential_errors(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT);
    char name[300];

    (void)state;
    memset(name, 'n', sizeof name);
    name[246] = '\0';
    assert_int_equal(txn_make_as(k, &a, d, name, S_IFREG, INHERIT, true), ENAMETOOLONG);
    name[245] = '\0';
    assert_int_equal(txn_make_as(k, &a, d, name, S_IFREG, INHERIT, true), 0);
    assert_int_equal(strlen(k->name), 255);
    memset(name, 'n', sizeof name);
    name[299] = '\0';
    assert_int_equal(txn_make_as(k, &a, d, name, S_IFREG, INHERIT, true), ENAMETOOLONG);
    assert_int_equal(txn_make_as(k, &a, d, "a/b", S_IFREG, INHERIT, true), EINVAL);
    assert_int_equal(txn_make_as(k, &a, 999, "a", S_IFREG, INHERIT, true), ENOENT);
    assert_xattr(d, "sequence", "1"); /* failed commands used no number */
    for (int i = 1; i <= LIMIT_SEQUENCE_TRY; i++) {
        snprintf(name, sizeof name, "x%010d", i);
        file_of(&a, d, name, INHERIT);
    }
    assert_int_equal(txn_make_as(k, &a, d, "x", S_IFREG, INHERIT, true), EEXIST);
    make_sequential(d, "y", "y0000000001");
}

/* ---- The xattrs -------------------------------------------------------------------------------*/

static void test_names(void **state)
{
    static const char *const read_only[] = {
        "version",           "cversion", "aversion", "created",  "modified",
        "children_modified", "fence",    "owner",    "sequence", "expires"};
    uint64_t f = file_of(&a, ROOT, "f", INHERIT);
    Cfs__Attr before = kit_stat(k, f);
    char full[100];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(read_only); i++) {
        snprintf(full, sizeof full, "user.coordfs.%s", read_only[i]);
        assert_int_equal(set(&a, f, read_only[i], "1"), EPERM);
        assert_int_equal(kit_removexattr(k, f, full), EPERM);
    }
    assert_int_equal(set(&a, f, "tttl", "1"), EINVAL);
    assert_int_equal(set(&a, f, "", "1"), EINVAL);
    assert_int_equal(kit_removexattr(k, f, "user.coordfs.tttl"), ENODATA);
    assert_int_equal(kit_removexattr(k, f, "user.coordfs.ttl"), ENODATA);
    assert_int_equal(kit_setxattr(k, f, "user.coordfs.ttl", "5", 1, CFS__SET_XATTR__MODE__REPLACE),
                     ENODATA);
    assert_int_equal(kit_stat(k, f).aversion, before.aversion);
    assert_int_equal(kit_setxattr(k, f, "user.coordfs.ttl", "5", 1, CFS__SET_XATTR__MODE__CREATE),
                     0);
    assert_int_equal(k->n_changes, 1);
    assert_change(0, CFS__CHANGE__KIND__XATTR, f, "");
    assert_int_equal(kit_stat(k, f).aversion, before.aversion + 1);
    assert_int_equal(kit_setxattr(k, f, "user.coordfs.ttl", "6", 1, CFS__SET_XATTR__MODE__CREATE),
                     EEXIST);
    assert_int_equal(kit_setxattr(k, f, "user.coordfs.ttl", "7", 1, CFS__SET_XATTR__MODE__REPLACE),
                     0);
    assert_xattr(f, "ttl", "7");
    assert_int_equal(txn_setxattr_as(k, &a, 12345, "user.coordfs.ttl", "1"), ESTALE);
    assert_int_equal(txn_setxattr_as(k, &a, f, "user.coordfsx", "1"), 0); /* an ordinary one */
    assert_int_equal(kit_stat(k, f).aversion, before.aversion + 3);
}

static void test_listed(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT), f;
    char names[300];
    int64_t len;

    (void)state;
    assert_int_equal(txn_setxattr_as(k, &a, d, "user.mine", "1"), 0);
    assert_int_equal(set(&a, d, "ephemeral", "session"), 0);
    assert_int_equal(set(&a, d, "container", "1"), 0);
    len = reader_listxattr(k->reader, d, names, sizeof names);
    assert_int_equal(len, sizeof "user.coordfs.ephemeral\0user.coordfs.container\0user.mine");
    assert_memory_equal(names, "user.coordfs.ephemeral\0user.coordfs.container\0user.mine",
                        (size_t)len);
    assert_int_equal(reader_listxattr(k->reader, d, names, 0), len);
    assert_int_equal(reader_listxattr(k->reader, d, names, (size_t)len - 1), -ERANGE);
    assert_int_equal(txn_make_as(k, &a, d, "f", S_IFREG, INHERIT, true), 0);
    f = k->attr.ino;
    len = reader_listxattr(k->reader, f, names, sizeof names); /* without the name of owner */
    assert_int_equal(len, sizeof "user.coordfs.ephemeral");
    assert_int_equal(reader_getxattr(k->reader, f, "user.coordfs.ephemeral", 22, names, 6),
                     -ERANGE);
    assert_int_equal(reader_getxattr(k->reader, f, "user.coordfs.ephemeral", 22, NULL, 0), 7);
    assert_int_equal(reader_getxattr(k->reader, 999, "user.coordfs.ttl", 16, names, 9), -ESTALE);
}

static void test_guard_xattr(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT), l = file_of(&a, d, "lock", INHERIT);

    (void)state;
    assert_int_equal(set(&a, d, "guard", "/d/lock"), 0);
    assert_xattr(d, "guard", "/d/lock");
    assert_int_equal(set(&a, d, "guard", "lock"), 0);
    assert_int_equal(set(&a, d, "guard", "./../d//lock"), 0);
    assert_int_equal(set(&a, l, "guard", "/d/lock"), EACCES); /* the guard is in effect */
    assert_int_equal(set(&a, file_of(&a, ROOT, "f", INHERIT), "guard", "/d/lock"), EINVAL);
    assert_int_equal(set(&a, d, "guard", ""), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/"), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/d"), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/d/"), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/d/lock/"), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/d/lock/x"), EINVAL);
    assert_int_equal(set(&a, d, "guard", "/d/none"), EINVAL);
    assert_xattr(d, "guard", "/d/lock");
    assert_int_equal(kit_symlink(k, ROOT, "s", "d/lock"), 0);
    assert_int_equal(set(&a, d, "guard", "/s"), EINVAL);
    assert_int_equal(lock_flock(k, &a, l, 1, WRITE), 0);
    assert_int_equal(txn_unlink_as(k, &a, d, "lock", false), 0);
    assert_xattr(d, "guard", "(deleted)");
    assert_int_equal(kit_removexattr(k, d, "user.coordfs.guard"), 0);
    assert_xattr(d, "guard", NULL);
}

/* ---- Violations are found -------------------------------------------------------------------- */

static void assert_violation(const char *sql, const char *undo, const char *invariant)
{
    char why[300] = "";
    char *path = xasprintf("%s/coordfs.db", k->dir);

    kit_sql(k->dir, sql);
    assert_false(store_check_file(path, why, sizeof why));
    if (strncmp(why, invariant, strlen(invariant)) != 0)
        fail_msg("%s, not %s: %s", why, invariant, sql);
    kit_sql(k->dir, undo);
    if (!store_check_file(path, why, sizeof why))
        fail_msg("%s", why);
    free(path);
}

static void test_checks(void **state)
{
    uint64_t d = dir_of(&a, ROOT, "d", INHERIT), f; /* inodes 2 … */

    (void)state;
    assert_int_equal(set(&a, d, "container", "1"), 0);
    f = file_of(&a, d, "f", SESSION);
    assert_int_equal(set(&a, f, "ttl", "60"), 0);
    assert_int_equal(d, 2);
    assert_int_equal(f, 3);
    kit_close(k);
#define SET(what, ino) "UPDATE special SET " what " WHERE ino = " #ino
    assert_violation(SET("ttl = 61", 3), SET("ttl = 60", 3), "S20");
    assert_violation(SET("sequence = 1", 2), SET("sequence = 0", 2), "S20");
    assert_violation(SET("ttl = -1", 3), SET("ttl = 60", 3), "S43");
    assert_violation(SET("ephemeral = 3", 3), SET("ephemeral = 1", 3), "S43");
    assert_violation(SET("ephemeral = 0", 3), SET("ephemeral = 1", 3), "S43");
    assert_violation(SET("container = 0", 2), SET("container = 1", 2), "S43");
    assert_violation(SET("container = 2", 2), SET("container = 1", 2), "S43");
    assert_violation(SET("container = 1", 3), SET("container = 0", 3), "S43");
    assert_violation(SET("guard = 99", 2), SET("guard = 0", 2), "S43");
    assert_violation(SET("deadline = 7", 2), SET("deadline = 0", 2), "S43");
    assert_violation(SET("ttl = 7, deadline = 7", 2), SET("ttl = 0, deadline = 0", 2), "S43");
    assert_violation("INSERT INTO setting VALUES('clock', 0)",
                     "DELETE FROM setting WHERE name = 'clock'", "S61");
    assert_violation(SET("sequence = 7", 3), SET("sequence = 0", 3), "S43");
    assert_violation(SET("ino = 77", 3), SET("ino = 3", 77), "S43");
    assert_violation(SET("session = 77", 3),
                     SET("session = (SELECT min(id) FROM session WHERE member = 11)", 3), "S43");
    assert_violation("INSERT INTO special VALUES(1, 0, 0, 0, 0, 1, 0, 0)",
                     "DELETE FROM special WHERE ino = 1", "S43");
    kit_open(k);
}

/* ---- Determinism ------------------------------------------------------------------------------*/

static void test_same_elsewhere(void **state)
{
    static struct kit twin;
    uint64_t d = dir_of(&a, ROOT, "d", SESSION), f;

    (void)state;
    assert_int_equal(set(&a, d, "container", "1"), 0);
    f = file_of(&b, d, "f", OPEN);
    assert_int_equal(set(&a, f, "ttl", "60"), 0);
    assert_int_equal(txn_make_as(k, &b, d, "s", S_IFREG, INHERIT, true), 0);
    pass(5);
    pass(6);
    kit_empty(&twin);
    kit_follow(&twin, k);
    kit_assert_hash(&twin, k);
    kit_close(&twin); /* and the store that was opened from the disk alone */
    kit_open(&twin);
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(txn_release_ephemeral(k, &b, f), 0);
    assert_int_equal(lock_close(k, &b), 0);
    kit_follow(&twin, k);
    kit_assert_hash(&twin, k);
    kit_fini(&twin);
    assert_int_equal(kit_find(k, ROOT, "d"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_ephemeral),
        T(test_order_of_ends),
        T(test_inherited),
        T(test_directory_with_others_entries),
        T(test_ephemeral_open),
        T(test_ephemeral_errors),
        T(test_ephemeral_limit),
        T(test_ephemeral_rename),
        T(test_ttl),
        T(test_ttl_clocks),
        T(test_ttls_many),
        T(test_ttl_of_directory),
        T(test_ttl_errors),
        T(test_container),
        T(test_container_errors),
        T(test_deep_containers),
        T(test_sequential),
        T(test_sequential_errors),
        T(test_names),
        T(test_listed),
        T(test_guard_xattr),
        T(test_checks),
        T(test_same_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
