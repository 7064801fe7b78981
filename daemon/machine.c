/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * raft/ applies entries within a transaction of the store. The results of an entry (a reply, the
 * end of a session, lock grants, changes of the tree) must not be visible before the state that
 * they belong to. So do_apply keeps them, and they leave in two steps:
 *
 *  - do_commit shows the new state to the readers of this process (store_show) and passes the
 *    changes to the filesystem, which invalidates the kernel's caches. Then it waits for the disk.
 *  - machine_deliver, after the commit, completes this host's requests, reports the sessions that
 *    have ended, and passes on the lock grants, in this order.
 *
 * Changes by this host's own session are kept apart, because the filesystem treats them differently
 * (fs/cache/invalidate.h). No changes are kept if this member has no mount. */
#include "daemon/machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"
#include "daemon/session_manager.h"
#include "proto/encode.h"

/* A reply for this host's client, kept from apply until the transaction is committed. */
struct delivery {
    STAILQ_ENTRY(delivery) link;
    enum client_outcome outcome;
    uint64_t session;
    uint64_t seq;
    uint64_t nonce;
    struct buf reply;
    uint64_t ended; /* if not 0, only this counts: the session of this host that has ended */
};

struct changes {
    Cfs__Change **items;
    size_t len;
    size_t cap;
};

struct machine_adapter {
    struct daemon *daemon;
    STAILQ_HEAD(, delivery) deliveries;
    struct grants {
        struct store_grant *items;
        size_t len;
        size_t cap;
    } grants;                   /* to this host's session */
    struct changes own, others; /* made by this host's session, and by others */
};

struct machine_adapter *machine_new(struct daemon *d)
{
    struct machine_adapter *m = xcalloc(1, sizeof *m);

    m->daemon = d;
    STAILQ_INIT(&m->deliveries);
    return m;
}

static void clear_changes(struct changes *c)
{
    size_t i;

    for (i = 0; i < c->len; i++)
        cfs__change__free_unpacked(c->items[i], NULL);
    c->len = 0;
}

static void clear_deliveries(struct machine_adapter *m)
{
    struct delivery *next;

    while ((next = STAILQ_FIRST(&m->deliveries)) != NULL) {
        STAILQ_REMOVE_HEAD(&m->deliveries, link);
        buf_fini(&next->reply);
        free(next);
    }
}

void machine_free(struct machine_adapter *m)
{
    clear_deliveries(m);
    clear_changes(&m->own);
    clear_changes(&m->others);
    free(m->grants.items);
    free(m->own.items);
    free(m->others.items);
    free(m);
}

static struct store *store_of(void *ctx)
{
    struct machine_adapter *m = ctx;

    return m->daemon->store;
}

/* ---- Log, term, vote ------------------------------------------------------------------------- */

static void do_load(void *ctx, struct machine_state *out)
{
    struct store_raft_state state;

    store_raft_state(store_of(ctx), &state);
    *out = (struct machine_state){
        .term = state.term,
        .vote = state.vote,
        .first_index = state.first_index,
        .last_index = state.last_index,
        .applied = state.applied,
        .applied_term = state.applied_term,
        .config_index = state.config_index,
        .config = state.config,
    };
}

static void do_begin(void *ctx)
{
    store_begin(store_of(ctx));
}

static void pass_changes(struct fs *fs, struct changes *c, bool own)
{
    if (c->len == 0 || fs == NULL) {
        clear_changes(c);
        return;
    }
    fs_changed(fs, c->items, c->len, own);
    *c = (struct changes){0};
}

/* The filesystem gets the changes as soon as its readers see the new state, before the wait for the
 * disk. This is safe: an applied entry is already on the disks of a majority. */
static void do_commit(void *ctx, bool sync)
{
    struct machine_adapter *m = ctx;
    struct fs *fs = atomic_load(&m->daemon->fs);
    bool changes = fs != NULL && m->own.len + m->others.len > 0;

    if (changes)
        fs_changing(fs, true);
    store_show(m->daemon->store);
    pass_changes(fs, &m->others, false);
    pass_changes(fs, &m->own, true);
    if (fs != NULL)
        fs_told(fs, store_applied(m->daemon->store));
    if (changes)
        fs_changing(fs, false);
    store_commit(m->daemon->store, sync);
}

static void do_set_vote(void *ctx, uint64_t term, uint64_t vote)
{
    store_set_vote(store_of(ctx), term, vote);
}

static void do_log_truncate(void *ctx, uint64_t from)
{
    store_log_truncate(store_of(ctx), from);
}

static void do_log_compact(void *ctx, uint64_t below)
{
    store_log_compact(store_of(ctx), below);
}

static const struct {
    enum machine_entry_type machine;
    enum store_entry_type store;
} entry_types[] = {
    {MACHINE_COMMAND, STORE_COMMAND},
    {MACHINE_BARRIER, STORE_BARRIER},
    {MACHINE_CHANGE, STORE_CHANGE},
};

static struct store_entry to_store(const struct machine_entry *entry)
{
    for (size_t i = 0; i < ARRAY_LEN(entry_types); i++)
        if (entry_types[i].machine == entry->type)
            return (struct store_entry){entry->term, entry_types[i].store, entry->data, entry->len};
    die("log entry of unknown type %d", (int)entry->type);
}

static struct machine_entry from_store(const struct store_entry *row)
{
    for (size_t i = 0; i < ARRAY_LEN(entry_types); i++)
        if (entry_types[i].store == row->type)
            return (struct machine_entry){row->term, entry_types[i].machine, row->data, row->len};
    die("log row of unknown type %d", (int)row->type);
}

static void do_log_append(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct store_entry row = to_store(entry);

    store_log_append(store_of(ctx), index, &row);
}

static bool do_log_get(void *ctx, uint64_t index, struct machine_entry *out)
{
    struct store_entry row;

    if (!store_log_get(store_of(ctx), index, &row))
        return false;
    *out = from_store(&row);
    return true;
}

static bool do_acceptable(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    return from == 0 ? store_acceptable(data, len)
                     : store_acceptable_from(store_of(ctx), from, data, len);
}

/* ---- Apply ----------------------------------------------------------------------------------- */

static void keep_changes(struct changes *to, const struct store_result *result)
{
    size_t i;

    if (to->len + result->n_changes > to->cap) {
        to->cap = (to->len + result->n_changes) * 2;
        to->items = xrealloc(to->items, to->cap * sizeof *to->items);
    }
    for (i = 0; i < result->n_changes; i++)
        to->items[to->len++] = encode_copy_change(result->changes[i]);
}

static const enum client_outcome outcomes[] = {
    [STORE_APPLIED] = CLIENT_APPLIED,
    [STORE_DUPLICATE] = CLIENT_DUPLICATE,
    [STORE_GAP] = CLIENT_GAP,
    [STORE_NO_SESSION] = CLIENT_NO_SESSION,
};

static void keep_reply(struct machine_adapter *m, const struct store_result *result)
{
    struct delivery *d = xcalloc(1, sizeof *d);

    d->outcome = outcomes[result->outcome];
    d->session = result->session;
    d->seq = result->seq;
    d->nonce = result->nonce;
    d->reply = buf_copy(result->reply, result->reply != NULL ? result->reply_len : 0);
    STAILQ_INSERT_TAIL(&m->deliveries, d, link);
}

static void keep_end(struct machine_adapter *m, uint64_t session)
{
    struct delivery *d = xcalloc(1, sizeof *d);

    d->ended = session;
    STAILQ_INSERT_TAIL(&m->deliveries, d, link);
}

static void keep_grants(struct grants *to, const struct store_result *result, uint64_t own)
{
    for (size_t i = 0; i < result->n_grants; i++) {
        if (result->grants[i].session != own)
            continue;
        if (to->len == to->cap) {
            to->cap = 2 * to->cap + 1;
            to->items = xrealloc(to->items, to->cap * sizeof *to->items);
        }
        to->items[to->len++] = result->grants[i];
    }
}

static void do_apply(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct machine_adapter *m = ctx;
    struct store_entry row = to_store(entry);
    struct store_result result;
    uint64_t own;

    store_apply(m->daemon->store, index, &row, &result);
    if (result.outcome == STORE_INTERNAL)
        return;
    own = m->daemon->consensus != NULL ? consensus_session(m->daemon->consensus) : 0;
    if (result.nonce != 0 || result.session == own)
        keep_reply(m, &result);
    for (size_t i = 0; i < result.n_ended; i++)
        if (result.ended[i].member == m->daemon->options.id)
            keep_end(m, result.ended[i].session);
    keep_grants(&m->grants, &result, own);
    if (result.n_changes > 0 && atomic_load(&m->daemon->fs) != NULL)
        keep_changes(result.session == own ? &m->own : &m->others, &result);
}

/* After the completions: a request learns that it waits before it learns of its grant. */
static void pass_grants(struct machine_adapter *m)
{
    struct fs *fs = atomic_load(&m->daemon->fs);

    for (size_t i = 0; i < m->grants.len && fs != NULL; i++)
        fs_granted(fs, m->grants.items[i].id, m->grants.items[i].fence);
    m->grants.len = 0;
}

void machine_deliver(struct machine_adapter *m)
{
    struct delivery *next;

    while ((next = STAILQ_FIRST(&m->deliveries)) != NULL) {
        STAILQ_REMOVE_HEAD(&m->deliveries, link);
        if (next->ended != 0)
            session_manager_ended(m->daemon->session_manager, next->ended);
        else
            consensus_applied(m->daemon->consensus, next->outcome, next->session, next->seq,
                              next->nonce, next->reply.data, next->reply.len);
        buf_fini(&next->reply);
        free(next);
    }
    pass_grants(m);
}

/* ---- Snapshots: raft's opaque handles are the store's ---------------------------------------- */

static struct store_snapshot_out *from_snapshot(struct machine_snapshot *snapshot)
{
    return (struct store_snapshot_out *)(void *)snapshot;
}

static struct store_snapshot_in *from_incoming(struct machine_incoming *incoming)
{
    return (struct store_snapshot_in *)(void *)incoming;
}

static enum machine_progress progress_of(enum store_progress progress)
{
    static const enum machine_progress to[] = {
        [STORE_BUSY] = MACHINE_BUSY,
        [STORE_READY] = MACHINE_READY,
        [STORE_FAILED] = MACHINE_FAILED,
    };

    return to[progress];
}

static struct machine_snapshot *do_snapshot_open(void *ctx)
{
    return (struct machine_snapshot *)(void *)store_snapshot_out_open(store_of(ctx));
}

static enum machine_progress do_snapshot_poll(void *ctx BASE_UNUSED,
                                              struct machine_snapshot *snapshot)
{
    return progress_of(store_snapshot_out_poll(from_snapshot(snapshot)));
}

static void do_snapshot_info(void *ctx BASE_UNUSED, struct machine_snapshot *snapshot,
                             struct machine_snapshot_info *out)
{
    struct store_snapshot_info info;

    store_snapshot_out_info(from_snapshot(snapshot), &info);
    *out = (struct machine_snapshot_info){info.index, info.term, info.config_index, info.config,
                                          info.size};
}

static int64_t do_snapshot_read(void *ctx BASE_UNUSED, struct machine_snapshot *snapshot,
                                uint64_t offset, void *out, size_t len)
{
    return store_snapshot_out_read(from_snapshot(snapshot), offset, out, len);
}

static void do_snapshot_close(void *ctx BASE_UNUSED, struct machine_snapshot *snapshot)
{
    store_snapshot_out_close(from_snapshot(snapshot));
}

static struct machine_incoming *do_incoming_open(void *ctx)
{
    return (struct machine_incoming *)(void *)store_snapshot_in_open(store_of(ctx));
}

static int do_incoming_write(void *ctx BASE_UNUSED, struct machine_incoming *incoming,
                             uint64_t offset, const void *data, size_t len)
{
    return store_snapshot_in_write(from_incoming(incoming), offset, data, len);
}

static void do_incoming_verify(void *ctx BASE_UNUSED, struct machine_incoming *incoming,
                               const struct machine_snapshot_info *info)
{
    struct store_snapshot_info expected = {info->index, info->term, info->config_index,
                                           info->config, info->size};

    store_snapshot_in_verify(from_incoming(incoming), &expected);
}

static enum machine_progress do_incoming_poll(void *ctx BASE_UNUSED,
                                              struct machine_incoming *incoming)
{
    return progress_of(store_snapshot_in_poll(from_incoming(incoming)));
}

static void do_incoming_install(void *ctx BASE_UNUSED, struct machine_incoming *incoming)
{
    store_snapshot_in_install(from_incoming(incoming));
}

static void do_incoming_close(void *ctx BASE_UNUSED, struct machine_incoming *incoming)
{
    store_snapshot_in_close(from_incoming(incoming));
}

static const struct machine_ops ops = {
    .load = do_load,
    .begin = do_begin,
    .set_vote = do_set_vote,
    .log_truncate = do_log_truncate,
    .log_append = do_log_append,
    .log_compact = do_log_compact,
    .acceptable = do_acceptable,
    .apply = do_apply,
    .commit = do_commit,
    .log_get = do_log_get,
    .snapshot_open = do_snapshot_open,
    .snapshot_poll = do_snapshot_poll,
    .snapshot_info = do_snapshot_info,
    .snapshot_read = do_snapshot_read,
    .snapshot_close = do_snapshot_close,
    .incoming_open = do_incoming_open,
    .incoming_write = do_incoming_write,
    .incoming_verify = do_incoming_verify,
    .incoming_poll = do_incoming_poll,
    .incoming_install = do_incoming_install,
    .incoming_close = do_incoming_close,
};

struct machine machine_of(struct machine_adapter *m)
{
    return (struct machine){m, &ops};
}
