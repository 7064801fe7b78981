/* SPDX-License-Identifier: Apache-2.0 */
/* Whole members in one process, on virtual time: the driver, the client and the store as they are
 * in production, on SQLite files that a power cut tears (tests/lib/crash_vfs.h), on the network of
 * tests/lib/raft_sim.h, with hosts that do all kinds of things to the tree at once.
 * Single-threaded; everything follows from the seed.
 *
 * What is checked, beyond tests/lib/raft_sim.h; the name is what a violation begins with:
 *   STATE HASH    after each commit of a member its state is that of the reference, which applies
 *                 the committed log once, in order, and never crashes
 *   MODEL         in some worlds: the reference answers as tests/lib/model.h does, and has its tree
 *   LOCKS         in the others: it grants as tests/lib/lock_model.h does
 *   ONCE          each (session, number) is applied once, in order, by a session that lives;
 *                 bytes that hosts append are in the file once, and in the order of their answers
 *   ANSWER        who is answered, is answered what the log says, for the command that he sent
 *   ORDER         what is submitted after an answer comes behind it in the log
 *   OWN WRITES    who is answered, sees it
 *   BARRIER       who has reached a barrier, sees what was answered before he asked for it
 *   DURABILITY    what was synced is there after a crash; what was answered, at the end
 *   LIVENESS      once the trouble ends there is a leader within five election timeouts, and then
 *                 everybody is answered
 *   GROWTH        neither the log nor the kept replies grow without bound
 *   CHECK         store_check(), after crashes and at the end; and check() anywhere
 *   DEATH         die() without a failing disk */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "tests/lib/raft_sim.h"

struct sim_config {
    struct raft_sim_config raft;
    bool model;           /* only what tests/lib/model.h knows */
    unsigned crash_ops;   /* mean number of a member's disk operations between two power cuts */
    unsigned fail_ops;    /* … and between two failures of the disk */
    unsigned deadlines;   /* so many requests in 1000 have one */
    unsigned check_every; /* store_check after so many crashes */
    uint64_t run_ms;
};

struct sim_stats {
    struct raft_sim_stats raft;
    uint64_t submitted, answered, unknown; /* requests */
    uint64_t commits, syncs, entries, sessions, grants, ended;
    uint64_t power_cuts, kills, disk_failures, store_checks, restarts;
};

void sim_random(struct sim_config *config, uint64_t seed);
/* Runs it, and fills what the caller wants to know. True: no violation. Else `error` has it, and
 * the story is on stdout. The digest is that of the run. */
bool sim_run(const struct sim_config *config, struct sim_stats *stats, uint64_t *digest,
             char *error, size_t error_len);

#endif
