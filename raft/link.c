/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Sending: link_send only appends to the current batch. link_flush turns the batch into one
 * uv_write, so all messages between two flushes leave in one writev. (libuv immediately writes as
 * much as the socket takes, and the rest later.) A batch owns its messages until libuv has written
 * them.
 *
 * queue_max bounds the bytes that the kernel has not taken yet: a peer that does not read must not
 * fill this member's memory. Beyond the limit the link is doomed: it looks closed immediately, but
 * on_close comes later, from the loop. The reason is that the driver calls link_send, and it must
 * not be entered again by on_close.
 *
 * TCP notices a host that vanishes without FIN or RST: by TCP_USER_TIMEOUT for unacknowledged data,
 * by keep-alive probes on idle links. Consensus has shorter timers of its own; TCP's serve to free
 * the memory and the socket of a dead link. */
#include "raft/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/frame.h"

#define USER_TIMEOUT_MS 10000
#define KEEPALIVE_IDLE  3 /* seconds */
#define KEEPALIVE_INTVL 2
#define KEEPALIVE_COUNT 3

struct message {
    uint8_t header[FRAME_HEADER];
    struct buf payload;
};

struct write_batch {
    uv_write_t req;
    struct message *messages;
    unsigned n, cap;
    struct buf coded; /* with a codec: its bytes, instead of messages */
};

enum link_state { LINK_CONNECTING, LINK_OPEN, LINK_CLOSED };

/* The legal moves between states: legal[from] has the bit of `to`. */
static const unsigned legal[] = {
    [LINK_CONNECTING] = 1u << LINK_OPEN | 1u << LINK_CLOSED,
    [LINK_OPEN] = 1u << LINK_CLOSED,
    [LINK_CLOSED] = 0,
};

struct link {
    uv_tcp_t tcp;
    uv_timer_t timer; /* limits the time until link_trust; closes a doomed link */
    uv_connect_t connect;
    struct link_config config;
    enum link_state state;
    int doomed; /* -errno; 0: not doomed */
    unsigned handles;
    void *codec;
    struct frame_reader reader;
    uint8_t *wire_in; /* with a codec: bytes from the network, before decoding */
    struct write_batch *batch;
    size_t batch_bytes;
    char name[80];
};

static void move(struct link *l, enum link_state to)
{
    check(legal[l->state] & 1u << to);
    l->state = to;
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void write_batch_free(struct write_batch *b)
{
    for (unsigned i = 0; i < b->n; i++)
        buf_fini(&b->messages[i].payload);
    free(b->messages);
    buf_fini(&b->coded);
    free(b);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;
    void (*gone)(void *owner) = l->config.env->on_gone;
    void *owner = l->config.owner;

    if (--l->handles > 0)
        return;
    if (l->batch != NULL)
        write_batch_free(l->batch);
    if (l->codec != NULL)
        l->config.codec.ops->close(l->codec);
    frame_reader_fini(&l->reader);
    free(l->wire_in);
    free(l);
    gone(owner);
}

void link_close(struct link *l, int err)
{
    if (l->state == LINK_CLOSED)
        return;
    move(l, LINK_CLOSED);
    uv_close((uv_handle_t *)&l->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
    l->config.env->on_close(l, err);
}

static void on_timer(uv_timer_t *timer)
{
    struct link *l = timer->data;

    link_close(l, l->doomed != 0 ? l->doomed : -ETIMEDOUT);
}

static void doom(struct link *l, int err)
{
    if (l->doomed != 0 || l->state == LINK_CLOSED)
        return;
    l->doomed = err;
    check(uv_timer_start(&l->timer, on_timer, 0, 0) == 0);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static void on_written(uv_write_t *req, int err)
{
    struct write_batch *b = CONTAINER_OF(req, struct write_batch, req);
    struct link *l = req->data;

    write_batch_free(b);
    if (err < 0 && err != UV_ECANCELED)
        link_close(l, err);
}

static void write_bufs(struct link *l, struct write_batch *b, const uv_buf_t *bufs, unsigned n)
{
    int err;

    b->req.data = l;
    err = uv_write(&b->req, (uv_stream_t *)&l->tcp, bufs, n, on_written);
    if (err == 0)
        return;
    write_batch_free(b);
    doom(l, err);
}

static void write_plain(struct link *l, struct write_batch *b)
{
    uv_buf_t *bufs = xcalloc(2 * (size_t)b->n, sizeof *bufs);

    for (unsigned i = 0; i < b->n; i++) {
        struct message *m = &b->messages[i];

        bufs[2 * i] = uv_buf_init((char *)m->header, FRAME_HEADER);
        bufs[2 * i + 1] = uv_buf_init((char *)m->payload.data, (unsigned)m->payload.len);
    }
    write_bufs(l, b, bufs, 2 * b->n); /* libuv copies bufs */
    free(bufs);
}

static void write_wire(struct link *l, struct buf *wire)
{
    struct write_batch *b;
    uv_buf_t out;

    if (wire->len == 0) {
        buf_fini(wire);
        return;
    }
    b = xcalloc(1, sizeof *b);
    b->coded = buf_take(wire);
    check(b->coded.len <= UINT32_MAX);
    out = uv_buf_init((char *)b->coded.data, (unsigned)b->coded.len);
    write_bufs(l, b, &out, 1);
}

static void write_coded(struct link *l, struct write_batch *b)
{
    const struct link_codec_ops *ops = l->config.codec.ops;
    struct buf wire = BUF_EMPTY;
    int err = 0;

    for (unsigned i = 0; i < b->n && err == 0; i++) {
        struct message *m = &b->messages[i];

        err = ops->encode(l->codec, m->header, FRAME_HEADER, &wire);
        if (err == 0)
            err = ops->encode(l->codec, m->payload.data, m->payload.len, &wire);
    }
    write_batch_free(b);
    if (err == 0) {
        write_wire(l, &wire);
        return;
    }
    buf_fini(&wire);
    doom(l, err);
}

void link_flush(struct link *l)
{
    struct write_batch *b = l->batch;

    if (b == NULL || !link_is_open(l))
        return;
    l->batch = NULL;
    l->batch_bytes = 0;
    if (l->codec != NULL)
        write_coded(l, b);
    else
        write_plain(l, b);
}

void link_send(struct link *l, struct buf *payload)
{
    struct write_batch *b;

    if (!link_is_open(l)) {
        buf_fini(payload);
        return;
    }
    if (link_queued(l) + FRAME_HEADER + payload->len > l->config.queue_max) {
        buf_fini(payload);
        doom(l, -ENOBUFS);
        return;
    }
    if (l->batch == NULL)
        l->batch = xcalloc(1, sizeof *l->batch);
    b = l->batch;
    if (b->n == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 8;
        b->messages = xrealloc(b->messages, b->cap * sizeof *b->messages);
    }
    frame_header(b->messages[b->n].header, payload->data, payload->len);
    l->batch_bytes += FRAME_HEADER + payload->len;
    b->messages[b->n++].payload = buf_take(payload);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested BASE_UNUSED, uv_buf_t *out)
{
    struct link *l = handle->data;
    uint8_t *at = l->wire_in;
    size_t len = FRAME_READ;

    if (at == NULL)
        frame_reader_room(&l->reader, &at, &len);
    *out = uv_buf_init((char *)at, (unsigned)len);
}

static void read_frames(struct link *l)
{
    const uint8_t *data;
    size_t len;
    int got = 0;

    while (link_is_open(l) && (got = frame_reader_next(&l->reader, &data, &len)) == 1)
        if (!l->config.env->on_frame(l, data, len))
            link_close(l, -EPROTO);
    if (got < 0)
        link_close(l, got);
}

static int decode(struct link *l, size_t n)
{
    struct buf plain = BUF_EMPTY, wire = BUF_EMPTY;
    int err = l->config.codec.ops->decode(l->codec, l->wire_in, n, &plain, &wire);
    size_t done = 0, room;
    uint8_t *at;

    if (err == 0)
        write_wire(l, &wire);
    while (err == 0 && done < plain.len && link_is_open(l)) {
        frame_reader_room(&l->reader, &at, &room);
        room = min_u64(room, plain.len - done);
        memcpy(at, plain.data + done, room);
        frame_reader_filled(&l->reader, room);
        done += room;
        read_frames(l);
    }
    buf_fini(&plain);
    buf_fini(&wire);
    return err;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf BASE_UNUSED)
{
    struct link *l = stream->data;
    int err;

    if (n < 0)
        link_close(l, (int)n);
    if (n <= 0 || l->doomed != 0)
        return;
    if (l->codec != NULL) {
        err = decode(l, (size_t)n);
        if (err < 0)
            link_close(l, err);
        return;
    }
    frame_reader_filled(&l->reader, (size_t)n);
    read_frames(l);
}

/* ---- Birth ----------------------------------------------------------------------------------- */

static struct link *link_new(uv_loop_t *loop, const struct link_config *config, bool dialled)
{
    struct link *l = xcalloc(1, sizeof *l);

    check(uv_tcp_init(loop, &l->tcp) == 0);
    check(uv_timer_init(loop, &l->timer) == 0);
    l->tcp.data = l;
    l->timer.data = l;
    l->connect.data = l;
    l->handles = 2;
    l->config = *config;
    l->state = LINK_CONNECTING;
    frame_reader_init(&l->reader, config->frame_max);
    if (config->codec.ops != NULL) {
        l->codec = config->codec.ops->open(config->codec.ctx, dialled);
        l->wire_in = xmalloc(FRAME_READ);
    }
    check(uv_timer_start(&l->timer, on_timer, config->timeout_ms, 0) == 0);
    return l;
}

static void set_name(struct link *l)
{
    struct sockaddr_storage address;
    int len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;

    if (uv_tcp_getpeername(&l->tcp, (struct sockaddr *)&address, &len) == 0) {
        if (address.ss_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const void *)&address;

            uv_ip6_name(in6, host, sizeof host);
            port = ntohs(in6->sin6_port);
        } else {
            const struct sockaddr_in *in = (const void *)&address;

            uv_ip4_name(in, host, sizeof host);
            port = ntohs(in->sin_port);
        }
    }
    snprintf(l->name, sizeof l->name, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
             port);
}

/* Errors are ignored: without an option, the link only notices trouble later. */
static void set_options(struct link *l)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTVL},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&l->tcp, &fd) != 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value);
}

static int opened(struct link *l)
{
    move(l, LINK_OPEN);
    set_name(l);
    set_options(l);
    return uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read);
}

static void on_connected(uv_connect_t *req, int err)
{
    struct link *l = req->data;

    if (l->state == LINK_CLOSED)
        return;
    if (err == 0)
        err = opened(l);
    if (err == 0)
        l->config.env->on_open(l);
    else
        link_close(l, err);
}

static void unborn_close(struct link *l BASE_UNUSED, int err BASE_UNUSED)
{
}

static void unborn_gone(void *owner BASE_UNUSED)
{
}

static const struct link_env unborn_env = {.on_close = unborn_close, .on_gone = unborn_gone};

/* The owner does not know this link yet, so it gets no callbacks. */
static int stillborn(struct link *l, int err)
{
    l->config.env = &unborn_env;
    link_close(l, err);
    return err;
}

int link_dial(uv_loop_t *loop, const struct link_config *config, const struct sockaddr *address,
              struct link **out)
{
    struct link *l = link_new(loop, config, true);
    int err = uv_tcp_connect(&l->connect, &l->tcp, address, on_connected);

    if (err != 0)
        return stillborn(l, err);
    *out = l;
    return 0;
}

int link_accept(uv_stream_t *listener, const struct link_config *config, struct link **out)
{
    struct link *l = link_new(listener->loop, config, false);
    int err = uv_accept(listener, (uv_stream_t *)&l->tcp);

    if (err == 0)
        err = opened(l);
    if (err != 0)
        return stillborn(l, err);
    *out = l;
    return 0;
}

/* ---- Small functions ------------------------------------------------------------------------- */

void link_trust(struct link *l)
{
    if (!link_is_open(l))
        return;
    l->reader.max = FRAME_MAX;
    uv_timer_stop(&l->timer);
}

bool link_vouches(const struct link *l, uint64_t id)
{
    return l->codec == NULL || l->config.codec.ops->vouches(l->codec, id);
}

bool link_is_open(const struct link *l)
{
    return l->state == LINK_OPEN && l->doomed == 0;
}

size_t link_queued(const struct link *l)
{
    return l->batch_bytes + uv_stream_get_write_queue_size((const uv_stream_t *)&l->tcp);
}

void *link_owner(const struct link *l)
{
    return l->config.owner;
}

const char *link_name(const struct link *l)
{
    return l->name;
}
