/* SPDX-License-Identifier: Apache-2.0 */
/* store/session.c and the duplicate check of store/apply.c: commands that arrive twice, late, out
 * of order, or from a session that has ended. */
#include "tests/lib/store_kit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define ROOT 1

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

/* mkdir /NAME as (session, seq, acked) */
static void make_as(uint64_t session, uint64_t seq, uint64_t acked, const char *name)
{
    struct stamp stamp = {session, seq, acked, 5};
    Cfs__Make op = CFS__MAKE__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_MAKE;
    c.make = &op;
    op.parent = ROOT;
    op.mode = S_IFDIR | 0755;
    op.name = kit_bytes(name, strlen(name));
    kit_stamped(k, &stamp, &c);
}

static int stored(uint64_t session, uint64_t seq, size_t *len)
{
    struct buf b = BUF_EMPTY;
    int found = store_reply(k->store, session, seq, &b);

    *len = b.len;
    buf_fini(&b);
    return found;
}

static void test_open(void **state)
{
    struct store_counts counts;
    uint64_t id;

    (void)state;
    kit_session(k, 1, 77);
    assert_int_equal(k->outcome, STORE_APPLIED);
    assert_int_equal(k->status, 0);
    assert_int_equal(k->opened, 1);
    assert_int_equal(k->value, 1);
    assert_int_equal(k->n_changes, 1); /* the root has got its times */
    assert_int_equal(k->changes[0].kind, CFS__CHANGE__KIND__ATTR);
    assert_int_equal(k->changes[0].ino, ROOT);
    kit_noop(k);
    kit_session(k, 1, 77); /* repeated: the same session */
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_int_equal(k->opened, 1);
    assert_int_equal(k->value, 1);
    assert_int_equal(k->n_changes, 0);
    kit_session(k, 2, 77); /* another member may have drawn the same nonce */
    assert_int_equal(k->outcome, STORE_APPLIED);
    id = k->opened;
    assert_int_equal(id, store_applied(k->store));
    assert_int_equal(k->value, id);
    assert_int_equal(k->n_changes, 0);
    store_counts(k->store, &counts);
    assert_int_equal(counts.sessions, 2);
}

static void test_superseded(void **state)
{
    struct store_counts counts;
    uint64_t old, new;
    size_t len;

    (void)state;
    kit_session(k, 1, 77);
    old = k->session;
    k->keep = true;
    kit_noop(k);
    kit_noop(k);
    kit_session(k, 1, 78);
    new = k->session;
    assert_true(new != old);
    store_counts(k->store, &counts);
    assert_int_equal(counts.sessions, 1);
    make_as(old, 3, 0, "late");
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    assert_int_equal(kit_find(k, ROOT, "late"), 0);
    assert_int_equal(stored(old, 1, &len), -ESTALE);
    kit_session(k, 1, 77); /* a late repetition must not end the later session */
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    assert_int_equal(k->opened, 0);
    make_as(new, 1, 0, "alive");
    assert_int_equal(k->outcome, STORE_APPLIED);
}

static void test_no_session(void **state)
{
    (void)state;
    make_as(0, 0, 0, "d");
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    make_as(1234, 1, 0, "d");
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    assert_false(k->has_reply);
    assert_int_equal(k->n_changes, 0);
    assert_int_equal(kit_find(k, ROOT, "d"), 0);
    assert_int_equal(store_applied(k->store), 2);
}

static void test_open_within_session(void **state)
{
    Cfs__OpenSession op = CFS__OPEN_SESSION__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;

    (void)state;
    kit_session(k, 1, 77);
    c.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    c.open_session = &op;
    op.member = 1;
    op.nonce = 99;
    assert_int_equal(kit_run(k, &c), EINVAL);
    assert_int_equal(kit_noop(k), 0); /* the session still exists */
}

static void test_duplicate(void **state)
{
    uint64_t ino;
    int64_t made;

    (void)state;
    kit_session(k, 1, 77);
    make_as(k->session, 1, 0, "d");
    assert_int_equal(k->outcome, STORE_APPLIED);
    ino = k->attr.ino;
    made = k->attr.mtime_ns;
    make_as(k->session, 2, 0, "d");
    assert_int_equal(k->status, EEXIST);
    for (int i = 0; i < 3; i++) {
        make_as(k->session, 1, 0, "d");
        assert_int_equal(k->outcome, STORE_DUPLICATE);
        assert_int_equal(k->status, 0); /* the status of the first time */
        assert_int_equal(k->attr.ino, ino);
        assert_int_equal(k->attr.mtime_ns, made);
        assert_int_equal(k->n_changes, 0);
        make_as(k->session, 2, 0, "something else"); /* only the number counts */
        assert_int_equal(k->outcome, STORE_DUPLICATE);
        assert_int_equal(k->status, EEXIST);
    }
    assert_int_equal(kit_find(k, ROOT, "something else"), 0);
}

static void test_gap(void **state)
{
    uint64_t session;

    (void)state;
    kit_session(k, 1, 77);
    session = k->session;
    make_as(session, 2, 0, "b");
    assert_int_equal(k->outcome, STORE_GAP);
    assert_false(k->has_reply);
    assert_int_equal(kit_find(k, ROOT, "b"), 0);
    make_as(session, UINT64_MAX, 0, "b");
    assert_int_equal(k->outcome, STORE_GAP);
    make_as(session, 1, 0, "a");
    assert_int_equal(k->outcome, STORE_APPLIED);
    make_as(session, 2, 0, "b");
    assert_int_equal(k->outcome, STORE_APPLIED);
    make_as(session, 4, 3, "d");
    assert_int_equal(k->outcome, STORE_GAP);
}

static void test_forget(void **state)
{
    uint64_t session;
    size_t len;

    (void)state;
    kit_session(k, 1, 77);
    session = k->session;
    for (uint64_t seq = 1; seq <= 5; seq++)
        make_as(session, seq, 0, "d");
    assert_int_equal(stored(session, 1, &len), 1);
    assert_true(len > 0);
    assert_int_equal(stored(session, 5, &len), 1);
    assert_true(len > 0);
    assert_int_equal(stored(session, 6, &len), 0);
    assert_int_equal(stored(session + 1, 1, &len), -ESTALE);
    make_as(session, 6, 3, "d"); /* 1 to 3 have been received */
    assert_int_equal(stored(session, 3, &len), 1);
    assert_int_equal(len, 0);
    assert_int_equal(stored(session, 4, &len), 1);
    assert_true(len > 0);
    make_as(session, 2, 0, "d");
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_false(k->has_reply);
    make_as(session, 7, 1, "d"); /* this acknowledgement is older: no forgotten reply comes back */
    make_as(session, 4, 0, "d");
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_int_equal(k->status, EEXIST);
    kit_check(k);
}

static void test_empty_reply_is_a_reply(void **state)
{
    struct stamp stamp;
    Cfs__Noop op = CFS__NOOP__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    size_t len;

    (void)state;
    kit_session(k, 1, 77);
    k->keep = true;
    kit_noop(k);
    assert_true(k->has_reply);
    c.op_case = CFS__COMMAND__OP_NOOP;
    c.noop = &op;
    stamp = (struct stamp){k->session, 1, 0, 0};
    kit_stamped(k, &stamp, &c);
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_true(k->has_reply);
    assert_int_equal(stored(k->session, 1, &len), 1);
}

static void test_window(void **state)
{
    size_t len;
    uint64_t n = LIMIT_SESSION_WINDOW + 10;

    (void)state;
    kit_session(k, 1, 77);
    k->keep = true; /* a client that never acknowledges */
    for (uint64_t i = 0; i < n; i++)
        assert_int_equal(kit_noop(k), 0);
    make_as(k->session, 10, 0, "d");
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_false(k->has_reply);
    make_as(k->session, 11, 0, "d");
    assert_true(k->has_reply);
    assert_int_equal(stored(k->session, n, &len), 1);
    kit_check(k);
}

static void test_too_many_sessions(void **state)
{
    struct store_counts counts;
    uint64_t first, second;

    (void)state;
    kit_session(k, 1, 1);
    first = k->session;
    kit_session(k, 2, 2);
    second = k->session;
    for (uint64_t member = 3; member <= LIMIT_SESSIONS_MAX; member++)
        kit_session(k, member, member);
    make_as(first, 1, 0, "used");
    assert_int_equal(k->outcome, STORE_APPLIED);
    kit_session(k, 99999, 1); /* the session that was unused longest ends */
    store_counts(k->store, &counts);
    assert_int_equal(counts.sessions, LIMIT_SESSIONS_MAX);
    make_as(second, 1, 0, "x");
    assert_int_equal(k->outcome, STORE_NO_SESSION);
    make_as(first, 2, 0, "y");
    assert_int_equal(k->outcome, STORE_APPLIED);
}

static void test_survives_restart(void **state)
{
    uint64_t session;
    struct store_hash before, after;

    (void)state;
    kit_session(k, 1, 77);
    session = k->session;
    make_as(session, 1, 0, "d");
    make_as(session, 2, 0, "d");
    before = store_state_hash(k->store);
    kit_close(k);
    kit_open(k);
    after = store_state_hash(k->store);
    assert_true(before.low == after.low && before.high == after.high);
    make_as(session, 1, 0, "d");
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_int_equal(k->status, 0);
    make_as(session, 3, 0, "e");
    assert_int_equal(k->outcome, STORE_APPLIED);
    kit_session(k, 1, 77);
    assert_int_equal(k->outcome, STORE_DUPLICATE);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_open),
        T(test_superseded),
        T(test_no_session),
        T(test_open_within_session),
        T(test_duplicate),
        T(test_gap),
        T(test_forget),
        T(test_empty_reply_is_a_reply),
        T(test_window),
        T(test_too_many_sessions),
        T(test_survives_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
