/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/lock_model.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- Owners and ranges ----------------------------------------------------------------------- */

static int find_owner(const struct lock_model *m, uint64_t session, uint32_t kind, uint64_t owner)
{
    for (int i = 0; i < LOCK_MODEL_OWNERS; i++)
        if (m->owners[i].used && m->owners[i].session == session && m->owners[i].kind == kind &&
            m->owners[i].owner == owner)
            return i;
    return -1;
}

static bool is_waiting(const struct lock_model *m, int owner)
{
    for (int i = 0; i < m->n_queue; i++)
        if (m->queue[i].owner == owner)
            return true;
    return false;
}

bool lock_model_holds_any(const struct lock_model_owner *owner)
{
    for (int file = 0; file < LOCK_MODEL_FILES; file++)
        for (int i = 0; i < LOCK_MODEL_BYTES; i++)
            if (owner->used && owner->bytes[file][i].type != 0)
                return true;
    return false;
}

static int get_owner(struct lock_model *m, uint64_t session, uint32_t kind, uint64_t owner)
{
    int at = find_owner(m, session, kind, owner);

    if (at >= 0)
        return at;
    for (at = 0; at < LOCK_MODEL_OWNERS; at++)
        if (!m->owners[at].used || (!lock_model_holds_any(&m->owners[at]) && !is_waiting(m, at)))
            break;
    check(at < LOCK_MODEL_OWNERS);
    memset(&m->owners[at], 0, sizeof m->owners[at]);
    m->owners[at].used = true;
    m->owners[at].session = session;
    m->owners[at].kind = kind;
    m->owners[at].owner = owner;
    return at;
}

static int to_file(const struct lock_model *m, uint64_t ino)
{
    for (int i = 0; i < LOCK_MODEL_FILES; i++)
        if (m->inos[i] == ino)
            return i;
    check(false);
    return -1;
}

static int to_byte(uint64_t offset)
{
    return offset < LOCK_MODEL_BYTES ? (int)offset : LOCK_MODEL_BYTES - 1;
}

/* ---- Conflicts ------------------------------------------------------------------------------- */

static bool same_kind(const struct lock_model *m, int a, int b)
{
    return m->owners[a].kind == m->owners[b].kind;
}

static bool conflicts_with_held(const struct lock_model *m, const struct lock_model_request *r,
                                int other)
{
    if (other == r->owner || !m->owners[other].used || !same_kind(m, r->owner, other))
        return false;
    for (int i = r->first; i <= r->last; i++) {
        int type = m->owners[other].bytes[r->file][i].type;

        if (type != 0 && (type == 2 || r->type == 2))
            return true;
    }
    return false;
}

static bool conflicts_with_request(const struct lock_model *m, const struct lock_model_request *a,
                                   const struct lock_model_request *b)
{
    return a->owner != b->owner && same_kind(m, a->owner, b->owner) && a->file == b->file &&
           a->first <= b->last && b->first <= a->last && (a->type == 2 || b->type == 2);
}

/* ---- The graph of waiting owners ------------------------------------------------------------- */

typedef bool matrix[LOCK_MODEL_OWNERS][LOCK_MODEL_OWNERS];

/* Adds an edge from the request to each owner that it waits for. */
static void add_edges(const struct lock_model *m, const struct lock_model_request *r, matrix hard,
                      matrix all)
{
    for (int o = 0; o < LOCK_MODEL_OWNERS; o++)
        if (conflicts_with_held(m, r, o))
            hard[r->owner][o] = all[r->owner][o] = true;
    for (int i = 0; i < m->n_queue; i++)
        if (m->queue[i].id < r->id && conflicts_with_request(m, r, &m->queue[i]))
            all[r->owner][m->queue[i].owner] = true;
}

static void close_transitively(matrix reach, int but_via)
{
    for (int via = 0; via < LOCK_MODEL_OWNERS; via++)
        for (int a = 0; a < LOCK_MODEL_OWNERS; a++)
            for (int b = 0; b < LOCK_MODEL_OWNERS; b++)
                if (via != but_via && reach[a][via] && reach[via][b])
                    reach[a][b] = true;
}

/* Of POSIX locks only. */
static void get_graph(const struct lock_model *m, matrix hard, matrix all)
{
    memset(hard, 0, sizeof(matrix));
    memset(all, 0, sizeof(matrix));
    for (int i = 0; i < m->n_queue; i++)
        if (m->owners[m->queue[i].owner].kind == CFS__LOCK__KIND__POSIX)
            add_edges(m, &m->queue[i], hard, all);
}

/* Finds the owners that wait, directly or through others, for a lock that `owner` holds. */
static void get_awaiting(const struct lock_model *m, int owner, bool *out)
{
    matrix hard, reach;

    get_graph(m, hard, reach);
    close_transitively(reach, owner);
    for (int from = 0; from < LOCK_MODEL_OWNERS; from++) {
        out[from] = hard[from][owner];
        for (int via = 0; via < LOCK_MODEL_OWNERS; via++)
            out[from] = out[from] || (via != owner && reach[from][via] && hard[via][owner]);
    }
}

static bool holds_of(const struct lock_model *m, int owner, int file)
{
    for (int i = 0; i < LOCK_MODEL_BYTES; i++)
        if (m->owners[owner].bytes[file][i].type != 0)
            return true;
    return false;
}

static bool is_free(const struct lock_model *m, const struct lock_model_request *r)
{
    bool flock = m->owners[r->owner].kind == CFS__LOCK__KIND__FLOCK;
    bool awaiting[LOCK_MODEL_OWNERS];

    for (int o = 0; o < LOCK_MODEL_OWNERS; o++)
        if (conflicts_with_held(m, r, o))
            return false;
    if (flock && holds_of(m, r->owner, r->file))
        return true;
    get_awaiting(m, r->owner, awaiting);
    for (int i = 0; i < m->n_queue; i++)
        if (m->queue[i].id < r->id && conflicts_with_request(m, r, &m->queue[i]) &&
            (flock || !awaiting[m->queue[i].owner]))
            return false;
    return true;
}

/* True if waiting would close a cycle of owners that wait for locks. */
static bool is_deadlock(const struct lock_model *m, const struct lock_model_request *r)
{
    matrix hard, all;

    if (m->owners[r->owner].kind == CFS__LOCK__KIND__FLOCK)
        return false;
    get_graph(m, hard, all);
    close_transitively(hard, -1);
    for (int o = 0; o < LOCK_MODEL_OWNERS; o++)
        if (conflicts_with_held(m, r, o) && hard[o][r->owner])
            return true;
    return false;
}

/* ---- Changes --------------------------------------------------------------------------------- */

static void take(struct lock_model *m, uint64_t index, const struct lock_model_request *r)
{
    for (int i = r->first; i <= r->last; i++) {
        struct lock_model_byte *b = &m->owners[r->owner].bytes[r->file][i];

        if (b->type != r->type || b->handle != r->handle)
            b->since = index;
        b->type = r->type;
        b->handle = r->handle;
    }
}

static void leave_queue(struct lock_model *m, int at)
{
    memmove(&m->queue[at], &m->queue[at + 1], (size_t)(m->n_queue - at - 1) * sizeof m->queue[0]);
    m->n_queue--;
}

uint32_t lock_model_lock(struct lock_model *m, uint64_t index, uint64_t session, const Cfs__Lock *c)
{
    bool flock = c->kind == CFS__LOCK__KIND__FLOCK;
    struct lock_model_request r = {
        .id = index,
        .owner = get_owner(m, session, (uint32_t)c->kind, flock ? c->handle : c->owner),
        .file = to_file(m, c->ino),
        .first = flock ? 0 : to_byte(c->start),
        .last = flock ? LOCK_MODEL_BYTES - 1 : to_byte(c->end),
        .type = c->write ? 2 : 1,
        .handle = c->handle,
    };

    if (is_free(m, &r)) {
        take(m, index, &r);
        return 0;
    }
    if (!c->wait) {
        if (flock)
            memset(m->owners[r.owner].bytes[r.file], 0, sizeof m->owners[r.owner].bytes[r.file]);
        return EAGAIN;
    }
    if (is_deadlock(m, &r))
        return EDEADLK;
    check(m->n_queue < LOCK_MODEL_QUEUE);
    m->queue[m->n_queue++] = r;
    if (flock)
        memset(m->owners[r.owner].bytes[r.file], 0, sizeof m->owners[r.owner].bytes[r.file]);
    return EINPROGRESS;
}

void lock_model_unlock(struct lock_model *m, uint64_t session, const Cfs__Unlock *c)
{
    bool flock = c->kind == CFS__LOCK__KIND__FLOCK;
    int owner = find_owner(m, session, (uint32_t)c->kind, flock ? c->handle : c->owner);
    int file = to_file(m, c->ino);

    for (int i = 0; owner >= 0 && i < LOCK_MODEL_BYTES; i++)
        if (flock || (i >= to_byte(c->start) && i <= to_byte(c->end)))
            m->owners[owner].bytes[file][i].type = 0;
}

/* Drops all locks and requests of the session; without `all`, only those of the handle. */
static void drop(struct lock_model *m, uint64_t session, bool all, uint64_t handle)
{
    for (int o = 0; o < LOCK_MODEL_OWNERS; o++)
        for (int file = 0; file < LOCK_MODEL_FILES; file++)
            for (int i = 0; i < LOCK_MODEL_BYTES; i++) {
                struct lock_model_byte *b = &m->owners[o].bytes[file][i];

                if (m->owners[o].used && m->owners[o].session == session &&
                    (all || b->handle == handle))
                    b->type = 0;
            }
    for (int i = m->n_queue - 1; i >= 0; i--)
        if (m->owners[m->queue[i].owner].session == session &&
            (all || m->queue[i].handle == handle))
            leave_queue(m, i);
}

void lock_model_release(struct lock_model *m, uint64_t session, uint64_t handle)
{
    drop(m, session, false, handle);
}

void lock_model_end(struct lock_model *m, uint64_t session)
{
    drop(m, session, true, 0);
}

uint32_t lock_model_cancel(struct lock_model *m, uint64_t session, uint64_t id)
{
    for (int i = 0; i < m->n_queue; i++)
        if (m->queue[i].id == id && m->owners[m->queue[i].owner].session == session) {
            leave_queue(m, i);
            return 0;
        }
    return EALREADY;
}

/* ---- Grants ---------------------------------------------------------------------------------- */

bool lock_model_grant(struct lock_model *m, uint64_t index, const struct store_grant *grant,
                      struct buf *why)
{
    int at = 0;
    const struct lock_model_owner *owner;
    struct lock_model_request r;

    while (at < m->n_queue && m->queue[at].id != grant->id)
        at++;
    if (at == m->n_queue) {
        buf_printf(why, "request %" PRIu64 " was granted, but does not wait\n", grant->id);
        return false;
    }
    r = m->queue[at];
    owner = &m->owners[r.owner];
    if (owner->session != grant->session || owner->kind != grant->kind ||
        r.handle != grant->handle || owner->owner != grant->owner ||
        m->inos[r.file] != grant->ino || grant->fence != index) {
        buf_printf(why, "request %" PRIu64 ": the grant is of another request\n", grant->id);
        return false;
    }
    if (!is_free(m, &r)) {
        buf_printf(why, "request %" PRIu64 " was granted, but its bytes are not free\n", grant->id);
        return false;
    }
    leave_queue(m, at);
    take(m, index, &r);
    return true;
}

int lock_model_waiting(const struct lock_model *m, uint64_t session, uint32_t kind, uint64_t owner)
{
    int at = find_owner(m, session, kind, owner), n = 0;

    for (int i = 0; at >= 0 && i < m->n_queue; i++)
        n += m->queue[i].owner == at;
    return n;
}

/* True if owners wait for one another's locks in a cycle. (An owner may have one thread that waits
 * and another that does not.) */
static bool is_stuck(const struct lock_model *m)
{
    matrix hard, all;

    get_graph(m, hard, all);
    close_transitively(hard, -1);
    for (int a = 0; a < LOCK_MODEL_OWNERS; a++)
        if (hard[a][a])
            return true;
    return false;
}

bool lock_model_settled(struct lock_model *m, struct buf *why)
{
    for (int i = 0; i < m->n_queue; i++)
        if (is_free(m, &m->queue[i])) {
            buf_printf(why, "request %" PRIu64 " could be granted, but was not\n", m->queue[i].id);
            return false;
        }
    if (m->single && is_stuck(m)) {
        buf_printf(why, "a deadlock\n");
        return false;
    }
    return true;
}
