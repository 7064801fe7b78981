/* SPDX-License-Identifier: Apache-2.0 */
/* The links to the other members: at most one per peer, each an ordered stream of messages.
 *
 * Who calls whom: both may, so that it does not matter which of the two knows the other's address
 * (a new member knows nobody, and a member that was away does not know a new one). The member with
 * the lower id calls at once and again 10 ms … 500 ms (doubling) after each failure or loss; the
 * one with the higher id is more patient (100 ms at least), so usually there is one call only.
 *
 * The greeting: the caller sends a Hello (proto/link.proto); the called one checks it, decides, and
 * answers with its own. The link is up for the called one when it has sent its Hello, for the
 * caller when it has received it. Where both call at the same time, the call of the lower id wins:
 *   - the lower id, once its own Hello is on its way, hangs up on a call from the higher;
 *   - in every other case a new call replaces whatever there was: its caller would not call if it
 *     had a link, so the old one is dead (its host may have been switched off: no FIN).
 * Both sides come to the same decision, so exactly one link survives.
 *
 * A stream that breaks is gone with all that was in it: what was sent and is not yet received is
 * lost, nothing is ever repeated or reordered within one link, and nothing of an old link arrives
 * after the first message of a new one.
 *
 * Who calls from outside the members' list is let in too, as a guest, when it knows the cluster's
 * name (and, with TLS, has a certificate for its id): it may be a member that this one has not
 * heard of yet. Guests are not called.
 *
 * What strangers can do: at most TCP_STRANGERS connections that have not said Hello, each for
 * handshake_ms and with one frame of TCP_HELLO_MAX bytes; the oldest makes room for a new one.
 * Whatever is wrong with a connection closes that connection; it is logged once a minute per kind
 * and address.
 *
 * Loop thread only. No callback comes from within tcp_send, tcp_flush, tcp_members, tcp_linked and
 * tcp_queued: they may be called from the driver's callbacks. */
#ifndef RAFT_TCP_H
#define RAFT_TCP_H

#include <uv.h>

#include "base/base.h"
#include "base/buf.h"
#include "raft/driver.h"
#include "raft/link.h"

#define TCP_VERSION   1    /* of the protocol */
#define TCP_STRANGERS 32   /* connections that have not said Hello */
#define TCP_HELLO_MAX 1024 /* bytes */

struct tcp;

struct tcp_env {
    void *ctx;
    void (*on_link)(void *ctx, uint64_t peer, bool up);
    /* False closes the link: it was no message. Borrows. */
    bool (*on_message)(void *ctx, uint64_t peer, const uint8_t *data, size_t len);
};

struct tcp_config {
    uint64_t id;
    const char *cluster;
    const char *listen;      /* HOST:PORT, [HOST]:PORT, or :PORT for all addresses; port 0: any */
    size_t queue_max;        /* bytes waiting to be sent on one link; 0: 64 MiB */
    unsigned handshake_ms;   /* 0: 3000 */
    struct link_codec codec; /* TLS, or nothing */
};

/* Listens. 0, or -errno and a reason. Copies config. */
int tcp_start(uv_loop_t *loop, const struct tcp_config *config, const struct tcp_env *env,
              struct tcp **out, char *errmsg, size_t errmsg_len);

/* Closes everything; on_link(down) comes for what was up, from within. The memory goes away by
 * itself while the loop runs on: soon, but where a name is just being resolved, only when the
 * resolver is through with it. */
void tcp_stop(struct tcp *t);

/* The members: links are kept up to all of them but config.id. Borrows. Those that are not among
 * them any more are not called again. */
void tcp_members(struct tcp *t, const struct driver_member *members, unsigned n);

/* Queues a message (1 … FRAME_MAX bytes), takes it; dropped when there is no link. */
void tcp_send(struct tcp *t, uint64_t peer, struct buf *message);
/* What was queued on any link leaves now, gathered into one write per link. */
void tcp_flush(struct tcp *t);

bool tcp_linked(const struct tcp *t, uint64_t peer);
size_t tcp_queued(const struct tcp *t, uint64_t peer); /* bytes not yet handed to the network */
unsigned tcp_port(const struct tcp *t);                /* that it listens on */
unsigned tcp_strangers(const struct tcp *t);           /* connections without a Hello */

/* HOST:PORT or [HOST]:PORT, split; the host may be empty. 0 or -EINVAL. Pure. */
int tcp_parse(const char *address, char *host, size_t host_len, char *port, size_t port_len);

#endif
