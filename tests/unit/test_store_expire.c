/* SPDX-License-Identifier: Apache-2.0 */
/* store/expire.c: how sessions end, and which entries and locks end with them. */
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
    a = kit_host(k, 11, 1, 0);
    b = kit_host(k, 12, 1, 2000);
    c = kit_host(k, 13, 1, 300000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_fini(k);
    return 0;
}

static uint64_t queued(uint32_t status)
{
    assert_int_equal(status, EINPROGRESS);
    return k->value;
}

static void assert_ended(size_t i, const struct kit_host *h, uint64_t member)
{
    assert_true(i < k->n_ended);
    assert_int_equal(k->ended[i].session, h->session);
    assert_int_equal(k->ended[i].member, member);
}

/* ---- Leases -----------------------------------------------------------------------------------*/

static void assert_ttl(uint64_t session, unsigned ttl_ms)
{
    struct store_session found;

    assert_true(store_session(k->store, session, &found));
    assert_int_equal(found.id, session);
    assert_int_equal(found.ttl_ms, ttl_ms);
}

static void test_ttl(void **state)
{
    struct store_session found;
    struct kit_host h;

    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_ttl(k->session, LIMIT_SESSION_TTL_MS);
        assert_ttl(a.session, LIMIT_SESSION_TTL_MS);
        assert_ttl(b.session, 2000);
        assert_ttl(c.session, 300000);
        kit_close(k); /* … and after a restart */
        kit_open(k);
    }
    h = kit_host(k, 20, 1, 1);
    assert_ttl(h.session, LIMIT_SESSION_TTL_MIN);
    h = kit_host(k, 21, 1, UINT32_MAX);
    assert_ttl(h.session, LIMIT_SESSION_TTL_MAX);
    h = kit_host(k, 22, 1, LIMIT_SESSION_TTL_MS);
    assert_ttl(h.session, LIMIT_SESSION_TTL_MS);
    assert_false(store_session(k->store, 12345, &found));
}

struct list {
    uint64_t ids[8];
    uint64_t members[8];
    size_t n;
};

static void add_session(void *arg, const struct store_session *session)
{
    struct list *l = arg;

    l->ids[l->n] = session->id;
    l->members[l->n++] = session->member;
}

static bool add_read_session(void *arg, const struct reader_session *session)
{
    struct list *l = arg;
    struct store_session found;

    assert_true(store_session(k->store, session->id, &found));
    assert_int_equal(found.ttl_ms, session->ttl_ms);
    assert_int_equal(session->held, session->id == a.session ? 2 : 0);
    assert_int_equal(session->waiting, session->id == b.session ? 1 : 0);
    assert_int_equal(session->ephemerals, 0);
    l->ids[l->n] = session->id;
    l->members[l->n++] = session->member;
    return l->n < 4;
}

static void test_list(void **state)
{
    const uint64_t members[] = {1, 11, 12, 13};
    struct list list = {.n = 0}, read = {.n = 0};

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    lock_flock(k, &a, g, 1, WRITE);
    queued(lock_flock(k, &b, f, 1, WRITE));
    store_sessions(k->store, add_session, &list);
    assert_int_equal(list.n, 4);
    assert_memory_equal(list.members, members, sizeof members);
    assert_true(list.ids[0] < list.ids[1] && list.ids[1] < list.ids[2] &&
                list.ids[2] < list.ids[3]);
    assert_int_equal(reader_sessions(k->reader, add_read_session, &read), 0);
    assert_int_equal(read.n, 4);
    assert_memory_equal(read.ids, list.ids, 4 * sizeof list.ids[0]);
}

/* ---- Ends -------------------------------------------------------------------------------------*/

static void test_close(void **state)
{
    struct store_session found;
    uint64_t w;

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    lock_range(k, &a, g, 1, 0, 9, WRITE);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    assert_int_equal(lock_close(k, &a), 0);
    assert_int_equal(k->n_ended, 1);
    assert_ended(0, &a, 11);
    assert_int_equal(k->n_grants, 1);
    assert_int_equal(k->grants[0].id, w);
    assert_string_equal(lock_list(k), "2f 12/1W;");
    assert_false(store_session(k->store, a.session, &found));
    assert_true(store_session(k->store, b.session, &found));
}

/* Every later command of an ended session finds no session, on every member. */
static void test_late_commands(void **state)
{
    Cfs__Noop op = CFS__NOOP__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    (void)state;
    assert_int_equal(lock_flock(k, &a, f, 1, WRITE), 0);
    assert_int_equal(lock_expire(k, &b, a.session, k->term), 0);
    command.op_case = CFS__COMMAND__OP_NOOP;
    command.noop = &op;
    for (uint64_t seq = 1; seq <= 3; seq++) { /* an old number, the next, one after a gap */
        struct stamp stamp = {a.session, seq, 0, 5};

        kit_stamped(k, &stamp, &command);
        assert_int_equal(k->outcome, STORE_NO_SESSION);
        assert_false(k->has_reply);
    }
    assert_string_equal(lock_list(k), "");
}

static void test_expire(void **state)
{
    uint64_t w1, w2, w3;

    (void)state;
    /* Two files with queues, in both of which a waits, too: grants come by file, then in order. */
    lock_flock(k, &a, g, 1, WRITE);
    lock_flock(k, &a, f, 2, WRITE);
    queued(lock_flock(k, &a, f, 3, WRITE));
    w1 = queued(lock_flock(k, &b, g, 1, READ));
    w2 = queued(lock_flock(k, &c, f, 1, READ));
    queued(lock_flock(k, &a, f, 4, WRITE));
    w3 = queued(lock_flock(k, &b, f, 1, READ));
    assert_int_equal(lock_expire(k, &c, a.session, k->term), 0);
    assert_int_equal(k->n_ended, 1);
    assert_ended(0, &a, 11);
    assert_int_equal(k->n_grants, 3);
    assert_int_equal(k->grants[0].id, w2);
    assert_int_equal(k->grants[1].id, w3);
    assert_int_equal(k->grants[2].id, w1);
    assert_string_equal(lock_list(k), "2f 12/1R;2f 13/1R;3f 12/1R;");
    assert_int_equal(lock_expire(k, &c, a.session, k->term), ENOENT);
    assert_int_equal(k->n_ended, 0);
}

/* The decision of an earlier term, if it is applied late, must not end a session that was renewed
 * since. */
static void test_expire_of_another_term(void **state)
{
    struct store_session found;

    (void)state;
    k->term = 5;
    assert_int_equal(lock_expire(k, &b, a.session, 4), ESTALE);
    assert_int_equal(lock_expire(k, &b, a.session, 6), ESTALE);
    assert_true(store_session(k->store, a.session, &found));
    assert_int_equal(lock_expire(k, &b, a.session, 5), 0);
    assert_false(store_session(k->store, a.session, &found));
}

static void test_expire_itself(void **state)
{
    struct store_session found;

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    assert_int_equal(lock_expire(k, &a, a.session, k->term), 0);
    assert_int_equal(k->n_ended, 1);
    assert_ended(0, &a, 11);
    assert_false(store_session(k->store, a.session, &found));
    assert_string_equal(lock_list(k), "");
}

static void test_superseded(void **state)
{
    struct kit_host again;
    uint64_t w;

    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    w = queued(lock_flock(k, &b, f, 1, WRITE));
    again = kit_host(k, 11, 2, 5000);
    assert_int_equal(k->outcome, STORE_APPLIED);
    assert_int_equal(k->n_ended, 1);
    assert_ended(0, &a, 11);
    assert_int_equal(k->n_grants, 1);
    assert_int_equal(k->grants[0].id, w);
    assert_ttl(again.session, 5000);
    kit_host(k, 11, 2, 5000); /* a repetition ends nothing */
    assert_int_equal(k->outcome, STORE_DUPLICATE);
    assert_int_equal(k->n_ended, 0);
    assert_int_equal(lock_close(k, &again), 0);
    /* The member's next session does not know the earlier one. */
    kit_host(k, 11, 2, 5000);
    assert_int_equal(k->outcome, STORE_APPLIED);
}

/* ---- Violations are found -------------------------------------------------------------------- */

static void assert_violation(const char *sql, const char *undo, const char *invariant)
{
    char why[300] = "";
    char *path = xasprintf("%s/coordfs.db", k->dir);

    kit_close(k);
    kit_sql(k->dir, sql);
    assert_false(store_check_file(path, why, sizeof why));
    if (strncmp(why, invariant, strlen(invariant)) != 0)
        fail_msg("%s, not %s: %s", why, invariant, sql);
    kit_sql(k->dir, undo);
    if (!store_check_file(path, why, sizeof why))
        fail_msg("%s", why);
    free(path);
    kit_open(k);
}

static void test_checks(void **state)
{
    (void)state;
    lock_flock(k, &a, f, 1, WRITE);
    lock_range(k, &a, g, 1, 0, 9, READ);
    queued(lock_flock(k, &b, f, 1, WRITE));
    assert_violation("UPDATE lease SET ttl_ms = 1999 WHERE ttl_ms = 2000",
                     "UPDATE lease SET ttl_ms = 2000 WHERE ttl_ms = 1999", "S40");
    assert_violation("UPDATE lease SET ttl_ms = 2001 WHERE ttl_ms = 2000",
                     "UPDATE lease SET ttl_ms = 2000 WHERE ttl_ms = 2001", "S20");
    assert_violation("INSERT INTO lease VALUES(99, 5000)", "DELETE FROM lease WHERE session = 99",
                     "S40");
    assert_violation("UPDATE lock SET session = 999 WHERE ino = 2",
                     "UPDATE lock SET session = (SELECT min(session) FROM lock) WHERE ino = 2",
                     "S41");
    assert_violation("UPDATE waiter SET exclusive = 2", "UPDATE waiter SET exclusive = 1", "S41");
    assert_violation("UPDATE lock SET last = -1 WHERE ino = 3",
                     "UPDATE lock SET last = 9 WHERE ino = 3", "S41");
    assert_violation("UPDATE lock SET pid = 78 WHERE ino = 3",
                     "UPDATE lock SET pid = 77 WHERE ino = 3", "S20");
    assert_violation("UPDATE waiter SET pid = 78", "UPDATE waiter SET pid = 77", "S20");
    assert_violation("UPDATE waiter SET ino = 3", "UPDATE waiter SET ino = 2", "S42");
    assert_violation("INSERT INTO lock SELECT ino, kind, session, owner + 1, 5, 5, 1, handle, pid,"
                     " fence FROM lock WHERE ino = 3",
                     "DELETE FROM lock WHERE ino = 3 AND first = 5", "S42");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_ttl),           T(test_list),       T(test_close),
        T(test_late_commands), T(test_expire),     T(test_expire_of_another_term),
        T(test_expire_itself), T(test_superseded), T(test_checks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
