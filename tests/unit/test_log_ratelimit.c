/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "raft/log_ratelimit.h"

static void test_once_a_minute(void **state BASE_UNUSED)
{
    struct log_ratelimit c = {0};

    assert_true(log_ratelimit_allows(&c, 5, "a", "is late"));
    assert_false(log_ratelimit_allows(&c, 6, "a", "is late"));
    assert_true(log_ratelimit_allows(&c, 6, "b", "is late"));
    assert_true(log_ratelimit_allows(&c, 6, "a", "is early"));
    assert_false(log_ratelimit_allows(&c, 5 + LOG_RATELIMIT_MS - 1, "a", "is late"));
    assert_true(log_ratelimit_allows(&c, 5 + LOG_RATELIMIT_MS, "a", "is late"));
    assert_false(log_ratelimit_allows(&c, 5 + LOG_RATELIMIT_MS, "a", "is late"));
}

/* Only the newest LOG_RATELIMIT_MAX lines are remembered. */
static void test_many(void **state BASE_UNUSED)
{
    struct log_ratelimit c = {0};
    char who[20];

    for (unsigned i = 0; i < 10 * LOG_RATELIMIT_MAX; i++) {
        snprintf(who, sizeof who, "%u", i);
        assert_true(log_ratelimit_allows(&c, i, who, "is late"));
        assert_false(log_ratelimit_allows(&c, i, who, "is late"));
    }
    snprintf(who, sizeof who, "%u", 9 * LOG_RATELIMIT_MAX);
    assert_false(log_ratelimit_allows(&c, 10 * LOG_RATELIMIT_MAX, who, "is late"));
    assert_true(log_ratelimit_allows(&c, 10 * LOG_RATELIMIT_MAX, "0", "is late"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_a_minute),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
