/* SPDX-License-Identifier: Apache-2.0 */
/* The consensus driver: libraft's I/O-free core (raft_step), the guards that make it safe
 * (raft/guard.h), one database transaction per turn, replication, snapshots, forwarding of
 * proposals to the leader, and the read index.
 *
 * It does no I/O of its own: time, chance, network and disk enter through struct driver_env and
 * struct machine, so the same code runs on libuv (raft/consensus.c) and in the simulator. One
 * thread (the loop thread); no function may be called from within a callback of the driver's unless
 * it says so: callbacks that want more work done queue it for after the turn.
 *
 * The caller's sequence: driver_new, driver_start; then for ever: feed what has happened
 * (driver_receive, driver_link, driver_propose, driver_barrier), call driver_turn once per loop
 * iteration, and again when driver_deadline() is reached. */
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
    uint64_t compact_trailing; /* entries that a compaction leaves … */
    uint64_t compact_bytes;    /* … but not many more bytes than this; 0: 128 MiB */
    unsigned max_inflight;     /* entries on their way to one follower, unacknowledged */
    uint64_t seed;             /* of all chance */
    /* The first configuration, used only when the database is empty: entry 1 of the log, the same
     * on every member. Empty: this member waits to be added by a leader. Borrowed for the call. */
    const struct driver_member *members;
    unsigned n_members;
};

struct driver_env {
    void *ctx;
    uint64_t (*now_ms)(void *ctx); /* monotone */

    /* Sends one message to a peer; takes the bytes, which become empty. Never blocks: where the
     * link is down or its queue is full, the message is dropped. */
    void (*send)(void *ctx, uint64_t peer, struct buf *message);
    /* What was sent so far should leave now, not only after the turn: called before a commit that
     * syncs, so that the followers write at the same time. May be NULL. */
    void (*flush)(void *ctx);
    bool (*linked)(void *ctx, uint64_t peer);   /* is there a link right now? */
    size_t (*queued)(void *ctx, uint64_t peer); /* bytes not yet handed to the network */
    /* The set of members changed (also called once at start): links are to exist to all but self.
     * Borrows. */
    void (*members)(void *ctx, const struct driver_member *members, unsigned n);

    /* Leader or term changed; 0: no leader known. Proposals on their way may be lost. */
    void (*on_leader)(void *ctx, uint64_t leader, uint64_t term);
    /* Entries up to here are applied and their transaction is committed. */
    void (*on_applied)(void *ctx, uint64_t applied);
    /* The database was replaced by a snapshot at `applied`. */
    void (*on_installed)(void *ctx, uint64_t applied);
    /* The barrier is reached (see driver_barrier). */
    void (*on_barrier)(void *ctx, uint64_t ticket);
    /* A message of the daemon's own, see driver_send_app. Borrows. */
    void (*on_app)(void *ctx, uint64_t from, const uint8_t *data, size_t len);
};

/* Copies config; borrows env and machine's parts for its whole life. */
struct driver *driver_new(const struct driver_config *config, const struct driver_env *env,
                          struct machine machine);

/* Loads the state and starts. 0, or -errno with a reason in errmsg: -EPROTONOSUPPORT when the
 * libraft at hand does not behave like the one this was written for. */
int driver_start(struct driver *d, char *errmsg, size_t errmsg_len);
void driver_free(struct driver *d);

/* A message from a peer, as its driver's env->send was given it. Whatever the bytes are, they do
 * no harm: false when they are no message (the link should be closed). Borrows. */
BASE_MUST_USE bool driver_receive(struct driver *d, uint64_t from, const uint8_t *data, size_t len);

/* A link came up or went down. When the leader's goes down, an election follows at once (the EOF
 * rule): a process that died is noticed by its closed connections. */
void driver_link(struct driver *d, uint64_t peer, bool up);

/* Offers a log entry of type COMMAND: takes the bytes. On the leader it will be appended; on
 * others it is sent to the leader. It may get lost with the leader (never silently reordered
 * within a term): the caller sends it again when on_leader says so (raft/client.h does). What the
 * state machine would not take (machine.h, acceptable) is lost always, wherever it comes from.
 * False (and the bytes untouched) when no leader is known. */
bool driver_propose(struct driver *d, struct buf *data);

/* Asks for a linearizable point: once a quorum has confirmed the leader and this member has
 * applied everything that was committed anywhere before this call, on_barrier(ticket) is called.
 * It goes on trying through changes of leader until then, or until it is cancelled. */
void driver_barrier(struct driver *d, uint64_t ticket);
void driver_barrier_cancel(struct driver *d, uint64_t ticket);

/* A small message (<= 64 KiB) to a peer's daemon: unordered with the log, may be lost. Borrows. */
void driver_send_app(struct driver *d, uint64_t peer, const uint8_t *data, size_t len);

/* Does all that is due: steps timers, commits, applies, sends. May be called at any time. */
void driver_turn(struct driver *d);

/* When driver_turn must be called next, in env->now_ms time; <= now: at once. */
uint64_t driver_deadline(const struct driver *d);

/* ---- Membership: one change at a time, leader only ---------------------------------------------
 * 0, or -EAGAIN (another change is under way, or no entry of this term is committed yet),
 * -ENOTCONN (not the leader), -EEXIST, -ENOENT, -EINVAL. The result is seen in driver_status. */
int driver_add(struct driver *d, uint64_t id, const char *address); /* as a standby */
int driver_assign(struct driver *d, uint64_t id, enum driver_role role);
int driver_remove(struct driver *d, uint64_t id);
/* Hands leadership to a voter that is up to date (0: the most up-to-date one). */
int driver_transfer(struct driver *d, uint64_t id);

/* ---- Status ------------------------------------------------------------------------------------
 */

enum driver_state { DRIVER_FOLLOWER, DRIVER_CANDIDATE, DRIVER_LEADER };

struct driver_member_status {
    uint64_t id;
    char address[256];
    enum driver_role role;
    bool linked;
    uint64_t match;      /* leader only: what it is known to have */
    uint64_t contact_ms; /* leader only: since its last sign of life; UINT64_MAX: none yet */
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
    uint64_t no_leader_ms; /* since when no leader is known; 0: one is */
    uint64_t elections;    /* this member started */
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
