/* SPDX-License-Identifier: Apache-2.0 */
/* Whole members in one process, on virtual time: the driver, the client and the store as in
 * production; SQLite files that a power cut tears (tests/lib/crash_vfs.h); the network of
 * tests/lib/raft_sim.h; and hosts that change the tree in many ways at once. Single-threaded; the
 * seed determines everything.
 *
 * Checks, beyond those of tests/lib/raft_sim.h. The report of a violation begins with the name:
 *   STATE HASH    after each commit, a member's state is that of the reference, which applies the
 *                 committed log once, in order, and never crashes
 *   MODEL         in some worlds: the reference answers as tests/lib/model.h, and has its tree
 *   LOCKS         in the others: the reference grants as tests/lib/lock_model.h
 *   TTL           no entry is removed before its ttl has passed, though wall clocks are a day apart
 *   ONCE          each (session, number) is applied once, in order, by a living session; bytes
 *                 that hosts append are in the file once, in the order of their answers
 *   ANSWER        each answer is the one that the log gives for the command that was sent
 *   ORDER         a command that was submitted after an answer follows it in the log
 *   OWN WRITES    a host that got an answer sees its own change
 *   BARRIER       after a barrier, a host sees everything that was answered before its request
 *   DURABILITY    synced data exist after a crash; answered commands exist at the end
 *   LIVENESS      after the trouble, there is a leader within five election timeouts, and then
 *                 every request is answered
 *   GROWTH        neither the log nor the stored replies grow without bound
 *   CHECK         store_check(), after crashes and at the end; and check() anywhere
 *   DEATH         die() although no disk fails */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "tests/lib/raft_sim.h"

struct sim_config {
    struct raft_sim_config raft;
    bool model;           /* only commands that tests/lib/model.h knows */
    unsigned crash_ops;   /* mean number of a member's disk operations between two power cuts */
    unsigned fail_ops;    /* … and between two failures of the disk */
    unsigned deadlines;   /* this many requests in 1000 have one */
    unsigned check_every; /* store_check after this many crashes */
    uint64_t run_ms;
};

struct sim_stats {
    struct raft_sim_stats raft;
    uint64_t submitted, answered, unknown; /* requests */
    uint64_t commits, syncs, entries, sessions, grants, ended, expired;
    uint64_t power_cuts, kills, disk_failures, store_checks, restarts;
};

void sim_random(struct sim_config *config, uint64_t seed);
/* Runs the world and fills the caller's variables. True: no violation. False: `error` describes it,
 * and the story is on stdout. The digest identifies the run. */
bool sim_run(const struct sim_config *config, struct sim_stats *stats, uint64_t *digest,
             char *error, size_t error_len);

#endif
