/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake: the caller's Hello, the decision of the called member, and its Hello in return.
 * raft/tcp.h has the rules. */
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

/* Returns the problem with a Hello; NULL if there is none. */
static const char *hello_problem(const struct connection *c, const Cfs__Hello *hello)
{
    const struct tcp *t = c->tcp;

    if (hello->version != TCP_VERSION)
        return "refused: the other side has another version of the protocol; run the same "
               "version of coordfs on all members";
    if (strcmp(hello->cluster, t->cluster) != 0)
        return "refused: the other side belongs to another cluster; check the cluster's name and "
               "the addresses";
    if (hello->to != t->id)
        return "refused: the other side expects another member at this address; check its list "
               "of members";
    if (hello->from == t->id || hello->from == 0)
        return "refused: the other side has the id of this member, or none; each member needs "
               "its own id";
    if (c->state == CONNECTION_CALL && hello->from != c->peer->id)
        return "closed: another member than expected answers at this address; check the list of "
               "members";
    if (!link_vouches(c->link, hello->from))
        return "refused: the other side has no certificate for its member id";
    return NULL;
}

/* The rule for simultaneous calls (see tcp.h). True: our own call wins over this inbound one. */
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
            connection_warn(c, "refused: too many callers that are not members");
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
        log_info("link with member %llu: a new call from it replaces the old link",
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
    const char *problem = "refused: the first frame is not a Hello";
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
