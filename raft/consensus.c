/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Everything below runs on one thread, in the phases of libuv's loop. Callbacks (frames, links,
 * mailbox, tick) do little: they feed the driver and set `dirty`. The turn runs in the check phase,
 * right after the poll. It also runs in the prepare phase, right before the next poll, if something
 * became due in between. A command that arrives in the mailbox is therefore proposed in the
 * iteration that it started, and no due work waits for a poll.
 *
 * Inside a turn, rounds repeat until nothing is left: an applied entry completes a command, whose
 * done submits the next one; the next round takes it from the mailbox (without waking the loop) and
 * proposes it. TURN_ROUNDS bounds the rounds, so that the links are served in between.
 *
 * The driver must not be entered from its own callbacks. All functions called from there are safe:
 * tcp_send and tcp_members call no callbacks, client_applied and client_leader only queue, and the
 * daemon may only use the mailbox.
 *
 * The end: the task of consensus_stop is the last one that is carried out. The loop thread then
 * closes all handles, lets libuv finish, completes the waiting tasks, and ends. consensus_stop
 * completes the tasks that were put into the mailbox since then. */
#include "raft/consensus.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "raft/tasks.h"
#include "raft/tcp.h"

#define TICK_MS      100
#define TURN_ROUNDS  16
#define WINDOW       1024
#define WINDOW_BYTES (16u << 20)

struct consensus {
    struct consensus_config config;
    struct consensus_env env;
    struct machine machine;
    pthread_t thread;

    struct tasks tasks;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_timer_t tick;
    uv_prepare_t prepare;
    uv_check_t check;

    struct tcp *tcp; /* NULL: no peers */
    struct client *client;
    struct driver *driver;
    uint64_t leader, term; /* of the driver's last on_leader */

    sem_t *handed_over;     /* consensus_hand_over waits for it; NULL: it does not */
    uint64_t hand_over_end; /* it waits until then at most */

    bool dirty;  /* a turn is due */
    bool closed; /* close_all was called */

    sem_t started; /* err and errmsg are set */
    int err;
    char *errmsg;
    size_t errmsg_len;
};

static void check_thread(const struct consensus *n)
{
    check(pthread_equal(n->thread, pthread_self()));
}

/* ---- The turn -------------------------------------------------------------------------------- */

static uint64_t deadline(const struct consensus *n)
{
    uint64_t when = min_u64(tasks_deadline(&n->tasks),
                            min_u64(client_deadline(n->client), driver_deadline(n->driver)));

    return n->handed_over != NULL ? min_u64(when, n->hand_over_end) : when;
}

static void on_timer(uv_timer_t *timer BASE_UNUSED)
{
    /* The timer only ends the poll; the turn finds the due work. */
}

static void set_timer(struct consensus *n)
{
    uint64_t when = deadline(n), now = clock_boot_ms();

    if (when == UINT64_MAX) {
        uv_timer_stop(&n->timer);
        return;
    }
    uv_update_time(&n->loop); /* a commit may have taken long */
    check(uv_timer_start(&n->timer, on_timer, when > now ? when - now : 0, 0) == 0);
}

/* ---- Handing leadership over ---- */

static void end_hand_over(struct consensus *n)
{
    sem_t *waiting = n->handed_over;

    n->handed_over = NULL;
    check(sem_post(waiting) == 0);
}

/* Waits for the other leader itself, not only for the end of this one's term: the links must stay
 * open for the votes of the election. */
static void check_hand_over(struct consensus *n)
{
    bool other_leads = n->leader != 0 && n->leader != n->config.driver.id;

    if (n->handed_over != NULL && (other_leads || clock_boot_ms() >= n->hand_over_end))
        end_hand_over(n);
}

struct hand_over {
    struct consensus *n;
    sem_t done;
};

static void begin_hand_over(void *arg)
{
    struct hand_over *h = arg;

    h->n->handed_over = &h->done;
    h->n->hand_over_end = clock_boot_ms() + h->n->config.driver.election_ms;
    h->n->dirty = true;
    if (driver_transfer(h->n->driver, 0) != 0)
        end_hand_over(h->n);
}

void consensus_hand_over(struct consensus *n)
{
    struct hand_over h = {.n = n};

    check(!pthread_equal(n->thread, pthread_self()));
    check(sem_init(&h.done, 0, 0) == 0);
    tasks_run(&n->tasks, begin_hand_over, &h);
    while (sem_wait(&h.done) != 0)
        check(errno == EINTR);
    check(sem_destroy(&h.done) == 0);
}

static void close_all(struct consensus *n);

static void turn(struct consensus *n)
{
    n->dirty = false;
    for (unsigned round = 0; round < TURN_ROUNDS; round++) {
        bool mail = tasks_take(&n->tasks);

        if (n->tasks.stopping) {
            close_all(n);
            return;
        }
        if (round > 0 && !mail && deadline(n) > clock_boot_ms())
            break;
        client_turn(n->client);
        driver_turn(n->driver);
        tasks_expire(&n->tasks, clock_boot_ms());
        check_hand_over(n);
    }
    tasks_unwatch(&n->tasks);
    if (n->tcp != NULL)
        tcp_flush(n->tcp);
    set_timer(n);
}

static void turn_if_due(struct consensus *n)
{
    if (!n->closed && (n->dirty || deadline(n) <= clock_boot_ms()))
        turn(n);
}

static void on_prepare(uv_prepare_t *prepare)
{
    turn_if_due(prepare->data);
}

static void on_check(uv_check_t *checked)
{
    turn_if_due(checked->data);
}

static void on_mail(void *arg)
{
    struct consensus *n = arg;

    n->dirty = true;
}

static void on_tick(uv_timer_t *tick)
{
    struct consensus *n = tick->data;

    n->env.on_tick(n->env.ctx);
    n->dirty = true;
}

/* ---- The driver's environment ---------------------------------------------------------------- */

static uint64_t env_now_ms(void *ctx BASE_UNUSED)
{
    return clock_boot_ms();
}

static int64_t env_real_ns(void *ctx BASE_UNUSED)
{
    return clock_real_ns();
}

static void env_send(void *ctx, uint64_t peer, struct buf *message)
{
    struct consensus *n = ctx;

    if (n->tcp != NULL)
        tcp_send(n->tcp, peer, message);
    else
        buf_fini(message);
}

static bool env_linked(void *ctx, uint64_t peer)
{
    struct consensus *n = ctx;

    return n->tcp != NULL && tcp_linked(n->tcp, peer);
}

static size_t env_queued(void *ctx, uint64_t peer)
{
    struct consensus *n = ctx;

    return n->tcp != NULL ? tcp_queued(n->tcp, peer) : 0;
}

static void env_flush(void *ctx)
{
    struct consensus *n = ctx;

    if (n->tcp != NULL)
        tcp_flush(n->tcp);
}

static void env_members(void *ctx, const struct driver_member *members, unsigned count)
{
    struct consensus *n = ctx;

    if (n->tcp != NULL)
        tcp_members(n->tcp, members, count);
    else if (count > 1)
        log_warn("the cluster has %u members, but this one has no address: it cannot reach the "
                 "others; start it with --listen=HOST:PORT",
                 count);
}

static void env_leader(void *ctx, uint64_t leader, uint64_t term)
{
    struct consensus *n = ctx;

    n->leader = leader;
    n->term = term;
    client_leader(n->client, leader, term);
    n->env.on_leader(n->env.ctx, leader, term);
}

static void env_applied(void *ctx, uint64_t applied)
{
    struct consensus *n = ctx;

    n->env.on_applied(n->env.ctx, applied);
}

static void env_installed(void *ctx, uint64_t applied)
{
    struct consensus *n = ctx;

    n->env.on_installed(n->env.ctx, applied); /* caches first, then replies */
    client_installed(n->client);
}

static void env_barrier(void *ctx, uint64_t ticket)
{
    struct consensus *n = ctx;

    tasks_barrier_reached(&n->tasks, ticket);
}

static void env_app(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    struct consensus *n = ctx;

    n->env.on_app(n->env.ctx, from, data, len);
}

/* ---- The client's environment ---------------------------------------------------------------- */

static bool env_propose(void *ctx, struct buf *entry)
{
    struct consensus *n = ctx;

    return driver_propose(n->driver, entry);
}

static struct buf env_open(void *ctx, uint64_t nonce)
{
    struct consensus *n = ctx;

    return n->env.open_command(n->env.ctx, nonce);
}

static struct buf env_noop(void *ctx)
{
    struct consensus *n = ctx;

    return n->env.noop_command(n->env.ctx);
}

static int env_stored_reply(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct consensus *n = ctx;

    return n->env.stored_reply(n->env.ctx, session, seq, out);
}

static void env_session(void *ctx, uint64_t session)
{
    struct consensus *n = ctx;

    n->env.on_session(n->env.ctx, session);
}

/* ---- Events of the links --------------------------------------------------------------------- */

static void on_link(void *ctx, uint64_t peer, bool up)
{
    struct consensus *n = ctx;

    if (n->closed)
        return;
    driver_link(n->driver, peer, up);
    if (up && peer == n->leader) /* proposals in the old link are lost */
        client_leader(n->client, n->leader, n->term);
    n->dirty = true;
}

static bool on_message(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
    struct consensus *n = ctx;

    if (n->closed)
        return true;
    n->dirty = true;
    return driver_receive(n->driver, peer, data, len);
}

/* ---- Start and end --------------------------------------------------------------------------- */

static int start_tcp(struct consensus *n)
{
    struct tcp_config config = {
        .id = n->config.driver.id,
        .cluster = n->config.cluster,
        .listen = n->config.listen,
        .codec = n->config.codec,
    };
    struct tcp_env env = {n, on_link, on_message};

    if (n->config.listen == NULL)
        return 0;
    return tcp_start(&n->loop, &config, &env, &n->tcp, n->errmsg, n->errmsg_len);
}

static void start_client(struct consensus *n)
{
    struct client_env env = {
        .ctx = n,
        .now_ms = env_now_ms,
        .real_ns = env_real_ns,
        .propose = env_propose,
        .open_command = env_open,
        .noop_command = env_noop,
        .stored_reply = env_stored_reply,
        .on_session = env_session,
    };
    struct client_config config = {
        .retry_ms = 2 * n->config.driver.election_ms,
        .window = WINDOW,
        .window_bytes = WINDOW_BYTES,
        .seed = clock_entropy(), /* nonces must differ from those of earlier processes */
    };

    n->client = client_new(&config, &env);
    n->tasks.client = n->client;
}

static int start_driver(struct consensus *n)
{
    struct driver_env env = {
        .ctx = n,
        .now_ms = env_now_ms,
        .send = env_send,
        .flush = env_flush,
        .linked = env_linked,
        .queued = env_queued,
        .members = env_members,
        .on_leader = env_leader,
        .on_applied = env_applied,
        .on_installed = env_installed,
        .on_barrier = env_barrier,
        .on_app = env_app,
    };

    n->driver = driver_new(&n->config.driver, &env, n->machine);
    n->tasks.driver = n->driver;
    return driver_start(n->driver, n->errmsg, n->errmsg_len);
}

static void start_handles(struct consensus *n)
{
    tasks_init(&n->tasks, &n->loop, on_mail, n);
    check(uv_timer_init(&n->loop, &n->timer) == 0);
    check(uv_timer_init(&n->loop, &n->tick) == 0);
    check(uv_prepare_init(&n->loop, &n->prepare) == 0);
    check(uv_check_init(&n->loop, &n->check) == 0);
    n->tick.data = n;
    n->prepare.data = n;
    n->check.data = n;
    check(uv_prepare_start(&n->prepare, on_prepare) == 0);
    check(uv_check_start(&n->check, on_check) == 0);
    if (n->env.on_tick != NULL)
        check(uv_timer_start(&n->tick, on_tick, TICK_MS, TICK_MS) == 0);
}

static void close_all(struct consensus *n)
{
    n->closed = true;
    tasks_sleep(&n->tasks);
    uv_close((uv_handle_t *)&n->timer, NULL);
    uv_close((uv_handle_t *)&n->tick, NULL);
    uv_close((uv_handle_t *)&n->prepare, NULL);
    uv_close((uv_handle_t *)&n->check, NULL);
    if (n->tcp != NULL)
        tcp_stop(n->tcp);
    n->tcp = NULL;
}

/* All handles are closed: completes the waiting tasks. */
static void finish(struct consensus *n)
{
    tasks_shut(&n->tasks);
    client_free(n->client);
    while (tasks_take(&n->tasks))
        continue;
    if (n->driver != NULL)
        driver_free(n->driver);
    check(uv_loop_close(&n->loop) == 0);
}

static int begin(struct consensus *n)
{
    int err;

    check(uv_loop_init(&n->loop) == 0);
    start_handles(n);
    start_client(n);
    err = start_tcp(n);
    if (err == 0)
        err = start_driver(n);
    return err;
}

static void *run(void *arg)
{
    struct consensus *n = arg;

    n->thread = pthread_self(); /* pthread_create may return later than callbacks come */
    n->err = begin(n);
    n->dirty = true;
    if (n->err != 0)
        close_all(n);
    check(sem_post(&n->started) == 0);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    finish(n);
    return NULL;
}

/* Signals belong to the main thread: the loop thread blocks all (it gets EPIPE, not SIGPIPE). */
static int start_thread(struct consensus *n)
{
    sigset_t all, before;
    pthread_t thread;
    int err;

    sigfillset(&all);
    check(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    err = -pthread_create(&thread, NULL, run, n); /* the thread sets n->thread */
    check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0)
        (void)pthread_setname_np(thread, "raft");
    return err;
}

static void consensus_free(struct consensus *n)
{
    check(sem_destroy(&n->started) == 0);
    free(n);
}

/* After the thread has ended. */
static void join(struct consensus *n)
{
    check(pthread_join(n->thread, NULL) == 0);
    tasks_fini(&n->tasks);
    consensus_free(n);
}

int consensus_start(const struct consensus_config *config, const struct consensus_env *env,
                    struct machine machine, struct consensus **out, char *errmsg, size_t errmsg_len)
{
    struct consensus *n = xcalloc(1, sizeof *n);
    int err;

    n->config = *config;
    n->env = *env;
    n->machine = machine;
    n->errmsg = errmsg;
    n->errmsg_len = errmsg_len;
    check(sem_init(&n->started, 0, 0) == 0);
    *out = n;
    err = start_thread(n);
    if (err == 0) {
        while (sem_wait(&n->started) != 0)
            check(errno == EINTR);
        err = n->err;
        if (err == 0)
            return 0;
        join(n);
    } else {
        snprintf(errmsg, errmsg_len, "cannot start a thread: %s", strerror(-err));
        consensus_free(n);
    }
    *out = NULL;
    return err;
}

void consensus_stop(struct consensus *n)
{
    check(!pthread_equal(n->thread, pthread_self()));
    tasks_stop(&n->tasks);
    join(n);
}

/* ---- Any thread ------------------------------------------------------------------------------ */

static uint64_t deadline_of(unsigned timeout_ms)
{
    return timeout_ms > 0 ? clock_boot_ms() + timeout_ms : TASKS_NEVER;
}

uint64_t consensus_submit(struct consensus *n, struct buf *command, unsigned timeout_ms,
                          client_done done, void *arg)
{
    return tasks_submit(&n->tasks, 0, command, deadline_of(timeout_ms), done, arg);
}

uint64_t consensus_submit_in(struct consensus *n, uint64_t session, struct buf *command,
                             unsigned timeout_ms, client_done done, void *arg)
{
    return tasks_submit(&n->tasks, session, command, deadline_of(timeout_ms), done, arg);
}

uint64_t consensus_barrier(struct consensus *n, unsigned timeout_ms, client_done done, void *arg)
{
    return tasks_barrier(&n->tasks, deadline_of(timeout_ms), done, arg);
}

void consensus_cancel(struct consensus *n, uint64_t ticket)
{
    tasks_cancel(&n->tasks, ticket);
}

void consensus_run(struct consensus *n, void (*fn)(void *arg), void *arg)
{
    tasks_run(&n->tasks, fn, arg);
}

/* ---- Loop thread ----------------------------------------------------------------------------- */

void consensus_applied(struct consensus *n, enum client_outcome outcome, uint64_t session,
                       uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len)
{
    check_thread(n);
    client_applied(n->client, outcome, session, seq, nonce, reply, len);
}

void consensus_ended(struct consensus *n, uint64_t session)
{
    check_thread(n);
    client_ended(n->client, session);
}

void consensus_leave(struct consensus *n)
{
    check_thread(n);
    client_leave(n->client);
}

void consensus_status(struct consensus *n, struct driver_status *out)
{
    check_thread(n);
    driver_status(n->driver, out);
}

struct driver *consensus_driver(struct consensus *n)
{
    check_thread(n);
    n->dirty = true; /* the caller may change the driver: a turn follows */
    return n->driver;
}

uint64_t consensus_session(struct consensus *n)
{
    check_thread(n);
    return client_session(n->client);
}

uint64_t consensus_opened_ms(struct consensus *n)
{
    check_thread(n);
    return client_opened_ms(n->client);
}

size_t consensus_pending(struct consensus *n)
{
    check_thread(n);
    return client_pending(n->client);
}

uv_loop_t *consensus_loop(struct consensus *n)
{
    check_thread(n);
    return &n->loop;
}
