/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raft/frame.h"

static uint64_t seed;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static void add_frame(struct buf *stream, const void *payload, size_t len)
{
    uint8_t header[FRAME_HEADER];

    frame_header(header, payload, len);
    buf_append(stream, header, sizeof header);
    buf_append(stream, payload, len);
}

/* Feeds all bytes, in pieces of at most `piece` bytes. */
static void feed(struct frame_reader *r, const uint8_t *data, size_t len)
{
    uint8_t *at;
    size_t room;

    while (len > 0) {
        frame_reader_room(r, &at, &room);
        assert_true(room >= FRAME_READ);
        if (room > len)
            room = len;
        memcpy(at, data, room);
        frame_reader_filled(r, room);
        data += room;
        len -= room;
    }
}

static void test_one(void **state BASE_UNUSED)
{
    struct frame_reader r;
    struct buf stream = BUF_EMPTY;
    const uint8_t *payload;
    size_t len;

    add_frame(&stream, "hello", 5);
    assert_int_equal(stream.len, 13);
    assert_memory_equal(stream.data, "\x05\0\0\0", 4);
    frame_reader_init(&r, FRAME_MAX);
    assert_int_equal(frame_reader_next(&r, &payload, &len), 0);
    feed(&r, stream.data, stream.len);
    assert_int_equal(frame_reader_next(&r, &payload, &len), 1);
    assert_int_equal(len, 5);
    assert_memory_equal(payload, "hello", 5);
    assert_int_equal(frame_reader_next(&r, &payload, &len), 0);
    frame_reader_fini(&r);
    buf_fini(&stream);
}

/* Other versions depend on this wire format. */
static void test_known_bytes(void **state BASE_UNUSED)
{
    static const uint8_t known[] = {5, 0, 0, 0, 0xfd, 0xdc, 0x62, 0x5c, 'h', 'e', 'l', 'l', 'o'};
    struct buf stream = BUF_EMPTY;

    add_frame(&stream, "hello", 5);
    assert_memory_equal(stream.data, known, sizeof known);
    buf_fini(&stream);
}

static void test_truncations(void **state BASE_UNUSED)
{
    struct buf stream = BUF_EMPTY;
    const uint8_t *payload;
    size_t len;

    add_frame(&stream, "some payload of a frame", 23);
    for (size_t cut = 0; cut < stream.len; cut++) {
        struct frame_reader r;

        frame_reader_init(&r, FRAME_MAX);
        feed(&r, stream.data, cut);
        assert_int_equal(frame_reader_next(&r, &payload, &len), 0);
        feed(&r, stream.data + cut, stream.len - cut); /* and the rest */
        assert_int_equal(frame_reader_next(&r, &payload, &len), 1);
        assert_int_equal(len, 23);
        frame_reader_fini(&r);
    }
    buf_fini(&stream);
}

/* Every flipped bit is detected: as a bad frame, or as a frame that never ends. */
static void test_bit_flips(void **state BASE_UNUSED)
{
    struct buf stream = BUF_EMPTY;
    const uint8_t *payload;
    size_t len;

    add_frame(&stream, "some payload of a frame", 23);
    for (size_t bit = 0; bit < 8 * stream.len; bit++) {
        struct frame_reader r;
        int got;

        stream.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        frame_reader_init(&r, 1000);
        feed(&r, stream.data, stream.len);
        got = frame_reader_next(&r, &payload, &len);
        assert_true(got <= 0);
        if (bit >= 32)
            assert_int_equal(got, -EBADMSG);
        else /* the length: the frame never ends, is too long, or its checksum is wrong */
            assert_true(got == 0 || got == -EMSGSIZE || got == -EBADMSG);
        if (got < 0) /* the error is permanent */
            assert_int_equal(frame_reader_next(&r, &payload, &len), got);
        frame_reader_fini(&r);
        stream.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    buf_fini(&stream);
}

static void test_lengths(void **state BASE_UNUSED)
{
    static const struct {
        uint32_t len;
        int err;
    } cases[] = {
        {0, -EMSGSIZE},
        {1, 0},
        {100, 0},
        {101, -EMSGSIZE},
        {0xffffffff, -EMSGSIZE},
        {0x80000000, -EMSGSIZE},
        {FRAME_MAX, -EMSGSIZE},
        {FRAME_MAX + 1, -EMSGSIZE},
    };
    const uint8_t *payload;
    size_t len;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t header[FRAME_HEADER] = {0};
        struct frame_reader r;
        uint8_t *at;

        for (int b = 0; b < 4; b++)
            header[b] = (uint8_t)(cases[i].len >> (8 * b));
        frame_reader_init(&r, 100);
        feed(&r, header, sizeof header);
        assert_int_equal(frame_reader_next(&r, &payload, &len), cases[i].err);
        frame_reader_room(&r, &at, &len); /* an announced length causes no allocation */
        assert_true(r.in.cap <= 4 * FRAME_READ);
        frame_reader_fini(&r);
    }
}

static void test_largest(void **state BASE_UNUSED)
{
    struct buf stream = BUF_EMPTY;
    struct frame_reader r;
    uint8_t *payload = xcalloc(1, FRAME_MAX);
    const uint8_t *got;
    size_t len;

    for (size_t i = 0; i < FRAME_MAX; i++)
        payload[i] = (uint8_t)(i * 7 + i / 251);
    add_frame(&stream, payload, FRAME_MAX);
    add_frame(&stream, "x", 1);
    frame_reader_init(&r, FRAME_MAX);
    feed(&r, stream.data, stream.len);
    assert_int_equal(frame_reader_next(&r, &got, &len), 1);
    assert_int_equal(len, FRAME_MAX);
    assert_memory_equal(got, payload, FRAME_MAX);
    assert_int_equal(frame_reader_next(&r, &got, &len), 1);
    assert_int_equal(len, 1);
    feed(&r, (const uint8_t *)"", 1);
    assert_true(r.in.cap <= 4 * FRAME_READ); /* the memory was freed */
    frame_reader_fini(&r);
    buf_fini(&stream);
    free(payload);
}

static void test_streams_in_pieces(void **state BASE_UNUSED)
{
    seed = (uint64_t)getpid() * 88172645463325252u + 1;
    printf("seed %llu\n", (unsigned long long)seed);
    for (int run = 0; run < 50; run++) {
        struct buf stream = BUF_EMPTY;
        size_t lens[200], n = 0, read = 0, sent = 0;
        struct frame_reader r;
        const uint8_t *payload;
        size_t len;

        for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
            uint8_t bytes[3000];

            lens[i] = 1 + draw(draw(10) == 0 ? sizeof bytes - 1 : 60);
            memset(bytes, (int)i, lens[i]);
            add_frame(&stream, bytes, lens[i]);
        }
        frame_reader_init(&r, 3000);
        while (sent < stream.len) {
            size_t piece = 1 + draw(draw(2) ? 20 : 9000);

            if (piece > stream.len - sent)
                piece = stream.len - sent;
            feed(&r, stream.data + sent, piece);
            sent += piece;
            while (frame_reader_next(&r, &payload, &len) == 1) {
                assert_int_equal(len, lens[n]);
                for (size_t i = 0; i < len; i++)
                    assert_int_equal(payload[i], (uint8_t)n);
                n++;
                read += FRAME_HEADER + len;
            }
            assert_true(read <= sent);
        }
        assert_int_equal(n, ARRAY_LEN(lens));
        frame_reader_fini(&r);
        buf_fini(&stream);
    }
}

static void test_garbage(void **state BASE_UNUSED)
{
    for (int run = 0; run < 2000; run++) {
        uint8_t bytes[300];
        struct frame_reader r;
        const uint8_t *payload;
        size_t len;

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)draw(draw(2) ? 256 : 3);
        frame_reader_init(&r, 250);
        feed(&r, bytes, sizeof bytes);
        assert_true(frame_reader_next(&r, &payload, &len) <= 0);
        frame_reader_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_known_bytes),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_streams_in_pieces),
        cmocka_unit_test(test_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
