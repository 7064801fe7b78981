/* SPDX-License-Identifier: Apache-2.0 */
/* The exactly-once client of the log: one per daemon, on the loop thread.
 *
 * It opens a session through the log, numbers the commands 1, 2, 3 …, keeps them in a queue in
 * that order, and proposes them. If a change of leader may have lost proposals, it proposes them
 * again. The state machine applies each number once and in order (FIFO client order, as in
 * ZooKeeper), so the head of the queue always completes first. A command completes when its own
 * member has applied it (P3), or when it is given up.
 * Source: Ongaro, Consensus: Bridging Theory and Practice, 6.3 (linearizable client sessions).
 *
 * The outcome of an applied entry arrives through client_applied, after the transaction is
 * committed. Replies that an installed snapshot skipped are read in client_installed. */
#ifndef RAFT_CLIENT_H
#define RAFT_CLIENT_H

#include "base/base.h"
#include "base/buf.h"

struct client;

/* err: 0 and the reply's bytes (borrowed), or -EINTR (cancelled), -ETIMEDOUT (deadline passed),
 * -ESTALE (the session ended), -ESHUTDOWN. After an error, a command that was already proposed may
 * still be applied. */
typedef void (*client_done)(void *arg, int err, const uint8_t *reply, size_t len);

struct client_env {
    void *ctx;
    uint64_t (*now_ms)(void *ctx);
    int64_t (*real_ns)(void *ctx);                 /* for the stamps */
    bool (*propose)(void *ctx, struct buf *entry); /* driver_propose */
    /* The bytes of an OpenSession command with this nonce (no stamp); gives. */
    struct buf (*open_command)(void *ctx, uint64_t nonce);
    /* The bytes of a command that changes nothing; it replaces abandoned commands. Gives. */
    struct buf (*noop_command)(void *ctx);
    /* The stored reply of (session, seq), after a snapshot was installed: 1 found (gives),
     * 0 not applied yet, -ESTALE if there is no such session. */
    int (*stored_reply)(void *ctx, uint64_t session, uint64_t seq, struct buf *out);
    void (*on_session)(void *ctx, uint64_t session); /* a session was opened */
};

struct client_config {
    unsigned retry_ms;   /* without progress for so long, the queue is proposed again */
    unsigned window;     /* limit of proposed, uncompleted commands */
    size_t window_bytes; /* limit of their bytes */
    uint64_t seed;       /* of the nonces */
};

struct client *client_new(const struct client_config *config, const struct client_env *env);
void client_free(struct client *c); /* completes the remaining commands with -ESHUTDOWN */

/* Queues a command: takes the bytes (without a stamp).
 * ticket: > 0, chosen by the caller, not in use by another command; see client_cancel.
 * session: the only session in which the command may run (in any other it completes with -ESTALE);
 * 0: any session.
 * deadline_ms: in now_ms time; 0: none.
 * `done` is called exactly once, and never from within this call. */
void client_submit(struct client *c, uint64_t ticket, uint64_t session, struct buf *command,
                   uint64_t deadline_ms, client_done done, void *arg);

/* Gives up a command: calls done(-EINTR) from within this call, unless the ticket is unknown or its
 * command is complete. A command that was not yet proposed is never proposed. */
void client_cancel(struct client *c, uint64_t ticket);

/* The functions from here to client_leave may be called from the driver's callbacks. */
void client_leader(struct client *c, uint64_t leader, uint64_t term);
/* A command of any session was applied; if nonce != 0, it was an OpenSession. The outcomes are
 * those of the same names in enum store_outcome. Borrows the reply. */
enum client_outcome { CLIENT_APPLIED, CLIENT_DUPLICATE, CLIENT_GAP, CLIENT_NO_SESSION };
void client_applied(struct client *c, enum client_outcome outcome, uint64_t session, uint64_t seq,
                    uint64_t nonce, const uint8_t *reply, size_t len);
void client_installed(struct client *c);
/* The session was closed, expired, or superseded. The effect is that of CLIENT_NO_SESSION, but
 * before any command was refused. */
void client_ended(struct client *c, uint64_t session);
/* The daemon is about to stop: after the end of this session, no other is opened. */
void client_leave(struct client *c);

/* Proposes, retries and expires the due commands. Call it again at client_deadline (UINT64_MAX:
 * no deadline). */
void client_turn(struct client *c);
uint64_t client_deadline(const struct client *c);

uint64_t client_session(const struct client *c); /* 0: none yet */
/* The now_ms time of the first proposal of the session's OpenSession. No member can have seen the
 * session before. 0: not yet proposed. */
uint64_t client_opened_ms(const struct client *c);
size_t client_pending(const struct client *c);

#endif
