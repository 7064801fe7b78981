/* SPDX-License-Identifier: Apache-2.0 */
/* Scenes of the driver, played by hand in the simulator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"
#include "tests/lib/raft_sim.h"

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

/* A machine that does not accept commands of 80 bytes. */
static bool takes_not_80(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)data;
    assert_true(from <= 3);
    return len != 80;
}

static void test_refused_commands_enter_no_log(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), i;
    struct machine_ops ops = *raft_sim_driver(sim, leader)->machine.ops;
    uint64_t before;

    (void)state;
    raft_sim_run(sim, SECOND);
    ops.acceptable = takes_not_80;
    for (i = 1; i <= 3; i++)
        raft_sim_driver(sim, i)->machine.ops = &ops;
    before = raft_sim_applied(sim, leader);
    for (i = 1; i <= 3; i++) /* one of them is the leader */
        assert_true(raft_sim_propose(sim, i, 80));
    raft_sim_run(sim, SECOND);
    for (i = 1; i <= 3; i++) {
        assert_int_equal(raft_sim_applied(sim, i), before);
        assert_int_equal(raft_sim_driver(sim, i)->raft.commit_index, before);
        assert_true(raft_sim_propose(sim, i, 88)); /* the refused command does not delay others */
    }
    for (i = 1; i <= 3; i++)
        await_applied(sim, i, before + 3);
    assert_int_equal(raft_sim_leader(sim), leader);
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_followers_learn_a_commit_immediately(void **state)
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
    /* Sent, stored, acknowledged, commit sent: faster than the next heartbeat. */
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
    assert_true(raft_sim_barrier_done(sim, ticket)); /* the barrier was retried */
    assert_fine(sim);
    raft_sim_free(sim);
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

static struct driver_status status_of(struct raft_sim *sim, unsigned id)
{
    struct driver_status status;

    driver_status(raft_sim_driver(sim, id), &status);
    return status;
}

static struct raft_sim *tiny_log_of(unsigned voters, unsigned n, uint64_t copy_size)
{
    struct raft_sim_config config;

    raft_sim_defaults(&config);
    config.voters = voters;
    config.n = n;
    config.compact_every = 10;
    config.compact_trailing = 5;
    config.propose_every = 500; /* 2000 a second, without a pause */
    config.copy_size = copy_size;
    config.copy_polls = 10;
    return raft_sim_new(&config);
}

/* A member that missed many entries gets a snapshot of several chunks, then catches up from the
 * log, although thousands of entries are written and the log is compacted meanwhile. */
static void test_a_snapshot_while_others_write(void **state)
{
    struct raft_sim *sim = tiny_log_of(3, 3, 1300000);
    unsigned leader = await_leader(sim), lagging = other_than(sim, leader), round;

    (void)state;
    for (round = 0; round < 8; round++) {
        raft_sim_crash(sim, lagging);
        raft_sim_run(sim, SECOND + round * 1234);
        raft_sim_start(sim, lagging);
        raft_sim_run(sim, SECOND);
        leader = raft_sim_leader(sim);
        assert_int_equal(status_of(sim, lagging).snapshots_installed,
                         1); /* they were sent in parallel */
        assert_true(raft_sim_applied(sim, lagging) + 100 > raft_sim_applied(sim, leader));
    }
    assert_fine(sim);
    assert_true(raft_sim_heal(sim, 10 * SECOND));
    raft_sim_free(sim);
}

static void test_a_dead_receiver_does_not_hold_the_log(void **state)
{
    struct raft_sim *sim = tiny_log_of(3, 3, 1300000);
    unsigned leader = await_leader(sim), lagging = other_than(sim, leader);

    (void)state;
    raft_sim_crash(sim, lagging);
    raft_sim_run(sim, SECOND);
    raft_sim_start(sim, lagging);
    raft_sim_run(sim, 100000); /* the stream has begun */
    raft_sim_crash(sim, lagging);
    raft_sim_run(sim, 30 * SECOND);
    leader = raft_sim_leader(sim);
    assert_true(status_of(sim, leader).last_index - status_of(sim, leader).first_index < 2000);
    raft_sim_start(sim, lagging);
    raft_sim_run(sim, 2 * SECOND);
    assert_true(raft_sim_applied(sim, lagging) + 100 > raft_sim_applied(sim, leader));
    assert_fine(sim);
    raft_sim_free(sim);
}

static unsigned streams(struct raft_sim *sim, unsigned id)
{
    unsigned n = 0, i;

    for (i = 0; i < SNAPSHOT_STREAMS; i++)
        n += raft_sim_driver(sim, id)->snapshot.out[i].phase != SNAPSHOT_NONE;
    return n;
}

static bool streams_begin(struct raft_sim *sim, void *arg BASE_UNUSED)
{
    unsigned leader = raft_sim_leader(sim);

    return leader != 0 && streams(sim, leader) > 0;
}

/* For a removed receiver, the leader keeps neither the snapshot nor the log. */
static void test_a_removed_receiver_is_not_served(void **state)
{
    struct raft_sim *sim = tiny_log_of(3, 3, 1300000);
    unsigned leader = await_leader(sim), lagging = other_than(sim, leader);

    (void)state;
    raft_sim_crash(sim, lagging);
    raft_sim_run(sim, SECOND);
    raft_sim_start(sim, lagging);
    assert_true(raft_sim_until(sim, streams_begin, NULL, SECOND));
    raft_sim_crash(sim, lagging);
    leader = raft_sim_leader(sim);
    assert_int_equal(driver_remove(raft_sim_driver(sim, leader), lagging), 0);
    raft_sim_kick(sim, leader);
    raft_sim_run(sim, SECOND);
    assert_int_equal(streams(sim, leader), 0);
    assert_fine(sim);
    raft_sim_free(sim);
}

/* A receiver that has caught up from the log needs no snapshot, even without a message from it. */
static void test_a_receiver_that_has_caught_up_is_not_served(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), other = other_than(sim, leader);

    (void)state;
    raft_sim_run(sim, SECOND);
    assert_int_equal(raft_sim_leader(sim), leader);
    raft_sim_cut(sim, other, leader, true);
    snapshot_wanted(raft_sim_driver(sim, leader), other);
    assert_int_equal(streams(sim, leader), 1);
    raft_sim_kick(sim, leader);
    raft_sim_run(sim, SECOND);
    assert_int_equal(raft_sim_leader(sim), leader);
    assert_int_equal(streams(sim, leader), 0);
    assert_fine(sim);
    raft_sim_free(sim);
}

/* The leader dies while it sends a snapshot; the next leader serves the receiver. */
static void test_the_sender_of_a_snapshot_dies(void **state)
{
    struct raft_sim *sim = tiny_log_of(3, 3, 1300000);
    unsigned lagging = other_than(sim, await_leader(sim)), round;

    (void)state;
    for (round = 0; round < 5; round++) {
        unsigned leader;

        raft_sim_crash(sim, lagging);
        raft_sim_run(sim, SECOND);
        raft_sim_start(sim, lagging);
        raft_sim_run(sim, 50000 + 20000 * round);
        leader = raft_sim_leader(sim);
        if (leader != 0 && leader != lagging) {
            raft_sim_crash(sim, leader);
            raft_sim_run(sim, 100000);
            raft_sim_start(sim, leader);
        }
        raft_sim_run(sim, 3 * SECOND);
        leader = raft_sim_leader(sim);
        assert_int_not_equal(leader, 0);
        assert_true(raft_sim_applied(sim, lagging) + 100 > raft_sim_applied(sim, leader));
    }
    assert_fine(sim);
    raft_sim_free(sim);
}

/* ---- Membership ------------------------------------------------------------------------------ */

static int add(struct raft_sim *sim, unsigned leader, unsigned id)
{
    char address[16];

    snprintf(address, sizeof address, "m%u:1", id);
    return driver_add(raft_sim_driver(sim, leader), id, address);
}

static int promote(struct raft_sim *sim, unsigned leader, unsigned id)
{
    return driver_assign(raft_sim_driver(sim, leader), id, DRIVER_VOTER);
}

static int demote(struct raft_sim *sim, unsigned leader, unsigned id)
{
    return driver_assign(raft_sim_driver(sim, leader), id, DRIVER_STANDBY);
}

static int drop(struct raft_sim *sim, unsigned leader, unsigned id)
{
    return driver_remove(raft_sim_driver(sim, leader), id);
}

/* Like an operator: repeats a change while it returns -EAGAIN, until it is committed. */
static void carry_out(struct raft_sim *sim,
                      int (*what)(struct raft_sim *sim, unsigned leader, unsigned id), unsigned id)
{
    unsigned tries;
    int err = -EAGAIN;

    for (tries = 0; tries < 200 && err != 0; tries++) {
        unsigned leader = await_leader(sim);

        err = what(sim, leader, id);
        assert_true(err == 0 || err == -EAGAIN);
        raft_sim_kick(sim, leader);
        raft_sim_run(sim, 20000);
    }
    assert_int_equal(err, 0);
    raft_sim_run(sim, SECOND);
    assert_false(status_of(sim, await_leader(sim)).config_pending);
    assert_fine(sim);
}

static void test_members_come_and_go(void **state)
{
    struct raft_sim *sim = tiny_log_of(1, 4, 1000000);
    unsigned id, leader;

    (void)state;
    assert_int_equal(await_leader(sim), 1);
    raft_sim_run(sim, SECOND); /* entry 1 is compacted: new members need a snapshot */
    for (id = 2; id <= 4; id++) {
        carry_out(sim, add, id);
        carry_out(sim, promote, id);
    }
    leader = await_leader(sim);
    assert_int_equal(status_of(sim, leader).n_members, 4);
    carry_out(sim, demote, leader); /* the leader itself: another member takes over */
    assert_int_not_equal(await_leader(sim), leader);
    carry_out(sim, drop, leader);
    leader = await_leader(sim);
    carry_out(sim, drop, leader);
    assert_int_not_equal(await_leader(sim), leader);
    assert_int_equal(status_of(sim, await_leader(sim)).n_members, 2);
    assert_true(raft_sim_heal(sim, 10 * SECOND));
    raft_sim_free(sim);
}

static uint64_t steps_of(const struct raft_sim *sim)
{
    struct raft_sim_stats stats;

    raft_sim_stats(sim, &stats);
    return stats.steps;
}

/* The only member of a cluster sends no heartbeats; it begins when a second member joins. */
static void test_a_member_alone_sleeps(void **state)
{
    struct raft_sim *sim = sim_of(1, 0, 2);
    struct driver *d;
    uint64_t steps;

    (void)state;
    assert_int_equal(await_leader(sim), 1);
    raft_sim_run(sim, SECOND);
    d = raft_sim_driver(sim, 1);
    assert_true(driver_deadline(d) == UINT64_MAX);
    steps = steps_of(sim);
    raft_sim_run(sim, 10 * SECOND);
    assert_true(steps_of(sim) - steps < 30); /* only steps of member 2, which waits to be added */
    assert_int_equal(driver_leading(d), status_of(sim, 1).term);
    carry_out(sim, add, 2);
    assert_true(driver_deadline(d) != UINT64_MAX);
    steps = steps_of(sim);
    raft_sim_run(sim, 10 * SECOND);
    assert_true(steps_of(sim) - steps > 100);
    carry_out(sim, promote, 2);
    raft_sim_run(sim, 5 * SECOND);
    assert_int_equal(raft_sim_leader(sim), 1); /* it keeps its quorum */
    assert_fine(sim);
    raft_sim_free(sim);
}

static void test_changes_that_are_refused(void **state)
{
    struct raft_sim *sim = sim_of(1, 1, 3);
    unsigned leader = await_leader(sim);
    struct driver *d;

    (void)state;
    raft_sim_run(sim, SECOND);
    d = raft_sim_driver(sim, leader);
    assert_int_equal(driver_add(d, 2, "else:1"), -EEXIST);
    assert_int_equal(driver_add(d, 3, "m2:1"), -EEXIST);
    assert_int_equal(driver_add(d, 0, "m3:1"), -EINVAL);
    assert_int_equal(driver_add(d, 3, ""), -EINVAL);
    assert_int_equal(driver_assign(d, 3, DRIVER_VOTER), -ENOENT);
    assert_int_equal(driver_assign(d, 2, DRIVER_STANDBY), -EEXIST);
    assert_int_equal(driver_assign(d, 1, DRIVER_STANDBY), -EINVAL); /* the last voter */
    assert_int_equal(driver_remove(d, 1), -EINVAL);
    assert_int_equal(driver_remove(d, 3), -ENOENT);
    assert_int_equal(driver_transfer(d, 2), -EINVAL);
    assert_int_equal(driver_transfer(d, 0), -ENOENT);
    assert_int_equal(driver_add(raft_sim_driver(sim, 2), 3, "m3:1"), -ENOTCONN);
    assert_int_equal(driver_add(d, 3, "m3:1"), 0);
    assert_int_equal(driver_remove(d, 2), -EAGAIN); /* one at a time */
    raft_sim_kick(sim, leader);
    raft_sim_run(sim, SECOND);
    assert_int_equal(driver_remove(d, 2), 0);
    raft_sim_kick(sim, leader);
    assert_true(raft_sim_heal(sim, 10 * SECOND));
    raft_sim_free(sim);
}

static void test_transfer(void **state)
{
    struct raft_sim *sim = tiny_log_of(3, 3, 1000);
    unsigned leader = await_leader(sim), heir;

    (void)state;
    raft_sim_run(sim, SECOND);
    leader = raft_sim_leader(sim);
    heir = other_than(sim, leader);
    assert_int_equal(driver_transfer(raft_sim_driver(sim, leader), leader), -EINVAL);
    assert_int_equal(driver_transfer(raft_sim_driver(sim, leader), heir), 0);
    assert_int_equal(driver_transfer(raft_sim_driver(sim, leader), heir), -EAGAIN);
    raft_sim_kick(sim, leader);
    raft_sim_run(sim, 100000); /* under constant writes */
    assert_int_equal(raft_sim_leader(sim), heir);
    assert_fine(sim);
    /* A transfer to a member that does not answer has no effect, and work continues. */
    leader = heir;
    heir = other_than(sim, leader);
    raft_sim_isolate(sim, heir, true);
    assert_int_equal(driver_transfer(raft_sim_driver(sim, leader), heir), 0);
    raft_sim_kick(sim, leader);
    raft_sim_run(sim, 3 * SECOND);
    leader = await_leader(sim);
    assert_int_not_equal(leader, heir);
    assert_true(status_of(sim, leader).last_index > 5000);
    assert_fine(sim);
    raft_sim_free(sim);
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

/* An isolated leader accepts proposals only up to its limit. */
static void test_the_leader_stays_within_its_bounds(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), i;
    struct driver_status before, after;

    (void)state;
    raft_sim_run(sim, SECOND);
    before = status_of(sim, leader);
    raft_sim_isolate(sim, leader, true);
    for (i = 0; i < 20000; i++)
        raft_sim_propose(sim, leader, 8);
    raft_sim_run(sim, 100000);
    after = status_of(sim, leader);
    assert_int_equal(after.state, DRIVER_LEADER);
    assert_true(after.last_index > before.last_index);
    assert_true(after.last_index - after.commit <= 2000);
    raft_sim_isolate(sim, leader, false);
    assert_true(raft_sim_heal(sim, 10 * SECOND));
    raft_sim_free(sim);
}

/* Entries of the largest size reach all followers, one of which lags, in bounded messages. */
static void test_large_entries(void **state)
{
    struct raft_sim *sim = sim_of(3, 0, 3);
    unsigned leader = await_leader(sim), lagging, i;
    uint64_t before;

    (void)state;
    raft_sim_run(sim, SECOND);
    lagging = other_than(sim, leader);
    before = raft_sim_applied(sim, leader);
    raft_sim_isolate(sim, lagging, true);
    for (i = 0; i < 40; i++)
        raft_sim_propose(sim, leader, 1 << 20);
    raft_sim_run(sim, SECOND);
    assert_true(raft_sim_applied(sim, raft_sim_leader(sim)) >= before + 40);
    raft_sim_isolate(sim, lagging, false);
    assert_true(raft_sim_heal(sim, 10 * SECOND));
    assert_true(raft_sim_applied(sim, lagging) >= before + 40);
    raft_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_elect_replicate_and_forward),
        cmocka_unit_test(test_refused_commands_enter_no_log),
        cmocka_unit_test(test_followers_learn_a_commit_immediately),
        cmocka_unit_test(test_a_single_member_commits_alone),
        cmocka_unit_test(test_all_crash_and_nothing_is_lost),
        cmocka_unit_test(test_the_death_of_the_leader_is_noticed_by_eof),
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_no_barrier_without_a_quorum),
        cmocka_unit_test(test_a_snapshot_while_others_write),
        cmocka_unit_test(test_a_dead_receiver_does_not_hold_the_log),
        cmocka_unit_test(test_a_removed_receiver_is_not_served),
        cmocka_unit_test(test_a_receiver_that_has_caught_up_is_not_served),
        cmocka_unit_test(test_the_sender_of_a_snapshot_dies),
        cmocka_unit_test(test_members_come_and_go),
        cmocka_unit_test(test_a_member_alone_sleeps),
        cmocka_unit_test(test_changes_that_are_refused),
        cmocka_unit_test(test_transfer),
        cmocka_unit_test(test_the_leader_stays_within_its_bounds),
        cmocka_unit_test(test_large_entries),
    };

    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
