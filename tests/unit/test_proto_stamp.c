/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/gen.h"

static void assert_same(const struct stamp *a, const struct stamp *b)
{
    assert_true(a->session == b->session);
    assert_true(a->seq == b->seq);
    assert_true(a->acked == b->acked);
    assert_true(a->time_ns == b->time_ns);
}

static void assert_round_trip(const struct stamp *s)
{
    uint8_t bytes[STAMP_SIZE], again[STAMP_SIZE];
    struct stamp back;

    stamp_encode(s, bytes);
    assert_true(stamp_decode(bytes, sizeof bytes, &back));
    assert_same(s, &back);
    stamp_encode(&back, again);
    assert_memory_equal(bytes, again, sizeof bytes);
}

static void test_round_trip(void **state BASE_UNUSED)
{
    const struct stamp stamps[] = {
        {0, 0, 0, 0},
        {1, 1, 0, 0},
        {7, 9, 8, 1700000000123456789},
        {1, 2, 0, -1},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX - 1, INT64_MAX},
        {1, 1, 0, INT64_MIN},
        {0, 5, 9, 3}, /* without a session, seq and acked have no meaning */
    };

    for (size_t i = 0; i < ARRAY_LEN(stamps); i++)
        assert_round_trip(&stamps[i]);
}

static void test_round_trip_random(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(1);

    for (int i = 0; i < 20000; i++) {
        struct stamp s = {gen_u64(&rng), gen_u64(&rng) | 1, 0, (int64_t)gen_u64(&rng)};

        s.acked = gen_u64(&rng) % s.seq;
        assert_round_trip(&s);
    }
}

/* The bytes are a contract between versions: little endian, at these offsets. */
static void test_layout(void **state BASE_UNUSED)
{
    const struct stamp s = {0x0102030405060708, 0x1112131415161718, 0x0908070605040302, -2};
    const uint8_t expected[STAMP_SIZE] = {
        1,    0,    0,    0,    0,    0,    0,    0,    0x08, 0x07, 0x06, 0x05, 0x04, 0x03,
        0x02, 0x01, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x02, 0x03, 0x04, 0x05,
        0x06, 0x07, 0x08, 0x09, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    };
    uint8_t bytes[STAMP_SIZE];

    memset(bytes, 0xaa, sizeof bytes);
    stamp_encode(&s, bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
}

static void test_short(void **state BASE_UNUSED)
{
    const struct stamp s = {3, 4, 2, 5};
    uint8_t bytes[STAMP_SIZE + 10] = {0};
    struct stamp back;

    stamp_encode(&s, bytes);
    for (size_t len = 0; len < STAMP_SIZE; len++)
        assert_false(stamp_decode(bytes, len, &back));
    for (size_t len = STAMP_SIZE; len <= sizeof bytes; len++) { /* the command follows */
        assert_true(stamp_decode(bytes, len, &back));
        assert_same(&s, &back);
    }
}

static void test_other_versions(void **state BASE_UNUSED)
{
    const struct stamp s = {3, 4, 2, 5};
    uint8_t bytes[STAMP_SIZE];
    struct stamp back;

    stamp_encode(&s, bytes);
    for (int version = 0; version < 256; version++) {
        bytes[0] = (uint8_t)version;
        assert_int_equal(stamp_decode(bytes, sizeof bytes, &back), version == 1);
    }
}

static void test_reserved_bytes(void **state BASE_UNUSED)
{
    const struct stamp s = {3, 4, 2, 5};
    uint8_t bytes[STAMP_SIZE];
    struct stamp back;

    for (int at = 1; at < 8; at++) {
        stamp_encode(&s, bytes);
        bytes[at] = 0x80;
        assert_false(stamp_decode(bytes, sizeof bytes, &back));
    }
}

static void test_acked_below_seq(void **state BASE_UNUSED)
{
    const struct {
        uint64_t session, seq, acked;
        bool good;
    } cases[] = {
        {1, 1, 0, true},  {1, 0, 0, false},          {1, 1, 1, false},
        {1, 5, 6, false}, {1, 5, UINT64_MAX, false}, {1, UINT64_MAX, UINT64_MAX, false},
        {0, 1, 1, true},  {0, 0, 7, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct stamp s = {cases[i].session, cases[i].seq, cases[i].acked, 0};
        uint8_t bytes[STAMP_SIZE];
        struct stamp back;

        stamp_encode(&s, bytes);
        assert_int_equal(stamp_decode(bytes, sizeof bytes, &back), cases[i].good);
    }
}

/* For any bytes: an accepted stamp is encoded to the same bytes again. */
static void test_fuzz(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(2);
    unsigned accepted = 0;

    for (int i = 0; i < 50000; i++) {
        uint8_t bytes[STAMP_SIZE], again[STAMP_SIZE];
        struct stamp s;

        gen_bytes(&rng, bytes, sizeof bytes);
        if (gen_chance(&rng, 3, 4))
            memset(bytes, 0, 8);
        if (gen_chance(&rng, 3, 4))
            bytes[0] = 1;
        if (!stamp_decode(bytes, sizeof bytes, &s))
            continue;
        stamp_encode(&s, again);
        assert_memory_equal(bytes, again, sizeof bytes);
        accepted++;
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_round_trip_random),
        cmocka_unit_test(test_layout),          cmocka_unit_test(test_short),
        cmocka_unit_test(test_other_versions),  cmocka_unit_test(test_reserved_bytes),
        cmocka_unit_test(test_acked_below_seq), cmocka_unit_test(test_fuzz),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
