/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the members, one at a time, and transfers of leadership. A change is a log entry with
 * the new configuration; guard G5 decides when it is allowed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"

/* A standby may become a voter if it lacks at most this many entries. A voter must have all earlier
 * entries before it can help to commit a new one, and the cluster may have to wait for it. */
#define PROMOTE_LAG 256u

/* ---- Changes --------------------------------------------------------------------------------- */

static void add_server(struct raft_configuration *config, uint64_t id, const char *address,
                       int role)
{
    if (raft_configuration_add(config, id, address, role) != 0)
        die("out of memory");
}

/* Copies the configuration in use, without member `skip`, and with member `id` in the new role. The
 * order stays the same, because libraft finds its record of a follower by position. */
static struct raft_configuration edited(const struct driver *d, uint64_t skip, uint64_t id,
                                        int role)
{
    const struct raft_configuration *now = &d->raft.configuration;
    struct raft_configuration config;
    unsigned i;

    raft_configuration_init(&config);
    for (i = 0; i < now->n; i++) {
        const struct raft_server *server = &now->servers[i];

        if (server->id != skip)
            add_server(&config, server->id, server->address,
                       server->id == id ? role : server->role);
    }
    return config;
}

/* Takes the configuration. */
static int submit_change(struct driver *d, struct raft_configuration *config)
{
    struct raft_entry entry = {.type = RAFT_CHANGE};
    int rv;

    if (raft_configuration_encode(config, &entry.buf) != 0)
        die("out of memory");
    raft_configuration_close(config);
    rv = guard_submit(&d->guard, &entry, 1);
    raft_free(entry.buf.base);
    driver_note_leader(d);
    return rv == 0 ? 0 : -EAGAIN;
}

static bool may_change(struct driver *d)
{
    driver_clock(d);
    return d->transfer == 0 && guard_may_change(&d->guard, d->own_index);
}

int driver_add(struct driver *d, uint64_t id, const char *address)
{
    struct raft_configuration config;
    unsigned i;

    if (!guard_is_leader(&d->guard))
        return -ENOTCONN;
    if (id == 0 || address[0] == '\0' || strlen(address) > LIMIT_ADDRESS ||
        d->raft.configuration.n >= LIMIT_MEMBERS_MAX)
        return -EINVAL;
    for (i = 0; i < d->raft.configuration.n; i++)
        if (d->raft.configuration.servers[i].id == id ||
            strcmp(d->raft.configuration.servers[i].address, address) == 0)
            return -EEXIST;
    if (!may_change(d))
        return -EAGAIN;
    config = edited(d, 0, 0, 0);
    add_server(&config, id, address, RAFT_STANDBY);
    return submit_change(d, &config);
}

static bool last_voter(const struct driver *d, uint64_t id)
{
    return guard_is_voter(&d->guard, id) && guard_voters(&d->guard) == 1;
}

int driver_assign(struct driver *d, uint64_t id, enum driver_role role)
{
    const struct raft_server *server = guard_find_server(&d->guard, id);
    int raft_role = role == DRIVER_VOTER ? RAFT_VOTER : RAFT_STANDBY;
    struct raft_configuration config;

    if (!guard_is_leader(&d->guard))
        return -ENOTCONN;
    if (server == NULL)
        return -ENOENT;
    if (server->role == raft_role)
        return -EEXIST;
    if (role != DRIVER_VOTER && last_voter(d, id))
        return -EINVAL;
    if (!may_change(d))
        return -EAGAIN;
    if (role == DRIVER_VOTER &&
        (!d->env.linked(d->env.ctx, id) || guard_match(&d->guard, id) + PROMOTE_LAG < d->log.last))
        return -EAGAIN;
    config = edited(d, 0, id, raft_role);
    return submit_change(d, &config);
}

int driver_remove(struct driver *d, uint64_t id)
{
    struct raft_configuration config;

    if (!guard_is_leader(&d->guard))
        return -ENOTCONN;
    if (guard_find_server(&d->guard, id) == NULL)
        return -ENOENT;
    if (last_voter(d, id))
        return -EINVAL;
    if (!may_change(d))
        return -EAGAIN;
    config = edited(d, id, 0, 0);
    return submit_change(d, &config);
}

/* ---- Transfer of leadership ------------------------------------------------------------------ */

static uint64_t best_heir(struct driver *d)
{
    const struct raft_configuration *config = &d->raft.configuration;
    uint64_t best = 0, best_match = 0;
    unsigned i;

    for (i = 0; i < config->n; i++) {
        uint64_t id = config->servers[i].id, match = guard_match(&d->guard, id);

        if (id == d->config.id || config->servers[i].role != RAFT_VOTER ||
            !d->env.linked(d->env.ctx, id))
            continue;
        if (best == 0 || match > best_match) {
            best = id;
            best_match = match;
        }
    }
    return best;
}

int driver_transfer(struct driver *d, uint64_t id)
{
    if (!guard_is_leader(&d->guard))
        return -ENOTCONN;
    if (id == 0)
        id = best_heir(d);
    if (id == 0 || guard_find_server(&d->guard, id) == NULL)
        return -ENOENT;
    if (id == d->config.id || !guard_is_voter(&d->guard, id))
        return -EINVAL;
    if (!may_change(d))
        return -EAGAIN;
    d->transfer = id;
    d->transfer_sent = false;
    d->transfer_end = d->guard.now + d->config.election_ms;
    return 0;
}

/* While d->transfer is set, nothing is submitted, so that the target can catch up. Then the core
 * sends it TimeoutNow once. The core gives up by itself after an election timeout. */
void membership_turn(struct driver *d)
{
    if (d->transfer == 0)
        return;
    if (d->transfer_sent && d->raft.leader_state.transferee == 0) {
        d->transfer = 0;
    } else if (!d->transfer_sent && guard_transfer(&d->guard, d->transfer) == 0) {
        d->transfer_sent = true;
    } else if (!d->transfer_sent && d->guard.now >= d->transfer_end) {
        log_warn("member %llu did not catch up in time: leadership was not transferred",
                 (unsigned long long)d->transfer);
        d->transfer = 0;
    }
}

/* ---- The list of members --------------------------------------------------------------------- */

static void free_members(struct driver_member *members, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++)
        free(members[i].address);
    free(members);
}

static void collect(struct driver_member *members, unsigned *n,
                    const struct raft_configuration *config)
{
    unsigned i, j;

    for (i = 0; i < config->n; i++) {
        for (j = 0; j < *n && members[j].id != config->servers[i].id; j++)
            continue;
        if (j < *n)
            continue;
        members[*n].id = config->servers[i].id;
        members[*n].address = xstrdup(config->servers[i].address);
        members[*n].role = config->servers[i].role == RAFT_VOTER ? DRIVER_VOTER : DRIVER_STANDBY;
        (*n)++;
    }
}

static bool same_members(const struct driver *d, const struct driver_member *members, unsigned n)
{
    unsigned i;

    if (n != d->n_members)
        return false;
    for (i = 0; i < n; i++)
        if (members[i].id != d->members[i].id || members[i].role != d->members[i].role ||
            strcmp(members[i].address, d->members[i].address) != 0)
            return false;
    return true;
}

/* Equal keys mean equal configurations: the same entries of the same log. */
static bool same_configurations(struct driver *d)
{
    const struct raft *r = &d->raft;
    uint64_t pending = r->configuration_uncommitted_index;
    uint64_t key[4] = {r->configuration_committed_index, pending,
                       pending != 0 ? entries_term(&d->log, pending) : 0, d->started};
    bool same = memcmp(key, d->members_key, sizeof key) == 0;

    memcpy(d->members_key, key, sizeof key);
    return same;
}

/* Links are needed to the members of the configuration in use. While it is not committed, links are
 * also needed to the members of the committed one: a removed member must still learn of its
 * removal. */
void membership_notify(struct driver *d)
{
    struct driver_member *members;
    unsigned n = 0;

    if (same_configurations(d))
        return;
    members = xcalloc(d->raft.configuration.n + d->raft.configuration_committed.n, sizeof *members);
    collect(members, &n, &d->raft.configuration);
    if (d->raft.configuration_uncommitted_index != 0)
        collect(members, &n, &d->raft.configuration_committed);
    if (d->started && same_members(d, members, n)) {
        free_members(members, n);
        return;
    }
    free_members(d->members, d->n_members);
    d->members = members;
    d->n_members = n;
    d->env.members(d->env.ctx, members, n);
}
