/* SPDX-License-Identifier: Apache-2.0 */
/* A struct machine in memory, with the faults of a disk: a crash loses everything that was not
 * committed, and a random suffix of the transactions that were not synced. Its state is a chain of
 * hashes of the applied entries. It checks its caller: the order of calls and of indexes, and that
 * the applied entries are those of the log. Snapshots and installations take time and can fail. */
#ifndef TESTS_LIB_MEMORY_MACHINE_H
#define TESTS_LIB_MEMORY_MACHINE_H

#include "base/base.h"
#include "raft/machine.h"

struct memory_machine;

struct memory_machine_config {
    uint64_t seed;
    unsigned copy_polls; /* an outgoing or incoming snapshot is busy for up to this many polls */
    unsigned
        fail_one_in; /* one in this many snapshots, and writes to incoming ones, fails; 0: none */
    uint64_t copy_size; /* size of a snapshot, about */
    bool lies;          /* a sync does nothing: a test of durability must notice this */
    void *ctx;
    /* Each commit, before it returns; may be NULL. */
    void (*on_commit)(void *ctx, bool sync);
    /* Each entry applied and each row appended; may be NULL. */
    void (*on_apply)(void *ctx, uint64_t index, const struct machine_entry *entry);
    void (*on_append)(void *ctx, uint64_t index, const struct machine_entry *entry);
};

struct memory_machine *memory_machine_new(const struct memory_machine_config *config);
void memory_machine_free(struct memory_machine *m);
struct machine memory_machine_of(struct memory_machine *m);

/* The next memory_machine_crash() leaves the state that a power cut now would leave. */
void memory_machine_doom(struct memory_machine *m);
/* The power cut: the machine is as a fresh process finds it. */
void memory_machine_crash(struct memory_machine *m);

uint64_t memory_machine_applied(const struct memory_machine *m);
uint64_t memory_machine_hash(const struct memory_machine *m); /* of all applied entries */

#endif
