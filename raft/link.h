/* SPDX-License-Identifier: Apache-2.0 */
/* One connection between two members: a TCP stream of frames (raft/frame.h), on the loop thread.
 * A link does not know the identity of the other side: raft/tcp.h decides it from the first frame.
 *
 * States: connecting → open → closed, or straight to closed. link_dial and link_accept make a link.
 * link_close, an error or the other side closes it. on_close is called exactly once; after it, only
 * on_gone is called, and then the link frees itself.
 *
 * TLS plugs in here: struct link_codec stands between the frames and the stream. */
#ifndef RAFT_LINK_H
#define RAFT_LINK_H

#include <sys/socket.h>
#include <uv.h>

#include "base/base.h"
#include "base/buf.h"

struct link;

/* Converts plain bytes to the bytes on the network, and back (TLS). One codec per link. */
struct link_codec_ops {
    /* Makes a codec for one link. dialled: this side made the call. */
    void *(*open)(void *ctx, bool dialled);
    /* Takes bytes from the network. Appends the decoded bytes to plain (at most len) and the answer
     * that the codec itself needs to wire. 0, or -errno: the link is closed. */
    int (*decode)(void *codec, const uint8_t *data, size_t len, struct buf *plain,
                  struct buf *wire);
    /* Appends to wire. Before its handshake is done, it may keep the bytes until a later decode. */
    int (*encode)(void *codec, const uint8_t *data, size_t len, struct buf *wire);
    /* True if the other side has proved to be this member. Called after the first frame. */
    bool (*vouches)(void *codec, uint64_t id);
    void (*close)(void *codec);
};

struct link_codec {
    void *ctx;
    const struct link_codec_ops *ops; /* NULL: plain bytes */
};

struct link_env {
    void (*on_open)(struct link *l); /* a dialled link is connected */
    /* A frame; returning false closes the link (-EPROTO). Borrows. */
    bool (*on_frame)(struct link *l, const uint8_t *data, size_t len);
    void (*on_close)(struct link *l, int err); /* -errno; UV_EOF: the other side closed it */
    void (*on_gone)(void *owner);              /* the last callback */
};

struct link_config {
    void *owner;                /* link_owner() */
    const struct link_env *env; /* borrowed for its whole life */
    struct link_codec codec;
    size_t queue_max;    /* limit of bytes waiting to be sent; beyond it: closed (-ENOBUFS) */
    size_t frame_max;    /* limit of a frame's bytes until link_trust */
    unsigned timeout_ms; /* time until link_trust; beyond it: closed (-ETIMEDOUT) */
};

/* 0 or -errno. The loop owns the link; the owner may close it. */
int link_dial(uv_loop_t *loop, const struct link_config *config, const struct sockaddr *address,
              struct link **out);
int link_accept(uv_stream_t *listener, const struct link_config *config, struct link **out);

/* The identity of the other side is known: allows frames of full size, ends the time limit. */
void link_trust(struct link *l);
bool link_vouches(const struct link *l, uint64_t id);

/* Queues a frame: takes the payload. Drops it if the link is not open. Never closes the link within
 * the call: if the queue is too long, the loop closes the link soon. */
void link_send(struct link *l, struct buf *payload);
/* Hands all queued frames to the network, in one gathered write. */
void link_flush(struct link *l);

bool link_is_open(const struct link *l);
size_t link_queued(const struct link *l); /* bytes not yet handed to the network */
void *link_owner(const struct link *l);
const char *link_name(const struct link *l); /* the other side's address, for log lines */

/* Calls on_close(err) from within this call. */
void link_close(struct link *l, int err);

#endif
