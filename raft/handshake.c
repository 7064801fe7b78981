/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/log.h"
#include "proto/decode.h"
#include "proto/link.pb-c.h"
#include "raft/tcp_impl.h"

#define HELLO_BUDGET (16u << 10)

static void send_hello(struct connection *c, uint64_t to)
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

void handshake_begin(struct connection *c)
{
    send_hello(c, c->peer->id);
}

/* What is wrong with it; NULL: nothing. */
static const char *hello_problem(const struct connection *c, const Cfs__Hello *hello)
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
    if (c->state == CONNECTION_CALL && hello->from != c->peer->id)
        return "it is another member than the one that was called";
    if (!link_vouches(c->link, hello->from))
        return "it has no certificate for the member it says it is";
    return NULL;
}

/* The rule for calls that cross: see tcp.h. True: this inbound call makes way for our own. */
static bool yields(const struct tcp *t, const struct peer *p)
{
    return t->id < p->id && p->call != NULL && link_is_open(p->call->link);
}

static bool accept_stranger(struct connection *c, const Cfs__Hello *hello)
{
    struct tcp *t = c->tcp;
    struct peer *p = peer_find(t, hello->from);

    if (p == NULL) {
        if (t->n_guests >= TCP_GUESTS_MAX) {
            connection_warn(c, "too many guests");
            return false;
        }
        p = peer_new(t, hello->from);
    }
    if (yields(t, p)) {
        c->explained = true;
        return false;
    }
    connection_attach(c, p);
    if (p->call != NULL)
        connection_close(p->call, NULL);
    if (p->up != NULL) {
        log_info("link with member %llu: a new call replaces the old link",
                 (unsigned long long)p->id);
        connection_close(p->up, NULL);
    }
    send_hello(c, p->id);
    connection_rise(c);
    return true;
}

static bool answered(struct connection *c)
{
    c->peer->call = NULL;
    connection_rise(c);
    return true;
}

bool handshake_receive(struct connection *c, const uint8_t *data, size_t len)
{
    ProtobufCMessage *message = decode_message(&cfs__hello__descriptor, data, len, HELLO_BUDGET);
    const char *problem = "it does not greet";
    bool ok = false;

    if (message != NULL) {
        const Cfs__Hello *hello = (const void *)message;

        problem = hello_problem(c, hello);
        ok = problem == NULL &&
             (c->state == CONNECTION_CALL ? answered(c) : accept_stranger(c, hello));
        protobuf_c_message_free_unpacked(message, NULL);
    }
    if (problem != NULL)
        connection_warn(c, problem);
    return ok;
}
