/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "tests/lib/gen.h"

static const ProtobufCMessageDescriptor *const types[] = {
    &cfs__command__descriptor, &cfs__reply__descriptor, &cfs__change__descriptor,
    &cfs__attr__descriptor};

static struct buf pack(const ProtobufCMessage *message)
{
    struct buf b = BUF_EMPTY;

    buf_reserve(&b, protobuf_c_message_get_packed_size(message));
    b.len = protobuf_c_message_pack(message, b.data);
    return b;
}

/* Decodes a copy of exactly this size, so that a sanitizer sees reads beyond the end. */
static ProtobufCMessage *decode(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                                size_t len, size_t budget)
{
    uint8_t *exact = xmemdup(data, len);
    ProtobufCMessage *message = decode_message(type, exact, len, budget);

    free(exact);
    return message;
}

static void free_message(ProtobufCMessage *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

/* A random command of any kind, made by the generator. */
static struct buf some_command(struct gen_rng *rng, const struct model *m)
{
    const struct gen_mix one = {{[GEN_NOOP] = 1}};
    struct gen_op op = gen_op(rng, &one);
    struct buf bytes = BUF_EMPTY, command;
    struct store_entry entry;

    op.kind = (enum gen_kind)gen_below(rng, GEN_BARRIER);
    gen_entry(&op, m, &bytes, &entry);
    command = buf_copy(entry.data + STAMP_SIZE, entry.len - STAMP_SIZE);
    buf_fini(&bytes);
    return command;
}

static void test_round_trip_of_all_commands(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(11);
    struct model *m = model_new();
    unsigned seen[GEN_BARRIER + 1] = {0};

    for (int i = 0; i < 2000; i++) {
        struct buf bytes = some_command(&rng, m), again;
        ProtobufCMessage *message =
            decode(&cfs__command__descriptor, bytes.data, bytes.len, LIMIT_DECODE_BUDGET);
        const Cfs__Command *command = (const Cfs__Command *)(const void *)message;

        assert_non_null(message);
        assert_in_range(command->op_case, 1, ARRAY_LEN(seen) - 1);
        seen[command->op_case]++;
        again = pack(message);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        free_message(message);
        buf_fini(&again);
        buf_fini(&bytes);
    }
    for (int op = CFS__COMMAND__OP_NOOP; op <= CFS__COMMAND__OP_REAP; op++)
        assert_true(seen[op] > 10);
    model_free(m);
}

static void test_fields_survive(void **state BASE_UNUSED)
{
    Cfs__Attr attr = CFS__ATTR__INIT, *got;
    Cfs__Reply reply = CFS__REPLY__INIT, *back;
    struct buf bytes;

    attr.ino = UINT64_MAX;
    attr.mode = 0120777;
    attr.mtime_ns = INT64_MIN;
    attr.ctime_ns = -1;
    attr.parent = 1;
    reply.attr = &attr;
    reply.status = 39;
    reply.value = 1ull << 63;
    bytes = pack(&reply.base);
    back = (Cfs__Reply *)(void *)decode(&cfs__reply__descriptor, bytes.data, bytes.len, 4096);
    assert_non_null(back);
    got = back->attr;
    assert_int_equal(back->status, 39);
    assert_true(back->value == 1ull << 63);
    assert_true(got->ino == UINT64_MAX && got->mode == 0120777 && got->parent == 1);
    assert_true(got->mtime_ns == INT64_MIN && got->ctime_ns == -1 && got->atime_ns == 0);
    cfs__reply__free_unpacked(back, NULL);
    buf_fini(&bytes);
}

static void test_empty_has_no_op(void **state BASE_UNUSED)
{
    ProtobufCMessage *message = decode(&cfs__command__descriptor, NULL, 0, 4096);

    assert_non_null(message);
    assert_int_equal(((Cfs__Command *)(void *)message)->op_case, CFS__COMMAND__OP__NOT_SET);
    free_message(message);
}

/* A command is one field that contains the rest, so no proper prefix of it is a command. */
static void test_truncated_at_every_length(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(12);
    struct model *m = model_new();

    for (int i = 0; i < 300; i++) {
        struct buf bytes = some_command(&rng, m);

        for (size_t len = 1; len < bytes.len && len < 400; len++)
            assert_null(decode(&cfs__command__descriptor, bytes.data, len, LIMIT_DECODE_BUDGET));
        for (size_t cut = 1; cut < 50 && cut < bytes.len; cut++)
            assert_null(decode(&cfs__command__descriptor, bytes.data, bytes.len - cut,
                               LIMIT_DECODE_BUDGET));
        buf_fini(&bytes);
    }
    model_free(m);
}

/* A flat message may be cut between two fields; what is decoded must be sound. */
static void test_truncated_attr(void **state BASE_UNUSED)
{
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct buf bytes;
    unsigned good = 0;

    attr.ino = 300;
    attr.mode = 0100644;
    attr.size = 1ull << 40;
    attr.mtime_ns = 5;
    attr.parent = 1;
    bytes = pack(&attr.base);
    for (size_t len = 0; len < bytes.len; len++) {
        ProtobufCMessage *message = decode(&cfs__attr__descriptor, bytes.data, len, 4096);

        if (message == NULL)
            continue;
        assert_int_equal(protobuf_c_message_get_packed_size(message), len);
        free_message(message);
        good++;
    }
    assert_int_equal(good, 5); /* empty, and behind each of the first four fields */
    buf_fini(&bytes);
}

static struct buf write_of(size_t n_extents, size_t len)
{
    Cfs__Extent *extents = xcalloc(n_extents, sizeof *extents);
    Cfs__Extent **list = xcalloc(n_extents, sizeof *list);
    uint8_t *data = xcalloc(1, len);
    Cfs__Write write = CFS__WRITE__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct buf bytes;

    for (size_t i = 0; i < n_extents; i++) {
        cfs__extent__init(&extents[i]);
        extents[i].data = (ProtobufCBinaryData){len, data};
        list[i] = &extents[i];
    }
    write.ino = 5;
    write.n_extents = n_extents;
    write.extents = list;
    command.op_case = CFS__COMMAND__OP_WRITE;
    command.write = &write;
    bytes = pack(&command.base);
    free(data);
    free(list);
    free(extents);
    return bytes;
}

static bool decodes(const struct buf *bytes, size_t budget)
{
    ProtobufCMessage *message = decode(&cfs__command__descriptor, bytes->data, bytes->len, budget);

    if (message == NULL)
        return false;
    free_message(message);
    return true;
}

/* The smallest sufficient budget. */
static size_t budget_of(const struct buf *bytes)
{
    size_t low = 0, high = LIMIT_DECODE_BUDGET;

    assert_true(decodes(bytes, high));
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (decodes(bytes, middle))
            high = middle;
        else
            low = middle;
    }
    return high;
}

static void test_budget_counts_everything(void **state BASE_UNUSED)
{
    const struct {
        size_t extents, len;
    } cases[] = {{0, 0}, {1, 1}, {1, 100000}, {10, 1000}, {500, 0}, {500, 20}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf bytes = write_of(cases[i].extents, cases[i].len);
        size_t least = budget_of(&bytes);
        size_t content = sizeof(Cfs__Command) + sizeof(Cfs__Write) +
                         cases[i].extents * (sizeof(Cfs__Extent) + sizeof(void *) + cases[i].len);

        assert_true(least >= content);
        for (size_t budget = 0; budget < least; budget += 1 + least / 97)
            assert_false(decodes(&bytes, budget));
        assert_false(decodes(&bytes, least - 1));
        assert_true(decodes(&bytes, least));
        buf_fini(&bytes);
    }
}

/* Two bytes on the wire become a large object: the budget stops that. */
static void test_budget_stops_blow_up(void **state BASE_UNUSED)
{
    enum { CLAIMED = 1000000 };
    struct buf bytes = BUF_EMPTY;
    const uint8_t head[] = {0x42, 0x80 | (CLAIMED * 2 & 0x7f), 0x80 | (CLAIMED * 2 >> 7 & 0x7f),
                            CLAIMED * 2 >> 14}; /* Command.write, of 2 000 000 bytes */

    buf_append(&bytes, head, sizeof head);
    buf_reserve(&bytes, CLAIMED * 2);
    for (size_t i = 0; i < CLAIMED; i++)
        memcpy(bytes.data + bytes.len + 2 * i, "\x22\x00", 2); /* an empty extent */
    bytes.len += CLAIMED * 2;
    assert_true(bytes.len < LIMIT_FRAME_MAX);
    assert_false(decodes(&bytes, LIMIT_DECODE_BUDGET));
    assert_true(decodes(&bytes, 512u << 20)); /* it is well-formed, just greedy */
    buf_fini(&bytes);
}

/* A length beyond the end of the bytes, in every encoding. */
static void test_lying_lengths(void **state BASE_UNUSED)
{
    static const struct {
        const char *bytes;
        size_t len;
    } lies[] = {
        {"\x1a\x05"
         "abcd",
         6},
        {"\x1a\xff\xff\xff\xff\x0f", 6},
        {"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
        {"\x1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 13},
        {"\x1a\x80", 2},
        {"\x1a", 1},
        {"\x1b\x00", 2},                 /* a group */
        {"\x1d\x01\x02\x03", 4},         /* four bytes wanted */
        {"\x19\x01\x02\x03\x04\x05", 6}, /* eight bytes wanted */
        {"\x1f\x01", 2},                 /* no such wire type */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        assert_null(decode(&cfs__command__descriptor, (const uint8_t *)lies[i].bytes, lies[i].len,
                           LIMIT_DECODE_BUDGET));
}

/* Everything that can be decoded can be encoded, and decodes to the same message. */
static bool assert_stable(const ProtobufCMessageDescriptor *type, const struct buf *bytes)
{
    ProtobufCMessage *message = decode(type, bytes->data, bytes->len, LIMIT_DECODE_BUDGET);
    struct buf once, twice;

    if (message == NULL)
        return false;
    once = pack(message);
    free_message(message);
    message = decode(type, once.data, once.len, 2 * LIMIT_DECODE_BUDGET);
    assert_non_null(message);
    twice = pack(message);
    assert_int_equal(once.len, twice.len);
    if (once.len > 0)
        assert_memory_equal(once.data, twice.data, once.len);
    free_message(message);
    buf_fini(&once);
    buf_fini(&twice);
    return true;
}

static void test_fuzz_random_bytes(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(gen_env("FUZZ_SEED", 13));
    uint64_t rounds = gen_env("FUZZ_ROUNDS", 20000);

    for (uint64_t i = 0; i < rounds; i++) {
        struct buf bytes = BUF_EMPTY;

        buf_reserve(&bytes, 200);
        bytes.len = gen_below(&rng, i % 10 == 0 ? 200 : 24);
        gen_bytes(&rng, bytes.data, bytes.len);
        assert_stable(types[i % ARRAY_LEN(types)], &bytes);
        buf_fini(&bytes);
    }
}

static void test_fuzz_damaged_commands(void **state BASE_UNUSED)
{
    struct gen_rng rng = gen_rng_from(gen_env("FUZZ_SEED", 14));
    uint64_t rounds = gen_env("FUZZ_ROUNDS", 20000);
    struct model *m = model_new();
    uint64_t good = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        struct buf bytes = some_command(&rng, m);

        for (uint64_t k = 1 + gen_below(&rng, 3); k > 0 && bytes.len > 0; k--)
            gen_damage(&rng, &bytes, 0);
        good += assert_stable(&cfs__command__descriptor, &bytes);
        buf_fini(&bytes);
    }
    assert_true(good > rounds / 20 && good < rounds); /* both paths were taken */
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_of_all_commands),
        cmocka_unit_test(test_fields_survive),
        cmocka_unit_test(test_empty_has_no_op),
        cmocka_unit_test(test_truncated_at_every_length),
        cmocka_unit_test(test_truncated_attr),
        cmocka_unit_test(test_budget_counts_everything),
        cmocka_unit_test(test_budget_stops_blow_up),
        cmocka_unit_test(test_lying_lengths),
        cmocka_unit_test(test_fuzz_random_bytes),
        cmocka_unit_test(test_fuzz_damaged_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
