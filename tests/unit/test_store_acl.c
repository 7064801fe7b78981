/* SPDX-License-Identifier: Apache-2.0 */
/* store/acl.c: the pure functions, and the limits. The effect on modes is also compared with the
 * model (tests/lib/model_acl.c), and the model with this machine's kernel. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/acl.h"
#include "store/internal.h"

#define ROOT 1
#define ANY  CFS__SET_XATTR__MODE__ANY

static struct kit kit;
static struct kit *const k = &kit;
static uint64_t file, dir;

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    file = kit_file(k, ROOT, "f");
    dir = kit_dir(k, ROOT, "d");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

struct acl {
    uint8_t bytes[200];
    size_t len;
};

/* "u7 U5 g6 m7 o4": tags u U g G m o, permissions, ids 1, 2, 3 … */
static struct acl make(const char *text)
{
    static const char letters[] = "uUgGmo";
    struct acl acl = {{2}, 4};
    uint8_t id = 0;

    for (const char *p = text; *p != '\0'; p++) {
        const char *letter = strchr(letters, *p);
        uint8_t *e = acl.bytes + acl.len;

        if (*p == ' ')
            continue;
        check(letter != NULL);
        memset(e, 255, 8);
        e[0] = (uint8_t)(1u << (letter - letters));
        e[1] = e[3] = 0;
        e[2] = (uint8_t)(*++p - '0');
        if (*letter == 'U' || *letter == 'G') {
            memset(e + 4, 0, 4);
            e[4] = ++id;
        }
        acl.len += 8;
    }
    return acl;
}

static struct bytes bytes_of(const struct acl *acl)
{
    return (struct bytes){acl->bytes, acl->len};
}

static uint32_t set(uint64_t ino, const char *name, const char *text)
{
    struct acl acl = make(text);

    return kit_setxattr(k, ino, name, acl.bytes, acl.len, ANY);
}

static void assert_acl(uint64_t ino, const char *name, const char *text)
{
    struct acl acl = make(text);
    uint8_t out[300];
    int64_t n = reader_getxattr(k->reader, ino, name, strlen(name), out, sizeof out);

    if (text[0] == '\0') {
        assert_int_equal(n, -ENODATA);
        return;
    }
    assert_int_equal(n, acl.len);
    assert_memory_equal(out, acl.bytes, acl.len);
}

/* ---- The bytes --------------------------------------------------------------------------------*/

static void test_check(void **state)
{
    static const char *const good[] = {"",           "u7g5o4",   "u7U1g5m7o4",    "u7U1U2g5m7o4",
                                       "u7g5G7m7o4", "u0g0m0o0", "u7U1g5G2G3m7o4"};
    static const char *const bad[] = {
        "u7",       "u7g5",       "g5o4",       "u7o4",     "u7g5o4o4", "u7u7g5o4",
        "u7g5g5o4", "u7g5m7m7o4", "u7U1g5o4",   "u7g5G1o4", "g5u7o4",   "u7g5U1m7o4",
        "u7m7g5o4", "u7g5o4m7",   "u7G1g5m7o4", "u8g5o4",   "u7g5o9",   "u7U1g5m7o4u7"};
    struct acl acl;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        acl = make(good[i]);
        assert_int_equal(acl_check(bytes_of(&acl)), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        acl = make(bad[i]);
        assert_int_equal(acl_check(bytes_of(&acl)), EINVAL);
    }
    acl = make("u7g5o4");
    for (size_t len = 1; len < acl.len; len++) /* cut off anywhere */
        assert_int_equal(acl_check((struct bytes){acl.bytes, len}), len == 4 ? 0 : EINVAL);
    assert_int_equal(acl_check((struct bytes){acl.bytes, 0}), 0);
    acl.bytes[0] = 3;
    assert_int_equal(acl_check(bytes_of(&acl)), EOPNOTSUPP);
    acl = make("u7U1g5m7o4");
    memset(acl.bytes + 4 + 8 + 4, 255, 4);
    assert_int_equal(acl_check(bytes_of(&acl)), EINVAL); /* the id of no user */
    acl = make("u7g5o4");
    acl.bytes[5] = 1; /* tag 0x101 */
    assert_int_equal(acl_check(bytes_of(&acl)), EINVAL);
    acl = make("u7g5o4");
    acl.bytes[7] = 1; /* permissions 0x107 */
    assert_int_equal(acl_check(bytes_of(&acl)), EINVAL);
}

static void test_modes(void **state)
{
    static const struct {
        const char *acl;
        uint64_t mode, in_acl; /* a mode, and the same mode with the ACL's permissions */
        bool more;
        const char *after_chmod; /* to `mode` */
        uint64_t created;        /* with `mode` */
        const char *inherited;
    } cases[] = {
        {"u7g5o4", S_IFREG | 0640, S_IFREG | 0754, false, "u6g4o0", S_IFREG | 0640, "u6g4o0"},
        {"u6g6o6", S_IFREG | 06751, S_IFREG | 06666, false, "u7g5o1", S_IFREG | 06640, "u6g4o0"},
        {"u7U7g5m3o4", S_IFDIR | 01770, S_IFDIR | 01734, true, "u7U7g5m7o0", S_IFDIR | 01730,
         "u7U7g5m3o0"},
        {"u7g5m3o4", 0, 0734, true, "u0g5m0o0", 0, "u0g5m0o0"},
        {"u4U6g0G7m7o7", 0666, 0477, true, "u6U6g0G7m6o6", 0466, "u4U6g0G7m6o6"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct acl acl = make(cases[i].acl), want = make(cases[i].after_chmod);
        uint64_t mode = cases[i].mode;
        bool more;

        assert_int_equal(acl_mode(bytes_of(&acl), mode, &more), cases[i].in_acl);
        assert_int_equal(more, cases[i].more);
        acl_chmod(acl.bytes, acl.len, mode);
        assert_memory_equal(acl.bytes, want.bytes, want.len);
        acl = make(cases[i].acl);
        want = make(cases[i].inherited);
        assert_int_equal(acl_create(acl.bytes, acl.len, &mode), cases[i].more);
        assert_int_equal(mode, cases[i].created);
        assert_memory_equal(acl.bytes, want.bytes, want.len);
    }
}

/* ---- Operations -------------------------------------------------------------------------------*/

static void test_set(void **state)
{
    Cfs__Attr before;

    (void)state;
    before = kit_stat(k, file);
    assert_int_equal(set(file, ACL_ACCESS, "u7U6g5m6o0"), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 0760);
    assert_int_equal(k->attr.aversion, before.aversion + 1);
    assert_int_equal(k->attr.ctime_ns, k->now);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__XATTR);
    assert_acl(file, ACL_ACCESS, "u7U6g5m6o0");
    assert_int_equal(kit_chmod(k, file, 0644), 0);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__ATTR);
    assert_acl(file, ACL_ACCESS, "u6U6g5m4o4");
    assert_int_equal(set(file, ACL_ACCESS, "u7g0o0"), 0);
    assert_acl(file, ACL_ACCESS, "");
    assert_int_equal(k->attr.mode, S_IFREG | 0700);
    before = kit_stat(k, file);
    assert_int_equal(set(file, ACL_ACCESS, "u7g0o0"), 0); /* the ACL says the same as the mode */
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_removexattr(k, file, ACL_ACCESS), 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_stat(k, file).aversion, before.aversion);
    assert_int_equal(kit_removexattr(k, 999, ACL_ACCESS), ESTALE);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(kit_symlink(k, ROOT, "l", "x"), 0);
    assert_int_equal(set(kit_find(k, ROOT, "l"), ACL_ACCESS, "u7g5o4"), EOPNOTSUPP);
    assert_int_equal(set(999, ACL_ACCESS, "u7g5o4"), ESTALE);
    assert_int_equal(set(file, ACL_ACCESS, "u7"), EINVAL);
    assert_int_equal(set(file, ACL_DEFAULT, "u7g5o4"), EACCES);
    assert_int_equal(set(file, ACL_DEFAULT, ""), 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_setxattr(k, file, "system.posix_acl_acces", "x", 1, ANY),
                     0); /* not an ACL's name */
    assert_int_equal(kit_removexattr(k, file, "system.posix_acl_acces"), 0);
}

static void test_room(void **state)
{
    static uint8_t value[LIMIT_XATTR_VALUE];
    struct acl acl = make("u7U7g7m7o7");
    uint64_t both = 2 * acl.len + strlen(ACL_ACCESS) + strlen(ACL_DEFAULT);
    uint64_t used;

    (void)state;
    assert_int_equal(set(dir, ACL_DEFAULT, "u7U7g7m7o7"), 0);
    used = k->store->state.n.meta_bytes;
    k->store->apply.max_bytes = used + both - 1;
    assert_int_equal(kit_make(k, dir, "s", S_IFDIR | 0777), ENOSPC);
    assert_int_equal(kit_find(k, dir, "s"), 0);
    assert_int_equal(k->store->state.n.meta_bytes, used);
    k->store->apply.max_bytes = used + both;
    assert_int_equal(kit_make(k, dir, "s", S_IFDIR | 0777), 0);
    assert_int_equal(k->store->state.n.meta_bytes, used + both);
    assert_int_equal(kit_make(k, dir, "f", S_IFREG | 0777), ENOSPC);
    assert_int_equal(kit_symlink(k, dir, "l", "x"), ENOSPC);
    assert_int_equal(kit_chmod(k, kit_find(k, dir, "s"), 0700),
                     0); /* existing entries can change */
    assert_int_equal(set(kit_find(k, dir, "s"), ACL_ACCESS, "u0U0g0m0o0"), 0);
    assert_int_equal(set(file, ACL_ACCESS, "u0U0g0m0o0"), ENOSPC);
    assert_int_equal(set(file, ACL_ACCESS, "u0g0o0"), 0); /* needs no row */
    k->store->apply.max_bytes = LIMIT_TREE_BYTES;

    for (int i = 0; i < 15; i++) {
        char name[] = {'u', 's', 'e', 'r', '.', (char)('a' + i), '\0'};

        assert_int_equal(kit_setxattr(k, file, name, value, sizeof value, ANY), 0);
    }
    assert_int_equal(kit_setxattr(k, file, "user.z", value, sizeof value - 15 * 6 - 6, ANY), 0);
    assert_int_equal(set(file, ACL_ACCESS, "u7U7g7m7o7"), ENOSPC); /* LIMIT_XATTR_TOTAL */
    assert_int_equal(kit_stat(k, file).mode, S_IFREG);
}

static void test_inherit(void **state)
{
    uint64_t sub, f;

    (void)state;
    assert_int_equal(set(dir, ACL_DEFAULT, "u7U7g5m7o5"), 0);
    assert_int_equal(kit_make(k, dir, "s", S_IFDIR | 02770), 0);
    sub = k->attr.ino;
    assert_int_equal(k->attr.mode, S_IFDIR | 02770);
    assert_acl(sub, ACL_DEFAULT, "u7U7g5m7o5");
    assert_acl(sub, ACL_ACCESS, "u7U7g5m7o0");
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__CREATE);
    assert_int_equal(kit_make(k, sub, "f", S_IFREG | 0644), 0);
    f = k->attr.ino;
    assert_acl(f, ACL_ACCESS, "u6U7g5m4o4");
    assert_acl(f, ACL_DEFAULT, "");
    assert_int_equal(kit_unlink(k, sub, "f"), 0);
    assert_int_equal(kit_reap(k, f), 0);
    assert_int_equal(kit_rmdir(k, dir, "s"), 0);
    kit_check(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_modes),
        cmocka_unit_test_setup_teardown(test_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_inherit, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
