/* SPDX-License-Identifier: Apache-2.0 */
#include "store/expire.h"

#include <errno.h>

#include "proto/limits.h"
#include "store/lock.h"
#include "store/special.h"
#include "store/staged_write.h"
#include "store/tree.h"

/* ---- Entries ----------------------------------------------------------------------------------*/

/* Removes an entry whose time is over. A directory that is not empty, because other sessions have
 * created entries in it, becomes a container instead: it is removed with its last entry. */
static bool end_entry(struct op *op, const struct special *special)
{
    struct special is = *special;

    if (tree_remove(op, special->ino))
        return true;
    is.session = 0;
    is.container = 1;
    special_save(op, special, &is);
    return false;
}

/* Saves which session caused changes: those made in between are the state machine's own. */
struct maker {
    uint64_t session;
    bool unseen;
};

static struct maker begin_by_itself(struct op *op)
{
    struct maker maker = {op->session, op->unseen};

    op->session = 0;
    op->unseen = true;
    return maker;
}

static void end_by_itself(struct op *op, struct maker maker)
{
    op->session = maker.session;
    op->unseen = maker.unseen;
}

uint32_t expire_release(struct op *op, const Cfs__ReleaseEphemeral *c)
{
    uint64_t session = op->session;
    struct maker maker;

    if (c->n_inos > LIMIT_RELEASE_MAX)
        return E2BIG;
    maker = begin_by_itself(op);
    for (size_t i = 0; i < c->n_inos; i++) {
        struct special special;

        if (special_find(op, c->inos[i], &special) && special.session == session &&
            special.ephemeral == CFS__EPHEMERAL__EPHEMERAL_OPEN && end_entry(op, &special))
            op->reply.value++;
    }
    end_by_itself(op, maker);
    return 0;
}

static bool is_over(struct op *op, const Cfs__ExpiringEntry *e)
{
    struct special special;
    struct inode inode;

    return special_find(op, e->ino, &special) && special.deadline > 0 &&
           special.deadline <= op->rows->state->clock && row_inode_find(op->rows, e->ino, &inode) &&
           (op_is_dir(&inode) ? inode.cversion : inode.version) == e->version;
}

uint32_t expire_entries(struct op *op, const Cfs__ExpireEntries *c)
{
    struct maker maker;

    if (c->n_entries > LIMIT_EXPIRE_MAX)
        return E2BIG;
    /* No time counts twice, and a command that waited for a leader is measured again. */
    if (c->term != op->term || c->clock != (uint64_t)op->rows->state->clock)
        return ESTALE;
    special_advance(op, c->elapsed_ms);
    maker = begin_by_itself(op);
    for (size_t i = 0; i < c->n_entries; i++)
        if (is_over(op, c->entries[i]) && tree_remove(op, c->entries[i]->ino))
            op->reply.value++;
    end_by_itself(op, maker);
    return 0;
}

/* ---- Sessions ---------------------------------------------------------------------------------*/

static bool find_ephemeral(struct op *op, uint64_t session, struct special *out)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_SPECIAL_OF_SESSION);
    uint64_t ino = 0;

    db_bind(st, 1, session);
    if (db_step(op->rows->db, st) > 0)
        ino = db_u64(st, 0);
    db_reset(st);
    return ino != 0 && special_find(op, ino, out);
}

void expire_end(struct op *op, struct session *session)
{
    struct maker maker = begin_by_itself(op);
    struct special special;

#ifndef BREAK_END
    lock_end_session(op, session->id);
#endif
    staged_write_end_session(op, session->id);
    while (session->ephemerals > 0 && find_ephemeral(op, session->id, &special))
        end_entry(op, &special);
    check(session->ephemerals == 0);
    op_ended(op, session);
    session_delete(op->sessions, session);
    end_by_itself(op, maker);
}

/* The session ends only after the reply to this command. */
uint32_t expire_close(struct op *op)
{
    op->closing = true;
    return 0;
}

/* A deposed leader may have decided this, and its client sends the command again through the next
 * leader. That leader may have renewed the session meanwhile. Then the command must have no effect.
 */
uint32_t expire_session(struct op *op, const Cfs__ExpireSession *c)
{
    struct session *session = session_find(op->sessions, c->session);

    if (c->term != op->term)
        return ESTALE;
    if (session == NULL)
        return ENOENT;
    if (session->id == op->session)
        return expire_close(op);
    expire_end(op, session);
    return 0;
}
