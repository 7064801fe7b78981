/* SPDX-License-Identifier: Apache-2.0 */
/* The safety properties of Raft (Ongaro and Ousterhout 2014, figure 3), executed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <xxhash.h>

#include "tests/lib/raft_sim_impl.h"

struct seen_row { /* a row that any member has ever written */
    struct {
        uint64_t index, term;
    } key;
    uint64_t chain; /* hash of this row and all before it */
    UT_hash_handle hh;
};

struct seen_leader {
    uint64_t term;
    unsigned id;
    UT_hash_handle hh;
};

struct committed {
    uint64_t term, hash;
    uint64_t by; /* the highest term in which it can have been committed */
};

struct barrier {
    unsigned node;
    uint64_t incarnation, floor;
    bool done;
};

struct sim_check {
    struct seen_row *rows;
    struct seen_leader *leaders;
    struct committed *committed; /* [index] */
    uint64_t n_committed, cap_committed;
    struct barrier *barriers; /* [ticket - 1] */
    uint64_t n_barriers, cap_barriers;
};

struct sim_check *sim_check_new(void)
{
    return xcalloc(1, sizeof(struct sim_check));
}

void sim_check_free(struct sim_check *check)
{
    struct seen_row *row, *next_row;
    struct seen_leader *leader, *next_leader;

    HASH_ITER (hh, check->rows, row, next_row) {
        HASH_DEL(check->rows, row);
        free(row);
    }
    HASH_ITER (hh, check->leaders, leader, next_leader) {
        HASH_DEL(check->leaders, leader);
        free(leader);
    }
    free(check->committed);
    free(check->barriers);
    free(check);
}

/* ---- Log matching ---------------------------------------------------------------------------- */

static struct seen_row *find_row(struct sim_check *check, uint64_t index, uint64_t term)
{
    struct seen_row probe = {.key = {index, term}}, *row;

    HASH_FIND(hh, check->rows, &probe.key, sizeof probe.key, row);
    return row;
}

static uint64_t hash_entry(const struct machine_entry *entry)
{
    return XXH3_64bits_withSeed(entry->data, entry->len, entry->term * 8 + (uint64_t)entry->type);
}

static void note_change(struct sim_node *node, uint64_t index, const struct machine_entry *entry)
{
    while (node->n_changes > 0 && node->changes[node->n_changes - 1].index >= index)
        node->n_changes--;
    if (entry->type != MACHINE_CHANGE)
        return;
    if (node->n_changes == SIM_CHANGES) {
        memmove(node->changes, node->changes + 1, (SIM_CHANGES - 1) * sizeof *node->changes);
        node->n_changes--;
    }
    node->changes[node->n_changes++] =
        (struct sim_change){index, XXH3_64bits(entry->data, entry->len)};
}

/* Two logs with a row of the same index and term are equal up to that row. */
void sim_check_append(struct raft_sim *sim, struct sim_node *node, uint64_t index,
                      const struct machine_entry *entry)
{
    struct sim_check *check = sim->check;
    struct seen_row *row, *prev = NULL;
    uint64_t prev_term, mix[3];

    note_change(node, index, entry);
    if (node->doomed)
        return;
    prev_term = node->driver != NULL && node->driver->started
                    ? entries_term(&node->driver->log, index - 1)
                    : 0;
    if (index > 1) {
        prev = find_row(check, index - 1, prev_term);
        if (prev == NULL) {
            sim_fail(sim, "member %u appends %llu after an unknown row of term %llu", node->id,
                     (unsigned long long)index, (unsigned long long)prev_term);
            return;
        }
    }
    mix[0] = prev != NULL ? prev->chain : 0;
    mix[1] = index;
    mix[2] = hash_entry(entry);
    row = find_row(check, index, entry->term);
    if (row == NULL) {
        row = xcalloc(1, sizeof *row);
        row->key.index = index;
        row->key.term = entry->term;
        row->chain = XXH3_64bits(mix, sizeof mix);
        HASH_ADD(hh, check->rows, key, sizeof row->key, row);
    } else if (row->chain != XXH3_64bits(mix, sizeof mix)) {
        sim_fail(sim, "LOG MATCHING: member %u has another row %llu of term %llu", node->id,
                 (unsigned long long)index, (unsigned long long)entry->term);
    }
}

/* ---- State machine safety -------------------------------------------------------------------- */

void sim_check_apply(struct raft_sim *sim, struct sim_node *node, uint64_t index,
                     const struct machine_entry *entry)
{
    struct sim_check *check = sim->check;
    struct committed now = {entry->term, hash_entry(entry), 0};

    if (node->doomed)
        return;
    if (index > check->n_committed + 1) {
        sim_fail(sim, "member %u applies %llu, no member has applied %llu", node->id,
                 (unsigned long long)index, (unsigned long long)check->n_committed + 1);
        return;
    }
    if (index == check->n_committed + 1) {
        if (check->n_committed + 2 > check->cap_committed) {
            check->cap_committed = check->cap_committed > 0 ? check->cap_committed * 2 : 1024;
            check->committed =
                xrealloc(check->committed, check->cap_committed * sizeof *check->committed);
        }
        now.by = node->driver->raft.current_term;
        check->committed[index] = now;
        check->n_committed++;
        return;
    }
    if (check->committed[index].term != now.term || check->committed[index].hash != now.hash)
        sim_fail(sim, "STATE MACHINE SAFETY: member %u applies another entry %llu", node->id,
                 (unsigned long long)index);
}

uint64_t sim_check_applied(const struct raft_sim *sim)
{
    return sim->check->n_committed;
}

/* ---- Leaders --------------------------------------------------------------------------------- */

/* An entry that any member has applied is in the log of every leader of a later term. (A leader of
 * an older term may learn late that it was elected.) By log matching it is enough to compare terms.
 */
static void check_complete(struct raft_sim *sim, struct sim_node *node)
{
    const struct driver *d = node->driver;
    uint64_t index;

    for (index = d->log.base_index + 1; index <= sim->check->n_committed; index++)
        if (d->raft.current_term > sim->check->committed[index].by &&
            entries_term(&d->log, index) != sim->check->committed[index].term) {
            sim_fail(sim, "LEADER COMPLETENESS: member %u leads in term %llu without entry %llu",
                     node->id, (unsigned long long)d->raft.current_term, (unsigned long long)index);
            return;
        }
}

static void check_leader(struct raft_sim *sim, struct sim_node *node)
{
    struct sim_check *check = sim->check;
    uint64_t term = node->driver->raft.current_term;
    struct seen_leader *leader;

    HASH_FIND(hh, check->leaders, &term, sizeof term, leader);
    if (leader == NULL) {
        leader = xcalloc(1, sizeof *leader);
        leader->term = term;
        leader->id = node->id;
        HASH_ADD(hh, check->leaders, term, sizeof leader->term, leader);
        sim->stats.leaders++;
        check_complete(sim, node);
    } else if (leader->id != node->id) {
        sim_fail(sim, "ELECTION SAFETY: members %u and %u lead in term %llu", leader->id, node->id,
                 (unsigned long long)term);
    }
}

/* ---- Configurations -------------------------------------------------------------------------- */

/* The configuration in use is the last one in the log, or else that of the snapshot. */
static void check_config(struct raft_sim *sim, struct sim_node *node)
{
    struct driver *d = node->driver;
    struct raft_buffer bytes;
    uint64_t want_index, want, got;

    if (!driver_clean(d) || d->raft.configuration.n == 0)
        return;
    want_index = d->config_index;
    want = XXH3_64bits(d->config_data.data, d->config_data.len);
    if (node->n_changes > 0 && node->changes[node->n_changes - 1].index > want_index) {
        want_index = node->changes[node->n_changes - 1].index;
        want = node->changes[node->n_changes - 1].hash;
    }
    check(raft_configuration_encode(&d->raft.configuration, &bytes) == 0);
    got = XXH3_64bits(bytes.base, bytes.len);
    raft_free(bytes.base);
    if (got != want)
        sim_fail(sim, "member %u does not use the configuration of entry %llu", node->id,
                 (unsigned long long)want_index);
    else if (want_index > d->guard.applied && d->raft.configuration_uncommitted_index != want_index)
        sim_fail(sim, "member %u regards entry %llu as the pending change, not %llu", node->id,
                 (unsigned long long)d->raft.configuration_uncommitted_index,
                 (unsigned long long)want_index);
}

void sim_check_started(struct raft_sim *sim BASE_UNUSED, struct sim_node *node)
{
    struct driver *d = node->driver;
    struct machine_entry row;
    uint64_t index;

    node->n_changes = 0;
    for (index = entries_first(&d->log); index <= d->log.last; index++) {
        check(d->machine.ops->log_get(d->machine.ctx, index, &row));
        note_change(node, index, &row);
    }
}

void sim_check_installed(struct raft_sim *sim BASE_UNUSED, struct sim_node *node)
{
    node->n_changes = 0;
}

/* ---- Barriers -------------------------------------------------------------------------------- */

uint64_t sim_check_new_ticket(struct raft_sim *sim, struct sim_node *node)
{
    struct sim_check *check = sim->check;

    if (check->n_barriers == check->cap_barriers) {
        check->cap_barriers = check->cap_barriers > 0 ? check->cap_barriers * 2 : 256;
        check->barriers = xrealloc(check->barriers, check->cap_barriers * sizeof *check->barriers);
    }
    check->barriers[check->n_barriers++] =
        (struct barrier){node->id, node->incarnation, check->n_committed, false};
    return check->n_barriers;
}

bool sim_check_barrier_done(struct raft_sim *sim, struct sim_node *node, uint64_t ticket)
{
    struct barrier *b;

    if (ticket == 0 || ticket > sim->check->n_barriers) {
        sim_fail(sim, "member %u: unknown barrier", node->id);
        return false;
    }
    b = &sim->check->barriers[ticket - 1];
    if (b->node != node->id || b->incarnation != node->incarnation || b->done)
        sim_fail(sim, "member %u: a barrier of another member, or repeated", node->id);
    else if (node->driver->guard.applied < b->floor)
        sim_fail(sim, "LINEARIZABILITY: member %u reaches a barrier at %llu, %llu was applied",
                 node->id, (unsigned long long)node->driver->guard.applied,
                 (unsigned long long)b->floor);
    b->done = true;
    return true;
}

bool sim_check_ticket_done(const struct raft_sim *sim, uint64_t ticket)
{
    return sim->check->barriers[ticket - 1].done;
}

void sim_check_event(struct raft_sim *sim, struct sim_node *node)
{
    if (node->doomed || node->driver == NULL)
        return;
    if (driver_is_leader(node->driver))
        check_leader(sim, node);
    check_config(sim, node);
    if (node->driver->guard.dropped > 0)
        sim_fail(sim, "member %u received an impossible message", node->id);
}
