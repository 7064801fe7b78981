/* SPDX-License-Identifier: Apache-2.0 */
/* store/raftlog.c and the transactions: log, term and vote. */
#include "tests/lib/store_kit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct kit kit;
static struct kit *const k = &kit;

static int set_up(void **state)
{
    (void)state;
    kit_empty(k);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static void append(uint64_t index, uint64_t term, const char *text)
{
    struct store_entry e = {term, STORE_COMMAND, (const uint8_t *)text, strlen(text)};

    store_log_append(k->store, index, &e);
}

static void apply_barriers(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        struct store_entry e = {1, STORE_BARRIER, NULL, 0};
        struct store_result r;

        store_apply(k->store, i, &e, &r);
    }
}

static void assert_row(uint64_t index, uint64_t term, const char *text)
{
    struct store_entry e;

    assert_true(store_log_get(k->store, index, &e));
    assert_int_equal(e.term, term);
    assert_int_equal(e.type, STORE_COMMAND);
    assert_int_equal(e.len, strlen(text));
    assert_memory_equal(e.data, text, e.len);
}

static void assert_range(uint64_t first, uint64_t last, uint64_t applied)
{
    struct store_raft_state raft;
    struct store_counts counts;
    struct store_entry e;

    store_raft_state(k->store, &raft);
    assert_int_equal(raft.first_index, first);
    assert_int_equal(raft.last_index, last);
    assert_int_equal(raft.applied, applied);
    buf_fini(&raft.config);
    store_counts(k->store, &counts);
    assert_int_equal(counts.log_rows, last + 1 - first);
    assert_false(store_log_get(k->store, first - 1, &e));
    assert_false(store_log_get(k->store, last + 1, &e));
    assert_false(store_log_get(k->store, UINT64_MAX, &e));
}

static void restart(void)
{
    kit_close(k);
    kit_open(k);
}

static void test_new(void **state)
{
    struct store_raft_state raft;

    (void)state;
    store_raft_state(k->store, &raft);
    assert_int_equal(raft.term, 0);
    assert_int_equal(raft.vote, 0);
    assert_int_equal(raft.applied_term, 0);
    assert_int_equal(raft.config_index, 0);
    assert_int_equal(raft.config.len, 0);
    buf_fini(&raft.config);
    assert_range(1, 0, 0);
    restart();
    assert_range(1, 0, 0);
}

static void test_append(void **state)
{
    (void)state;
    store_begin(k->store);
    append(1, 1, "one");
    append(2, 1, "");
    append(3, 4, "three");
    store_commit(k->store, true);
    assert_range(1, 3, 0);
    restart();
    assert_range(1, 3, 0);
    assert_row(1, 1, "one");
    assert_row(2, 1, "");
    assert_row(3, 4, "three");
}

static void test_truncate(void **state)
{
    (void)state;
    store_begin(k->store);
    for (uint64_t i = 1; i <= 6; i++)
        append(i, 1, "old");
    apply_barriers(1, 2);
    store_commit(k->store, true);
    store_begin(k->store);
    store_log_truncate(k->store, 4);
    append(4, 2, "new");
    store_log_truncate(k->store, 9); /* nothing there */
    store_commit(k->store, true);
    restart();
    assert_range(1, 4, 2);
    assert_row(3, 1, "old");
    assert_row(4, 2, "new");
    store_begin(k->store);
    store_log_truncate(k->store, 3);
    store_commit(k->store, true);
    assert_range(1, 2, 2);
}

static void test_compact(void **state)
{
    (void)state;
    store_begin(k->store);
    for (uint64_t i = 1; i <= 6; i++)
        append(i, 1, "x");
    apply_barriers(1, 4);
    store_log_compact(k->store, 1);
    store_commit(k->store, false);
    assert_range(1, 6, 4);
    store_begin(k->store);
    store_log_compact(k->store, 3);
    store_log_compact(k->store, 2); /* compacted already */
    store_commit(k->store, false);
    assert_range(3, 6, 4);
    restart();
    assert_range(3, 6, 4);
    store_begin(k->store);
    apply_barriers(5, 6);
    store_log_compact(k->store, 7); /* all of it */
    store_commit(k->store, false);
    assert_range(7, 6, 6);
    restart();
    assert_range(7, 6, 6);
    store_begin(k->store);
    append(7, 1, "more");
    store_log_truncate(k->store, 7);
    append(7, 2, "other");
    store_commit(k->store, false);
    assert_range(7, 7, 6);
    assert_row(7, 2, "other");
}

static void test_vote(void **state)
{
    struct store_raft_state raft;

    (void)state;
    store_begin(k->store);
    store_set_vote(k->store, 5, 0);
    store_set_vote(k->store, 5, 3);
    store_commit(k->store, true);
    restart();
    store_raft_state(k->store, &raft);
    assert_int_equal(raft.term, 5);
    assert_int_equal(raft.vote, 3);
    buf_fini(&raft.config);
}

/* ---- Misuse ---------------------------------------------------------------------------------- */

static void vote_twice(void)
{
    store_set_vote(k->store, 5, 3);
    store_set_vote(k->store, 5, 2);
}

static void go_back_a_term(void)
{
    store_set_vote(k->store, 5, 3);
    store_set_vote(k->store, 4, 2);
}

static void leave_a_gap(void)
{
    append(2, 1, "x");
}

static void truncate_applied(void)
{
    append(1, 1, "x");
    apply_barriers(1, 1);
    store_log_truncate(k->store, 1);
}

static void compact_unapplied(void)
{
    append(1, 1, "x");
    store_log_compact(k->store, 2);
}

static void apply_out_of_order(void)
{
    append(1, 1, "x");
    append(2, 1, "x");
    apply_barriers(2, 2);
}

static void apply_unknown(void)
{
    apply_barriers(1, 1);
}

static void begin_twice(void)
{
    store_begin(k->store);
}

static bool dies(void (*fn)(void))
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        store_begin(k->store);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_misuse(void **state)
{
    (void)state;
    assert_true(dies(vote_twice));
    assert_true(dies(go_back_a_term));
    assert_true(dies(leave_a_gap));
    assert_true(dies(truncate_applied));
    assert_true(dies(compact_unapplied));
    assert_true(dies(apply_out_of_order));
    assert_true(dies(apply_unknown));
    assert_true(dies(begin_twice));
}

static void get_second(void)
{
    struct store_entry e;

    store_log_get(k->store, 2, &e);
}

static void get_first(void)
{
    struct store_entry e;

    store_log_get(k->store, 1, &e);
}

static void test_damaged_row(void **state)
{
    static const char *const damages[] = {
        "UPDATE log SET data = x'61' WHERE idx = 2",
        "UPDATE log SET term = 2 WHERE idx = 2",
        "UPDATE log SET type = 2 WHERE idx = 2",
        "UPDATE log SET sum = sum + 1 WHERE idx = 2",
        "UPDATE log SET data = (SELECT data FROM log WHERE idx = 1),"
        " sum = (SELECT sum FROM log WHERE idx = 1) WHERE idx = 2",
    };
    char why[300];

    (void)state;
    store_begin(k->store);
    append(1, 1, "one");
    append(2, 1, "two");
    append(3, 3, "three");
    store_commit(k->store, true);
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        kit_close(k);
        kit_sql(k->dir, damages[i]);
        kit_open(k);
        assert_true(dies(get_second));
        assert_false(dies(get_first));
        assert_false(store_check(k->store, why, sizeof why));
        assert_memory_equal(why, "S19", 3);
        store_begin(k->store);
        store_log_truncate(k->store, 2);
        append(2, 1, "two");
        append(3, 3, "three");
        store_commit(k->store, true);
        kit_check(k);
    }
}

/* A transaction that is not committed leaves nothing. */
static void test_uncommitted(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    kit_close(k);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kit_open(k);
        store_begin(k->store);
        append(1, 1, "committed");
        apply_barriers(1, 1);
        store_set_vote(k->store, 1, 1);
        store_commit(k->store, false);
        store_begin(k->store);
        append(2, 1, "lost");
        apply_barriers(2, 2);
        store_set_vote(k->store, 2, 2);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    kit_open(k);
    assert_range(1, 1, 1);
    assert_row(1, 1, "committed");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_new),  T(test_append), T(test_truncate),    T(test_compact),
        T(test_vote), T(test_misuse), T(test_damaged_row), T(test_uncommitted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
