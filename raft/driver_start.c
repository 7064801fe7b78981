/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a driver from the state in the database; nothing is replayed.
 *
 * libraft is given a snapshot at `applied` (the database is that snapshot) and the terms of the
 * log's rows. Of the payloads, it reads only configurations. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"
#include "raft/libraft_abi.h"

/* After this many heartbeats, the core asks again for a snapshot that it believes to be on its way.
 * The core waits until the follower has the latest snapshot; after a compaction, that is newer than
 * the snapshot being sent, and without asking again the core would wait in vain. It must not ask at
 * each heartbeat, because asking replaces the heartbeat. */
#define INSTALL_BEATS 4

static int refuse(char *errmsg, size_t len, int err, const char *reason)
{
    snprintf(errmsg, len, "%s", reason);
    return err;
}

/* Entry 1, the same on every member: the first configuration, committed by definition. */
static int bootstrap(struct driver *d, char *errmsg, size_t errmsg_len)
{
    const struct machine_ops *ops = d->machine.ops;
    struct raft_configuration config;
    struct raft_buffer bytes;
    struct machine_entry entry = {.term = 1, .type = MACHINE_CHANGE};
    bool self = false;
    unsigned i;

    raft_configuration_init(&config);
    for (i = 0; i < d->n_members; i++) {
        const struct driver_member *m = &d->members[i];

        self |= m->id == d->config.id;
        if (m->id == 0 || m->address[0] == '\0' || strlen(m->address) > LIMIT_ADDRESS ||
            raft_configuration_add(&config, m->id, m->address,
                                   m->role == DRIVER_VOTER ? RAFT_VOTER : RAFT_STANDBY) != 0) {
            raft_configuration_close(&config);
            return refuse(errmsg, errmsg_len, -EINVAL,
                          "the list of members is invalid: an id or address is missing, too long "
                          "or used twice");
        }
    }
    if (!self) {
        raft_configuration_close(&config);
        return refuse(errmsg, errmsg_len, -EINVAL, "the list of members lacks this member");
    }
    if (raft_configuration_encode(&config, &bytes) != 0)
        die("out of memory");
    raft_configuration_close(&config);
    entry.data = bytes.base;
    entry.len = bytes.len;
    ops->begin(d->machine.ctx);
    ops->set_vote(d->machine.ctx, 1, 0);
    ops->log_append(d->machine.ctx, 1, &entry);
    ops->apply(d->machine.ctx, 1, &entry);
    ops->commit(d->machine.ctx, true);
    raft_free(bytes.base);
    return 0;
}

static bool state_valid(const struct machine_state *s)
{
    if (s->term == 0)
        return s->vote == 0 && s->applied == 0 && s->last_index == 0;
    if (s->first_index == 0 || s->first_index > s->applied + 1 || s->last_index < s->applied ||
        s->first_index > s->last_index + 1 || s->applied_term > s->term)
        return false;
    if (s->applied == 0)
        return s->first_index == 1 && s->config_index == 0;
    return s->applied_term > 0 && s->config_index > 0 && s->config_index <= s->applied &&
           wire_config_valid(s->config.data, s->config.len);
}

/* Reads the log: stores the terms in d->log, and returns an array of all rows for libraft. Only the
 * CHANGEs have a payload there, because the core reads no other payloads. */
static struct raft_entry *read_log(struct driver *d, const struct machine_state *s)
{
    uint64_t n = s->last_index + 1 - s->first_index, i;
    struct raft_entry *entries = xcalloc(n, sizeof *entries);

    entries_reset(&d->log, s->first_index - 1,
                  s->first_index == s->applied + 1 ? s->applied_term : 0);
    for (i = 0; i < n; i++) {
        struct machine_entry row;

        check(d->machine.ops->log_get(d->machine.ctx, s->first_index + i, &row));
        check(row.term > 0 && row.term <= s->term);
        entries_note(&d->log, row.term);
        entries[i].term = row.term;
        entries[i].type = (enum raft_entry_type)row.type;
        if (row.type != MACHINE_CHANGE)
            continue;
        check(wire_config_valid(row.data, row.len));
        entries[i].buf.base = xmemdup(row.data, row.len);
        entries[i].buf.len = row.len;
    }
    return entries;
}

/* The configuration in force after the start: the last one in the log, committed or not. */
static void last_configuration(const struct raft_entry *entries, uint64_t n,
                               const struct machine_state *s, struct raft_configuration *out)
{
    struct raft_buffer bytes = {s->config.data, s->config.len};

    raft_configuration_init(out);
    for (; n > 0 && entries[n - 1].type != RAFT_CHANGE; n--)
        continue;
    if (n > 0)
        bytes = entries[n - 1].buf;
    if (bytes.len > 0 && raft_configuration_decode(&bytes, out) != 0)
        die("the configuration of the members in the database cannot be decoded");
}

/* G17: a sole voter leads immediately. It must not do so in a term in which it led before. */
static void renew_term(struct driver *d, struct machine_state *s, const struct raft_entry *entries,
                       uint64_t n)
{
    struct raft_configuration config;

    last_configuration(entries, n, s, &config);
    if (guard_start_needs_term(d->config.id, &config)) {
        s->term++;
        s->vote = d->config.id;
        d->machine.ops->begin(d->machine.ctx);
        d->machine.ops->set_vote(d->machine.ctx, s->term, s->vote);
        d->machine.ops->commit(d->machine.ctx, true);
    }
    raft_configuration_close(&config);
}

static void init_core(struct driver *d)
{
    struct raft *r = &d->raft;

    if (raft_init(r, NULL, NULL, d->config.id, "-") != 0)
        die("libraft cannot be initialized");
    r->tracer = NULL; /* the default tracer formats every line, even if it is off */
    raft_seed(r, (unsigned)driver_random(d, UINT32_MAX));
    raft_set_election_timeout(r, d->config.election_ms);
    raft_set_heartbeat_timeout(r, GUARD_HEARTBEAT_MS);
    raft_set_pre_vote(r, true);
    raft_set_max_inflight_entries(r, d->config.max_inflight);
    raft_set_capacity_threshold(r, 0);
    raft_set_install_snapshot_timeout(r, INSTALL_BEATS * d->config.heartbeat_ms);
    d->prev_state = RAFT_FOLLOWER;
    d->guard.raft = r;
    d->guard.log = &d->log;
    d->guard.consume = turn_consume;
    d->guard.ctx = d;
    driver_clock(d);
}

static int start_core(struct driver *d, struct machine_state *s)
{
    struct raft_snapshot_metadata metadata = {
        .index = s->applied, .term = s->applied_term, .configuration_index = s->config_index};
    struct raft_buffer bytes = {s->config.data, s->config.len};
    uint64_t n = s->last_index + 1 - s->first_index, i;
    struct raft_entry *entries = read_log(d, s);
    int rv;

    renew_term(d, s, entries, n);
    init_core(d);
    d->stored_last = d->log.last;
    d->write_from = d->log.last + 1;
    d->commit = d->guard.applied = s->applied;
    d->applied_term = s->applied_term;
    d->config_index = s->config_index;
    d->config_data = buf_copy(s->config.data, s->config.len);
    raft_configuration_init(&metadata.configuration);
    if (s->applied > 0 && raft_configuration_decode(&bytes, &metadata.configuration) != 0)
        die("the configuration of the members in the database cannot be decoded");
    rv = guard_start(&d->guard, s->term, s->vote, s->applied > 0 ? &metadata : NULL, s->first_index,
                     entries, (unsigned)n);
    for (i = 0; i < n; i++)
        free(entries[i].buf.base);
    free(entries);
    if (rv != 0)
        die("libraft cannot be started: %s", raft_strerror(rv));
    return 0;
}

int driver_start(struct driver *d, char *errmsg, size_t errmsg_len)
{
    struct machine_state state;
    int err = libraft_abi_check(errmsg, errmsg_len);

    if (err != 0)
        return err;
    d->machine.ops->load(d->machine.ctx, &state);
    if (state.term == 0 && d->n_members > 0) {
        err = bootstrap(d, errmsg, errmsg_len);
        if (err != 0)
            return err;
        buf_fini(&state.config);
        d->machine.ops->load(d->machine.ctx, &state);
    }
    if (!state_valid(&state)) {
        buf_fini(&state.config);
        return refuse(errmsg, errmsg_len, -EIO,
                      "the raft state in the database is inconsistent: restore the member's "
                      "database, or remove the member and add it again");
    }
    if (state.term == 0)
        state.first_index = 1;
    start_core(d, &state);
    buf_fini(&state.config);
    d->no_leader_since = d->guard.now;
    membership_notify(d);
    d->started = true;
    driver_note_leader(d);
    return 0;
}
