/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: a stranger or a call, then a peer's link. It reports through struct tcp_hooks,
 * and it logs the reason of an end that the other side caused. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/tcp_impl.h"

/* The legal moves between states: legal[from] has the bit of `to`. */
static const unsigned legal[] = {
    [CONNECTION_STRANGER] = 1u << CONNECTION_UP | 1u << CONNECTION_CLOSED,
    [CONNECTION_CALL] = 1u << CONNECTION_UP | 1u << CONNECTION_CLOSED,
    [CONNECTION_UP] = 1u << CONNECTION_CLOSED,
    [CONNECTION_CLOSED] = 0,
};

static void move(struct connection *c, enum connection_state to)
{
    struct tcp *t = c->tcp;

    check(legal[c->state] & 1u << to);
    if (c->state == CONNECTION_STRANGER) {
        TAILQ_REMOVE(&t->strangers, c, of_strangers);
        t->n_strangers--;
    }
    c->state = to;
}

/* ---- Warnings -------------------------------------------------------------------------------- */

/* A stranger's port differs in each connection, so its origin is the host without the port. */
static void format_origin(const struct connection *c, char *out, size_t size)
{
    size_t len;

    if (c->peer != NULL) {
        snprintf(out, size, "member %llu", (unsigned long long)c->peer->id);
        return;
    }
    snprintf(out, size, "%s", link_name(c->link));
    for (len = strlen(out); len > 0 && out[len] != ':'; len--)
        continue;
    out[len] = '\0';
}

void connection_warn(struct connection *c, const char *text)
{
    struct tcp *t = c->tcp;
    char origin[96];

    if (c->explained)
        return;
    c->explained = true;
    format_origin(c, origin, sizeof origin);
    if (log_ratelimit_allows(&t->ratelimit, uv_now(t->loop), origin, text))
        log_warn("connection with %s (%s): %s", origin, link_name(c->link), text);
}

static void explain(struct connection *c, int err)
{
    static const struct {
        int err;
        const char *text;
    } texts[] = {
        {-EMSGSIZE, "closed: a frame is too long or is not a frame"},
        {-EBADMSG, "closed: the checksum of a frame is wrong"},
        {-EPROTO, "closed: a message is invalid"},
        {-ENOBUFS, "closed: the other side does not read, and the queue is full"},
        {-ETIMEDOUT, "closed: the other side did not answer in time"},
    };

    if (c->state == CONNECTION_CALL && err == -ETIMEDOUT)
        return; /* peer_call_failed reports it */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].err == err)
            connection_warn(c, texts[i].text);
}

/* ---- Events of the link ---------------------------------------------------------------------- */

static void on_open(struct link *l)
{
    struct connection *c = link_owner(l);

    c->tcp->hooks->opened(c);
}

static bool on_frame(struct link *l, const uint8_t *data, size_t len)
{
    struct connection *c = link_owner(l);

    if (c->state != CONNECTION_UP)
        return c->tcp->hooks->first_frame(c, data, len);
    return c->tcp->env.on_message(c->tcp->env.ctx, c->peer->id, data, len);
}

static void link_down(struct connection *c, int err)
{
    struct peer *p = c->peer;

    p->up = NULL;
    log_info("link with member %llu (%s) is down: %s", (unsigned long long)p->id,
             link_name(c->link), uv_strerror(err));
    c->tcp->env.on_link(c->tcp->env.ctx, p->id, false);
    c->tcp->hooks->link_lost(p);
}

static void on_close(struct link *l, int err)
{
    struct connection *c = link_owner(l);
    const struct tcp *t = c->tcp;
    enum connection_state was = c->state;

    explain(c, err);
    move(c, CONNECTION_CLOSED);
    if (was == CONNECTION_CALL) {
        c->peer->call = NULL;
        t->hooks->call_failed(c->peer, err);
    } else if (was == CONNECTION_UP) {
        link_down(c, err);
    }
}

static void on_gone(void *owner)
{
    struct connection *c = owner;
    struct tcp *t = c->tcp;

    LIST_REMOVE(c, of_tcp);
    if (c->peer != NULL)
        t->hooks->detached(c->peer);
    free(c);
    tcp_unref(t);
}

static const struct link_env link_env = {on_open, on_frame, on_close, on_gone};

/* ---- Life ------------------------------------------------------------------------------------ */

static struct connection *connection_new(struct tcp *t, enum connection_state state)
{
    struct connection *c = xcalloc(1, sizeof *c);

    c->tcp = t;
    c->state = state;
    return c;
}

static struct link_config link_config(struct connection *c)
{
    struct tcp *t = c->tcp;

    return (struct link_config){
        .owner = c,
        .env = &link_env,
        .codec = t->codec,
        .queue_max = t->queue_max,
        .frame_max = TCP_HELLO_MAX,
        .timeout_ms = t->handshake_ms,
    };
}

static void adopt(struct connection *c)
{
    LIST_INSERT_HEAD(&c->tcp->connections, c, of_tcp);
    c->tcp->refs++;
}

int connection_dial(struct peer *p, const struct sockaddr *address)
{
    struct connection *c = connection_new(p->tcp, CONNECTION_CALL);
    struct link_config config = link_config(c);
    int err = link_dial(p->tcp->loop, &config, address, &c->link);

    if (err != 0) {
        free(c);
        return err;
    }
    adopt(c);
    connection_attach(c, p);
    p->call = c;
    return 0;
}

void connection_accept(struct tcp *t)
{
    struct connection *c = connection_new(t, CONNECTION_STRANGER);
    struct link_config config = link_config(c);

    if (link_accept((uv_stream_t *)&t->listener, &config, &c->link) != 0) {
        free(c); /* the other side has closed it already */
        return;
    }
    adopt(c);
    TAILQ_INSERT_TAIL(&t->strangers, c, of_strangers);
    t->n_strangers++;
}

void connection_attach(struct connection *c, struct peer *p)
{
    check(c->peer == NULL);
    c->peer = p;
    p->connections++;
}

void connection_rise(struct connection *c)
{
    struct peer *p = c->peer;

    check(p->up == NULL && p->call == NULL);
    move(c, CONNECTION_UP);
    p->up = c;
    p->up_since = uv_now(c->tcp->loop);
    p->failures = 0;
    uv_timer_stop(&p->redial);
    link_trust(c->link);
    log_info("link with member %llu (%s) is up", (unsigned long long)p->id, link_name(c->link));
    c->tcp->env.on_link(c->tcp->env.ctx, p->id, true);
}

void connection_close(struct connection *c, const char *why)
{
    if (why != NULL)
        connection_warn(c, why);
    c->explained = true;
    link_close(c->link, UV_ECANCELED);
}
