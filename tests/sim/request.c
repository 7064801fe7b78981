/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a host: its command, the state of the answers before it, and a check that its
 * answer is the one that the committed log gives. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "tests/sim/impl.h"

/* Checks an answer against the reference. */
static void judge(const struct request *r, const uint8_t *reply, size_t len)
{
    struct member *m = r->member;
    struct world *w = m->world;
    const struct reference_row *row = reference_find(w->reference, m->at_session, m->at_seq);
    unsigned long long at = row != NULL ? row->index : 0;

    if (row == NULL) {
        world_fail(w, "ANSWER: member %u answers (%llu, %llu), which was never applied", m->id,
                   (unsigned long long)m->at_session, (unsigned long long)m->at_seq);
        return;
    }
    if (row->command != r->hash)
        world_fail(w, "ANSWER: member %u answers with entry %llu, another command", m->id, at);
    else if (row->reply != XXH3_64bits(reply, len))
        world_fail(w, "ANSWER: member %u answers differently from entry %llu", m->id, at);
    else if (row->index <= r->floor)
        world_fail(w, "ORDER: member %u: entry %llu, submitted after an answer of entry %llu",
                   m->id, at, (unsigned long long)r->floor);
    else if (store_applied(m->daemon.store) < row->index)
        world_fail(w, "OWN WRITES: member %u answers for entry %llu before it has it", m->id, at);
    w->answered = max_u64(w->answered, row->index);
    if (r->journal != 0 && row->status == 0)
        w->journal_answered = max_u64(w->journal_answered, row->value + sizeof r->journal);
}

static void on_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    struct request *r = arg;
    struct member *m = r->member;
    struct world *w = m->world;

    if (err == 0 && !m->doomed)
        judge(r, reply, len);
    if (err == 0)
        w->stats.answered++;
    else
        w->stats.unknown++;
    w->waits -= r->waits;
    m->pending--;
    free(r);
}

void sim_request_submit(struct member *m, struct buf *command, uint64_t journal, bool waits)
{
    struct world *w = m->world;
    struct request *r = xcalloc(1, sizeof *r);
    uint64_t deadline = 0, ticket;

    r->member = m;
    r->hash = XXH3_64bits(command->data, command->len);
    r->floor = w->answered;
    r->journal = journal;
    r->waits = waits;
    w->waits += waits;
    m->pending++;
    w->stats.submitted++;
    if (!raft_sim_peaceful(w->sim) && raft_sim_pick(w->sim, 0, 999) < w->config.deadlines)
        deadline = raft_sim_clock_us(w->sim, m->id) / 1000 + raft_sim_pick(w->sim, 1, 3000);
    ticket = ++m->last_ticket;
    client_submit(m->client, ticket, 0, command, deadline, on_done, r);
    if (deadline != 0 && deadline % 4 == 0) /* cancelled immediately, or while it is in progress */
        client_cancel(m->client, ticket - min_u64(ticket - 1, deadline % 3));
}
