/* SPDX-License-Identifier: Apache-2.0 */
/* store/staged_write.c: staged writes, and the Write that applies them. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/limits.h"
#include "store/content.h"
#include "store/internal.h"

#define ROOT 1

static struct kit kit;
static struct kit *const k = &kit;
static uint64_t file;
static uint8_t *noise; /* LIMIT_WRITE_MAX bytes */

static int set_up(void **state)
{
    (void)state;
    noise = xmalloc(LIMIT_WRITE_MAX);
    for (size_t i = 0; i < LIMIT_WRITE_MAX; i++)
        noise[i] = (uint8_t)(1 + i * 7 % 251);
    kit_init(k);
    file = kit_file(k, ROOT, "f");
    assert_int_equal(kit_write(k, file, 0, "before", 6), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(noise);
    kit_fini(k);
    return 0;
}

struct piece {
    uint64_t offset;
    const void *data;
    size_t len;
};

static Cfs__Extent extents[LIMIT_EXTENTS_MAX + 1];
static Cfs__Extent *extent_list[LIMIT_EXTENTS_MAX + 1];

static void fill_extents(const struct piece *pieces, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cfs__extent__init(&extents[i]);
        extents[i].offset = pieces[i].offset;
        extents[i].data = kit_bytes(pieces[i].data, pieces[i].len);
        extent_list[i] = &extents[i];
    }
}

static void fill_stage(Cfs__Command *c, Cfs__Stage *stage, uint64_t ino, uint64_t number, size_t n)
{
    cfs__command__init(c);
    cfs__stage__init(stage);
    stage->ino = ino;
    stage->stage = number;
    stage->n_extents = n;
    stage->extents = extent_list;
    c->op_case = CFS__COMMAND__OP_STAGE;
    c->stage = stage;
}

static uint32_t stage_all(uint64_t ino, uint64_t number, const struct piece *pieces, size_t n)
{
    Cfs__Command c;
    Cfs__Stage stage;

    fill_extents(pieces, n);
    fill_stage(&c, &stage, ino, number, n);
    return kit_run(k, &c);
}

static uint32_t stage(uint64_t number, uint64_t offset, const void *data, size_t len)
{
    return stage_all(file, number, &(struct piece){offset, data, len}, 1);
}

static uint32_t unstage(uint64_t number)
{
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Unstage u = CFS__UNSTAGE__INIT;

    u.stage = number;
    c.op_case = CFS__COMMAND__OP_UNSTAGE;
    c.unstage = &u;
    return kit_run(k, &c);
}

/* Sends the Write that applies `staged` extents, and its own extent `last` if not NULL. */
static uint32_t apply(uint64_t number, uint32_t staged, bool truncate, const struct piece *last)
{
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Write write = CFS__WRITE__INIT;

    if (last != NULL)
        fill_extents(last, 1);
    write.ino = file;
    write.truncate = truncate;
    write.stage = number;
    write.staged = staged;
    write.n_extents = last != NULL ? 1 : 0;
    write.extents = extent_list;
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &write;
    return kit_run(k, &c);
}

static void assert_content(const void *wanted, size_t len)
{
    uint8_t *out = xmalloc(len + 1);

    assert_int_equal(kit_stat(k, file).size, len);
    assert_int_equal(reader_read(k->reader, file, 0, out, len + 1), len);
    assert_memory_equal(out, wanted, len);
    free(out);
}

static uint64_t bytes_used(void)
{
    struct reader_usage usage;

    assert_int_equal(reader_usage(k->reader, &usage), 0);
    return usage.bytes;
}

/* ---- Applying ---------------------------------------------------------------------------------*/

static void test_appears_at_once(void **state)
{
    Cfs__Attr before = kit_stat(k, file);

    (void)state;
    assert_int_equal(stage(1, 0, "one", 3), 0);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(stage(1, 3, " two", 4), 0);
    assert_content("before", 6);
    assert_int_equal(kit_stat(k, file).version, before.version);
    assert_int_equal(bytes_used(), 6 + 7);
    kit_check(k);
    assert_int_equal(apply(1, 2, true, &(struct piece){7, " three", 6}), 0);
    assert_int_equal(k->value, 0);
    assert_int_equal(k->n_changes, 1);
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__DATA);
    assert_int_equal(k->attr.version, before.version + 1);
    assert_content("one two three", 13);
    assert_int_equal(bytes_used(), 13);
    assert_int_equal(k->store->state.staged_writes, 0);
}

static void test_order_counts(void **state)
{
    (void)state;
    assert_int_equal(stage(7, 2, "xxxx", 4), 0);
    assert_int_equal(stage(7, 3, "yy", 2), 0);
    assert_int_equal(apply(7, 2, false, &(struct piece){4, "z", 1}), 0);
    assert_int_equal(k->value, 2); /* offset of the first piece */
    assert_content("bexyzx", 6);
}

static void test_without_extents_of_its_own(void **state)
{
    const struct piece pieces[] = {{0, "ab", 2}, {9, NULL, 0}, {2, "cd", 2}};

    (void)state;
    assert_int_equal(stage_all(file, 1, pieces, 3), 0);
    assert_int_equal(apply(1, 2, true, NULL), 0); /* the empty piece does not count */
    assert_content("abcd", 4);
}

static void test_must_be_complete(void **state)
{
    (void)state;
    assert_int_equal(stage(1, 0, "one", 3), 0);
    assert_int_equal(apply(1, 2, true, NULL), ECANCELED);
    assert_int_equal(apply(1, 0, true, NULL), ECANCELED);
    assert_int_equal(apply(2, 1, true, NULL), ECANCELED);
    assert_content("before", 6);
    assert_int_equal(k->store->state.staged_writes, 1); /* still staged */
    assert_int_equal(apply(1, 1, true, NULL), 0);
    assert_content("one", 3);
    assert_int_equal(apply(1, 1, true, NULL), ECANCELED); /* it was used */
}

static void test_stages_are_apart(void **state)
{
    struct kit_host other = kit_host(k, 2, 99, 0);
    Cfs__Command c;
    Cfs__Stage s;

    (void)state;
    assert_int_equal(stage(1, 0, "mine", 4), 0);
    assert_int_equal(stage(2, 0, "more", 4), 0);
    fill_extents(&(struct piece){0, "theirs", 6}, 1);
    fill_stage(&c, &s, file, 1, 1);
    assert_int_equal(kit_run_as(k, &other, &c), 0);
    assert_int_equal(unstage(2), 0);
    assert_int_equal(unstage(2), 0);
    assert_int_equal(apply(1, 1, true, NULL), 0);
    assert_content("mine", 4);
    assert_int_equal(k->store->state.staged_writes, 1); /* the staged write of the other session */
}

/* ---- Refusals ---------------------------------------------------------------------------------*/

static void test_refusals(void **state)
{
    Cfs__Command c = CFS__COMMAND__INIT;
    Cfs__Write write = CFS__WRITE__INIT;
    uint64_t dir = kit_dir(k, ROOT, "d");

    (void)state;
    assert_int_equal(stage(0, 0, "x", 1), EINVAL);
    assert_int_equal(stage_all(dir, 1, NULL, 0), EISDIR);
    assert_int_equal(stage_all(4711, 1, NULL, 0), ESTALE);
    assert_int_equal(stage(1, LIMIT_FILE_MAX, "x", 1), EFBIG);
    assert_int_equal(stage(1, LIMIT_FILE_MAX - 1, "x", 1), 0);
    assert_int_equal(stage(1, UINT64_MAX, "x", 1), EFBIG);
    write.ino = file;
    write.append = true;
    write.stage = 1;
    write.staged = 1;
    c.op_case = CFS__COMMAND__OP_WRITE;
    c.write = &write;
    assert_int_equal(kit_run(k, &c), EINVAL);
    assert_int_equal(k->store->state.staged_writes, 1);
}

static void test_no_more_than_a_stage_holds(void **state)
{
    static struct piece many[LIMIT_EXTENTS_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct piece){i, "x", 1};
    assert_int_equal(stage_all(file, 1, many, LIMIT_EXTENTS_MAX + 1), E2BIG);
    for (size_t i = 0; i < LIMIT_STAGE_EXTENTS / LIMIT_EXTENTS_MAX; i++)
        assert_int_equal(stage_all(file, 1, many, LIMIT_EXTENTS_MAX), 0);
    assert_int_equal(stage_all(file, 1, many, 1), E2BIG);
    assert_int_equal(apply(1, LIMIT_STAGE_EXTENTS, true, NULL), 0);
    assert_int_equal(kit_stat(k, file).size, LIMIT_EXTENTS_MAX);
}

static void test_space(void **state)
{
    uint64_t used = k->store->state.n.bytes + k->store->state.n.meta_bytes;

    (void)state;
    k->store->apply.max_bytes = used + 100000;
    assert_int_equal(stage(1, 0, noise, 60000), 0);
    assert_int_equal(stage(1, 60000, noise, 60000), ENOSPC);
    assert_int_equal(kit_write(k, file, 0, noise, 60000), ENOSPC); /* the room is taken */
    /* Staged bytes need no more room when they are written. */
    assert_int_equal(apply(1, 1, true, NULL), 0);
    assert_content(noise, 60000);
    /* Here they need more, because the gap before them takes room, too. */
    assert_int_equal(stage(2, 70000, noise, 30000), 0);
    k->store->apply.max_bytes = k->store->state.n.bytes + k->store->state.n.meta_bytes;
    assert_int_equal(apply(2, 1, false, NULL), ENOSPC);
    assert_content(noise, 60000);
    assert_int_equal(unstage(2), 0);
}

/* ---- Ends -------------------------------------------------------------------------------------*/

static void test_ends_with_its_session(void **state)
{
    struct kit_host other = kit_host(k, 2, 99, 0);
    Cfs__Command c;
    Cfs__Stage s;
    Cfs__CloseSession close_session = CFS__CLOSE_SESSION__INIT;

    (void)state;
    assert_int_equal(stage(1, 0, "mine", 4), 0);
    fill_extents(&(struct piece){0, "theirs", 6}, 1);
    fill_stage(&c, &s, file, 1, 1);
    assert_int_equal(kit_run_as(k, &other, &c), 0);
    fill_stage(&c, &s, file, 2, 1);
    assert_int_equal(kit_run_as(k, &other, &c), 0);
    assert_int_equal(bytes_used(), 6 + 4 + 12);
    cfs__command__init(&c);
    c.op_case = CFS__COMMAND__OP_CLOSE_SESSION;
    c.close_session = &close_session;
    assert_int_equal(kit_run_as(k, &other, &c), 0);
    assert_int_equal(bytes_used(), 6 + 4);
    kit_check(k);
    kit_session(k, 1, 4711); /* the next run of this host's daemon */
    assert_int_equal(bytes_used(), 6);
    assert_int_equal(k->store->state.staged_writes, 0);
}

static void test_survives_a_restart(void **state)
{
    (void)state;
    assert_int_equal(stage(1, 0, noise, 100000), 0);
    kit_close(k);
    kit_open(k);
    assert_int_equal(k->store->state.staged_writes, 1);
    assert_int_equal(stage(1, 100000, noise, 100), 0);
    assert_int_equal(apply(1, 2, true, NULL), 0);
    assert_int_equal(kit_stat(k, file).size, 100100);
}

static void test_same_everywhere(void **state)
{
    struct kit other;

    (void)state;
    assert_int_equal(stage(1, 0, noise, 100000), 0);
    assert_int_equal(stage(2, 5, noise, 100), 0);
    assert_int_equal(apply(1, 1, true, NULL), 0);
    kit_empty(&other);
    kit_follow(&other, k);
    kit_assert_hash(k, &other);
    kit_fini(&other);
}

static void test_damage_is_found(void **state)
{
    char why[200];

    (void)state;
    assert_int_equal(stage(1, 0, "content", 7), 0);
    kit_close(k);
    kit_sql(k->dir, "UPDATE part SET data = x'636f6e74656e75'");
    kit_open(k);
    assert_false(store_check(k->store, why, sizeof why));
    assert_int_equal(strncmp(why, "S50", 3), 0);
    kit_close(k);
    kit_sql(k->dir, "UPDATE part SET data = CAST('content' AS BLOB)");
    kit_open(k);
    kit_check(k);
}

/* Like `cp` of the largest file over another one: measures how long the loop is busy with the
 * command that makes it visible. */
static void test_the_largest(void **state)
{
    const size_t n = LIMIT_FILE_MAX / LIMIT_WRITE_MAX;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        uint64_t begin;

        for (size_t i = 0; i + 1 < n; i++)
            assert_int_equal(stage(1, i * LIMIT_WRITE_MAX, noise, LIMIT_WRITE_MAX), 0);
        begin = clock_boot_ms();
        assert_int_equal(
            apply(1, (uint32_t)n - 1, true,
                  &(struct piece){LIMIT_FILE_MAX - LIMIT_WRITE_MAX, noise, LIMIT_WRITE_MAX}),
            0);
        print_message("%s %zu MiB in one step: %llu ms\n", round == 0 ? "writing" : "replacing", n,
                      (unsigned long long)(clock_boot_ms() - begin));
    }
    assert_int_equal(kit_stat(k, file).size, LIMIT_FILE_MAX);
    assert_int_equal(bytes_used(), LIMIT_FILE_MAX);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_appears_at_once),
        T(test_order_counts),
        T(test_without_extents_of_its_own),
        T(test_must_be_complete),
        T(test_stages_are_apart),
        T(test_refusals),
        T(test_no_more_than_a_stage_holds),
        T(test_space),
        T(test_ends_with_its_session),
        T(test_survives_a_restart),
        T(test_same_everywhere),
        T(test_damage_is_found),
        T(test_the_largest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
