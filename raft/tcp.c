/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: raft/tcp.h has the rules, raft/tcp_impl.h the objects and files. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/tcp_impl.h"

#define QUEUE_MAX    (64u << 20)
#define HANDSHAKE_MS 3000
#define BACKLOG      128

static const struct tcp_hooks hooks = {
    .opened = handshake_begin,
    .first_frame = handshake_receive,
    .call_failed = peer_call_failed,
    .link_lost = peer_link_lost,
    .detached = peer_detach,
};

/* ---- Members --------------------------------------------------------------------------------- */

static void welcome(struct tcp *t, const struct driver_member *m)
{
    struct peer *p = peer_find(t, m->id);

    if (p == NULL)
        p = peer_new(t, m->id);
    peer_welcome(p, m->address);
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
        if (!listed(members, n, p->id))
            peer_dismiss(p);
    }
}

/* ---- The listener ---------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
    struct tcp *t = listener->data;

    if (status < 0) {
        if (log_ratelimit_allows(&t->ratelimit, uv_now(t->loop), "listener", uv_strerror(status)))
            log_warn("cannot accept a connection: %s", uv_strerror(status));
        return;
    }
    while (t->n_strangers >= TCP_STRANGERS)
        connection_close(TAILQ_FIRST(&t->strangers),
                         "closed: too many connections without a Hello");
    connection_accept(t);
}

static void on_listener_closed(uv_handle_t *handle)
{
    tcp_unref(handle->data);
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

/* libuv has errors of its own for name resolution, which are not errnos. */
static int as_errno(int err)
{
    return err > -1000 ? err : -EADDRNOTAVAIL;
}

int tcp_start(uv_loop_t *loop, const struct tcp_config *config, const struct tcp_env *env,
              struct tcp **out, char *errmsg, size_t errmsg_len)
{
    struct tcp *t = xcalloc(1, sizeof *t);
    int err;

    check(config->id > 0 && strlen(config->cluster) <= LIMIT_CLUSTER_NAME);
    t->loop = loop;
    t->env = *env;
    t->hooks = &hooks;
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
    snprintf(errmsg, errmsg_len, "cannot listen on %s: %s", t->address, uv_strerror(err));
    tcp_stop(t);
    return as_errno(err);
}

void tcp_stop(struct tcp *t)
{
    struct connection *c;
    struct peer *p, *following;

    check(!t->stopped);
    t->stopped = true;
    uv_close((uv_handle_t *)&t->listener, on_listener_closed);
    for (c = LIST_FIRST(&t->connections); c != NULL; c = LIST_NEXT(c, of_tcp))
        connection_close(c, NULL);
    for (p = LIST_FIRST(&t->peers); p != NULL; p = following) {
        following = LIST_NEXT(p, of_tcp);
        peer_dismiss(p);
    }
}

/* ---- Sending, and small functions ------------------------------------------------------------ */

static struct link *link_of(const struct tcp *t, uint64_t peer)
{
    const struct peer *p = peer_find(t, peer);

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

    for (p = LIST_FIRST(&t->peers); p != NULL; p = LIST_NEXT(p, of_tcp))
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
