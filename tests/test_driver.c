/* The driver in scenes played by hand in the simulator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tests/raft_sim.h"

#define SECOND 1000000u

static struct raft_sim *sim_of(unsigned voters, unsigned standbys, unsigned n)
{
    struct raft_sim_config config;

    raft_sim_defaults(&config);
    config.voters = voters;
    config.standbys = standbys;
    config.n = n;
    return raft_sim_new(&config);
}

static void assert_fine(struct raft_sim *sim)
{
    if (raft_sim_error(sim) != NULL)
        fail_msg("%s", raft_sim_error(sim));
}

static bool has_leader(struct raft_sim *sim, void *arg)
{
    (void)arg;
    return raft_sim_leader(sim) != 0;
}

static unsigned await_leader(struct raft_sim *sim)
{
    assert_true(raft_sim_until(sim, has_leader, NULL, 10 * SECOND));
    return raft_sim_leader(sim);
}

struct want {
    unsigned id;
    uint64_t applied;
};

static bool has_applied(struct raft_sim *sim, void *arg)
{
    const struct want *want = arg;

    return raft_sim_applied(sim, want->id) >= want->applied;
}

static void await_applied(struct raft_sim *sim, unsigned id, uint64_t applied)
{
    struct want want = {id, applied};

    if (!raft_sim_until(sim, has_applied, &want, 10 * SECOND))
        fail_msg("member %u has not applied %llu: %s", id, (unsigned long long)applied,
                 raft_sim_error(sim) != NULL ? raft_sim_error(sim) : "too late");
}

static unsigned other_than(const struct raft_sim *sim, unsigned leader)
{
    (void)sim;
    return leader == 1 ? 2 : 1;
}

static void test_three_elect_replicate_and_forward(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), i;
    uint64_t before;

    (void)state;
    raft_sim_run(sim, SECOND);
    before = raft_sim_applied(sim, leader);
    assert_true(before >= 2); /* the configuration and the barrier of the term */
    for (i = 0; i < 30; i++)
        assert_true(raft_sim_propose(sim, 1 + i % 3, 100));
    for (i = 1; i <= 3; i++)
        await_applied(sim, i, before + 30);
    assert_int_equal(raft_sim_hash(sim, 1), raft_sim_hash(sim, 2));
    assert_int_equal(raft_sim_hash(sim, 1), raft_sim_hash(sim, 3));
    assert_int_equal(raft_sim_leader(sim), leader);
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_followers_learn_a_commit_at_once(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim);
    uint64_t before, begin;

    (void)state;
    raft_sim_run(sim, SECOND);
    before = raft_sim_applied(sim, leader);
    begin = raft_sim_now(sim);
    assert_true(raft_sim_propose(sim, leader, 10));
    await_applied(sim, other_than(sim, leader), before + 1);
    /* There, to the disk, back, and there again: not the next heartbeat. */
    assert_true(raft_sim_now(sim) - begin < 5000);
    raft_sim_free(sim);
}

static void test_a_single_member_commits_alone(void **state)
{
    struct raft_sim *sim = sim_of(1, 0, 1);
    uint64_t term;

    (void)state;
    assert_int_equal(await_leader(sim), 1);
    assert_true(raft_sim_propose(sim, 1, 10));
    await_applied(sim, 1, 3);
    term = 0;
    {
        struct driver_status status;

        driver_status(raft_sim_driver(sim, 1), &status);
        term = status.term;
    }
    raft_sim_crash(sim, 1);
    raft_sim_start(sim, 1);
    assert_int_equal(await_leader(sim), 1);
    await_applied(sim, 1, 4);
    {
        struct driver_status status;

        driver_status(raft_sim_driver(sim, 1), &status);
        assert_true(status.term > term); /* G17 */
        assert_int_equal(status.state, DRIVER_LEADER);
    }
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_all_crash_and_nothing_is_lost(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), i;
    uint64_t applied;

    (void)state;
    for (i = 0; i < 100; i++)
        raft_sim_propose(sim, leader, 50);
    await_applied(sim, leader, 100);
    applied = raft_sim_applied(sim, leader);
    for (i = 1; i <= 3; i++)
        raft_sim_crash(sim, i);
    for (i = 1; i <= 3; i++)
        raft_sim_start(sim, i);
    await_leader(sim);
    for (i = 1; i <= 3; i++)
        await_applied(sim, i, applied + 1);
    assert_fine(sim);
    raft_sim_free(sim);
}

struct not_leader {
    unsigned old;
};

static bool other_leads(struct raft_sim *sim, void *arg)
{
    unsigned leader = raft_sim_leader(sim);

    return leader != 0 && leader != ((struct not_leader *)arg)->old;
}

static void test_the_death_of_the_leader_is_noticed_by_eof(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    struct not_leader arg = {await_leader(sim)};
    uint64_t begin;

    (void)state;
    raft_sim_heal(sim, 10 * SECOND); /* from here on every crash gives an EOF within 2 ms */
    arg.old = raft_sim_leader(sim);
    begin = raft_sim_now(sim);
    raft_sim_crash(sim, arg.old);
    assert_true(raft_sim_until(sim, other_leads, &arg, 10 * SECOND));
    assert_true(raft_sim_now(sim) - begin < 100000); /* the election timeout is 300 to 600 ms */
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_barriers(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), follower = other_than(sim, leader), i;
    uint64_t tickets[3];

    (void)state;
    raft_sim_run(sim, SECOND);
    for (i = 0; i < 50; i++)
        raft_sim_propose(sim, leader, 10);
    tickets[0] = raft_sim_barrier(sim, leader);
    tickets[1] = raft_sim_barrier(sim, follower);
    tickets[2] = raft_sim_barrier(sim, follower);
    driver_barrier_cancel(raft_sim_driver(sim, follower), tickets[2]);
    raft_sim_run(sim, 100000);
    assert_true(raft_sim_barrier_done(sim, tickets[0]));
    assert_true(raft_sim_barrier_done(sim, tickets[1]));
    assert_false(raft_sim_barrier_done(sim, tickets[2]));
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_no_barrier_without_a_quorum(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim);
    uint64_t ticket;

    (void)state;
    raft_sim_run(sim, SECOND);
    raft_sim_isolate(sim, leader, true);
    ticket = raft_sim_barrier(sim, leader);
    raft_sim_run(sim, 3 * SECOND);
    assert_false(raft_sim_barrier_done(sim, ticket));
    raft_sim_isolate(sim, leader, false);
    raft_sim_run(sim, 3 * SECOND);
    assert_true(raft_sim_barrier_done(sim, ticket)); /* it went on trying */
    assert_fine(sim);
    raft_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_elect_replicate_and_forward),
        cmocka_unit_test(test_followers_learn_a_commit_at_once),
        cmocka_unit_test(test_a_single_member_commits_alone),
        cmocka_unit_test(test_all_crash_and_nothing_is_lost),
        cmocka_unit_test(test_the_death_of_the_leader_is_noticed_by_eof),
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_no_barrier_without_a_quorum),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
