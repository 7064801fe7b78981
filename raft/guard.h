/* SPDX-License-Identifier: Apache-2.0 */
/* The layer between the driver and libraft's raft_step(). Each call steps the core once or a few
 * times and gives every update to `consume`. Around each step, guards neutralise the defects of
 * libraft 0.22.1. Daemon and simulator share this file; no other file calls raft_step().
 *
 * The guards ("core" is libraft's raft_step(); "->" is the remedy):
 *
 *  G1  A result to a message of an older term has an uninitialised last_log_index. A result to
 *      prev_index 0 even says "success". A leader of that older term would then commit entries that
 *      no other member has. -> last_log_index is set to 0.
 *  G2  An AppendEntries whose prev is below our log is rejected, although all of it is committed
 *      here; the leader then backs off below its known match. An AppendEntries with prev 0 is
 *      appended above a snapshot as if it were new. -> the message is cut to the entries above
 *      `applied`.
 *  G3  The core records the configuration of a message with the index of the message's first new
 *      entry. -> messages are split so that a CHANGE is always first.
 *  G4  If a second CHANGE arrives before the first is known to be committed, the core forgets the
 *      first; a rollback would return to the configuration before it. But a leader appends the
 *      second only after the first is committed. -> the first is confirmed before the second is
 *      stepped.
 *  G5  A change of the members before an entry of the leader's own term is committed can elect two
 *      leaders (Ongaro, raft-dev 2015). -> guard_may_change().
 *  G6  A member that is not a voter in its own configuration never votes and never forgets a dead
 *      leader. If a leader dies while it promotes that member, the cluster can be stuck.
 *      -> the member votes (its vote counts only if the candidate's configuration has it as a
 *      voter), and it forgets its leader at a timeout.
 *  G7  The result of a pre-vote echoes the candidate's term. A candidate with the longer log and
 *      the lower term never learns the higher term. -> a refusal carries our term if it is higher.
 *  G8  A late rejection of entries that match already makes next_index <= match_index.
 *      -> the rejection is dropped, and hints below the match are raised to it.
 *  G9  Unless this member is a candidate, the core reads a vote's result through the wrong member
 *      of a union. -> the result is then dropped.
 *  G10 A transfer sends a single TimeoutNow, even to a follower that lags and refuses it.
 *      -> guard_transfer() acts only if the target has the whole log and no change is pending.
 *  G11 The core only asserts the claims of messages, and assertions are compiled out.
 *      -> guard_receive drops impossible messages: two leaders in one term, a conflict with a
 *      committed entry, forged senders. The core's commit index may also go backwards.
 *      -> the guard restores it.
 *  G12 While a snapshot is being installed, the core can neither abort nor vote, and its trail is
 *      empty. -> guard_install() is called only with the complete snapshot at hand, and
 *      guard_installed() follows before anything else is stepped.
 *  G13 Every RAFT_TIMEOUT of a leader sets followers that were silent since the previous one back
 *      to probing, and a probe is sent once per heartbeat timeout. -> the core's heartbeat timeout
 *      is 1 ms, and the leader's ticks have the driver's own period (GUARD_HEARTBEAT_MS,
 *      driver.c).
 *  G14 Each probe carries all outstanding entries. -> guard_probe_cut().
 *  G15 On a conflict, the follower's hint goes back by one entry per round trip.
 *      -> it goes back by a whole term.
 *  G16 RAFT_SNAPSHOT breaks the trail if its index is not persisted or not newer than the last
 *      snapshot, or if a CHANGE at or below it is unconfirmed. -> guard_snapshot() checks this.
 *  G17 A sole voter elects itself without a new term. After a crash that lost entries which were
 *      already sent, or after the old leader removed itself, two different entries would have the
 *      same index and term. -> the sole voter first gets a new term.
 *  G18 A member never stands for election if it is not a voter in the uncommitted configuration at
 *      the end of its log. But it may be the only member with that log: then no other member can
 *      win, and the cluster is stuck (a leader that removed or demoted itself and crashed). "A
 *      server that is not part of its own latest configuration should still start new elections"
 *      (Ongaro, dissertation, 4.2.2). -> the member stands as long as it is a voter in the
 *      committed configuration, without counting its own vote. A leader that is not a voter does
 *      not commit an entry that no other member has.
 *
 * Loop thread. */
#ifndef RAFT_GUARD_H
#define RAFT_GUARD_H

#include <raft.h>

#include "base/base.h"
#include "raft/entries.h"

#define GUARD_HEARTBEAT_MS 1    /* G13: of the core; the leader's tick is the driver's own */
#define GUARD_PROBE_MAX    128u /* G14: entries in a first probe */

struct guard {
    struct raft *raft;
    const struct entries *log; /* the same log as the core's trail */
    uint64_t now;              /* virtual ms, monotonic: the time of the next steps */
    uint64_t applied;          /* kept up to date by the driver */
    uint64_t dropped;          /* number of impossible messages (G11) */
    uint64_t steps;            /* calls of raft_step() */
    /* Called with every update before the next step. The entries of an update are borrowed. */
    void (*consume)(void *ctx, struct raft_update *update);
    void *ctx;
    uint64_t leader_term;          /* the term of the last AppendEntries from the leader */
    struct raft_configuration own; /* the real configuration while `lent` (G6, G18) */
    bool lent;
};

/* RAFT_START. metadata and entries are as libraft requires. If guard_start_needs_term(), the
 * caller must first store a new term on the disk. 0 or libraft's error. */
int guard_start(struct guard *g, uint64_t term, uint64_t vote,
                struct raft_snapshot_metadata *metadata, uint64_t start_index,
                struct raft_entry *entries, unsigned n);
/* G17: does a start with this configuration in force need a new term (with a vote for itself)? */
bool guard_start_needs_term(uint64_t id, const struct raft_configuration *config);

/* A message from a peer. For AppendEntries, `entries` is the array: borrowed and changed; its
 * payloads are borrowed. */
void guard_receive(struct guard *g, struct raft_message *message, struct raft_entry *entries);

/* RAFT_TIMEOUT. A leader calls it at each tick, other members when raft_timeout() is reached. */
void guard_timeout(struct guard *g);

/* RAFT_SUBMIT of n entries whose payloads are borrowed; a CHANGE must be alone. 0 or libraft's
 * error (then no entry was taken). */
int guard_submit(struct guard *g, struct raft_entry *entries, unsigned n);

/* Call it after a transaction: all rows up to index are on the disk. */
void guard_persisted(struct guard *g, uint64_t index);

/* Call it after a CHANGE was applied. Borrows its payload. */
void guard_configuration(struct guard *g, uint64_t index, const uint8_t *data, size_t len);

/* RAFT_SNAPSHOT at `applied`; false if G16 forbids it. Borrows the configuration. */
bool guard_snapshot(struct guard *g, uint64_t term, uint64_t config_index, const uint8_t *config,
                    size_t config_len, unsigned trailing);

/* A complete snapshot at (index, term) is ready, and the core treats it as sent by `leader`. True:
 * install it, then call guard_installed() with the same arguments, and step nothing in between.
 * False: it is not needed. Borrows the configuration. */
bool guard_install(struct guard *g, uint64_t leader, uint64_t index, uint64_t term,
                   uint64_t config_index, const uint8_t *config, size_t config_len);
void guard_installed(struct guard *g, uint64_t index, uint64_t term, uint64_t config_index,
                     const uint8_t *config, size_t config_len);

/* A member reported, outside of libraft's messages, that it has all entries up to index, which is
 * committed. libraft learns it as the result of an AppendEntries. */
void guard_has(struct guard *g, uint64_t id, uint64_t index);

/* RAFT_TRANSFER. 0; -EAGAIN if the target does not have the whole log or a change is pending;
 * -ENOTCONN if this member does not lead. */
int guard_transfer(struct guard *g, uint64_t id);

/* True if the members may be changed now (G5). own_index: index of the first entry of this term. */
bool guard_may_change(const struct guard *g, uint64_t own_index);

/* Forgets the leader: its connection closed. The caller adjusts the election timer. */
void guard_forget_leader(struct guard *g);

/* G14: what was sent to a peer. guard_probe_cut returns how many of n entries after prev to send.
 */
struct guard_probe {
    uint64_t end;  /* the last index to send */
    uint64_t prev; /* prev of the last message with entries */
};
unsigned guard_probe_cut(struct guard_probe *probe, uint64_t prev, unsigned n);

/* ---- The state of the core ------------------------------------------------------------------- */
bool guard_is_leader(const struct guard *g);
uint64_t guard_leader(const struct guard *g);             /* 0: unknown */
uint64_t guard_match(const struct guard *g, uint64_t id); /* leader only; 0: unknown */
const struct raft_server *guard_find_server(const struct guard *g, uint64_t id); /* or NULL */
unsigned guard_voters(const struct guard *g);
bool guard_is_voter(const struct guard *g, uint64_t id);
bool guard_may_stand(const struct guard *g); /* may stand for election, see G18 */

/* Test programs that compile guard.c with GUARD_ABLATE can switch off guards by number. */
#ifdef GUARD_ABLATE
extern unsigned guard_ablated; /* bit n: Gn is off */
#endif

#endif
