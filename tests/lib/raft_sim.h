/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a cluster in one process, on virtual time. Real drivers run over machines that
 * lose unsynced data, on a network that delays, loses, doubles, reorders and cuts. The seed
 * determines everything: the same seed gives the same digest, bit for bit.
 *
 * After every step the safety of Raft is checked (raft_sim_check.c): election safety, log matching,
 * leader completeness, state machine safety, linearizable barriers, the configuration in use.
 * A violation ends the run with raft_sim_error().
 *
 * Machines and proposals are behind interfaces, so that the real store and client can be used: see
 * struct raft_sim_backend. Time is in microseconds. */
#ifndef TESTS_LIB_RAFT_SIM_H
#define TESTS_LIB_RAFT_SIM_H

#include "base/base.h"
#include "base/buf.h"
#include "raft/driver.h"
#include "raft/machine.h"

#define RAFT_SIM_MAX 9 /* members, ids 1.. */

#define RAFT_SIM_UNNOTICED_US 3000000 /* longest time until a dead connection is noticed */

struct raft_sim;

/* The disks. `open` makes an empty one for a member; it must call the raft_sim_on_ functions. */
struct raft_sim_backend {
    void *(*open)(struct raft_sim *sim, unsigned id);
    struct machine (*machine)(void *disk);
    void (*doom)(void *disk);  /* fixes the state that the next crash leaves: that of now */
    void (*crash)(void *disk); /* the power cut; the driver is freed already */
    void (*close)(void *disk);
    uint64_t (*hash)(void *disk); /* of the state: equal at equal applied index */

    /* The layer above the driver. Each may be NULL. They are called at the same places as in the
     * daemon's loop (raft/consensus.c). Times are milliseconds of the member's own clock. */
    bool (*started)(void *disk, struct driver *driver); /* false: it must crash immediately */
    void (*stopping)(void *disk);                       /* before the driver is freed */
    void (*turn)(void *disk);                           /* before each turn of the driver */
    uint64_t (*deadline)(void *disk);
    void (*after)(void *disk); /* after each event */
    void (*on_leader)(void *disk, uint64_t leader, uint64_t term);
    void (*on_link)(void *disk, uint64_t peer, bool up);
    void (*on_applied)(void *disk, uint64_t applied);
    void (*on_installed)(void *disk, uint64_t applied);
    void (*on_barrier)(void *disk, uint64_t ticket);
    void (*barrier)(void *disk, uint64_t ticket); /* a barrier was requested */
    bool (*pending)(void *disk);                  /* true if a request waits for its answer */
    void (*load)(void *disk); /* submits a command instead of the simulator's bytes */
    void (*jump)(void *disk); /* its wall clock is set */
};

/* From within a machine: a power cut now. The event continues without an effect on others. */
void raft_sim_doom(struct raft_sim *sim, unsigned id);
/* The same, immediately. 0: no member dies, but the world ends (see raft_sim_fail). */
BASE_NORETURN void raft_sim_die(struct raft_sim *sim, unsigned id);
/* Reports a violation that the user of the simulator found. */
void raft_sim_fail(struct raft_sim *sim, const char *fmt, ...) BASE_PRINTF(2, 3);
/* Adds a line to the story; only the last lines are kept. */
void raft_sim_note(struct raft_sim *sim, const char *fmt, ...) BASE_PRINTF(2, 3);
void raft_sim_story(const struct raft_sim *sim, unsigned lines);           /* to stdout */
uint64_t raft_sim_pick(struct raft_sim *sim, uint64_t low, uint64_t high); /* low..high */
bool raft_sim_peaceful(const struct raft_sim *sim);
uint64_t raft_sim_clock_us(const struct raft_sim *sim, unsigned id); /* a member's own */
uint64_t
raft_sim_committed(const struct raft_sim *sim); /* the highest index that any member has applied */

void raft_sim_on_commit(struct raft_sim *sim, unsigned id, bool sync);
void raft_sim_on_append(struct raft_sim *sim, unsigned id, uint64_t index,
                        const struct machine_entry *entry);
void raft_sim_on_apply(struct raft_sim *sim, unsigned id, uint64_t index,
                       const struct machine_entry *entry);

extern const struct raft_sim_backend raft_sim_memory; /* tests/lib/memory_machine.h */

/* The kinds and rates of trouble. Probabilities in 1/1000, times in microseconds, 0: never. */
struct raft_sim_config {
    uint64_t seed;
    unsigned n;        /* number of members: ids 1..n */
    unsigned voters;   /* ids 1..voters are in the first configuration as voters … */
    unsigned standbys; /* … the next as standbys; the rest waits to be added */
    unsigned election_ms, heartbeat_ms, max_inflight;
    uint64_t compact_every, compact_trailing;
    unsigned delay_min, delay_max; /* of a message */
    unsigned slow, slow_max;       /* this many messages take up to slow_max */
    unsigned loss, dup, reorder;
    unsigned sync_min, sync_max; /* a synced commit takes this long */
    unsigned stall, stall_max;   /* this many take up to stall_max */
    unsigned crash_commit;       /* … end in a crash */
    uint64_t copy_size;
    unsigned copy_polls, copy_fail_one_in;
    bool lying_disks;       /* a sync does nothing */
    unsigned propose_every; /* mean time between proposals, anywhere */
    unsigned payload_max;
    unsigned barrier_every;
    unsigned crash_every, down_max;
    unsigned cut_every, cut_max; /* partitions, symmetric or one-way */
    unsigned unplug_every;       /* a connection breaks (EOF on both sides) */
    unsigned churn_every;        /* changes of the members */
    unsigned transfer_every;
    bool fresh_links;   /* when the trouble ends, all connections are repaired */
    unsigned drift_ppm; /* largest drift of a clock */
    unsigned pause_every, pause_max;
    unsigned jump_every;
    const struct raft_sim_backend *backend; /* NULL: raft_sim_memory */
    void *ctx;                              /* the backend's */
};

struct raft_sim_stats {
    uint64_t events, steps, elections, leaders, crashes, snapshots, changes, transfers;
    uint64_t proposed, applied, barriers, messages, cuts, dropped;
    uint64_t deaths, pauses, jumps;
    uint64_t heal_us, leader_us; /* the slowest */
};

/* A quiet, fast world: three voters. */
void raft_sim_defaults(struct raft_sim_config *config);
/* A different world for each seed, from nearly quiet to very bad. */
void raft_sim_random(struct raft_sim_config *config, uint64_t seed);

struct raft_sim *raft_sim_new(const struct raft_sim_config *config);
void raft_sim_free(struct raft_sim *sim);

/* Runs for this time; false after a violation. */
bool raft_sim_run(struct raft_sim *sim, uint64_t us);
/* Runs until done(), at most this time; false if it was not done, or after a violation. */
bool raft_sim_until(struct raft_sim *sim, bool (*done)(struct raft_sim *sim, void *arg), void *arg,
                    uint64_t us);
/* Ends all trouble, restarts all members, and waits until they agree; false if they do not within
 * `us`. */
bool raft_sim_heal(struct raft_sim *sim, uint64_t us);
bool raft_sim_settle(struct raft_sim *sim, uint64_t us); /* after that: until they agree again */
void raft_sim_ask(struct raft_sim *sim, unsigned id, uint64_t at); /* raft_sim_propose then */

const char *raft_sim_error(const struct raft_sim *sim); /* NULL: none */
void raft_sim_stats(const struct raft_sim *sim, struct raft_sim_stats *out);
uint64_t raft_sim_digest(const struct raft_sim *sim);
void *raft_sim_disk(struct raft_sim *sim, unsigned id);
void *raft_sim_ctx(const struct raft_sim *sim);
uint64_t raft_sim_now(const struct raft_sim *sim);
void raft_sim_print(const struct raft_sim *sim); /* what each member believes, to stdout */

/* ---- By hand --------------------------------------------------------------------------------- */
void raft_sim_crash(struct raft_sim *sim, unsigned id);
void raft_sim_start(struct raft_sim *sim, unsigned id);
void raft_sim_cut(struct raft_sim *sim, unsigned from, unsigned to, bool cut); /* one way */
void raft_sim_isolate(struct raft_sim *sim, unsigned id, bool cut); /* from all, both ways */
void raft_sim_unplug(struct raft_sim *sim, unsigned a, unsigned b); /* connects again soon */
bool raft_sim_propose(struct raft_sim *sim, unsigned id, size_t len);
uint64_t raft_sim_barrier(struct raft_sim *sim, unsigned id); /* a ticket */
bool raft_sim_barrier_done(const struct raft_sim *sim, uint64_t ticket);
/* True if the leader's configuration contains this member. */
bool raft_sim_is_member(const struct raft_sim *sim, unsigned id);
unsigned raft_sim_leader(const struct raft_sim *sim); /* of the highest term; 0: none */
struct driver *raft_sim_driver(struct raft_sim *sim, unsigned id); /* NULL: not running */
uint64_t raft_sim_applied(struct raft_sim *sim, unsigned id);
uint64_t raft_sim_hash(struct raft_sim *sim, unsigned id);
/* Call it after a driver was used directly. */
void raft_sim_kick(struct raft_sim *sim, unsigned id);

#endif
