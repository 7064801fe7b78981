/* SPDX-License-Identifier: Apache-2.0 */
/* A scene for each guard of raft/guard.h, played on one bare core. Each scene runs with the guard
 * and without it, to show the defect as well as its absence. Like test_guard_ablation.c, this
 * program has its own guard.o. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#define GUARD_ABLATE
#include "raft/guard.c"

#define MESSAGES_MAX 64

struct bench {
    struct raft raft;
    struct guard guard;
    struct entries log;
    struct raft_message messages[MESSAGES_MAX];
    unsigned n_messages;
    unsigned flags; /* the flags of all updates since bench_clear */
};

/* ---- The bench ------------------------------------------------------------------------------- */

static void consume(void *ctx, struct raft_update *update)
{
    struct bench *b = ctx;
    unsigned i;

    b->flags |= update->flags;
    if (HAS(update, RAFT_UPDATE_ENTRIES)) {
        entries_truncate(&b->log, update->entries.index);
        for (i = 0; i < update->entries.n; i++) {
            const struct raft_entry *e = &update->entries.batch[i];
            struct machine_entry row = {e->term, (enum machine_entry_type)e->type, e->buf.base,
                                        e->buf.len};

            entries_append(&b->log, &row);
        }
    }
    for (i = 0; HAS(update, RAFT_UPDATE_MESSAGES) && i < update->messages.n; i++) {
        assert_true(b->n_messages < MESSAGES_MAX);
        b->messages[b->n_messages++] = update->messages.batch[i];
    }
}

static void bench_clear(struct bench *b)
{
    b->n_messages = 0;
    b->flags = 0;
}

/* The first message of this type since bench_clear, to one member or to any (0). */
static struct raft_message *sent(struct bench *b, enum raft_message_type type, uint64_t to)
{
    unsigned i;

    for (i = 0; i < b->n_messages; i++)
        if (b->messages[i].type == type && (to == 0 || b->messages[i].server_id == to))
            return &b->messages[i];
    return NULL;
}

/* Voters in `voters` (bit i: member i), standbys in `standbys`. */
static struct raft_configuration config_of(unsigned voters, unsigned standbys)
{
    struct raft_configuration config;
    unsigned id;
    char address[8];

    raft_configuration_init(&config);
    for (id = 1; id < 10; id++) {
        snprintf(address, sizeof address, "m%u", id);
        if ((voters | standbys) >> id & 1)
            assert_int_equal(raft_configuration_add(&config, id, address,
                                                    voters >> id & 1 ? RAFT_VOTER : RAFT_STANDBY),
                             0);
    }
    return config;
}

static struct raft_buffer encoded(unsigned voters, unsigned standbys)
{
    struct raft_configuration config = config_of(voters, standbys);
    struct raft_buffer bytes;

    assert_int_equal(raft_configuration_encode(&config, &bytes), 0);
    raft_configuration_close(&config);
    return bytes;
}

static unsigned voters_of(const struct raft_configuration *config)
{
    unsigned i, bits = 0;

    for (i = 0; i < config->n; i++)
        bits |= config->servers[i].role == RAFT_VOTER ? 1u << config->servers[i].id : 0;
    return bits;
}

struct scene {
    uint64_t id, term;
    unsigned voters, standbys; /* committed, at index 1 */
    uint64_t applied;          /* = the snapshot's index */
    uint64_t applied_term;
    const uint64_t *terms; /* of the rows after `applied` */
    unsigned n;
    unsigned change_at; /* the n-th row (from 1) is a CHANGE to …; 0: none */
    unsigned change_voters, change_standbys;
};

/* Starts a member from a snapshot with some rows after it. */
static void bench_start(struct bench *b, const struct scene *scene)
{
    struct raft_entry entries[128] = {{0}};
    struct raft_snapshot_metadata metadata = {
        .index = scene->applied, .term = scene->applied_term, .configuration_index = 1};
    unsigned i;

    memset(b, 0, sizeof *b);
    entries_init(&b->log, 1 << 20);
    entries_reset(&b->log, scene->applied, scene->applied_term);
    assert_int_equal(raft_init(&b->raft, NULL, NULL, scene->id, "-"), 0);
    b->raft.tracer = NULL;
    raft_seed(&b->raft, 1);
    raft_set_election_timeout(&b->raft, 100);
    raft_set_heartbeat_timeout(&b->raft, GUARD_HEARTBEAT_MS);
    raft_set_pre_vote(&b->raft, true);
    raft_set_max_inflight_entries(&b->raft, 1000);
    b->guard = (struct guard){.raft = &b->raft,
                              .log = &b->log,
                              .now = 1000,
                              .applied = scene->applied,
                              .consume = consume,
                              .ctx = b};
    for (i = 0; i < scene->n; i++) {
        entries_note(&b->log, scene->terms[i]);
        entries[i].term = scene->terms[i];
        entries[i].type = RAFT_COMMAND;
        if (i + 1 == scene->change_at) {
            entries[i].type = RAFT_CHANGE;
            entries[i].buf = encoded(scene->change_voters, scene->change_standbys);
        }
    }
    metadata.configuration = config_of(scene->voters, scene->standbys);
    assert_int_equal(
        guard_start(&b->guard, scene->term, 0, &metadata, scene->applied + 1, entries, scene->n),
        0);
    for (i = 0; i < scene->n; i++)
        raft_free(entries[i].buf.base);
    bench_clear(b);
}

static void bench_end(struct bench *b)
{
    raft_close(&b->raft, NULL);
    entries_fini(&b->log);
    guard_ablated = 0;
}

static void receive_append_of(struct bench *b, uint64_t from, uint64_t term, uint64_t prev,
                              uint64_t prev_term, uint64_t commit, struct raft_entry *entries,
                              unsigned n)
{
    struct raft_message m = {.type = RAFT_APPEND_ENTRIES, .server_id = from, .server_address = "-"};

    m.append_entries.term = term;
    m.append_entries.prev_log_index = prev;
    m.append_entries.prev_log_term = prev_term;
    m.append_entries.leader_commit = commit;
    m.append_entries.n_entries = n;
    guard_receive(&b->guard, &m, entries);
}

static void receive_result(struct bench *b, uint64_t from, uint64_t rejected, uint64_t last)
{
    struct raft_message m = {
        .type = RAFT_APPEND_ENTRIES_RESULT, .server_id = from, .server_address = "-"};

    m.append_entries_result.version = 2;
    m.append_entries_result.term = b->raft.current_term;
    m.append_entries_result.rejected = rejected;
    m.append_entries_result.last_log_index = last;
    guard_receive(&b->guard, &m, NULL);
}

static void receive_vote_request(struct bench *b, uint64_t from, uint64_t term, uint64_t last,
                                 uint64_t last_term, bool pre_vote)
{
    struct raft_message m = {.type = RAFT_REQUEST_VOTE, .server_id = from, .server_address = "-"};

    m.request_vote.version = 2;
    m.request_vote.term = term;
    m.request_vote.candidate_id = from;
    m.request_vote.last_log_index = last;
    m.request_vote.last_log_term = last_term;
    m.request_vote.pre_vote = pre_vote;
    guard_receive(&b->guard, &m, NULL);
}

static void receive_vote(struct bench *b, uint64_t from, bool pre_vote)
{
    struct raft_message m = {
        .type = RAFT_REQUEST_VOTE_RESULT, .server_id = from, .server_address = "-"};

    m.request_vote_result.version = 2;
    m.request_vote_result.term = b->raft.current_term + pre_vote;
    m.request_vote_result.vote_granted = true;
    m.request_vote_result.pre_vote = pre_vote;
    guard_receive(&b->guard, &m, NULL);
}

static void let_time_out(struct bench *b)
{
    b->guard.now = max_u64(b->guard.now, raft_timeout(&b->raft));
    guard_timeout(&b->guard);
}

static void elect(struct bench *b, uint64_t voter)
{
    let_time_out(b);
    assert_int_equal(b->raft.state, RAFT_CANDIDATE);
    receive_vote(b, voter, true);
    receive_vote(b, voter, false);
    assert_int_equal(b->raft.state, RAFT_LEADER);
    bench_clear(b);
}

static void submit_some(struct bench *b, unsigned n)
{
    struct raft_entry entries[32] = {{0}};
    unsigned i;

    for (i = 0; i < n; i++)
        entries[i].type = RAFT_COMMAND;
    assert_int_equal(guard_submit(&b->guard, entries, n), 0);
    guard_persisted(&b->guard, b->log.last);
}

static void with_guard(unsigned number, bool on)
{
    guard_ablated = on ? 0 : 1u << number;
}

/* Rows of one term. */
static const uint64_t ones[100] = {[0 ... 99] = 1};

#define THREE(me, rows)                                                                            \
    (&(struct scene){.id = (me),                                                                   \
                     .term = 1,                                                                    \
                     .voters = 2 | 4 | 8,                                                          \
                     .applied = 1,                                                                 \
                     .applied_term = 1,                                                            \
                     .terms = ones,                                                                \
                     .n = (rows)})

/* ---- Scenes ---------------------------------------------------------------------------------- */

/* A test cannot show that an uninitialised field is wrong, only that the guard sets it to 0. */
static void test_g1_result_to_an_older_term(void **state)
{
    struct bench b;
    struct raft_message *m;

    (void)state;
    bench_start(&b, THREE(1, 5));
    receive_append_of(&b, 2, 7, 6, 1, 0, NULL, 0);
    bench_clear(&b);
    receive_append_of(&b, 3, 4, 0, 0, 0, NULL, 0);
    m = sent(&b, RAFT_APPEND_ENTRIES_RESULT, 3);
    assert_non_null(m);
    assert_int_equal(m->append_entries_result.term, 7);
    assert_int_equal(m->append_entries_result.last_log_index, 0);
    bench_end(&b);
}

static void g2(bool on)
{
    struct bench b;
    struct raft_message *m;
    struct raft_entry entries[3] = {{.term = 1, .type = RAFT_COMMAND},
                                    {.term = 1, .type = RAFT_COMMAND},
                                    {.term = 1, .type = RAFT_COMMAND}};

    bench_start(&b,
                &(struct scene){
                    .id = 1, .term = 1, .voters = 2 | 4 | 8, .applied = 100, .applied_term = 1});
    with_guard(2, on);
    receive_append_of(&b, 2, 1, 97, 1, 0, entries, 3); /* 98..100: all applied here */
    m = sent(&b, RAFT_APPEND_ENTRIES_RESULT, 2);
    assert_non_null(m);
    assert_int_equal(m->append_entries_result.rejected, on ? 0 : 97);
    if (on)
        assert_int_equal(m->append_entries_result.last_log_index, 100);
    bench_end(&b);
}

static void test_g2_entries_that_are_applied(void **state)
{
    (void)state;
    g2(true);
    g2(false);
}

static void test_g2_prev_zero_above_a_snapshot(void **state)
{
    struct bench b;
    struct raft_entry entries[2] = {{.term = 1, .type = RAFT_COMMAND},
                                    {.term = 1, .type = RAFT_COMMAND}};

    (void)state;
    bench_start(&b,
                &(struct scene){
                    .id = 1, .term = 1, .voters = 2 | 4 | 8, .applied = 100, .applied_term = 1});
    receive_append_of(&b, 2, 1, 0, 0, 0, entries, 2);
    assert_int_equal(b.log.last, 100); /* without: "entries 1..102", from an array of two */
    assert_non_null(sent(&b, RAFT_APPEND_ENTRIES_RESULT, 2));
    bench_end(&b);
}

static void g3(bool on)
{
    struct bench b;
    struct raft_buffer change = encoded(2 | 4 | 8 | 16, 0);
    struct raft_entry entries[4] = {{.term = 1, .type = RAFT_COMMAND},
                                    {.term = 1, .type = RAFT_COMMAND},
                                    {.term = 1, .type = RAFT_CHANGE, .buf = change},
                                    {.term = 1, .type = RAFT_COMMAND}};

    bench_start(&b, THREE(1, 4));
    with_guard(3, on);
    receive_append_of(&b, 2, 1, 5, 1, 0, entries, 4);
    assert_int_equal(b.log.last, 9);
    assert_int_equal(b.raft.configuration_uncommitted_index, on ? 8 : 6);
    bench_end(&b);
    raft_free(change.base);
}

static void test_g3_the_index_of_a_change(void **state)
{
    (void)state;
    g3(true);
    g3(false);
}

static void g4(bool on)
{
    struct bench b;
    struct raft_buffer first = encoded(2 | 4 | 8 | 16, 0), second = encoded(2 | 4 | 8, 0);
    struct raft_entry one = {.term = 1, .type = RAFT_CHANGE, .buf = first};
    struct raft_entry two = {.term = 1, .type = RAFT_CHANGE, .buf = second};
    struct raft_entry other = {.term = 2, .type = RAFT_COMMAND};

    bench_start(&b, THREE(1, 4));
    with_guard(4, on);
    receive_append_of(&b, 2, 1, 5, 1, 0, &one, 1);
    guard_persisted(&b.guard, 6);
    receive_append_of(&b, 2, 1, 6, 1, 0, &two, 1);
    guard_persisted(&b.guard, 7);
    guard_configuration(&b.guard, 6, first.base, first.len); /* applied now: too late */
    receive_append_of(&b, 3, 2, 6, 1, 0, &other, 1);         /* a new leader without `two` */
    assert_int_equal(b.log.last, 7);
    assert_int_equal(voters_of(&b.raft.configuration), on ? 30 : 14);
    bench_end(&b);
    raft_free(first.base);
    raft_free(second.base);
}

static void test_g4_a_second_change_confirms_the_first(void **state)
{
    (void)state;
    g4(true);
    g4(false);
}

static void g5(bool on)
{
    struct bench b;

    bench_start(&b, THREE(1, 4));
    elect(&b, 2); /* row 6 is the barrier of this term */
    assert_int_equal(b.log.last, 6);
    guard_persisted(&b.guard, 6);
    with_guard(5, on);
    assert_int_equal(guard_may_change(&b.guard, 6), !on);
    receive_result(&b, 2, 0, 6);
    assert_int_equal(b.raft.commit_index, 6);
    assert_true(guard_may_change(&b.guard, 6));
    bench_end(&b);
}

static void test_g5_no_change_before_an_own_commit(void **state)
{
    (void)state;
    g5(true);
    g5(false);
}

static void g6(bool on)
{
    struct bench b;
    struct raft_message *m;

    bench_start(&b, &(struct scene){.id = 4,
                                    .term = 1,
                                    .voters = 2 | 4 | 8,
                                    .standbys = 16,
                                    .applied = 1,
                                    .applied_term = 1,
                                    .terms = ones,
                                    .n = 2});
    with_guard(6, on);
    receive_append_of(&b, 2, 1, 3, 1, 0, NULL, 0);
    assert_int_equal(guard_leader(&b.guard), 2);
    let_time_out(&b);
    assert_int_equal(guard_leader(&b.guard), on ? 0 : 2);
    bench_clear(&b);
    guard_forget_leader(&b.guard);
    receive_vote_request(&b, 3, 2, 9, 1, false);
    m = sent(&b, RAFT_REQUEST_VOTE_RESULT, 3);
    assert_non_null(m);
    assert_int_equal(m->request_vote_result.vote_granted, on);
    assert_int_equal(b.raft.configuration.n, 4); /* the other configuration was only lent */
    bench_end(&b);
}

static void test_g6_a_non_voter_votes(void **state)
{
    (void)state;
    g6(true);
    g6(false);
}

static void g7(bool on)
{
    struct bench b;
    struct raft_message *m;
    uint64_t terms[2] = {1, 3};

    bench_start(&b, &(struct scene){.id = 1,
                                    .term = 62,
                                    .voters = 2 | 4 | 8,
                                    .applied = 1,
                                    .applied_term = 1,
                                    .terms = terms,
                                    .n = 2});
    with_guard(7, on);
    receive_vote_request(&b, 2, 47, 1, 1, true);
    m = sent(&b, RAFT_REQUEST_VOTE_RESULT, 2);
    assert_non_null(m);
    assert_false(m->request_vote_result.vote_granted);
    assert_int_equal(m->request_vote_result.term, on ? 62 : 47);
    bench_end(&b);
}

static void test_g7_a_refused_pre_vote_carries_the_term(void **state)
{
    (void)state;
    g7(true);
    g7(false);
}

/* Member 2 has all entries and is set back to probing; then a late rejection arrives. */
static void g8(bool on)
{
    struct bench b;
    struct raft_message *m;

    bench_start(&b, THREE(1, 4));
    elect(&b, 2);
    guard_persisted(&b.guard, 6);
    receive_result(&b, 2, 0, 6);
    b.guard.now += 10;
    receive_result(&b, 3, 0, 6);
    guard_timeout(&b.guard);
    b.guard.now += 10;
    receive_result(&b, 3, 0, 6);
    guard_timeout(&b.guard); /* 2 was silent since the last timeout */
    bench_clear(&b);
    with_guard(8, on);
    receive_result(&b, 2, 6, 2);
    b.guard.now += 10;
    bench_clear(&b);
    submit_some(&b, 3);
    m = sent(&b, RAFT_APPEND_ENTRIES, 2);
    assert_non_null(m);
    assert_int_equal(m->append_entries.n_entries, on ? 3 : 0);
    bench_end(&b);
}

static void test_g8_a_late_rejection(void **state)
{
    (void)state;
    g8(true);
    g8(false);
}

static void g9(bool on)
{
    struct bench b;
    uint64_t steps;

    bench_start(&b, THREE(1, 4));
    with_guard(9, on);
    steps = b.guard.steps;
    receive_vote(&b, 2, false);
    assert_int_equal(b.guard.steps - steps, !on); /* with the guard, it never reaches the core */
    assert_int_equal(b.raft.state, RAFT_FOLLOWER);
    bench_end(&b);
}

static void test_g9_a_vote_without_a_candidate(void **state)
{
    (void)state;
    g9(true);
    g9(false);
}

static void g10(bool on)
{
    struct bench b;
    struct raft_message *m;

    bench_start(&b, THREE(1, 4));
    elect(&b, 2);
    guard_persisted(&b.guard, 6);
    receive_result(&b, 2, 0, 6);
    submit_some(&b, 10);
    bench_clear(&b);
    with_guard(10, on);
    assert_int_equal(guard_transfer(&b.guard, 2), on ? -EAGAIN : 0);
    receive_result(&b, 2, 0, 9); /* only a part of the rows */
    m = sent(&b, RAFT_TIMEOUT_NOW, 2);
    assert_int_equal(m != NULL, !on); /* without: it claims row 16, and 2 refuses */
    if (on) {
        receive_result(&b, 2, 0, 16);
        assert_int_equal(guard_transfer(&b.guard, 2), 0);
        assert_non_null(sent(&b, RAFT_TIMEOUT_NOW, 2));
    }
    bench_end(&b);
}

static void test_g10_transfer_to_a_lagging_member(void **state)
{
    (void)state;
    g10(true);
    g10(false);
}

static void g11_commit(bool on)
{
    struct bench b;
    struct raft_entry row = {.term = 1, .type = RAFT_COMMAND};

    bench_start(&b, THREE(1, 8));
    receive_append_of(&b, 2, 1, 9, 1, 8, NULL, 0);
    assert_int_equal(b.raft.commit_index, 8);
    with_guard(11, on);
    receive_append_of(&b, 2, 1, 2, 1, 9, &row, 1);
    assert_int_equal(b.raft.commit_index, on ? 8 : 3);
    bench_end(&b);
}

static void test_g11_commit_does_not_go_back(void **state)
{
    (void)state;
    g11_commit(true);
    g11_commit(false);
}

static void test_g11_impossible_messages_are_dropped(void **state)
{
    struct bench b;
    struct raft_entry row = {.term = 9, .type = RAFT_COMMAND};
    uint64_t steps;

    (void)state;
    bench_start(&b, THREE(1, 8));
    receive_append_of(&b, 2, 1, 9, 1, 8, NULL, 0);
    steps = b.guard.steps;
    receive_append_of(&b, 3, 1, 9, 1, 8, NULL, 0); /* a second leader of term 1 */
    receive_append_of(&b, 3, 9, 7, 2, 8, NULL, 0); /* row 7 is committed, of term 1 */
    receive_append_of(&b, 3, 9, 7, 1, 8, &row, 1); /* row 8 as well */
    receive_append_of(&b, 1, 9, 9, 1, 8, NULL, 0); /* from this member itself */
    assert_int_equal(b.guard.steps, steps);
    assert_int_equal(b.guard.dropped, 4);
    assert_int_equal(b.raft.current_term, 1);
    bench_end(&b);

    bench_start(&b, THREE(1, 8));
    elect(&b, 2);
    receive_append_of(&b, 3, 2, 9, 1, 8, NULL, 0); /* this member leads that term */
    assert_int_equal(b.guard.dropped, 1);
    assert_int_equal(b.raft.state, RAFT_LEADER);
    bench_end(&b);
}

static void test_g12_install(void **state)
{
    struct bench b;
    struct raft_buffer config = encoded(2 | 4 | 8, 0);
    struct raft_message *m;

    (void)state;
    bench_start(&b, THREE(1, 4));
    receive_append_of(&b, 2, 1, 5, 1, 1, NULL, 0);
    assert_false(guard_install(&b.guard, 2, 3, 1, 1, config.base,
                               config.len)); /* the entry is applied already */
    bench_clear(&b);
    assert_true(guard_install(&b.guard, 2, 50, 1, 1, config.base, config.len));
    entries_reset(&b.log, 50, 1);
    b.guard.applied = 50;
    guard_installed(&b.guard, 50, 1, 1, config.base, config.len);
    m = sent(&b, RAFT_APPEND_ENTRIES_RESULT, 2);
    assert_non_null(m);
    assert_int_equal(m->append_entries_result.last_log_index, 50);
    assert_int_equal(b.raft.commit_index, 50);
    assert_int_equal(b.raft.last_stored, 50);
    assert_false(b.raft.snapshot.installing);
    bench_end(&b);
    raft_free(config.base);
}

/* After a tick without a message from it, a follower is probed. With the core's heartbeat timeout
 * of 1 ms the probe is immediate; with an ordinary timeout, it comes with the next heartbeat. */
static void g13(unsigned heartbeat_ms)
{
    struct bench b;

    bench_start(&b, THREE(1, 4));
    raft_set_heartbeat_timeout(&b.raft, heartbeat_ms);
    elect(&b, 2);
    guard_persisted(&b.guard, 6);
    receive_result(&b, 2, 0, 6);
    b.guard.now += 50;
    receive_result(&b, 3, 0, 6);
    guard_timeout(&b.guard);
    b.guard.now += 50;
    receive_result(&b, 3, 0, 6);
    guard_timeout(&b.guard);
    b.guard.now += 5;
    bench_clear(&b);
    submit_some(&b, 1);
    assert_int_equal(sent(&b, RAFT_APPEND_ENTRIES, 2) != NULL, heartbeat_ms == GUARD_HEARTBEAT_MS);
    bench_end(&b);
}

static void test_g13_probes_do_not_wait_for_heartbeats(void **state)
{
    (void)state;
    g13(GUARD_HEARTBEAT_MS);
    g13(50);
}

static void g14(bool on)
{
    struct guard_probe probe = {.end = 1000};
    unsigned i, total = 0;

    with_guard(14, on);
    assert_int_equal(guard_probe_cut(&probe, 1000, 500), 500); /* a pipeline continues */
    assert_int_equal(guard_probe_cut(&probe, 1500, 0), 0);
    for (i = 0; i < 100; i++) /* rejected: the same probe repeatedly */
        total += guard_probe_cut(&probe, 1000, 500);
    assert_int_equal(total, on ? 100 : 50000);
    assert_int_equal(probe.end, on ? 1001 : 1500);
    assert_int_equal(guard_probe_cut(&probe, probe.end, 400), 400); /* answered: a pipeline */
    assert_int_equal(guard_probe_cut(&probe, 10, 1000), on ? GUARD_PROBE_MAX : 1000);
    guard_ablated = 0;
}

static void test_g14_probes_are_small(void **state)
{
    (void)state;
    g14(true);
    g14(false);
}

static void g15(bool on)
{
    struct bench b;
    struct raft_message *m;
    uint64_t terms[60];
    unsigned i;

    for (i = 0; i < 60; i++)
        terms[i] = i < 9 ? 1 : 2; /* rows 2..10, rows 11..61 */
    bench_start(&b, &(struct scene){.id = 1,
                                    .term = 3,
                                    .voters = 2 | 4 | 8,
                                    .applied = 1,
                                    .applied_term = 1,
                                    .terms = terms,
                                    .n = 60});
    with_guard(15, on);
    receive_append_of(&b, 2, 3, 50, 3, 0, NULL, 0);
    m = sent(&b, RAFT_APPEND_ENTRIES_RESULT, 2);
    assert_non_null(m);
    assert_int_equal(m->append_entries_result.rejected, 50);
    assert_int_equal(m->append_entries_result.last_log_index, on ? 10 : 49);
    bench_end(&b);
}

static void test_g15_a_conflict_goes_back_a_whole_term(void **state)
{
    (void)state;
    g15(true);
    g15(false);
}

static void test_g16_when_a_snapshot_is_allowed(void **state)
{
    struct bench b;
    struct raft_buffer config = encoded(2 | 4 | 8, 0), change = encoded(2 | 4, 0);
    struct raft_entry rows[3] = {{.term = 1, .type = RAFT_CHANGE, .buf = change},
                                 {.term = 1, .type = RAFT_COMMAND},
                                 {.term = 1, .type = RAFT_COMMAND}};

    (void)state;
    bench_start(&b, THREE(1, 4));
    assert_false(guard_snapshot(&b.guard, 1, 1, config.base, config.len, 0)); /* not newer */
    receive_append_of(&b, 2, 1, 5, 1, 8, rows, 3);
    b.guard.applied = 8;
    assert_false(guard_snapshot(&b.guard, 1, 6, change.base, change.len, 0)); /* not persisted */
    guard_persisted(&b.guard, 8);
    assert_false(guard_snapshot(&b.guard, 1, 6, change.base, change.len, 0)); /* not confirmed */
    guard_configuration(&b.guard, 6, change.base, change.len);
    assert_true(guard_snapshot(&b.guard, 1, 6, change.base, change.len, 2));
    assert_int_equal(b.raft.trail.snapshot.index, 8);
    assert_int_equal(b.raft.trail.offset, 6);
    assert_false(guard_snapshot(&b.guard, 1, 6, change.base, change.len, 0)); /* again */
    bench_end(&b);
    raft_free(config.base);
    raft_free(change.base);
}

/* The only other voter was removed: the remaining voter must not lead in the other's term. */
static void g17(bool on)
{
    struct bench b;
    struct raft_buffer alone = encoded(2, 0);
    struct raft_entry change = {.term = 5, .type = RAFT_CHANGE, .buf = alone};
    struct raft_configuration config = config_of(2, 4);

    bench_start(&b, THREE(1, 4));
    receive_append_of(&b, 2, 5, 5, 1, 0, &change, 1);
    guard_persisted(&b.guard, 6);
    with_guard(17, on);
    bench_clear(&b);
    let_time_out(&b);
    assert_int_equal(b.raft.state, RAFT_LEADER);
    assert_int_equal(b.raft.current_term, on ? 6 : 5);
    assert_int_equal(b.raft.voted_for, on ? 1 : 0);
    assert_int_equal((b.flags & (0u + (RAFT_UPDATE_VOTED_FOR))) != 0, on);
    assert_int_equal(guard_start_needs_term(1, &config), on);
    assert_false(guard_start_needs_term(2, &config));
    raft_configuration_close(&config);
    bench_end(&b);
    raft_free(alone.base);
}

static void test_g17_a_sole_voter_takes_a_new_term(void **state)
{
    (void)state;
    g17(true);
    g17(false);
}

static void test_g17_a_sole_voter_is_not_told_to_lead(void **state)
{
    struct bench b;
    struct raft_buffer alone = encoded(2, 0);
    struct raft_entry change = {.term = 5, .type = RAFT_CHANGE, .buf = alone};
    struct raft_message m = {.type = RAFT_TIMEOUT_NOW, .server_id = 2, .server_address = "-"};
    bool on;

    (void)state;
    for (on = true;; on = false) {
        bench_start(&b, THREE(1, 4));
        receive_append_of(&b, 2, 5, 5, 1, 0, &change, 1);
        guard_persisted(&b.guard, 6);
        with_guard(17, on);
        m.timeout_now.term = 5;
        m.timeout_now.last_log_index = 6;
        m.timeout_now.last_log_term = 5;
        guard_receive(&b.guard, &m, NULL);
        assert_int_equal(b.raft.state, on ? RAFT_FOLLOWER : RAFT_LEADER);
        bench_end(&b);
        if (!on)
            break;
    }
    raft_free(alone.base);
}

/* Member 2 led, removed itself, and crashed before another member had that entry. */
static void g18(bool on, unsigned change_voters, unsigned change_standbys)
{
    struct bench b;
    struct raft_message *m;
    uint64_t other = change_voters >> 1 & 1 ? 1 : 3;

    with_guard(18, on);
    bench_start(&b, &(struct scene){.id = 2,
                                    .term = 1,
                                    .voters = 2 | 4 | 8,
                                    .applied = 1,
                                    .applied_term = 1,
                                    .terms = ones,
                                    .n = 4,
                                    .change_at = 4,
                                    .change_voters = change_voters,
                                    .change_standbys = change_standbys});
    assert_int_equal(b.raft.configuration_uncommitted_index, 5);
    let_time_out(&b);
    m = sent(&b, RAFT_REQUEST_VOTE, other);
    assert_int_equal(m != NULL, on);
    assert_null(sent(&b, RAFT_REQUEST_VOTE, 2));
    assert_int_equal(b.raft.state, on ? RAFT_CANDIDATE : RAFT_FOLLOWER);
    if (on) {
        assert_int_equal(voters_of(&b.raft.configuration), change_voters);
        let_time_out(&b); /* no answer: the timer fires again */
        receive_vote(&b, other, true);
        if (change_voters == (2 | 8)) {
            assert_int_equal(b.raft.current_term, 1); /* one vote of two; our own does not count */
            receive_vote(&b, 3, true);
        }
        assert_int_equal(b.raft.current_term, 2);
        receive_vote(&b, other, false);
        if (change_voters == (2 | 8)) {
            assert_int_equal(b.raft.state, RAFT_CANDIDATE);
            receive_vote(&b, 3, false);
        }
        assert_int_equal(b.raft.state, RAFT_LEADER);
        assert_int_equal(b.raft.commit_index, 1); /* the election commits nothing */
    }
    bench_end(&b);
}

static void test_g18_a_leaving_member_stands(void **state)
{
    (void)state;
    g18(true, 2, 0);
    g18(false, 2, 0);
    g18(true, 8, 4);
    g18(false, 8, 4);
    g18(true, 2 | 8, 0);
    g18(true, 2 | 8, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_g1_result_to_an_older_term),
        cmocka_unit_test(test_g2_entries_that_are_applied),
        cmocka_unit_test(test_g2_prev_zero_above_a_snapshot),
        cmocka_unit_test(test_g3_the_index_of_a_change),
        cmocka_unit_test(test_g4_a_second_change_confirms_the_first),
        cmocka_unit_test(test_g5_no_change_before_an_own_commit),
        cmocka_unit_test(test_g6_a_non_voter_votes),
        cmocka_unit_test(test_g7_a_refused_pre_vote_carries_the_term),
        cmocka_unit_test(test_g8_a_late_rejection),
        cmocka_unit_test(test_g9_a_vote_without_a_candidate),
        cmocka_unit_test(test_g10_transfer_to_a_lagging_member),
        cmocka_unit_test(test_g11_commit_does_not_go_back),
        cmocka_unit_test(test_g11_impossible_messages_are_dropped),
        cmocka_unit_test(test_g12_install),
        cmocka_unit_test(test_g13_probes_do_not_wait_for_heartbeats),
        cmocka_unit_test(test_g14_probes_are_small),
        cmocka_unit_test(test_g15_a_conflict_goes_back_a_whole_term),
        cmocka_unit_test(test_g16_when_a_snapshot_is_allowed),
        cmocka_unit_test(test_g17_a_sole_voter_takes_a_new_term),
        cmocka_unit_test(test_g17_a_sole_voter_is_not_told_to_lead),
        cmocka_unit_test(test_g18_a_leaving_member_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
