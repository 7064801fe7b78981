/* SPDX-License-Identifier: Apache-2.0 */
/* The loop thread: libuv, the driver, the client and the peer links put together. The rest of the
 * daemon talks to it through an inbox: the node_ functions marked "any thread" queue a message
 * and wake the loop; the callbacks come on the loop thread.
 *
 * One iteration of the loop: libuv polls, the links' frames go to the driver, the inbox wakes us;
 * then, still in the same iteration, one *turn*: the inbox is emptied, the client proposes, the
 * driver does its transaction (its AppendEntries leave before the sync), what was applied
 * completes, what that has caused is done as well, the messages leave, and the timer is set for
 * what is due next. Nothing polls: a node that has nothing to do sleeps until its next heartbeat or
 * tick.
 *
 * This is where real time enters raft/: the driver and the client get it from base/clock.h. */
#ifndef RAFT_CONSENSUS_H
#define RAFT_CONSENSUS_H

#include <uv.h>

#include "base/base.h"
#include "raft/client.h"
#include "raft/driver.h"
#include "raft/link.h"
#include "raft/machine.h"

struct consensus;

struct consensus_config {
    struct driver_config driver;
    char cluster[65];        /* the cluster's name: checked on every link */
    const char *listen;      /* HOST:PORT, borrowed; NULL: no peers (a one-member cluster) */
    struct link_codec codec; /* TLS; zero: plain text. Borrowed */
};

/* The state machine's side of the loop, beyond struct machine. Called on the loop thread, most of
 * them from within the driver: of the functions below, only those for any thread,
 * consensus_applied, consensus_ended, consensus_session and consensus_pending may be called there,
 * and in on_tick and consensus_run's fn all. In on_app and in a barrier's done, driver_send_app may
 * be called, too. */
struct consensus_env {
    void *ctx;
    struct buf (*open_command)(void *ctx, uint64_t nonce); /* as client_env */
    struct buf (*noop_command)(void *ctx);
    int (*stored_reply)(void *ctx, uint64_t session, uint64_t seq, struct buf *out);
    /* After a transaction that applied entries was committed: the machine passes what it collected
     * to consensus_applied(), then to whoever wants to know. */
    void (*on_applied)(void *ctx, uint64_t applied);
    void (*on_installed)(void *ctx, uint64_t applied);
    void (*on_leader)(void *ctx, uint64_t leader, uint64_t term);
    void (*on_session)(void *ctx, uint64_t session);
    void (*on_app)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
    void (*on_tick)(void *ctx); /* about every 100 ms; NULL: not needed */
};

/* Starts listening and the thread. 0, or -errno and a reason (port in use, bad address …).
 * Copies config and env; their contexts and the machine are borrowed until consensus_stop. *out is
 * set before the first callback, and NULL after a failure. */
int consensus_start(const struct consensus_config *config, const struct consensus_env *env,
                    struct machine machine, struct consensus **out, char *errmsg,
                    size_t errmsg_len);

/* Stops the thread, closes the links, completes what waits with -ESHUTDOWN (a done that submits
 * again at that would never end). Handles that others have opened on consensus_loop must be closed
 * before. Functions for any thread may still be called until this one returns: what is submitted
 * is completed with -ESHUTDOWN, consensus_run's fn is not called. Not on the loop. */
void consensus_stop(struct consensus *n);

/* Any thread. Takes the command's bytes. timeout_ms 0: waits for ever. The ticket is > 0. done is
 * never called from within, and may submit again. */
uint64_t consensus_submit(struct consensus *n, struct buf *command, unsigned timeout_ms,
                          client_done done, void *arg);
/* The same, in this session or not at all (client_submit). */
uint64_t consensus_submit_in(struct consensus *n, uint64_t session, struct buf *command,
                             unsigned timeout_ms, client_done done, void *arg);
/* Any thread: a barrier (driver_barrier); done gets no reply bytes. */
uint64_t consensus_barrier(struct consensus *n, unsigned timeout_ms, client_done done, void *arg);
/* Any thread: done(-EINTR) soon, unless it was done before. Of either kind of ticket. */
void consensus_cancel(struct consensus *n, uint64_t ticket);
/* Any thread: fn(arg) on the loop thread, soon. */
void consensus_run(struct consensus *n, void (*fn)(void *arg), void *arg);

/* Loop thread only: */
void consensus_applied(struct consensus *n, enum client_outcome outcome, uint64_t session,
                       uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len);
void consensus_ended(struct consensus *n, uint64_t session); /* client_ended */
void consensus_leave(struct consensus *n);                   /* client_leave */
void consensus_status(struct consensus *n, struct driver_status *out);
struct driver *consensus_driver(struct consensus *n);
uint64_t consensus_session(struct consensus *n);
uint64_t consensus_opened_ms(struct consensus *n); /* client_opened_ms: CLOCK_BOOTTIME */
size_t consensus_pending(struct consensus *n);     /* commands not completed yet */
uv_loop_t *consensus_loop(struct consensus *n);

#endif
