/* SPDX-License-Identifier: Apache-2.0 */
/* A driver among hostile peers. They send well-formed frames without sense, frames with changed
 * bytes, and bytes that are not frames. The driver need not make progress (two liars are a majority
 * of three), but it must never crash, fail a check, or accept an impossible log.
 * Run it with the sanitizers. HOSTILE_ROUNDS and HOSTILE_SEED change the amount and the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "raft/driver_impl.h"
#include "raft/wire.h"
#include "tests/lib/memory_machine.h"

struct world {
    uint64_t now_ms, chance;
    struct memory_machine *machine;
    struct driver *driver;
    struct buf last; /* the driver's last message: a true frame to change */
    struct driver_status status;
    uint64_t head[3]; /* the offered snapshot, in the format of memory_machine.c */
};

static uint64_t seed_now;
static struct {
    unsigned led, applied, compacted, changed, installed, sent, refused;
} seen; /* number of worlds in which the liars had an effect; 0 would test nothing */

static void on_abort(int signal)
{
    char text[64];
    int len = snprintf(text, sizeof text, "HOSTILE_SEED=%llu\n", (unsigned long long)seed_now);

    (void)signal;
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(1);
}

static uint64_t chance(struct world *w, uint64_t below)
{
    uint64_t z = w->chance += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

/* Mostly small, to match real indexes; sometimes absurd. */
static uint64_t number(struct world *w)
{
    static const uint64_t absurd[] = {UINT64_MAX, 1ull << 63, (1ull << 62) - 1,
                                      1ull << 62, UINT32_MAX, 1ull << 40};

    if (chance(w, 60) == 0)
        return absurd[chance(w, ARRAY_LEN(absurd))];
    if (chance(w, 4) == 0)
        return chance(w, 30);
    return w->status.last_index + 2 - min_u64(chance(w, 6), w->status.last_index);
}

/* Near the driver's term: much older or newer terms have no effect. */
static uint64_t near_term(struct world *w)
{
    static const unsigned ahead[] = {1, 1, 1, 1, 1, 1, 1, 1, 0, 2};

    return max_u64(1, w->status.term + ahead[chance(w, ARRAY_LEN(ahead))] - 1);
}

/* ---- The environment ------------------------------------------------------------------------- */

static uint64_t env_now_ms(void *ctx)
{
    return ((struct world *)ctx)->now_ms;
}

static void env_send(void *ctx, uint64_t peer, struct buf *message)
{
    struct world *w = ctx;

    (void)peer;
    buf_fini(&w->last);
    w->last = buf_take(message);
}

static bool env_linked(void *ctx, uint64_t peer)
{
    (void)ctx;
    return peer < 4;
}

static size_t env_queued(void *ctx, uint64_t peer)
{
    (void)ctx;
    (void)peer;
    return 0;
}

static void env_members(void *ctx, const struct driver_member *members, unsigned n)
{
    (void)ctx;
    (void)members;
    assert_true(n > 0 && n <= 2 * LIMIT_MEMBERS_MAX);
}

static void env_on_leader(void *ctx, uint64_t leader, uint64_t term)
{
    (void)ctx;
    (void)leader;
    (void)term;
}

static void env_on_index(void *ctx, uint64_t index)
{
    (void)ctx;
    (void)index;
}

static void env_on_app(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    (void)ctx;
    (void)from;
    (void)data;
    (void)len;
}

static void world_open(struct world *w, uint64_t seed)
{
    static const struct driver_member members[] = {
        {1, (char *)(uintptr_t) "a:1", DRIVER_VOTER},
        {2, (char *)(uintptr_t) "b:1", DRIVER_VOTER},
        {3, (char *)(uintptr_t) "c:1", DRIVER_VOTER},
    };
    struct driver_config config = {.id = 1,
                                   .election_ms = 100,
                                   .compact_every = 5,
                                   .compact_trailing = 3,
                                   .max_inflight = 16,
                                   .seed = seed,
                                   .members = members,
                                   .n_members = 3};
    struct driver_env env = {.ctx = w,
                             .now_ms = env_now_ms,
                             .send = env_send,
                             .linked = env_linked,
                             .queued = env_queued,
                             .members = env_members,
                             .on_leader = env_on_leader,
                             .on_applied = env_on_index,
                             .on_installed = env_on_index,
                             .on_barrier = env_on_index,
                             .on_app = env_on_app};
    struct memory_machine_config disk = {.seed = seed, .copy_size = 500, .fail_one_in = 50};
    char errmsg[200];

    memset(w, 0, sizeof *w);
    w->chance = seed;
    w->now_ms = 1000;
    w->machine = memory_machine_new(&disk);
    w->driver = driver_new(&config, &env, memory_machine_of(w->machine));
    assert_int_equal(driver_start(w->driver, errmsg, sizeof errmsg), 0);
    driver_status(w->driver, &w->status);
}

static void world_close(struct world *w)
{
    driver_free(w->driver);
    memory_machine_free(w->machine);
    buf_fini(&w->last);
}

/* ---- Frames ---------------------------------------------------------------------------------- */

#define ENTRIES_MAX 6

struct made { /* everything that a frame may point to */
    Cfs__Peer__Frame frame;
    Cfs__Peer__RequestVote vote;
    Cfs__Peer__RequestVoteResult vote_result;
    Cfs__Peer__AppendEntries append;
    Cfs__Peer__AppendEntriesResult append_result;
    Cfs__Peer__TimeoutNow timeout_now;
    Cfs__Peer__Propose propose;
    Cfs__Peer__ReadRequest read_request;
    Cfs__Peer__ReadReply read_reply;
    Cfs__Peer__ReadProbe read_probe;
    Cfs__Peer__ReadAck read_ack;
    Cfs__Peer__SnapshotOffer offer;
    Cfs__Peer__SnapshotChunk chunk;
    Cfs__Peer__SnapshotAck ack;
    Cfs__Peer__Entry entries[ENTRIES_MAX];
    Cfs__Peer__Entry *pointers[ENTRIES_MAX];
    ProtobufCBinaryData bytes[ENTRIES_MAX];
    uint8_t payload[64];
    uint8_t config[64];
    size_t config_len;
};

/* A configuration with one to three members, sometimes an invalid one. */
static void make_config(struct world *w, struct made *m)
{
    uint64_t n = 1 + chance(w, 3), i;
    uint8_t *at = m->config;

    memset(m->config, 0, sizeof m->config);
    *at++ = 1;
    *at = (uint8_t)n;
    at += 8;
    for (i = 0; i < n; i++) {
        *at = (uint8_t)(1 + (chance(w, 10) == 0 ? chance(w, 3) : i));
        at += 8;
        *at++ = (uint8_t)('a' + i);
        *at++ = 0;
        *at++ = (uint8_t)(chance(w, 12) == 0 ? chance(w, 5) : 1);
    }
    m->config_len = (size_t)(at - m->config) - (chance(w, 15) == 0);
}

static void make_append(struct world *w, struct made *m)
{
    uint64_t row = 1, i;

    cfs__peer__append_entries__init(&m->append);
    m->append.term = chance(w, 20) == 0 ? number(w) : near_term(w);
    m->append.prev_index = number(w);
    m->append.prev_term = near_term(w);
    m->append.prev_term -= min_u64(chance(w, 3), m->append.prev_term - 1);
    if (m->append.prev_index == 0)
        m->append.prev_term = 0;
    m->append.commit = number(w);
    m->append.n_entries = chance(w, ENTRIES_MAX);
    m->append.entries = m->pointers;
    row = max_u64(1, m->append.prev_term);
    for (i = 0; i < m->append.n_entries; i++) {
        Cfs__Peer__Entry *entry = m->pointers[i] = &m->entries[i];

        cfs__peer__entry__init(entry);
        row += chance(w, 4) == 0;
        entry->term = chance(w, 30) == 0 ? number(w) : row;
        entry->type = chance(w, 6) == 0 ? (uint32_t)number(w) % 5 : 1;
        entry->data.data = entry->type == 3 ? m->config : m->payload;
        entry->data.len = entry->type == 3 ? m->config_len : chance(w, sizeof m->payload);
    }
}

static void make_offer(struct world *w, struct made *m)
{
    cfs__peer__snapshot_offer__init(&m->offer);
    m->offer.stream = chance(w, 3);
    m->offer.term = near_term(w);
    m->offer.index = number(w);
    m->offer.index_term = max_u64(1, chance(w, 4));
    m->offer.config_index = chance(w, 5);
    m->offer.config.data = m->config;
    m->offer.config.len = m->config_len;
    m->offer.size = chance(w, 3) == 0 ? number(w) : sizeof w->head;
    w->head[0] = 1 + chance(w, 1000);
    w->head[1] = m->offer.index;
    w->head[2] = m->offer.index_term;
}

static void make_votes(struct world *w, struct made *m, uint64_t from)
{
    cfs__peer__request_vote__init(&m->vote);
    m->vote.version = (uint32_t)chance(w, 4);
    m->vote.term = number(w);
    m->vote.candidate = chance(w, 10) == 0 ? number(w) : from;
    m->vote.last_index = number(w);
    m->vote.last_term = near_term(w);
    m->vote.disrupt = chance(w, 3) == 0;
    m->vote.pre_vote = chance(w, 2) == 0;
    cfs__peer__request_vote_result__init(&m->vote_result);
    m->vote_result.version = (uint32_t)chance(w, 4);
    m->vote_result.term = near_term(w);
    m->vote_result.granted = chance(w, 4) != 0;
    m->vote_result.pre_vote = chance(w, 2) == 0;
}

static void make_small(struct world *w, struct made *m)
{
    cfs__peer__append_entries_result__init(&m->append_result);
    m->append_result.version = 2;
    m->append_result.term = near_term(w);
    m->append_result.rejected = chance(w, 2) == 0 ? 0 : number(w);
    m->append_result.last_index = number(w);
    cfs__peer__timeout_now__init(&m->timeout_now);
    m->timeout_now.term = near_term(w);
    m->timeout_now.last_index = number(w);
    m->timeout_now.last_term = near_term(w);
    cfs__peer__read_request__init(&m->read_request);
    m->read_request.number = number(w);
    cfs__peer__read_reply__init(&m->read_reply);
    m->read_reply.number = number(w);
    m->read_reply.index = number(w);
    cfs__peer__read_probe__init(&m->read_probe);
    m->read_probe.term = near_term(w);
    m->read_probe.round = number(w);
    cfs__peer__read_ack__init(&m->read_ack);
    m->read_ack.term = near_term(w);
    m->read_ack.round = number(w);
    cfs__peer__snapshot_chunk__init(&m->chunk);
    m->chunk.stream = chance(w, 3);
    m->chunk.offset = chance(w, 3) == 0 ? number(w) : 0;
    m->chunk.data.data = chance(w, 3) == 0 ? m->payload : (uint8_t *)w->head;
    m->chunk.data.len = chance(w, 3) == 0 ? chance(w, sizeof w->head) : sizeof w->head;
    m->chunk.xxh3 =
        chance(w, 8) == 0 ? number(w) : XXH3_64bits(m->chunk.data.data, m->chunk.data.len);
    cfs__peer__snapshot_ack__init(&m->ack);
    m->ack.stream = chance(w, 3);
    m->ack.offset = number(w);
    m->ack.state = (Cfs__Peer__SnapshotAck__State)chance(w, 4);
}

static void make_propose(struct world *w, struct made *m)
{
    size_t i;

    cfs__peer__propose__init(&m->propose);
    m->propose.n_entries = chance(w, ENTRIES_MAX);
    m->propose.entries = m->bytes;
    for (i = 0; i < m->propose.n_entries; i++) {
        m->bytes[i].data = m->payload;
        m->bytes[i].len = chance(w, sizeof m->payload);
    }
}

static struct buf make_frame(struct world *w, uint64_t from)
{
    struct made m = {.frame = CFS__PEER__FRAME__INIT};
    /* The members of the union are all pointers: one for each kind, in the order of the kinds. */
    void *const kinds[] = {&m.vote,        &m.vote_result, &m.append,       &m.append_result,
                           &m.timeout_now, &m.propose,     &m.read_request, &m.read_reply,
                           &m.read_probe,  &m.read_ack,    &m.offer,        &m.chunk,
                           &m.ack};
    size_t kind = chance(w, 3) == 0 ? 2 : chance(w, ARRAY_LEN(kinds));

    make_config(w, &m);
    make_append(w, &m);
    if (kind == 10)
        make_offer(w, &m);
    make_votes(w, &m, from);
    make_small(w, &m);
    make_propose(w, &m);
    m.frame.kind_case = (Cfs__Peer__Frame__KindCase)(kind + 1);
    m.frame.request_vote = kinds[kind];
    return wire_encode(&m.frame);
}

static void change_bytes(struct world *w, struct buf *b)
{
    uint64_t n = 1 + chance(w, 4), i;

    for (i = 0; i < n && b->len > 0; i++) {
        uint64_t at = chance(w, b->len);

        b->data[at] = (uint8_t)chance(w, 256);
    }
    if (chance(w, 4) == 0)
        b->len = chance(w, b->len + 1);
}

static struct buf something(struct world *w, uint64_t from)
{
    uint64_t what = chance(w, 10);
    struct buf b = BUF_EMPTY;

    if (what == 0 && w->last.len > 0) /* the driver's own message, changed */
        b = buf_copy(w->last.data, w->last.len);
    else if (what == 1) { /* not a frame */
        while (b.len < 20)
            buf_printf(&b, "%c", (int)chance(w, 256));
        return b;
    } else
        b = make_frame(w, from);
    if (what <= 2)
        change_bytes(w, &b);
    return b;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

/* Only one random draw per expression: otherwise the compiler would choose their order. */
static void play_link(struct world *w)
{
    uint64_t peer = 2 + chance(w, 2);

    driver_link(w->driver, peer, chance(w, 2) == 0);
}

static void play_operator(struct world *w)
{
    uint64_t id = 2 + chance(w, 2);
    enum driver_role role = chance(w, 2) == 0 ? DRIVER_VOTER : DRIVER_STANDBY;

    if (driver_is_leader(w->driver))
        (void)driver_assign(w->driver, id, role);
}

/* True if it is a frame, but one that no sound member sends. */
static bool is_refused(struct world *w, const struct buf *data)
{
    Cfs__Peer__Frame *frame = wire_decode(data->data, data->len);
    uint64_t before = w->status.refused;

    driver_status(w->driver, &w->status);
    if (frame == NULL)
        return false;
    wire_free(frame);
    assert_int_equal(w->status.refused, before + 1);
    return true;
}

static void hostile_world(uint64_t seed, unsigned rounds)
{
    struct world w;
    uint64_t term = 0, commit = 0;
    unsigned i, led = 0, refused = 0;

    seed_now = seed;
    world_open(&w, seed);
    for (i = 0; i < rounds; i++) {
        uint64_t from = chance(&w, 20) == 0 ? chance(&w, 100) : 2 + chance(&w, 2);
        struct buf data = something(&w, from);

        if (!driver_receive(w.driver, from, data.data, data.len))
            refused += is_refused(&w, &data);
        buf_fini(&data);
        if (chance(&w, 8) == 0) {
            data = buf_copy("proposal", 8);
            driver_propose(w.driver, &data);
            buf_fini(&data);
        }
        if (chance(&w, 20) == 0)
            driver_barrier(w.driver, i);
        if (chance(&w, 30) == 0)
            play_link(&w);
        if (chance(&w, 30) == 0)
            play_operator(&w);
        w.now_ms += chance(&w, 10) == 0 ? chance(&w, 300) : chance(&w, 3);
        if (chance(&w, 3) != 0)
            driver_turn(w.driver);
        driver_status(w.driver, &w.status);
        assert_true(w.status.term >= term && w.status.commit >= commit);
        assert_true(w.status.applied <= w.status.commit && w.status.commit <= w.status.last_index);
        term = w.status.term;
        commit = w.status.commit;
        led += w.status.state == DRIVER_LEADER;
    }
    seen.led += led > 0;
    seen.refused += refused;
    seen.applied += w.status.applied > 1;
    seen.compacted += w.status.first_index > 1;
    seen.changed += w.status.config_index > 1;
    seen.installed += w.status.snapshots_installed;
    seen.sent += w.status.snapshots_sent;
    world_close(&w);
}

static void test_hostile_peers(void **state)
{
    const char *rounds = getenv("HOSTILE_ROUNDS"), *seed = getenv("HOSTILE_SEED");
    unsigned n = rounds != NULL ? (unsigned)strtoul(rounds, NULL, 10) : 300, i;
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;

    (void)state;
    for (i = 0; i < n; i++)
        hostile_world(first + i, 400);
    printf("%u worlds: leader in %u, applied in %u, compacted in %u, other members in %u, "
           "%u snapshots installed, %u sent\n",
           n, seen.led, seen.applied, seen.compacted, seen.changed, seen.installed, seen.sent);
    assert_true(n < 300 || (seen.led > 10 && seen.applied > 10 && seen.changed > 0 &&
                            seen.installed > 0 && seen.compacted > 0 && seen.refused > 0));
}

/* A world in which the driver follows member 2 in term 1. */
static bool receives(struct world *w, Cfs__Peer__Frame *frame)
{
    struct buf data = wire_encode(frame);
    bool good = driver_receive(w->driver, 2, data.data, data.len);

    buf_fini(&data);
    driver_turn(w->driver);
    driver_status(w->driver, &w->status);
    return good;
}

/* One message could use up all terms; their number is bounded by the number of elections. */
static void test_a_term_out_of_reach(void **state)
{
    const uint64_t leap = UINT64_C(1) << 32;
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__RequestVote vote = CFS__PEER__REQUEST_VOTE__INIT;
    Cfs__Peer__AppendEntries append = CFS__PEER__APPEND_ENTRIES__INIT;
    struct world w;
    uint64_t term;

    (void)state;
    world_open(&w, 1);
    term = w.status.term;
    frame.kind_case = CFS__PEER__FRAME__KIND_REQUEST_VOTE;
    frame.request_vote = &vote;
    vote.version = 2;
    vote.candidate = 2;
    vote.last_index = 100;
    vote.last_term = 1;
    vote.disrupt = true;
    vote.term = term + leap + 1;
    assert_false(receives(&w, &frame));
    assert_int_equal(w.status.term, term);
    assert_int_equal(w.status.refused, 1);
    frame.kind_case = CFS__PEER__FRAME__KIND_APPEND_ENTRIES;
    frame.append_entries = &append;
    append.term = term + leap + 1;
    assert_false(receives(&w, &frame));
    assert_int_equal(w.status.term, term);
    assert_int_equal(w.status.refused, 2);
    frame.kind_case = CFS__PEER__FRAME__KIND_REQUEST_VOTE;
    frame.request_vote = &vote;
    vote.term = term + leap;
    assert_true(receives(&w, &frame));
    assert_int_equal(w.status.term, term + leap);
    assert_int_equal(w.status.refused, 2);
    world_close(&w);
}

static bool not_bad(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    (void)ctx;
    assert_int_equal(from, 0);
    return len < 3 || memcmp(data, "bad", 3) != 0;
}

/* A leader that does not check its entries: none of them may enter the log. */
static void test_an_entry_that_is_not_acceptable(void **state)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__AppendEntries append = CFS__PEER__APPEND_ENTRIES__INIT;
    Cfs__Peer__Entry rows[2] = {CFS__PEER__ENTRY__INIT, CFS__PEER__ENTRY__INIT};
    Cfs__Peer__Entry *entries[2] = {&rows[0], &rows[1]};
    uint8_t good[] = "good", bad[] = "bad";
    struct machine_ops ops;
    struct world w;
    uint64_t last;

    (void)state;
    world_open(&w, 1);
    ops = *w.driver->machine.ops;
    ops.acceptable = not_bad;
    w.driver->machine.ops = &ops;
    last = w.status.last_index;
    frame.kind_case = CFS__PEER__FRAME__KIND_APPEND_ENTRIES;
    frame.append_entries = &append;
    append.term = w.status.term + 1;
    append.prev_index = last;
    append.prev_term = 1;
    append.entries = entries;
    append.n_entries = 2;
    for (unsigned i = 0; i < 2; i++) {
        rows[i].term = append.term;
        rows[i].type = MACHINE_COMMAND;
        rows[i].data.data = i == 0 ? good : bad;
        rows[i].data.len = 3;
    }
    assert_false(receives(&w, &frame));
    assert_int_equal(w.status.last_index, last);
    assert_int_equal(w.status.refused, 1);
    rows[1].data.data = good;
    assert_true(receives(&w, &frame));
    assert_int_equal(w.status.last_index, last + 2);
    world_close(&w);
}

static void test_invalid_frames(void **state)
{
    static const uint8_t zero[40];
    struct buf big = BUF_EMPTY;

    (void)state;
    assert_null(wire_decode(zero, 0)); /* no kind */
    assert_null(wire_decode(zero, sizeof zero));
    while (big.len <= LIMIT_FRAME_MAX)
        buf_append(&big, zero, sizeof zero);
    assert_null(wire_decode(big.data, big.len));
    buf_fini(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invalid_frames),
        cmocka_unit_test(test_a_term_out_of_reach),
        cmocka_unit_test(test_an_entry_that_is_not_acceptable),
        cmocka_unit_test(test_hostile_peers),
    };

    signal(SIGABRT, on_abort);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
