/* SPDX-License-Identifier: Apache-2.0 */
/* The log in memory: which rows fit into a number of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/entries.h"

static uint8_t payload[1u << 20];

static void append(struct entries *e, uint64_t n, size_t len)
{
    struct machine_entry entry = {.term = 1, .type = MACHINE_COMMAND, .data = payload, .len = len};

    while (n-- > 0)
        entries_append(e, &entry);
}

/* Rows from entries_first_within(b) on have at most b bytes, and at least b minus two marks. */
static void test_within(void **state)
{
    struct entries e;
    uint64_t bytes, first, mib;

    (void)state;
    entries_init(&e, 0);
    append(&e, 100, sizeof payload);
    for (mib = 0; mib <= 100; mib++) {
        bytes = mib << 20;
        first = entries_first_within(&e, bytes);
        assert_true((101 - first) << 20 <= bytes + ENTRIES_MARK_BYTES);
        assert_true(((101 - first) << 20) + 2 * ENTRIES_MARK_BYTES >= bytes);
    }
    assert_int_equal(entries_first_within(&e, UINT64_MAX), 1);
    entries_evict(&e, 101); /* drops the payloads, keeps the sizes */
    assert_true(entries_first_within(&e, 8u << 20) > 80);
    entries_fini(&e);
}

static void test_truncate_and_compact(void **state)
{
    struct entries e;

    (void)state;
    entries_init(&e, SIZE_MAX);
    append(&e, 100, sizeof payload);
    entries_truncate(&e, 21);
    assert_true(entries_first_within(&e, 8u << 20) <= 17);
    append(&e, 80, 1); /* truncated rows no longer count */
    assert_true(entries_first_within(&e, 8u << 20) <= 17);
    entries_compact(&e, 60);
    assert_int_equal(entries_first_within(&e, 0), 60);
    entries_reset(&e, 500, 1);
    assert_int_equal(entries_first_within(&e, 0), 501);
    entries_fini(&e);
}

/* A log longer than all marks: the size of the oldest rows is overestimated, never ignored. */
static void test_many_marks(void **state)
{
    struct entries e;
    uint64_t n = (uint64_t)ENTRIES_MARKS * 3 * (ENTRIES_MARK_BYTES >> 20);

    (void)state;
    entries_init(&e, 0);
    while (e.last < n) {
        append(&e, 1, sizeof payload);
        entries_evict(&e, e.last + 1);
    }
    assert_true(entries_first_within(&e, 16u << 20) > n - 24);
    entries_fini(&e);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_truncate_and_compact),
        cmocka_unit_test(test_many_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
