/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * As member. While there is a session, a heartbeat goes to the leader every quarter of its ttl,
 * more often while none is acknowledged. The lease as of now is in a cell that any thread can read
 * and compare with the clock. When it has run out, the filesystem is told that there is no session
 * any more: the locks that it knows of are lost.
 *
 * The session itself may live on: while no leader has a quorum, nobody can expire it. When a leader
 * is found again and acknowledges it, there are two ways to go. With locks in the state, the
 * filesystem and the log disagree about who holds them, so the session is given up: it ends, with
 * all that hangs on it, and the client opens another one. Without locks there is nothing to
 * disagree about: the session goes on, and its ephemeral entries have survived the outage. What the
 * filesystem knows to hold was applied here before, so this member's own state is the right one to
 * ask.
 *
 * As leader. Heartbeats wait for a barrier (one serves all that have come by then); those of this
 * member's own session too. Barrier, tick and heartbeat each begin with a look at which term this
 * member leads, so nothing depends on when the change of it is heard of.
 *
 * A lease begins with the first proposal of the OpenSession: no leader can have seen the session
 * before. So there is no moment between the opening and the first acknowledgement in which the host
 * has a session but no lease. */
#include "daemon/keeper.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/app.h"
#include "daemon/lease.h"
#include "daemon/lessor.h"
#include "proto/encode.h"

#define BARRIER_MS 5000
#define LEAVE_MS   2000
#define DUE_MS     1000  /* how often to look for entries whose time is over */
#define REFUSED_MS 10000 /* … after none of those that were due could be removed */

/* The lease, for other threads: written on the loop only. Even: id and end_ms belong together. */
struct cell {
    _Atomic uint64_t version;
    _Atomic uint64_t id;
    _Atomic uint64_t end_ms;
};

struct keeper {
    struct daemon *daemon;
    uint64_t leader, term; /* as raft said last; 0: none */
    int64_t no_leader_ns;  /* wall clock; 0: there is one */

    struct lease lease;
    struct cell cell;
    uint64_t told;  /* the session that the filesystem knows of */
    bool giving_up; /* the end of the session was asked for */
    bool leaving;
    sem_t left;

    struct lessor lessor;
    uint64_t due_at; /* when to look for entries whose time is over */
    bool ending;     /* an ExpireEntries is on its way */
};

struct keeper *keeper_new(struct daemon *d)
{
    struct keeper *k = xcalloc(1, sizeof *k);

    k->daemon = d;
    k->no_leader_ns = clock_real_ns();
    lessor_init(&k->lessor);
    check(sem_init(&k->left, 0, 0) == 0);
    return k;
}

void keeper_free(struct keeper *k)
{
    lessor_fini(&k->lessor);
    check(sem_destroy(&k->left) == 0);
    free(k);
}

static void submit(struct keeper *k, const Cfs__Command *command, unsigned timeout_ms,
                   client_done done, void *arg)
{
    struct buf bytes = encode_command(command);

    consensus_submit(k->daemon->consensus, &bytes, timeout_ms, done, arg);
}

/* ---- The cell ----------------------------------------------------------------------------------
 */

static void publish(struct keeper *k)
{
    const struct lease *l = &k->lease;
    bool holds = l->session != 0 && !l->lapsed;

    atomic_fetch_add(&k->cell.version, 1);
    atomic_store(&k->cell.id, holds ? l->session : 0);
    atomic_store(&k->cell.end_ms, l->end_ms);
    atomic_fetch_add(&k->cell.version, 1);
}

/* The clock is read between two looks at the cell: whoever is told 0 is so because the lease had
 * run out and had not been renewed. */
uint64_t keeper_session(struct keeper *k)
{
    uint64_t version, id, end_ms, now;

    do {
        version = atomic_load(&k->cell.version);
        id = atomic_load(&k->cell.id);
        end_ms = atomic_load(&k->cell.end_ms);
        now = clock_boot_ms();
    } while (version % 2 != 0 || atomic_load(&k->cell.version) != version);
    return now < end_ms ? id : 0;
}

/* ---- This member's session ---------------------------------------------------------------------
 */

static void tell_fs(struct keeper *k, uint64_t session)
{
    struct fs *fs = atomic_load(&k->daemon->fs);

    k->told = session;
    if (fs != NULL)
        fs_session(fs, session);
}

static void do_announce(void *arg)
{
    struct keeper *k = arg;

    tell_fs(k, k->told);
}

void keeper_announce(struct keeper *k)
{
    consensus_run(k->daemon->consensus, do_announce, k);
}

void keeper_opened(struct keeper *k, uint64_t session)
{
    struct store_session s;

    log_info("session %" PRIu64, session);
    if (k->leaving || !store_session(k->daemon->store, session, &s))
        return; /* ended by the same transaction: keeper_ended follows */
    lease_open(&k->lease, session, s.ttl_ms, consensus_opened_ms(k->daemon->consensus));
    publish(k);
    tell_fs(k, session);
}

void keeper_ended(struct keeper *k, uint64_t session)
{
    if (session == k->lease.session) {
        log_info("session %" PRIu64 " has ended", session);
        lease_close(&k->lease);
        publish(k);
        tell_fs(k, 0);
    }
    consensus_ended(k->daemon->consensus, session);
}

void keeper_installed(struct keeper *k)
{
    uint64_t session = consensus_session(k->daemon->consensus);
    struct store_session s;

    if (session != 0 && !store_session(k->daemon->store, session, &s))
        keeper_ended(k, session);
}

static void on_given_up(void *arg, int err BASE_UNUSED, const uint8_t *reply BASE_UNUSED,
                        size_t len BASE_UNUSED)
{
    struct keeper *k = arg;

    k->giving_up = false; /* it has ended; or the term has: the next acknowledgement tries again */
}

/* ExpireSession names the session, so it cannot hit the one that comes after. */
static void give_up(struct keeper *k)
{
    Cfs__ExpireSession expire = CFS__EXPIRE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    if (k->giving_up)
        return;
    k->giving_up = true;
    expire.session = k->lease.session;
    expire.term = k->term;
    command.op_case = CFS__COMMAND__OP_EXPIRE_SESSION;
    command.expire_session = &expire;
    submit(k, &command, 0, on_given_up, k);
}

static void note_lapse(struct keeper *k)
{
    log_warn("session %" PRIu64 ": no leader has acknowledged it for %" PRIu64
             " ms; what is locked on this host is lost",
             k->lease.session, k->lease.ttl_ms);
    publish(k);
    tell_fs(k, 0);
}

static void come_back(struct keeper *k)
{
    struct store_session s;

    if (k->giving_up || !store_session(k->daemon->store, k->lease.session, &s))
        return;
    if (s.locks > 0) {
        log_info("session %" PRIu64 " lives, but is given up with its locks", s.id);
        give_up(k);
        return;
    }
    log_info("session %" PRIu64 " goes on", s.id);
    lease_resume(&k->lease);
    publish(k);
    tell_fs(k, s.id);
}

static void on_ack(struct keeper *k, uint64_t session, uint64_t echo)
{
    uint64_t now = clock_boot_ms();

    if (lease_lapses(&k->lease, now))
        note_lapse(k);
    switch (lease_ack(&k->lease, now, session, echo)) {
    case LEASE_NOTHING:
        break;
    case LEASE_RENEWED:
        publish(k);
        break;
    case LEASE_BACK:
        come_back(k);
        break;
    }
}

/* ---- As leader ---------------------------------------------------------------------------------
 */

static void see_session(void *arg, const struct store_session *s)
{
    struct keeper *k = arg;

    lessor_sync_see(&k->lessor, s->id, s->member, s->ttl_ms);
}

static void sync_sessions(struct keeper *k)
{
    lessor_sync_begin(&k->lessor);
    store_sessions(k->daemon->store, see_session, k);
    lessor_sync_end(&k->lessor);
}

/* Does this member lead? Begins to, or ceases to, as lessor, when that is news. */
static bool leads(struct keeper *k)
{
    uint64_t term = driver_leading(consensus_driver(k->daemon->consensus));

    if (term != k->lessor.term) {
        lessor_lead(&k->lessor, clock_boot_ms(), term);
        sync_sessions(k);
    }
    return term != 0;
}

static void send_ack(void *arg, uint64_t member, uint64_t session, uint64_t echo)
{
    struct keeper *k = arg;
    Cfs__HeartbeatAck ack = CFS__HEARTBEAT_ACK__INIT;
    Cfs__App app = CFS__APP__INIT;

    if (member == k->daemon->options.id) {
        on_ack(k, session, echo);
        return;
    }
    ack.session = session;
    ack.sent_ms = echo;
    app.body_case = CFS__APP__BODY_HEARTBEAT_ACK;
    app.heartbeat_ack = &ack;
    app_send(k->daemon, member, &app);
}

struct round {
    struct keeper *keeper;
    uint64_t term;
};

static void ask_quorum(struct keeper *k);

static void on_barrier(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct round *round = arg;
    struct keeper *k = round->keeper;
    uint64_t term = round->term;

    free(round);
    if (err == -ESHUTDOWN || !leads(k) || k->lessor.term != term)
        return;
    if (err != 0) {
        lessor_unproven(&k->lessor);
    } else {
        sync_sessions(k);
        lessor_proven(&k->lessor, send_ack, k);
    }
    ask_quorum(k);
}

static void ask_quorum(struct keeper *k)
{
    struct round *round;

    if (!lessor_ask(&k->lessor))
        return;
    round = xmalloc(sizeof *round);
    *round = (struct round){k, k->lessor.term};
    consensus_barrier(k->daemon->consensus, BARRIER_MS, on_barrier, round);
}

static void on_heartbeat(struct keeper *k, uint64_t from, uint64_t session, uint64_t sent_ms)
{
    uint64_t now = clock_boot_ms();

    if (!leads(k))
        return;
    if (!lessor_beat(&k->lessor, now, from, session, sent_ms)) {
        sync_sessions(k); /* it may be new */
        (void)lessor_beat(&k->lessor, now, from, session, sent_ms);
    }
    ask_quorum(k);
}

struct verdict {
    struct keeper *keeper;
    uint64_t session;
    uint64_t term;
};

static void on_expired(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct verdict *v = arg;
    struct lessor *l = &v->keeper->lessor;

    if (err != -ESHUTDOWN && l->term == v->term)
        lessor_decided(l, v->session);
    free(v);
}

/* Without a deadline: until it is known what became of it, nothing is acknowledged. */
static void expire_session(void *arg, uint64_t session)
{
    struct keeper *k = arg;
    struct verdict *v = xmalloc(sizeof *v);
    Cfs__ExpireSession expire = CFS__EXPIRE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    log_info("session %" PRIu64 " has given no sign of life: it expires", session);
    *v = (struct verdict){k, session, k->lessor.term};
    expire.session = session;
    expire.term = k->lessor.term;
    command.op_case = CFS__COMMAND__OP_EXPIRE_SESSION;
    command.expire_session = &expire;
    submit(k, &command, 0, on_expired, v);
}

/* ---- Entries whose time is over ----------------------------------------------------------------
 */

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
    struct keeper *k = arg;
    Cfs__Reply *reply = err == 0 ? cfs__reply__unpack(NULL, len, bytes) : NULL;

    k->ending = false;
    if (reply != NULL && reply->value == 0)
        k->due_at = clock_boot_ms() + REFUSED_MS;
    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
}

/* What is not removed, for whatever reason, is still due the next time. */
static void end_entries(struct keeper *k, uint64_t now)
{
    Cfs__ExpireEntries expire = CFS__EXPIRE_ENTRIES__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct due *due;

    if (k->ending || now < k->due_at)
        return;
    k->due_at = now + DUE_MS;
    due = xmalloc(sizeof *due);
    due->n = 0;
    store_due(k->daemon->store, clock_real_ns(), LIMIT_EXPIRE_MAX, add_due, due);
    if (due->n > 0) {
        expire.entries = due->list;
        expire.n_entries = due->n;
        command.op_case = CFS__COMMAND__OP_EXPIRE_ENTRIES;
        command.expire_entries = &expire;
        k->ending = true;
        submit(k, &command, 0, on_entries, k);
    }
    free(due);
}

/* ---- What happens ------------------------------------------------------------------------------
 */

static void send_heartbeat(struct keeper *k)
{
    Cfs__Heartbeat heartbeat = CFS__HEARTBEAT__INIT;
    Cfs__App app = CFS__APP__INIT;

    if (k->leader == k->daemon->options.id) {
        on_heartbeat(k, k->leader, k->lease.session, k->lease.sent_ms);
        return;
    }
    heartbeat.session = k->lease.session;
    heartbeat.sent_ms = k->lease.sent_ms;
    app.body_case = CFS__APP__BODY_HEARTBEAT;
    app.heartbeat = &heartbeat;
    app_send(k->daemon, k->leader, &app);
}

void keeper_tick(struct keeper *k)
{
    uint64_t now = clock_boot_ms();

    if (lease_lapses(&k->lease, now))
        note_lapse(k);
    if (k->leader != 0 && lease_beat(&k->lease, now))
        send_heartbeat(k);
    if (!leads(k))
        return;
    sync_sessions(k);
    lessor_tick(&k->lessor, now);
    lessor_overdue(&k->lessor, expire_session, k);
    end_entries(k, now);
}

void keeper_message(struct keeper *k, uint64_t from, const Cfs__App *app)
{
    if (app->body_case == CFS__APP__BODY_HEARTBEAT)
        on_heartbeat(k, from, app->heartbeat->session, app->heartbeat->sent_ms);
    else if (app->body_case == CFS__APP__BODY_HEARTBEAT_ACK)
        on_ack(k, app->heartbeat_ack->session, app->heartbeat_ack->sent_ms);
}

void keeper_leader(struct keeper *k, uint64_t leader, uint64_t term)
{
    if (leader == 0 && k->no_leader_ns == 0)
        k->no_leader_ns = clock_real_ns();
    if (leader != 0)
        k->no_leader_ns = 0;
    k->leader = leader;
    k->term = term;
    lease_hurry(&k->lease);
}

/* ---- Leaving -----------------------------------------------------------------------------------
 */

static void on_left(void *arg, int err BASE_UNUSED, const uint8_t *reply BASE_UNUSED,
                    size_t len BASE_UNUSED)
{
    struct keeper *k = arg;

    check(sem_post(&k->left) == 0);
}

/* Locks may be granted to others from when the command is on its way: nothing is held here then. */
static void do_leave(void *arg)
{
    struct keeper *k = arg;
    Cfs__CloseSession close = CFS__CLOSE_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    k->leaving = true;
    lease_close(&k->lease);
    publish(k);
    consensus_leave(k->daemon->consensus);
    if (k->leader == 0 || consensus_session(k->daemon->consensus) == 0) {
        on_left(k, 0, NULL, 0);
        return;
    }
    command.op_case = CFS__COMMAND__OP_CLOSE_SESSION;
    command.close_session = &close;
    submit(k, &command, LEAVE_MS, on_left, k);
}

void keeper_leave(struct keeper *k)
{
    consensus_run(k->daemon->consensus, do_leave, k);
    while (sem_wait(&k->left) != 0)
        check(errno == EINTR);
}

/* ---- What is shown -----------------------------------------------------------------------------
 */

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

void keeper_status(struct keeper *k, json_t *out)
{
    const struct lease *l = &k->lease;
    uint64_t now = clock_boot_ms();

    json_object_set_new(out, "session",
                        json_integer((json_int_t)consensus_session(k->daemon->consensus)));
    json_object_set_new(
        out, "session_ttl_ms",
        json_integer(
            (json_int_t)(l->session != 0 ? l->ttl_ms : k->daemon->options.session_ttl_ms)));
    json_object_set_new(out, "lease_ms",
                        json_integer(lease_holds(l, now) ? (json_int_t)(l->end_ms - now) : 0));
    json_object_set_new(out, "no_quorum_since", time_json(k->no_leader_ns));
}

struct listing {
    struct keeper *keeper;
    json_t *list;
};

static void list_session(void *arg, const struct store_session *s)
{
    struct listing *listing = arg;
    struct keeper *k = listing->keeper;
    uint64_t idle = lessor_idle_ms(&k->lessor, s->id);
    json_t *out = json_pack("{s:I, s:I, s:I, s:b, s:I, s:I}", "id", (json_int_t)s->id, "member",
                            (json_int_t)s->member, "ttl_ms", (json_int_t)s->ttl_ms, "self",
                            s->id == consensus_session(k->daemon->consensus), "locks",
                            (json_int_t)s->locks, "ephemerals", (json_int_t)s->ephemerals);

    if (idle != UINT64_MAX)
        json_object_set_new(out, "seen_ms", json_integer((json_int_t)idle));
    json_array_append_new(listing->list, out);
}

json_t *keeper_sessions(struct keeper *k)
{
    struct listing listing = {k, json_array()};

    store_sessions(k->daemon->store, list_session, &listing);
    return json_pack("{s:b, s:o}", "ok", 1, "sessions", listing.list);
}
