/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/forked.h"

static void assert_sound(const struct buf *b)
{
    assert_true(b->len <= b->cap);
    assert_true((b->data == NULL) == (b->cap == 0));
}

static void test_empty(void **state BASE_UNUSED)
{
    struct buf b = BUF_EMPTY;

    assert_sound(&b);
    buf_reserve(&b, 0);
    buf_append(&b, NULL, 0);
    assert_sound(&b);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    buf_fini(&b); /* an empty one again, so a second time is fine */
    assert_sound(&b);
}

static void test_append_grows_and_keeps(void **state BASE_UNUSED)
{
    struct buf b = BUF_EMPTY;
    uint8_t piece[97];
    size_t total = 0;

    for (size_t i = 0; i < 300; i++) {
        size_t len = i % (sizeof piece + 1);

        memset(piece, (int)i, sizeof piece);
        buf_append(&b, piece, len);
        total += len;
        assert_sound(&b);
        assert_int_equal(b.len, total);
    }
    total = 0;
    for (size_t i = 0; i < 300; i++) {
        size_t len = i % (sizeof piece + 1);

        for (size_t k = 0; k < len; k++)
            assert_int_equal(b.data[total + k], (uint8_t)i);
        total += len;
    }
    buf_fini(&b);
}

static void test_reserve_keeps_len_and_content(void **state BASE_UNUSED)
{
    struct buf b = buf_copy("abc", 3);
    uint8_t *before;

    buf_reserve(&b, 1000);
    assert_sound(&b);
    assert_int_equal(b.len, 3);
    assert_true(b.cap >= 1003);
    assert_memory_equal(b.data, "abc", 3);
    before = b.data;
    buf_reserve(&b, 1000); /* there is room: nothing moves */
    assert_ptr_equal(b.data, before);
    buf_fini(&b);
}

static void test_printf(void **state BASE_UNUSED)
{
    struct buf b = BUF_EMPTY;
    char *wide = xmalloc(5001);

    memset(wide, 'w', 5000);
    wide[5000] = 0;
    buf_printf(&b, "%s", "");
    assert_int_equal(b.len, 0);
    assert_sound(&b);
    buf_printf(&b, "%d-%s", 7, "x");
    buf_printf(&b, "[%s]", wide);
    assert_int_equal(b.len, 3 + 5002);
    assert_memory_equal(b.data, "7-x[www", 7);
    assert_memory_equal(b.data + b.len - 2, "w]", 2);
    assert_int_equal(b.data[b.len], 0); /* readable as a string, without counting it */
    free(wide);
    buf_fini(&b);
}

static void test_take(void **state BASE_UNUSED)
{
    struct buf b = buf_copy("moved", 5);
    uint8_t *bytes = b.data;
    struct buf taken = buf_take(&b);

    assert_ptr_equal(taken.data, bytes);
    assert_int_equal(taken.len, 5);
    assert_int_equal(b.len, 0);
    assert_sound(&b);
    buf_append(&b, "new", 3);
    assert_memory_equal(taken.data, "moved", 5);
    assert_memory_equal(b.data, "new", 3);
    buf_fini(&b);
    buf_fini(&taken);
}

static void test_copy_is_its_own(void **state BASE_UNUSED)
{
    char text[] = "one";
    struct buf b = buf_copy(text, 3);
    struct buf nothing = buf_copy(NULL, 0);

    text[0] = 'X';
    assert_memory_equal(b.data, "one", 3);
    assert_sound(&nothing);
    assert_int_equal(nothing.len, 0);
    buf_fini(&b);
}

/* Sizes that cannot be must stop the process, not wrap around or spin. */
static int reserve_too_much(void *arg)
{
    struct buf b = buf_copy("abc", 3);

    buf_reserve(&b, *(const size_t *)arg);
    return 0;
}

static void test_impossible_sizes_die(void **state BASE_UNUSED)
{
    size_t sizes[] = {SIZE_MAX, SIZE_MAX - 2, SIZE_MAX - 3, SIZE_MAX / 2 + 1};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct forked end;

        forked_run(reserve_too_much, &sizes[i], &end);
        assert_true(forked_aborted(&end));
        forked_fini(&end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append_grows_and_keeps),
        cmocka_unit_test(test_reserve_keeps_len_and_content),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_copy_is_its_own),
        cmocka_unit_test(test_impossible_sizes_die),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
