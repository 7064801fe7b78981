/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/base.h"

static void test_boot_is_monotone(void **state BASE_UNUSED)
{
    uint64_t last = clock_boot_us();

    for (int i = 0; i < 20000; i++) {
        uint64_t now = clock_boot_us();

        assert_true(now >= last);
        last = now;
    }
}

/* Both units are of one clock, and it advances. */
static void test_boot_units(void **state BASE_UNUSED)
{
    uint64_t us = clock_boot_us();
    uint64_t ms = clock_boot_ms();
    uint64_t us_after = clock_boot_us();
    struct timespec nap = {0, 2000000};

    assert_true(us / 1000 <= ms && ms <= us_after / 1000);
    nanosleep(&nap, NULL);
    assert_true(clock_boot_us() >= us_after + 2000);
}

static void test_real(void **state BASE_UNUSED)
{
    time_t before = time(NULL);
    int64_t now = clock_real_ns();
    time_t after = time(NULL);

    /* time(2) may lag behind the exact clock by a tick, never run ahead of it. */
    assert_true(now >= (int64_t)before * 1000000000);
    assert_true(now < ((int64_t)after + 2) * 1000000000);
}

static void test_entropy_differs(void **state BASE_UNUSED)
{
    uint64_t seen[64];

    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        seen[i] = clock_entropy();
        for (size_t k = 0; k < i; k++)
            assert_true(seen[k] != seen[i]); /* by chance once in 10^16 runs */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_is_monotone),
        cmocka_unit_test(test_boot_units),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_entropy_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
