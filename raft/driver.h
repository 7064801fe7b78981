/* SPDX-License-Identifier: Apache-2.0 */
/* The consensus driver: libraft's I/O-free core (raft_step), the guards that make it safe
 * (raft/guard.h), one database transaction per turn, replication, snapshots, forwarding of
 * proposals to the leader, and the read index.
 *
 * It does no I/O of its own: time, chance, network and disk enter through struct driver_env and
 * struct machine. The same code runs on libuv (raft/consensus.c) and in the simulator. All
 * functions belong to one thread, the loop thread. A callback must not call the driver, unless a
 * function says that it may; it queues further work until after the turn.
 *
 * The caller's sequence: driver_new, driver_start. Then, repeatedly: report events (driver_receive,
 * driver_link, driver_propose, driver_barrier), call driver_turn once per loop iteration, and call
 * it again at driver_deadline(). */
#ifndef RAFT_DRIVER_H
#define RAFT_DRIVER_H

#include "base/base.h"
#include "base/buf.h"
#include "raft/machine.h"

struct driver;

enum driver_role { DRIVER_STANDBY, DRIVER_VOTER };

struct driver_member {
    uint64_t id; /* > 0 */
    char *address;
    enum driver_role role;
};

struct driver_config {
    uint64_t id;
    unsigned election_ms;      /* election timeout: 100..60000 */
    unsigned heartbeat_ms;     /* 0: election_ms / 10 */
    uint64_t compact_every;    /* applied entries between two compactions of the log */
    uint64_t compact_trailing; /* entries that a compaction keeps … */
    uint64_t compact_bytes;    /* … within about this many bytes; 0: 128 MiB */
    unsigned max_inflight;     /* limit of unacknowledged entries per follower */
    uint64_t seed;             /* of all random numbers */
    /* The first configuration, used only if the database is empty: it becomes entry 1 of the log
     * and must be the same on every member. If it is empty, this member waits until a leader adds
     * it. Borrowed for the call. */
    const struct driver_member *members;
    unsigned n_members;
};

struct driver_env {
    void *ctx;
    uint64_t (*now_ms)(void *ctx); /* monotone */

    /* Sends one message to a peer; takes the bytes, which become empty. Never blocks: if the link
     * is down or its queue is full, the message is dropped. */
    void (*send)(void *ctx, uint64_t peer, struct buf *message);
    /* Sends the queued messages now instead of after the turn. The driver calls it before each of
     * its transactions, so that the others work at the same time. May be NULL. */
    void (*flush)(void *ctx);
    bool (*linked)(void *ctx, uint64_t peer);   /* true if the link is up */
    size_t (*queued)(void *ctx, uint64_t peer); /* bytes not yet handed to the network */
    /* The set of members changed (also called once at start). The environment keeps links to all
     * members but this one. Borrows. */
    void (*members)(void *ctx, const struct driver_member *members, unsigned n);

    /* Leader or term changed; leader 0: unknown. Proposals that are not committed may be lost. */
    void (*on_leader)(void *ctx, uint64_t leader, uint64_t term);
    /* All entries up to `applied` are applied, and their transaction is committed. */
    void (*on_applied)(void *ctx, uint64_t applied);
    /* A snapshot at `applied` replaced the database. */
    void (*on_installed)(void *ctx, uint64_t applied);
    /* The barrier is reached (see driver_barrier). */
    void (*on_barrier)(void *ctx, uint64_t ticket);
    /* A message from another daemon, see driver_send_app. Borrows. */
    void (*on_app)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
};

/* Copies config; borrows the contexts of env and machine for its whole life. */
struct driver *driver_new(const struct driver_config *config, const struct driver_env *env,
                          struct machine machine);

/* Loads the state and starts. 0, or -errno with a reason in errmsg. -EPROTONOSUPPORT: the libraft
 * found is not the version needed (raft/libraft_abi.h). */
int driver_start(struct driver *d, char *errmsg, size_t errmsg_len);
void driver_free(struct driver *d);

/* A message from a peer's env->send. Arbitrary bytes do no harm, and nothing that a broken peer
 * sends lasts: returns false if they are no valid message, name a term that no election leads to,
 * or have an entry that the state machine does not accept. The caller should then close the link.
 * Borrows. */
BASE_MUST_USE bool driver_receive(struct driver *d, uint64_t from, const uint8_t *data, size_t len);

/* A link came up or went down. If the link to the leader goes down, an election follows immediately
 * (the EOF rule): the closed connection shows that the leader's process has died. */
void driver_link(struct driver *d, uint64_t peer, bool up);

/* Offers a log entry of type COMMAND: takes the bytes. The leader appends it; another member sends
 * it to the leader. Proposals may get lost with the leader, but are never reordered within a term.
 * After on_leader the caller proposes them again (raft/client.h does). A command that the state
 * machine does not accept (machine.h, acceptable) is dropped.
 * Returns false, with the bytes untouched, if no leader is known. */
bool driver_propose(struct driver *d, struct buf *data);

/* Asks for a linearizable point. on_barrier(ticket) is called when a quorum has confirmed the
 * leader and this member has applied all entries that were committed anywhere before this call. The
 * driver keeps trying through changes of leader until the barrier is reached or cancelled. */
void driver_barrier(struct driver *d, uint64_t ticket);
void driver_barrier_cancel(struct driver *d, uint64_t ticket);

/* Sends a small message (<= 64 KiB) to a peer's daemon. It is not ordered with the log and may be
 * lost. Borrows. */
void driver_send_app(struct driver *d, uint64_t peer, const uint8_t *data, size_t len);

/* Does all due work: timers, commit, application, sending. May be called at any time. */
void driver_turn(struct driver *d);

/* The time (of env->now_ms) at which driver_turn must be called next; <= now: immediately. */
uint64_t driver_deadline(const struct driver *d);

/* ---- Membership: one change at a time, leader only ---------------------------------------------
 * 0, or -EAGAIN (another change is under way, or no entry of this term is committed yet),
 * -ENOTCONN (not the leader), -EEXIST, -ENOENT, -EINVAL. driver_status shows the result. */
int driver_add(struct driver *d, uint64_t id, const char *address); /* as a standby */
int driver_assign(struct driver *d, uint64_t id, enum driver_role role);
int driver_remove(struct driver *d, uint64_t id);
/* Hands leadership to a voter that is up to date (id 0: to the most up-to-date voter). */
int driver_transfer(struct driver *d, uint64_t id);

/* ---- Status ---------------------------------------------------------------------------------- */

enum driver_state { DRIVER_FOLLOWER, DRIVER_CANDIDATE, DRIVER_LEADER };

struct driver_member_status {
    uint64_t id;
    char address[256];
    enum driver_role role;
    bool linked;
    uint64_t match;      /* leader only: the last entry it is known to have */
    uint64_t contact_ms; /* leader only: ms since its last message; UINT64_MAX: none yet */
};

struct driver_status {
    uint64_t id;
    enum driver_state state;
    uint64_t leader; /* 0: unknown */
    uint64_t term;
    uint64_t commit;
    uint64_t applied;
    uint64_t first_index;
    uint64_t last_index;
    uint64_t no_leader_ms; /* for so long no leader is known; 0: a leader is known */
    uint64_t elections;    /* number of elections that this member started */
    uint64_t refused;      /* messages that no sound member sends */
    uint64_t snapshots_sent;
    uint64_t snapshots_installed;
    uint64_t config_index;
    bool config_pending; /* a change of the members is not committed yet */
    struct driver_member_status members[64];
    unsigned n_members;
};

void driver_status(const struct driver *d, struct driver_status *out);
bool driver_is_leader(const struct driver *d);
uint64_t driver_leading(const struct driver *d); /* the term in which this member leads, or 0 */

#endif
