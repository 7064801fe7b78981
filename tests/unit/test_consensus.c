/* SPDX-License-Identifier: Apache-2.0 */
/* Whole members in one process: real threads, real sockets on loopback, and a state machine in
 * memory that knows the session rules. One history records all applied entries: the first member to
 * apply an index records it, and each other member is compared with the record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/stamp.h"
#include "raft/consensus.h"
#include "tests/lib/memory_machine.h"
#include "tests/lib/own_host.h"

enum {
    MEMBERS_MAX = 4,
    SESSIONS_MAX = 64,
    IDS_MAX = 400000,
    PATIENCE_MS = 20000,
    UNENDING = 1000000,
};

/* ---- The history ----------------------------------------------------------------------------- */

struct entry {
    uint64_t term;
    enum machine_entry_type type;
    struct buf data;
};

static struct {
    pthread_mutex_t mutex;
    struct entry *entries; /* entries[i] is index i + 1 */
    size_t n, cap;
} history = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void history_clear(void)
{
    for (size_t i = 0; i < history.n; i++)
        buf_fini(&history.entries[i].data);
    free(history.entries);
    history.entries = NULL;
    history.n = history.cap = 0;
}

/* All members must apply the same entry at `index`. */
static void history_note(uint64_t index, const struct machine_entry *entry)
{
    struct entry *e;

    pthread_mutex_lock(&history.mutex);
    check(index >= 1 && index <= history.n + 1);
    if (index == history.n + 1) {
        if (history.n == history.cap) {
            history.cap = history.cap > 0 ? 2 * history.cap : 1024;
            history.entries = xrealloc(history.entries, history.cap * sizeof *history.entries);
        }
        history.entries[history.n++] =
            (struct entry){entry->term, entry->type, buf_copy(entry->data, entry->len)};
    }
    e = &history.entries[index - 1];
    check(e->term == entry->term && e->type == entry->type && e->data.len == entry->len);
    check(entry->len == 0 || memcmp(e->data.data, entry->data, entry->len) == 0);
    pthread_mutex_unlock(&history.mutex);
}

/* ---- The session rules ----------------------------------------------------------------------- */

struct session {
    uint64_t id, nonce, last;
    uint64_t *replies; /* the index at which each number was applied */
    size_t cap;
};

struct sessions {
    struct session list[SESSIONS_MAX];
    unsigned n;
};

struct result {
    enum client_outcome outcome;
    uint64_t session, seq, nonce, reply;
    uint64_t id; /* of the command that took effect; 0: none */
};

static void sessions_clear(struct sessions *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->list[i].replies);
    s->n = 0;
}

static struct session *sessions_find(struct sessions *s, uint64_t id, uint64_t nonce)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->list[i].id == id || (nonce != 0 && s->list[i].nonce == nonce))
            return &s->list[i];
    return NULL;
}

static void open_session(struct sessions *s, uint64_t index, uint64_t nonce, struct result *out)
{
    struct session *found = sessions_find(s, 0, nonce);

    out->outcome = found != NULL ? CLIENT_DUPLICATE : CLIENT_APPLIED;
    if (found == NULL) {
        check(s->n < SESSIONS_MAX);
        found = &s->list[s->n++];
        *found = (struct session){.id = index, .nonce = nonce};
    }
    out->session = found->id;
    out->nonce = nonce;
}

static void command(struct session *found, uint64_t index, const uint8_t *bytes, size_t len,
                    struct result *out)
{
    if (found == NULL) {
        out->outcome = CLIENT_NO_SESSION;
    } else if (out->seq <= found->last) {
        out->outcome = CLIENT_DUPLICATE;
        out->reply = found->replies[out->seq];
    } else if (out->seq > found->last + 1) {
        out->outcome = CLIENT_GAP;
    } else {
        out->outcome = CLIENT_APPLIED;
        found->last = out->seq;
        if (found->last >= found->cap) {
            found->cap = 2 * found->last + 64;
            found->replies = xrealloc(found->replies, found->cap * sizeof *found->replies);
        }
        found->replies[found->last] = out->reply = index;
        if (bytes[0] == 'c') {
            check(len >= 1 + sizeof out->id);
            memcpy(&out->id, bytes + 1, sizeof out->id);
        }
    }
}

/* Returns false if the entry is not a command. */
static bool sessions_apply(struct sessions *s, uint64_t index, enum machine_entry_type type,
                           const uint8_t *data, size_t len, struct result *out)
{
    struct stamp stamp;
    uint64_t nonce;

    *out = (struct result){0};
    if (type != MACHINE_COMMAND)
        return false;
    check(stamp_decode(data, len, &stamp));
    out->session = stamp.session;
    out->seq = stamp.seq;
    if (stamp.session == 0) {
        check(len == STAMP_SIZE + 1 + sizeof nonce && data[STAMP_SIZE] == 'o');
        memcpy(&nonce, data + STAMP_SIZE + 1, sizeof nonce);
        open_session(s, index, nonce, out);
    } else {
        command(sessions_find(s, stamp.session, 0), index, data + STAMP_SIZE, len - STAMP_SIZE,
                out);
    }
    return true;
}

/* ---- The network: every link of a member goes through this "codec", which can cut it off ----- */

enum network { NETWORK_FINE, NETWORK_CUT, NETWORK_SILENT };

/* cut: a member's links are refused. silent: nothing arrives on them, as from a host that was
 * switched off; the other side sees no end of the stream. */
static _Atomic enum network networks[MEMBERS_MAX + 1];

struct wire {
    uint64_t member;
    bool holed; /* bytes are missing: the stream is broken */
};

static void *wire_open(void *ctx, bool dialled BASE_UNUSED)
{
    struct wire *w = xcalloc(1, sizeof *w);

    w->member = *(uint64_t *)ctx;
    return w;
}

static int wire_decode(void *codec, const uint8_t *data, size_t len, struct buf *plain,
                       struct buf *out BASE_UNUSED)
{
    struct wire *w = codec;
    enum network network = atomic_load(&networks[w->member]);

    if (network == NETWORK_SILENT)
        w->holed = true;
    else if (network == NETWORK_CUT || w->holed)
        return -ECONNRESET;
    else
        buf_append(plain, data, len);
    return 0;
}

static int wire_encode(void *codec, const uint8_t *data, size_t len, struct buf *out)
{
    struct wire *w = codec;
    enum network network = atomic_load(&networks[w->member]);

    if (network == NETWORK_SILENT)
        w->holed = true;
    else if (network == NETWORK_CUT || w->holed)
        return -ECONNRESET;
    else
        buf_append(out, data, len);
    return 0;
}

static bool wire_vouches(void *codec BASE_UNUSED, uint64_t id)
{
    return id > 0;
}

static const struct link_codec_ops wire_ops = {wire_open, wire_decode, wire_encode, wire_vouches,
                                               free};

/* ---- Members --------------------------------------------------------------------------------- */

struct delivery {
    struct delivery *next;
    struct result result;
};

struct member {
    uint64_t id;
    char address[32];
    struct memory_machine *machine;
    struct consensus *consensus; /* NULL: down */
    /* Used by the loop thread (by the main thread while the member is down): */
    struct sessions sessions;
    struct delivery *deliveries, **tail;
    /* Used by all threads: */
    _Atomic uint64_t applied, session, leader, ticks, installed, apps;
};

static struct member members[MEMBERS_MAX + 1];
static unsigned n_members;
static _Atomic unsigned sync_us; /* duration of a sync */
static uint64_t trailing = 10000;

static void on_apply(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct member *m = ctx;
    struct delivery *d;
    struct result result;

    history_note(index, entry);
    if (!sessions_apply(&m->sessions, index, entry->type, entry->data, entry->len, &result))
        return;
    d = xmalloc(sizeof *d);
    *d = (struct delivery){NULL, result};
    *m->tail = d;
    m->tail = &d->next;
}

static void on_commit(void *ctx BASE_UNUSED, bool sync)
{
    unsigned us = atomic_load(&sync_us);

    if (sync && us > 0)
        usleep(us);
}

static void env_applied(void *ctx, uint64_t applied)
{
    struct member *m = ctx;
    struct delivery *d;

    check(applied == memory_machine_applied(m->machine));
    atomic_store(&m->applied, applied);
    while ((d = m->deliveries) != NULL) {
        m->deliveries = d->next;
        if (m->deliveries == NULL)
            m->tail = &m->deliveries;
        consensus_applied(m->consensus, d->result.outcome, d->result.session, d->result.seq,
                          d->result.nonce, (const uint8_t *)&d->result.reply,
                          sizeof d->result.reply);
        free(d);
    }
}

/* The sessions as of `applied`, from the history. */
static void replay(struct member *m, uint64_t applied)
{
    struct result result;

    sessions_clear(&m->sessions);
    pthread_mutex_lock(&history.mutex);
    check(applied <= history.n);
    for (uint64_t i = 0; i < applied; i++) {
        const struct entry *e = &history.entries[i];

        sessions_apply(&m->sessions, i + 1, e->type, e->data.data, e->data.len, &result);
    }
    pthread_mutex_unlock(&history.mutex);
}

static void env_installed(void *ctx, uint64_t applied)
{
    struct member *m = ctx;

    check(m->deliveries == NULL);
    replay(m, applied);
    atomic_store(&m->applied, applied);
    atomic_fetch_add(&m->installed, 1);
}

static struct buf env_open(void *ctx BASE_UNUSED, uint64_t nonce)
{
    struct buf b = buf_copy("o", 1);

    buf_append(&b, &nonce, sizeof nonce);
    return b;
}

static struct buf env_noop(void *ctx BASE_UNUSED)
{
    return buf_copy("n", 1);
}

static int env_stored(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct member *m = ctx;
    struct session *s = sessions_find(&m->sessions, session, 0);

    if (s == NULL)
        return -ESTALE;
    if (seq > s->last)
        return 0;
    *out = buf_copy(&s->replies[seq], sizeof *s->replies);
    return 1;
}

static void env_leader(void *ctx, uint64_t leader, uint64_t term BASE_UNUSED)
{
    atomic_store(&((struct member *)ctx)->leader, leader);
}

static void env_session(void *ctx, uint64_t session)
{
    struct member *m = ctx;

    check(consensus_session(m->consensus) == session);
    atomic_store(&m->session, session);
}

static void env_app(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    struct member *m = ctx;

    check(len == 4 && memcmp(data, "ping", 4) == 0 && from != m->id);
    atomic_fetch_add(&m->apps, 1);
}

static void env_tick(void *ctx)
{
    atomic_fetch_add(&((struct member *)ctx)->ticks, 1);
}

static struct consensus_env env_of(struct member *m)
{
    return (struct consensus_env){
        .ctx = m,
        .open_command = env_open,
        .noop_command = env_noop,
        .stored_reply = env_stored,
        .on_applied = env_applied,
        .on_installed = env_installed,
        .on_leader = env_leader,
        .on_session = env_session,
        .on_app = env_app,
        .on_tick = env_tick,
    };
}

static struct consensus_config config_of(const struct member *m, const struct driver_member *first)
{
    return (struct consensus_config){
        .cluster = "test",
        .listen = n_members > 1 ? m->address : NULL,
        .codec = {&members[m->id].id, &wire_ops},
        .driver =
            {
                .id = m->id,
                .election_ms = 300,
                .compact_every = trailing / 5,
                .compact_trailing = trailing,
                .max_inflight = (unsigned)trailing / 2,
                .seed = m->id * 7919,
                .members = first,
                .n_members = n_members,
            },
    };
}

static void member_start(struct member *m)
{
    struct driver_member first[MEMBERS_MAX];
    struct consensus_config config;
    struct consensus_env env = env_of(m);
    char errmsg[200] = "?";
    int err;

    for (unsigned i = 0; i < n_members; i++)
        first[i] = (struct driver_member){members[i + 1].id, members[i + 1].address, DRIVER_VOTER};
    config = config_of(m, first);
    m->tail = &m->deliveries;
    replay(m, memory_machine_applied(m->machine));
    err = consensus_start(&config, &env, memory_machine_of(m->machine), &m->consensus, errmsg,
                          sizeof errmsg);
    if (err != 0)
        fail_msg("consensus_start: %d %s", err, errmsg);
}

static void member_stop(struct member *m)
{
    struct delivery *d;

    if (m->consensus == NULL)
        return;
    consensus_stop(m->consensus);
    m->consensus = NULL;
    while ((d = m->deliveries) != NULL) {
        m->deliveries = d->next;
        free(d);
    }
    m->tail = &m->deliveries;
}

/* Like kill -9 and a power cut: unsynced transactions may be lost. */
static void member_crash(struct member *m)
{
    member_stop(m);
    memory_machine_crash(m->machine);
    atomic_store(&m->applied, memory_machine_applied(m->machine));
    atomic_store(&m->leader, 0);
}

/* Each cluster has its own ports: late calls of the previous cluster reach no member. */
static void choose_addresses(void)
{
    static unsigned port = 7410;

    for (unsigned i = 1; i <= n_members; i++)
        snprintf(members[i].address, sizeof members[i].address, "%s:%u", own_host(), port++);
}

static void cluster_start(unsigned n)
{
    n_members = n;
    memset(members, 0, sizeof members);
    choose_addresses();
    for (unsigned i = 1; i <= n; i++) {
        struct member *m = &members[i];
        struct memory_machine_config config = {
            .seed = i,
            .copy_size = 300000,
            .ctx = m,
            .on_apply = on_apply,
            .on_commit = on_commit,
        };

        m->id = i;
        m->machine = memory_machine_new(&config);
    }
    for (unsigned i = 1; i <= n; i++)
        member_start(&members[i]);
}

static void cluster_stop(void)
{
    for (unsigned i = 1; i <= n_members; i++) {
        member_stop(&members[i]);
        sessions_clear(&members[i].sessions);
        memory_machine_free(members[i].machine);
    }
    n_members = 0;
    history_clear();
    atomic_store(&sync_us, 0);
    trailing = 10000;
}

/* After a failure: prints the state of each member. */
static void describe(void *arg)
{
    static struct driver_status s;
    struct member *m = arg;

    consensus_status(m->consensus, &s);
    print_error("member %llu: state %d leader %llu term %llu commit %llu applied %llu log %llu-%llu"
                " pending %zu\n",
                (unsigned long long)m->id, (int)s.state, (unsigned long long)s.leader,
                (unsigned long long)s.term, (unsigned long long)s.commit,
                (unsigned long long)s.applied, (unsigned long long)s.first_index,
                (unsigned long long)s.last_index, consensus_pending(m->consensus));
    for (unsigned i = 0; i < s.n_members; i++)
        print_error("    sees %llu: linked %d match %llu\n", (unsigned long long)s.members[i].id,
                    s.members[i].linked, (unsigned long long)s.members[i].match);
}

static void describe_all(void)
{
    for (unsigned i = 1; i <= n_members; i++) {
        if (members[i].consensus != NULL)
            consensus_run(members[i].consensus, describe, &members[i]);
        usleep(100000);
    }
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t end_ = clock_boot_ms() + PATIENCE_MS;                                             \
        while (!(condition)) {                                                                     \
            if (clock_boot_ms() > end_) {                                                          \
                describe_all();                                                                    \
                fail_msg("timed out waiting for: %s", #condition);                                 \
            }                                                                                      \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

static bool all_know_leader(void)
{
    uint64_t leader = 0;

    for (unsigned i = 1; i <= n_members; i++) {
        if (members[i].consensus == NULL)
            continue;
        if (leader == 0)
            leader = atomic_load(&members[i].leader);
        if (leader == 0 || atomic_load(&members[i].leader) != leader ||
            members[leader].consensus == NULL)
            return false;
    }
    return true;
}

static struct member *leader(void)
{
    WAIT_FOR(all_know_leader());
    for (unsigned i = 1; i <= n_members; i++)
        if (members[i].consensus != NULL)
            return &members[atomic_load(&members[i].leader)];
    fail_msg("no member is running");
    return NULL;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

struct call {
    sem_t done;
    int err;
    uint64_t index;
    _Atomic int times;
};

static void call_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    struct call *c = arg;

    c->err = err;
    if (err == 0 && len == sizeof c->index)
        memcpy(&c->index, reply, sizeof c->index);
    atomic_fetch_add(&c->times, 1);
    sem_post(&c->done);
}

static void call_init(struct call *c)
{
    memset(c, 0, sizeof *c);
    sem_init(&c->done, 0, 0);
}

static int call_wait(struct call *c)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    while (sem_timedwait(&c->done, &end) != 0)
        if (errno != EINTR) {
            describe_all();
            fail_msg("a call never completes");
        }
    return c->err;
}

static _Atomic uint64_t last_id;

static struct buf new_command(uint64_t *id)
{
    struct buf b = buf_copy("c", 1);

    *id = atomic_fetch_add(&last_id, 1) + 1;
    check(*id < IDS_MAX);
    buf_append(&b, id, sizeof *id);
    return b;
}

static uint64_t submit(struct member *m, struct call *c, unsigned timeout_ms)
{
    uint64_t id;
    struct buf b = new_command(&id);

    call_init(c);
    return consensus_submit(m->consensus, &b, timeout_ms, call_done, c);
}

static int barrier(struct member *m, unsigned timeout_ms)
{
    struct call c;

    call_init(&c);
    consensus_barrier(m->consensus, timeout_ms, call_done, &c);
    return call_wait(&c);
}

/* ---- One member ------------------------------------------------------------------------------ */

static void test_one_member(void **state BASE_UNUSED)
{
    struct call calls[100];

    cluster_start(1);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        submit(&members[1], &calls[i], 0);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        assert_int_equal(call_wait(&calls[i]), 0);
        assert_true(i == 0 || calls[i].index > calls[i - 1].index);
        assert_true(atomic_load(&members[1].applied) >= calls[i].index);
    }
    assert_int_equal(barrier(&members[1], 0), 0);
    member_crash(&members[1]);
    member_start(&members[1]);
    submit(&members[1], &calls[0], 0);
    assert_int_equal(call_wait(&calls[0]), 0);
    assert_true(calls[0].index > calls[99].index); /* nothing acknowledged was lost */
    cluster_stop();
}

static void count_switches(void *arg)
{
    struct rusage usage;
    struct call *c = arg;

    getrusage(RUSAGE_THREAD, &usage);
    c->index = (uint64_t)usage.ru_nvcsw;
    sem_post(&c->done);
}

static uint64_t switches(struct member *m)
{
    struct call c;

    call_init(&c);
    consensus_run(m->consensus, count_switches, &c);
    call_wait(&c);
    return c.index;
}

/* An idle member sleeps. */
static void test_idle(void **state BASE_UNUSED)
{
    for (unsigned n = 1; n <= 3; n += 2) {
        uint64_t before, ticks;
        struct member *m;

        cluster_start(n);
        m = leader();
        WAIT_FOR(atomic_load(&m->session) != 0);
        usleep(300000);
        before = switches(m);
        ticks = atomic_load(&m->ticks);
        usleep(600000);
        printf("%u member(s): the idle leader's loop slept %llu times in 0.6 s, %llu ticks\n", n,
               (unsigned long long)(switches(m) - before),
               (unsigned long long)(atomic_load(&m->ticks) - ticks));
        assert_true(switches(m) - before < 600); /* it does not spin */
        assert_true(atomic_load(&m->ticks) > ticks);
        cluster_stop();
    }
}

/* ---- Three members --------------------------------------------------------------------------- */

/* Submits through one member and keeps some commands outstanding: each done submits the next. */
struct stream {
    struct member *member;
    unsigned todo;        /* not yet submitted */
    unsigned outstanding; /* not yet done; after the start, only the loop thread uses both */
    _Atomic unsigned acked, failed;
    _Atomic bool idle;
    pthread_mutex_t mutex;
};

static struct {
    _Atomic uint64_t index; /* index at which it was applied; 0: not acknowledged */
    _Atomic int err;
} verdicts[IDS_MAX];

struct flight {
    struct stream *stream;
    uint64_t id;
};

static void stream_submit(struct stream *s);

static void flight_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    struct flight *f = arg;
    struct stream *s = f->stream;
    uint64_t index = 0;
    bool last;

    check(atomic_load(&verdicts[f->id].index) == 0 && atomic_load(&verdicts[f->id].err) == 0);
    if (err == 0) {
        check(len == sizeof index);
        memcpy(&index, reply, sizeof index);
        check(index > 0);
        atomic_store(&verdicts[f->id].index, index);
        atomic_fetch_add(&s->acked, 1);
    } else {
        atomic_store(&verdicts[f->id].err, err);
        atomic_fetch_add(&s->failed, 1);
    }
    free(f);
    pthread_mutex_lock(&s->mutex);
    s->outstanding--;
    if (err == 0 && s->todo > 0)
        stream_submit(s);
    last = s->outstanding == 0;
    pthread_mutex_unlock(&s->mutex);
    if (last) /* from now on the main thread owns the stream */
        atomic_store(&s->idle, true);
}

static void stream_submit(struct stream *s)
{
    struct flight *f = xmalloc(sizeof *f);
    struct buf b = new_command(&f->id);

    f->stream = s;
    s->todo--;
    s->outstanding++;
    atomic_store(&s->idle, false);
    consensus_submit(s->member->consensus, &b, 0, flight_done, f);
}

static void stream_start(struct stream *s, struct member *m, unsigned todo, unsigned width)
{
    *s = (struct stream){.member = m, .todo = todo};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_mutex_lock(&s->mutex);
    while (width-- > 0 && s->todo > 0)
        stream_submit(s);
    pthread_mutex_unlock(&s->mutex);
}

/* Final checks: every member applied the same entries; each acknowledged command took effect
 * exactly once, at the index of its reply; no command took effect twice. */
static void verify_history(void)
{
    static uint64_t effect[IDS_MAX];
    struct sessions s = {.n = 0};
    struct result result;
    uint64_t acked = 0;

    memset(effect, 0, sizeof effect);
    for (uint64_t i = 1; i <= history.n; i++) {
        const struct entry *e = &history.entries[i - 1];

        if (!sessions_apply(&s, i, e->type, e->data.data, e->data.len, &result) || result.id == 0)
            continue;
        assert_true(result.id < IDS_MAX);
        assert_int_equal(effect[result.id], 0);
        effect[result.id] = i;
    }
    for (uint64_t id = 1; id <= atomic_load(&last_id); id++) {
        uint64_t index = atomic_load(&verdicts[id].index);

        if (index == 0)
            continue;
        assert_int_equal(effect[id], index);
        acked++;
    }
    sessions_clear(&s);
    printf("%llu entries, %llu of them acknowledged\n", (unsigned long long)history.n,
           (unsigned long long)acked);
}

static void verify_equal(void)
{
    uint64_t applied;

    for (unsigned i = 1; i <= n_members; i++)
        assert_int_equal(barrier(&members[i], 0), 0);
    applied = atomic_load(&members[1].applied);
    for (unsigned i = 2; i <= n_members; i++)
        applied = max_u64(applied, atomic_load(&members[i].applied));
    for (unsigned i = 1; i <= n_members; i++)
        WAIT_FOR(atomic_load(&members[i].applied) >= applied);
    for (unsigned i = 1; i <= n_members; i++)
        member_stop(&members[i]);
    for (unsigned i = 2; i <= n_members; i++)
        if (memory_machine_applied(members[i].machine) ==
            memory_machine_applied(members[1].machine))
            assert_int_equal(memory_machine_hash(members[i].machine),
                             memory_machine_hash(members[1].machine));
    verify_history();
}

static void forget_verdicts(void)
{
    atomic_store(&last_id, 0);
    for (unsigned i = 0; i < IDS_MAX; i++) {
        atomic_store(&verdicts[i].index, 0);
        atomic_store(&verdicts[i].err, 0);
    }
}

static void test_three_members(void **state BASE_UNUSED)
{
    struct stream streams[4];

    forget_verdicts();
    cluster_start(3);
    for (unsigned i = 1; i <= 3; i++)
        stream_start(&streams[i], &members[i], 2000, 16);
    for (unsigned i = 1; i <= 3; i++) {
        WAIT_FOR(atomic_load(&streams[i].idle));
        assert_int_equal(atomic_load(&streams[i].acked), 2000);
    }
    verify_equal();
    cluster_stop();
}

/* After a barrier, another member sees a write that was acknowledged before. */
static void test_barrier_sees_writes(void **state BASE_UNUSED)
{
    cluster_start(3);
    for (unsigned i = 0; i < 60; i++) {
        struct member *writer = &members[1 + i % 3], *reader = &members[1 + (i + i / 3) % 3];
        struct call c;

        submit(writer, &c, 0);
        assert_int_equal(call_wait(&c), 0);
        assert_int_equal(barrier(reader, 0), 0);
        assert_true(atomic_load(&reader->applied) >= c.index);
    }
    cluster_stop();
}

static void ping(void *arg)
{
    struct member *m = arg;

    for (unsigned i = 1; i <= n_members; i++)
        if (i != m->id)
            driver_send_app(consensus_driver(m->consensus), i, (const uint8_t *)"ping", 4);
}

static void read_status(void *arg)
{
    struct driver_status *status = arg;

    consensus_status(members[status->id].consensus, status);
    status->id += 100; /* marks that this function ran */
}

static void test_app_messages_and_status(void **state BASE_UNUSED)
{
    static struct driver_status status;
    volatile struct driver_status *seen = &status;

    cluster_start(3);
    leader();
    for (int i = 0; i < 200 && atomic_load(&members[3].apps) == 0; i++) {
        consensus_run(members[1].consensus, ping, &members[1]);
        usleep(10000);
    }
    assert_true(atomic_load(&members[3].apps) > 0);
    memset(&status, 0, sizeof status);
    status.id = 2;
    consensus_run(members[2].consensus, read_status, &status);
    member_stop(&members[2]); /* functions queued before the stop are called */
    assert_int_equal(seen->id, 102);
    assert_int_equal(seen->n_members, 3);
    assert_true(seen->applied > 0);
    cluster_stop();
}

/* Stops submitting, and waits until the outstanding commands are done. */
static void stream_drain(struct stream *s)
{
    pthread_mutex_lock(&s->mutex);
    s->todo = 0;
    pthread_mutex_unlock(&s->mutex);
    WAIT_FOR(atomic_load(&s->idle));
}

/* The streams of all members but one make progress. */
static void others_go_on(struct stream *streams, const struct member *victim, const char *what)
{
    uint64_t began = clock_boot_ms();
    unsigned before[MEMBERS_MAX + 1];

    for (unsigned i = 1; i <= 3; i++)
        before[i] = atomic_load(&streams[i].acked);
    for (unsigned i = 1; i <= 3; i++)
        WAIT_FOR(&members[i] == victim || atomic_load(&streams[i].acked) > before[i] + 50);
    printf("member %llu %s: the others went on after %llu ms\n", (unsigned long long)victim->id,
           what, (unsigned long long)(clock_boot_ms() - began));
}

/* A leader that is stopped in order has seen its successor lead. */
static void test_leader_hands_over(void **state BASE_UNUSED)
{
    struct stream streams[4];

    forget_verdicts();
    cluster_start(3);
    leader();
    for (unsigned i = 1; i <= 3; i++)
        stream_start(&streams[i], &members[i], UNENDING, 16);
    for (int round = 0; round < 3; round++) {
        struct member *old = leader();

        usleep(30000);
        consensus_hand_over(old->consensus);
        assert_true(atomic_load(&old->leader) != 0 && atomic_load(&old->leader) != old->id);
        consensus_hand_over(old->consensus); /* it does not lead: nothing to do */
    }
    for (unsigned i = 1; i <= 3; i++) {
        stream_drain(&streams[i]);
        assert_int_equal(atomic_load(&streams[i].failed), 0);
    }
    verify_equal();
    cluster_stop();
    cluster_start(1);
    leader();
    consensus_hand_over(members[1].consensus); /* no other member can lead: returns */
    assert_int_equal(atomic_load(&members[1].leader), 1);
    cluster_stop();
}

/* The leader is killed repeatedly under load, with a power cut each time. */
static void test_leader_is_killed(void **state BASE_UNUSED)
{
    struct stream streams[4];
    unsigned lost = 0;

    forget_verdicts();
    cluster_start(3);
    atomic_store(&sync_us, 1000);
    leader();
    for (unsigned i = 1; i <= 3; i++)
        stream_start(&streams[i], &members[i], UNENDING, 16);
    for (int round = 0; round < 5; round++) {
        struct member *victim = leader();

        usleep(30000);
        member_crash(victim);
        others_go_on(streams, victim, "crashed");
        assert_true(
            atomic_load(&streams[victim->id].idle)); /* its calls ended with consensus_stop */
        assert_int_equal(atomic_load(&streams[victim->id].failed), 16);
        lost += 16;
        member_start(victim);
        stream_start(&streams[victim->id], victim, UNENDING, 16);
    }
    for (unsigned i = 1; i <= 3; i++) {
        stream_drain(&streams[i]);
        assert_int_equal(atomic_load(&streams[i].failed), 0);
    }
    printf("%u calls ended with -ESHUTDOWN\n", lost);
    verify_equal();
    cluster_stop();
}

/* Members are isolated and come back. The log is kept short, so they need snapshots. In the end
 * every command has been applied exactly once. */
static void test_cut_off(void **state BASE_UNUSED)
{
    struct stream streams[4];
    uint64_t installed = 0;

    forget_verdicts();
    trailing = 200;
    cluster_start(3);
    atomic_store(&sync_us, 1000);
    leader();
    for (unsigned i = 1; i <= 3; i++)
        stream_start(&streams[i], &members[i], UNENDING, 16);
    for (int round = 0; round < 6; round++) {
        struct member *victim = round % 3 == 2 ? &members[1 + leader()->id % 3] : leader();
        bool silent = round % 2 == 1;

        usleep(30000);
        atomic_store(&networks[victim->id], silent ? NETWORK_SILENT : NETWORK_CUT);
        others_go_on(streams, victim, silent ? "is silent" : "is cut off");
        usleep(100000);
        atomic_store(&networks[victim->id], NETWORK_FINE);
        WAIT_FOR(all_know_leader());
    }
    for (unsigned i = 1; i <= 3; i++) {
        stream_drain(&streams[i]);
        assert_int_equal(atomic_load(&streams[i].failed), 0);
        installed += atomic_load(&members[i].installed);
    }
    printf("%llu snapshots installed\n", (unsigned long long)installed);
    assert_true(installed > 0);
    verify_equal();
    cluster_stop();
}

static void test_no_quorum(void **state BASE_UNUSED)
{
    struct call calls[6];
    uint64_t tickets[6];

    cluster_start(3);
    leader();
    WAIT_FOR(atomic_load(&members[1].session) != 0);
    member_stop(&members[2]);
    member_stop(&members[3]);
    assert_int_equal(barrier(&members[1], 50), -ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        call_init(&calls[i]);
        tickets[i] = consensus_barrier(members[1].consensus, i == 0 ? 50 : 0, call_done, &calls[i]);
    }
    for (int i = 3; i < 6; i++)
        tickets[i] = submit(&members[1], &calls[i], i == 3 ? 50 : 0);
    consensus_cancel(members[1].consensus, tickets[1]);
    consensus_cancel(members[1].consensus, tickets[4]);
    consensus_cancel(members[1].consensus, tickets[4]);
    consensus_cancel(members[1].consensus, 0);
    consensus_cancel(members[1].consensus, 123456);
    assert_int_equal(call_wait(&calls[0]), -ETIMEDOUT);
    assert_int_equal(call_wait(&calls[1]), -EINTR);
    assert_int_equal(call_wait(&calls[3]), -ETIMEDOUT);
    assert_int_equal(call_wait(&calls[4]), -EINTR);
    assert_int_equal(atomic_load(&calls[2].times) + atomic_load(&calls[5].times), 0);
    member_stop(&members[1]);
    assert_int_equal(call_wait(&calls[2]), -ESHUTDOWN);
    assert_int_equal(call_wait(&calls[5]), -ESHUTDOWN);
    for (int i = 0; i < 6; i++)
        assert_int_equal(atomic_load(&calls[i].times), 1);
    cluster_stop();
}

/* The quorum comes back: the waiting commands are applied. */
static void test_quorum_returns(void **state BASE_UNUSED)
{
    struct call write, read;

    cluster_start(3);
    leader();
    WAIT_FOR(atomic_load(&members[1].session) != 0);
    member_crash(&members[2]);
    member_crash(&members[3]);
    submit(&members[1], &write, 0);
    call_init(&read);
    consensus_barrier(members[1].consensus, 0, call_done, &read);
    usleep(700000); /* the leader has stepped down by now */
    member_start(&members[3]);
    assert_int_equal(call_wait(&write), 0);
    assert_int_equal(call_wait(&read), 0);
    cluster_stop();
}

/* A done submits again while the member stops: the new command completes too. */
struct insistence {
    struct consensus *consensus;
    unsigned left;
    _Atomic int calls, shut_down;
};

static void insist(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct insistence *i = arg;
    struct buf b;
    uint64_t id;

    atomic_fetch_add(&i->shut_down, err == -ESHUTDOWN);
    if (i->left-- == 0)
        return;
    atomic_fetch_add(&i->calls, 1);
    b = new_command(&id);
    if (i->left % 2 == 0)
        consensus_submit(i->consensus, &b, 0, insist, i);
    else
        consensus_barrier(i->consensus, 0, insist, i);
    buf_fini(&b);
}

static void test_submits_while_stopping(void **state BASE_UNUSED)
{
    struct insistence i = {.left = 5, .calls = 1};

    cluster_start(3);
    leader();
    WAIT_FOR(atomic_load(&members[1].session) != 0);
    member_stop(&members[2]);
    member_stop(&members[3]);
    i.consensus = members[1].consensus;
    consensus_barrier(i.consensus, 0, insist, &i);
    usleep(1000);
    member_stop(&members[1]);
    assert_int_equal(atomic_load(&i.calls), 6);
    assert_int_equal(atomic_load(&i.shut_down), 6);
    cluster_stop();
}

static void test_cannot_start(void **state BASE_UNUSED)
{
    struct consensus_config config;
    struct consensus_env env;
    struct consensus *n;
    char errmsg[200] = "";
    struct member other = {.id = 1};
    struct memory_machine_config machine = {.seed = 1, .ctx = &other};

    cluster_start(3);
    snprintf(other.address, sizeof other.address, "%s", members[2].address);
    other.machine = memory_machine_new(&machine);
    env = env_of(&other);
    config = config_of(&other, NULL);
    config.driver.n_members = 0;
    assert_int_equal(
        consensus_start(&config, &env, memory_machine_of(other.machine), &n, errmsg, sizeof errmsg),
        -EADDRINUSE);
    assert_null(n);
    assert_non_null(strstr(errmsg, members[2].address));
    config.listen = "nonsense";
    assert_int_equal(
        consensus_start(&config, &env, memory_machine_of(other.machine), &n, errmsg, sizeof errmsg),
        -EINVAL);
    memory_machine_free(other.machine);
    cluster_stop();
}

/* Many threads submit and cancel while the member stops: each command completes exactly once. */
struct hammer {
    struct member *member;
    _Atomic bool *stop;
    pthread_t thread;
    unsigned n;
    struct call calls[2000];
};

static void *hammer(void *arg)
{
    struct hammer *h = arg;

    while (!atomic_load(h->stop) && h->n < ARRAY_LEN(h->calls)) {
        struct call *c = &h->calls[h->n++];
        uint64_t ticket;

        if (h->n % 5 == 0) {
            call_init(c);
            ticket = consensus_barrier(h->member->consensus, h->n % 10 == 0, call_done, c);
        } else {
            ticket = submit(h->member, c, h->n % 7 == 0);
        }
        if (h->n % 3 == 0)
            consensus_cancel(h->member->consensus, ticket);
        if (h->n % 50 == 0)
            usleep(2000);
    }
    return NULL;
}

static void test_each_call_ends_once(void **state BASE_UNUSED)
{
    static struct hammer hammers[4];
    _Atomic bool stop = false;
    unsigned outcomes[5] = {0};

    cluster_start(3);
    atomic_store(&sync_us, 5000);
    leader();
    for (size_t i = 0; i < ARRAY_LEN(hammers); i++) {
        hammers[i].member = &members[1 + i % 3];
        hammers[i].stop = &stop;
        hammers[i].n = 0;
        pthread_create(&hammers[i].thread, NULL, hammer, &hammers[i]);
    }
    usleep(50000);
    atomic_store(&stop, true);
    for (size_t i = 0; i < ARRAY_LEN(hammers); i++)
        pthread_join(hammers[i].thread, NULL);
    for (unsigned i = 1; i <= 3; i++)
        member_stop(&members[i]);
    for (size_t i = 0; i < ARRAY_LEN(hammers); i++) {
        for (unsigned j = 0; j < hammers[i].n; j++) {
            struct call *c = &hammers[i].calls[j];

            assert_int_equal(atomic_load(&c->times), 1);
            outcomes[c->err == 0            ? 0
                     : c->err == -EINTR     ? 1
                     : c->err == -ETIMEDOUT ? 2
                     : c->err == -ESHUTDOWN ? 3
                                            : 4]++;
        }
    }
    printf("%u done, %u cancelled, %u timed out, %u shut down\n", outcomes[0], outcomes[1],
           outcomes[2], outcomes[3]);
    assert_int_equal(outcomes[4], 0);
    assert_true(outcomes[1] > 0);
    cluster_stop();
}

/* ---- Figures --------------------------------------------------------------------------------- */

static void measure(struct member *m, unsigned width, unsigned n, const char *what)
{
    struct stream s;
    uint64_t began = clock_boot_us(), took;

    stream_start(&s, m, n, width);
    WAIT_FOR(atomic_load(&s.idle));
    took = clock_boot_us() - began;
    assert_int_equal(atomic_load(&s.acked), n);
    printf("%s, %2u outstanding: %6.0f commits/s, %.0f us each\n", what, width, n * 1e6 / took,
           (double)took * width / n);
}

static void test_figures(void **state BASE_UNUSED)
{
    static const struct {
        unsigned width, n;
    } runs[] = {{1, 1000}, {16, 8000}, {64, 16000}};
    struct member *lead;

    forget_verdicts();
    cluster_start(3);
    atomic_store(&sync_us, 100); /* about the time of a sync on a good disk */
    lead = leader();
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        measure(lead, runs[i].width, runs[i].n, "leader  ");
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        measure(&members[1 + lead->id % 3], runs[i].width, runs[i].n, "follower");
    verify_equal();
    cluster_stop();
}

/* After a failed test its members still run, and call back into a stack that no longer exists. */
static int end_of_test(void **state BASE_UNUSED)
{
    if (n_members > 0)
        die("a test failed while its members were running: the remaining tests are not run");
    return 0;
}

#define NODE_TEST(name) cmocka_unit_test_teardown(name, end_of_test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NODE_TEST(test_one_member),
        NODE_TEST(test_idle),
        NODE_TEST(test_three_members),
        NODE_TEST(test_barrier_sees_writes),
        NODE_TEST(test_app_messages_and_status),
        NODE_TEST(test_leader_hands_over),
        NODE_TEST(test_leader_is_killed),
        NODE_TEST(test_cut_off),
        NODE_TEST(test_no_quorum),
        NODE_TEST(test_quorum_returns),
        NODE_TEST(test_submits_while_stopping),
        NODE_TEST(test_cannot_start),
        NODE_TEST(test_each_call_ends_once),
        NODE_TEST(test_figures),
    };

    log_set_level(getenv("VERBOSE") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    if (getenv("TESTS") != NULL)
        cmocka_set_test_filter(getenv("TESTS"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
