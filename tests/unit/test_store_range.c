/* SPDX-License-Identifier: Apache-2.0 */
/* store/range.c: fallocate, copies of ranges, and the reader's SEEK_DATA and SEEK_HOLE. The effect
 * on content is also compared with the model (tests/lib/model_range.c). */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "store/content.h"
#include "store/internal.h"

#define ROOT 1
#define B    CONTENT_BLOCK

#define ALLOCATE       CFS__FALLOCATE__MODE__ALLOCATE
#define KEEP_SIZE      CFS__FALLOCATE__MODE__KEEP_SIZE
#define PUNCH_HOLE     CFS__FALLOCATE__MODE__PUNCH_HOLE
#define ZERO_RANGE     CFS__FALLOCATE__MODE__ZERO_RANGE
#define ZERO_KEEP_SIZE CFS__FALLOCATE__MODE__ZERO_KEEP_SIZE

static struct kit kit;
static struct kit *const k = &kit;
static uint64_t file, other, dir, fifo;
static uint8_t data[6 * B];

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    file = kit_file(k, ROOT, "f");
    other = kit_file(k, ROOT, "g");
    dir = kit_dir(k, ROOT, "d");
    assert_int_equal(kit_make(k, ROOT, "p", S_IFIFO | 0644), 0);
    fifo = kit_find(k, ROOT, "p");
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(1 + i % 251);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static uint32_t fallocate_as(uint64_t ino, Cfs__Fallocate__Mode mode, uint64_t offset, uint64_t len,
                             Cfs__Kill kill)
{
    Cfs__Fallocate op = CFS__FALLOCATE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    op.ino = ino;
    op.mode = mode;
    op.offset = offset;
    op.len = len;
    op.kill = kill;
    c.op_case = CFS__COMMAND__OP_FALLOCATE;
    c.fallocate = &op;
    return kit_run(k, &c);
}

static uint32_t do_fallocate(uint64_t ino, Cfs__Fallocate__Mode mode, uint64_t offset, uint64_t len)
{
    return fallocate_as(ino, mode, offset, len, false);
}

static uint32_t copy_as(uint64_t src, uint64_t src_offset, uint64_t dst, uint64_t dst_offset,
                        uint64_t len, bool truncate, Cfs__Kill kill)
{
    Cfs__Copy op = CFS__COPY__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    op.src = src;
    op.src_offset = src_offset;
    op.dst = dst;
    op.dst_offset = dst_offset;
    op.len = len;
    op.truncate = truncate;
    op.kill = kill;
    c.op_case = CFS__COMMAND__OP_COPY;
    c.copy = &op;
    return kit_run(k, &c);
}

static uint32_t copy(uint64_t src, uint64_t src_offset, uint64_t dst, uint64_t dst_offset,
                     uint64_t len)
{
    return copy_as(src, src_offset, dst, dst_offset, len, false, false);
}

static uint64_t stored(uint64_t ino)
{
    struct inode inode;

    assert_true(row_inode_find(&k->store->rows, ino, &inode));
    return inode.stored;
}

static void assert_content(uint64_t ino, const uint8_t *wanted, size_t len)
{
    uint8_t *out = xmalloc(len + 10);

    assert_int_equal(kit_stat(k, ino).size, len);
    assert_int_equal(reader_read(k->reader, ino, 0, out, len + 10), len);
    assert_memory_equal(out, wanted, len);
    free(out);
}

/* ---- Fallocate --------------------------------------------------------------------------------*/

static void test_allocate(void **state)
{
    (void)state;
    assert_int_equal(kit_write(k, file, 0, "hello", 5), 0);
    assert_int_equal(do_fallocate(file, ALLOCATE, 0, 100), 0);
    assert_int_equal(k->attr.size, 100);
    assert_int_equal(stored(file), 5);
    assert_int_equal(do_fallocate(file, ALLOCATE, 0, 50), 0);
    assert_int_equal(k->attr.size, 100);
    assert_int_equal(do_fallocate(file, KEEP_SIZE, 0, 5 * B), 0);
    assert_int_equal(k->attr.size, 100);
    assert_int_equal(stored(file), 5);
}

static void test_fallocate_is_a_change(void **state)
{
    Cfs__Attr before = kit_stat(k, file), after;

    (void)state;
    assert_int_equal(do_fallocate(file, KEEP_SIZE, 0, 1), 0);
    after = kit_stat(k, file);
    assert_int_equal(after.version, before.version + 1);
    assert_int_equal(after.aversion, before.aversion);
    assert_int_equal(after.modified, store_applied(k->store));
    assert_int_equal(after.mtime_ns, k->now);
    assert_int_equal(after.ctime_ns, k->now);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(k->changes[0].ino, file);

    assert_int_equal(kit_chmod(k, file, 06755), 0);
    assert_int_equal(fallocate_as(file, PUNCH_HOLE, 0, 1, true), 0);
    assert_int_equal(k->attr.mode, S_IFREG | 0755);
    assert_int_equal(k->n_changes, 2);
    assert_int_equal(k->changes[1].kind, CFS__CHANGE__KIND__ATTR);
}

static void test_fallocate_refusals(void **state)
{
    Cfs__Attr before, after;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 100), 0);
    before = kit_stat(k, file);
    assert_int_equal(do_fallocate(file, ALLOCATE, 5, 0), EINVAL);
    assert_int_equal(do_fallocate(file, (Cfs__Fallocate__Mode)5, 5, 1), EINVAL);
    assert_int_equal(do_fallocate(file, (Cfs__Fallocate__Mode)-1, 5, 1), EINVAL);
    assert_int_equal(do_fallocate(999, ALLOCATE, 0, 1), ESTALE);
    assert_int_equal(do_fallocate(dir, ALLOCATE, 0, 1), EISDIR);
    assert_int_equal(do_fallocate(fifo, ALLOCATE, 0, 1), EINVAL);
    for (int mode = ALLOCATE; mode <= ZERO_KEEP_SIZE; mode++) {
        uint32_t wanted = mode == PUNCH_HOLE ? 0 : EFBIG;
        Cfs__Fallocate__Mode m = (Cfs__Fallocate__Mode)mode;

        assert_int_equal(do_fallocate(file, m, LIMIT_FILE_MAX, 1), wanted);
        assert_int_equal(do_fallocate(file, m, UINT64_MAX, UINT64_MAX), wanted);
        assert_int_equal(do_fallocate(file, m, 200, UINT64_MAX), wanted);
    }
    after = kit_stat(k, file);
    assert_int_equal(after.version, before.version + 3); /* punches count, even without an effect */
    assert_content(file, data, 100);
    assert_int_equal(do_fallocate(file, ALLOCATE, LIMIT_FILE_MAX - 1, 1), 0);
    assert_int_equal(k->attr.size, LIMIT_FILE_MAX);
    assert_int_equal(do_fallocate(file, PUNCH_HOLE, 0, UINT64_MAX), 0);
    assert_int_equal(stored(file), 0);
}

static void test_punch(void **state)
{
    static uint8_t want[4 * B + 100];
    static const struct {
        uint64_t from, to, left; /* left: of 4 B + 100 bytes */
    } cases[] = {
        {0, 0, 0}, /* (unused: a length of 0 is refused) */
        {10, 20, 4 * B + 100},
        {0, B, 3 * B + 100},
        {0, B + 1, 3 * B + 100},
        {1, B, 3 * B + 101},
        {B - 1, B, 4 * B + 99},
        {B - 1, B + 1, 4 * B + 99},
        {B, 3 * B, 2 * B + 100},
        {B / 2, 3 * B + 7, 4 * B + 100 - 2 * B - B / 2},
        {4 * B, 4 * B + 100, 4 * B},
        {4 * B, 4 * B + 99, 4 * B + 100},
        {4 * B + 50, 9 * B, 4 * B + 50},
        {0, 9 * B, 0},
    };

    (void)state;
    for (size_t i = 1; i < ARRAY_LEN(cases); i++) {
        uint64_t from = cases[i].from, to = cases[i].to;

        assert_int_equal(kit_write(k, file, 0, data, sizeof want), 0);
        assert_int_equal(stored(file), sizeof want);
        assert_int_equal(do_fallocate(file, PUNCH_HOLE, from, to - from), 0);
        memcpy(want, data, sizeof want);
        memset(want + from, 0, min_u64(to, sizeof want) - from);
        assert_content(file, want, sizeof want);
        assert_int_equal(stored(file), cases[i].left);
        kit_check(k);
    }
}

static void test_zero(void **state)
{
    static uint8_t want[3 * B];

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 2 * B), 0);
    assert_int_equal(do_fallocate(file, ZERO_KEEP_SIZE, B, 2 * B), 0);
    memcpy(want, data, B);
    assert_content(file, want, 2 * B);
    assert_int_equal(do_fallocate(file, ZERO_RANGE, 100, 3 * B - 100), 0);
    memset(want + 100, 0, B);
    assert_content(file, want, 3 * B);
    assert_int_equal(stored(file), 100);
}

static void test_fallocate_room(void **state)
{
    (void)state;
    assert_int_equal(kit_write(k, file, B, data, B), 0);
    k->store->apply.max_bytes = 3 * B;
    assert_int_equal(do_fallocate(file, ALLOCATE, 0, 3 * B),
                     0); /* a third of it is allocated already */
    assert_int_equal(do_fallocate(file, ALLOCATE, 0, 3 * B + 1), ENOSPC);
    assert_int_equal(do_fallocate(file, KEEP_SIZE, 3 * B, 2 * B), 0);
    assert_int_equal(do_fallocate(file, KEEP_SIZE, 3 * B, 2 * B + 1), ENOSPC);
    assert_int_equal(do_fallocate(file, ZERO_RANGE, 0, 9 * B), 0);
    assert_int_equal(kit_stat(k, file).size, 9 * B);
}

/* ---- Copy -------------------------------------------------------------------------------------*/

static void test_copy(void **state)
{
    static const uint64_t places[] = {0, 1, 100, B - 1, B, B + 1, 2 * B, 2 * B + 50};
    static uint8_t want[6 * B];

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 3 * B), 0);
    for (size_t from = 0; from < ARRAY_LEN(places); from++)
        for (size_t to = 0; to < ARRAY_LEN(places); to++)
            for (size_t n = 1; n < ARRAY_LEN(places); n++) {
                uint64_t len = min_u64(places[n], 3 * B - places[from]);
                uint64_t size = max_u64(2 * B, places[to] + len);

                memset(want, 0, sizeof want);
                memset(want, 'o', 2 * B);
                assert_int_equal(kit_truncate(k, other, 0), 0);
                assert_int_equal(kit_write(k, other, 0, want, 2 * B), 0);
                assert_int_equal(copy(file, places[from], other, places[to], places[n]), 0);
                assert_int_equal(k->value, len);
                assert_int_equal(k->attr.ino, other);
                memcpy(want + places[to], data + places[from], len);
                assert_content(other, want, size);
            }
    assert_content(file, data, 3 * B);
}

static void test_copy_is_one_change(void **state)
{
    Cfs__Attr src, before;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 10), 0);
    assert_int_equal(kit_write(k, other, 0, data, 20), 0);
    assert_int_equal(kit_chmod(k, other, 06755), 0);
    src = kit_stat(k, file);
    before = kit_stat(k, other);
    assert_int_equal(copy_as(file, 0, other, 0, 100, true, true), 0);
    assert_int_equal(k->value, 10);
    assert_content(other, data, 10);
    assert_int_equal(k->attr.version, before.version + 1);
    assert_int_equal(k->attr.mtime_ns, k->now);
    assert_int_equal(k->attr.mode, S_IFREG | 0755);
    assert_int_equal(k->n_changes, 2);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(k->changes[0].ino, other);
    assert_int_equal(k->changes[1].kind, CFS__CHANGE__KIND__ATTR);
    assert_int_equal(kit_stat(k, file).version, src.version);
    assert_int_equal(kit_stat(k, file).ctime_ns, src.ctime_ns);
}

static void test_copy_of_nothing(void **state)
{
    Cfs__Attr before;

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 10), 0);
    assert_int_equal(kit_write(k, other, 0, data, 20), 0);
    before = kit_stat(k, other);
    assert_int_equal(copy(file, 10, other, 0, 5), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(copy(file, UINT64_MAX, other, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(copy(file, 0, other, 3, 0), 0);
    assert_int_equal(copy(file, 0, file, 0, 0), 0);
    assert_int_equal(kit_stat(k, other).version, before.version);
    assert_int_equal(copy_as(file, 10, other, 7, 5, true, false), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->attr.size, 0);
    assert_int_equal(k->attr.version, before.version + 1);
}

static void test_copy_keeps_holes(void **state)
{
    static uint8_t want[5 * B];

    (void)state;
    assert_int_equal(kit_write(k, file, 2 * B, data, 100), 0);
    assert_int_equal(kit_truncate(k, file, 5 * B), 0);
    assert_int_equal(kit_write(k, other, 0, data, 4 * B), 0);
    assert_int_equal(copy(file, 0, other, 0, UINT64_MAX), 0);
    assert_int_equal(k->value, 5 * B);
    memcpy(want + 2 * B, data, 100);
    assert_content(other, want, 5 * B);
    assert_int_equal(stored(other), 100);
}

static void test_copy_within(void **state)
{
    static uint8_t want[4 * B];

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 2 * B), 0);
    memcpy(want, data, 2 * B);
    assert_int_equal(copy(file, 0, file, 100, 101), EINVAL);
    assert_int_equal(copy(file, 100, file, 0, 101), EINVAL);
    assert_int_equal(copy(file, 5, file, 5, 1), EINVAL);
    assert_int_equal(copy_as(file, 0, file, B, 1, true, false), EINVAL);
    assert_content(file, want, 2 * B);
    assert_int_equal(copy(file, 0, file, 100, 100), 0);
    memcpy(want + 100, data, 100);
    assert_content(file, want, 2 * B);
    assert_int_equal(copy(file, 50, file, 2 * B - 10, B), 0);
    memcpy(want + 2 * B - 10, want + 50, B);
    assert_content(file, want, 3 * B - 10);
}

static void test_copy_refusals(void **state)
{
    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 10), 0);
    assert_int_equal(copy(999, 0, other, 0, 1), ESTALE);
    assert_int_equal(copy(file, 0, 999, 0, 1), ESTALE);
    assert_int_equal(copy(dir, 0, other, 0, 1), EISDIR);
    assert_int_equal(copy(file, 0, dir, 0, 1), EISDIR);
    assert_int_equal(copy(fifo, 0, other, 0, 1), EINVAL);
    assert_int_equal(copy(file, 0, fifo, 0, 1), EINVAL);
    assert_int_equal(copy(file, 0, other, LIMIT_FILE_MAX - 9, 10), EFBIG);
    assert_int_equal(copy(file, 0, other, UINT64_MAX, 1), EFBIG);
    assert_int_equal(kit_stat(k, other).size, 0);
    assert_int_equal(kit_stat(k, other).version, 0);
    assert_int_equal(copy(file, 0, other, LIMIT_FILE_MAX - 10, 10), 0);
    assert_int_equal(kit_stat(k, other).size, LIMIT_FILE_MAX);
}

static void fill_other(void)
{
    k->store->apply.max_bytes = LIMIT_TREE_BYTES;
    assert_int_equal(kit_truncate(k, other, 0), 0);
    assert_int_equal(kit_write(k, other, B, data, 50), 0);
}

static void check_copy_room(uint64_t from, uint64_t to, bool truncate)
{
    const uint64_t *used = &k->store->state.n.bytes;
    uint64_t before, needed;

    fill_other();
    before = *used;
    assert_int_equal(copy_as(file, from, other, to, 2 * B, truncate, false), 0);
    needed = max_u64(before, *used);
    if (needed > before) {
        fill_other();
        k->store->apply.max_bytes = needed - 1;
        assert_int_equal(copy_as(file, from, other, to, 2 * B, truncate, false), ENOSPC);
        assert_int_equal(*used, before);
    }
    fill_other();
    k->store->apply.max_bytes = needed;
    assert_int_equal(copy_as(file, from, other, to, 2 * B, truncate, false), 0);
}

/* The check for room is exact to the byte, at any alignment. */
static void test_copy_room(void **state)
{
    static const uint64_t places[] = {0, 1, B - 10, B, 2 * B + 5};

    (void)state;
    assert_int_equal(kit_write(k, file, 0, data, 20), 0);
    assert_int_equal(kit_write(k, file, B + 100, data, B + 300), 0);
    assert_int_equal(kit_truncate(k, file, 4 * B), 0);
    for (size_t from = 0; from < ARRAY_LEN(places); from++)
        for (size_t to = 0; to < ARRAY_LEN(places); to++) {
            check_copy_room(places[from], places[to], false);
            check_copy_room(places[from], places[to], true);
        }
}

/* ---- Seeking ----------------------------------------------------------------------------------*/

static void test_seek(void **state)
{
    (void)state;
    assert_int_equal(reader_seek(k->reader, file, 0, false), -ENXIO);
    assert_int_equal(reader_seek(k->reader, file, 0, true), -ENXIO);
    assert_int_equal(kit_write(k, file, 2 * B, data, B + 10), 0);
    assert_int_equal(kit_truncate(k, file, 10 * B + 7), 0);
    assert_int_equal(reader_seek(k->reader, file, 0, false), 2 * B);
    assert_int_equal(reader_seek(k->reader, file, 0, true), 0);
    assert_int_equal(reader_seek(k->reader, file, 2 * B + 5, false), 2 * B + 5);
    assert_int_equal(reader_seek(k->reader, file, 2 * B, true), 3 * B + 4096);
    assert_int_equal(reader_seek(k->reader, file, 3 * B + 4095, true), 3 * B + 4096);
    assert_int_equal(reader_seek(k->reader, file, 3 * B + 4096, false), -ENXIO);
    assert_int_equal(reader_seek(k->reader, file, 9 * B, true), 9 * B);
    assert_int_equal(reader_seek(k->reader, file, 10 * B + 6, true), 10 * B + 6);
    assert_int_equal(reader_seek(k->reader, file, 10 * B + 7, true), -ENXIO);
    assert_int_equal(reader_seek(k->reader, file, UINT64_MAX, false), -ENXIO);
    assert_int_equal(reader_seek(k->reader, dir, 0, false), -EISDIR);
    assert_int_equal(reader_seek(k->reader, fifo, 0, false), -EINVAL);
    assert_int_equal(reader_seek(k->reader, 999, 0, false), -ESTALE);
    assert_int_equal(kit_write(k, other, 0, "hello", 5), 0);
    assert_int_equal(reader_seek(k->reader, other, 0, true), 5); /* the end counts as a hole */
    assert_int_equal(reader_seek(k->reader, other, 4, false), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_allocate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fallocate_is_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fallocate_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_punch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_zero, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fallocate_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_is_one_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_of_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_keeps_holes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_within, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_copy_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_seek, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
