/* SPDX-License-Identifier: Apache-2.0 */
/* The exactly-once client with a tiny state machine that knows only the session rules. The network
 * between them loses, repeats and reorders proposals. */
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

#include "base/buf.h"
#include "proto/stamp.h"
#include "raft/client.h"

/* ---- The world ------------------------------------------------------------------------------- */

enum { MAX_LOG = 200000, MAX_SESSIONS = 64, MAX_CALLS = 20000, MAX_TERMS = 512 };

struct session {
    uint64_t id, nonce, last, acked;
    bool open;
    uint64_t *replies; /* by seq */
    size_t n_replies;
};

struct call {
    uint64_t ticket;
    int done; /* number of calls of done */
    int err;
    bool proposed, executed, never; /* never: cancelled before it was proposed */
    bool again;                     /* its done submits another command */
};

struct queue { /* proposals in the network to the leader of one term */
    struct buf *entries;
    size_t head, n, cap;
};

struct world {
    struct client *c;
    uint64_t random, now, term;
    bool leader;
    bool in_turn, in_submit;
    struct queue nets[MAX_TERMS];
    struct session sessions[MAX_SESSIONS];
    unsigned n_sessions;
    struct call calls[MAX_CALLS];
    unsigned n_calls;
    uint64_t last_ticket;
    uint64_t last_executed; /* number of the call, from 1 */
    uint64_t index;
    unsigned proposals, opens, noops, on_session;
    uint64_t last_nonce;
    struct stamp last_stamp;
    bool hidden;    /* apply without telling the client, as before an installed snapshot */
    uint64_t bound; /* session of the commands; 0: any */
    bool forget;    /* the state machine has lost the session (stored_reply) */
};

static uint64_t draw(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

static bool chance(struct world *w, unsigned percent)
{
    return draw(w, 100) < percent;
}

static uint64_t env_now(void *ctx)
{
    return ((struct world *)ctx)->now;
}

static int64_t env_real(void *ctx BASE_UNUSED)
{
    return 1234567890;
}

static bool env_propose(void *ctx, struct buf *entry)
{
    struct world *w = ctx;
    struct queue *q = &w->nets[w->term];
    struct stamp stamp;
    uint64_t id;

    assert_true(w->in_turn);
    if (!w->leader)
        return false;
    assert_true(stamp_decode(entry->data, entry->len, &stamp));
    assert_int_equal(stamp.time_ns, 1234567890);
    w->last_stamp = stamp;
    w->proposals++;
    if (entry->data[STAMP_SIZE] == 'c') {
        memcpy(&id, entry->data + STAMP_SIZE + 1, sizeof id);
        assert_false(w->calls[id].never);
        w->calls[id].proposed = true;
    }
    if (q->n == q->cap) {
        q->cap = q->cap > 0 ? 2 * q->cap : 64;
        q->entries = xrealloc(q->entries, q->cap * sizeof *q->entries);
    }
    q->entries[q->n++] = buf_take(entry);
    return true;
}

static struct buf env_open(void *ctx, uint64_t nonce)
{
    struct world *w = ctx;
    struct buf b = BUF_EMPTY;

    w->opens++;
    w->last_nonce = nonce;
    buf_append(&b, "o", 1);
    buf_append(&b, &nonce, sizeof nonce);
    return b;
}

static struct buf env_noop(void *ctx)
{
    ((struct world *)ctx)->noops++;
    return buf_copy("n", 1);
}

static struct session *find_session(struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->n_sessions; i++)
        if (w->sessions[i].open && w->sessions[i].id == id)
            return &w->sessions[i];
    return NULL;
}

static int env_stored(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct world *w = ctx;
    struct session *s = find_session(w, session);

    if (s == NULL || w->forget)
        return -ESTALE;
    if (seq > s->last)
        return 0;
    assert_true(seq > s->acked); /* otherwise the reply would be forgotten */
    *out = buf_copy(&s->replies[seq], sizeof *s->replies);
    return 1;
}

static void env_session(void *ctx, uint64_t session)
{
    struct world *w = ctx;

    w->on_session++;
    assert_int_equal(session, client_session(w->c));
    assert_non_null(find_session(w, session));
}

static struct world *world_new(uint64_t seed, unsigned window, size_t window_bytes)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct client_env env = {w,        env_now,  env_real,   env_propose,
                             env_open, env_noop, env_stored, env_session};
    struct client_config config = {
        .retry_ms = 100, .window = window, .window_bytes = window_bytes, .seed = seed};

    w->random = seed * 2654435761u + 88172645463325252u;
    w->now = 1000;
    w->index = 10;
    w->c = client_new(&config, &env);
    return w;
}

static void world_free(struct world *w)
{
    client_free(w->c);
    for (unsigned t = 0; t < MAX_TERMS; t++) {
        struct queue *q = &w->nets[t];

        for (size_t i = q->head; i < q->n; i++)
            buf_fini(&q->entries[i]);
        free(q->entries);
    }
    for (unsigned i = 0; i < w->n_sessions; i++)
        free(w->sessions[i].replies);
    free(w);
}

static void turn(struct world *w)
{
    w->in_turn = true;
    client_turn(w->c);
    w->in_turn = false;
    assert_true(client_deadline(w->c) > w->now); /* otherwise the loop would spin */
}

static void elect(struct world *w)
{
    w->term++;
    assert_true(w->term < MAX_TERMS);
    w->leader = true;
    client_leader(w->c, 1, w->term);
}

/* ---- The state machine ----------------------------------------------------------------------- */

static void apply_open(struct world *w, uint64_t nonce)
{
    struct session *s = NULL;
    enum client_outcome outcome = CLIENT_DUPLICATE;

    for (unsigned i = 0; i < w->n_sessions; i++)
        if (w->sessions[i].open && w->sessions[i].nonce == nonce)
            s = &w->sessions[i];
    if (s == NULL) {
        assert_true(w->n_sessions < MAX_SESSIONS);
        s = &w->sessions[w->n_sessions++];
        *s = (struct session){.id = w->index, .nonce = nonce, .open = true};
        outcome = CLIENT_APPLIED;
    }
    if (!w->hidden)
        client_applied(w->c, outcome, s->id, 0, nonce, NULL, 0);
}

static uint64_t execute(struct world *w, const uint8_t *command)
{
    uint64_t id = 0;

    if (command[0] == 'n')
        return 0;
    assert_int_equal(command[0], 'c');
    memcpy(&id, command + 1, sizeof id);
    assert_false(w->calls[id].executed); /* at most once */
    assert_true(id + 1 > w->last_executed);
    w->calls[id].executed = true;
    w->last_executed = id + 1; /* in order */
    return id;
}

static void apply_command(struct world *w, const struct stamp *stamp, const uint8_t *command)
{
    struct session *s = find_session(w, stamp->session);
    enum client_outcome outcome = CLIENT_APPLIED;
    uint64_t reply = 0;

    if (s == NULL) {
        outcome = CLIENT_NO_SESSION;
    } else if (stamp->seq <= s->last) {
        outcome = CLIENT_DUPLICATE;
        reply = s->replies[stamp->seq];
    } else if (stamp->seq > s->last + 1) {
        outcome = CLIENT_GAP;
    } else {
        reply = execute(w, command);
        s->last = stamp->seq;
        assert_true(stamp->acked >= s->acked || stamp->acked < stamp->seq);
        if (stamp->acked > s->acked)
            s->acked = stamp->acked;
        if (s->last >= s->n_replies) {
            s->n_replies = 2 * s->last + 16;
            s->replies = xrealloc(s->replies, s->n_replies * sizeof *s->replies);
        }
        s->replies[s->last] = reply;
    }
    if (!w->hidden)
        client_applied(w->c, outcome, stamp->session, stamp->seq, 0, (uint8_t *)&reply,
                       sizeof reply);
}

static void apply(struct world *w, const struct buf *entry)
{
    struct stamp stamp;
    uint64_t nonce;

    w->index++;
    assert_true(stamp_decode(entry->data, entry->len, &stamp));
    if (stamp.session == 0) {
        memcpy(&nonce, entry->data + STAMP_SIZE + 1, sizeof nonce);
        apply_open(w, nonce);
        return;
    }
    apply_command(w, &stamp, entry->data + STAMP_SIZE);
}

/* Takes the oldest proposal of a term from the network; false if there is none. */
static bool take(struct world *w, uint64_t term, struct buf *out)
{
    struct queue *q = &w->nets[term];

    if (q->head == q->n)
        return false;
    *out = buf_take(&q->entries[q->head++]);
    return true;
}

/* Applies all proposals in the network, in order. */
static void deliver_all(struct world *w)
{
    struct buf entry;

    for (uint64_t t = 0; t <= w->term; t++) {
        while (take(w, t, &entry)) {
            apply(w, &entry);
            buf_fini(&entry);
        }
    }
}

static void drop_all(struct world *w)
{
    struct buf entry;

    for (uint64_t t = 0; t <= w->term; t++)
        while (take(w, t, &entry))
            buf_fini(&entry);
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static struct world *current;

static uint64_t submit_in(struct world *w, uint64_t deadline);

static void on_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    struct world *w = current;
    struct call *call = arg;
    uint64_t id = (uint64_t)(call - w->calls), got;

    assert_false(w->in_submit);
    call->done++;
    assert_int_equal(call->done, 1);
    call->err = err;
    if (err == 0) {
        assert_int_equal(len, sizeof got);
        memcpy(&got, reply, sizeof got);
        assert_int_equal(got, id);
        assert_true(call->executed);
    } else {
        assert_null(reply);
    }
    if (err == -EINTR && !call->proposed)
        call->never = true;
    if (call->again)
        submit_in(w, 0);
}

static uint64_t submit_bytes(struct world *w, uint64_t deadline, size_t more)
{
    uint64_t id = w->n_calls++;
    struct buf b = BUF_EMPTY;

    assert_true(id < MAX_CALLS);
    buf_append(&b, "c", 1);
    buf_append(&b, &id, sizeof id);
    buf_reserve(&b, more);
    memset(b.data + b.len, 'x', more);
    b.len += more;
    current = w;
    w->in_submit = true;
    w->calls[id].ticket = ++w->last_ticket;
    client_submit(w->c, w->calls[id].ticket, w->bound, &b, deadline, on_done, &w->calls[id]);
    w->in_submit = false;
    assert_null(b.data);
    assert_true(w->calls[id].ticket > 0);
    return id;
}

static uint64_t submit_in(struct world *w, uint64_t deadline)
{
    return submit_bytes(w, deadline, 0);
}

static uint64_t submit(struct world *w)
{
    return submit_in(w, 0);
}

/* Makes a world with an open session. */
static struct world *world_open(unsigned window, size_t window_bytes)
{
    struct world *w = world_new(1, window, window_bytes);

    elect(w);
    turn(w);
    deliver_all(w);
    assert_int_not_equal(client_session(w->c), 0);
    w->proposals = 0;
    return w;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void test_opens_a_session_first(void **state BASE_UNUSED)
{
    struct world *w = world_new(1, 8, 1000);
    uint64_t id = submit(w), nonce;

    turn(w); /* no leader yet */
    assert_int_equal(w->proposals, 0);
    elect(w);
    assert_int_equal(client_deadline(w->c), 0);
    turn(w);
    assert_int_equal(w->proposals, 1);
    assert_int_equal(w->last_stamp.session, 0);
    nonce = w->last_nonce;
    drop_all(w);
    w->now = client_deadline(w->c);
    turn(w); /* lost: proposed again, with the same nonce */
    assert_int_equal(w->proposals, 2);
    assert_int_equal(w->last_nonce, nonce);
    deliver_all(w);
    assert_int_equal(w->on_session, 1);
    assert_int_not_equal(client_session(w->c), 0);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[id].done, 1);
    assert_int_equal(client_pending(w->c), 0);
    assert_true(client_deadline(w->c) == UINT64_MAX); /* an idle client has no deadline */
    world_free(w);
}

static void test_refused_session_is_tried_again(void **state BASE_UNUSED)
{
    struct world *w = world_new(3, 8, 1000);
    unsigned opens;

    elect(w);
    turn(w);
    drop_all(w);
    client_applied(w->c, CLIENT_APPLIED, 0, 0, w->last_nonce, NULL, 0);
    assert_int_equal(client_session(w->c), 0);
    opens = w->opens;
    w->now = client_deadline(w->c);
    turn(w);
    assert_int_equal(w->opens, opens + 1);
    deliver_all(w);
    assert_int_not_equal(client_session(w->c), 0);
    world_free(w);
}

static void test_numbers_and_acks(void **state BASE_UNUSED)
{
    struct world *w = world_open(8, 1000);

    submit(w);
    turn(w);
    assert_int_equal(w->last_stamp.seq, 1);
    assert_int_equal(w->last_stamp.acked, 0);
    deliver_all(w);
    submit(w);
    submit(w);
    turn(w);
    assert_int_equal(w->last_stamp.seq, 3);
    assert_int_equal(w->last_stamp.acked, 1);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_window_of_commands(void **state BASE_UNUSED)
{
    struct world *w = world_open(4, 100000);

    for (int i = 0; i < 10; i++)
        submit(w);
    turn(w);
    assert_int_equal(w->proposals, 4);
    deliver_all(w);
    turn(w);
    assert_int_equal(w->proposals, 8);
    deliver_all(w);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->proposals, 10);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_window_of_bytes(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 1000);

    submit_bytes(w, 0, 5000); /* larger than the window: proposed alone */
    submit_bytes(w, 0, 400);
    submit_bytes(w, 0, 400);
    submit_bytes(w, 0, 400);
    turn(w);
    assert_int_equal(w->proposals, 1);
    deliver_all(w);
    turn(w);
    assert_int_equal(w->proposals, 3);
    deliver_all(w);
    turn(w);
    assert_int_equal(w->proposals, 4);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_new_leader_gets_everything_in_order(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);

    for (int i = 0; i < 5; i++)
        submit(w);
    turn(w);
    drop_all(w);
    w->leader = false;
    client_leader(w->c, 0, w->term + 1);
    turn(w);
    assert_int_equal(w->proposals, 5);
    elect(w);
    turn(w);
    assert_int_equal(w->proposals, 10);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(w->calls[i].err, 0);
    world_free(w);
}

static void test_both_rounds_arrive(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);

    for (int i = 0; i < 5; i++)
        submit(w);
    turn(w);
    elect(w);
    turn(w);
    deliver_all(w); /* ten entries: five of them duplicates */
    assert_int_equal(client_pending(w->c), 0);
    assert_true(client_deadline(w->c) == UINT64_MAX);
    world_free(w);
}

static void test_stuck_head_is_proposed_again(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    uint64_t last = 0;

    submit(w);
    turn(w);
    for (int i = 0; i < 8; i++) { /* with back-off */
        uint64_t wait = client_deadline(w->c) - w->now;

        drop_all(w);
        assert_true(wait >= 100 && wait <= 800 && wait >= last);
        last = wait;
        w->now += wait - 1;
        turn(w);
        assert_int_equal(w->proposals, i + 1);
        w->now += 1;
        turn(w);
        assert_int_equal(w->proposals, i + 2);
    }
    assert_int_equal(last, 800);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_gap_starts_one_round(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    struct buf lost;

    for (int i = 0; i < 20; i++)
        submit(w);
    turn(w);
    assert_true(take(w, w->term, &lost)); /* the first is lost, 19 report a gap */
    buf_fini(&lost);
    deliver_all(w);
    assert_int_equal(client_deadline(w->c), 0);
    turn(w);
    assert_int_equal(w->proposals, 40);
    assert_true(take(w, w->term, &lost)); /* lost again */
    buf_fini(&lost);
    deliver_all(w);
    turn(w);
    assert_int_equal(w->proposals, 60);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_echoes_of_a_gap_cost_nothing(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    struct buf entry;

    for (int i = 0; i < 10; i++)
        submit(w);
    turn(w);
    assert_true(take(w, w->term, &entry));
    buf_fini(&entry);
    for (int i = 0; i < 9; i++) { /* a turn after each of the nine gaps */
        assert_true(take(w, w->term, &entry));
        apply(w, &entry);
        buf_fini(&entry);
        turn(w);
    }
    assert_int_equal(w->proposals, 20);
    deliver_all(w);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_cancel_before_proposal(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    uint64_t a = submit(w), b = submit(w), c = submit(w);

    client_cancel(w->c, w->calls[b].ticket);
    assert_int_equal(w->calls[b].err, -EINTR);
    client_cancel(w->c, w->calls[b].ticket); /* unknown now */
    client_cancel(w->c, 4711);
    assert_int_equal(client_pending(w->c), 2);
    turn(w);
    assert_int_equal(w->proposals, 2); /* the number is still free */
    assert_int_equal(w->last_stamp.seq, 2);
    deliver_all(w);
    assert_int_equal(w->calls[a].err, 0);
    assert_int_equal(w->calls[c].err, 0);
    assert_false(w->calls[b].executed);
    world_free(w);
}

static void test_cancel_after_proposal(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    uint64_t a = submit(w), b = submit(w), c = submit(w);

    turn(w);
    drop_all(w);
    client_cancel(w->c, w->calls[b].ticket);
    assert_int_equal(w->calls[b].err, -EINTR);
    assert_int_equal(client_pending(w->c), 3); /* its number is still needed */
    elect(w);
    turn(w);
    assert_int_equal(w->noops, 1);
    deliver_all(w);
    assert_int_equal(w->calls[a].err, 0);
    assert_int_equal(w->calls[c].err, 0);
    assert_false(w->calls[b].executed);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_cancelled_command_may_still_be_applied(void **state BASE_UNUSED)
{
    struct world *w = world_open(100, 100000);
    uint64_t a = submit(w);

    turn(w);
    client_cancel(w->c, w->calls[a].ticket);
    elect(w);
    turn(w); /* the no-op */
    deliver_all(w);
    assert_true(w->calls[a].executed);
    assert_int_equal(w->calls[a].done, 1);
    assert_int_equal(w->calls[a].err, -EINTR);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_deadlines(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);
    uint64_t a = submit_in(w, w->now + 50), b = submit(w);
    uint64_t c = submit_in(w, w->now + 50), d = submit_in(w, w->now + 70);

    turn(w);
    assert_int_equal(w->proposals, 2); /* a and b are on their way */
    assert_int_equal(client_deadline(w->c), w->now + 50);
    w->now += 49;
    turn(w);
    assert_int_equal(w->calls[a].done, 0);
    w->now += 1;
    turn(w);
    assert_int_equal(w->calls[a].err, -ETIMEDOUT);
    assert_int_equal(w->calls[c].err, -ETIMEDOUT);
    assert_int_equal(w->calls[b].done + w->calls[d].done, 0);
    assert_int_equal(client_pending(w->c), 3);
    w->now += 20;
    turn(w);
    assert_int_equal(w->calls[d].err, -ETIMEDOUT);
    deliver_all(w);
    assert_int_equal(w->calls[b].err, 0);
    assert_true(w->calls[a].executed); /* it was already proposed */
    assert_false(w->calls[c].executed);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_deadline_while_no_leader(void **state BASE_UNUSED)
{
    struct world *w = world_new(5, 8, 1000);
    uint64_t a = submit_in(w, w->now + 250);

    for (int i = 0; i < 100 && w->calls[a].done == 0; i++) {
        turn(w);
        w->now = client_deadline(w->c);
    }
    assert_int_equal(w->calls[a].err, -ETIMEDOUT);
    assert_int_equal(client_pending(w->c), 0);
    assert_int_equal(w->proposals, 0);
    world_free(w);
}

static void test_lost_session(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);
    uint64_t first = client_session(w->c), nonce = w->last_nonce;
    uint64_t a = submit(w), b = submit(w), c = submit(w), d = submit(w);

    turn(w);
    client_cancel(w->c, w->calls[b].ticket);
    w->sessions[0].open = false;
    w->calls[a].again = true; /* its done submits a command for the next session */
    deliver_all(w);
    assert_int_equal(w->calls[a].err, -ESTALE);
    assert_int_equal(w->calls[b].err, -EINTR);
    assert_int_equal(w->calls[c].done + w->calls[d].done, 0);
    assert_int_equal(client_session(w->c), 0);
    turn(w);
    assert_int_not_equal(w->last_nonce, nonce);
    deliver_all(w);
    assert_int_not_equal(client_session(w->c), first);
    assert_int_equal(w->on_session, 2);
    turn(w);
    assert_int_equal(w->last_stamp.seq, 2);
    deliver_all(w);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[c].err, 0);
    assert_int_equal(w->calls[d].err, 0);
    assert_int_equal(w->calls[4].err, 0);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

/* The entry that ends the session reports it before any command is refused. */
static void test_ended_session(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);
    uint64_t first = client_session(w->c);
    uint64_t a = submit(w), b;

    turn(w);
    client_ended(w->c, first + 4711); /* another session */
    assert_int_equal(client_session(w->c), first);
    w->sessions[0].open = false;
    client_ended(w->c, first);
    assert_int_equal(w->calls[a].err, -ESTALE);
    assert_int_equal(client_session(w->c), 0);
    b = submit(w);
    turn(w);
    deliver_all(w); /* `a` is refused; the client knows already */
    assert_int_not_equal(client_session(w->c), 0);
    assert_int_not_equal(client_session(w->c), first);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[b].err, 0);
    world_free(w);
}

static void test_leaving(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);
    uint64_t a = submit(w), b;

    client_leave(w->c);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[a].err, 0); /* the queued commands are still applied */
    w->sessions[0].open = false;
    client_ended(w->c, client_session(w->c));
    b = submit(w);
    turn(w);
    assert_int_equal(w->opens, 1);
    assert_int_equal(w->calls[b].done, 0);
    assert_true(client_deadline(w->c) == UINT64_MAX);
    world_free(w);
}

/* The time of the first proposal: not earlier, and not that of a repetition. */
static void test_when_the_session_began(void **state BASE_UNUSED)
{
    struct world *w = world_new(1, 8, 1000);
    uint64_t began;

    turn(w); /* no leader yet */
    w->now += 5000;
    turn(w);
    assert_int_equal(client_opened_ms(w->c), 0);
    elect(w);
    began = w->now;
    turn(w);
    drop_all(w);
    w->now = client_deadline(w->c);
    turn(w);
    deliver_all(w);
    assert_int_not_equal(client_session(w->c), 0);
    assert_int_equal(client_opened_ms(w->c), began);
    w->sessions[0].open = false;
    client_ended(w->c, client_session(w->c));
    w->now += 5000;
    turn(w);
    assert_int_equal(client_opened_ms(w->c), w->now);
    world_free(w);
}

/* A command bound to one session is refused in the next session. */
static void test_command_of_a_session(void **state BASE_UNUSED)
{
    struct world *w = world_open(1, 1000);
    uint64_t first = client_session(w->c), a = submit(w), b, c;

    turn(w); /* one is proposed, the others wait */
    w->bound = first;
    b = submit(w);
    w->bound = 0;
    c = submit(w);
    turn(w);
    drop_all(w);
    w->sessions[0].open = false;
    client_ended(w->c, first);
    assert_int_equal(w->calls[a].err, -ESTALE);
    assert_int_equal(w->calls[b].done, 0);
    turn(w);
    deliver_all(w);
    turn(w);
    deliver_all(w);
    assert_int_not_equal(client_session(w->c), first);
    assert_int_equal(w->calls[b].done, 1);
    assert_int_equal(w->calls[b].err, -ESTALE);
    assert_false(w->calls[b].executed);
    assert_int_equal(w->calls[c].done, 1);
    assert_int_equal(w->calls[c].err, 0);
    w->bound = client_session(w->c);
    a = submit(w);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[a].err, 0);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_other_sessions_are_ignored(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);
    uint64_t a = submit(w);

    turn(w);
    client_applied(w->c, CLIENT_APPLIED, 4711, 1, 0, NULL, 0);
    client_applied(w->c, CLIENT_NO_SESSION, 4711, 1, 0, NULL, 0);
    client_applied(w->c, CLIENT_APPLIED, 4712, 0, 99, NULL,
                   0); /* the OpenSession of another client */
    assert_int_equal(w->calls[a].done, 0);
    assert_int_not_equal(client_session(w->c), 0);
    deliver_all(w);
    assert_int_equal(w->calls[a].err, 0);
    world_free(w);
}

static void test_installed_snapshot(void **state BASE_UNUSED)
{
    struct world *w = world_open(10, 100000);
    uint64_t a = submit(w), b = submit(w), c = submit(w);
    struct buf entry;

    turn(w);
    client_cancel(w->c, w->calls[b].ticket);
    w->hidden = true;
    for (int i = 0; i < 2; i++) {
        assert_true(take(w, w->term, &entry));
        apply(w, &entry);
        buf_fini(&entry);
    }
    w->hidden = false;
    drop_all(w);
    assert_int_equal(w->calls[a].done, 0);
    client_installed(w->c);
    assert_int_equal(w->calls[a].err, 0);
    assert_int_equal(w->calls[c].done, 0);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[c].err, 0);
    assert_int_equal(client_pending(w->c), 0);
    world_free(w);
}

static void test_installed_snapshot_without_the_session(void **state BASE_UNUSED)
{
    struct world *w = world_open(10, 100000);
    uint64_t a = submit(w);

    turn(w);
    drop_all(w);
    w->forget = true;
    client_installed(w->c);
    assert_int_equal(w->calls[a].err, -ESTALE);
    assert_int_equal(client_session(w->c), 0);
    world_free(w);
}

static void test_snapshot_opened_the_session(void **state BASE_UNUSED)
{
    struct world *w = world_new(1, 8, 1000);
    uint64_t id = submit(w);

    elect(w);
    turn(w);
    w->hidden = true;
    deliver_all(w);
    w->hidden = false;
    client_installed(w->c);
    turn(w); /* proposes again; the outcome is a duplicate */
    deliver_all(w);
    assert_int_equal(w->n_sessions, 1);
    assert_int_equal(client_session(w->c), w->sessions[0].id);
    turn(w);
    deliver_all(w);
    assert_int_equal(w->calls[id].err, 0);
    world_free(w);
}

static void test_free_completes_all(void **state BASE_UNUSED)
{
    struct world *w = world_open(2, 100000);

    for (int i = 0; i < 5; i++)
        submit(w);
    w->calls[4].again = true; /* the command that its done submits completes too */
    turn(w);
    client_cancel(w->c, w->calls[0].ticket);
    client_free(w->c);
    w->c = NULL;
    assert_int_equal(w->n_calls, 6);
    for (int i = 1; i < 6; i++)
        assert_int_equal(w->calls[i].err, -ESHUTDOWN);
    world_free(w);
}

/* ---- The property ---------------------------------------------------------------------------- */

struct odds {
    unsigned lose, twice, elect, deliver, cancel, expire_session, install, submits;
};

static void random_delivery(struct world *w, const struct odds *odds)
{
    uint64_t term = w->term - draw(w, w->term < 4 ? w->term + 1 : 4);
    struct buf entry;

    if (!take(w, term, &entry))
        return;
    if (!chance(w, odds->lose)) {
        apply(w, &entry);
        if (chance(w, odds->twice))
            apply(w, &entry);
    }
    buf_fini(&entry);
}

static void random_step(struct world *w, const struct odds *odds)
{
    w->now += draw(w, 20);
    if (chance(w, odds->submits)) {
        uint64_t id = submit_in(w, chance(w, 20) ? w->now + 1 + draw(w, 300) : 0);

        w->calls[id].again = chance(w, 10);
    }
    if (chance(w, odds->cancel) && w->n_calls > 0) {
        uint64_t id = w->n_calls - 1 - draw(w, w->n_calls < 10 ? w->n_calls : 10);

        client_cancel(w->c, w->calls[id].ticket);
    }
    if (chance(w, odds->elect) && w->term + 2 < MAX_TERMS)
        elect(w);
    else if (chance(w, odds->elect)) {
        w->leader = false;
        client_leader(w->c, 0, w->term);
    }
    if (chance(w, odds->expire_session) && w->n_sessions + 2 < MAX_SESSIONS)
        for (unsigned i = 0; i < w->n_sessions; i++)
            w->sessions[i].open = false;
    if (chance(w, odds->install)) {
        w->hidden = true;
        for (uint64_t i = draw(w, 20); i > 0; i--)
            random_delivery(w, odds);
        w->hidden = false;
        client_installed(w->c);
    }
    for (unsigned i = 0; i < odds->deliver; i++)
        random_delivery(w, odds);
    turn(w);
}

static uint64_t last_seed;
static unsigned long tally[4]; /* completed, cancelled, timed out, session lost */

static int print_seed(void **state BASE_UNUSED)
{
    printf("last seed %llu; completed %lu, cancelled %lu, timed out %lu, session lost %lu\n",
           (unsigned long long)last_seed, tally[0], tally[1], tally[2], tally[3]);
    return 0;
}

static void run_property(uint64_t seed)
{
    struct world *w = world_new(seed, 1, 1);
    struct odds odds;
    unsigned completed = 0;

    last_seed = seed;
    client_free(w->c);
    {
        struct client_env env = {w,        env_now,  env_real,   env_propose,
                                 env_open, env_noop, env_stored, env_session};
        struct client_config config = {.retry_ms = 50 + (unsigned)draw(w, 200),
                                       .window = 1 + (unsigned)draw(w, 20),
                                       .window_bytes = 60 + draw(w, 1000),
                                       .seed = seed};

        w->c = client_new(&config, &env);
    }
    odds = (struct odds){
        .lose = (unsigned)draw(w, 30),
        .twice = (unsigned)draw(w, 30),
        .elect = (unsigned)draw(w, 8),
        .deliver = 1 + (unsigned)draw(w, 8),
        .cancel = (unsigned)draw(w, 15),
        .expire_session = (unsigned)draw(w, 2),
        .install = (unsigned)draw(w, 5),
        .submits = 20 + (unsigned)draw(w, 70),
    };
    for (int i = 0; i < 1500; i++)
        random_step(w, &odds);
    for (unsigned i = 0; i < w->n_calls; i++)
        w->calls[i].again = false;
    if (!w->leader)
        elect(w);
    for (int i = 0; i < 10000 && client_pending(w->c) > 0; i++) { /* the network is healthy again */
        deliver_all(w);
        turn(w);
        w->now += 10;
    }
    assert_int_equal(client_pending(w->c), 0);
    for (unsigned i = 0; i < w->n_calls; i++) {
        struct call *call = &w->calls[i];

        assert_int_equal(call->done, 1);
        assert_true(call->err != 0 || call->executed);
        if (call->never)
            assert_false(call->executed);
        completed += call->err == 0;
        tally[call->err == 0 ? 0 : call->err == -EINTR ? 1 : call->err == -ETIMEDOUT ? 2 : 3]++;
    }
    assert_true(completed > 0);
    world_free(w);
}

static void test_property(void **state BASE_UNUSED)
{
    const char *given = getenv("CLIENT_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)getpid();
    uint64_t n = given != NULL ? 1 : 300;

    printf("seeds %llu … %llu (CLIENT_SEED=… runs one)\n", (unsigned long long)first,
           (unsigned long long)(first + n - 1));
    fflush(stdout);
    for (uint64_t seed = first; seed < first + n; seed++)
        run_property(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_a_session_first),
        cmocka_unit_test(test_refused_session_is_tried_again),
        cmocka_unit_test(test_numbers_and_acks),
        cmocka_unit_test(test_window_of_commands),
        cmocka_unit_test(test_window_of_bytes),
        cmocka_unit_test(test_new_leader_gets_everything_in_order),
        cmocka_unit_test(test_both_rounds_arrive),
        cmocka_unit_test(test_stuck_head_is_proposed_again),
        cmocka_unit_test(test_gap_starts_one_round),
        cmocka_unit_test(test_echoes_of_a_gap_cost_nothing),
        cmocka_unit_test(test_cancel_before_proposal),
        cmocka_unit_test(test_cancel_after_proposal),
        cmocka_unit_test(test_cancelled_command_may_still_be_applied),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadline_while_no_leader),
        cmocka_unit_test(test_lost_session),
        cmocka_unit_test(test_ended_session),
        cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_when_the_session_began),
        cmocka_unit_test(test_command_of_a_session),
        cmocka_unit_test(test_other_sessions_are_ignored),
        cmocka_unit_test(test_installed_snapshot),
        cmocka_unit_test(test_installed_snapshot_without_the_session),
        cmocka_unit_test(test_snapshot_opened_the_session),
        cmocka_unit_test(test_free_completes_all),
        cmocka_unit_test_teardown(test_property, print_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
