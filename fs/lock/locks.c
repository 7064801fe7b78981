/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/lock/locks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "fs/hash.h"
#include "fs/lock/lock_request.h"
#include "fs/lock/lostlock.h"
#include "fs/request/retried_command.h"
#include "fs/state.h"
#include "proto/limits.h"

struct posix_owner {
    uint64_t key[2]; /* ino, owner */
    unsigned grants;
    LIST_HEAD(, posix_link) links;
    UT_hash_handle hh;
};

struct posix_link {
    LIST_ENTRY(posix_link) of_owner;
    LIST_ENTRY(posix_link) of_handle;
    struct posix_owner *owner;
    struct handle *handle;
};

void locks_init(struct locks *l)
{
    *l = (struct locks){.session = 0};
    LIST_INIT(&l->lock_requests);
}

/* ---- Owners of POSIX locks ------------------------------------------------------------------- */

static struct posix_owner *find_owner(struct fs *fs, uint64_t ino, uint64_t owner)
{
    uint64_t key[] = {ino, owner};
    struct posix_owner *found;

    /* uthash reads a key byte by byte, which the analyzer cannot follow; all of it is set. */
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    HASH_FIND(hh, fs->locks.owners, key, sizeof(key), found);
    return found;
}

static struct posix_owner *get_owner(struct fs *fs, uint64_t ino, uint64_t owner)
{
    struct posix_owner *o = find_owner(fs, ino, owner);

    if (o != NULL)
        return o;
    o = xcalloc(1, sizeof(*o));
    o->key[0] = ino;
    o->key[1] = owner;
    LIST_INIT(&o->links);
    HASH_ADD(hh, fs->locks.owners, key, sizeof(o->key), o);
    return o;
}

static void unlink_posix(struct fs *fs, struct posix_link *link)
{
    struct posix_owner *o = link->owner;

    LIST_REMOVE(link, of_owner);
    LIST_REMOVE(link, of_handle);
    free(link);
    if (LIST_EMPTY(&o->links)) {
        HASH_DEL(fs->locks.owners, o);
        free(o);
    }
}

void locks_hold_posix(struct fs *fs, struct handle *h, uint64_t owner)
{
    struct posix_owner *o = get_owner(fs, h->ino, owner);
    struct posix_link *link;

    o->grants++;
    LIST_FOREACH (link, &o->links, of_owner)
        if (link->handle == h)
            return;
    link = xcalloc(1, sizeof(*link));
    link->owner = o;
    link->handle = h;
    LIST_INSERT_HEAD(&o->links, link, of_owner);
    LIST_INSERT_HEAD(&h->locks.posix, link, of_handle);
}

bool locks_has_posix(struct fs *fs, uint64_t ino, uint64_t owner)
{
    return find_owner(fs, ino, owner) != NULL;
}

unsigned locks_posix_grants(struct fs *fs, uint64_t ino, uint64_t owner)
{
    const struct posix_owner *o = find_owner(fs, ino, owner);

    return o == NULL ? 0 : o->grants;
}

static void forget_owner(struct fs *fs, struct posix_owner *o)
{
    struct posix_link *link, *next;

    for (link = LIST_FIRST(&o->links); link != NULL; link = next) {
        next = LIST_NEXT(link, of_owner);
        unlink_posix(fs, link); /* the owner goes with its last lock */
    }
}

void locks_settle_posix(struct fs *fs, uint64_t session, uint64_t ino, uint64_t owner)
{
    const struct backend *b = &fs->backend;
    struct posix_owner *o = find_owner(fs, ino, owner);
    Cfs__Lock all = CFS__LOCK__INIT;

    all.ino = ino;
    all.kind = CFS__LOCK__KIND__POSIX;
    all.owner = owner;
    all.end = INT64_MAX;
    if (o != NULL && !b->ops->holds_some(b->ctx, session, &all))
        forget_owner(fs, o);
}

static void forget_posix(struct fs *fs, struct handle *h)
{
    struct posix_link *link;

    while ((link = LIST_FIRST(&h->locks.posix)) != NULL)
        unlink_posix(fs, link);
}

void locks_fini(struct fs *fs)
{
    struct posix_owner *o, *next;

    lock_requests_fini(fs);
    HASH_ITER (hh, fs->locks.owners, o, next)
        forget_owner(fs, o);
    free(fs->locks.released);
    free(fs->locks.lost);
}

/* ---- Losing ---------------------------------------------------------------------------------- */

static uint64_t session_now(struct fs *fs)
{
    const struct backend *b = &fs->backend;

    return b->ops->session == NULL ? 1 : b->ops->session(b->ctx);
}

/* While the lease is in doubt, the session may still exist: the state machine will tell. */
uint64_t locks_session(struct fs *fs)
{
    uint64_t now = session_now(fs);

    return now != 0 ? now : fs->locks.session;
}

bool locks_hold_now(struct fs *fs, uint64_t session)
{
    return session_now(fs) == session;
}

static bool holds(const struct handle *h)
{
    return h->locks.flocked || !LIST_EMPTY(&h->locks.posix);
}

uint64_t locks_bound(const struct handle *h)
{
    return h != NULL && (h->locks.lost || holds(h)) ? h->locks.session : 0;
}

static void note_lost_file(struct locks *l, uint64_t ino)
{
    if (l->n_lost == l->cap_lost) {
        l->cap_lost = 2 * l->cap_lost + 1;
        l->lost = xrealloc(l->lost, l->cap_lost * sizeof(*l->lost));
    }
    l->lost[l->n_lost++] = ino;
}

static void lose(struct fs *fs, struct handle *h)
{
    h->locks.lost = true;
    h->locks.flocked = false;
    forget_posix(fs, h);
    log_warn("inode %llu: a lock was lost with session %llu; the handle that thread %d has opened "
             "is of no use any more",
             (unsigned long long)h->ino, (unsigned long long)h->locks.session, h->tid);
    writeback_drop(fs, h->ino, h->locks.session);
    note_lost_file(&fs->locks, h->ino);
}

bool locks_lost(struct fs *fs, struct handle *h)
{
    if (h == NULL || (!h->locks.lost && !holds(h)))
        return false;
    if (!h->locks.lost && !locks_hold_now(fs, h->locks.session))
        lose(fs, h);
    return h->locks.lost;
}

void locks_set_session(struct fs *fs, uint64_t session)
{
    struct handle *h, *next;

    fs->locks.session = session;
    HASH_ITER (hh, fs->handles.table, h, next)
        if (!h->locks.lost && holds(h) && h->locks.session != session)
            lose(fs, h);
    lock_requests_session(fs);
}

void locks_turn(struct fs *fs)
{
    struct locks *l = &fs->locks;

    if (l->n_lost == 0)
        return;
    lostlock_punish(fs->options.lostlock, fs->mount_id, l->lost, l->n_lost);
    l->n_lost = 0;
}

/* ---- Closing --------------------------------------------------------------------------------- */

static void on_released(struct retried_command *e, int error)
{
    (void)error; /* the locks have ended with their session */
    e->fs->locks.releasing--;
    locks_send(e->fs);
}

void locks_send(struct fs *fs)
{
    struct locks *l = &fs->locks;
    size_t n = l->n_released;

    if (n == 0)
        return;
    l->n_released = 0; /* sending comes here again */
    l->releasing++;
    retried_command_release(fs, l->released_session, l->released, n, on_released);
}

/* The handles of a process that ends come one by one: while one command is on its way, the next
 * handles are gathered. */
static void gather(struct fs *fs, uint64_t fh, uint64_t session)
{
    struct locks *l = &fs->locks;

    if (l->n_released == LIMIT_RELEASE_MAX || l->released_session != session)
        locks_send(fs);
    if (l->n_released == l->cap_released) {
        l->cap_released = 2 * l->cap_released + 1;
        l->released = xrealloc(l->released, l->cap_released * sizeof(*l->released));
    }
    l->released[l->n_released++] = fh;
    l->released_session = session;
    if (l->releasing == 0)
        locks_send(fs);
}

void locks_closed(struct fs *fs, struct handle *h)
{
    if (h == NULL || h->locks.session == 0)
        return;
    if (h->locks.lock_requests > 0)
        lock_requests_closed(fs, h->fh);
    if (h->locks.lost || h->locks.lock_requests > 0 || holds(h)) {
        writebacks_drain(fs); /* the next holder of the lock sees it */
        gather(fs, h->fh, h->locks.session);
    }
    forget_posix(fs, h);
}
