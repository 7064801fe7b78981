/* SPDX-License-Identifier: Apache-2.0 */
/* One member's consensus: the loop thread with libuv, the driver, the client and the peer links.
 * The rest of the daemon talks to it through a mailbox. Functions marked "any thread" queue a task
 * and wake the loop. All callbacks run on the loop thread.
 *
 * One iteration of the loop: libuv polls, frames from the links go to the driver, the mailbox wakes
 * the loop. One *turn* follows in the same iteration:
 *   1. the mailbox is emptied;
 *   2. the client proposes;
 *   3. the driver runs its transaction (AppendEntries leave before the sync);
 *   4. applied entries complete their commands, and follow-up work is done;
 *   5. the messages leave;
 *   6. the timer is set to the next deadline.
 * Nothing polls: an idle member sleeps until its next heartbeat or tick.
 *
 * Real time enters raft/ here: the driver and the client get it from base/clock.h. */
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

/* Callbacks on the loop thread, most of them from within the driver. From these callbacks only the
 * functions for any thread, consensus_applied, consensus_ended, consensus_session and
 * consensus_pending may be called. on_tick and the fn of consensus_run may call all functions
 * below. on_app and the done of a barrier may also call driver_send_app. */
struct consensus_env {
    void *ctx;
    struct buf (*open_command)(void *ctx, uint64_t nonce); /* as in client_env */
    struct buf (*noop_command)(void *ctx);
    int (*stored_reply)(void *ctx, uint64_t session, uint64_t seq, struct buf *out);
    /* A transaction that applied entries was committed. The callback passes the collected outcomes
     * to consensus_applied(). */
    void (*on_applied)(void *ctx, uint64_t applied);
    void (*on_installed)(void *ctx, uint64_t applied);
    void (*on_leader)(void *ctx, uint64_t leader, uint64_t term);
    void (*on_session)(void *ctx, uint64_t session);
    void (*on_app)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
    void (*on_tick)(void *ctx); /* about every 100 ms; NULL: not needed */
};

/* Starts listening and starts the thread. Returns 0, or -errno and a reason (port in use, bad
 * address …). Copies config and env; borrows their contexts and the machine until consensus_stop.
 * *out is set before the first callback; it is NULL after a failure. */
int consensus_start(const struct consensus_config *config, const struct consensus_env *env,
                    struct machine machine, struct consensus **out, char *errmsg,
                    size_t errmsg_len);

/* If this member leads, hands leadership to the voter with the longest log and waits until that one
 * leads: the others have a leader at every moment, so a planned stop costs no election timeout.
 * Waits for one election timeout at most. Returns at once if there is no other voter to lead, or if
 * another member leads already. Not on the loop thread. */
void consensus_hand_over(struct consensus *n);

/* Stops the thread, closes the links, and completes all waiting tasks with -ESHUTDOWN. A done that
 * always submits again would keep it from returning. The caller must first close its own handles
 * on consensus_loop. Functions for any thread may be called until this one returns: submitted
 * commands complete with -ESHUTDOWN, and the fn of consensus_run is not called. Not on the loop
 * thread. */
void consensus_stop(struct consensus *n);

/* Any thread. Takes the command's bytes. timeout_ms 0: no timeout. The ticket is > 0. done is
 * never called from within this call; it may submit again. */
uint64_t consensus_submit(struct consensus *n, struct buf *command, unsigned timeout_ms,
                          client_done done, void *arg);
/* The same for a command that may run in this session only (see client_submit). */
uint64_t consensus_submit_in(struct consensus *n, uint64_t session, struct buf *command,
                             unsigned timeout_ms, client_done done, void *arg);
/* Any thread: a barrier (driver_barrier). done gets no reply bytes. */
uint64_t consensus_barrier(struct consensus *n, unsigned timeout_ms, client_done done, void *arg);
/* Any thread. Cancels a command or a barrier: done(-EINTR) follows soon, unless it is complete. */
void consensus_cancel(struct consensus *n, uint64_t ticket);
/* Any thread: calls fn(arg) on the loop thread, soon. */
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
size_t consensus_pending(struct consensus *n);     /* commands that are not completed */
uv_loop_t *consensus_loop(struct consensus *n);

#endif
