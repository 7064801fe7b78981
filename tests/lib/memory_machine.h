/* SPDX-License-Identifier: Apache-2.0 */
/* A struct machine in memory, with what a disk does to it: a crash loses a random suffix of the
 * transactions that were not synced, and whatever was not committed. Its state is the chain of
 * hashes of what was applied. It checks how it is called (order of calls, of indexes, that what is
 * applied is what the log has). Copies and stages take time and can fail. */
#ifndef TESTS_LIB_MEMORY_MACHINE_H
#define TESTS_LIB_MEMORY_MACHINE_H

#include "base/base.h"
#include "raft/machine.h"

struct memory_machine;

struct memory_machine_config {
    uint64_t seed;
    unsigned copy_polls;  /* a copy is busy for up to this many polls, a stage too */
    unsigned fail_one_in; /* copies, stages and writes to stages fail this often; 0: never */
    uint64_t copy_size;   /* bytes of a copy, about */
    bool lies;            /* a sync does nothing: what a test of durability must notice */
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

/* What a power cut right now would leave is what the next memory_machine_crash() leaves. */
void memory_machine_doom(struct memory_machine *m);
/* The power cut: the machine is as a fresh process finds it. */
void memory_machine_crash(struct memory_machine *m);

uint64_t memory_machine_applied(const struct memory_machine *m);
uint64_t memory_machine_hash(const struct memory_machine *m); /* of all that was applied */

#endif
