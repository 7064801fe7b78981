/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of raft/tcp.h, shared by its files only. Each file uses only files below it:
 *
 *   tcp.c         the set of peers, the listener, sending, the end
 *   handshake.c   the Hello, and the decision whether a connection becomes a link
 *   peer.c        one member or guest: when and how this member calls it
 *   connection.c  one connection, from its first byte to its last
 *   tcp_common.c  the life of struct tcp, addresses
 *
 * connection.c reports upwards through struct tcp_hooks.
 *
 * A *peer* is a member (or a guest). It has at most one link that is up, and at most one call under
 * way. A *connection* begins as a stranger (inbound) or as a call (outbound). After the handshake
 * it is its peer's link.
 *
 * The loop frees all of them. A connection is freed when its link is gone. A peer is freed when it
 * is no longer a member, no connection points to it, and no name is being resolved for it. struct
 * tcp is freed last: `refs` counts connections, peers and the listener. */
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
    bool explained;    /* the reason for its end was logged, or needs no log line */
};

struct peer {
    LIST_ENTRY(peer) of_tcp;
    struct tcp *tcp;
    uint64_t id;
    bool member;
    char *address; /* NULL: unknown (a guest) */
    struct connection *up;
    struct connection *call;
    unsigned connections; /* number of connections that point here */
    uint64_t up_since;    /* loop time */
    uv_timer_t redial;
    unsigned delay_ms; /* before the next call */
    unsigned calls;    /* picks one of the addresses of a name */
    unsigned failures; /* failed calls since the link was last up */
    uv_getaddrinfo_t resolve;
    bool resolving;
};

/* How connection.c reports events. None of these pointers is NULL. */
struct tcp_hooks {
    void (*opened)(struct connection *c); /* a call is connected */
    /* The first frame of a connection. False: the connection must be closed. Borrows. */
    bool (*first_frame)(struct connection *c, const uint8_t *data, size_t len);
    void (*call_failed)(struct peer *p, int err); /* -errno or a UV_ error */
    void (*link_lost)(struct peer *p);
    void (*detached)(struct peer *p); /* a connection of this peer is gone; may free the peer */
};

struct tcp {
    uv_loop_t *loop;
    struct tcp_env env;
    const struct tcp_hooks *hooks;
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
    unsigned n_guests; /* peers that are not members */
    struct log_ratelimit ratelimit;
    bool stopped;
    unsigned refs;
};

/* tcp_common.c */
void tcp_unref(struct tcp *t);

/* connection.c */
int connection_dial(struct peer *p, const struct sockaddr *address); /* 0 or -errno */
void connection_accept(struct tcp *t);
/* From now on the peer lives at least as long as the connection. */
void connection_attach(struct connection *c, struct peer *p);
void connection_rise(struct connection *c); /* it becomes its peer's link */
/* why: for the log; NULL: no log line is needed. */
void connection_close(struct connection *c, const char *why);
/* Logs a problem: at most once per connection, and rate-limited. */
void connection_warn(struct connection *c, const char *text);

/* peer.c */
struct peer *peer_find(const struct tcp *t, uint64_t id); /* may be NULL */
struct peer *peer_new(struct tcp *t, uint64_t id);        /* a guest */
/* Makes the peer a member, with this address, and schedules a call. */
void peer_welcome(struct peer *p, const char *address);
/* The peer is no longer a member: ends calls under way. May free it. */
void peer_dismiss(struct peer *p);
void peer_detach(struct peer *p); /* hooks.detached */
void peer_call_failed(struct peer *p, int err);
void peer_link_lost(struct peer *p);

/* handshake.c */
void handshake_begin(struct connection *c); /* hooks.opened: sends our Hello */
/* hooks.first_frame */
bool handshake_receive(struct connection *c, const uint8_t *data, size_t len);

#endif
