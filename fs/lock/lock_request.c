/* SPDX-License-Identifier: Apache-2.0 */
/* States.
 *
 *   HOMELESS  not sent: there is no session that it has not tried
 *   SENT      the Lock is on its way
 *   QUEUED    answered EINPROGRESS: the grant will come
 *   LEAVING   was QUEUED, and its CancelLock is on its way
 *
 * A lock request ends when its outcome is known, whether the program's request still waits (in
 * `waiters`) or was answered before. A grant that no program waits for any more is given back:
 * `undo`. */
#include "fs/lock/lock_request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/hash.h"
#include "fs/kernel/convert.h"
#include "fs/request/retried_command.h"
#include "fs/state.h"

enum lock_request_state { HOMELESS, SENT, QUEUED, LEAVING };

struct lock_request {
    LIST_ENTRY(lock_request) link;
    UT_hash_handle hh; /* by id: QUEUED and LEAVING */
    struct fs *fs;
    struct call call;
    enum lock_request_state state;
    Cfs__Lock lock;
    uint64_t session; /* the session in which it was sent last; 0: none */
    uint64_t id;
    bool had;                     /* the owner held a lock in the range before */
    unsigned grants;              /* the owner's grant count at that time */
    bool doubtful;                /* there may be a grant that this host does not know */
    bool inherited;               /* another request of the same owner was granted it */
    bool leaving;                 /* the program was interrupted */
    bool closed;                  /* its handle was released */
    struct request_queue waiters; /* the program's request; empty if it was answered */
};

static bool is_flock(const struct lock_request *a)
{
    return a->lock.kind == CFS__LOCK__KIND__FLOCK;
}

static struct handle *handle_of(const struct lock_request *a)
{
    return handle_find(&a->fs->handles, a->lock.handle);
}

static void set_state(struct lock_request *a, enum lock_request_state state)
{
    bool was = a->state == QUEUED || a->state == LEAVING, is = state == QUEUED || state == LEAVING;

    if (was && !is)
        HASH_DEL(a->fs->locks.queued, a);
    if (is && !was)
        HASH_ADD_U64(a->fs->locks.queued, id, a);
    a->state = state;
}

/* ---- Giving back ----
 *
 * A lock is not given back if the program knows that it has it, or if another request of the same
 * owner may be granted it: that grant is in the log before an Unlock would be. The last request to
 * end gives back. */

static bool is_same_owner(const struct lock_request *a, const struct lock_request *b)
{
    if (a->lock.ino != b->lock.ino || a->lock.kind != b->lock.kind)
        return false;
    return is_flock(a) ? a->lock.handle == b->lock.handle : a->lock.owner == b->lock.owner;
}

static struct lock_request *find_other(struct lock_request *a)
{
    struct lock_request *other;

    LIST_FOREACH (other, &a->fs->locks.lock_requests, link)
        if (other != a && !other->closed && other->session == a->session && is_same_owner(a, other))
            return other;
    return NULL;
}

static void give_back(struct lock_request *a, bool all)
{
    Cfs__Unlock unlock = CFS__UNLOCK__INIT;

    unlock.ino = a->lock.ino;
    unlock.kind = a->lock.kind;
    unlock.handle = a->lock.handle;
    unlock.owner = a->lock.owner;
    unlock.start = all ? 0 : a->lock.start;
    unlock.end = all ? INT64_MAX : a->lock.end;
    retried_command_unlock(a->fs, a->session, &unlock, NULL);
}

static void undo(struct lock_request *a)
{
    const struct handle *h = handle_of(a);
    struct lock_request *other = find_other(a);

    if (a->closed || h == NULL || h->locks.session != a->session)
        return; /* gone, or soon gone */
    if (other != NULL)
        other->doubtful = other->inherited = true;
    else if (is_flock(a) ? !h->locks.flocked : !locks_has_posix(a->fs, a->lock.ino, a->lock.owner))
        give_back(a, true);
    else if (!is_flock(a) && !a->had && !a->inherited &&
             a->grants == locks_posix_grants(a->fs, a->lock.ino, a->lock.owner))
        give_back(a, false);
}

/* True if nothing of it is on its way. */
static void lock_request_end(struct lock_request *a, int error)
{
    struct handle *h = handle_of(a);

    set_state(a, HOMELESS);
    request_wake(&a->waiters, error);
    if (a->doubtful)
        undo(a);
    LIST_REMOVE(a, link);
    if (h != NULL)
        h->locks.lock_requests--;
    free(a);
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

/* The lease was over when the grant came: another session may have the lock by now. A request that
 * has nothing to lose asks again when the host hears the fate of its session. */
static void doubt(struct lock_request *a, struct handle *h)
{
    if (locks_lost(a->fs, h)) {
        lock_request_end(a, EIO);
        return;
    }
    undo(a);
    a->session = 0;
}

static void granted(struct lock_request *a)
{
    struct handle *h = handle_of(a);

    set_state(a, HOMELESS);
    if (TAILQ_EMPTY(&a->waiters) || h == NULL) {
        a->doubtful = true;
        lock_request_end(a, EINTR);
        return;
    }
    if (!locks_hold_now(a->fs, a->session)) {
        doubt(a, h);
        return;
    }
    if (is_flock(a))
        h->locks.flocked = true;
    else
        locks_hold_posix(a->fs, h, a->lock.owner);
    lock_request_end(a, 0);
}

static void send(struct lock_request *a, uint64_t session);

/* Its session is gone, and its lock with the session. */
static void find_home(struct lock_request *a)
{
    uint64_t session = locks_session(a->fs);

    set_state(a, HOMELESS);
    if (a->leaving || TAILQ_EMPTY(&a->waiters))
        lock_request_end(a, EINTR);
    else if (locks_lost(a->fs, handle_of(a)))
        lock_request_end(a, EIO);
    else if (session != 0 && session != a->session)
        send(a, session);
}

static void on_cancelled(struct retried_command *e, int error)
{
    struct lock_request *a = e->arg;

    if (error == EALREADY)
        granted(a);
    else
        lock_request_end(a, EINTR);
}

static void cancel(struct lock_request *a)
{
    set_state(a, LEAVING);
    retried_command_cancel(a->fs, a->session, a->id, on_cancelled, a);
}

/* The log may have gone on since: if a snapshot was installed, the grant was in it. */
static void look(struct lock_request *a)
{
    const struct backend *b = &a->fs->backend;
    uint64_t fence;
    int state = b->ops->wait_state(b->ctx, a->session, a->id, &a->lock, &fence);

    if (state == BACKEND_GRANTED)
        granted(a);
    else if (state == BACKEND_GONE && !a->leaving)
        send(a, a->session);
    else if (a->leaving || TAILQ_EMPTY(&a->waiters))
        cancel(a);
}

/* An owner that is not granted another type has given up the old one. */
static void lose_flock(struct lock_request *a)
{
    struct handle *h = handle_of(a);

    if (is_flock(a) && h != NULL)
        h->locks.flocked = false;
}

static void on_queued(struct lock_request *a)
{
    a->id = a->call.value;
    lose_flock(a);
    set_state(a, QUEUED);
    look(a);
}

static void on_refused(struct lock_request *a, int error)
{
    if (error == EAGAIN)
        lose_flock(a);
    lock_request_end(a, error);
}

static void on_lock_done(struct call *c)
{
    struct lock_request *a = CONTAINER_OF(c, struct lock_request, call);

    a->state = HOMELESS;
    if (c->err == -ESTALE) {
        find_home(a);
    } else if (c->err != 0) {
        a->doubtful = true; /* it may have been carried out, or may still be */
        lock_request_end(a, convert_error(c->err));
    } else if (c->status == 0) {
        granted(a);
    } else if (c->status == EINPROGRESS) {
        on_queued(a);
    } else {
        on_refused(a, (int)c->status);
    }
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static bool had_some(const struct lock_request *a, uint64_t session)
{
    const struct backend *b = &a->fs->backend;

    return !is_flock(a) && locks_has_posix(a->fs, a->lock.ino, a->lock.owner) &&
           b->ops->holds_some(b->ctx, session, &a->lock);
}

static void send(struct lock_request *a, uint64_t session)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    struct handle *h = handle_of(a);

    check(h != NULL);
    set_state(a, SENT);
    a->had = had_some(a, session);
    a->grants = is_flock(a) ? 0 : locks_posix_grants(a->fs, a->lock.ino, a->lock.owner);
    a->session = session;
    h->locks.session = session;
    command.op_case = CFS__COMMAND__OP_LOCK;
    command.lock = &a->lock;
    call_submit_in(a->fs, &a->call, session, &command, 0, on_lock_done);
}

static void set_grace(struct request *r)
{
    request_due(r, clock_boot_ms() + LOCK_REQUEST_GRACE_MS);
}

/* The request's time is over, or the program was interrupted. */
static void give_up(struct request *r, int error)
{
    struct lock_request *a = CONTAINER_OF(r->queue, struct lock_request, waiters);
    bool first = !a->leaving;

    a->leaving = true;
    if (first && a->lock.wait && a->state != HOMELESS) {
        if (a->state == QUEUED)
            cancel(a);
        set_grace(r);
        return;
    }
    request_end(r, error);
    if (a->state == HOMELESS)
        lock_request_end(a, error);
    else if (a->state == SENT && !a->lock.wait)
        call_cancel(&a->call);
}

void lock_request_start(struct request *r, const Cfs__Lock *lock)
{
    struct fs *fs = r->fs;
    struct lock_request *a = xcalloc(1, sizeof(*a));

    a->fs = fs;
    a->lock = *lock;
    TAILQ_INIT(&a->waiters);
    LIST_INSERT_HEAD(&fs->locks.lock_requests, a, link);
    handle_of(a)->locks.lock_requests++;
    r->give_up = give_up;
    request_wait(r, &a->waiters);
    if (!lock->wait)
        request_due(r, clock_boot_ms() + fs->options.timeout_ms);
    find_home(a);
}

/* ---- What happens ---------------------------------------------------------------------------- */

struct grant {
    struct mail mail;
    struct fs *fs;
    uint64_t id;
};

/* The answer to the CancelLock of a LEAVING request tells this as well. */
static void on_grant(struct mail *mail)
{
    struct grant *g = CONTAINER_OF(mail, struct grant, mail);
    struct lock_request *a;

    HASH_FIND_U64(g->fs->locks.queued, g->id, a);
    free(g);
    if (a != NULL && a->state == QUEUED)
        granted(a);
}

void lock_request_post_grant(struct fs *fs, uint64_t id, uint64_t fence)
{
    struct grant *g = xcalloc(1, sizeof(*g));

    (void)fence; /* the token can be read from the xattr */
    g->fs = fs;
    g->id = id;
    mailbox_post(&fs->mailbox, &g->mail, on_grant);
}

/* Commands on their way come back by themselves. */
void lock_requests_session(struct fs *fs)
{
    struct lock_request *a, *next;

    for (a = LIST_FIRST(&fs->locks.lock_requests); a != NULL; a = next) {
        next = LIST_NEXT(a, link);
        if (a->state == HOMELESS || (a->state == QUEUED && a->session != fs->locks.session))
            find_home(a);
    }
}

void lock_requests_replaced(struct fs *fs)
{
    struct lock_request *a, *next;

    for (a = LIST_FIRST(&fs->locks.lock_requests); a != NULL; a = next) {
        next = LIST_NEXT(a, link);
        if (a->state == QUEUED)
            look(a);
    }
}

void lock_requests_closed(struct fs *fs, uint64_t fh)
{
    struct lock_request *a;

    LIST_FOREACH (a, &fs->locks.lock_requests, link)
        if (a->lock.handle == fh)
            a->closed = true;
}

void lock_requests_fini(struct fs *fs)
{
    struct lock_request *a;

    while ((a = LIST_FIRST(&fs->locks.lock_requests)) != NULL) {
        check(TAILQ_EMPTY(&a->waiters));
        set_state(a, HOMELESS);
        LIST_REMOVE(a, link);
        free(a);
    }
}
