/* The loop thread: libuv, the driver, the client and the peer links put together. The rest of the
 * daemon talks to it through a mailbox: the node_ functions marked "any thread" queue a message
 * and wake the loop; the callbacks come on the loop thread. */
#ifndef RAFT_NODE_H
#define RAFT_NODE_H

#include <uv.h>

#include "base/base.h"
#include "raft/client.h"
#include "raft/driver.h"
#include "raft/machine.h"

struct node;

struct node_config {
    struct driver_config driver;
    char cluster[65];   /* the cluster's name: checked on every link */
    const char *listen; /* HOST:PORT, borrowed; NULL: no peers (a one-member cluster) */
};

/* The state machine's side of the loop, beyond struct machine. Called on the loop thread. */
struct node_env {
    void *ctx;
    struct buf (*open_command)(void *ctx, uint64_t nonce); /* as client_env */
    struct buf (*noop_command)(void *ctx);
    int (*stored_reply)(void *ctx, uint64_t session, uint64_t seq, struct buf *out);
    /* After a transaction that applied entries was committed: the machine passes what it collected
     * to node_applied(), then to whoever wants to know. */
    void (*on_applied)(void *ctx, uint64_t applied);
    void (*on_installed)(void *ctx, uint64_t applied);
    void (*on_leader)(void *ctx, uint64_t leader, uint64_t term);
    void (*on_session)(void *ctx, uint64_t session);
    void (*on_app)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
    void (*on_tick)(void *ctx); /* about every 100 ms */
};

/* Starts listening and the thread. 0, or -errno and a reason (port in use, bad address …).
 * Copies config; env and machine are borrowed until node_stop. */
int node_start(const struct node_config *config, const struct node_env *env, struct machine machine,
               struct node **out, char *errmsg, size_t errmsg_len);

/* Stops the thread, closes the links, completes what waits with -ESHUTDOWN. Not on the loop. */
void node_stop(struct node *n);

/* Any thread. Takes the command's bytes. timeout_ms 0: waits for ever. The ticket is > 0. */
uint64_t node_submit(struct node *n, struct buf *command, unsigned timeout_ms, client_done done,
                     void *arg);
/* Any thread: a barrier (driver_barrier); done gets no reply bytes. */
uint64_t node_barrier(struct node *n, unsigned timeout_ms, client_done done, void *arg);
/* Any thread: done(-EINTR) soon, unless it was done before. Of either kind of ticket. */
void node_cancel(struct node *n, uint64_t ticket);
/* Any thread: fn(arg) on the loop thread, soon. */
void node_call(struct node *n, void (*fn)(void *arg), void *arg);

/* Loop thread only: */
void node_applied(struct node *n, enum client_outcome outcome, uint64_t session, uint64_t seq,
                  uint64_t nonce, const uint8_t *reply, size_t len);
void node_status(struct node *n, struct driver_status *out);
struct driver *node_driver(struct node *n);
uint64_t node_session(struct node *n);
size_t node_pending(struct node *n); /* commands not completed yet */
uv_loop_t *node_loop(struct node *n);

#endif
