/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of raft/tcp.h, shared by its files only:
 *
 *   tcp.c      the set: who is a member, being called, sending, the end
 *   peer.c     one member or guest: when and how it is called
 *   connection.c  one connection, from the first byte to the last
 *   handshake.c  the Hello, and what is decided with it
 *
 * A *peer* is a member (or a guest) with at most one link that is up, and at most one call on its
 * way. A *connection* is one connection: first a stranger (inbound) or a call (dialled), then, once
 * greeted, the peer's link. Both are freed from the loop: a connection when its link is gone, a
 * peer when it is no member any more, no connection points to it and no name is being resolved for
 * it. struct tcp itself goes last: `refs` counts connections, peers and the listener. */
#ifndef RAFT_TCP_IMPL_H
#define RAFT_TCP_IMPL_H

#include <sys/queue.h>

#include "proto/limits.h"
#include "raft/log_ratelimit.h"
#include "raft/tcp.h"

#define TCP_GUESTS_MAX LIMIT_MEMBERS_MAX

enum connection_state { CONNECTION_STRANGER, CONNECTION_CALL, CONNECTION_UP, CONNECTION_CLOSED };

struct connection {
    LIST_ENTRY(connection) of_tcp;
    TAILQ_ENTRY(connection) of_strangers;
    struct tcp *tcp;
    struct link *link;
    enum connection_state state;
    struct peer *peer; /* strangers: NULL */
    bool explained;    /* the log has the reason why it is closed, or needs none */
};

struct peer {
    LIST_ENTRY(peer) of_tcp;
    struct tcp *tcp;
    uint64_t id;
    bool member;
    char *address; /* NULL: unknown (a guest) */
    struct connection *up;
    struct connection *call;
    unsigned connections; /* that point here */
    uint64_t up_since;    /* loop time */
    uv_timer_t redial;
    unsigned delay_ms; /* before the next call */
    unsigned calls;    /* picks one of the addresses that a name has */
    unsigned failures; /* since it was up */
    uv_getaddrinfo_t resolve;
    bool resolving;
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
    LIST_HEAD(peer_list, peer) peers;
    LIST_HEAD(connection_list, connection) connections;
    TAILQ_HEAD(stranger_list, connection) strangers; /* the oldest first */
    unsigned n_strangers;
    unsigned n_guests; /* peers that are no members */
    struct log_ratelimit ratelimit;
    bool stopped;
    unsigned refs;
};

/* tcp.c */
void tcp_unref(struct tcp *t);

/* peer.c */
struct peer *peer_find(const struct tcp *t, uint64_t id); /* may be NULL */
struct peer *peer_new(struct tcp *t, uint64_t id);        /* a guest */
/* Makes it a member and calls it when it is due; what was known of its address is replaced. */
void peer_welcome(struct peer *p, const char *address);
/* It is no member any more: calls in progress end. May free it. */
void peer_dismiss(struct peer *p);
/* A connection of its has ended: may free it. */
void peer_detach(struct peer *p);
void peer_call_failed(struct peer *p, int err);
void peer_link_lost(struct peer *p);

/* connection.c */
int connection_dial(struct peer *p, const struct sockaddr *address); /* 0 or -errno */
void connection_accept(struct tcp *t);
/* From here on the peer lives at least as long as the connection. */
void connection_attach(struct connection *c, struct peer *p);
void connection_rise(struct connection *c); /* it is its peer's link now */
void connection_close(struct connection *c,
                      const char *why); /* why: for the log; NULL: needs no reason */
void connection_warn(struct connection *c, const char *what); /* once per connection, and rarely */

/* handshake.c */
void handshake_send(struct connection *c, uint64_t to);
/* The first frame. False: the connection must be closed. */
bool handshake_receive(struct connection *c, const uint8_t *data, size_t len);

#endif
