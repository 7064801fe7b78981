/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: raft/guard.h lists the guards G1 … G18. Each place here names its guard.
 *
 * All events go through step(). Before it, a guard may change the message, split it, drop it, or
 * lend the core another configuration for this one step. After it, step() repairs the commit index
 * and the outgoing messages, and only then gives the update to the driver. */
#include "raft/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#ifdef GUARD_ABLATE
unsigned guard_ablated; /* one bit per guard; bit 31 is the deliberate bug below */
#define GUARD_ABLATE_OLD_TERMS (1u << 31)
#define ON(number)             ((guard_ablated & 1u << (number)) == 0)
#elif defined BREAK_GUARD /* mutants: one guard is off */
#define ON(number) ((number) != BREAK_GUARD)
#else
#define ON(number) true
#endif

/* libraft's flags are not in parentheses. */
#define HAS(update, flag) (((update)->flags & (0u + (flag))) != 0)

static char
    no_batch; /* batch of entries that the core never frees: it asserts that a batch exists */

/* ---- The state of the core ------------------------------------------------------------------- */

bool guard_is_leader(const struct guard *g)
{
    return g->raft->state == RAFT_LEADER;
}

uint64_t guard_leader(const struct guard *g)
{
    if (g->raft->state == RAFT_LEADER)
        return g->raft->id;
    return g->raft->state == RAFT_FOLLOWER && g->leader_term == g->raft->current_term
               ? g->raft->follower_state.current_leader.id
               : 0;
}

uint64_t guard_match(const struct guard *g, uint64_t id)
{
    raft_index match = 0;

    return raft_match_index(g->raft, id, &match) == 0 ? match : 0;
}

const struct raft_server *guard_find_server(const struct guard *g, uint64_t id)
{
    unsigned i;

    for (i = 0; i < g->raft->configuration.n; i++)
        if (g->raft->configuration.servers[i].id == id)
            return &g->raft->configuration.servers[i];
    return NULL;
}

static bool voter_in(const struct raft_configuration *config, uint64_t id)
{
    unsigned i;

    for (i = 0; i < config->n; i++)
        if (config->servers[i].id == id)
            return config->servers[i].role == RAFT_VOTER;
    return false;
}

bool guard_is_voter(const struct guard *g, uint64_t id)
{
    return voter_in(&g->raft->configuration, id);
}

static unsigned count_voters(const struct raft_configuration *config)
{
    unsigned i, n = 0;

    for (i = 0; i < config->n; i++)
        n += config->servers[i].role == RAFT_VOTER;
    return n;
}

unsigned guard_voters(const struct guard *g)
{
    return count_voters(&g->raft->configuration);
}

static bool sole_voter(const struct guard *g)
{
    return guard_is_voter(g, g->raft->id) && guard_voters(g) == 1;
}

/* G18: our vote was taken away only by an uncommitted entry at the end of our log. */
static bool outgoing(const struct guard *g)
{
    return ON(18) && g->raft->configuration_uncommitted_index != 0 &&
           !voter_in(&g->raft->configuration, g->raft->id) &&
           voter_in(&g->raft->configuration_committed, g->raft->id);
}

bool guard_may_stand(const struct guard *g)
{
    return guard_is_voter(g, g->raft->id) || outgoing(g);
}

/* ---- One step -------------------------------------------------------------------------------- */

/* G15: our log has another term at `rejected`. No entry of that term's run can match. */
static void improve_hint(const struct guard *g, struct raft_append_entries_result *result)
{
    uint64_t floor = max_u64(g->applied, g->raft->follower_state.match);
    uint64_t hint;

    if (!ON(15) || result->rejected == 0 || g->raft->state != RAFT_FOLLOWER ||
        result->term != g->raft->current_term || result->rejected > g->log->last ||
        result->rejected <= g->log->base_index)
        return;
    hint = max_u64(entries_run_first(g->log, result->rejected) - 1, floor);
    if (hint < result->last_log_index)
        result->last_log_index = hint;
}

static void mend_message(const struct guard *g, struct raft_message *message, bool stale)
{
    struct raft_request_vote_result *vote = &message->request_vote_result;

    if (message->type == RAFT_APPEND_ENTRIES_RESULT) {
        if (stale && ON(1))
            message->append_entries_result.last_log_index = 0;
        else if (!stale)
            improve_hint(g, &message->append_entries_result);
    } else if (message->type == RAFT_REQUEST_VOTE_RESULT && ON(7)) {
        if (vote->pre_vote && !vote->vote_granted && vote->term < g->raft->current_term)
            vote->term = g->raft->current_term;
    }
}

/* For one step the core sees another configuration, which it only reads. */
static void lend_configuration(struct guard *g, struct raft_server *servers, unsigned n)
{
    check(!g->lent);
    g->own = g->raft->configuration;
    g->lent = true;
    g->raft->configuration = (struct raft_configuration){servers, n};
}

static void return_configuration(struct guard *g)
{
    if (g->lent)
        g->raft->configuration = g->own;
    g->lent = false;
}

#ifdef GUARD_ABLATE
/* A deliberate bug for the tests (Raft, figure 8): an entry of an older term counts as committed
 * once a majority has it. libraft's rule forbids that. */
static void count_old_terms(struct raft *r, const struct guard *g)
{
    const struct raft_configuration *config = &r->configuration;
    unsigned i, k, n;

    for (i = 0; r->state == RAFT_LEADER && i < config->n; i++) {
        uint64_t index = guard_match(g, config->servers[i].id);

        for (k = 0, n = 0; k < config->n; k++)
            n += config->servers[k].role == RAFT_VOTER &&
                 guard_match(g, config->servers[k].id) >= index;
        if ((guard_ablated & GUARD_ABLATE_OLD_TERMS) != 0 && n > count_voters(config) / 2 &&
            index > r->commit_index)
            r->commit_index = index;
    }
}
#else
#define count_old_terms(r, g) ((void)0)
#endif

/* stale: the event is a message from an older term. */
static int step(struct guard *g, struct raft_event *event, struct raft_update *update, bool stale)
{
    struct raft *r = g->raft;
    uint64_t commit = r->commit_index;
    bool led = r->state == RAFT_LEADER;
    unsigned i;
    int rv;

    event->time = g->now;
    event->capacity = 0; /* libraft's back-pressure is not used */
    memset(update, 0, sizeof *update);
    g->steps++;
    rv = raft_step(r, event, update);
    return_configuration(g);
    if (rv != 0)
        return rv;
    count_old_terms(r, g);
    if (r->commit_index < commit && ON(11))
        r->commit_index = commit;
    /* G18: the core commits a lone voter's log at its election, but we are not that voter. */
    if (r->state == RAFT_LEADER && !led && ON(18) && !guard_is_voter(g, r->id))
        r->commit_index = commit;
    if (HAS(update, RAFT_UPDATE_MESSAGES))
        for (i = 0; i < update->messages.n; i++)
            mend_message(g, &update->messages.batch[i], stale);
    g->consume(g->ctx, update);
    /* The core's own entry at an election is ours to free. */
    if (HAS(update, RAFT_UPDATE_ENTRIES) && update->entries.batch == &r->barrier)
        raft_free(r->barrier.batch);
    return 0;
}

static void must_step(struct guard *g, struct raft_event *event, bool stale)
{
    struct raft_update update;
    int rv = step(g, event, &update, stale);

    if (rv != 0)
        die("libraft refused event %d: %s", (int)event->type, raft_strerror(rv));
}

/* ---- Start ----------------------------------------------------------------------------------- */

bool guard_start_needs_term(uint64_t id, const struct raft_configuration *config)
{
    unsigned i;

    for (i = 0; i < config->n; i++)
        if (config->servers[i].id == id)
            return ON(17) && config->servers[i].role == RAFT_VOTER && count_voters(config) == 1;
    return false;
}

int guard_start(struct guard *g, uint64_t term, uint64_t vote,
                struct raft_snapshot_metadata *metadata, uint64_t start_index,
                struct raft_entry *entries, unsigned n)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_update update;

    event.start.term = term;
    event.start.voted_for = vote;
    event.start.metadata = metadata;
    event.start.start_index = start_index;
    event.start.entries = entries;
    event.start.n_entries = n;
    return step(g, &event, &update, false);
}

/* ---- Timeouts -------------------------------------------------------------------------------- */

void guard_forget_leader(struct guard *g)
{
    struct raft *r = g->raft;

    if (r->state != RAFT_FOLLOWER)
        return;
    raft_free(r->follower_state.current_leader.address);
    r->follower_state.current_leader.address = NULL;
    r->follower_state.current_leader.id = 0;
}

/* The same condition under which the core makes a sole voter a leader. */
static bool will_elect_itself(const struct guard *g)
{
    const struct raft *r = g->raft;

    return r->state == RAFT_FOLLOWER && sole_voter(g) && !r->snapshot.installing &&
           r->last_stored == g->log->last && raft_timeout(r) <= g->now;
}

/* G18: for this step the core sees us as one more voter, after all others. Its record of votes then
 * has the other voters at their usual places, and our own vote after them. When results arrive, the
 * core sees the real configuration and does not count our place. */
static void stand_as_outgoing(struct guard *g)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    const struct raft_configuration *config = &g->raft->configuration;
    struct raft_server *servers = xcalloc(config->n + 1, sizeof *servers);
    unsigned i, n = 0;

    for (i = 0; i < config->n; i++)
        if (config->servers[i].id != g->raft->id)
            servers[n++] = config->servers[i];
    servers[n++] = (struct raft_server){g->raft->id, g->raft->address, RAFT_VOTER};
    lend_configuration(g, servers, n);
    must_step(g, &event, false);
    free(servers);
}

void guard_timeout(struct guard *g)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    struct raft_update fresh = {.flags = RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR};
    struct raft *r = g->raft;

    if (ON(6) && r->state == RAFT_FOLLOWER && !guard_is_voter(g, r->id))
        guard_forget_leader(g);
    if (r->state != RAFT_LEADER && outgoing(g)) {
        stand_as_outgoing(g);
        return;
    }
    if (ON(17) && will_elect_itself(g)) {
        r->current_term++;
        r->voted_for = r->id;
        g->consume(g->ctx, &fresh);
    }
    must_step(g, &event, false);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void drop(struct guard *g, const struct raft_message *message, const char *why)
{
    g->dropped++;
    if ((g->dropped & (g->dropped - 1)) == 0) /* the 1st, 2nd, 4th, 8th … */
        log_error("dropped message of type %d from member %llu: %s (%llu so far)",
                  (int)message->type, (unsigned long long)message->server_id, why,
                  (unsigned long long)g->dropped);
}

/* G11: an AppendEntries that contradicts a committed entry. The core would return an error, or
 * continue with a broken log because its assertions are off. */
static bool contradicts(const struct guard *g, const struct raft_append_entries *args,
                        const struct raft_entry *entries)
{
    uint64_t commit = g->raft->commit_index, i, term;

    term = args->prev_log_index > 0 ? entries_term(g->log, args->prev_log_index) : 0;
    if (args->prev_log_index <= commit && term != 0 && term != args->prev_log_term)
        return true;
    for (i = 0; i < args->n_entries && args->prev_log_index + 1 + i <= commit; i++) {
        term = entries_term(g->log, args->prev_log_index + 1 + i);
        if (term != 0 && term != entries[i].term)
            return true;
    }
    return false;
}

/* G11 for AppendEntries of the current term or a newer one. */
static const char *impossible_append(const struct guard *g, const struct raft_message *message,
                                     const struct raft_entry *entries)
{
    const struct raft *r = g->raft;

    if (message->append_entries.term == r->current_term) {
        if (r->state == RAFT_LEADER)
            return "another member leads in our own term";
        if (guard_leader(g) != 0 && guard_leader(g) != message->server_id)
            return "two leaders in one term";
    }
    return contradicts(g, &message->append_entries, entries) ? "conflict with a committed entry"
                                                             : NULL;
}

/* G2: all entries up to `applied` are committed, so the leader's log has the same. Returns the
 * number of entries cut off at the front. */
static unsigned cut_applied(const struct guard *g, struct raft_append_entries *args)
{
    uint64_t cut;

    if (!ON(2) || args->prev_log_index >= g->applied)
        return 0;
    cut = min_u64(g->applied - args->prev_log_index, args->n_entries);
    args->prev_log_index = g->applied;
    args->prev_log_term = entries_term(g->log, g->applied);
    args->n_entries -= (unsigned)cut;
    return (unsigned)cut;
}

/* G3: the number of entries for the next step. */
static unsigned piece_len(const struct raft_entry *entries, unsigned n)
{
    unsigned i;

    for (i = 1; i < n && ON(3); i++)
        if (entries[i].type == RAFT_CHANGE)
            return i;
    return n;
}

/* Copies a configuration; the core keeps the copy. */
static void copy_configuration(const struct raft_configuration *from, struct raft_configuration *to)
{
    unsigned i;

    raft_configuration_init(to);
    for (i = 0; i < from->n; i++)
        if (raft_configuration_add(to, from->servers[i].id, from->servers[i].address,
                                   from->servers[i].role) != 0)
            die("cannot copy a configuration");
}

/* G4: a new CHANGE arrives while an earlier one is unconfirmed. */
static void confirm_earlier(struct guard *g, const struct raft_append_entries *args,
                            const struct raft_entry *first)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    uint64_t pending = g->raft->configuration_uncommitted_index;

    if (!ON(4) || first->type != RAFT_CHANGE || pending == 0 || pending > args->prev_log_index ||
        args->term < g->raft->current_term)
        return;
    if (entries_term(g->log, args->prev_log_index) != args->prev_log_term ||
        entries_term(g->log, args->prev_log_index + 1) == first->term)
        return;
    event.configuration.index = pending;
    copy_configuration(&g->raft->configuration, &event.configuration.conf);
    must_step(g, &event, false);
}

/* Steps one piece of an AppendEntries; false if the core rejected it. */
static bool step_append(struct guard *g, const struct raft_message *message,
                        struct raft_entry *entries, bool stale)
{
    struct raft_message copy = *message;
    struct raft_event event = {.type = RAFT_RECEIVE};
    struct raft_update update;
    void *batch = NULL;
    unsigned i;
    int rv;

    /* The core frees the batch, except if it gives us the entries to write. The batch does not
     * contain the payloads. */
    if (copy.append_entries.n_entries > 0 && (batch = raft_malloc(1)) == NULL)
        die("out of memory");
    for (i = 0; i < copy.append_entries.n_entries; i++)
        entries[i].batch = batch;
    copy.append_entries.entries = entries;
    event.receive.message = &copy;
    rv = step(g, &event, &update, stale);
    if (rv != 0)
        die("libraft refused entries: %s", raft_strerror(rv));
    if (HAS(&update, RAFT_UPDATE_ENTRIES))
        raft_free(batch);
    for (i = 0; HAS(&update, RAFT_UPDATE_MESSAGES) && i < update.messages.n; i++)
        if (update.messages.batch[i].type == RAFT_APPEND_ENTRIES_RESULT &&
            update.messages.batch[i].append_entries_result.rejected > 0)
            return false;
    return true;
}

static void receive_append(struct guard *g, struct raft_message *message,
                           struct raft_entry *entries)
{
    struct raft_append_entries *args = &message->append_entries;
    struct raft_message piece;
    const char *why;
    unsigned done;

    if (args->term < g->raft->current_term) {
        args->n_entries = 0;
        step_append(g, message, NULL, true);
        return;
    }
    why = impossible_append(g, message, entries);
    if (why != NULL && ON(11)) {
        drop(g, message, why);
        return;
    }
    g->leader_term = args->term;
    entries += cut_applied(g, args);
    piece = *message;
    for (done = 0; done == 0 || done < args->n_entries;) {
        unsigned n = piece_len(entries + done, args->n_entries - done);

        piece.append_entries.n_entries = n;
        if (n > 0)
            confirm_earlier(g, &piece.append_entries, &entries[done]);
        if (!step_append(g, &piece, entries + done, false) || n == 0)
            break;
        done += n;
        piece.append_entries.prev_log_index += n;
        piece.append_entries.prev_log_term = entries[done - 1].term;
    }
}

static void receive_append_result(struct guard *g, struct raft_message *message)
{
    struct raft_append_entries_result *result = &message->append_entries_result;
    struct raft_event event = {.type = RAFT_RECEIVE};
    uint64_t match = guard_match(g, message->server_id);

    if (ON(8) && result->rejected > 0 && result->term == g->raft->current_term) {
        if (result->rejected <= match)
            return;
        result->last_log_index = max_u64(result->last_log_index, match);
    }
    event.receive.message = message;
    must_step(g, &event, false);
}

/* G6: during this step the core sees us as a voter. */
static void receive_request_vote(struct guard *g, struct raft_message *message)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    struct raft_server self = {g->raft->id, g->raft->address, RAFT_VOTER};

    if (message->request_vote.candidate_id != message->server_id) {
        drop(g, message, "it asks for a vote for another member");
        return;
    }
    event.receive.message = message;
    if (ON(6) && g->raft->state != RAFT_LEADER && !guard_is_voter(g, g->raft->id))
        lend_configuration(g, &self, 1);
    must_step(g, &event, false);
}

void guard_receive(struct guard *g, struct raft_message *message, struct raft_entry *entries)
{
    struct raft_event event = {.type = RAFT_RECEIVE};

    event.receive.message = message;
    if (message->server_id == 0 || message->server_id == g->raft->id) {
        drop(g, message, "the sender claims to be this member, or has no id");
        return;
    }
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        receive_append(g, message, entries);
        return;
    case RAFT_APPEND_ENTRIES_RESULT:
        receive_append_result(g, message);
        return;
    case RAFT_REQUEST_VOTE:
        receive_request_vote(g, message);
        return;
    case RAFT_REQUEST_VOTE_RESULT:
        if (ON(9) && g->raft->state != RAFT_CANDIDATE)
            return;
        if (message->request_vote_result.vote_granted && ON(11) &&
            message->request_vote_result.term > g->raft->current_term + 1) {
            drop(g, message, "it grants a vote for a term that we did not ask for");
            return;
        }
        must_step(g, &event, false);
        return;
    case RAFT_TIMEOUT_NOW:
        if (ON(17) && sole_voter(g)) /* it would lead without a new term */
            return;
        must_step(g, &event, false);
        return;
    case RAFT_INSTALL_SNAPSHOT: /* comes only from guard_install, never from a peer */
        break;
    }
    drop(g, message, "unknown type");
}

/* ---- Own entries ----------------------------------------------------------------------------- */

int guard_submit(struct guard *g, struct raft_entry *entries, unsigned n)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_update update;
    unsigned i;

    for (i = 0; i < n; i++) {
        check(entries[i].type != RAFT_CHANGE || n == 1); /* the core cannot undo a part */
        entries[i].term = g->raft->current_term;
        entries[i].batch = &no_batch;
    }
    event.submit.entries = entries;
    event.submit.n = n;
    return step(g, &event, &update, false);
}

void guard_persisted(struct guard *g, uint64_t index)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};

    if (index <= g->raft->last_stored)
        return;
    check(index == g->log->last && g->raft->state != RAFT_CANDIDATE);
    event.persisted_entries.index = index;
    must_step(g, &event, false);
}

static void decode_configuration(const uint8_t *data, size_t len, struct raft_configuration *out)
{
    struct raft_buffer bytes = {(void *)(uintptr_t)data, len};
    int rv;

    raft_configuration_init(out);
    rv = len > 0 ? raft_configuration_decode(&bytes, out) : 0;
    if (rv != 0)
        die("a committed configuration cannot be decoded: %s", raft_strerror(rv));
}

void guard_configuration(struct guard *g, uint64_t index, const uint8_t *data, size_t len)
{
    struct raft_event event = {.type = RAFT_CONFIGURATION};

    event.configuration.index = index;
    decode_configuration(data, len, &event.configuration.conf);
    must_step(g, &event, false);
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

bool guard_snapshot(struct guard *g, uint64_t term, uint64_t config_index, const uint8_t *config,
                    size_t config_len, unsigned trailing)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    const struct raft *r = g->raft;

    if (ON(16) && (g->applied > r->last_stored || g->applied <= r->trail.snapshot.index ||
                   r->snapshot.installing ||
                   (r->configuration_uncommitted_index != 0 &&
                    r->configuration_uncommitted_index <= g->applied)))
        return false;
    event.snapshot.metadata.index = g->applied;
    event.snapshot.metadata.term = term;
    event.snapshot.metadata.configuration_index = config_index;
    decode_configuration(config, config_len, &event.snapshot.metadata.configuration);
    event.snapshot.trailing = trailing;
    must_step(g, &event, false);
    return true;
}

bool guard_install(struct guard *g, uint64_t leader, uint64_t index, uint64_t term,
                   uint64_t config_index, const uint8_t *config, size_t config_len)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT};
    struct raft_install_snapshot *args = &message.install_snapshot;
    struct raft_update update;
    int rv;

    check(g->raft->state == RAFT_FOLLOWER && !g->raft->snapshot.installing);
    check(g->raft->last_stored == g->log->last && index > g->applied);
    message.server_id = leader;
    message.server_address = "-";
    args->version = 0;
    args->term = g->raft->current_term;
    args->last_index = index;
    args->last_term = term;
    args->conf_index = config_index;
    decode_configuration(config, config_len, &args->conf);
    event.receive.message = &message;
    rv = step(g, &event, &update, false);
    if (rv != 0)
        die("libraft refused a snapshot: %s", raft_strerror(rv));
    if (!HAS(&update, RAFT_UPDATE_SNAPSHOT))
        return false;
    raft_configuration_close(&update.snapshot.metadata.configuration);
    raft_free(update.snapshot.chunk.base);
    return true;
}

void guard_installed(struct guard *g, uint64_t index, uint64_t term, uint64_t config_index,
                     const uint8_t *config, size_t config_len)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};

    check(g->raft->snapshot.installing);
    event.persisted_snapshot.metadata.index = index;
    event.persisted_snapshot.metadata.term = term;
    event.persisted_snapshot.metadata.configuration_index = config_index;
    event.persisted_snapshot.last = true;
    decode_configuration(config, config_len, &event.persisted_snapshot.metadata.configuration);
    must_step(g, &event, false);
}

void guard_has(struct guard *g, uint64_t id, uint64_t index)
{
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES_RESULT, .server_id = id, .server_address = "-"};

    check(index <= g->applied);
    message.append_entries_result.version = 2;
    message.append_entries_result.term = g->raft->current_term;
    message.append_entries_result.last_log_index = index;
    receive_append_result(g, &message);
}

/* ---- Membership ------------------------------------------------------------------------------ */

bool guard_may_change(const struct guard *g, uint64_t own_index)
{
    const struct raft *r = g->raft;

    return r->state == RAFT_LEADER && r->configuration_uncommitted_index == 0 &&
           r->leader_state.promotee_id == 0 && r->leader_state.transferee == 0 &&
           (!ON(5) || (own_index > 0 && r->commit_index >= own_index));
}

int guard_transfer(struct guard *g, uint64_t id)
{
    struct raft_event event = {.type = RAFT_TRANSFER};
    struct raft_update update;

    if (g->raft->state != RAFT_LEADER)
        return -ENOTCONN;
    if (ON(10) && (guard_match(g, id) != g->log->last ||
                   g->raft->configuration_uncommitted_index != 0 || !guard_is_voter(g, id)))
        return -EAGAIN;
    event.transfer.server_id = id;
    return step(g, &event, &update, false) == 0 ? 0 : -EAGAIN;
}

/* ---- Probes ---------------------------------------------------------------------------------- */

/* In pipeline mode, each message of the core begins where the last one ended. In probe mode, each
 * message begins at the assumed position of the follower and contains all later entries. One answer
 * to a probe starts the pipeline, so a short probe is enough. An empty probe is not: its success
 * changes nothing in the core. */
unsigned guard_probe_cut(struct guard_probe *probe, uint64_t prev, unsigned n)
{
    unsigned limit = n;

    if (n == 0)
        return 0;
    if (prev != probe->end && ON(14))
        limit = prev == probe->prev ? 1 : GUARD_PROBE_MAX;
    n = n < limit ? n : limit;
    probe->prev = prev;
    probe->end = prev + n;
    return n;
}
