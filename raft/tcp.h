/* SPDX-License-Identifier: Apache-2.0 */
/* The links to the other members: at most one per peer, each an ordered stream of messages.
 *
 * Calls: both members of a pair may call, so it is enough that one of them knows the other's
 * address. (A new member knows no other, and a member that was away does not know a new one.) The
 * member with the lower id calls immediately, and again 10 ms … 500 ms (doubling) after each
 * failure or loss. The member with the higher id waits longer (at least 100 ms), so usually there
 * is only one call.
 *
 * The handshake: the caller sends a Hello (proto/link.proto). The called member checks it, decides,
 * and answers with its own Hello. The link is up for the called member when it has sent its Hello,
 * and for the caller when it has received that Hello. If both call at the same time, the call of
 * the lower id wins:
 *   - The lower id closes a call from the higher id once its own Hello is sent.
 *   - In every other case a new call replaces the existing link. A caller with a working link would
 *     not call, so the old link is dead (its host may have been switched off: no FIN).
 * Both sides come to the same decision, so exactly one link survives.
 *
 * A broken stream loses all messages that were sent but not received. Within one link, no message
 * is repeated or reordered. After the first message of a new link, no message of an old one
 * arrives.
 *
 * A caller that is not in the list of members is accepted as a guest if it knows the cluster's name
 * (and, with TLS, has a certificate for its id): it may be a member that this one does not know
 * yet. This member never calls guests.
 *
 * Limits for strangers: at most TCP_STRANGERS connections without a Hello, each for handshake_ms
 * and with one frame of TCP_HELLO_MAX bytes. The oldest makes room for a new one. Any error closes
 * the connection. It is logged once a minute per kind of error and address.
 *
 * Loop thread only. tcp_send, tcp_flush, tcp_members, tcp_linked and tcp_queued call no callbacks
 * and may be called from the driver's callbacks. */
#ifndef RAFT_TCP_H
#define RAFT_TCP_H

#include <uv.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/version.h"
#include "raft/driver.h"
#include "raft/link.h"

#define TCP_VERSION   1    /* of the protocol */
#define TCP_STRANGERS 32   /* connections without a Hello */
#define TCP_HELLO_MAX 1024 /* bytes */

struct tcp;

struct tcp_env {
    void *ctx;
    void (*on_link)(void *ctx, uint64_t peer, bool up);
    /* Returns false if the bytes are not a message; this closes the link. Borrows. */
    bool (*on_message)(void *ctx, uint64_t peer, const uint8_t *data, size_t len);
};

struct tcp_config {
    uint64_t id;
    const char *cluster;
    const char *listen;      /* HOST:PORT, [HOST]:PORT, or :PORT for all addresses; port 0: any */
    size_t queue_max;        /* limit of bytes waiting to be sent on one link; 0: 64 MiB */
    unsigned handshake_ms;   /* 0: 3000 */
    struct link_codec codec; /* TLS, or nothing */
};

/* Listens. 0, or -errno and a reason. Copies config. */
int tcp_start(uv_loop_t *loop, const struct tcp_config *config, const struct tcp_env *env,
              struct tcp **out, char *errmsg, size_t errmsg_len);

/* Closes everything, and calls on_link(down) for each link that was up, from within this call. The
 * loop frees the memory soon, or after the resolver returns if a name is being resolved. */
void tcp_stop(struct tcp *t);

/* Sets the members: links are kept to all of them except config.id. A peer that is no longer in the
 * list is not called again. Borrows. */
void tcp_members(struct tcp *t, const struct driver_member *members, unsigned n);

/* Queues a message (1 … FRAME_MAX bytes) and takes it. Drops it if there is no link. */
void tcp_send(struct tcp *t, uint64_t peer, struct buf *message);
/* Sends all queued messages now, in one gathered write per link. */
void tcp_flush(struct tcp *t);

bool tcp_linked(const struct tcp *t, uint64_t peer);
size_t tcp_queued(const struct tcp *t, uint64_t peer); /* bytes not yet handed to the network */
unsigned tcp_port(const struct tcp *t);                /* the port it listens on */
unsigned tcp_strangers(const struct tcp *t);           /* connections without a Hello */

/* Splits HOST:PORT or [HOST]:PORT; the host may be empty. 0 or -EINVAL. Pure. */
int tcp_parse(const char *address, char *host, size_t host_len, char *port, size_t port_len);

#endif
