/* Theory of operation
 *
 * Everything below happens on one thread, in the phases of libuv's loop. Callbacks (frames, links,
 * mail, tick) do as little as they can: they feed the driver and set `dirty`. The turn runs in the
 * check phase, right after the poll that has woken us, and in the prepare phase, right before the
 * next poll, when something became due in between. So a command that arrives in the inbox is
 * proposed in the iteration that it has woken, and nothing that is due waits for a poll.
 *
 * Inside a turn the rounds repeat until nothing is left: an application completes a command, its
 * done submits the next one, which is taken from the inbox (nobody has to be woken for it) and
 * proposed in the next round. TURN_ROUNDS bounds it, so that the links are served in between.
 *
 * The driver must not be entered from its own callbacks. Those that lead elsewhere are all safe:
 * tcp_send, tcp_members (no callbacks from within), client_applied and client_leader (they only
 * queue), and the daemon's (it may use the inbox).
 *
 * The end: node_stop's letter is the last one that is obeyed. The loop thread then closes what is
 * open, lets libuv run out, completes what waits, and ends; node_stop answers what was put into
 * the inbox since then. */
#include "raft/node.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(msg) die("%s", msg)
#include <uthash.h>

#include "base/clock.h"
#include "base/log.h"
#include "raft/inbox.h"
#include "raft/tcp.h"

#define NEVER        UINT64_MAX
#define TICK_MS      100
#define TURN_ROUNDS  16
#define WINDOW       1024
#define WINDOW_BYTES (16u << 20)

enum letter_kind { LETTER_SUBMIT, LETTER_BARRIER, LETTER_CANCEL, LETTER_CALL, LETTER_STOP };

/* What goes through the inbox. A SUBMIT or BARRIER lives on, under its ticket, until it is done.
 */
struct letter {
    struct inbox_item item;
    UT_hash_handle hh;
    enum letter_kind kind;
    struct node *node;
    uint64_t ticket;
    uint64_t deadline_ms;   /* NEVER: none */
    uint64_t client_ticket; /* SUBMIT, once it was taken */
    struct buf command;     /* SUBMIT */
    client_done done;
    void (*fn)(void *arg); /* CALL */
    void *arg;
};

struct node {
    struct node_config config;
    struct node_env env;
    struct machine machine;
    pthread_t thread;
    _Atomic uint64_t last_ticket;

    struct inbox inbox;
    uv_loop_t loop;
    uv_timer_t timer;
    uv_timer_t tick;
    uv_prepare_t prepare;
    uv_check_t check;

    struct tcp *tcp; /* NULL: no peers */
    struct client *client;
    struct driver *driver;
    uint64_t leader, term; /* as the driver said last */

    struct letter *waiting;    /* by ticket */
    uint64_t barrier_earliest; /* no barrier's deadline is before this */
    bool dirty;                /* a turn is due */
    bool stopping;

    sem_t started; /* err and errmsg are there */
    int err;
    char *errmsg;
    size_t errmsg_len;
};

static void check_thread(const struct node *n)
{
    check(pthread_equal(n->thread, pthread_self()));
}

/* ---- Tickets -----------------------------------------------------------------------------------
 */

static void letter_free(struct letter *l)
{
    buf_fini(&l->command);
    free(l);
}

static void complete(struct node *n, struct letter *l, int err, const uint8_t *reply, size_t len)
{
    HASH_DEL(n->waiting, l);
    l->done(l->arg, err, reply, len);
    letter_free(l);
}

static void on_submit_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    struct letter *l = arg;

    complete(l->node, l, err, reply, len);
}

static void await(struct node *n, struct letter *l)
{
    HASH_ADD(hh, n->waiting, ticket, sizeof l->ticket, l);
}

static void take_submit(struct node *n, struct letter *l)
{
    await(n, l);
    l->client_ticket = client_submit(
        n->client, &l->command, l->deadline_ms != NEVER ? l->deadline_ms : 0, on_submit_done, l);
}

static void take_barrier(struct node *n, struct letter *l)
{
    await(n, l);
    n->barrier_earliest = min_u64(n->barrier_earliest, l->deadline_ms);
    driver_barrier(n->driver, l->ticket);
}

static void give_up_barrier(struct node *n, struct letter *l, int err)
{
    driver_barrier_cancel(n->driver, l->ticket);
    complete(n, l, err, NULL, 0);
}

static struct letter *find(struct node *n, uint64_t ticket)
{
    struct letter *l;

    HASH_FIND(hh, n->waiting, &ticket, sizeof ticket, l);
    return l;
}

static void take_cancel(struct node *n, struct letter *l)
{
    struct letter *target = find(n, l->ticket);

    letter_free(l);
    if (target == NULL)
        return;
    if (target->kind == LETTER_SUBMIT)
        client_cancel(n->client, target->client_ticket);
    else
        give_up_barrier(n, target, -EINTR);
}

static void take_call(struct node *n BASE_UNUSED, struct letter *l)
{
    void (*fn)(void *arg) = l->fn;
    void *arg = l->arg;

    letter_free(l);
    fn(arg);
}

static void take_stop(struct node *n, struct letter *l)
{
    letter_free(l);
    n->stopping = true;
}

/* Those that come too late. */
static void refuse(struct letter *l)
{
    if (l->done != NULL)
        l->done(l->arg, -ESHUTDOWN, NULL, 0);
    letter_free(l);
}

static void take_letter(struct node *n, struct letter *l)
{
    static void (*const takers[])(struct node * n, struct letter * l) = {
        [LETTER_SUBMIT] = take_submit, [LETTER_BARRIER] = take_barrier,
        [LETTER_CANCEL] = take_cancel, [LETTER_CALL] = take_call,
        [LETTER_STOP] = take_stop,
    };

    if (n->stopping)
        refuse(l);
    else
        takers[l->kind](n, l);
}

static bool take_mail(struct node *n)
{
    struct inbox_list list = STAILQ_HEAD_INITIALIZER(list);
    bool some = inbox_take(&n->inbox, &list);

    while (!STAILQ_EMPTY(&list)) {
        struct inbox_item *item = STAILQ_FIRST(&list);

        STAILQ_REMOVE_HEAD(&list, link);
        take_letter(n, CONTAINER_OF(item, struct letter, item));
    }
    return some;
}

/* As in the client: barrier_earliest is a lower bound, made exact each time it is reached. */
static void expire_barriers(struct node *n, uint64_t now)
{
    struct letter *l, *following;

    if (now < n->barrier_earliest)
        return;
    n->barrier_earliest = NEVER;
    HASH_ITER(hh, n->waiting, l, following)
    {
        if (l->kind != LETTER_BARRIER)
            continue;
        if (l->deadline_ms <= now)
            give_up_barrier(n, l, -ETIMEDOUT); /* its done cannot touch the table: inbox only */
        else
            n->barrier_earliest = min_u64(n->barrier_earliest, l->deadline_ms);
    }
}

/* ---- The turn ----------------------------------------------------------------------------------
 */

static uint64_t deadline(const struct node *n)
{
    return min_u64(n->barrier_earliest,
                   min_u64(client_deadline(n->client), driver_deadline(n->driver)));
}

static void on_timer(uv_timer_t *timer BASE_UNUSED)
{
    /* It has ended the poll; what is due is found by the turn. */
}

static void set_timer(struct node *n)
{
    uint64_t when = deadline(n), now = clock_boot_ms();

    if (when == NEVER) {
        uv_timer_stop(&n->timer);
        return;
    }
    uv_update_time(&n->loop); /* a commit may have taken long */
    check(uv_timer_start(&n->timer, on_timer, when > now ? when - now : 0, 0) == 0);
}

static void close_all(struct node *n);

static void turn(struct node *n)
{
    n->dirty = false;
    for (unsigned round = 0; round < TURN_ROUNDS; round++) {
        bool mail = take_mail(n);

        if (n->stopping) {
            close_all(n);
            return;
        }
        if (round > 0 && !mail && deadline(n) > clock_boot_ms())
            break;
        client_turn(n->client);
        driver_turn(n->driver);
        expire_barriers(n, clock_boot_ms());
    }
    inbox_unwatch(&n->inbox);
    if (n->tcp != NULL)
        tcp_flush(n->tcp);
    set_timer(n);
}

static void turn_if_due(struct node *n)
{
    if (!n->stopping && (n->dirty || deadline(n) <= clock_boot_ms()))
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
    struct node *n = arg;

    n->dirty = true;
}

static void on_tick(uv_timer_t *tick)
{
    struct node *n = tick->data;

    n->env.on_tick(n->env.ctx);
    n->dirty = true;
}

/* ---- What the driver needs ---------------------------------------------------------------------
 */

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
    struct node *n = ctx;

    if (n->tcp != NULL)
        tcp_send(n->tcp, peer, message);
    else
        buf_fini(message);
}

static bool env_linked(void *ctx, uint64_t peer)
{
    struct node *n = ctx;

    return n->tcp != NULL && tcp_linked(n->tcp, peer);
}

static size_t env_queued(void *ctx, uint64_t peer)
{
    struct node *n = ctx;

    return n->tcp != NULL ? tcp_queued(n->tcp, peer) : 0;
}

static void env_flush(void *ctx)
{
    struct node *n = ctx;

    if (n->tcp != NULL)
        tcp_flush(n->tcp);
}

static void env_members(void *ctx, const struct driver_member *members, unsigned count)
{
    struct node *n = ctx;

    if (n->tcp != NULL)
        tcp_members(n->tcp, members, count);
    else if (count > 1)
        log_warn("there are %u members, but no address to listen on: they cannot be reached",
                 count);
}

static void env_leader(void *ctx, uint64_t leader, uint64_t term)
{
    struct node *n = ctx;

    n->leader = leader;
    n->term = term;
    client_leader(n->client, leader, term);
    n->env.on_leader(n->env.ctx, leader, term);
}

static void env_applied(void *ctx, uint64_t applied)
{
    struct node *n = ctx;

    n->env.on_applied(n->env.ctx, applied);
}

static void env_installed(void *ctx, uint64_t applied)
{
    struct node *n = ctx;

    n->env.on_installed(n->env.ctx, applied); /* caches first, then replies */
    client_installed(n->client);
}

static void env_barrier(void *ctx, uint64_t ticket)
{
    struct node *n = ctx;
    struct letter *l = find(n, ticket);

    if (l != NULL)
        complete(n, l, 0, NULL, 0);
}

static void env_app(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    struct node *n = ctx;

    n->env.on_app(n->env.ctx, from, data, len);
}

/* ---- What the client needs ---------------------------------------------------------------------
 */

static bool env_propose(void *ctx, struct buf *entry)
{
    struct node *n = ctx;

    return driver_propose(n->driver, entry);
}

static struct buf env_open(void *ctx, uint64_t nonce)
{
    struct node *n = ctx;

    return n->env.open_command(n->env.ctx, nonce);
}

static struct buf env_noop(void *ctx)
{
    struct node *n = ctx;

    return n->env.noop_command(n->env.ctx);
}

static int env_stored_reply(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct node *n = ctx;

    return n->env.stored_reply(n->env.ctx, session, seq, out);
}

static void env_session(void *ctx, uint64_t session)
{
    struct node *n = ctx;

    n->env.on_session(n->env.ctx, session);
}

/* ---- What the links tell -----------------------------------------------------------------------
 */

static void on_link(void *ctx, uint64_t peer, bool up)
{
    struct node *n = ctx;

    if (n->stopping)
        return;
    driver_link(n->driver, peer, up);
    if (up && peer == n->leader) /* what was on its way in the old link is lost */
        client_leader(n->client, n->leader, n->term);
    n->dirty = true;
}

static bool on_message(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
    struct node *n = ctx;

    if (n->stopping)
        return true;
    n->dirty = true;
    return driver_receive(n->driver, peer, data, len);
}

/* ---- Beginning and end -------------------------------------------------------------------------
 */

static int start_tcp(struct node *n)
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

static void start_client(struct node *n)
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
        .seed = clock_entropy(), /* nonces must differ from those of the run before */
    };

    n->client = client_new(&config, &env);
}

static int start_driver(struct node *n)
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
    return driver_start(n->driver, n->errmsg, n->errmsg_len);
}

static void start_handles(struct node *n)
{
    inbox_init(&n->inbox, &n->loop, on_mail, n);
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

static void close_all(struct node *n)
{
    inbox_sleep(&n->inbox);
    uv_close((uv_handle_t *)&n->timer, NULL);
    uv_close((uv_handle_t *)&n->tick, NULL);
    uv_close((uv_handle_t *)&n->prepare, NULL);
    uv_close((uv_handle_t *)&n->check, NULL);
    if (n->tcp != NULL)
        tcp_stop(n->tcp);
    n->tcp = NULL;
}

/* Nothing is open any more: whoever waits is told. */
static void finish(struct node *n)
{
    struct letter *l, *following;

    HASH_ITER(hh, n->waiting, l, following)
    {
        if (l->kind == LETTER_BARRIER)
            complete(n, l, -ESHUTDOWN, NULL, 0);
    }
    client_free(n->client);
    while (take_mail(n))
        continue;
    check(n->waiting == NULL);
    if (n->driver != NULL)
        driver_free(n->driver);
    check(uv_loop_close(&n->loop) == 0);
}

static int begin(struct node *n)
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
    struct node *n = arg;

    n->thread = pthread_self(); /* pthread_create may return later than callbacks come */
    n->err = begin(n);
    n->dirty = true;
    if (n->err != 0) {
        n->stopping = true;
        close_all(n);
    }
    if (n->err == 0)
        check(sem_post(&n->started) == 0);
    uv_run(&n->loop, UV_RUN_DEFAULT);
    finish(n);
    if (n->err != 0)
        check(sem_post(&n->started) == 0);
    return NULL;
}

/* Signals are the main thread's: the loop gets none (and EPIPE instead of SIGPIPE). */
static int start_thread(struct node *n, pthread_t *out)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    check(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    err = -pthread_create(out, NULL, run, n);
    check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0)
        (void)pthread_setname_np(*out, "raft");
    return err;
}

int node_start(const struct node_config *config, const struct node_env *env, struct machine machine,
               struct node **out, char *errmsg, size_t errmsg_len)
{
    struct node *n = xcalloc(1, sizeof *n);
    pthread_t thread;
    int err;

    n->config = *config;
    n->env = *env;
    n->machine = machine;
    n->barrier_earliest = NEVER;
    n->errmsg = errmsg;
    n->errmsg_len = errmsg_len;
    check(sem_init(&n->started, 0, 0) == 0);
    *out = n;
    err = start_thread(n, &thread);
    if (err == 0) {
        while (sem_wait(&n->started) != 0)
            check(errno == EINTR);
        err = n->err;
        if (err == 0)
            return 0;
        check(pthread_join(thread, NULL) == 0);
        inbox_fini(&n->inbox);
    } else {
        snprintf(errmsg, errmsg_len, "cannot start a thread: %s", strerror(-err));
    }
    check(sem_destroy(&n->started) == 0);
    free(n);
    *out = NULL;
    return err;
}

static void post(struct node *n, const struct letter *content)
{
    struct letter *l = xmalloc(sizeof *l);

    *l = *content;
    l->node = n;
    inbox_put(&n->inbox, &l->item);
}

void node_stop(struct node *n)
{
    check(!pthread_equal(n->thread, pthread_self()));
    post(n, &(struct letter){.kind = LETTER_STOP});
    check(pthread_join(n->thread, NULL) == 0);
    while (take_mail(n))
        continue;
    inbox_fini(&n->inbox);
    check(sem_destroy(&n->started) == 0);
    free(n);
}

/* ---- Any thread --------------------------------------------------------------------------------
 */

static uint64_t post_waiting(struct node *n, struct letter *content, unsigned timeout_ms)
{
    uint64_t ticket = atomic_fetch_add(&n->last_ticket, 1) + 1;

    check(content->done != NULL);
    content->ticket = ticket;
    content->deadline_ms = timeout_ms > 0 ? clock_boot_ms() + timeout_ms : NEVER;
    post(n, content);
    return ticket;
}

uint64_t node_submit(struct node *n, struct buf *command, unsigned timeout_ms, client_done done,
                     void *arg)
{
    struct letter l = {
        .kind = LETTER_SUBMIT, .command = buf_take(command), .done = done, .arg = arg};

    return post_waiting(n, &l, timeout_ms);
}

uint64_t node_barrier(struct node *n, unsigned timeout_ms, client_done done, void *arg)
{
    struct letter l = {.kind = LETTER_BARRIER, .done = done, .arg = arg};

    return post_waiting(n, &l, timeout_ms);
}

void node_cancel(struct node *n, uint64_t ticket)
{
    post(n, &(struct letter){.kind = LETTER_CANCEL, .ticket = ticket});
}

void node_call(struct node *n, void (*fn)(void *arg), void *arg)
{
    post(n, &(struct letter){.kind = LETTER_CALL, .fn = fn, .arg = arg});
}

/* ---- Loop thread -------------------------------------------------------------------------------
 */

void node_applied(struct node *n, enum client_outcome outcome, uint64_t session, uint64_t seq,
                  uint64_t nonce, const uint8_t *reply, size_t len)
{
    check_thread(n);
    client_applied(n->client, outcome, session, seq, nonce, reply, len);
}

void node_status(struct node *n, struct driver_status *out)
{
    check_thread(n);
    driver_status(n->driver, out);
}

struct driver *node_driver(struct node *n)
{
    check_thread(n);
    n->dirty = true; /* whatever is done with it, a turn follows */
    return n->driver;
}

uint64_t node_session(struct node *n)
{
    check_thread(n);
    return client_session(n->client);
}

size_t node_pending(struct node *n)
{
    check_thread(n);
    return client_pending(n->client);
}

uv_loop_t *node_loop(struct node *n)
{
    check_thread(n);
    return &n->loop;
}
