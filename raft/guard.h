/* SPDX-License-Identifier: Apache-2.0 */
/* Everything between the driver and libraft's raft_step(): each call steps the core once or a few
 * times, with the guards that neutralise the defects of libraft 0.22.1 around each step, and gives
 * every update to `consume`. Daemon and simulator share this file; nobody else calls raft_step().
 *
 * The guards ("core" is libraft's raft_step()):
 *
 *  G1  A result to a message of an older term has last_log_index uninitialised, and one to
 *      prev_index 0 says "success": a leader of that very term would commit what nobody has.
 *      -> set to 0.
 *  G2  An AppendEntries whose prev is below our log is rejected although all of it is committed
 *      here (the leader backs off below what it knows to match), and one with prev 0 is appended
 *      above a snapshot as if it were new. -> cut to what is above `applied`.
 *  G3  The configuration in a message is recorded with the index of the message's first new entry.
 *      -> split messages so that a CHANGE is always first.
 *  G4  A second CHANGE that arrives before the first is known to be committed makes the core
 *      forget the first: a rollback would return to the one before it. But that a leader appended
 *      it proves that the first is committed. -> confirm the first one before.
 *  G5  Changing the members before an entry of the own term is committed can elect two leaders
 *      (Ongaro, raft-dev 2015). -> guard_may_change().
 *  G6  A member that is no voter in its own configuration neither votes nor ever forgets a dead
 *      leader: a promotion whose leader dies can wedge the cluster. -> it votes (its vote only
 *      counts where the candidate's configuration has it), and forgets its leader at a timeout.
 *  G7  The result of a pre-vote echoes the candidate's term, so one with the longer log and the
 *      lower term never learns the higher. -> a refusal carries our term if it is higher.
 *  G8  A late rejection of something that matches already makes next_index <= match_index.
 *      -> dropped; and hints below what matches are raised.
 *  G9  A vote's result is read through the wrong member of a union unless we are a candidate.
 *      -> dropped then.
 *  G10 A transfer sends TimeoutNow to a follower that lags, once, and it is refused.
 *      -> guard_transfer() only when the target has the whole log and no change is pending.
 *  G11 The core asserts what messages claim, with assertions compiled out. -> guard_receive drops
 *      what cannot be: two leaders in a term, a conflict with what is committed, forged senders.
 *      The core's commit index may go backwards: -> it is put back.
 *  G12 While a snapshot is being installed there is no abort, no vote, and the trail is empty.
 *      -> guard_install() is called with the whole copy at hand, and guard_installed() follows
 *      before anything else is stepped.
 *  G13 Every RAFT_TIMEOUT of a leader puts followers that were silent since the previous one back
 *      to probing, which sends once per heartbeat timeout. -> heartbeat timeout 1 ms, and the
 *      leader's ticks come at the driver's own period (GUARD_HEARTBEAT_MS, driver.c).
 *  G14 A probe carries everything outstanding, every time. -> guard_probe_cut().
 *  G15 On a conflict the follower's hint goes back one entry per round trip. -> a whole term.
 *  G16 RAFT_SNAPSHOT at an index that is not persisted, not newer, or has unconfirmed CHANGEs below
 *      it breaks the trail. -> checked in guard_snapshot().
 *  G17 A sole voter elects itself without a new term. After a crash that lost entries which were
 *      sent already, or after the old leader removed itself, two different entries would have the
 *      same index and term. -> it gets a fresh term first.
 *  G18 Who is no voter in the uncommitted configuration at the end of its log never stands for
 *      election. But it may hold that log alone: then nobody else can win, and the cluster is
 *      wedged (a leader that removed or demoted itself and crashed). "A server that is not part of
 *      its own latest configuration should still start new elections" (Ongaro, dissertation,
 *      4.2.2). -> it stands as long as it is a voter in the committed one, without counting its
 *      own vote; and a leader that is no voter does not commit what nobody else has.
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
    uint64_t now;              /* virtual ms, never going back: the time of the next steps */
    uint64_t applied;          /* the driver's; kept up to date by it */
    uint64_t dropped;          /* messages that could not be (G11) */
    uint64_t steps;            /* calls of raft_step() */
    /* Gets every update, before the next step. The entries of an update are borrowed. */
    void (*consume)(void *ctx, struct raft_update *update);
    void *ctx;
    uint64_t leader_term;          /* in which the core's current leader showed itself */
    struct raft_configuration own; /* while `lent` (G6, G18), the real one */
    bool lent;
};

/* RAFT_START. metadata and entries as libraft wants them; a sole voter must have been given its
 * new term by guard_start_term() before, and that must be on the disk. 0 or libraft's error. */
int guard_start(struct guard *g, uint64_t term, uint64_t vote,
                struct raft_snapshot_metadata *metadata, uint64_t start_index,
                struct raft_entry *entries, unsigned n);
/* G17: does a start with this configuration in force need a new term (with a vote for itself)? */
bool guard_start_needs_term(uint64_t id, const struct raft_configuration *config);

/* A message from a peer; for AppendEntries `entries` is the array (borrowed, changed), whose
 * payloads are borrowed. */
void guard_receive(struct guard *g, struct raft_message *message, struct raft_entry *entries);

/* RAFT_TIMEOUT. Call it when raft_timeout() is reached, on a leader at each tick. */
void guard_timeout(struct guard *g);

/* RAFT_SUBMIT of n entries whose payloads are borrowed; a CHANGE must be alone. 0 or libraft's
 * error (nothing was taken then). */
int guard_submit(struct guard *g, struct raft_entry *entries, unsigned n);

/* Rows up to index are on the disk, after the transaction. */
void guard_persisted(struct guard *g, uint64_t index);

/* A CHANGE was applied. Borrows its payload. */
void guard_configuration(struct guard *g, uint64_t index, const uint8_t *data, size_t len);

/* RAFT_SNAPSHOT at `applied`, if G16 allows it: false when not. Borrows the configuration. */
bool guard_snapshot(struct guard *g, uint64_t term, uint64_t config_index, const uint8_t *config,
                    size_t config_len, unsigned trailing);

/* A whole copy of the database at (index, term) is staged and may be installed now, as if `leader`
 * had sent it. True: install it, then call guard_installed() with the same arguments, and nothing
 * in between. False: it is not needed. Borrows the configuration. */
bool guard_install(struct guard *g, uint64_t leader, uint64_t index, uint64_t term,
                   uint64_t config_index, const uint8_t *config, size_t config_len);
void guard_installed(struct guard *g, uint64_t index, uint64_t term, uint64_t config_index,
                     const uint8_t *config, size_t config_len);

/* A member has told us, outside of libraft's messages, that it has everything up to index, which is
 * committed: libraft learns it as the result of an AppendEntries. */
void guard_has(struct guard *g, uint64_t id, uint64_t index);

/* RAFT_TRANSFER. 0; -EAGAIN when the target has not the whole log yet or a change is pending;
 * -ENOTCONN when we do not lead. */
int guard_transfer(struct guard *g, uint64_t id);

/* May the members be changed now (G5)? own_index: of the first entry of this term. */
bool guard_may_change(const struct guard *g, uint64_t own_index);

/* Our leader is gone (its connection closed): forget it. The caller sees to the timer. */
void guard_forget_leader(struct guard *g);

/* G14: the state of what was sent to a peer, and how many of n entries after prev to send now. */
struct guard_probe {
    uint64_t end;  /* the last index that was sent */
    uint64_t prev; /* of the last message with entries */
};
unsigned guard_probe_cut(struct guard_probe *probe, uint64_t prev, unsigned n);

/* ---- What the core says -------------------------------------------------------------------------
 */
bool guard_is_leader(const struct guard *g);
uint64_t guard_leader(const struct guard *g);             /* 0: unknown */
uint64_t guard_match(const struct guard *g, uint64_t id); /* leader only; 0: unknown */
const struct raft_server *guard_find_server(const struct guard *g, uint64_t id); /* or NULL */
unsigned guard_voters(const struct guard *g);
bool guard_is_voter(const struct guard *g, uint64_t id);
bool guard_may_stand(const struct guard *g); /* for election, G18 */

/* Test programs that compile guard.c with GUARD_ABLATE can switch guards off by number. */
#ifdef GUARD_ABLATE
extern unsigned guard_ablated; /* bit n: Gn is off */
#endif

#endif
