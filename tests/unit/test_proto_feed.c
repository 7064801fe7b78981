/* SPDX-License-Identifier: Apache-2.0 */
/* proto/feed.c: lines about changes, and which paths they concern. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "proto/feed.h"

static struct feed_path path(const char *text)
{
    return (struct feed_path){(const uint8_t *)text, text == NULL ? 0 : strlen(text)};
}

static const char *json(const struct feed_change *c)
{
    static struct buf out;

    out.len = 0;
    feed_json(&out, c);
    buf_append(&out, "", 1);
    return (const char *)out.data;
}

static const char *text(const struct feed_change *c)
{
    static struct buf out;

    out.len = 0;
    feed_text(&out, c);
    buf_append(&out, "", 1);
    return (const char *)out.data;
}

static struct feed_change sample(void)
{
    return (struct feed_change){
        .number = 9,
        .index = 7,
        .kind = CFS__CHANGE__KIND__RENAME,
        .ino = 5,
        .session = 2,
        .member = 1,
        .time_ns = 1700000000000000001,
        .path = path("/a"),
        .new_path = path("/b"),
    };
}

static void test_lines(void **state)
{
    struct feed_change c = sample();

    (void)state;
    assert_string_equal(json(&c), "{\"index\":7,\"more\":0,\"time\":1700000000.000000001,"
                                  "\"op\":\"rename\",\"path\":\"/a\",\"new_path\":\"/b\",\"ino\":5,"
                                  "\"version\":0,\"session\":2,\"member\":1}\n");
    assert_string_equal(text(&c), "7 rename /a -> /b\n");
    c.kind = CFS__CHANGE__KIND__DATA;
    c.path = c.new_path = path(NULL);
    c.time_ns = -1500000000;
    c.version = UINT64_MAX;
    assert_string_equal(json(&c), "{\"index\":7,\"more\":0,\"time\":-1.500000000,\"op\":\"data\","
                                  "\"path\":null,\"ino\":5,\"version\":18446744073709551615,"
                                  "\"session\":2,\"member\":1}\n");
    assert_string_equal(text(&c), "7 data (unlinked)\n");
    assert_string_equal(feed_op(0), "unknown");
    assert_string_equal(feed_op(99), "unknown");
}

static void assert_path(const char *is, const char *as_json, const char *as_text)
{
    struct feed_change c = sample();
    char wanted[400];

    c.path = path(is);
    c.new_path = path(NULL);
    snprintf(wanted, sizeof wanted, "\"path\":\"%s\",\"ino\"", as_json);
    if (strstr(json(&c), wanted) == NULL)
        fail_msg("%s does not contain %s", json(&c), wanted);
    snprintf(wanted, sizeof wanted, "7 rename %s\n", as_text);
    assert_string_equal(text(&c), wanted);
}

static void test_paths(void **state)
{
    (void)state;
    assert_path("/a b", "/a b", "/a b");
    assert_path("/\"\\\n\x7f", "/\\u0022\\u005c\\u000a\\u007f", "/\"\\134\\012\\177");
    assert_path("/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                "/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_path("/\xff\xc3", "/\\udcff\\udcc3", "/\xff\xc3");
    assert_path("/\xc0\xaf", "/\\udcc0\\udcaf", "/\xc0\xaf"); /* an overlong form */
    assert_path("/\xe0\x80\xaf", "/\\udce0\\udc80\\udcaf", "/\xe0\x80\xaf");
    assert_path("/\xed\xa0\x80", "/\\udced\\udca0\\udc80", "/\xed\xa0\x80"); /* a surrogate */
    assert_path("/\xf4\x90\x80\x80", "/\\udcf4\\udc90\\udc80\\udc80", "/\xf4\x90\x80\x80");
    assert_path("/\xe2\x82/x", "/\\udce2\\udc82/x", "/\xe2\x82/x");
}

/* Any bytes become a line of JSON, except for lone surrogates, which parsers may refuse. */
static void test_any_bytes(void **state)
{
    (void)state;
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b++) {
            char bytes[] = {'/', (char)a, (char)b, '\0'};
            struct feed_change c = sample();
            json_t *line;

            c.path = path(bytes);
            line = json_loads(json(&c), 0, NULL);
            if (line == NULL && strstr(json(&c), "\\udc") == NULL)
                fail_msg("%s", json(&c));
            if (line != NULL)
                assert_string_equal(json_string_value(json_object_get(line, "path")), bytes);
            json_decref(line);
        }
}

static bool matches(uint64_t kind, const char *at, const char *to, const char *wanted,
                    bool recursive)
{
    struct feed_change c = sample();

    c.kind = kind;
    c.path = path(at);
    c.new_path = path(to);
    return feed_matches(&c, path(wanted), recursive);
}

static void test_selection(void **state)
{
    const uint64_t create = CFS__CHANGE__KIND__CREATE, rename = CFS__CHANGE__KIND__RENAME;

    (void)state;
    assert_true(matches(create, "/d", NULL, "/d", false));
    assert_true(matches(create, "/d/f", NULL, "/d", false));
    assert_false(matches(create, "/d/e/f", NULL, "/d", false));
    assert_true(matches(create, "/d/e/f", NULL, "/d", true));
    assert_false(matches(create, "/dd", NULL, "/d", true));
    assert_false(matches(create, "/d", NULL, "/dd", true));
    assert_true(matches(create, "/f", NULL, "/", false));
    assert_true(matches(create, "/", NULL, "/", false));
    assert_false(matches(create, "/d/f", NULL, "/", false));
    assert_true(matches(create, "/d/f", NULL, "/", true));
    assert_true(matches(rename, "/x", "/d/x", "/d", false));
    assert_true(matches(rename, "/d/x", "/x", "/d", false));
    assert_false(matches(rename, "/x", "/y", "/d", true));
    /* A directory above the path was renamed. */
    assert_true(matches(rename, "/a", "/b", "/a/d", false));
    assert_true(matches(rename, "/b", "/a", "/a/d", false));
    assert_false(matches(create, "/a", NULL, "/a/d", true));
    /* A change without a path matches only the whole tree. */
    assert_true(matches(create, NULL, NULL, "/", true));
    assert_false(matches(create, NULL, NULL, "/", false));
    assert_false(matches(create, NULL, NULL, "/d", true));
    assert_true(matches(create, "n/f", NULL, "/", true));
    assert_false(matches(create, "d/f", NULL, "/d", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_selection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
