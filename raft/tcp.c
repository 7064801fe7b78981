/* Theory of operation: see raft/tcp.h for the rules; here is how they are kept.
 *
 * A *peer* is a member (or a guest) with at most one link that is up, and at most one call on its
 * way. A *contact* is one connection: first a stranger (inbound) or a call (dialled), then, once
 * greeted, the peer's link. Both are freed from the loop: a contact when its link is gone, a peer
 * when it is no member any more, no contact points to it and no name is being resolved for it.
 *
 * struct tcp itself goes last: `refs` counts contacts, peers and the listener. */
#include "raft/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <xxhash.h>

#include "base/log.h"
#include "proto/decode.h"
#include "proto/limits.h"
#include "proto/link.pb-c.h"
#include "raft/frame.h"

#define QUEUE_MAX     (64u << 20)
#define HANDSHAKE_MS  3000
#define REDIAL_MIN_MS 10
#define REDIAL_MAX_MS 500
#define PATIENCE_MS   100  /* of the higher id */
#define STABLE_MS     1000 /* a link that was up for so long is called again at once */
#define REPORT_AFTER  3    /* failed calls in a row are worth a line in the log */
#define GUESTS_MAX    LIMIT_MEMBERS_MAX
#define GRIPES        64
#define GRIPE_MS      60000
#define HELLO_BUDGET  (16u << 10)
#define BACKLOG       128

enum contact_state { CONTACT_STRANGER, CONTACT_CALL, CONTACT_UP, CONTACT_CLOSED };

static const unsigned legal[] = {
    [CONTACT_STRANGER] = 1u << CONTACT_UP | 1u << CONTACT_CLOSED,
    [CONTACT_CALL] = 1u << CONTACT_UP | 1u << CONTACT_CLOSED,
    [CONTACT_UP] = 1u << CONTACT_CLOSED,
    [CONTACT_CLOSED] = 0,
};

struct contact {
    LIST_ENTRY(contact) of_tcp;
    TAILQ_ENTRY(contact) of_strangers;
    struct tcp *tcp;
    struct link *link;
    enum contact_state state;
    struct peer *peer; /* strangers: NULL */
    bool explained;    /* the log has the reason why it is closed */
};

struct peer {
    LIST_ENTRY(peer) of_tcp;
    struct tcp *tcp;
    uint64_t id;
    bool member;
    char *address; /* NULL: unknown (a guest) */
    struct contact *up;
    struct contact *call;
    unsigned contacts; /* that point here */
    uint64_t up_since; /* loop time */
    uv_timer_t redial;
    unsigned delay_ms; /* before the next call */
    unsigned calls;    /* picks one of the addresses that a name has */
    unsigned failures; /* since it was up */
    uv_getaddrinfo_t resolve;
    bool resolving;
};

struct gripe {
    uint64_t key;
    uint64_t until;
};

struct tcp {
    uv_loop_t *loop;
    struct tcp_env env;
    uint64_t id;
    char *cluster;
    char *address;
    size_t queue_max;
    unsigned handshake_ms;
    struct link_codec codec;
    uv_tcp_t listener;
    LIST_HEAD(, peer) peers;
    LIST_HEAD(, contact) contacts;
    TAILQ_HEAD(, contact) strangers; /* the oldest first */
    unsigned n_strangers;
    unsigned n_guests;
    struct gripe gripes[GRIPES];
    bool stopped;
    unsigned refs;
};

static void schedule(struct peer *p);

static void unref(struct tcp *t)
{
    if (--t->refs > 0)
        return;
    free(t->cluster);
    free(t->address);
    free(t);
}

/* ---- Complaints --------------------------------------------------------------------------------
 */

/* Once a minute per kind and origin; of the very many origins, those that complained longest ago
 * are forgotten first. */
static bool may_gripe(struct tcp *t, const char *who, const char *what)
{
    uint64_t key = XXH3_64bits_withSeed(what, strlen(what), XXH3_64bits(who, strlen(who)));
    uint64_t now = uv_now(t->loop);
    struct gripe *slot = &t->gripes[0];

    for (size_t i = 0; i < GRIPES; i++) {
        struct gripe *g = &t->gripes[i];

        if (g->key == key && now < g->until)
            return false;
        if (g->key == key || g->until < slot->until)
            slot = g;
        if (g->key == key)
            break;
    }
    *slot = (struct gripe){key, now + GRIPE_MS};
    return true;
}

static void gripe(struct contact *c, const char *what)
{
    char who[96];
    size_t len;

    if (c->explained)
        return;
    c->explained = true;
    if (c->peer != NULL) {
        snprintf(who, sizeof who, "member %llu", (unsigned long long)c->peer->id);
    } else { /* every connection has another port: the host is what matters */
        snprintf(who, sizeof who, "%s", link_name(c->link));
        len = strlen(who);
        while (len > 0 && who[--len] != ':')
            continue;
        who[len] = '\0';
    }
    if (may_gripe(c->tcp, who, what))
        log_warn("link with %s (%s): %s", who, link_name(c->link), what);
}

static void explain(struct contact *c, int err)
{
    static const struct {
        int err;
        const char *text;
    } texts[] = {
        {-EMSGSIZE, "a frame is too long, or no frame at all"},
        {-EBADMSG, "a frame's checksum is wrong"},
        {-EPROTO, "a message makes no sense"},
        {-ENOBUFS, "it does not read what it is sent: too much is waiting"},
        {-ETIMEDOUT, "it did not answer in time"},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].err == err)
            gripe(c, texts[i].text);
}

/* ---- Peers -------------------------------------------------------------------------------------
 */

static struct peer *find_peer(const struct tcp *t, uint64_t id)
{
    struct peer *p;

    LIST_FOREACH(p, &t->peers, of_tcp)
    if (p->id == id)
        return p;
    return NULL;
}

static struct peer *new_peer(struct tcp *t, uint64_t id)
{
    struct peer *p = xcalloc(1, sizeof *p);

    p->tcp = t;
    p->id = id;
    check(uv_timer_init(t->loop, &p->redial) == 0);
    p->redial.data = p;
    p->resolve.data = p;
    LIST_INSERT_HEAD(&t->peers, p, of_tcp);
    t->refs++;
    t->n_guests++;
    return p;
}

static void set_member(struct peer *p, bool member)
{
    if (p->member == member)
        return;
    p->member = member;
    p->tcp->n_guests += member ? -1u : 1u;
}

static void on_peer_gone(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    struct tcp *t = p->tcp;

    free(p->address);
    free(p);
    unref(t);
}

/* Frees a peer that nothing is left of. Call it last. */
static void settle(struct peer *p)
{
    if (p->member || p->contacts > 0 || p->resolving)
        return;
    if (uv_is_closing((uv_handle_t *)&p->redial))
        return;
    p->tcp->n_guests--;
    LIST_REMOVE(p, of_tcp);
    uv_close((uv_handle_t *)&p->redial, on_peer_gone);
}

/* ---- Hello -------------------------------------------------------------------------------------
 */

static void send_hello(struct contact *c, uint64_t to)
{
    struct buf b = BUF_EMPTY;
    Cfs__Hello hello;

    cfs__hello__init(&hello);
    hello.version = TCP_VERSION;
    hello.cluster = c->tcp->cluster;
    hello.from = c->tcp->id;
    hello.to = to;
    hello.address = c->tcp->address;
    buf_reserve(&b, cfs__hello__get_packed_size(&hello));
    b.len = cfs__hello__pack(&hello, b.data);
    check(b.len <= TCP_HELLO_MAX);
    link_send(c->link, &b);
    link_flush(c->link);
}

/* What is wrong with it; NULL: nothing. */
static const char *hello_problem(const struct contact *c, const Cfs__Hello *hello)
{
    const struct tcp *t = c->tcp;

    if (hello->version != TCP_VERSION)
        return "it speaks another version of the protocol";
    if (strcmp(hello->cluster, t->cluster) != 0)
        return "it belongs to another cluster";
    if (hello->to != t->id)
        return "it wants to talk to another member";
    if (hello->from == t->id || hello->from == 0)
        return "it says that it is this member";
    if (c->state == CONTACT_CALL && hello->from != c->peer->id)
        return "it is another member than the one that was called";
    if (!link_vouches(c->link, hello->from))
        return "it has no certificate for the member it says it is";
    return NULL;
}

static void move(struct contact *c, enum contact_state to)
{
    struct tcp *t = c->tcp;

    check(legal[c->state] & 1u << to);
    if (c->state == CONTACT_STRANGER) {
        TAILQ_REMOVE(&t->strangers, c, of_strangers);
        t->n_strangers--;
    }
    c->state = to;
}

/* From here on the peer lives at least as long as the contact. */
static void attach(struct contact *c, struct peer *p)
{
    check(c->peer == NULL);
    c->peer = p;
    p->contacts++;
}

static void rise(struct contact *c, struct peer *p)
{
    check(p->up == NULL && p->call == NULL);
    move(c, CONTACT_UP);
    p->up = c;
    p->up_since = uv_now(p->tcp->loop);
    p->failures = 0;
    uv_timer_stop(&p->redial);
    link_trust(c->link);
    log_info("link with member %llu (%s) is up", (unsigned long long)p->id, link_name(c->link));
    c->tcp->env.on_link(c->tcp->env.ctx, p->id, true);
}

/* The rule for calls that cross: see tcp.h. True: this inbound call makes way for our own. */
static bool yields(const struct tcp *t, const struct peer *p)
{
    return t->id < p->id && p->call != NULL && link_is_open(p->call->link);
}

static bool greet_stranger(struct contact *c, const Cfs__Hello *hello)
{
    struct tcp *t = c->tcp;
    struct peer *p = find_peer(t, hello->from);

    if (p == NULL) {
        if (t->n_guests >= GUESTS_MAX) {
            gripe(c, "too many guests");
            return false;
        }
        p = new_peer(t, hello->from);
    }
    if (yields(t, p)) {
        c->explained = true;
        return false;
    }
    attach(c, p);
    if (p->call != NULL)
        link_close(p->call->link, UV_ECANCELED);
    if (p->up != NULL) {
        log_info("link with member %llu: a new call replaces the old link",
                 (unsigned long long)p->id);
        link_close(p->up->link, UV_ECANCELED);
    }
    send_hello(c, p->id);
    rise(c, p);
    return true;
}

static bool on_hello(struct contact *c, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message = decode_message(&cfs__hello__descriptor, data, len, HELLO_BUDGET);
    const char *problem = "it does not greet";
    bool ok = false;

    if (message != NULL) {
        const Cfs__Hello *hello = (const void *)message;

        problem = hello_problem(c, hello);
        if (problem == NULL && c->state == CONTACT_STRANGER) {
            ok = greet_stranger(c, hello);
        } else if (problem == NULL) {
            c->peer->call = NULL;
            rise(c, c->peer);
            ok = true;
        }
        protobuf_c_message_free_unpacked(message, NULL);
    }
    if (problem != NULL)
        gripe(c, problem);
    return ok;
}

/* ---- Contacts ----------------------------------------------------------------------------------
 */

static void on_open(struct link *l)
{
    struct contact *c = link_owner(l);

    send_hello(c, c->peer->id);
}

static bool on_frame(struct link *l, const uint8_t *data, size_t len)
{
    struct contact *c = link_owner(l);

    if (c->state != CONTACT_UP)
        return on_hello(c, data, len);
    return c->tcp->env.on_message(c->tcp->env.ctx, c->peer->id, data, len);
}

static void call_failed(struct peer *p, int err)
{
    if (++p->failures == REPORT_AFTER && p->member)
        log_info("member %llu (%s) cannot be reached: %s", (unsigned long long)p->id, p->address,
                 uv_strerror(err));
    schedule(p);
}

static void on_close(struct link *l, int err)
{
    struct contact *c = link_owner(l);
    enum contact_state was = c->state;
    struct peer *p = c->peer;

    explain(c, was == CONTACT_CALL && err == -ETIMEDOUT ? 0 : err);
    move(c, CONTACT_CLOSED);
    if (was == CONTACT_CALL) {
        p->call = NULL;
        call_failed(p, err);
    } else if (was == CONTACT_UP) {
        p->up = NULL;
        if (uv_now(p->tcp->loop) - p->up_since >= STABLE_MS)
            p->delay_ms = REDIAL_MIN_MS;
        log_info("link with member %llu (%s) is down: %s", (unsigned long long)p->id, link_name(l),
                 uv_strerror(err));
        c->tcp->env.on_link(c->tcp->env.ctx, p->id, false);
        schedule(p);
    }
}

static void on_gone(void *owner)
{
    struct contact *c = owner;
    struct tcp *t = c->tcp;
    struct peer *p = c->peer;

    LIST_REMOVE(c, of_tcp);
    free(c);
    if (p != NULL) {
        p->contacts--;
        settle(p);
    }
    unref(t);
}

static const struct link_env link_env = {on_open, on_frame, on_close, on_gone};

static struct contact *new_contact(struct tcp *t, enum contact_state state)
{
    struct contact *c = xcalloc(1, sizeof *c);

    c->tcp = t;
    c->state = state;
    return c;
}

static struct link_config link_config(struct tcp *t, struct contact *c)
{
    return (struct link_config){
        .owner = c,
        .env = &link_env,
        .codec = t->codec,
        .queue_max = t->queue_max,
        .frame_max = TCP_HELLO_MAX,
        .timeout_ms = t->handshake_ms,
    };
}

static void adopt(struct contact *c)
{
    LIST_INSERT_HEAD(&c->tcp->contacts, c, of_tcp);
    c->tcp->refs++;
}

/* ---- Calling -----------------------------------------------------------------------------------
 */

static void dial(struct peer *p, const struct sockaddr *address)
{
    struct tcp *t = p->tcp;
    struct contact *c = new_contact(t, CONTACT_CALL);
    struct link_config config = link_config(t, c);
    int err = link_dial(t->loop, &config, address, &c->link);

    if (err != 0) {
        free(c);
        call_failed(p, err);
        return;
    }
    adopt(c);
    attach(c, p);
    p->call = c;
}

static bool wants_call(const struct peer *p)
{
    return p->member && !p->tcp->stopped && p->up == NULL && p->call == NULL && !p->resolving;
}

static void on_resolved(uv_getaddrinfo_t *req, int err, struct addrinfo *found)
{
    struct peer *p = req->data;
    unsigned n = 0;

    p->resolving = false;
    for (struct addrinfo *a = found; a != NULL; a = a->ai_next)
        n++;
    if (wants_call(p)) {
        if (err == 0 && n > 0) {
            struct addrinfo *a = found;

            for (unsigned skip = p->calls++ % n; skip > 0; skip--)
                a = a->ai_next;
            dial(p, a->ai_addr);
        } else {
            call_failed(p, err != 0 ? err : UV_EAI_NONAME);
        }
    }
    uv_freeaddrinfo(found);
    settle(p);
}

/* Names need a thread of libuv's pool; plain addresses do not. */
static int resolve(struct peer *p, const char *host, const char *port)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct sockaddr_storage address;
    int number = atoi(port), err;

    if (uv_ip4_addr(host, number, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(host, number, (struct sockaddr_in6 *)&address) == 0) {
        dial(p, (struct sockaddr *)&address);
        return 0;
    }
    err = uv_getaddrinfo(p->tcp->loop, &p->resolve, on_resolved, host, port, &hints);
    p->resolving = err == 0;
    return err;
}

static void on_redial(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    char host[LIMIT_ADDRESS + 1], port[6];
    int err;

    if (!wants_call(p))
        return;
    err = tcp_parse(p->address, host, sizeof host, port, sizeof port);
    if (err == 0)
        err = resolve(p, host, port);
    if (err != 0)
        call_failed(p, err);
}

/* Calls the peer after its delay, when it should be called at all. */
static void schedule(struct peer *p)
{
    unsigned delay = p->delay_ms;

    if (!wants_call(p))
        return;
    if (p->tcp->id > p->id && delay < PATIENCE_MS)
        delay = PATIENCE_MS;
    p->delay_ms = p->delay_ms == 0 ? REDIAL_MIN_MS : 2 * p->delay_ms;
    if (p->delay_ms > REDIAL_MAX_MS)
        p->delay_ms = REDIAL_MAX_MS;
    check(uv_timer_start(&p->redial, on_redial, delay, 0) == 0);
}

static void welcome(struct tcp *t, const struct driver_member *m)
{
    struct peer *p = find_peer(t, m->id);

    if (p == NULL)
        p = new_peer(t, m->id);
    if (p->address == NULL || strcmp(p->address, m->address) != 0) {
        free(p->address);
        p->address = xstrdup(m->address);
        p->delay_ms = 0;
    }
    if (!p->member) {
        set_member(p, true);
        schedule(p);
    }
}

static bool listed(const struct driver_member *members, unsigned n, uint64_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (members[i].id == id)
            return true;
    return false;
}

void tcp_members(struct tcp *t, const struct driver_member *members, unsigned n)
{
    struct peer *p, *following;

    if (t->stopped)
        return;
    for (unsigned i = 0; i < n; i++)
        if (members[i].id != t->id)
            welcome(t, &members[i]);
    for (p = LIST_FIRST(&t->peers); p != NULL; p = following) {
        following = LIST_NEXT(p, of_tcp);
        if (listed(members, n, p->id))
            continue;
        set_member(p, false);
        uv_timer_stop(&p->redial);
        if (p->call != NULL)
            link_close(p->call->link, UV_ECANCELED);
        settle(p);
    }
}

/* ---- Being called ------------------------------------------------------------------------------
 */

static void on_connection(uv_stream_t *listener, int status)
{
    struct tcp *t = listener->data;
    struct contact *c;
    struct link_config config;

    if (status < 0) {
        if (may_gripe(t, "listener", uv_strerror(status)))
            log_warn("cannot accept a connection: %s", uv_strerror(status));
        return;
    }
    while (t->n_strangers >= TCP_STRANGERS) {
        struct contact *oldest = TAILQ_FIRST(&t->strangers);

        gripe(oldest, "too many connections that do not greet");
        link_close(oldest->link, UV_ECANCELED);
    }
    c = new_contact(t, CONTACT_STRANGER);
    config = link_config(t, c);
    if (link_accept(listener, &config, &c->link) != 0) {
        free(c); /* it hung up already */
        return;
    }
    adopt(c);
    TAILQ_INSERT_TAIL(&t->strangers, c, of_strangers);
    t->n_strangers++;
}

static void on_listener_closed(uv_handle_t *handle)
{
    unref(handle->data);
}

static int bind_address(struct tcp *t, const char *host, const char *port)
{
    static const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t req;
    int err = uv_getaddrinfo(t->loop, &req, NULL, host[0] != '\0' ? host : NULL, port, &hints);

    if (err != 0)
        return err;
    err = uv_tcp_bind(&t->listener, req.addrinfo->ai_addr, 0);
    uv_freeaddrinfo(req.addrinfo);
    return err;
}

static int start_listening(struct tcp *t, const char *listen)
{
    char host[LIMIT_ADDRESS + 1], port[6];
    int err = tcp_parse(listen, host, sizeof host, port, sizeof port);

    if (err == 0)
        err = bind_address(t, host, port);
    if (err == 0)
        err = uv_listen((uv_stream_t *)&t->listener, BACKLOG, on_connection);
    return err;
}

int tcp_start(uv_loop_t *loop, const struct tcp_config *config, const struct tcp_env *env,
              struct tcp **out, char *errmsg, size_t errmsg_len)
{
    struct tcp *t = xcalloc(1, sizeof *t);
    int err;

    check(config->id > 0 && strlen(config->cluster) <= LIMIT_CLUSTER_NAME);
    t->loop = loop;
    t->env = *env;
    t->id = config->id;
    t->cluster = xstrdup(config->cluster);
    t->address = xasprintf("%.*s", LIMIT_ADDRESS, config->listen);
    t->queue_max = config->queue_max > 0 ? config->queue_max : QUEUE_MAX;
    t->handshake_ms = config->handshake_ms > 0 ? config->handshake_ms : HANDSHAKE_MS;
    t->codec = config->codec;
    TAILQ_INIT(&t->strangers);
    check(uv_tcp_init(loop, &t->listener) == 0);
    t->listener.data = t;
    t->refs = 1;
    err = start_listening(t, config->listen);
    if (err == 0) {
        *out = t;
        return 0;
    }
    /* libuv's own errors (of name resolution) are below -1000 */
    snprintf(errmsg, errmsg_len, "cannot listen on %s: %s", t->address, uv_strerror(err));
    tcp_stop(t);
    return err > -1000 ? err : -EADDRNOTAVAIL;
}

void tcp_stop(struct tcp *t)
{
    struct contact *c;
    struct peer *p, *following;

    check(!t->stopped);
    t->stopped = true;
    uv_close((uv_handle_t *)&t->listener, on_listener_closed);
    LIST_FOREACH(c, &t->contacts, of_tcp)
    {
        c->explained = true;
        link_close(c->link, UV_ECANCELED);
    }
    for (p = LIST_FIRST(&t->peers); p != NULL; p = following) {
        following = LIST_NEXT(p, of_tcp);
        set_member(p, false);
        uv_timer_stop(&p->redial);
        if (p->resolving)
            uv_cancel((uv_req_t *)&p->resolve);
        settle(p);
    }
}

/* ---- Sending, and small things -----------------------------------------------------------------
 */

static struct link *link_of(const struct tcp *t, uint64_t peer)
{
    const struct peer *p = find_peer(t, peer);

    return p != NULL && p->up != NULL ? p->up->link : NULL;
}

void tcp_send(struct tcp *t, uint64_t peer, struct buf *message)
{
    struct link *l = link_of(t, peer);

    if (l != NULL)
        link_send(l, message);
    else
        buf_fini(message);
}

void tcp_flush(struct tcp *t)
{
    struct peer *p;

    LIST_FOREACH(p, &t->peers, of_tcp)
    if (p->up != NULL)
        link_flush(p->up->link);
}

bool tcp_linked(const struct tcp *t, uint64_t peer)
{
    const struct link *l = link_of(t, peer);

    return l != NULL && link_is_open(l);
}

size_t tcp_queued(const struct tcp *t, uint64_t peer)
{
    const struct link *l = link_of(t, peer);

    return l != NULL ? link_queued(l) : 0;
}

unsigned tcp_port(const struct tcp *t)
{
    struct sockaddr_storage address;
    int len = sizeof address;

    check(uv_tcp_getsockname(&t->listener, (struct sockaddr *)&address, &len) == 0);
    if (address.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}

unsigned tcp_strangers(const struct tcp *t)
{
    return t->n_strangers;
}

/* A number of at most 65535, with nothing around it. */
static bool is_port(const char *text)
{
    size_t len = strlen(text);

    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && atoi(text) <= 65535;
}

int tcp_parse(const char *address, char *host, size_t host_len, char *port, size_t port_len)
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || !is_port(colon + 1) || strlen(colon + 1) >= port_len)
        return -EINVAL;
    len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len) != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    if (len >= host_len)
        return -EINVAL;
    memcpy(host, address, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return 0;
}
