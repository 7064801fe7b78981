/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions as text: what each verb means, quoting, and which line an error names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/transact.h"
#include "cli/txn_text.h"
#include "proto/limits.h"

static char mount[] = "/coord", root[] = "/";
static const struct path_mount mounted = {mount, root};
static struct txn_text t;
static char why[256];

static Cfs__TxnStep *step(size_t i)
{
    assert_true(i < t.txn->n_steps);
    return t.txn->steps[i];
}

static void parse(const char *text)
{
    int err = txn_text_parse(text, strlen(text), &mounted, 022, &t, why, sizeof(why));

    if (err != 0)
        fail_msg("%s: %s", text, why);
}

static void assert_bytes(ProtobufCBinaryData got, const char *want, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, want, len);
}

#define assert_text(got, want) assert_bytes(got, want, sizeof(want) - 1)

static void conditions(void **state)
{
    (void)state;
    parse(
        "check a exists\ncheck b absent\ncheck c locked\ncheck d version 7\n"
        "check e cversion 18446744073709551615\ncheck f aversion 0\ncheck g hash 00ff00ff00ff00ff");
    assert_int_equal(t.txn->n_steps, 7);
    assert_text(step(0)->path, "a");
    assert_int_equal(step(0)->check->kind, CFS__TXN_CHECK__KIND__EXISTS);
    assert_int_equal(step(1)->check->kind, CFS__TXN_CHECK__KIND__ABSENT);
    assert_int_equal(step(2)->check->kind, CFS__TXN_CHECK__KIND__LOCKED);
    assert_int_equal(step(3)->check->kind, CFS__TXN_CHECK__KIND__VERSION);
    assert_int_equal(step(3)->check->version, 7);
    assert_int_equal(step(4)->check->kind, CFS__TXN_CHECK__KIND__CVERSION);
    assert_true(step(4)->check->version == UINT64_MAX);
    assert_int_equal(step(5)->check->kind, CFS__TXN_CHECK__KIND__AVERSION);
    assert_int_equal(step(6)->check->kind, CFS__TXN_CHECK__KIND__HASH);
    assert_true(step(6)->check->xxh3 == 0x00ff00ff00ff00ffull);
    txn_text_fini(&t);
}

static void entries(void **state)
{
    (void)state;
    parse("put a b\nput c d mode=600 sequential ephemeral\nappend e f ephemeral=open\n"
          "create g mode=4711\nmkdir h\nmkdir i 1777 sequential\nmkdir j ephemeral=session\n"
          "symlink ../k l");
    assert_text(step(0)->put->data, "b");
    assert_int_equal(step(0)->put->mode, 0666);
    assert_int_equal(step(0)->put->umask, 022);
    assert_false(step(0)->put->append);
    assert_int_equal(step(0)->put->ephemeral, CFS__EPHEMERAL__EPHEMERAL_INHERIT);
    assert_int_equal(step(1)->put->mode, 0600);
    assert_true(step(1)->put->sequential);
    assert_int_equal(step(1)->put->ephemeral, CFS__EPHEMERAL__EPHEMERAL_SESSION);
    assert_true(step(2)->put->append);
    assert_int_equal(step(2)->put->ephemeral, CFS__EPHEMERAL__EPHEMERAL_OPEN);
    assert_int_equal(step(3)->make->mode, S_IFREG | 04711);
    assert_int_equal(step(4)->make->mode, S_IFDIR | 0777);
    assert_int_equal(step(4)->make->umask, 022);
    assert_int_equal(step(5)->make->mode, S_IFDIR | 01777);
    assert_true(step(5)->make->sequential);
    assert_int_equal(step(6)->make->ephemeral, CFS__EPHEMERAL__EPHEMERAL_SESSION);
    assert_int_equal(step(7)->make->mode & S_IFMT, S_IFLNK);
    assert_text(step(7)->make->target, "../k");
    assert_text(step(7)->path, "l");
    txn_text_fini(&t);
}

static void names_and_attributes(void **state)
{
    (void)state;
    parse("mv a b\nmv a b noreplace\nmv a b exchange\nln a b\nrm a\nrmdir b\n"
          "setattr a mode 640 uid 1 gid 2 size 3 atime now mtime 5\n"
          "setxattr a user.x 'v w'\nrmxattr a user.x");
    assert_text(step(0)->path, "a");
    assert_text(step(0)->move->to, "b");
    assert_int_equal(step(0)->move->mode, CFS__RENAME__MODE__REPLACE);
    assert_int_equal(step(1)->move->mode, CFS__RENAME__MODE__NOREPLACE);
    assert_int_equal(step(2)->move->mode, CFS__RENAME__MODE__EXCHANGE);
    assert_text(step(3)->link->to, "b");
    assert_false(step(4)->remove->directory);
    assert_true(step(5)->remove->directory);
    assert_int_equal(step(6)->set_attr->mode, 0640);
    assert_int_equal(step(6)->set_attr->uid, 1);
    assert_int_equal(step(6)->set_attr->gid, 2);
    assert_int_equal(step(6)->set_attr->size, 3);
    assert_true(step(6)->set_attr->set_atime && step(6)->set_attr->atime_now);
    assert_true(step(6)->set_attr->set_mtime && !step(6)->set_attr->mtime_now);
    assert_int_equal(step(6)->set_attr->mtime_ns, 5000000000);
    assert_text(step(7)->set_xattr->name, "user.x");
    assert_text(step(7)->set_xattr->value, "v w");
    assert_text(step(8)->remove_xattr->name, "user.x");
    txn_text_fini(&t);
}

static void quotes(void **state)
{
    static const struct {
        const char *text, *want;
        size_t len;
    } cases[] = {
        {"put a ''", "", 0},
        {"put a 'b c'", "b c", 3},
        {"put a b' 'c\" \"d", "b c d", 5},
        {"put a 'b\\n'", "b\\n", 3},
        {"put a \"b\\n\\t\\\\\\\"\\0\\x41\\xfF\"", "b\n\t\\\"\0A\xff", 8},
        {"put a \"b\\\nc\"", "bc", 2},
        {"put a b\\ c\\#\\'", "b c#'", 5},
        {"put a 'b\nc'", "b\nc", 3},
        {"put a b#c # a comment", "b#c", 3},
        {"put a <<X\n b\n#c\n'd\nX", " b\n#c\n'd\n", 9},
        {"put a <<X\nX\n", "", 0},
        {"put a '<<X'", "<<X", 3},
        {"  put\ta   b  \r\n", "b", 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        parse(cases[i].text);
        assert_int_equal(t.txn->n_steps, 1);
        assert_text(step(0)->path, "a");
        assert_bytes(step(0)->put->data, cases[i].want, cases[i].len);
        txn_text_fini(&t);
    }
}

static void lines_are_counted(void **state)
{
    (void)state;
    parse("# first\n\nput a <<X\n1\n2\nX\nput b 'c\nd'\nrm e");
    assert_int_equal(t.txn->n_steps, 3);
    assert_int_equal(t.lines[0], 3);
    assert_int_equal(t.lines[1], 7);
    assert_int_equal(t.lines[2], 9);
    assert_string_equal(t.verbs[2], "rm");
    txn_text_fini(&t);
}

static void absolute_paths_are_the_hosts(void **state)
{
    char sub[] = "/sub";
    const struct path_mount bound = {mount, sub};

    (void)state;
    parse("rm /coord/a/b\nmv /coord/c d\nln e /coord/f\nrm ../g");
    assert_text(step(0)->path, "/a/b");
    assert_text(step(1)->path, "/c");
    assert_text(step(2)->link->to, "/f");
    assert_text(step(3)->path, "../g");
    txn_text_fini(&t);
    assert_int_equal(txn_text_parse("rm /coord/a", 11, &bound, 0, &t, why, sizeof(why)), 0);
    assert_text(step(0)->path, "/sub/a");
    txn_text_fini(&t);
}

/* Each error is one line, which names the line of the text and the culprit. */
static void errors(void **state)
{
    static const struct {
        const char *text, *line, *culprit;
    } cases[] = {
        {"", "line 1:", "no step"},
        {"# nothing\n\n", "line 2:", "no step"},
        {"rm a\nfrob b", "line 2:", "frob"},
        {"rm", "line 1:", "usage: rm"},
        {"rm a b", "line 1:", "usage: rm"},
        {"check a version x7", "line 1:", "'x7'"},
        {"check a version -7", "line 1:", "'-7'"},
        {"check a version 7x", "line 1:", "'7x'"},
        {"check a version 18446744073709551616", "line 1:", "18446744073709551616"},
        {"check a version", "line 1:", "version"},
        {"check a exists 7", "line 1:", "exists"},
        {"check a hash 0xff", "line 1:", "0xff"},
        {"check a nonsense", "line 1:", "nonsense"},
        {"put a b c=d", "line 1:", "c=d"},
        {"put a b ephemeral=never", "line 1:", "ephemeral=never"},
        {"mkdir a 888", "line 1:", "888"},
        {"mkdir a 17777", "line 1:", "17777"},
        {"put a b mode=x", "line 1:", "'x'"},
        {"mv a b sideways", "line 1:", "sideways"},
        {"setattr a mode", "line 1:", "usage: setattr"},
        {"setattr a mode 640 uid", "line 1:", "uid"},
        {"setattr a colour red", "line 1:", "colour"},
        {"setattr a mtime soon", "line 1:", "soon"},
        {"rm /etc/passwd", "line 1:", "/etc/passwd is outside the mount /coord"},
        {"rm /coordination", "line 1:", "/coordination is outside"},
        {"rm ''", "line 1:", "empty path"},
        {"rm \"a\\0b\"", "line 1:", "NUL"},
        {"\nrm 'a", "line 2:", "quote '"},
        {"rm a\\", "line 1:", "backslash"},
        {"put a \"\\xg0\"", "line 1:", "\\x"},
        {"put a <<", "line 1:", "<<"},
        {"put a <<END\nb\n", "line 1:", "END"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *text = cases[i].text;
        int err = txn_text_parse(text, strlen(text), &mounted, 0, &t, why, sizeof(why));

        if (err != -EINVAL || strstr(why, cases[i].line) != why ||
            strstr(why, cases[i].culprit) == NULL || strchr(why, '\n') != NULL)
            fail_msg("%s: %d %s", text, err, why);
    }
}

static void too_many_steps(void **state)
{
    char text[LIMIT_TXN_STEPS * 5 + 6] = "";

    (void)state;
    for (int i = 0; i < LIMIT_TXN_STEPS; i++)
        strcat(text, "rm a\n");
    parse(text);
    assert_int_equal(t.txn->n_steps, LIMIT_TXN_STEPS);
    txn_text_fini(&t);
    strcat(text, "rm a\n");
    assert_int_equal(txn_text_parse(text, strlen(text), &mounted, 0, &t, why, sizeof(why)),
                     -EINVAL);
    assert_non_null(strstr(why, "line 129:"));
    assert_non_null(strstr(why, "128"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),
        cmocka_unit_test(entries),
        cmocka_unit_test(names_and_attributes),
        cmocka_unit_test(quotes),
        cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(absolute_paths_are_the_hosts),
        cmocka_unit_test(errors),
        cmocka_unit_test(too_many_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
