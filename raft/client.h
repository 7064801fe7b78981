/* SPDX-License-Identifier: Apache-2.0 */
/* The exactly-once client of the log: one per daemon, on the loop thread.
 *
 * It opens a session through the log, numbers the commands 1, 2, 3 …, keeps them in a queue in
 * that order, proposes them, and proposes again whatever a change of leader may have lost. The
 * state machine applies each number once and in order (FIFO client order, as ZooKeeper has it), so
 * the head of the queue always completes first. A command completes in exactly one place: when its
 * own member has applied it (P3), or when it is given up.
 * Source: Ongaro, Consensus: Bridging Theory and Practice, 6.3 (linearizable client sessions).
 *
 * What the application of an entry answered enters through client_applied, after the transaction
 * is committed; replies missed because a snapshot was installed enter through client_installed. */
#ifndef RAFT_CLIENT_H
#define RAFT_CLIENT_H

#include "base/base.h"
#include "base/buf.h"

struct client;

/* err: 0 and the reply's bytes (borrowed), or -EINTR (cancelled), -ETIMEDOUT (deadline; it may
 * still be applied if it was on its way), -ESTALE (the session was lost), -ESHUTDOWN. */
typedef void (*client_done)(void *arg, int err, const uint8_t *reply, size_t len);

struct client_env {
    void *ctx;
    uint64_t (*now_ms)(void *ctx);
    int64_t (*real_ns)(void *ctx);                 /* for the stamps */
    bool (*propose)(void *ctx, struct buf *entry); /* driver_propose */
    /* The bytes of an OpenSession command with this nonce (no stamp); gives. */
    struct buf (*open_command)(void *ctx, uint64_t nonce);
    /* The bytes of a command that changes nothing (replaces abandoned ones); gives. */
    struct buf (*noop_command)(void *ctx);
    /* The stored reply of (session, seq), after a snapshot was installed: 1 found (gives),
     * 0 not applied yet, -ESTALE when there is no such session. */
    int (*stored_reply)(void *ctx, uint64_t session, uint64_t seq, struct buf *out);
    void (*on_session)(void *ctx, uint64_t session); /* a session was opened */
};

struct client_config {
    unsigned retry_ms; /* the head of the queue is proposed again after this long */
    unsigned window;   /* commands on their way at once */
    size_t window_bytes;
    uint64_t seed; /* of the nonces */
};

struct client *client_new(const struct client_config *config, const struct client_env *env);
void client_free(struct client *c); /* completes what is left with -ESHUTDOWN */

/* Queues a command: takes the bytes (without a stamp).
 * ticket: > 0, chosen by the caller, not in use by another command; see client_cancel.
 * session: the only session in which the command may run (in any other it completes with -ESTALE);
 * 0: any session.
 * deadline_ms: in now_ms time; 0: none.
 * `done` is called exactly once, and never from within this call. */
void client_submit(struct client *c, uint64_t ticket, uint64_t session, struct buf *command,
                   uint64_t deadline_ms, client_done done, void *arg);

/* Gives up waiting: done(-EINTR) follows from within this call, unless the ticket is done or
 * unknown. What was not proposed yet never will be. */
void client_cancel(struct client *c, uint64_t ticket);

/* From the driver's and the machine's callbacks: */
void client_leader(struct client *c, uint64_t leader, uint64_t term);
/* A command of any session was applied; with `nonce` != 0 it was an OpenSession. Outcomes of
 * applied: see enum store_outcome (the same four). Borrows the reply. */
enum client_outcome { CLIENT_APPLIED, CLIENT_DUPLICATE, CLIENT_GAP, CLIENT_NO_SESSION };
void client_applied(struct client *c, enum client_outcome outcome, uint64_t session, uint64_t seq,
                    uint64_t nonce, const uint8_t *reply, size_t len);
void client_installed(struct client *c);
/* The session has ended: was closed, expired, or superseded. As NO_SESSION, but known before a
 * command was refused. */
void client_ended(struct client *c, uint64_t session);
/* The daemon is about to stop: when this session ends, no other one is opened. */
void client_leave(struct client *c);

/* Proposes, retries and expires what is due. Next time: client_deadline (UINT64_MAX: none). */
void client_turn(struct client *c);
uint64_t client_deadline(const struct client *c);

uint64_t client_session(const struct client *c); /* 0: none yet */
/* Before what time (of now_ms) nobody can have seen the session: its OpenSession was first proposed
 * then. */
uint64_t client_opened_ms(const struct client *c);
size_t client_pending(const struct client *c);

#endif
