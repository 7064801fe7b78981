/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of leases one by one, on both sides. test_lease_sim.c tests them together, in worlds
 * full of trouble. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/lease_leader.h"
#include "daemon/lease_member.h"

enum { TTL = 2000, SESSION = 7, MEMBER = 3, TERM = 5 };

/* ---- The member's side ----------------------------------------------------------------------- */

static void test_a_lease_is_a_tenth_shorter(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_holds(&l, 1000));
    assert_true(lease_member_holds(&l, 2799));
    assert_false(lease_member_holds(&l, 2800));
    lease_member_close(&l);
    assert_false(lease_member_holds(&l, 1000));
}

static void test_a_lease_counts_from_the_sending(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 1100));
    assert_int_equal(lease_member_ack(&l, 2700, SESSION, 1100), LEASE_RENEWED);
    assert_true(lease_member_holds(&l, 2899));
    assert_false(lease_member_holds(&l, 2900));
}

static void test_a_lease_never_becomes_shorter(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 1100));
    assert_true(lease_member_beat(&l, 1300));
    assert_int_equal(lease_member_ack(&l, 1310, SESSION, 1300), LEASE_RENEWED);
    assert_int_equal(lease_member_ack(&l, 1320, SESSION, 1100), LEASE_NOTHING); /* late */
    assert_int_equal(lease_member_ack(&l, 1320, SESSION, 1300), LEASE_NOTHING); /* twice */
    assert_true(lease_member_holds(&l, 3099));
}

static void test_an_acknowledgement_needs_a_heartbeat(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_int_equal(lease_member_ack(&l, 1100, SESSION, 1050),
                     LEASE_NOTHING); /* no heartbeat was sent */
    assert_true(lease_member_beat(&l, 1100));
    assert_int_equal(lease_member_ack(&l, 1110, SESSION, 999999), LEASE_NOTHING);
    assert_int_equal(lease_member_ack(&l, 1110, SESSION + 1, 1100), LEASE_NOTHING);
    assert_false(lease_member_holds(&l, 2800));
    lease_member_close(&l);
    assert_int_equal(lease_member_ack(&l, 1110, SESSION, 1100), LEASE_NOTHING);
}

static void test_beats(void **state)
{
    struct lease_member l = {0};

    (void)state;
    assert_false(lease_member_beat(&l, 1000)); /* no session */
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 1000));
    assert_false(lease_member_beat(&l, 1124));
    assert_true(lease_member_beat(&l, 1125)); /* not acknowledged, so it is repeated soon */
    assert_int_equal(lease_member_ack(&l, 1130, SESSION, 1125), LEASE_RENEWED);
    assert_false(lease_member_beat(&l, 1624));
    assert_true(lease_member_beat(&l, 1625));
    lease_member_hurry(&l);
    assert_true(lease_member_beat(&l, 1626));
}

static void test_an_expired_lease_is_not_revived(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 2000));
    assert_false(lease_member_lapses(&l, 2799));
    assert_true(lease_member_lapses(&l, 2800));
    assert_false(lease_member_lapses(&l, 2801)); /* reported once */
    assert_int_equal(lease_member_ack(&l, 2900, SESSION, 2000), LEASE_BACK);
    assert_false(lease_member_holds(&l, 2900));
    lease_member_resume(&l);
    assert_true(lease_member_holds(&l, 3799));
    assert_true(lease_member_lapses(&l, 3800)); /* reported again */
}

static void test_expiry_does_not_depend_on_the_tick(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 2790));
    assert_int_equal(lease_member_ack(&l, 2800, SESSION, 2790), LEASE_BACK);
    assert_false(lease_member_holds(&l, 2800));
}

static void test_a_late_acknowledgement(void **state)
{
    struct lease_member l;

    (void)state;
    lease_member_open(&l, SESSION, TTL, 1000);
    assert_true(lease_member_beat(&l, 1100));
    assert_int_equal(lease_member_ack(&l, 2900, SESSION, 1100), LEASE_NOTHING);
    assert_false(lease_member_holds(&l, 2900));
}

/* ---- The leader's side ----------------------------------------------------------------------- */

struct heard {
    unsigned acks, expired;
    uint64_t member, session, echo;
};

static void on_ack(void *arg, uint64_t member, uint64_t session, uint64_t echo)
{
    struct heard *h = arg;

    h->acks++;
    h->member = member;
    h->session = session;
    h->echo = echo;
}

static void on_expire(void *arg, uint64_t session)
{
    struct heard *h = arg;

    h->expired++;
    h->session = session;
}

static void sync_one(struct lease_leader *l, uint64_t session)
{
    lease_leader_sync_begin(l);
    lease_leader_sync_see(l, session, MEMBER, TTL);
    lease_leader_sync_end(l);
}

static struct lease_leader leader_at(uint64_t now)
{
    struct lease_leader l;

    lease_leader_init(&l);
    lease_leader_lead(&l, now, TERM);
    sync_one(&l, SESSION);
    return l;
}

static void pass(struct lease_leader *l, uint64_t from, uint64_t to) /* from, to: in ticks */
{
    for (; from <= to; from += 100)
        lease_leader_tick(l, from);
}

static unsigned expired_at(struct lease_leader *l, uint64_t now)
{
    struct heard h = {0};

    lease_leader_tick(l, now);
    lease_leader_overdue(l, on_expire, &h);
    return h.expired;
}

static void test_a_new_leader_grants_a_whole_ttl(void **state)
{
    struct lease_leader l = leader_at(50000);

    (void)state;
    pass(&l, 50000, 52000);
    assert_int_equal(expired_at(&l, 52000), 0);
    assert_int_equal(expired_at(&l, 52001), 1);
    assert_int_equal(expired_at(&l, 52100), 0); /* proposed once */
    lease_leader_decided(&l, SESSION);
    assert_int_equal(expired_at(&l, 52200), 1); /* the proposal failed: again */
    lease_leader_lead(&l, 53000, TERM + 1);
    sync_one(&l, SESSION);
    pass(&l, 53000, 55000);
    assert_int_equal(expired_at(&l, 55000), 0);
    lease_leader_fini(&l);
}

static void test_a_new_session_gets_a_whole_ttl(void **state)
{
    struct lease_leader l = leader_at(50000);

    (void)state;
    pass(&l, 50000, 59000);
    sync_one(&l, SESSION + 1);
    assert_int_equal(expired_at(&l, 59100), 0);
    pass(&l, 59100, 61000);
    assert_int_equal(expired_at(&l, 61000), 0);
    assert_int_equal(expired_at(&l, 61001), 1);
    lease_leader_fini(&l);
}

static void test_nothing_counts_without_proof(void **state)
{
    struct lease_leader l = leader_at(50000);
    struct heard h = {0};

    (void)state;
    pass(&l, 50000, 51000);
    assert_true(lease_leader_beat(&l, 51000, MEMBER, SESSION, 123));
    assert_true(lease_leader_ask(&l));
    pass(&l, 51000, 51900);
    lease_leader_unproven(&l);
    assert_int_equal(lease_leader_idle_ms(&l, SESSION), 1900);
    assert_false(lease_leader_ask(&l)); /* the heartbeat was dropped */
    assert_true(lease_leader_beat(&l, 51900, MEMBER, SESSION, 124));
    assert_true(lease_leader_ask(&l));
    lease_leader_tick(&l, 51950);
    lease_leader_proven(&l, on_ack, &h);
    assert_int_equal(h.acks, 1);
    assert_int_equal(h.member, MEMBER);
    assert_int_equal(h.session, SESSION);
    assert_int_equal(h.echo, 124);
    assert_int_equal(lease_leader_idle_ms(&l, SESSION), 50); /* since the heartbeat arrived */
    lease_leader_fini(&l);
}

static void test_a_barrier_serves_earlier_heartbeats(void **state)
{
    struct lease_leader l = leader_at(50000);
    struct heard h = {0};

    (void)state;
    assert_true(lease_leader_beat(&l, 50000, MEMBER, SESSION, 1));
    assert_true(lease_leader_ask(&l));
    assert_true(lease_leader_beat(&l, 50100, MEMBER, SESSION, 2));
    assert_false(lease_leader_ask(&l)); /* one at a time */
    lease_leader_proven(&l, on_ack, &h);
    assert_int_equal(h.echo, 1);
    assert_true(lease_leader_ask(&l));
    lease_leader_proven(&l, on_ack, &h);
    assert_int_equal(h.echo, 2);
    assert_int_equal(h.acks, 2);
    lease_leader_fini(&l);
}

static void test_a_waiting_heartbeat_prevents_expiry(void **state)
{
    struct lease_leader l = leader_at(50000);

    (void)state;
    pass(&l, 50000, 51500);
    assert_true(lease_leader_beat(&l, 51500, MEMBER, SESSION, 1));
    assert_true(lease_leader_ask(&l));
    pass(&l, 51500, 53000);
    assert_int_equal(expired_at(&l, 53000), 0);
    lease_leader_unproven(&l);
    assert_int_equal(expired_at(&l, 53000), 1);
    lease_leader_fini(&l);
}

static void test_no_acknowledgement_while_an_end_is_undecided(void **state)
{
    struct lease_leader l = leader_at(50000);
    struct heard h = {0};

    (void)state;
    pass(&l, 50000, 52000);
    assert_int_equal(expired_at(&l, 52100), 1);
    assert_true(lease_leader_beat(&l, 52100, MEMBER, SESSION, 1));
    assert_true(lease_leader_ask(&l));
    lease_leader_proven(&l, on_ack, &h);
    assert_int_equal(h.acks, 0);
    lease_leader_fini(&l);
}

static void test_strangers(void **state)
{
    struct lease_leader l = leader_at(50000);

    (void)state;
    assert_false(
        lease_leader_beat(&l, 50000, MEMBER + 1, SESSION, 1)); /* the session of another member */
    assert_false(lease_leader_beat(&l, 50000, MEMBER, SESSION + 1, 1));
    assert_false(lease_leader_ask(&l));
    lease_leader_sync_begin(&l);
    lease_leader_sync_end(&l); /* the session has ended */
    assert_false(lease_leader_beat(&l, 50000, MEMBER, SESSION, 1));
    assert_true(lease_leader_idle_ms(&l, SESSION) == UINT64_MAX);
    lease_leader_fini(&l);
}

static void test_time_stands_still_with_the_leader(void **state)
{
    struct lease_leader l = leader_at(50000);

    (void)state;
    pass(&l, 50000, 51400);
    assert_int_equal(expired_at(&l, 60000), 0); /* 1400, and 500 for the gap */
    assert_int_equal(lease_leader_idle_ms(&l, SESSION), 1900);
    pass(&l, 60000, 60400); /* 2300 now, but heartbeats that arrived in the gap must be handled
                             * first */
    assert_int_equal(expired_at(&l, 60400), 0);
    assert_int_equal(expired_at(&l, 60500), 1);
    lease_leader_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_a_tenth_shorter),
        cmocka_unit_test(test_a_lease_counts_from_the_sending),
        cmocka_unit_test(test_a_lease_never_becomes_shorter),
        cmocka_unit_test(test_an_acknowledgement_needs_a_heartbeat),
        cmocka_unit_test(test_beats),
        cmocka_unit_test(test_an_expired_lease_is_not_revived),
        cmocka_unit_test(test_expiry_does_not_depend_on_the_tick),
        cmocka_unit_test(test_a_late_acknowledgement),
        cmocka_unit_test(test_a_new_leader_grants_a_whole_ttl),
        cmocka_unit_test(test_a_new_session_gets_a_whole_ttl),
        cmocka_unit_test(test_nothing_counts_without_proof),
        cmocka_unit_test(test_a_barrier_serves_earlier_heartbeats),
        cmocka_unit_test(test_a_waiting_heartbeat_prevents_expiry),
        cmocka_unit_test(test_no_acknowledgement_while_an_end_is_undecided),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_time_stands_still_with_the_leader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
