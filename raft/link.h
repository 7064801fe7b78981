/* SPDX-License-Identifier: Apache-2.0 */
/* One connection between two members: a TCP stream of frames (raft/frame.h), on the loop thread.
 * It knows nothing of who the other side is: raft/tcp.h decides that with the first frame.
 *
 * States: connecting → open → closed, or straight to closed. A link is born by link_dial or
 * link_accept, closed by link_close, by an error or by the other side; on_close is called exactly
 * once, from then on nothing is called any more, and the memory goes away by itself after
 * on_gone.
 *
 * The seam for TLS: struct link_codec stands between the frames and the stream. */
#ifndef RAFT_LINK_H
#define RAFT_LINK_H

#include <sys/socket.h>
#include <uv.h>

#include "base/base.h"
#include "base/buf.h"

struct link;

/* Turns plain bytes into what travels, and back (TLS). One codec per link. */
struct link_codec_ops {
    /* A codec for one link; dialled: this side called. */
    void *(*open)(void *ctx, bool dialled);
    /* Bytes from the network: appends what they say to plain (which grows by at most len) and what
     * must be answered to wire. 0 or -errno: the link is closed. */
    int (*decode)(void *codec, const uint8_t *data, size_t len, struct buf *plain,
                  struct buf *wire);
    /* Appends to wire; before the handshake is done it may keep the bytes for a later decode. */
    int (*encode)(void *codec, const uint8_t *data, size_t len, struct buf *wire);
    /* After the first frame was decoded: is the other side entitled to be this member? */
    bool (*vouches)(void *codec, uint64_t id);
    void (*close)(void *codec);
};

struct link_codec {
    void *ctx;
    const struct link_codec_ops *ops; /* NULL: plain bytes */
};

struct link_env {
    void (*on_open)(struct link *l); /* a dialled link is connected */
    /* A frame; false closes the link (-EPROTO). Borrows. */
    bool (*on_frame)(struct link *l, const uint8_t *data, size_t len);
    void (*on_close)(struct link *l, int err); /* -errno; UV_EOF: the other side closed it */
    void (*on_gone)(void *owner);              /* the last one */
};

struct link_config {
    void *owner;                /* link_owner() */
    const struct link_env *env; /* borrowed for its whole life */
    struct link_codec codec;
    size_t queue_max;    /* bytes waiting to be sent; beyond, the link is closed (-ENOBUFS) */
    size_t frame_max;    /* bytes of a frame until link_trust */
    unsigned timeout_ms; /* until link_trust; beyond, it is closed (-ETIMEDOUT) */
};

/* 0 or -errno. The link is given to the loop; it may be closed by the owner. */
int link_dial(uv_loop_t *loop, const struct link_config *config, const struct sockaddr *address,
              struct link **out);
int link_accept(uv_stream_t *listener, const struct link_config *config, struct link **out);

/* The other side is known: frames of full size, no more time limit. */
void link_trust(struct link *l);
bool link_vouches(const struct link *l, uint64_t id);

/* Queues a frame: takes the payload. Dropped when the link is not open. Never closes the link
 * within the call: where the queue is too long, it is closed from the loop soon. */
void link_send(struct link *l, struct buf *payload);
/* Hands all that is queued to the network, in one gathered write. */
void link_flush(struct link *l);

bool link_is_open(const struct link *l);
size_t link_queued(const struct link *l); /* bytes not yet handed to the network */
void *link_owner(const struct link *l);
const char *link_name(const struct link *l); /* the other side's address, for people */

/* Calls on_close(err) from within. */
void link_close(struct link *l, int err);

#endif
