/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * An unlinked file must live until the last process of any host has closed it. Opening a file is
 * not replicated, so each member knows only which files its own host has in use (open, or known to
 * the kernel, which can still open them through an O_PATH descriptor). A round works as follows, on
 * the leader:
 *
 *  - It takes the next ORPHANS_MAX orphans of the state, in the order of their inode numbers, and
 *    marks those that this host uses.
 *  - It asks every other member that has a session. A member without a session has lost its handles
 *    (they fail with ESTALE), so its answer is not needed.
 *  - When all answers have arrived, it proposes to free the orphans that no host uses.
 *
 * An answer counts only if its member had applied every unlink of the round: before the unlink a
 * process could still open the file by its name. Afterwards no process can, so an unused file
 * stays unused until the Reap is applied.
 *
 * A lost message ends nothing: the next round begins after ROUND_MS, forgets the unanswered one and
 * asks again. A new leader begins its own rounds; a Reap that an earlier leader proposed is
 * harmless, because apply skips each inode that is not an orphan. */
#include "daemon/reaper.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/app.h"
#include "proto/encode.h"

#define ROUND_MS    1000
#define ORPHANS_MAX 1024 /* per round */

struct orphan {
    uint64_t ino;
    bool held;
};

struct reaper {
    struct daemon *daemon;
    uint64_t next_ms;
    /* The round in progress; n_orphans 0: none. */
    uint64_t round;
    struct orphan orphans[ORPHANS_MAX];
    unsigned n_orphans;
    uint64_t newest; /* index of the latest unlink among them */
    uint64_t cursor; /* the last orphan of this round: the next round begins behind it */
    uint64_t waiting[LIMIT_MEMBERS_MAX];
    unsigned n_waiting;
};

struct reaper *reaper_new(struct daemon *d)
{
    struct reaper *r = xcalloc(1, sizeof *r);

    r->daemon = d;
    return r;
}

void reaper_free(struct reaper *r)
{
    free(r);
}

static bool held_here(struct reaper *r, uint64_t ino)
{
    struct fs *fs = atomic_load(&r->daemon->fs);

    return fs != NULL && fs_is_open(fs, ino);
}

/* ---- The leader's side ----------------------------------------------------------------------- */

static void add_orphan(void *arg, uint64_t ino, uint64_t unlinked)
{
    struct reaper *r = arg;

    r->orphans[r->n_orphans++] = (struct orphan){ino, held_here(r, ino)};
    r->newest = max_u64(r->newest, unlinked);
    r->cursor = ino;
}

struct search {
    uint64_t member;
    bool found;
};

static void compare_member(void *arg, const struct store_session *s)
{
    struct search *search = arg;

    search->found |= s->member == search->member;
}

static bool has_session(struct reaper *r, uint64_t member)
{
    struct search search = {member, false};

    store_sessions(r->daemon->store, compare_member, &search);
    return search.found;
}

static void ask_members(struct reaper *r, const struct driver_status *status)
{
    Cfs__OrphanQuery query = CFS__ORPHAN_QUERY__INIT;
    Cfs__App app = CFS__APP__INIT;
    uint64_t inos[ORPHANS_MAX];
    unsigned i;

    for (i = 0; i < r->n_orphans; i++)
        inos[i] = r->orphans[i].ino;
    query.round = r->round;
    query.inos = inos;
    query.n_inos = r->n_orphans;
    app.body_case = CFS__APP__BODY_ORPHAN_QUERY;
    app.orphan_query = &query;
    r->n_waiting = 0;
    for (i = 0; i < status->n_members; i++) {
        if (status->members[i].id == status->id || !has_session(r, status->members[i].id))
            continue;
        r->waiting[r->n_waiting++] = status->members[i].id;
        app_send(r->daemon, status->members[i].id, &app);
    }
}

static void ignore_reply(void *arg BASE_UNUSED, int err BASE_UNUSED,
                         const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
}

static void finish_round(struct reaper *r)
{
    Cfs__Reap reap = CFS__REAP__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;
    struct buf bytes;
    uint64_t inos[ORPHANS_MAX];
    unsigned i;

    reap.inos = inos;
    for (i = 0; i < r->n_orphans; i++)
        if (!r->orphans[i].held)
            inos[reap.n_inos++] = r->orphans[i].ino;
    r->n_orphans = 0;
    if (reap.n_inos == 0)
        return;
    command.op_case = CFS__COMMAND__OP_REAP;
    command.reap = &reap;
    bytes = encode_command(&command);
    consensus_submit(r->daemon->consensus, &bytes, ROUND_MS * 10, ignore_reply, NULL);
}

static void start_round(struct reaper *r)
{
    struct driver_status status;

    r->n_orphans = 0;
    r->newest = 0;
    if (!driver_is_leader(consensus_driver(r->daemon->consensus)))
        return;
    store_orphans(r->daemon->store, r->cursor, ORPHANS_MAX, add_orphan, r);
    if (r->n_orphans < ORPHANS_MAX)
        r->cursor = 0;
    if (r->n_orphans == 0)
        return;
    r->round++;
    consensus_status(r->daemon->consensus, &status);
    ask_members(r, &status);
    if (r->n_waiting == 0)
        finish_round(r);
}

void reaper_tick(struct reaper *r)
{
    uint64_t now = clock_boot_ms();

    if (now < r->next_ms)
        return;
    r->next_ms = now + ROUND_MS;
    start_round(r);
}

static void mark_held(struct reaper *r, const Cfs__OrphanAnswer *answer)
{
    unsigned i;
    size_t j;

    for (j = 0; j < answer->n_held; j++)
        for (i = 0; i < r->n_orphans; i++)
            if (r->orphans[i].ino == answer->held[j])
                r->orphans[i].held = true;
}

static void on_answer(struct reaper *r, uint64_t from, const Cfs__OrphanAnswer *answer)
{
    unsigned i;

    if (r->n_orphans == 0 || answer->round != r->round || answer->applied < r->newest)
        return; /* too old; the next round asks again */
    for (i = 0; i < r->n_waiting && r->waiting[i] != from; i++)
        ;
    if (i == r->n_waiting)
        return;
    mark_held(r, answer);
    r->waiting[i] = r->waiting[--r->n_waiting];
    if (r->n_waiting == 0)
        finish_round(r);
}

/* ---- The asked member's side ----------------------------------------------------------------- */

static void on_query(struct reaper *r, uint64_t from, const Cfs__OrphanQuery *query)
{
    Cfs__OrphanAnswer answer = CFS__ORPHAN_ANSWER__INIT;
    Cfs__App app = CFS__APP__INIT;
    uint64_t held[ORPHANS_MAX];
    size_t i;

    if (query->n_inos > ORPHANS_MAX)
        return;
    for (i = 0; i < query->n_inos; i++)
        if (held_here(r, query->inos[i]))
            held[answer.n_held++] = query->inos[i];
    answer.round = query->round;
    answer.applied = store_applied(r->daemon->store);
    answer.held = held;
    app.body_case = CFS__APP__BODY_ORPHAN_ANSWER;
    app.orphan_answer = &answer;
    app_send(r->daemon, from, &app);
}

void reaper_message(struct reaper *r, uint64_t from, const Cfs__App *app)
{
    if (app->body_case == CFS__APP__BODY_ORPHAN_QUERY)
        on_query(r, from, app->orphan_query);
    else if (app->body_case == CFS__APP__BODY_ORPHAN_ANSWER)
        on_answer(r, from, app->orphan_answer);
}
