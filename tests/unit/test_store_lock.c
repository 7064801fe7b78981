/* SPDX-License-Identifier: Apache-2.0 */
/* store/lock.c: the rules of flock and of byte ranges, one by one. */
#include "tests/lib/lock_kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT 1

static struct kit kit;
static struct kit *const k = &kit;
static struct kit_host a, b, c;
static uint64_t f, g; /* files: inodes 2 and 3 */

static int set_up(void **state)
{
    (void)state;
    kit_init(k);
    f = kit_file(k, ROOT, "f");
    g = kit_file(k, ROOT, "g");
    assert_int_equal(f, 2);
    assert_int_equal(g, 3);
    a = kit_host(k, 11, 1, 0);
    b = kit_host(k, 12, 1, 0);
    c = kit_host(k, 13, 1, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static void assert_locks(const char *wanted)
{
    assert_string_equal(lock_list(k), wanted);
}

static void assert_grant(size_t i, const struct kit_host *h, uint64_t id)
{
    assert_true(i < k->n_grants);
    assert_int_equal(k->grants[i].session, h->session);
    assert_int_equal(k->grants[i].id, id);
    assert_int_equal(k->grants[i].fence, store_applied(k->store));
}

/* The request must be queued; returns its number. */
static uint64_t queued(uint32_t status)
{
    assert_int_equal(status, EINPROGRESS);
    assert_int_equal(k->value, store_applied(k->store));
    return k->value;
}

/* ---- flock ------------------------------------------------------------------------------------*/

static void test_flock(void **state)
{
    uint64_t fence;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    fence = k->value;
    assert_int_equal(fence, store_applied(k->store));
    assert_int_equal(k->n_grants, 0); /* the reply contains the grant */
    assert_int_equal(lock_flock(k, &b, f, 1, WRITE | NOWAIT), EAGAIN);
    assert_int_equal(k->value, 0);
    assert_int_equal(lock_flock(k, &b, f, 1, READ | NOWAIT), EAGAIN);
    assert_int_equal(lock_flock(k, &a, f, 2, READ | NOWAIT), EAGAIN); /* another handle */
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);              /* held already */
    assert_int_equal(k->value, fence);
    assert_int_equal(lock_flock(k, &b, g, 1, WRITE), 0); /* another file */
    assert_locks("2f 11/1W;3f 12/1W;");
    assert_int_equal(lock_unflock(k, &b, f, 1), 0); /* b holds no lock */
    assert_int_equal(lock_unflock(k, &b, g, 1), 0);
    assert_int_equal(lock_unflock(k, &a, f, 1), 0);
    assert_int_equal(lock_unflock(k, &a, f, 1), 0);
    assert_locks("");
}

static void test_flock_shared(void **state)
{
    uint64_t w;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    assert_int_equal(lock_flock(k, &b, f, 1, READ), 0);
    assert_int_equal(lock_flock(k, &c, f, 1, WRITE | NOWAIT), EAGAIN);
    w = queued(lock_flock(k, &c, f, 1, WRITE));
    /* Fair: a later request waits behind the writer, although it could share the lock. */
    assert_int_equal(lock_flock(k, &b, f, 2, READ | NOWAIT), EAGAIN);
    assert_int_equal(lock_unflock(k, &a, f, 1), 0);
    assert_int_equal(k->n_grants, 0);
    assert_int_equal(lock_unflock(k, &b, f, 1), 0);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &c, w);
    assert_int_equal(k->grants[0].ino, f);
    assert_int_equal(k->grants[0].handle, 1);
    assert_int_equal(k->grants[0].kind, CFS__LOCK__KIND__FLOCK);
    assert_locks("2f 13/1W;");
}

static void test_flock_queue(void **state)
{
    uint64_t r1, w, r2, r3;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    r1 = queued(lock_flock(k, &b, f, 1, READ));
    r2 = queued(lock_flock(k, &c, f, 1, READ));
    w = queued(lock_flock(k, &b, f, 2, WRITE));
    r3 = queued(lock_flock(k, &c, f, 2, READ));
    assert_locks("2f 11/1W;2f 12/1R?;2f 13/1R?;2f 12/2W?;2f 13/2R?;");
    lock_unflock(k, &a, f, 1);
    assert_int_equal(k->n_grants, 2); /* both readers before the writer, and none after it */
    assert_grant(0, &b, r1);
    assert_grant(1, &c, r2);
    lock_unflock(k, &c, f, 1);
    assert_int_equal(k->n_grants, 0);
    lock_unflock(k, &b, f, 1);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, w);
    lock_unflock(k, &b, f, 2);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &c, r3);
    assert_locks("2f 13/2R;");
}

static void test_flock_downgrade(void **state)
{
    uint64_t r, fence;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    fence = k->value;
    r = queued(lock_flock(k, &b, f, 1, READ));
    queued(lock_flock(k, &c, f, 1, WRITE));
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    assert_true(k->value >= fence);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, r);
    assert_locks("2f 11/1R;2f 12/1R;2f 13/1W?;");
}

static void test_flock_upgrade(void **state)
{
    uint64_t w, u;

    (void)state;
    /* The only holder upgrades without waiting: the waiting requests wait for it. */
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    queued(lock_flock(k, &c, f, 1, READ));
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE | NOWAIT), 0);
    assert_int_equal(k->n_grants, 0);
    assert_locks("2f 11/1W;2f 12/1W?;2f 13/1R?;");
    lock_unflock(k, &a, f, 1);
    assert_grant(0, &b, w);
    lock_unflock(k, &b, f, 1); /* c gets the lock */
    assert_locks("2f 13/1R;");

    /* One of two holders loses its lock first, whether the request waits or not. */
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE | NOWAIT), EAGAIN);
    assert_locks("2f 13/1R;");
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    u = queued(lock_flock(k, &a, f, 1, WRITE));
    assert_locks("2f 13/1R;2f 12/1W?;2f 11/1W?;");
    lock_unflock(k, &c, f, 1);
    assert_grant(0, &b, w);
    lock_unflock(k, &b, f, 1);
    assert_grant(0, &a, u);
}

/* Two holders upgrade: no deadlock, because both give up their old locks. */
static void test_flock_two_upgrades(void **state)
{
    uint64_t u;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    assert_int_equal(lock_flock(k, &b, f, 1, READ), 0);
    u = queued(lock_flock(k, &a, f, 1, WRITE));
    assert_int_equal(lock_flock(k, &b, f, 1, WRITE), 0); /* the only holder now */
    assert_locks("2f 12/1W;2f 11/1W?;");
    lock_unflock(k, &b, f, 1);
    assert_grant(0, &a, u);
}

/* Several threads or children wait through one open file. */
static void test_flock_one_handle_twice(void **state)
{
    uint64_t r, w, q;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    r = queued(lock_flock(k, &b, f, 1, READ));
    q = queued(lock_flock(k, &c, f, 1, WRITE));
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    lock_unflock(k, &a, f, 1);
    assert_int_equal(k->n_grants, 2); /* an upgrade of the only holder */
    assert_grant(0, &b, r);
    assert_grant(1, &b, w);
    assert_locks("2f 12/1W;2f 13/1W?;");
    lock_release(k, &b, 1);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &c, q);
}

/* ---- Byte ranges ------------------------------------------------------------------------------*/

static void test_range(void **state)
{
    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 9, WRITE), 0);
    assert_int_equal(k->value, store_applied(k->store));
    assert_int_equal(lock_range(k, &b, f, 1, 9, 20, READ | NOWAIT), EAGAIN);
    assert_int_equal(lock_range(k, &b, f, 1, 10, 20, READ | NOWAIT), 0);
    assert_int_equal(lock_range(k, &a, f, 2, 10, 20, READ | NOWAIT), 0);
    assert_int_equal(lock_range(k, &a, f, 2, 10, 20, WRITE | NOWAIT), EAGAIN);
    assert_int_equal(lock_flock(k, &c, f, 1, WRITE | NOWAIT), 0); /* flock and ranges are
                                                                   * independent */
    assert_int_equal(lock_range(k, &c, f, 1, LOCK_KIT_END, LOCK_KIT_END, WRITE), 0);
    assert_int_equal(lock_range(k, &b, f, 1, 21, LOCK_KIT_END, WRITE | NOWAIT), EAGAIN);
    assert_locks("2f 13/1W;2p 11/1W0-9;2p 11/2R10-20;2p 12/1R10-20;"
                 "2p 13/1W9223372036854775807-;");
}

static void test_range_split_and_merge(void **state)
{
    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 99, WRITE), 0);
    assert_int_equal(lock_unrange(k, &a, f, 1, 40, 59), 0);
    assert_locks("2p 11/1W0-39;2p 11/1W60-99;");
    assert_int_equal(lock_range(k, &a, f, 1, 20, 69, READ), 0);
    assert_locks("2p 11/1W0-19;2p 11/1R20-69;2p 11/1W70-99;");
    assert_int_equal(lock_range(k, &a, f, 1, 70, 79, READ), 0);
    assert_locks("2p 11/1W0-19;2p 11/1R20-79;2p 11/1W80-99;");
    assert_int_equal(lock_range(k, &a, f, 1, 100, 120, WRITE), 0);
    assert_locks("2p 11/1W0-19;2p 11/1R20-79;2p 11/1W80-120;");
    assert_int_equal(lock_range(k, &a, f, 1, 10, 200, WRITE), 0);
    assert_locks("2p 11/1W0-200;");
    assert_int_equal(lock_unrange(k, &a, f, 1, 200, LOCK_KIT_END), 0);
    assert_int_equal(lock_unrange(k, &a, f, 1, 0, 0), 0);
    assert_locks("2p 11/1W1-199;");
    assert_int_equal(lock_unrange(k, &b, f, 1, 0, LOCK_KIT_END),
                     0); /* the lock of another session */
    assert_int_equal(lock_unrange(k, &a, f, 2, 0, LOCK_KIT_END), 0);
    assert_int_equal(lock_unrange(k, &a, f, 1, 0, LOCK_KIT_END), 0);
    assert_locks("");
}

/* A merged range must not keep the older token, and no token may be older than the token of an
 * earlier holder. */
static void test_range_tokens(void **state)
{
    uint64_t first, second, token;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 99, WRITE), 0);
    first = k->value;
    assert_int_equal(lock_range(k, &a, f, 1, 20, 29, WRITE), 0);
    assert_int_equal(k->value, first); /* held already */
    assert_int_equal(lock_range(k, &a, f, 1, 90, 109, WRITE), 0);
    second = k->value;
    assert_true(second > first);
    assert_int_equal(reader_fence(k->reader, a.session, f, &token), 0);
    assert_int_equal(token, second);
    assert_int_equal(reader_fence(k->reader, b.session, f, &token), -ENODATA);
    assert_int_equal(reader_fence(k->reader, a.session, g, &token), -ENODATA);
}

static void test_range_queue(void **state)
{
    uint64_t w1, w2, r3, w4;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 99, WRITE), 0);
    w1 = queued(lock_range(k, &b, f, 1, 0, 49, WRITE));
    w2 = queued(lock_range(k, &c, f, 1, 40, 59, WRITE));
    r3 = queued(lock_range(k, &b, f, 2, 60, 69, READ));
    w4 = queued(lock_range(k, &c, f, 2, 0, 9, READ));
    lock_unrange(k, &a, f, 1, 60, 99);
    assert_int_equal(k->n_grants, 1); /* out of order, but it blocks no request */
    assert_grant(0, &b, r3);
    lock_unrange(k, &a, f, 1, 40, 59);
    assert_int_equal(k->n_grants, 0); /* free, but w1 came first */
    assert_int_equal(lock_range(k, &a, f, 9, 50, 59, WRITE | NOWAIT),
                     EAGAIN); /* here w2 came first */
    lock_unrange(k, &a, f, 1, 0, 39);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, w1);
    lock_unrange(k, &b, f, 1, 0, 49);
    assert_int_equal(k->n_grants, 2);
    assert_grant(0, &c, w2);
    assert_grant(1, &c, w4);
}

/* While an upgrade waits, the old lock stays; the grant replaces it. */
static void test_range_upgrade(void **state)
{
    uint64_t u;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 9, READ), 0);
    assert_int_equal(lock_range(k, &b, f, 1, 5, 14, READ), 0);
    u = queued(lock_range(k, &a, f, 1, 0, 9, WRITE));
    assert_locks("2p 11/1R0-9;2p 12/1R5-14;2p 11/1W0-9?;");
    assert_int_equal(lock_range(k, &b, f, 1, 5, 9, WRITE), EDEADLK);
    assert_int_equal(lock_range(k, &b, f, 1, 5, 9, WRITE | NOWAIT), EAGAIN);
    lock_unrange(k, &b, f, 1, 0, 9);
    assert_grant(0, &a, u);
    assert_locks("2p 11/1W0-9;2p 12/1R10-14;");
}

/* A granted range that replaces a stronger one may unblock others. */
static void test_range_downgrade(void **state)
{
    uint64_t r1, r2, d;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 9, WRITE), 0);
    assert_int_equal(lock_range(k, &b, f, 1, 20, 29, WRITE), 0);
    r1 = queued(lock_range(k, &c, f, 1, 0, 9, READ));
    d = queued(lock_range(k, &a, f, 1, 0, 29, READ));
    r2 = queued(lock_range(k, &c, f, 2, 5, 24, READ));
    lock_unrange(k, &b, f, 1, 20, 29);
    assert_int_equal(k->n_grants, 3);
    assert_grant(0, &a, d);
    assert_grant(1, &c, r1);
    assert_grant(2, &c, r2);
    assert_locks("2p 11/1R0-29;2p 13/1R0-9;2p 13/2R5-24;");
}

/* ---- Deadlocks --------------------------------------------------------------------------------*/

static void test_deadlock(void **state)
{
    uint64_t w;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 0, WRITE), 0);
    assert_int_equal(lock_range(k, &b, f, 1, 1, 1, WRITE), 0);
    assert_int_equal(lock_range(k, &c, g, 1, 2, 2, WRITE), 0);
    w = queued(lock_range(k, &a, f, 1, 1, 1, WRITE));
    queued(lock_range(k, &b, g, 1, 0, 9, READ));
    assert_int_equal(lock_range(k, &c, f, 1, 0, 0, READ), EDEADLK); /* c, a, b, c */
    assert_int_equal(lock_range(k, &c, f, 1, 0, 0, READ | NOWAIT), EAGAIN);
    assert_int_equal(lock_range(k, &c, f, 2, 0, 0, READ), EINPROGRESS); /* another process */
    lock_unrange(k, &c, g, 1, 0, 9);                                    /* b gets its range */
    assert_int_equal(k->n_grants, 1);
    lock_unrange(k, &b, f, 1, 1, 1);
    assert_grant(0, &a, w);
}

static void test_no_deadlock_of_flock(void **state)
{
    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    assert_int_equal(lock_flock(k, &b, g, 1, WRITE), 0);
    queued(lock_flock(k, &a, g, 1, WRITE));
    queued(lock_flock(k, &b, f, 1, WRITE));
}

/* A cycle in which one owner waits only for its turn is not a deadlock and must not become one. */
static void test_turns_do_not_deadlock(void **state)
{
    uint64_t r;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 0, READ), 0);
    assert_int_equal(lock_range(k, &b, g, 1, 0, 0, WRITE), 0);
    queued(lock_range(k, &c, f, 1, 0, 0, WRITE));    /* c waits for a */
    r = queued(lock_range(k, &b, f, 1, 0, 0, READ)); /* b waits only for its turn, after c */
    queued(lock_range(k, &a, g, 1, 0, 0, WRITE));    /* a waits for b, so b is granted now */
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, r);
    assert_locks("2p 11/1R0-0;2p 12/1R0-0;2p 13/1W0-0?;3p 12/1W0-0;3p 11/1W0-0?;");
}

/* The cycle exists before the request that would close it: the awaited owner is granted
 * immediately. */
static void test_the_awaited_owner_is_granted(void **state)
{
    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 9, WRITE), 0);
    queued(lock_range(k, &b, f, 1, 0, 19, WRITE));
    assert_int_equal(lock_range(k, &c, f, 1, 10, 19, WRITE | NOWAIT), EAGAIN);
    assert_int_equal(lock_range(k, &a, f, 1, 10, 19, WRITE | NOWAIT), 0);
    assert_locks("2p 11/1W0-19;2p 12/1W0-19?;");
}

/* ---- Giving up, and the ends of handles and sessions ------------------------------------------*/

static void test_cancel(void **state)
{
    uint64_t w, r;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, READ), 0);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    r = queued(lock_flock(k, &c, f, 1, READ));
    assert_int_equal(lock_cancel_wait(k, &c, w), EALREADY); /* c did not make this request */
    assert_int_equal(lock_cancel_wait(k, &b, 999999), EALREADY);
    assert_int_equal(lock_cancel_wait(k, &b, w), 0);
    assert_int_equal(k->n_grants, 1); /* the reader no longer waits behind it */
    assert_grant(0, &c, r);
    assert_int_equal(lock_cancel_wait(k, &c, r), EALREADY); /* granted already, so it stays */
    assert_int_equal(lock_cancel_wait(k, &b, w), EALREADY);
    assert_locks("2f 11/1R;2f 13/1R;");
}

static void test_release_handle(void **state)
{
    uint64_t w;

    (void)state;
    /* Releases every lock that was taken through the handle, for any owner, and no other lock. */
    assert_int_equal(lock_range_by(k, &a, f, 7, 1, 0, 9, WRITE), 0);
    assert_int_equal(lock_range_by(k, &a, f, 8, 1, 10, 19, WRITE),
                     0); /* adjacent, but not merged */
    assert_int_equal(lock_range_by(k, &a, f, 7, 2, 30, 39, READ), 0);
    assert_int_equal(lock_flock(k, &a, f, 7, WRITE), 0);
    assert_int_equal(lock_flock(k, &a, g, 8, WRITE), 0);
    queued(lock_flock(k, &a, g, 7, WRITE));
    w = queued(lock_range(k, &b, f, 1, 0, 9, READ));
    assert_int_equal(lock_release(k, &b, 7), 0); /* handle 7 of b is a different handle */
    assert_int_equal(lock_release(k, &a, 7), 0);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, w);
    assert_locks("2p 12/1R0-9;2p 11/1W10-19;3f 11/8W;");
    assert_int_equal(lock_release(k, &a, 7), 0);
}

static void test_release_many(void **state)
{
    uint64_t handles[LIMIT_RELEASE_MAX + 1];
    Cfs__ReleaseHandle op = CFS__RELEASE_HANDLE__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(handles); i++)
        handles[i] = i;
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(lock_flock(k, &a, f, i, READ), 0);
    queued(lock_flock(k, &b, f, 1, WRITE));
    command.op_case = CFS__COMMAND__OP_RELEASE_HANDLE;
    command.release_handle = &op;
    op.handles = handles;
    op.n_handles = ARRAY_LEN(handles);
    assert_int_equal(kit_run_as(k, &a, &command), E2BIG);
    op.n_handles = LIMIT_RELEASE_MAX;
    assert_int_equal(kit_run_as(k, &a, &command), 0);
    assert_int_equal(k->n_grants, 1);
    assert_locks("2f 12/1W;");
    assert_int_equal(lock_release(k, &b, 1), 0);
}

/* If a handle is closed, its request leaves no trace, and those behind it move up. */
static void test_waiter_dies(void **state)
{
    uint64_t r;

    (void)state;
    assert_int_equal(lock_range(k, &a, f, 1, 0, 9, READ), 0);
    queued(lock_range(k, &b, f, 1, 0, 9, WRITE));
    r = queued(lock_range(k, &c, f, 1, 5, 5, READ));
    assert_int_equal(lock_release(k, &b, 1001), 0);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &c, r);
    assert_locks("2p 11/1R0-9;2p 13/1R5-5;");
}

/* ---- Errors -----------------------------------------------------------------------------------*/

static void test_errors(void **state)
{
    uint64_t d = kit_dir(k, ROOT, "d");
    Cfs__Lock op = CFS__LOCK__INIT;
    Cfs__Unlock un = CFS__UNLOCK__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    (void)state;
    assert_int_equal(lock_flock(k, &a, 99, 1, WRITE), ESTALE);
    assert_int_equal(lock_flock(k, &a, d, 1, WRITE), EINVAL);
    assert_int_equal(kit_make(k, ROOT, "fifo", S_IFIFO | 0644), 0);
    assert_int_equal(lock_flock(k, &a, k->attr.ino, 1, WRITE), EINVAL);
    assert_int_equal(lock_range(k, &a, f, 1, 9, 8, WRITE), EINVAL);
    assert_int_equal(lock_range(k, &a, f, 1, 0, (uint64_t)INT64_MAX + 1, WRITE), EINVAL);
    assert_int_equal(lock_unrange(k, &a, f, 1, 9, 8), EINVAL);
    assert_int_equal(lock_unrange(k, &a, f, 1, 0, UINT64_MAX), EINVAL);
    assert_int_equal(lock_unflock(k, &a, 99, 1), 0); /* unlocking without a lock succeeds */
    command.op_case = CFS__COMMAND__OP_LOCK;
    command.lock = &op;
    op.ino = f;
    op.kind = (Cfs__Lock__Kind)2;
    assert_int_equal(kit_run_as(k, &a, &command), EINVAL);
    command.op_case = CFS__COMMAND__OP_UNLOCK;
    command.unlock = &un;
    un.ino = f;
    un.kind = (Cfs__Lock__Kind)2;
    assert_int_equal(kit_run_as(k, &a, &command), EINVAL);
    assert_locks("");
}

/* An unlinked file keeps its locks and is not reaped before they are released. */
static void test_unlinked(void **state)
{
    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    assert_int_equal(kit_unlink(k, ROOT, "f"), 0);
    queued(lock_flock(k, &b, f, 1, WRITE));
    assert_int_equal(kit_reap(k, f), 0);
    assert_int_equal(kit_stat(k, f).nlink, 0); /* the file still exists */
    lock_unflock(k, &a, f, 1);
    assert_locks("2f 12/1W;");
    lock_release(k, &b, 1);
    assert_int_equal(kit_reap(k, f), 0);
    assert_int_equal(lock_flock(k, &b, f, 1, WRITE), ESTALE);
}

/* ---- Reading ----------------------------------------------------------------------------------*/

static void test_getlk(void **state)
{
    Cfs__Lock want = CFS__LOCK__INIT;
    struct reader_lock found;

    (void)state;
    lock_range(k, &a, f, 1, 10, 19, READ);
    lock_range(k, &b, f, 2, 15, 29, READ);
    lock_range(k, &b, f, 2, 40, LOCK_KIT_END, WRITE);
    want.ino = f;
    want.kind = CFS__LOCK__KIND__POSIX;
    want.owner = 1;
    want.start = 0;
    want.end = LOCK_KIT_END;
    want.write = true;
    assert_int_equal(reader_getlk(k->reader, c.session, &want, &found), 1);
    assert_int_equal(found.session, a.session);
    assert_int_equal(found.start, 10);
    assert_int_equal(found.end, 19);
    assert_false(found.write);
    assert_int_equal(found.pid, 77);
    assert_int_equal(reader_getlk(k->reader, a.session, &want, &found), 1); /* a session's own lock
                                                                             * is not reported */
    assert_int_equal(found.session, b.session);
    assert_int_equal(found.start, 15);
    want.write = false;
    assert_int_equal(reader_getlk(k->reader, c.session, &want, &found), 1);
    assert_int_equal(found.start, 40);
    assert_int_equal(found.end, LOCK_KIT_END);
    want.end = 39;
    assert_int_equal(reader_getlk(k->reader, c.session, &want, &found), 0);
    want.kind = CFS__LOCK__KIND__FLOCK;
    want.write = true;
    assert_int_equal(reader_getlk(k->reader, c.session, &want, &found), 0);
    lock_flock(k, &a, f, 5, READ);
    assert_int_equal(reader_getlk(k->reader, c.session, &want, &found), 1);
    assert_int_equal(found.handle, 5);
}

static void test_wait_state(void **state)
{
    Cfs__Lock asked = CFS__LOCK__INIT;
    uint64_t id, fence;

    (void)state;
    asked.ino = f;
    asked.kind = CFS__LOCK__KIND__POSIX;
    asked.owner = 1;
    asked.start = 5;
    asked.end = 14;
    lock_range(k, &a, f, 1, 0, 9, WRITE);
    id = queued(lock_range(k, &b, f, 1, 5, 14, READ));
    assert_int_equal(store_wait_state(k->store, b.session, id, &asked, &fence), STORE_WAITING);
    assert_int_equal(store_wait_state(k->store, a.session, id, &asked, &fence), STORE_GONE);
    lock_unrange(k, &a, f, 1, 0, 9);
    assert_int_equal(store_wait_state(k->store, b.session, id, &asked, &fence), STORE_GRANTED);
    assert_int_equal(fence, store_applied(k->store));
    lock_range(k, &b, f, 1, 8, 9, WRITE); /* a part of it may be stronger */
    assert_int_equal(store_wait_state(k->store, b.session, id, &asked, &fence), STORE_GRANTED);
    asked.write = true;
    assert_int_equal(store_wait_state(k->store, b.session, id, &asked, &fence), STORE_GONE);
    asked.write = false;
    lock_unrange(k, &b, f, 1, 7, 7);
    assert_int_equal(store_wait_state(k->store, b.session, id, &asked, &fence), STORE_GONE);
}

/* ---- Persistence ----------------------------------------------------------------------------- */

static void test_restart(void **state)
{
    uint64_t w;

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    lock_range(k, &a, f, 1, 0, 9, READ);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    queued(lock_flock(k, &c, f, 1, READ));
    kit_close(k);
    kit_open(k);
    assert_locks("2f 11/1W;2f 12/1W?;2f 13/1R?;2p 11/1R0-9;");
    lock_unflock(k, &a, f, 1);
    assert_int_equal(k->n_grants, 1);
    assert_grant(0, &b, w);
}

/* A repeated command gives the same answer and no second lock. */
static void test_duplicate(void **state)
{
    Cfs__Lock op = CFS__LOCK__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct stamp stamp = {b.session, 1, 0, 5};
    uint64_t id;

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    command.op_case = CFS__COMMAND__OP_LOCK;
    command.lock = &op;
    op.ino = f;
    op.handle = 1;
    op.write = op.wait = true;
    kit_stamped(k, &stamp, &command);
    assert_int_equal(k->status, EINPROGRESS);
    id = k->value;
    lock_unflock(k, &a, f, 1);
    assert_int_equal(k->n_grants, 1);
    kit_stamped(k, &stamp, &command);
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_int_equal(k->status, EINPROGRESS); /* the grant was announced once */
    assert_int_equal(k->value, id);
    assert_int_equal(k->n_grants, 0);
    assert_locks("2f 12/1W;");
}

static void test_limits(void **state)
{
    const uint64_t base = 1u << 20;

    (void)state;
    /* There is always room to split a lock once more. */
    for (uint64_t i = 0; i < LIMIT_LOCKS_SESSION - 1; i++)
        assert_int_equal(lock_flock(k, &a, f, i, READ), 0);
    assert_int_equal(lock_flock(k, &a, g, base, READ), ENOLCK);
    assert_int_equal(lock_range(k, &a, g, 1, 0, 0, WRITE), ENOLCK);
    assert_int_equal(lock_flock(k, &b, g, base, READ), 0); /* another session */
    for (uint64_t i = 0; i < 2; i++)
        assert_int_equal(lock_unflock(k, &a, f, i), 0);
    assert_int_equal(lock_range(k, &a, g, 1, 0, 99, WRITE), 0);
    assert_int_equal(lock_unrange(k, &a, g, 1, 10, 19), 0);
    assert_int_equal(lock_unrange(k, &a, g, 1, 30, 39), 0);
    assert_int_equal(lock_unrange(k, &a, g, 1, 50, 59), ENOLCK);
    assert_int_equal(lock_unrange(k, &a, g, 1, 90, 99), 0); /* this needs no further lock */
    assert_int_equal(lock_close(k, &a), 0);
    assert_locks("3f 12/1048576R;");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_flock),
        T(test_flock_shared),
        T(test_flock_queue),
        T(test_flock_downgrade),
        T(test_flock_upgrade),
        T(test_flock_two_upgrades),
        T(test_flock_one_handle_twice),
        T(test_range),
        T(test_range_split_and_merge),
        T(test_range_tokens),
        T(test_range_queue),
        T(test_range_upgrade),
        T(test_range_downgrade),
        T(test_deadlock),
        T(test_no_deadlock_of_flock),
        T(test_turns_do_not_deadlock),
        T(test_the_awaited_owner_is_granted),
        T(test_cancel),
        T(test_release_handle),
        T(test_release_many),
        T(test_waiter_dies),
        T(test_errors),
        T(test_unlinked),
        T(test_getlk),
        T(test_wait_state),
        T(test_restart),
        T(test_duplicate),
        T(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
