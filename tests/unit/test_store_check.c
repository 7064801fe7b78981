/* SPDX-License-Identifier: Apache-2.0 */
/* store/check.c: each invariant is really checked. Each case damages a good database directly; the
 * check must report the number of the invariant. */
#include "store/internal.h"
#include "tests/lib/store_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROOT 1
#define ANY  CFS__SET_XATTR__MODE__ANY

static struct kit kit;
static struct kit *const k = &kit;

static void stage(uint64_t ino, uint8_t *data, size_t len)
{
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT, *extents[] = {&extent};
    Cfs__Stage s = CFS__STAGE__INIT;

    extent.data = kit_bytes(data, len);
    s.ino = ino;
    s.stage = 1;
    s.n_extents = 1;
    s.extents = extents;
    c.op_case = CFS__COMMAND__OP_STAGE;
    c.stage = &s;
    assert_int_equal(kit_run(k, &c), 0);
}

/* The tree: f (2), d (3), d/g (4, linked as h), l (5, symlink), an orphan (6), p (7, fifo), d/e (8,
 * directory, with an access ACL and a quota), d/e/q (9), another orphan, of d/e (10), with a staged
 * write. The root has a default ACL. */
static int set_up(void **state)
{
    /* rwx for the owner, user 1, the group and the mask; nothing for others. */
    static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,  7,
                                  0, 1, 0,   0,   0,   4,   0,  7, 0,   255, 255, 255, 255, 16, 0,
                                  7, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
    static uint8_t data[40000];
    uint64_t file, dir;

    (void)state;
    kit_init(k);
    k->keep = true;
    file = kit_file(k, ROOT, "f");
    dir = kit_dir(k, ROOT, "d");
    kit_file(k, dir, "g");
    kit_symlink(k, ROOT, "l", "target");
    kit_file(k, ROOT, "orphan");
    kit_make(k, ROOT, "p", S_IFIFO | 0600);
    kit_dir(k, dir, "e");
    kit_link(k, file, dir, "h");
    kit_unlink(k, ROOT, "orphan");
    kit_write(k, file, 0, data, sizeof data);
    kit_setxattr(k, dir, "user.x", "value", 5, ANY);
    kit_setxattr(k, 8, "system.posix_acl_access", acl, sizeof acl, ANY);
    kit_setxattr(k, ROOT, "system.posix_acl_default", acl, sizeof acl, ANY);
    kit_file(k, 8, "q");
    kit_file(k, 8, "o");
    kit_setxattr(k, 8, "user.coordfs.quota.bytes", "1M", 2, ANY);
    kit_write(k, 10, 0, data, 5);
    kit_unlink(k, 8, "o");
    stage(10, data, 5);
    kit_entry(k, STORE_CHANGE, "config", 6);
    kit_check(k);
    kit_close(k);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static const struct {
    const char *invariant;
    const char *sql;
} damages[] = {
    {"S2", "DROP INDEX dirent_ino"},
    {"S2", "CREATE TABLE more(x)"},
    {"S2", "PRAGMA user_version=7"},
    {"S3", "DELETE FROM state"},
    {"S3", "DELETE FROM config"},
    {"S3", "UPDATE config SET idx = 100"},
    {"S4", "UPDATE state SET next_ino = 8"},
    {"S4", "UPDATE state SET next_dirent = 2"},
    {"S4", "UPDATE dirent SET id = (SELECT min(id) FROM dirent)"},
    {"S5", "UPDATE state SET inodes = inodes + 1"},
    {"S5", "UPDATE state SET entries = entries + 1"},
    {"S5", "UPDATE state SET bytes = bytes + 1"},
    {"S5", "UPDATE state SET meta_bytes = meta_bytes - 1"},
    {"S6", "UPDATE inode SET parent = 3 WHERE ino = 1"},
    {"S6", "UPDATE inode SET mode = 33188 WHERE ino = 1"},
    {"S6", "UPDATE dirent SET ino = 1 WHERE ino = 8"},
    {"S7", "UPDATE dirent SET name = x'612f' WHERE ino = 8"},
    {"S7", "UPDATE dirent SET name = x'6100' WHERE ino = 8"},
    {"S7", "UPDATE dirent SET name = x'' WHERE ino = 8"},
    {"S7", "UPDATE dirent SET name = x'2e2e' WHERE ino = 8"},
    {"S7", "UPDATE dirent SET name = randomblob(256) WHERE ino = 8"},
    {"S7", "UPDATE dirent SET parent = 2 WHERE ino = 8"},
    {"S7", "UPDATE dirent SET parent = 99 WHERE ino = 8"},
    {"S7", "UPDATE dirent SET type = 32768 WHERE ino = 8"},
    {"S7", "UPDATE dirent SET ino = 99 WHERE ino = 4"},
    {"S8", "DELETE FROM dirent WHERE ino = 8; UPDATE state SET entries = entries - 1"},
    {"S8", "INSERT INTO dirent SELECT 1, name, 100, ino, type FROM dirent WHERE ino = 8;"
           "UPDATE state SET entries = entries + 1, next_dirent = 101"},
    {"S8", "UPDATE inode SET parent = 1 WHERE ino = 8"},
    {"S8", "UPDATE inode SET parent = 1 WHERE ino = 2"},
    {"S9", "UPDATE dirent SET parent = 8 WHERE ino = 3; UPDATE inode SET parent = 8 WHERE ino = 3"},
    {"S10", "UPDATE inode SET nlink = 3 WHERE ino = 2"},
    {"S10", "UPDATE inode SET nlink = 2 WHERE ino = 3"},
    {"S11", "UPDATE inode SET size = 1 WHERE ino = 3"},
    {"S11", "UPDATE inode SET size = 1 WHERE ino = 5"},
    {"S11", "UPDATE inode SET size = 1 WHERE ino = 7"},
    {"S11", "UPDATE inode SET size = 1 << 40 WHERE ino = 2"},
    {"S12", "DELETE FROM orphan"},
    {"S12", "INSERT INTO orphan VALUES(2, 1)"},
    {"S12", "UPDATE orphan SET unlinked = 100"},
    {"S12", "UPDATE orphan SET unlinked = 0"},
    {"S12", "INSERT INTO orphan VALUES(99, 1)"},
    {"S13", "UPDATE block SET id = 7 << 20 WHERE id = 2 << 20"},
    {"S13", "UPDATE block SET id = 99 << 20 WHERE id = 2 << 20"},
    {"S13", "UPDATE block SET id = (2 << 20) + 9 WHERE id = 2 << 20"},
    {"S13", "UPDATE inode SET size = 39999 WHERE ino = 2"},
    {"S13", "UPDATE block SET sum = randomblob(16) WHERE id = 2 << 20"},
    {"S13", "UPDATE block SET data = randomblob(length(data)) WHERE id = 2 << 20"},
    {"S14", "UPDATE inode SET stored = stored + 1 WHERE ino = 2"},
    {"S14", "UPDATE inode SET stored = 1 WHERE ino = 4"},
    {"S15", "INSERT INTO symlink VALUES(2, x'61');"
            "UPDATE state SET meta_bytes = meta_bytes + 1"},
    {"S11", "DELETE FROM symlink; UPDATE state SET meta_bytes = meta_bytes - 6"},
    {"S15", "UPDATE symlink SET target = x''; UPDATE inode SET size = 0 WHERE ino = 5;"
            "UPDATE state SET meta_bytes = meta_bytes - 6"},
    {"S15", "INSERT INTO symlink VALUES(99, x'61');"
            "UPDATE state SET meta_bytes = meta_bytes + 1"},
    {"S16", "UPDATE xattr SET ino = 99"},
    {"S16", "UPDATE inode SET xattr_bytes = 12 WHERE ino = 3"},
    {"S16", "UPDATE inode SET xattr_bytes = 1 WHERE ino = 2"},
    {"S16", "UPDATE xattr SET name = x'757365722e00' WHERE ino = 3"},
    {"S17", "UPDATE inode SET created = 100 WHERE ino = 2"},
    {"S17", "UPDATE inode SET modified = 100 WHERE ino = 2"},
    {"S17", "UPDATE inode SET children_modified = -1 WHERE ino = 3"},
    {"S17", "UPDATE inode SET mode = mode | 65536 WHERE ino = 8"},
    {"S22", "UPDATE inode SET mode = mode & ~448 WHERE ino = 8"},
    {"S22", "UPDATE inode SET mode = mode | 7 WHERE ino = 8"},
    {"S22", "UPDATE xattr SET value = zeroblob(length(value)) WHERE ino = 8"},
    {"S22", "UPDATE xattr SET value = zeroblob(length(value)) WHERE ino = 1"},
    {"S22", "UPDATE xattr SET ino = 2 WHERE ino = 1; UPDATE inode SET xattr_bytes ="
            " (SELECT coalesce(sum(length(name) + length(value)), 0) FROM xattr x"
            " WHERE x.ino = inode.ino)"},
    {"S22", "UPDATE xattr SET ino = 5 WHERE ino = 8; UPDATE inode SET xattr_bytes ="
            " (SELECT coalesce(sum(length(name) + length(value)), 0) FROM xattr x"
            " WHERE x.ino = inode.ino)"},
    {"S50", "UPDATE part SET session = 99"},
    {"S50", "UPDATE part SET stage = 0"},
    {"S50", "UPDATE part SET offset = 64 << 20"},
    {"S50", "UPDATE part SET id = 100 << 12"},
    {"S50", "UPDATE part SET data = x''; UPDATE state SET bytes = bytes - 5"},
    {"S50", "UPDATE part SET sum = randomblob(16)"},
    {"S51", "INSERT INTO quota VALUES(2, 5, 5, 0, 0)"},
    {"S51", "INSERT INTO quota VALUES(99, 5, 5, 0, 0)"},
    {"S51", "UPDATE quota SET max_bytes = 9223372036854775807"},
    {"S51", "UPDATE quota SET max_bytes = -1"},
    {"S51", "UPDATE charged SET dir = 3"},
    {"S51", "INSERT INTO charged VALUES(2, 8)"},
    {"S52", "UPDATE quota SET bytes = bytes + 1"},
    {"S52", "UPDATE quota SET entries = 1"},
    {"S52", "DELETE FROM charged"},
    {"S52", "INSERT INTO charged VALUES(6, 8)"},
    {"S53", "INSERT INTO quota SELECT 3, 5, 5, sum(stored + xattr_bytes), count(*) FROM inode"
            " WHERE ino IN (2, 4, 8, 9, 10)"},
    {"S18", "UPDATE session SET used = 100"},
    {"S18", "UPDATE session SET forgotten = 1"},
    {"S18", "UPDATE session SET last_seq = last_seq + 1"},
    {"S18", "UPDATE session SET last_seq = 5"},
    {"S18", "DELETE FROM reply WHERE seq = 3"},
    {"S18", "UPDATE reply SET session = 9 WHERE seq = 3"},
    {"S18", "INSERT INTO session VALUES(2, 1, 5, 0, 0, 0, 2)"},
    {"S19", "DELETE FROM log WHERE idx = 5"},
    {"S19", "DELETE FROM log WHERE idx = 13"},
    {"S19", "DELETE FROM log WHERE idx > 3"},
    {"S19", "UPDATE log SET data = x'00' WHERE idx = 5"},
    {"S19", "UPDATE log SET term = 0 WHERE idx = 5"},
    {"S19", "UPDATE state SET applied_term = 2"},
    {"S19", "DELETE FROM local"},
    {"S20", "UPDATE inode SET uid = 1 WHERE ino = 2"},
    {"S20", "UPDATE session SET nonce = nonce + 1"},
    {"S20", "UPDATE reply SET data = x'00' WHERE seq = 3"},
    {"S20", "UPDATE symlink SET target = x'616161616161'"},
    {"S20", "UPDATE orphan SET unlinked = 2"},
    {"S20", "UPDATE dirent SET name = x'7a' WHERE ino = 8"},
    {"S20", "UPDATE xattr SET value = x'0000000000' WHERE ino = 3"},
    {"S20", "UPDATE xattr SET ino = 3, name = x'757365722e79' WHERE ino = 3"},
    {"S20", "UPDATE quota SET max_bytes = 5"},
    {"S20", "UPDATE part SET offset = 5"},
    {"S20", "UPDATE state SET sum = zeroblob(16)"},
    {"S20", "UPDATE history SET path = x'2f642f7a' WHERE ino = 8"},
    {"S20", "INSERT INTO setting VALUES('history', 5)"},
    {"S60", "DELETE FROM history WHERE number = 3"},
    {"S60", "UPDATE history SET idx = 100 WHERE number = (SELECT max(number) FROM history)"},
    {"S60", "UPDATE history SET idx = 1 WHERE number = 5"},
    {"S60", "UPDATE history SET more = 1 WHERE number = 3"},
    {"S60", "UPDATE history SET kind = 10 WHERE number = 3"},
    {"S60", "UPDATE history SET path = x'2f' WHERE number = 3"},
    {"S60", "UPDATE history SET last_byte = last_byte + 1 WHERE number = 3"},
    {"S61", "INSERT INTO setting VALUES('history', 100000)"},
    {"S61", "INSERT INTO setting VALUES('history', 0)"},
    {"S61", "INSERT INTO setting VALUES('other', 1)"},
    {"S62", "UPDATE dirent SET name = CAST('.coordfs' AS BLOB) WHERE ino = 3"},
};

static void test_each_damage(void **state)
{
    char path[300], why[300], saved[300];
    size_t len;

    (void)state;
    snprintf(path, sizeof path, "%s/coordfs.db", k->dir);
    snprintf(saved, sizeof saved, "%s/saved", k->dir);
    assert_int_equal(mkdir(saved, 0700), 0);
    kit_copy_file(k->dir, saved, "coordfs.db");
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        kit_sql(k->dir, damages[i].sql);
        strcpy(why, "nothing");
        len = strlen(damages[i].invariant);
        if (store_check_file(path, why, sizeof why) ||
            strncmp(why, damages[i].invariant, len) != 0 || why[len] != ':')
            fail_msg("%s: %s was reported", damages[i].sql, why);
        kit_copy_file(saved, k->dir, "coordfs.db");
    }
    if (!store_check_file(path, why, sizeof why))
        fail_msg("the database itself: %s", why);
}

/* Flips bytes of the file: some check must notice it, whichever bytes they are. */
static void test_flipped_bytes(void **state)
{
    char path[300], why[300];
    unsigned seed = (unsigned)time(NULL);
    struct stat st;
    unsigned noticed = 0;

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    snprintf(path, sizeof path, "%s/coordfs.db", k->dir);
    assert_int_equal(stat(path, &st), 0);
    for (int i = 0; i < 60; i++) {
        FILE *f = fopen(path, "r+");
        long at = 100 + random() % (st.st_size - 100);
        int c;

        assert_non_null(f);
        fseek(f, at, SEEK_SET);
        c = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(c ^ (1 << random() % 8), f);
        fflush(f);
        noticed += store_check_file(path, why, sizeof why) ? 0 : 1;
        fseek(f, at, SEEK_SET);
        fputc(c, f);
        fclose(f);
    }
    print_message("%u of 60 noticed: the others hit bytes that are not in use\n", noticed);
    assert_true(noticed > 0);
    if (!store_check_file(path, why, sizeof why))
        fail_msg("the database itself: %s", why);
}

static void test_memory(void **state)
{
    char why[300];

    (void)state;
    kit_open(k);
    kit_check(k);
    kit_noop(k);
    kit_check(k);
    k->store->state.n.next_ino++;
    assert_false(store_check(k->store, why, sizeof why));
    assert_memory_equal(why, "S21", 3);
    k->store->state.n.next_ino--;
    k->store->log.term++;
    assert_false(store_check(k->store, why, sizeof why));
    assert_memory_equal(why, "S21", 3);
    k->store->log.term--;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_each_damage),
        T(test_flipped_bytes),
        T(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
