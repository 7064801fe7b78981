/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * As a member. While the member has a session, it sends a heartbeat to the leader every quarter of
 * the ttl, and more often until one is acknowledged. The lease is in a cell that any thread can
 * read and compare with the clock. When the lease expires, the filesystem is told that there is no
 * session: all locks of the host are lost.
 *
 * The session itself may live on: without a quorum no leader can expire it. When a leader
 * acknowledges the session again, there are two cases. If it has locks in the state, the filesystem
 * and the log disagree about their holder. So the session is given up with all its entries, and the
 * client opens another one. If it has no locks, nothing is in dispute: the session goes on, and its
 * ephemeral entries have survived the outage. Every lock that the filesystem knows was applied here
 * before, so this member's own state is the right one to ask.
 *
 * As the leader. Heartbeats wait for a barrier; one barrier serves all that have arrived before it,
 * also those of this member's own session. Barrier, tick and heartbeat each check first which term
 * this member leads, so the order of events at a change of term does not matter.
 *
 * A lease begins with the first proposal of the OpenSession: no leader can have seen the session
 * before that. So a host that has a session always has a lease from the beginning. */
#include "daemon/session_manager.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/app.h"
#include "daemon/lease_leader.h"
#include "daemon/lease_member.h"
#include "daemon/ttl_clock.h"
#include "proto/encode.h"

#define BARRIER_MS 5000
#define LEAVE_MS   2000
#define DUE_MS     1000  /* how often to look for entries whose life time is over */
#define REFUSED_MS 10000 /* … after none of the due entries could be removed */

/* The lease, for other threads; the loop thread writes it. If version is even, id and end_ms belong
 * together. */
struct cell {
    _Atomic uint64_t version;
    _Atomic uint64_t id;
    _Atomic uint64_t end_ms;
};

struct session_manager {
    struct daemon *daemon;
    uint64_t leader, term; /* as raft reported last; 0: none */
    int64_t no_leader_ns;  /* since when there is no leader (wall clock); 0: there is one */

    struct lease_member lease;
    struct cell cell;
    uint64_t told;  /* the session that the filesystem was told last */
    bool giving_up; /* the end of the session was proposed */
    bool leaving;
    sem_t left;

    struct lease_leader lease_leader;
    struct ttl_clock ttl_clock;
    uint64_t due_at; /* when to look for entries whose life time is over */
    bool ending;     /* an ExpireEntries is undecided … */
    bool had_due;    /* … and names entries */
};

struct session_manager *session_manager_new(struct daemon *d)
{
    struct session_manager *m = xcalloc(1, sizeof *m);

    m->daemon = d;
    m->no_leader_ns = clock_real_ns();
    session_manager_applied(m);
    lease_leader_init(&m->lease_leader);
    check(sem_init(&m->left, 0, 0) == 0);
    return m;
}

void session_manager_free(struct session_manager *m)
{
    lease_leader_fini(&m->lease_leader);
    check(sem_destroy(&m->left) == 0);
    free(m);
}

static void submit(struct session_manager *m, const Cfs__Command *command, unsigned timeout_ms,
                   client_done done, void *arg)
{
    struct buf bytes = encode_command(command);

    consensus_submit(m->daemon->consensus, &bytes, timeout_ms, done, arg);
}

/* ---- The cell -------------------------------------------------------------------------------- */

static void publish(struct session_manager *m)
{
    const struct lease_member *l = &m->lease;
    bool holds = l->session != 0 && !l->lapsed;

    atomic_fetch_add(&m->cell.version, 1);
    atomic_store(&m->cell.id, holds ? l->session : 0);
    atomic_store(&m->cell.end_ms, l->end_ms);
    atomic_fetch_add(&m->cell.version, 1);
}

/* Reads the clock between two reads of the version. So 0 means that the lease had expired and was
 * not renewed by then. */
uint64_t session_manager_session(struct session_manager *m)
{
    uint64_t version, id, end_ms, now;

    do {
        version = atomic_load(&m->cell.version);
        id = atomic_load(&m->cell.id);
        end_ms = atomic_load(&m->cell.end_ms);
        now = clock_boot_ms();
    } while (version % 2 != 0 || atomic_load(&m->cell.version) != version);
    return now < end_ms ? id : 0;
}

/* ---- This member's session ------------------------------------------------------------------- */

static void tell_fs(struct session_manager *m, uint64_t session)
{
    struct fs *fs = atomic_load(&m->daemon->fs);

    m->told = session;
    if (fs != NULL)
        fs_session(fs, session);
}

static void do_announce(void *arg)
{
    struct session_manager *m = arg;

    tell_fs(m, m->told);
}

void session_manager_announce(struct session_manager *m)
{
    consensus_run(m->daemon->consensus, do_announce, m);
}

void session_manager_opened(struct session_manager *m, uint64_t session)
{
    struct store_session s;

    log_info("session %" PRIu64, session);
    if (m->leaving || !store_session(m->daemon->store, session, &s))
        return; /* the same transaction has ended it: session_manager_ended follows */
    lease_member_open(&m->lease, session, s.ttl_ms, consensus_opened_ms(m->daemon->consensus));
    publish(m);
    tell_fs(m, session);
}

void session_manager_ended(struct session_manager *m, uint64_t session)
{
    if (session == m->lease.session) {
        log_info("session %" PRIu64 " has ended", session);
        lease_member_close(&m->lease);
        publish(m);
        tell_fs(m, 0);
    }
    consensus_ended(m->daemon->consensus, session);
}

void session_manager_installed(struct session_manager *m)
{
    uint64_t session = consensus_session(m->daemon->consensus);
    struct store_session s;

    session_manager_applied(m);
    if (session != 0 && !store_session(m->daemon->store, session, &s))
        session_manager_ended(m, session);
}

void session_manager_applied(struct session_manager *m)
{
    ttl_clock_see(&m->ttl_clock, store_clock(m->daemon->store), clock_boot_ms());
}

static void on_given_up(void *arg, int err BASE_UNUSED, const uint8_t *reply BASE_UNUSED,
                        size_t len BASE_UNUSED)
{
    struct session_manager *m = arg;

    /* The session or the term has ended. If the term has, the next acknowledgement tries again. */
    m->giving_up = false;
}

/* ExpireSession names the session, so it cannot end the next one. */
static void give_up(struct session_manager *m)
{
    Cfs__ExpireSession expire = CFS__EXPIRE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    if (m->giving_up)
        return;
    m->giving_up = true;
    expire.session = m->lease.session;
    expire.term = m->term;
    command.op_case = CFS__COMMAND__OP_EXPIRE_SESSION;
    command.expire_session = &expire;
    submit(m, &command, 0, on_given_up, m);
}

static void note_lapse(struct session_manager *m)
{
    log_warn("session %" PRIu64 ": no leader has acknowledged it for %" PRIu64
             " ms: this host has lost its locks",
             m->lease.session, m->lease.ttl_ms);
    publish(m);
    tell_fs(m, 0);
}

static void come_back(struct session_manager *m)
{
    struct store_session s;

    if (m->giving_up || !store_session(m->daemon->store, m->lease.session, &s))
        return;
    if (s.locks > 0) {
        log_info("session %" PRIu64
                 " lives, but is given up: this host has reported its locks as lost",
                 s.id);
        give_up(m);
        return;
    }
    log_info("session %" PRIu64 " goes on: it had no locks", s.id);
    lease_member_resume(&m->lease);
    publish(m);
    tell_fs(m, s.id);
}

static void on_ack(struct session_manager *m, uint64_t session, uint64_t echo)
{
    uint64_t now = clock_boot_ms();

    if (lease_member_lapses(&m->lease, now))
        note_lapse(m);
    switch (lease_member_ack(&m->lease, now, session, echo)) {
    case LEASE_NOTHING:
        break;
    case LEASE_RENEWED:
        publish(m);
        break;
    case LEASE_BACK:
        come_back(m);
        break;
    }
}

/* ---- As leader ------------------------------------------------------------------------------- */

static void see_session(void *arg, const struct store_session *s)
{
    struct session_manager *m = arg;

    lease_leader_sync_see(&m->lease_leader, s->id, s->member, s->ttl_ms);
}

static void sync_sessions(struct session_manager *m)
{
    lease_leader_sync_begin(&m->lease_leader);
    store_sessions(m->daemon->store, see_session, m);
    lease_leader_sync_end(&m->lease_leader);
}

/* True if this member leads. Resets lease_leader when the term has changed. */
static bool leads(struct session_manager *m)
{
    uint64_t term = driver_leading(consensus_driver(m->daemon->consensus));

    if (term != m->lease_leader.term) {
        lease_leader_lead(&m->lease_leader, clock_boot_ms(), term);
        sync_sessions(m);
    }
    return term != 0;
}

static void send_ack(void *arg, uint64_t member, uint64_t session, uint64_t echo)
{
    struct session_manager *m = arg;
    Cfs__HeartbeatAck ack = CFS__HEARTBEAT_ACK__INIT;
    Cfs__App app = CFS__APP__INIT;

    if (member == m->daemon->options.id) {
        on_ack(m, session, echo);
        return;
    }
    ack.session = session;
    ack.sent_ms = echo;
    app.body_case = CFS__APP__BODY_HEARTBEAT_ACK;
    app.heartbeat_ack = &ack;
    app_send(m->daemon, member, &app);
}

struct round {
    struct session_manager *session_manager;
    uint64_t term;
};

static void ask_quorum(struct session_manager *m);

static void on_barrier(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct round *round = arg;
    struct session_manager *m = round->session_manager;
    uint64_t term = round->term;

    free(round);
    if (err == -ESHUTDOWN || !leads(m) || m->lease_leader.term != term)
        return;
    if (err != 0) {
        lease_leader_unproven(&m->lease_leader);
    } else {
        sync_sessions(m);
        lease_leader_proven(&m->lease_leader, send_ack, m);
    }
    ask_quorum(m);
}

static void ask_quorum(struct session_manager *m)
{
    struct round *round;

    if (!lease_leader_ask(&m->lease_leader))
        return;
    round = xmalloc(sizeof *round);
    *round = (struct round){m, m->lease_leader.term};
    consensus_barrier(m->daemon->consensus, BARRIER_MS, on_barrier, round);
}

static void on_heartbeat(struct session_manager *m, uint64_t from, uint64_t session,
                         uint64_t sent_ms)
{
    uint64_t now = clock_boot_ms();

    if (!leads(m))
        return;
    if (!lease_leader_beat(&m->lease_leader, now, from, session, sent_ms)) {
        sync_sessions(m); /* the session may be new */
        (void)lease_leader_beat(&m->lease_leader, now, from, session, sent_ms);
    }
    ask_quorum(m);
}

struct verdict {
    struct session_manager *session_manager;
    uint64_t session;
    uint64_t term;
};

static void on_expired(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct verdict *v = arg;
    struct lease_leader *l = &v->session_manager->lease_leader;

    if (err != -ESHUTDOWN && l->term == v->term)
        lease_leader_decided(l, v->session);
    free(v);
}

/* No deadline: until the outcome is known, no heartbeat of the session is acknowledged. */
static void expire_session(void *arg, uint64_t session)
{
    struct session_manager *m = arg;
    struct verdict *v = xmalloc(sizeof *v);
    Cfs__ExpireSession expire = CFS__EXPIRE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    log_info("session %" PRIu64 " has given no sign of life: it expires", session);
    *v = (struct verdict){m, session, m->lease_leader.term};
    expire.session = session;
    expire.term = m->lease_leader.term;
    command.op_case = CFS__COMMAND__OP_EXPIRE_SESSION;
    command.expire_session = &expire;
    submit(m, &command, 0, on_expired, v);
}

/* ---- Entries whose life time is over --------------------------------------------------------- */

struct due {
    Cfs__ExpiringEntry entries[LIMIT_EXPIRE_MAX];
    Cfs__ExpiringEntry *list[LIMIT_EXPIRE_MAX];
    size_t n;
};

static void add_due(void *arg, uint64_t ino, uint64_t version)
{
    struct due *due = arg;
    Cfs__ExpiringEntry *e = &due->entries[due->n];

    cfs__expiring_entry__init(e);
    e->ino = ino;
    e->version = version;
    due->list[due->n++] = e;
}

static void on_entries(void *arg, int err, const uint8_t *bytes, size_t len)
{
    struct session_manager *m = arg;
    Cfs__Reply *reply = err == 0 ? cfs__reply__unpack(NULL, len, bytes) : NULL;

    m->ending = false;
    if (reply != NULL && reply->value == 0 && m->had_due)
        m->due_at = clock_boot_ms() + REFUSED_MS;
    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
}

/* Is there a reason to advance the cluster's time, other than entries that are due? */
static bool must_advance(struct session_manager *m, uint64_t elapsed_ms)
{
    enum store_ttls ttls = store_ttls(m->daemon->store);

    return ttls == STORE_TTLS_BEGUN ||
           (ttls == STORE_TTLS_RUNNING && elapsed_ms >= TTL_CLOCK_KEEP_MS);
}

/* An entry that is not removed now is still due the next time. */
static void end_entries(struct session_manager *m, uint64_t now)
{
    uint64_t elapsed_ms = ttl_clock_elapsed_ms(&m->ttl_clock, now);
    Cfs__ExpireEntries expire = CFS__EXPIRE_ENTRIES__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct due *due;

    if (m->ending || now < m->due_at)
        return;
    m->due_at = now + DUE_MS;
    due = xmalloc(sizeof *due);
    due->n = 0;
    store_due(m->daemon->store, elapsed_ms, LIMIT_EXPIRE_MAX, add_due, due);
    m->had_due = due->n > 0;
    if (m->had_due || must_advance(m, elapsed_ms)) {
        expire.entries = due->list;
        expire.n_entries = due->n;
        expire.elapsed_ms = elapsed_ms;
        expire.term = m->lease_leader.term;
        expire.clock = (uint64_t)m->ttl_clock.clock;
        command.op_case = CFS__COMMAND__OP_EXPIRE_ENTRIES;
        command.expire_entries = &expire;
        m->ending = true;
        submit(m, &command, 0, on_entries, m);
    }
    free(due);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void send_heartbeat(struct session_manager *m)
{
    Cfs__Heartbeat heartbeat = CFS__HEARTBEAT__INIT;
    Cfs__App app = CFS__APP__INIT;

    if (m->leader == m->daemon->options.id) {
        on_heartbeat(m, m->leader, m->lease.session, m->lease.sent_ms);
        return;
    }
    heartbeat.session = m->lease.session;
    heartbeat.sent_ms = m->lease.sent_ms;
    app.body_case = CFS__APP__BODY_HEARTBEAT;
    app.heartbeat = &heartbeat;
    app_send(m->daemon, m->leader, &app);
}

void session_manager_tick(struct session_manager *m)
{
    uint64_t now = clock_boot_ms();

    if (lease_member_lapses(&m->lease, now))
        note_lapse(m);
    if (m->leader != 0 && lease_member_beat(&m->lease, now))
        send_heartbeat(m);
    if (!leads(m))
        return;
    sync_sessions(m);
    lease_leader_tick(&m->lease_leader, now);
    lease_leader_overdue(&m->lease_leader, expire_session, m);
    end_entries(m, now);
}

void session_manager_message(struct session_manager *m, uint64_t from, const Cfs__App *app)
{
    if (app->body_case == CFS__APP__BODY_HEARTBEAT)
        on_heartbeat(m, from, app->heartbeat->session, app->heartbeat->sent_ms);
    else if (app->body_case == CFS__APP__BODY_HEARTBEAT_ACK)
        on_ack(m, app->heartbeat_ack->session, app->heartbeat_ack->sent_ms);
}

void session_manager_leader(struct session_manager *m, uint64_t leader, uint64_t term)
{
    if (leader == 0 && m->no_leader_ns == 0)
        m->no_leader_ns = clock_real_ns();
    if (leader != 0)
        m->no_leader_ns = 0;
    m->leader = leader;
    m->term = term;
    lease_member_hurry(&m->lease);
}

/* ---- Leaving --------------------------------------------------------------------------------- */

static void on_left(void *arg, int err BASE_UNUSED, const uint8_t *reply BASE_UNUSED,
                    size_t len BASE_UNUSED)
{
    struct session_manager *m = arg;

    check(sem_post(&m->left) == 0);
}

/* The lease ends before the command is sent: from then on other hosts may get the locks. */
static void do_leave(void *arg)
{
    struct session_manager *m = arg;
    Cfs__CloseSession close = CFS__CLOSE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    m->leaving = true;
    lease_member_close(&m->lease);
    publish(m);
    consensus_leave(m->daemon->consensus);
    if (m->leader == 0 || consensus_session(m->daemon->consensus) == 0) {
        on_left(m, 0, NULL, 0);
        return;
    }
    command.op_case = CFS__COMMAND__OP_CLOSE_SESSION;
    command.close_session = &close;
    submit(m, &command, LEAVE_MS, on_left, m);
}

void session_manager_leave(struct session_manager *m)
{
    consensus_run(m->daemon->consensus, do_leave, m);
    while (sem_wait(&m->left) != 0)
        check(errno == EINTR);
}

/* ---- Status ---------------------------------------------------------------------------------- */

static json_t *time_json(int64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32];

    if (ns == 0)
        return json_null();
    check(gmtime_r(&seconds, &tm) != NULL);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return json_string(text);
}

void session_manager_status(struct session_manager *m, json_t *out)
{
    const struct lease_member *l = &m->lease;
    uint64_t now = clock_boot_ms();

    json_object_set_new(out, "session",
                        json_integer((json_int_t)consensus_session(m->daemon->consensus)));
    json_object_set_new(
        out, "session_ttl_ms",
        json_integer(
            (json_int_t)(l->session != 0 ? l->ttl_ms : m->daemon->options.session_ttl_ms)));
    json_object_set_new(
        out, "lease_ms",
        json_integer(lease_member_holds(l, now) ? (json_int_t)(l->end_ms - now) : 0));
    json_object_set_new(out, "no_quorum_since", time_json(m->no_leader_ns));
}

struct listing {
    struct session_manager *session_manager;
    json_t *list;
};

static void list_session(void *arg, const struct store_session *s)
{
    struct listing *listing = arg;
    struct session_manager *m = listing->session_manager;
    uint64_t idle = lease_leader_idle_ms(&m->lease_leader, s->id);
    json_t *out = json_pack("{s:I, s:I, s:I, s:b, s:I, s:I}", "id", (json_int_t)s->id, "member",
                            (json_int_t)s->member, "ttl_ms", (json_int_t)s->ttl_ms, "self",
                            s->id == consensus_session(m->daemon->consensus), "locks",
                            (json_int_t)s->locks, "ephemerals", (json_int_t)s->ephemerals);

    if (idle != UINT64_MAX)
        json_object_set_new(out, "seen_ms", json_integer((json_int_t)idle));
    json_array_append_new(listing->list, out);
}

json_t *session_manager_sessions(struct session_manager *m)
{
    struct listing listing = {m, json_array()};

    store_sessions(m->daemon->store, list_session, &listing);
    return json_pack("{s:b, s:o}", "ok", 1, "sessions", listing.list);
}
