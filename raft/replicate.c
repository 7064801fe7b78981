/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: how AppendEntries leave.
 *
 * The core orders "send n entries after prev to that peer". This file decides what to send, and
 * when. Each peer has a window next … probe.end of rows to send. replicate_pump() sends from its
 * start in pieces of bounded size while the link's queue has room. Memory is therefore bounded,
 * whatever the core believes to be in flight. Every piece begins where the last one ended, so the
 * follower sees one unbroken sequence. A heartbeat (n == 0) names the last row that was really
 * sent. If a piece is lost (no link, queue full), the follower rejects the next one, and the core
 * sends the rows again.
 *
 * AppendEntries may leave before our own rows are on the disk: the core counts this member only
 * after that. But no message may show a term or vote that a crash could undo (outbox.c). */
#include <stdlib.h>

#include "raft/driver_impl.h"

struct driver_peer *replicate_peer(struct driver *d, uint64_t id)
{
    unsigned i;

    for (i = 0; i < d->n_peers; i++)
        if (d->peers[i].id == id)
            return &d->peers[i];
    if (d->n_peers == DRIVER_PEERS_MAX) {
        for (i = 0; i < d->n_peers; i++) /* a former member makes room */
            if (guard_find_server(&d->guard, d->peers[i].id) == NULL)
                break;
        if (i == d->n_peers)
            return NULL;
        d->peers[i] = d->peers[--d->n_peers];
    }
    d->peers[d->n_peers] = (struct driver_peer){.id = id, .next = 1};
    return &d->peers[d->n_peers++];
}

/* ---- AppendEntries --------------------------------------------------------------------------- */

static void send_append(struct driver *d, struct driver_peer *peer, uint64_t prev, unsigned n,
                        const struct machine_entry *entries)
{
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES};
    struct raft_append_entries *args = &message.append_entries;

    args->term = d->raft.current_term;
    args->prev_log_index = prev;
    args->prev_log_term = entries_term(&d->log, prev);
    args->leader_commit = d->commit;
    args->n_entries = n;
    peer->told = max_u64(peer->told, min_u64(d->commit, prev + n));
    outbox_post(d, peer->id, wire_encode_raft(&message, entries), args->term);
}

/* Sends one message of rows from peer->next on, within its bounds. Rows that are not cached come
 * from the database. Their bytes are valid only until the next read, so they are copied to
 * `scratch`; the pointers into it are set when it no longer grows. */
static void send_piece(struct driver *d, struct driver_peer *peer)
{
    uint64_t first = peer->next, end = peer->probe.end;
    struct machine_entry *rows = xcalloc(min_u64(end - first + 1, WIRE_ENTRIES_MAX), sizeof *rows);
    struct buf scratch = BUF_EMPTY;
    unsigned n = 0, copied = 0, i;
    size_t bytes = 0, offset = 0;

    while (first + n <= end && n < WIRE_ENTRIES_MAX) {
        bool cached = entries_find(&d->log, first + n, &rows[n]);

        if (!cached)
            check(d->machine.ops->log_get(d->machine.ctx, first + n, &rows[n]));
        if (n > 0 && bytes + rows[n].len > WIRE_APPEND_MAX)
            break;
        bytes += rows[n].len;
        if (!cached) { /* only rows at the front: the cache is the tail of the log */
            buf_append(&scratch, rows[n].data, rows[n].len);
            copied++;
        }
        n++;
    }
    for (i = 0; i < copied; i++) {
        rows[i].data = scratch.data != NULL ? scratch.data + offset : NULL;
        offset += rows[i].len;
    }
    send_append(d, peer, first - 1, n, rows);
    peer->next = first + n;
    buf_fini(&scratch);
    free(rows);
}

static bool has_window(const struct driver_peer *peer)
{
    return peer->next <= peer->probe.end;
}

static void drop_window(struct driver_peer *peer)
{
    peer->probe = (struct guard_probe){0};
    peer->next = 1;
}

static void pump_peer(struct driver *d, struct driver_peer *peer)
{
    while (has_window(peer)) {
        /* The rows were compacted, or the window is older than the log. */
        if (peer->next < entries_first(&d->log) || peer->probe.end > d->log.last ||
            (peer->next > 1 && entries_term(&d->log, peer->next - 1) == 0)) {
            drop_window(peer);
            return;
        }
        if (d->env.queued(d->env.ctx, peer->id) >= DRIVER_LINK_BYTES)
            return;
        send_piece(d, peer);
    }
}

void replicate_pump(struct driver *d)
{
    unsigned i;

    if (!guard_is_leader(&d->guard) || d->vote_dirty)
        return;
    for (i = 0; i < d->n_peers; i++)
        pump_peer(d, &d->peers[i]);
}

bool replicate_blocked(const struct driver *d)
{
    unsigned i;

    for (i = 0; i < d->n_peers; i++)
        if (has_window(&d->peers[i]))
            return guard_is_leader(&d->guard);
    return false;
}

static void on_append(struct driver *d, const struct raft_message *message)
{
    const struct raft_append_entries *args = &message->append_entries;
    struct driver_peer *peer = replicate_peer(d, message->server_id);
    uint64_t end;

    if (peer == NULL || !d->env.linked(d->env.ctx, peer->id))
        return;
    if (args->n_entries == 0) {
        uint64_t prev = has_window(peer) ? peer->next - 1 : args->prev_log_index;

        if (prev == 0 || entries_term(&d->log, prev) != 0)
            send_append(d, peer, prev, 0, NULL);
        return;
    }
    end = peer->probe.end;
    guard_probe_cut(&peer->probe, args->prev_log_index, args->n_entries);
    if (args->prev_log_index != end)
        peer->next = args->prev_log_index + 1;
    if (!d->vote_dirty)
        pump_peer(d, peer);
}

void replicate_message(struct driver *d, struct raft_message *message)
{
    if (message->type == RAFT_APPEND_ENTRIES)
        on_append(d, message);
    else
        outbox_post(d, message->server_id, wire_encode_raft(message, NULL), 0);
}

/* ---- The commit push ------------------------------------------------------------------------- */

/* A commit makes the core send nothing, so followers would learn it only with the next heartbeat.
 * This message is valid for them, because their logs match ours up to `match`. */
void replicate_push_commit(struct driver *d)
{
    unsigned i;

    if (!guard_is_leader(&d->guard) || d->vote_dirty)
        return;
    for (i = 0; i < d->raft.configuration.n; i++) {
        uint64_t id = d->raft.configuration.servers[i].id;
        struct driver_peer *peer = id != d->config.id ? replicate_peer(d, id) : NULL;
        uint64_t match = peer != NULL ? guard_match(&d->guard, id) : 0;

        if (match == 0 || has_window(peer) || min_u64(match, d->commit) <= peer->told ||
            entries_term(&d->log, match) == 0 || !d->env.linked(d->env.ctx, id))
            continue;
        send_append(d, peer, match, 0, NULL);
    }
}

/* ---- Life of a window ------------------------------------------------------------------------ */

void replicate_reset(struct driver *d)
{
    unsigned i;

    for (i = 0; i < d->n_peers; i++) {
        drop_window(&d->peers[i]);
        d->peers[i].told = 0;
    }
}

void replicate_unlink(struct driver *d, uint64_t id)
{
    struct driver_peer *peer = replicate_peer(d, id);

    if (peer == NULL)
        return;
    drop_window(peer);
    peer->told = 0;
}
