#include "store/expire.h"

#include <errno.h>

#include "store/lock.h"

void expire_end(struct op *op, struct session *session)
{
    uint64_t maker = op->session;
    bool unseen = op->unseen;

    op->session = 0; /* what follows is nobody's doing */
    op->unseen = true;
    lock_end_session(op, session->id);
    op_ended(op, session);
    session_delete(op->sessions, session);
    op->session = maker;
    op->unseen = unseen;
}

/* The reply to the command is still to be given: the session ends behind it. */
uint32_t expire_close(struct op *op)
{
    op->closing = true;
    return 0;
}

/* A leader that was deposed may have decided on it, and its client sends it again through the next
 * leader, which may have renewed the session meanwhile: then it must have no effect. */
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
