/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to one peer. A call is due if the peer is a member without a link, without a call under
 * way, and without a name being resolved. Its timer then waits for delay_ms, which doubles with
 * each call; a link that was stable resets it. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/tcp_impl.h"

#define REDIAL_MIN_MS 10
#define REDIAL_MAX_MS 500
#define PATIENCE_MS   100  /* least delay of the member with the higher id */
#define STABLE_MS     1000 /* after a link that was up for so long, the delay starts again */
#define REPORT_AFTER  3    /* after this many failed calls in a row, one log line */

struct peer *peer_find(const struct tcp *t, uint64_t id)
{
    struct peer *p = LIST_FIRST(&t->peers);

    while (p != NULL && p->id != id)
        p = LIST_NEXT(p, of_tcp);
    return p;
}

struct peer *peer_new(struct tcp *t, uint64_t id)
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

/* ---- The end --------------------------------------------------------------------------------- */

static void on_gone(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    struct tcp *t = p->tcp;

    free(p->address);
    free(p);
    tcp_unref(t);
}

/* Frees a peer that is not a member and has neither connections nor a resolution. */
static void settle(struct peer *p)
{
    if (p->member || p->connections > 0 || p->resolving)
        return;
    p->tcp->n_guests--;
    LIST_REMOVE(p, of_tcp);
    uv_close((uv_handle_t *)&p->redial, on_gone);
}

void peer_detach(struct peer *p)
{
    p->connections--;
    settle(p);
}

void peer_dismiss(struct peer *p)
{
    if (!p->member)
        return; /* the end of its last connection or resolution frees it */
    p->member = false;
    p->tcp->n_guests++;
    uv_timer_stop(&p->redial);
    if (p->resolving)
        (void)uv_cancel((uv_req_t *)&p->resolve); /* if this fails, it ends by itself */
    if (p->call != NULL)
        connection_close(p->call, NULL);
    settle(p);
}

/* ---- Calling --------------------------------------------------------------------------------- */

static bool wants_call(const struct peer *p)
{
    return p->member && !p->tcp->stopped && p->up == NULL && p->call == NULL && !p->resolving;
}

static void dial(struct peer *p, const struct sockaddr *address)
{
    int err = connection_dial(p, address);

    if (err != 0)
        peer_call_failed(p, err);
}

/* Dials the next address of the name. */
static void dial_one_of(struct peer *p, const struct addrinfo *found)
{
    const struct addrinfo *a;
    unsigned n = 0, skip;

    for (a = found; a != NULL; a = a->ai_next)
        n++;
    if (n == 0) {
        peer_call_failed(p, UV_EAI_NONAME);
        return;
    }
    skip = p->calls++ % n;
    for (a = found; skip > 0; skip--)
        a = a->ai_next;
    dial(p, a->ai_addr);
}

static void on_resolved(uv_getaddrinfo_t *req, int err, struct addrinfo *found)
{
    struct peer *p = req->data;

    p->resolving = false;
    if (wants_call(p)) {
        if (err == 0)
            dial_one_of(p, found);
        else
            peer_call_failed(p, err);
    }
    uv_freeaddrinfo(found);
    settle(p);
}

/* Only names need libuv's thread pool; numeric addresses are dialled directly. */
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
        peer_call_failed(p, err);
}

/* Schedules a call after the peer's delay, if a call is due. */
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

void peer_welcome(struct peer *p, const char *address)
{
    if (p->address == NULL || strcmp(p->address, address) != 0) {
        free(p->address);
        p->address = xstrdup(address);
        p->delay_ms = 0;
    }
    if (p->member)
        return;
    p->member = true;
    p->tcp->n_guests--;
    schedule(p);
}

void peer_call_failed(struct peer *p, int err)
{
    if (++p->failures == REPORT_AFTER && p->member)
        log_info("member %llu (%s) cannot be reached: %s; trying again", (unsigned long long)p->id,
                 p->address, uv_strerror(err));
    schedule(p);
}

/* If links are lost soon after they came up, the delay keeps growing. */
void peer_link_lost(struct peer *p)
{
    if (uv_now(p->tcp->loop) - p->up_since >= STABLE_MS)
        p->delay_ms = REDIAL_MIN_MS;
    schedule(p);
}
