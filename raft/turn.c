/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: how the core's updates reach the disk.
 *
 * Events are stepped as they arrive, and turn_consume collects the core's updates: entries go into
 * `log`; messages leave or are held; term, vote and commit index are noted. turn_flush then writes
 * them in one database transaction: term and vote, truncation, new rows, application of committed
 * entries, compaction. THE COMMIT IN turn_flush MAKES A WRITE DURABLE ON THIS MEMBER.
 *
 * The commit is synced if it contains anything that messages promise to other members (term, vote,
 * rows). Application alone need not be: it can be repeated from the log. Only after the commit are
 * the held messages sent and is the core told which rows are on the disk. Its reaction (a higher
 * commit index, messages) belongs to the next round. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "raft/driver_impl.h"

#define HAS(update, flag) (((update)->flags & (0u + (flag))) != 0)

/* ---- Collecting ------------------------------------------------------------------------------ */

/* The core signals a truncation only by a first index that is not beyond our last row. */
static void take_entries(struct driver *d, const struct raft_update *update)
{
    unsigned i;

    check(update->entries.index <= d->log.last + 1 && update->entries.index > d->guard.applied);
    entries_truncate(&d->log, update->entries.index);
    d->write_from = min_u64(d->write_from, update->entries.index);
    for (i = 0; i < update->entries.n; i++) {
        const struct raft_entry *entry = &update->entries.batch[i];
        struct machine_entry row = {entry->term, (enum machine_entry_type)entry->type,
                                    entry->buf.base, entry->buf.len};

        entries_append(&d->log, &row);
    }
}

static void begin_leading(struct driver *d, const struct raft_update *update)
{
    log_info("member %llu leads in term %llu", (unsigned long long)d->config.id,
             (unsigned long long)d->raft.current_term);
    d->own_index = HAS(update, RAFT_UPDATE_ENTRIES) ? update->entries.index : 0;
    d->tick = d->guard.now + d->config.heartbeat_ms;
}

static void state_changed(struct driver *d, const struct raft_update *update)
{
    bool led = d->prev_state == RAFT_LEADER, leads = d->raft.state == RAFT_LEADER;

    if (d->raft.state != RAFT_FOLLOWER && !led)
        d->elections += d->prev_state == RAFT_FOLLOWER;
    d->prev_state = d->raft.state;
    if (led == leads)
        return;
    replicate_reset(d);
    readindex_lead(d);
    d->transfer = 0;
    d->own_index = 0;
    if (leads)
        begin_leading(d, update);
    else
        snapshot_stop_sending(d);
}

static void take_message(struct driver *d, struct raft_message *message)
{
    if (message->type == RAFT_INSTALL_SNAPSHOT)
        snapshot_wanted(d, message->server_id);
    else
        replicate_message(d, message);
}

void turn_consume(void *ctx, struct raft_update *update)
{
    struct driver *d = ctx;
    unsigned i;

    if (HAS(update, RAFT_UPDATE_CURRENT_TERM) || HAS(update, RAFT_UPDATE_VOTED_FOR))
        d->vote_dirty = true;
    if (HAS(update, RAFT_UPDATE_ENTRIES))
        take_entries(d, update);
    if (HAS(update, RAFT_UPDATE_STATE))
        state_changed(d, update);
    d->commit = max_u64(d->commit, d->raft.commit_index);
    check(d->commit <= d->log.last || d->raft.snapshot.installing || !d->started);
    if (HAS(update, RAFT_UPDATE_MESSAGES))
        for (i = 0; i < update->messages.n; i++)
            take_message(d, &update->messages.batch[i]);
}

/* ---- The transaction ------------------------------------------------------------------------- */

/* The row `index`, from the cache or else from the database into scratch. Not inside a
 * transaction. Borrowed until scratch changes or the next call of the machine. */
static void read_entry(struct driver *d, uint64_t index, struct buf *scratch,
                       struct machine_entry *out)
{
    if (entries_find(&d->log, index, out))
        return;
    check(d->machine.ops->log_get(d->machine.ctx, index, out));
    scratch->len = 0;
    buf_append(scratch, out->data, out->len);
    out->data = scratch->data;
}

/* Entries that this transaction applies, read before it begins. */
struct apply_batch {
    uint64_t first;
    unsigned n;
    struct machine_entry *entries;
    struct buf *owned; /* payloads of the entries that came from the database */
};

static void batch_collect(struct driver *d, struct apply_batch *b)
{
    uint64_t end = min_u64(d->commit, d->log.last);
    size_t bytes = 0;

    *b = (struct apply_batch){.first = d->guard.applied + 1};
    if (end < b->first)
        return;
    end = min_u64(end, d->guard.applied + DRIVER_APPLY_ENTRIES);
    b->entries = xcalloc(end - b->first + 1, sizeof *b->entries);
    b->owned = xcalloc(end - b->first + 1, sizeof *b->owned);
    while (b->first + b->n <= end && bytes < DRIVER_APPLY_BYTES) {
        read_entry(d, b->first + b->n, &b->owned[b->n], &b->entries[b->n]);
        bytes += b->entries[b->n].len;
        b->n++;
    }
}

static void batch_fini(struct apply_batch *b)
{
    unsigned i;

    for (i = 0; i < b->n; i++)
        buf_fini(&b->owned[i]);
    free(b->owned);
    free(b->entries);
}

static void write_rows(struct driver *d)
{
    const struct machine_ops *ops = d->machine.ops;
    struct machine_entry entry;
    uint64_t index;

    if (d->stored_last >= d->write_from)
        ops->log_truncate(d->machine.ctx, d->write_from);
    for (index = d->write_from; index <= d->log.last; index++) {
        check(entries_find(&d->log, index, &entry));
        ops->log_append(d->machine.ctx, index, &entry);
    }
}

static void remember_config(struct driver *d, uint64_t index, const struct machine_entry *entry)
{
    d->config_index = index;
    buf_fini(&d->config_data);
    d->config_data = buf_copy(entry->data, entry->len);
}

static void apply_commands(struct driver *d, const struct apply_batch *b)
{
    unsigned i;

    for (i = 0; i < b->n; i++)
        d->machine.ops->apply(d->machine.ctx, b->first + i, &b->entries[i]);
}

/* A compaction is due by rows, or by bytes: since the last one, a quarter of compact_bytes came. */
static bool compaction_due(const struct driver *d, uint64_t applied)
{
    uint64_t since = d->raft.trail.snapshot.index;
    uint64_t bytes = d->config.compact_bytes;

    return applied >= since + d->config.compact_every ||
           (applied > since && entries_first_within(&d->log, bytes / 4) > since + 1 &&
            entries_first_within(&d->log, bytes) > entries_first(&d->log));
}

/* Compacts first the core's log, then ours; the caller deletes the rows in its transaction. The
 * rows after a snapshot that is being sent must stay. Returns the first row to keep; 0: no
 * compaction. */
static uint64_t compact(struct driver *d)
{
    uint64_t applied = d->guard.applied, trailing, within;

    if (!compaction_due(d, applied))
        return 0;
    within = min_u64(entries_first_within(&d->log, d->config.compact_bytes), applied + 1);
    trailing = min_u64(d->config.compact_trailing, applied + 1 - within);
    trailing = max_u64(trailing, applied + 1 - snapshot_keep(d, applied));
    if (trailing > UINT32_MAX)
        return 0;
    if (!guard_snapshot(&d->guard, d->applied_term, d->config_index, d->config_data.data,
                        d->config_data.len, (unsigned)trailing))
        return 0;
    if (applied <= trailing || applied - trailing < entries_first(&d->log))
        return 0;
    entries_compact(&d->log, applied - trailing + 1);
    check(d->raft.trail.offset == d->log.base_index);
    return applied - trailing + 1;
}

/* ---- After a commit -------------------------------------------------------------------------- */

static void after_rows(struct driver *d)
{
    d->stored_last = d->log.last;
    d->write_from = d->log.last + 1;
    guard_persisted(&d->guard, d->log.last);
}

static void after_apply(struct driver *d, const struct apply_batch *b)
{
    unsigned i;

    d->guard.applied = b->first + b->n - 1;
    d->applied_term = b->entries[b->n - 1].term;
    for (i = 0; i < b->n; i++) {
        if (b->entries[i].type != MACHINE_CHANGE)
            continue;
        remember_config(d, b->first + i, &b->entries[i]);
        replicate_push_commit(d); /* in the next line a leader that removed itself steps down */
        guard_configuration(&d->guard, b->first + i, b->entries[i].data, b->entries[i].len);
    }
}

/* What the others wait for leaves before our own transaction: new entries, so that the followers
 * write at the same time, and the commit index, so that they apply at the same time. */
static void send_first(struct driver *d, bool applies)
{
    if (applies)
        replicate_push_commit(d);
    if (d->env.flush != NULL)
        d->env.flush(d->env.ctx);
}

/* Nothing is stepped between the commit and guard_persisted(), so the rows on the disk are the rows
 * of the core. */
bool turn_flush(struct driver *d)
{
    const struct machine_ops *ops = d->machine.ops;
    uint64_t keep_from = compact(d);
    struct apply_batch b;
    bool rows, vote;

    batch_collect(d, &b);
    rows = driver_rows_dirty(d);
    vote = d->vote_dirty;
    if (!rows && !vote && b.n == 0 && keep_from == 0) {
        batch_fini(&b);
        return false;
    }
    send_first(d, b.n > 0);
    ops->begin(d->machine.ctx);
    if (vote)
        ops->set_vote(d->machine.ctx, d->raft.current_term, d->raft.voted_for);
    if (rows)
        write_rows(d);
    apply_commands(d, &b);
    if (keep_from > 0)
        ops->log_compact(d->machine.ctx, keep_from);
#ifdef BREAK_EARLY
    if (rows)
        guard_persisted(&d->guard, d->log.last);
    d->vote_dirty = false;
    outbox_release(d);
#endif
    ops->commit(d->machine.ctx, rows || vote);

    d->vote_dirty = false;
    outbox_release(d);
    if (rows)
        after_rows(d);
    if (b.n > 0) {
        after_apply(d, &b);
        d->env.on_applied(d->env.ctx, d->guard.applied);
    }
    batch_fini(&b);
    entries_evict(&d->log, min_u64(d->write_from, d->guard.applied + 1));
    replicate_pump(d);
    return true;
}
