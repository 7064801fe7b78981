/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "raft/complaints.h"

static void test_once_a_minute(void **state BASE_UNUSED)
{
    struct complaints c = {0};

    assert_true(complaints_may(&c, 5, "a", "is late"));
    assert_false(complaints_may(&c, 6, "a", "is late"));
    assert_true(complaints_may(&c, 6, "b", "is late"));
    assert_true(complaints_may(&c, 6, "a", "is early"));
    assert_false(complaints_may(&c, 5 + COMPLAINTS_MS - 1, "a", "is late"));
    assert_true(complaints_may(&c, 5 + COMPLAINTS_MS, "a", "is late"));
    assert_false(complaints_may(&c, 5 + COMPLAINTS_MS, "a", "is late"));
}

/* Of very many, the newest are remembered. */
static void test_many(void **state BASE_UNUSED)
{
    struct complaints c = {0};
    char who[20];

    for (unsigned i = 0; i < 10 * COMPLAINTS_MAX; i++) {
        snprintf(who, sizeof who, "%u", i);
        assert_true(complaints_may(&c, i, who, "is late"));
        assert_false(complaints_may(&c, i, who, "is late"));
    }
    snprintf(who, sizeof who, "%u", 9 * COMPLAINTS_MAX);
    assert_false(complaints_may(&c, 10 * COMPLAINTS_MAX, who, "is late"));
    assert_true(complaints_may(&c, 10 * COMPLAINTS_MAX, "0", "is late"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_a_minute),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
