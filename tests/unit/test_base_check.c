/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/forked.h"

static int failing_check(void *arg)
{
    int one = *(int *)arg;

    check(one == 2);
    return 0;
}

static int passing_check(void *arg)
{
    int *calls = arg;

    check(++*calls == 1); /* evaluated exactly once */
    return *calls;
}

static int dying(void *arg BASE_UNUSED)
{
    die("entry %d of %s", 42, "log");
}

/* More than any machine has: the allocator fails, and we stop rather than get NULL. */
static int greedy_malloc(void *arg BASE_UNUSED)
{
    volatile size_t size = SIZE_MAX / 2;

    free(xmalloc(size));
    return 0;
}

static int greedy_calloc(void *arg BASE_UNUSED)
{
    volatile size_t count = SIZE_MAX / 4;

    free(xcalloc(count, 8)); /* the product overflows */
    return 0;
}

static void test_check_aborts_with_place(void **state BASE_UNUSED)
{
    int one = 1;
    struct forked end;

    forked_run(failing_check, &one, &end);
    assert_true(forked_aborted(&end));
    assert_true(forked_said(&end, "error: "));
    assert_true(forked_said(&end, "test_base_check.c:"));
    assert_true(forked_said(&end, "check failed: one == 2"));
    forked_fini(&end);
}

static void test_check_passes(void **state BASE_UNUSED)
{
    int calls = 0;
    struct forked end;

    forked_run(passing_check, &calls, &end);
    assert_true(end.exited);
    assert_int_equal(end.code, 1);
    assert_int_equal(end.output.len, 0);
    forked_fini(&end);
}

static void test_die_says_and_aborts(void **state BASE_UNUSED)
{
    struct forked end;

    forked_run(dying, NULL, &end);
    assert_true(forked_aborted(&end));
    assert_true(forked_said(&end, "error: entry 42 of log\n"));
    forked_fini(&end);
}

static void test_out_of_memory_dies(void **state BASE_UNUSED)
{
    int (*greedy[])(void *) = {greedy_malloc, greedy_calloc};

    /* A sanitizer's allocator stops the process by itself. */
    setenv("ASAN_OPTIONS", "allocator_may_return_null=1", 1);
    for (size_t i = 0; i < ARRAY_LEN(greedy); i++) {
        struct forked end;

        forked_run(greedy[i], NULL, &end);
        assert_false(end.exited && end.code == 0);
        assert_true(forked_said(&end, "out of memory") || forked_said(&end, "Sanitizer"));
        forked_fini(&end);
    }
}

static void test_allocation(void **state BASE_UNUSED)
{
    uint8_t *zeros = xcalloc(10, 10);
    char *text = xasprintf("%s-%d", "a", 5);
    char *copy = xmemdup("abc", 4);
    size_t nothing = zeros[0];
    void *none = xmalloc(nothing), *no_copy = xmemdup(NULL, nothing);
    void *no_items = xcalloc(nothing, nothing);

    for (int i = 0; i < 100; i++)
        assert_int_equal(zeros[i], 0);
    assert_string_equal(text, "a-5");
    assert_string_equal(copy, "abc");
    assert_non_null(none);
    assert_non_null(no_copy);
    assert_non_null(no_items);
    zeros = xrealloc(zeros, 200);
    memset(zeros, 1, 200);
    free(zeros);
    free(text);
    free(copy);
    free(none);
    free(no_copy);
    free(no_items);
}

struct outer {
    int before;
    uint64_t inner;
};

static void test_helpers(void **state BASE_UNUSED)
{
    struct outer o = {1, 2};

    assert_ptr_equal(CONTAINER_OF(&o.inner, struct outer, inner), &o);
    assert_int_equal(min_u64(UINT64_MAX, 3), 3);
    assert_true(max_u64(UINT64_MAX, 3) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_aborts_with_place),
        cmocka_unit_test(test_check_passes),
        cmocka_unit_test(test_die_says_and_aborts),
        cmocka_unit_test(test_out_of_memory_dies),
        cmocka_unit_test(test_allocation),
        cmocka_unit_test(test_helpers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
