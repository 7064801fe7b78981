/* SPDX-License-Identifier: Apache-2.0 */
/* store/quota.c: charges, refusals and the shown values. test_store_model compares the charges with
 * a full count on random sequences. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "store/content.h"
#include "store/internal.h"

#define ROOT    1
#define BYTES   "user.coordfs.quota.bytes"
#define ENTRIES "user.coordfs.quota.entries"

static struct kit kit;
static struct kit *const k = &kit;
static uint64_t dir;
static uint8_t noise[100000];

static int set_up(void **state)
{
    (void)state;
    memset(noise, 'n', sizeof noise);
    kit_init(k);
    dir = kit_dir(k, ROOT, "d");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static uint32_t set(uint64_t ino, const char *name, const char *value)
{
    return kit_setxattr(k, ino, name, value, strlen(value), CFS__SET_XATTR__MODE__ANY);
}

/* An xattr's value; "-" when there is none. */
static const char *get(uint64_t ino, const char *what)
{
    static char text[4][40];
    static unsigned next;
    char *out = text[next++ % 4], name[60];
    int64_t n;

    snprintf(name, sizeof name, "user.coordfs.%s", what);
    n = reader_getxattr(k->reader, ino, name, strlen(name), out, sizeof text[0] - 1);
    if (n == -ENODATA)
        return "-";
    assert_true(n >= 0);
    out[n] = '\0';
    return out;
}

static void assert_used(uint64_t ino, unsigned bytes, unsigned entries)
{
    assert_int_equal(atoi(get(ino, "usage.bytes")), bytes);
    assert_int_equal(atoi(get(ino, "usage.entries")), entries);
}

/* ---- Xattrs -----------------------------------------------------------------------------------*/

static void test_values(void **state)
{
    static const struct {
        const char *text, *shown; /* NULL: EINVAL */
    } values[] = {
        {"0", "0"},
        {"12345", "12345"},
        {"4K", "4096"},
        {"3M", "3145728"},
        {"2G", "2147483648"},
        {"1T", "1099511627776"},
        {"007", "7"},
        {"9223372036854775806", "9223372036854775806"},
        {"9223372036854775807", NULL},
        {"99999999999999999999", NULL},
        {"8388608T", NULL},
        {"", NULL},
        {"K", NULL},
        {"1k", NULL},
        {"1KB", NULL},
        {"-1", NULL},
        {" 1", NULL},
        {"1\n", NULL},
        {"1.5G", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(set(dir, BYTES, values[i].text), values[i].shown != NULL ? 0 : EINVAL);
        if (values[i].shown != NULL)
            assert_string_equal(get(dir, "quota.bytes"), values[i].shown);
    }
    assert_string_equal(get(dir, "quota.entries"), "-");
    assert_string_equal(get(dir, "usage.entries"), "0");
}

static void test_names(void **state)
{
    uint64_t file = kit_file(k, dir, "f");
    char list[200];
    int64_t n;

    (void)state;
    assert_int_equal(set(file, BYTES, "1"), EINVAL);
    assert_int_equal(set(dir, "user.coordfs.usage.bytes", "1"), EPERM);
    assert_int_equal(set(dir, "user.coordfs.quota", "1"), EINVAL);
    assert_int_equal(kit_removexattr(k, dir, BYTES), ENODATA);
    assert_int_equal(kit_setxattr(k, dir, BYTES, "1", 1, CFS__SET_XATTR__MODE__REPLACE), ENODATA);
    assert_int_equal(kit_setxattr(k, dir, BYTES, "1", 1, CFS__SET_XATTR__MODE__CREATE), 0);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__XATTR);
    assert_int_equal(kit_setxattr(k, dir, BYTES, "1", 1, CFS__SET_XATTR__MODE__CREATE), EEXIST);
    assert_int_equal(kit_setxattr(k, dir, ENTRIES, "5", 1, CFS__SET_XATTR__MODE__CREATE), 0);
    n = reader_listxattr(k->reader, dir, list, sizeof list);
    assert_int_equal(n, sizeof(BYTES "\0" ENTRIES));
    assert_memory_equal(list, BYTES "\0" ENTRIES, n);
    assert_int_equal(kit_removexattr(k, dir, BYTES), 0);
    assert_string_equal(get(dir, "quota.bytes"), "-");
    assert_string_equal(get(dir, "quota.entries"), "5");
    assert_string_equal(get(dir, "usage.bytes"), "0");
    assert_int_equal(kit_removexattr(k, dir, "user.coordfs.usage.bytes"), EPERM);
    assert_int_equal(kit_removexattr(k, dir, ENTRIES), 0);
    assert_string_equal(get(dir, "usage.bytes"), "-");
    assert_int_equal(k->store->state.quotas, 0);
}

/* ---- Bytes ------------------------------------------------------------------------------------*/

static void test_bytes_are_refused(void **state)
{
    uint64_t a = kit_file(k, dir, "a"), b = kit_file(k, dir, "b");

    (void)state;
    assert_int_equal(set(dir, BYTES, "50000"), 0);
    assert_int_equal(kit_write(k, a, 0, noise, 30000), 0);
    assert_used(dir, 30000, 2);
    assert_int_equal(kit_write(k, b, 0, noise, 20001), EDQUOT);
    assert_int_equal(kit_append(k, b, noise, 20001), EDQUOT);
    assert_int_equal(kit_stat(k, b).size, 0);
    assert_int_equal(kit_write(k, b, 0, noise, 20000), 0);
    assert_used(dir, 50000, 2);
    /* A full directory can be overwritten, and holes cost nothing. */
    assert_int_equal(kit_write(k, a, 0, noise, 30000), 0);
    assert_int_equal(kit_truncate(k, a, 10000000), 0);
    assert_int_equal(kit_write(k, a, 9000000, "x", 1), EDQUOT);
    assert_int_equal(kit_truncate(k, b, 0), 0);
    assert_used(dir, 30000, 2);
    assert_int_equal(set(dir, BYTES, "1"), 0); /* less than is used */
    assert_int_equal(kit_write(k, b, 0, "x", 1), EDQUOT);
    assert_int_equal(kit_truncate(k, a, 0), 0);
    assert_int_equal(kit_write(k, b, 0, "x", 1), 0);
}

static void test_everything_that_takes_space(void **state)
{
    uint64_t file = kit_file(k, dir, "f"), source = kit_file(k, ROOT, "s"), link;
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Copy copy = CFS__COPY__INIT;
    Cfs__Fallocate fallocate = CFS__FALLOCATE__INIT;

    (void)state;
    assert_int_equal(kit_write(k, source, 0, noise, 5000), 0);
    assert_int_equal(set(dir, BYTES, "1000"), 0);
    assert_int_equal(kit_setxattr(k, file, "user.x", noise, 995, CFS__SET_XATTR__MODE__ANY),
                     EDQUOT);
    assert_int_equal(kit_setxattr(k, file, "user.x", noise, 594, CFS__SET_XATTR__MODE__ANY), 0);
    assert_used(dir, 600, 1);
    assert_int_equal(kit_setxattr(k, dir, "user.x", noise, 5000, CFS__SET_XATTR__MODE__ANY),
                     0); /* the directory's own xattrs are not charged to it */
    assert_int_equal(kit_symlink(k, dir, "l", "0123456789"), 0);
    link = k->attr.ino;
    assert_used(dir, 610, 2);
    copy.src = source;
    copy.dst = file;
    copy.len = 400;
    c.op_case = CFS__COMMAND__OP_COPY;
    c.copy = &copy;
    assert_int_equal(kit_run(k, &c), EDQUOT);
    copy.len = 390;
    assert_int_equal(kit_run(k, &c), 0);
    assert_used(dir, 1000, 2);
    assert_int_equal(kit_symlink(k, dir, "m", "x"), EDQUOT);
    fallocate.ino = file;
    fallocate.len = 390;
    c.op_case = CFS__COMMAND__OP_FALLOCATE;
    c.fallocate = &fallocate;
    assert_int_equal(kit_run(k, &c), 0); /* the range is allocated already */
    fallocate.len = 391;
    assert_int_equal(kit_run(k, &c), EDQUOT);
    assert_int_equal(kit_removexattr(k, file, "user.x"), 0);
    assert_int_equal(kit_run(k, &c), 0);
    assert_int_equal(kit_unlink(k, dir, "l"), 0);
    assert_used(dir, 400, 2); /* the file may be open somewhere */
    assert_int_equal(kit_reap(k, link), 0);
    assert_used(dir, 390, 1);
}

static void test_staged_bytes_are_charged_when_written(void **state)
{
    uint64_t file = kit_file(k, dir, "f");
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT, *extents[] = {&extent};
    Cfs__Stage stage = CFS__STAGE__INIT;
    Cfs__Write write = CFS__WRITE__INIT;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, noise, 800), 0);
    assert_int_equal(set(dir, BYTES, "1000"), 0);
    extent.data = kit_bytes(noise, 1000);
    stage.ino = write.ino = file;
    stage.stage = write.stage = 1;
    stage.n_extents = 1;
    stage.extents = extents;
    c.op_case = CFS__COMMAND__OP_STAGE;
    c.stage = &stage;
    assert_int_equal(kit_run(k, &c), 0);
    extent.data.len = 1;
    extent.offset = 1000;
    assert_int_equal(kit_run(k, &c), 0);
    assert_used(dir, 800, 1);
    write.truncate = true;
    write.staged = 2;
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &write;
    assert_int_equal(kit_run(k, &c), EDQUOT);
    assert_int_equal(kit_stat(k, file).size, 800);
    assert_int_equal(set(dir, BYTES, "1001"), 0);
    assert_int_equal(kit_run(k, &c), 0);
    assert_used(dir, 1001, 1);
}

/* ---- Entries ----------------------------------------------------------------------------------*/

static void test_entries(void **state)
{
    uint64_t file, sub, pipe;

    (void)state;
    assert_int_equal(set(dir, ENTRIES, "3"), 0);
    file = kit_file(k, dir, "f");
    sub = kit_dir(k, dir, "sub");
    assert_int_equal(kit_link(k, file, dir, "g"), 0); /* the same entry */
    assert_used(dir, 0, 2);
    assert_int_equal(kit_make(k, dir, "pipe", S_IFIFO | 0644), 0);
    pipe = k->attr.ino;
    assert_int_equal(kit_make(k, dir, "more", S_IFREG | 0644), EDQUOT);
    assert_int_equal(kit_symlink(k, dir, "more", "x"), EDQUOT);
    assert_int_equal(kit_make(k, kit_find(k, dir, "sub"), "more", S_IFDIR | 0755), EDQUOT);
    assert_int_equal(kit_unlink(k, dir, "f"), 0); /* the file keeps its other name */
    assert_used(dir, 0, 3);
    assert_int_equal(kit_unlink(k, dir, "pipe"), 0);
    assert_int_equal(kit_rmdir(k, dir, "sub"), 0);
    assert_used(dir, 0, 3);
    assert_int_equal(set(sub, ENTRIES, "3"), EINVAL); /* sub was removed: it stays empty */
    assert_int_equal(kit_reap(k, pipe), 0);
    assert_int_equal(kit_reap(k, sub), 0);
    assert_used(dir, 0, 1);
    assert_int_equal(kit_make(k, dir, "more", S_IFREG | 0644), 0);
}

static void test_open_files_stay_charged(void **state)
{
    uint64_t file = kit_file(k, dir, "f"), other = kit_file(k, dir, "g");

    (void)state;
    assert_int_equal(set(dir, BYTES, "1000"), 0);
    assert_int_equal(kit_write(k, file, 0, noise, 600), 0);
    assert_int_equal(kit_rename(k, dir, "g", dir, "f", CFS__RENAME__MODE__REPLACE), 0);
    assert_used(dir, 600, 2);
    assert_int_equal(kit_write(k, file, 600, noise, 401), EDQUOT);
    assert_int_equal(kit_write(k, file, 600, noise, 400), 0);
    assert_int_equal(kit_write(k, other, 0, noise, 1), EDQUOT);
    assert_int_equal(kit_reap(k, file), 0);
    assert_used(dir, 0, 1);
    assert_int_equal(kit_write(k, other, 0, noise, 1), 0);
}

/* ---- Quotas within quotas ---------------------------------------------------------------------*/

static void test_nested(void **state)
{
    uint64_t inner = kit_dir(k, dir, "inner"), deep = kit_dir(k, inner, "deep");
    uint64_t file = kit_file(k, deep, "f"), held = kit_file(k, deep, "held");

    (void)state;
    assert_int_equal(kit_write(k, file, 0, noise, 100), 0);
    assert_int_equal(set(inner, BYTES, "1000"), 0);
    assert_used(inner, 100, 3);
    assert_int_equal(kit_write(k, held, 0, noise, 50), 0);
    assert_int_equal(kit_unlink(k, deep, "held"), 0); /* now an orphan, charged to inner */
    assert_int_equal(set(dir, BYTES, "500"), 0);
    assert_used(dir, 150, 4);
    assert_int_equal(kit_write(k, file, 0, noise, 451), EDQUOT); /* refused by the outer quota */
    assert_int_equal(kit_write(k, file, 0, noise, 450), 0);
    assert_used(inner, 500, 3);
    assert_used(dir, 500, 4);
    assert_int_equal(set(dir, BYTES, "5000"), 0);
    assert_int_equal(kit_write(k, file, 0, noise, 951), EDQUOT); /* refused by the inner quota */
    assert_int_equal(kit_removexattr(k, inner, BYTES), 0);
    assert_used(dir, 500, 4);
    assert_int_equal(kit_reap(k, held), 0); /* its charge has been passed on to dir */
    assert_used(dir, 450, 3);
    assert_int_equal(set(inner, ENTRIES, "9"), 0);
    assert_int_equal(kit_unlink(k, deep, "f"), 0);
    assert_int_equal(kit_rmdir(k, inner, "deep"), 0);
    assert_int_equal(kit_rmdir(k, dir, "inner"), 0); /* the quota ends; its orphans are charged to
                                                      * dir */
    assert_used(dir, 450, 3);
    assert_int_equal(kit_reap(k, deep), 0);
    assert_int_equal(kit_reap(k, inner), 0);
    assert_used(dir, 450, 1);
    assert_int_equal(k->store->state.quotas, 1);
    assert_int_equal(kit_reap(k, file), 0);
    assert_used(dir, 0, 0);
}

static void test_of_the_root(void **state)
{
    (void)state;
    kit_file(k, dir, "f");
    assert_int_equal(set(ROOT, ENTRIES, "3"), 0);
    assert_used(ROOT, 0, 2);
    kit_file(k, ROOT, "g");
    assert_int_equal(kit_make(k, dir, "h", S_IFREG | 0644), EDQUOT);
}

/* ---- Names do not cross -----------------------------------------------------------------------*/

static void test_names_do_not_cross(void **state)
{
    const Cfs__Rename__Mode replace = CFS__RENAME__MODE__REPLACE;
    uint64_t inner = kit_dir(k, dir, "inner"), file = kit_file(k, ROOT, "f");

    (void)state;
    kit_dir(k, ROOT, "tree");
    kit_file(k, inner, "g");
    assert_int_equal(set(dir, ENTRIES, "100"), 0);
    assert_int_equal(kit_rename(k, ROOT, "f", dir, "f", replace), EXDEV);
    assert_int_equal(kit_rename(k, inner, "g", ROOT, "g", replace), EXDEV);
    assert_int_equal(kit_rename(k, ROOT, "tree", inner, "tree", replace), EXDEV);
    assert_int_equal(kit_rename(k, ROOT, "f", inner, "g", CFS__RENAME__MODE__EXCHANGE), EXDEV);
    assert_int_equal(kit_link(k, file, dir, "f"), EXDEV);
    assert_int_equal(kit_link(k, kit_find(k, inner, "g"), ROOT, "g"), EXDEV);
    /* Names move freely within a quota, and a quota moves as a whole. */
    assert_int_equal(kit_rename(k, inner, "g", dir, "g", replace), 0);
    assert_int_equal(kit_rename(k, ROOT, "d", kit_find(k, ROOT, "tree"), "d", replace), 0);
    assert_used(dir, 0, 2);
    assert_int_equal(kit_removexattr(k, dir, ENTRIES), 0);
    assert_int_equal(kit_rename(k, ROOT, "f", dir, "f", replace), 0);
}

static void test_a_file_with_names_elsewhere(void **state)
{
    uint64_t file = kit_file(k, dir, "f");

    (void)state;
    assert_int_equal(kit_link(k, file, ROOT, "f"), 0);
    assert_int_equal(set(dir, ENTRIES, "100"), EXDEV);
    assert_int_equal(set(ROOT, ENTRIES, "100"), 0); /* both names are below it */
    assert_int_equal(set(dir, ENTRIES, "100"), EXDEV);
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    assert_int_equal(set(dir, ENTRIES, "100"), 0);
    assert_used(ROOT, 0, 2);
    assert_used(dir, 0, 1);
}

/* ---- Sizes ------------------------------------------------------------------------------------*/

/* Measures how long the member is busy while it counts the largest permitted directory. */
static void test_counting_is_bounded(void **state)
{
    uint64_t begin;

    (void)state;
    kit_file(k, dir, "f");
    kit_close(k);
    /* Names of one file are enough, because the count walks names. */
    kit_sql(k->dir,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            " INSERT INTO dirent SELECT 2, CAST('n' || i AS BLOB), 1000 + i, 1000 + i, 32768"
            " FROM n; INSERT INTO inode SELECT ino, 33188, 1, 0, 0, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0,"
            " 1, 1, 0, 0 FROM dirent WHERE ino > 1000");
    kit_open(k);
    assert_int_equal(dir, 2);
    assert_int_equal(set(dir, ENTRIES, "1"), E2BIG);
    kit_close(k);
    kit_sql(k->dir, "DELETE FROM dirent WHERE ino = 1001; DELETE FROM inode WHERE ino = 1001");
    kit_open(k);
    begin = clock_boot_ms();
    assert_int_equal(set(dir, ENTRIES, "1"), 0);
    print_message("counting 100000 entries: %llu ms\n",
                  (unsigned long long)(clock_boot_ms() - begin));
    assert_used(dir, 99999 * 5, 100000);
    assert_int_equal(kit_removexattr(k, dir, ENTRIES), 0);
    kit_close(k);
    kit_sql(k->dir, "DELETE FROM dirent WHERE ino > 1000; DELETE FROM inode WHERE ino > 1000");
    kit_open(k);
}

static void test_same_everywhere_and_after_a_restart(void **state)
{
    uint64_t file = kit_file(k, dir, "f"), held = kit_file(k, dir, "h");
    struct kit other;

    (void)state;
    assert_int_equal(set(dir, BYTES, "1M"), 0);
    assert_int_equal(kit_write(k, file, 0, noise, 40000), 0);
    assert_int_equal(kit_unlink(k, dir, "h"), 0);
    kit_empty(&other);
    kit_follow(&other, k);
    kit_assert_hash(k, &other);
    kit_fini(&other);
    kit_close(k);
    kit_open(k);
    assert_used(dir, 40000, 2);
    assert_int_equal(kit_reap(k, held), 0);
    assert_used(dir, 40000, 1);
}

static void test_room(void **state)
{
    uint64_t inner = kit_dir(k, dir, "inner"), file = kit_file(k, inner, "f");
    int64_t all = reader_room(k->reader, file);

    (void)state;
    assert_int_equal(
        all, (int64_t)(LIMIT_TREE_BYTES - k->store->state.n.bytes - k->store->state.n.meta_bytes));
    assert_int_equal(set(dir, BYTES, "1000"), 0);
    assert_int_equal(reader_room(k->reader, file), 1000);
    assert_int_equal(set(inner, BYTES, "700"), 0);
    assert_int_equal(kit_write(k, file, 0, noise, 100), 0);
    assert_int_equal(reader_room(k->reader, file), 600);
    assert_int_equal(kit_unlink(k, inner, "f"), 0);
    assert_int_equal(reader_room(k->reader, file), 600);
    assert_int_equal(set(inner, BYTES, "50"), 0);
    assert_int_equal(reader_room(k->reader, file), 0);
    assert_int_equal(reader_room(k->reader, dir), all - 100);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_values),
        T(test_names),
        T(test_bytes_are_refused),
        T(test_everything_that_takes_space),
        T(test_staged_bytes_are_charged_when_written),
        T(test_entries),
        T(test_open_files_stay_charged),
        T(test_nested),
        T(test_of_the_root),
        T(test_names_do_not_cross),
        T(test_a_file_with_names_elsewhere),
        T(test_counting_is_bounded),
        T(test_same_everywhere_and_after_a_restart),
        T(test_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
