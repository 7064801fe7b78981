/* SPDX-License-Identifier: Apache-2.0 */
/* Leases in a world of several members on virtual time. Clocks start anywhere and differ by up to
 * one percent. Messages are lost, delayed, repeated and reordered. Hosts stand still or are cut
 * off, elections happen, and some leaders do not know yet that they were deposed. Raft is an oracle
 * here: at most one term is current, and a proposal of its leader is committed if the leader can
 * reach the others.
 *
 *   L1  No host ever holds the lease of a session that has ended.
 *   L2  In a kind world (no loss, no cuts), a session expires only if its host stood still.
 *   L3  After the trouble, every host has a session and a lease.
 *
 * test_ablation leaves out each rule and expects a violation:
 *
 *      rule                                                        violates
 *      LEASE_MARGIN  a lease is a tenth shorter                    L1
 *      LEASE_PROOF   no acknowledgement without proof              L1
 *      LEASE_SINCE   a new leader grants a whole ttl               L1, L2
 *      LEASE_STALL   the leader's stalls do not count              L2
 *      LEASE_DOOMED  no acknowledgement while an end is undecided  L1
 *      LEASE_ECHO    a lease begins when the heartbeat was sent    L1
 *
 * LEASE_SEEDS=n runs n worlds; LEASE_SEED=s runs one world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_ABLATE
#include "daemon/lease_leader.c"
#include "daemon/lease_member.c"

enum { HOSTS = 5, COMMITS_MAX = 4096, TICK_US = 100000, SECOND = 1000000 };

enum event_kind {
    EVENT_TICK,
    EVENT_BEAT,    /* a heartbeat of session a, with echo b, from c arrives at host */
    EVENT_ACK,     /* its acknowledgement arrives at host */
    EVENT_PROVE,   /* a barrier of host (leader of term a, read index b) reaches the quorum */
    EVENT_PROVEN,  /* … and the answer reaches host */
    EVENT_LEARN,   /* host learns that c leads term a */
    EVENT_PROPOSE, /* OPEN for host (a = 0), or END of session a that c decided in term b */
    EVENT_DECIDED, /* host learns the outcome of END of session a, decided in term b */
    EVENT_APPLY,   /* host receives the first a commits */
    EVENT_ELECT,
    EVENT_TROUBLE,
};

struct event {
    uint64_t at, serial;
    enum event_kind kind;
    unsigned host;
    uint64_t a, b, c;
    uint64_t began;   /* PROVE */
    uint64_t commits; /* DECIDED: as of the answer */
};

struct commit {
    bool open;
    uint64_t session;
    unsigned host;
};

struct host {
    int64_t ppm;
    uint64_t offset_ms;
    uint64_t still_until, cut_until, was_still; /* was_still: the last time */
    struct lease_member lease;
    struct lease_leader lease_leader;
    uint64_t leads;   /* the term that it leads in its own opinion */
    uint64_t term;    /* the latest that it knows */
    int leader;       /* -1: unknown */
    uint64_t applied; /* number of commits */
    uint64_t since_ms;
    bool opening, giving_up;
};

static struct world {
    uint64_t random, now, serial;
    struct event heap[65536];
    size_t n_heap;
    unsigned n; /* number of hosts */
    struct host hosts[HOSTS];
    uint64_t ttl_ms;
    bool kind;
    unsigned loss, repeat; /* percent */
    uint64_t delay_us, learn_us;
    uint64_t trouble_until;
    /* The oracle */
    uint64_t term;
    unsigned leader;
    bool election; /* an election is in progress */
    struct commit commits[COMMITS_MAX];
    uint64_t n_commits;
    uint64_t n_sessions;
    bool ended[COMMITS_MAX]; /* by session */
    const char *wrong;
    /* Counters */
    uint64_t acked, lapsed, resumed, expired;
} w;

static uint64_t draw(uint64_t below)
{
    uint64_t z = w.random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below > 0 ? (z ^ (z >> 31)) % below : 0;
}

static bool chance(unsigned percent)
{
    return draw(100) < percent;
}

static uint64_t clock_of(const struct host *h)
{
    return h->offset_ms + (uint64_t)((int64_t)w.now + (int64_t)w.now / 1000000 * h->ppm +
                                     (int64_t)w.now % 1000000 * h->ppm / 1000000) /
                              1000;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void push(uint64_t delay, struct event e)
{
    size_t i = w.n_heap++;

    assert_true(w.n_heap < ARRAY_LEN(w.heap));
    e.at = w.now + delay;
    e.serial = w.serial++;
    for (; i > 0 && before(&e, &w.heap[(i - 1) / 2]); i = (i - 1) / 2)
        w.heap[i] = w.heap[(i - 1) / 2];
    w.heap[i] = e;
}

static struct event pop(void)
{
    struct event first = w.heap[0], last = w.heap[--w.n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < w.n_heap) {
        if (child + 1 < w.n_heap && before(&w.heap[child + 1], &w.heap[child]))
            child++;
        if (!before(&w.heap[child], &last))
            break;
        w.heap[i] = w.heap[child];
        i = child;
    }
    w.heap[i] = last;
    return first;
}

static bool troubled(void)
{
    return w.now < w.trouble_until;
}

static bool is_still(const struct host *h)
{
    return w.now < h->still_until;
}

static bool is_cut(const struct host *h)
{
    return w.now < h->cut_until;
}

static uint64_t delay(void)
{
    if (!troubled() || w.kind || !chance(10))
        return 100 + draw(20000);
    return draw(w.delay_us);
}

static void send(unsigned from, struct event e)
{
    bool lossy = troubled() && !w.kind;

    if (e.host == from) {
        push(0, e);
        return;
    }
    if (is_cut(&w.hosts[from]) || is_cut(&w.hosts[e.host]) || (lossy && chance(w.loss)))
        return;
    push(delay(), e);
    if (lossy && chance(w.repeat))
        push(delay(), e);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static void look_at(unsigned i)
{
    struct host *h = &w.hosts[i];

    if (lease_member_holds(&h->lease, clock_of(h)) && w.ended[h->lease.session])
        w.wrong = "L1: the lease of a session that has ended";
}

/* ---- Members --------------------------------------------------------------------------------- */

static void open_session(unsigned i)
{
    struct host *h = &w.hosts[i];

    if (h->opening)
        return;
    h->opening = true;
    h->since_ms = clock_of(h);
    push(delay(), (struct event){.kind = EVENT_PROPOSE, .host = i});
}

static void come_back(unsigned i)
{
    struct host *h = &w.hosts[i];

    if (h->giving_up)
        return;
    if (chance(50)) {
        lease_member_resume(&h->lease);
        w.resumed++;
        return;
    }
    h->giving_up = true;
    push(delay(),
         (struct event){
             .kind = EVENT_PROPOSE, .host = i, .a = h->lease.session, .b = h->term, .c = i});
}

static void on_ack(unsigned i, uint64_t session, uint64_t echo)
{
    struct host *h = &w.hosts[i];
    uint64_t now = clock_of(h);

    w.lapsed += lease_member_lapses(&h->lease, now);
    switch (lease_member_ack(&h->lease, now, session, echo)) {
    case LEASE_NOTHING:
        break;
    case LEASE_RENEWED:
        w.acked++;
        break;
    case LEASE_BACK:
        come_back(i);
        break;
    }
}

static void apply(unsigned i, uint64_t upto)
{
    struct host *h = &w.hosts[i];

    for (; h->applied < upto; h->applied++) {
        const struct commit *c = &w.commits[h->applied];

        if (c->host != i)
            continue;
        if (c->open) {
            lease_member_open(&h->lease, c->session, w.ttl_ms, h->since_ms);
            h->opening = false;
        } else if (c->session == h->lease.session) {
            lease_member_close(&h->lease);
            open_session(i);
        }
    }
}

/* ---- As leader ------------------------------------------------------------------------------- */

static void sync_sessions(unsigned i)
{
    struct host *h = &w.hosts[i];
    bool lives[COMMITS_MAX] = {false};

    for (uint64_t k = 0; k < h->applied; k++)
        lives[w.commits[k].session] = w.commits[k].open;
    lease_leader_sync_begin(&h->lease_leader);
    for (uint64_t k = 0; k < h->applied; k++)
        if (w.commits[k].open && lives[w.commits[k].session])
            lease_leader_sync_see(&h->lease_leader, w.commits[k].session, w.commits[k].host,
                                  w.ttl_ms);
    lease_leader_sync_end(&h->lease_leader);
}

static bool leads(unsigned i)
{
    struct host *h = &w.hosts[i];

    if (h->lease_leader.term != h->leads) {
        lease_leader_lead(&h->lease_leader, clock_of(h), h->leads);
        sync_sessions(i);
    }
    return h->leads != 0;
}

static void send_ack(void *arg, uint64_t member, uint64_t session, uint64_t echo)
{
    send((unsigned)((struct host *)arg - w.hosts),
         (struct event){.kind = EVENT_ACK, .host = (unsigned)member, .a = session, .b = echo});
}

static void ask_quorum(unsigned i)
{
    struct host *h = &w.hosts[i];

    if (!lease_leader_ask(&h->lease_leader))
        return;
    if (!LEASE_RULE(LEASE_PROOF)) {
        lease_leader_proven(&h->lease_leader, send_ack, h);
        return;
    }
    push(delay(),
         (struct event){
             .kind = EVENT_PROVE, .host = i, .a = h->leads, .b = w.n_commits, .began = w.now});
}

/* The leader asks a majority whether it still leads. */
static void on_prove(struct event e)
{
    const struct host *h = &w.hosts[e.host];

    if (w.term == e.a && !is_cut(h) && !is_still(h)) {
        e.kind = EVENT_PROVEN;
        push(delay(), e);
    } else if (w.now - e.began < 5 * SECOND) {
        push(50000, e);
    } else {
        e.kind = EVENT_PROVEN;
        e.b = UINT64_MAX;
        push(0, e);
    }
}

static void on_proven(const struct event *e)
{
    struct host *h = &w.hosts[e->host];

    if (!leads(e->host) || h->lease_leader.term != e->a)
        return;
    if (e->b == UINT64_MAX) {
        lease_leader_unproven(&h->lease_leader);
    } else {
        apply(e->host, e->b);
        sync_sessions(e->host);
        lease_leader_proven(&h->lease_leader, send_ack, h);
    }
    ask_quorum(e->host);
}

static void on_beat(const struct event *e)
{
    struct host *h = &w.hosts[e->host];

    if (!leads(e->host))
        return;
    (void)lease_leader_beat(&h->lease_leader, clock_of(h), e->c, e->a, e->b);
    ask_quorum(e->host);
}

static void expire(void *arg, uint64_t session)
{
    unsigned i = (unsigned)((struct host *)arg - w.hosts);

    push(delay(),
         (struct event){
             .kind = EVENT_PROPOSE, .host = i, .a = session, .b = w.hosts[i].leads, .c = HOSTS});
}

static void on_tick(unsigned i)
{
    struct host *h = &w.hosts[i];
    uint64_t now = clock_of(h);

    push(TICK_US, (struct event){.kind = EVENT_TICK, .host = i});
    w.lapsed += lease_member_lapses(&h->lease, now);
    if (h->leader >= 0 && lease_member_beat(&h->lease, now))
        send(i, (struct event){.kind = EVENT_BEAT,
                               .host = (unsigned)h->leader,
                               .a = h->lease.session,
                               .b = now,
                               .c = i});
    if (!leads(i))
        return;
    sync_sessions(i);
    lease_leader_tick(&h->lease_leader, now);
    lease_leader_overdue(&h->lease_leader, expire, h);
}

/* ---- The oracle ------------------------------------------------------------------------------ */

static void commit(bool open, uint64_t session, unsigned host)
{
    assert_true(w.n_commits < COMMITS_MAX);
    w.commits[w.n_commits++] = (struct commit){open, session, host};
    for (unsigned i = 0; i < w.n; i++)
        push(i == w.leader ? 0 : delay(),
             (struct event){.kind = EVENT_APPLY, .host = i, .a = w.n_commits});
}

static unsigned owner_of(uint64_t session)
{
    uint64_t i = 0;

    while (!w.commits[i].open || w.commits[i].session != session)
        i++;
    return w.commits[i].host;
}

static void end_session(uint64_t session, bool by_itself)
{
    unsigned owner = owner_of(session);
    struct host *h = &w.hosts[owner];

    w.ended[session] = true;
    look_at(owner);
    commit(false, session, owner);
    if (by_itself)
        return;
    w.expired++;
    if (w.kind && !is_still(h) && w.now - h->was_still > 2 * w.ttl_ms * 1000)
        w.wrong = "L2: a live member has been expired";
}

static void on_propose(struct event e)
{
    const struct host *leader = &w.hosts[w.leader];
    bool opens = e.a == 0, current = w.term == e.b;

    if ((opens || current) && (w.election || is_cut(leader) || is_still(leader))) {
        push(20000, e); /* in the log of this leader, or of the next one */
        return;
    }
    if (opens) {
        commit(true, ++w.n_sessions, e.host);
        return;
    }
    if (current && !w.ended[e.a])
        end_session(e.a, e.c == e.host);
    e.kind = EVENT_DECIDED;
    e.commits = w.n_commits;
    push(delay(), e);
}

static void on_decided(const struct event *e)
{
    struct host *h = &w.hosts[e->host];

    apply(e->host, e->commits); /* the answer is a result of apply */
    if (e->c == e->host)
        h->giving_up = false;
    else if (h->lease_leader.term == e->b)
        lease_leader_decided(&h->lease_leader, e->a);
}

static void on_elect(void)
{
    unsigned who = (unsigned)draw(w.n);

    for (unsigned i = 0; i < w.n && (is_still(&w.hosts[who]) || is_cut(&w.hosts[who])); i++)
        who = (who + 1) % w.n;
    if (is_still(&w.hosts[who]) || is_cut(&w.hosts[who])) {
        push(100000, (struct event){.kind = EVENT_ELECT});
        return;
    }
    w.election = false;
    w.leader = who;
    w.term++;
    apply(who, w.n_commits); /* the new leader's log has all commits */
    for (unsigned i = 0; i < w.n; i++)
        push(i == who ? 0 : draw(troubled() ? w.learn_us : 50000),
             (struct event){.kind = EVENT_LEARN, .host = i, .a = w.term, .c = who});
}

static void on_learn(const struct event *e)
{
    struct host *h = &w.hosts[e->host];

    if (e->a < h->term)
        return;
    if (is_cut(h)) {
        push(100000, *e);
        return;
    }
    h->term = e->a;
    h->leader = (int)e->c;
    h->leads = e->c == e->host ? e->a : 0;
    lease_member_hurry(&h->lease);
}

static void elect_after(uint64_t us)
{
    if (w.election)
        return;
    w.election = true; /* until it ends, no proposal is committed */
    push(us, (struct event){.kind = EVENT_ELECT});
}

static void stand_still(unsigned i)
{
    struct host *h = &w.hosts[i];

    h->still_until = max_u64(h->still_until, w.now + 200000 + draw(7 * SECOND));
    h->was_still = h->still_until;
    if (i == w.leader && chance(60))
        elect_after(draw(SECOND));
}

static void on_trouble(void)
{
    unsigned i = (unsigned)draw(w.n);

    if (!troubled()) {
        elect_after(0);
        return;
    }
    push(draw(4 * SECOND), (struct event){.kind = EVENT_TROUBLE});
    switch (draw(3)) {
    case 0:
        elect_after(w.kind ? draw(SECOND / 3) : draw(3 * SECOND));
        return;
    case 1:
        stand_still(i);
        return;
    default:
        if (w.kind)
            return;
        w.hosts[i].cut_until = max_u64(w.hosts[i].cut_until, w.now + draw(6 * SECOND));
        if (i == w.leader && chance(70))
            elect_after(draw(2 * SECOND));
    }
}

/* ---- Worlds ---------------------------------------------------------------------------------- */

static void handle(const struct event *e)
{
    switch (e->kind) {
    case EVENT_TICK:
        on_tick(e->host);
        return;
    case EVENT_BEAT:
        on_beat(e);
        return;
    case EVENT_ACK:
        on_ack(e->host, e->a, e->b);
        return;
    case EVENT_PROVE:
        on_prove(*e);
        return;
    case EVENT_PROVEN:
        on_proven(e);
        return;
    case EVENT_LEARN:
        on_learn(e);
        return;
    case EVENT_PROPOSE:
        on_propose(*e);
        return;
    case EVENT_DECIDED:
        on_decided(e);
        return;
    case EVENT_APPLY:
        apply(e->host, e->a);
        return;
    case EVENT_ELECT:
        on_elect();
        return;
    case EVENT_TROUBLE:
        on_trouble();
        return;
    }
}

/* Events of a host that stands still are delayed until it continues. */
static bool on_host(enum event_kind kind)
{
    return kind != EVENT_PROVE && kind != EVENT_PROPOSE && kind != EVENT_ELECT &&
           kind != EVENT_TROUBLE;
}

static void make_world(uint64_t seed)
{
    static const uint64_t ttls[] = {2000, 2000, 5000, 10000};

    for (unsigned i = 0; i < HOSTS; i++)
        lease_leader_fini(&w.hosts[i].lease_leader);
    memset(&w, 0, sizeof w);
    w.random = seed;
    w.now = SECOND;
    w.n = 3 + (unsigned)draw(3);
    w.ttl_ms = ttls[draw(ARRAY_LEN(ttls))];
    w.kind = chance(40);
    w.loss = (unsigned)draw(40);
    w.repeat = (unsigned)draw(30);
    w.delay_us = 1 + draw(6 * SECOND);
    w.learn_us = w.kind ? 100000 : 1 + draw(12 * SECOND);
    w.trouble_until = 40 * SECOND;
    for (unsigned i = 0; i < w.n; i++) {
        struct host *h = &w.hosts[i];

        h->ppm = (int64_t)draw(20001) - 10000;
        h->offset_ms = draw(100000000);
        h->leader = -1;
        lease_leader_init(&h->lease_leader);
        push(draw(TICK_US), (struct event){.kind = EVENT_TICK, .host = i});
        open_session(i);
    }
    elect_after(0);
    push(draw(3 * SECOND), (struct event){.kind = EVENT_TROUBLE});
}

/* Returns the violation; NULL: none. */
static const char *run_world(uint64_t seed)
{
    uint64_t end;

    make_world(seed);
    end = w.trouble_until + 10 * SECOND + 3 * w.ttl_ms * 1000;
    while (w.wrong == NULL && w.heap[0].at < end) {
        struct event e = pop();

        w.now = e.at;
        if (on_host(e.kind) && is_still(&w.hosts[e.host])) {
            push(w.hosts[e.host].still_until - w.now, e);
            continue;
        }
        handle(&e);
        if (on_host(e.kind))
            look_at(e.host);
    }
    for (unsigned i = 0; i < w.n && w.wrong == NULL; i++)
        if (!lease_member_holds(&w.hosts[i].lease, clock_of(&w.hosts[i])))
            w.wrong = "L3: no lease although all is well";
    return w.wrong;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);

    return value != NULL ? strtoull(value, NULL, 10) : otherwise;
}

static void test_worlds(void **state)
{
    uint64_t only = setting("LEASE_SEED", 0), seeds = setting("LEASE_SEEDS", 2000);
    uint64_t acked = 0, lapsed = 0, resumed = 0, expired = 0;

    (void)state;
    lease_ablated = 0;
    for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : seeds); seed++) {
        const char *wrong = run_world(seed);

        if (wrong != NULL)
            fail_msg("seed %llu, at %llu us: %s", (unsigned long long)seed,
                     (unsigned long long)w.now, wrong);
        acked += w.acked;
        lapsed += w.lapsed;
        resumed += w.resumed;
        expired += w.expired;
    }
    print_message("acknowledged %llu, lapsed %llu, resumed %llu, expired %llu\n",
                  (unsigned long long)acked, (unsigned long long)lapsed,
                  (unsigned long long)resumed, (unsigned long long)expired);
    if (only == 0)
        assert_true(lapsed > seeds && resumed > seeds / 4 && expired > seeds);
}

static void test_ablation(void **state)
{
    static const struct {
        enum lease_rule rule;
        const char *name, *sees;
    } rules[] = {
        {LEASE_MARGIN, "margin", "L1"},  {LEASE_PROOF, "proof", "L1"},
        {LEASE_SINCE, "since", "L1 L2"}, {LEASE_STALL, "stall", "L2"},
        {LEASE_DOOMED, "doomed", "L1"},  {LEASE_ECHO, "echo", "L1"},
    };

    (void)state;
    if (getenv("LEASE_SEED") != NULL)
        skip();
    for (unsigned i = 0; i < ARRAY_LEN(rules); i++) {
        const char *wrong = NULL;
        uint64_t seed = 0;

        lease_ablated = 1u << rules[i].rule;
        while (wrong == NULL && seed < 4000)
            wrong = run_world(++seed);
        print_message("without %-6s: seed %llu: %s\n", rules[i].name, (unsigned long long)seed,
                      wrong != NULL ? wrong : "nothing");
        assert_non_null(wrong);
        assert_true(strncmp(rules[i].sees, wrong, 2) == 0 ||
                    strncmp(rules[i].sees + strlen(rules[i].sees) - 2, wrong, 2) == 0);
    }
    lease_ablated = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worlds),
        cmocka_unit_test(test_ablation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
