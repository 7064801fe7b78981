/* SPDX-License-Identifier: Apache-2.0 */
/* Locks. Before a lock is released, everything that was written on this host is submitted. A
 * session's commands are applied in order, so the next holder of the lock sees it. */
#include <errno.h>
#include <sys/file.h>

#include "fs/kernel/convert.h"
#include "fs/lock/lock_request.h"
#include "fs/ops/ops.h"
#include "fs/request/retried_command.h"

/* ---- Taking ---------------------------------------------------------------------------------- */

static void stay(struct request *r, int error)
{
    (void)r;
    (void)error;
}

static void finish_lock(struct request *r, int error)
{
    (void)error;          /* the program has the lock */
    r->fs->passes.acts++; /* the holder must read the present state */
    fuse_reply_err(r->req, 0);
}

static void finish_lock_pages(struct request *r, int error)
{
    struct request *next = request_new(r->fs, r->req, finish_lock);

    (void)error;
    next->give_up = stay;
    lane_then(&r->fs->lanes.names, next);
}

/* Promise 4: the kernel has forgotten everything that was changed before the grant. */
static void finish_ask(struct request *r, int error)
{
    struct request *next;

    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    next = request_new(r->fs, r->req, finish_lock_pages);
    next->give_up = stay;
    lane_then(&r->fs->lanes.pages, next);
}

static bool has_some(struct fs *fs, const struct handle *h, Cfs__Lock__Kind kind, uint64_t owner)
{
    if (h->locks.lock_requests > 0)
        return true;
    return kind == CFS__LOCK__KIND__FLOCK ? h->locks.flocked : locks_has_posix(fs, h->ino, owner);
}

/* A lock of another type may give up the owner's old one, also if it fails. */
static void take(struct fs *fs, fuse_req_t req, struct handle *h, const Cfs__Lock *lock)
{
    struct request *r = request_new(fs, req, finish_ask);

    if (has_some(fs, h, lock->kind, lock->owner))
        writebacks_drain(fs);
    if (lock->wait)
        r->patience = REQUEST_PATIENT;
    lock_request_start(r, lock);
}

/* ---- Giving up ------------------------------------------------------------------------------- */

static void finish_unlock(struct request *r, int error)
{
    fuse_reply_err(r->req, error);
}

static void on_unlocked(struct retried_command *e, int error)
{
    const Cfs__Unlock *u = &e->unlock;

    if (error == 0 && u->kind == CFS__LOCK__KIND__POSIX)
        locks_settle_posix(e->fs, e->session, u->ino, u->owner);
}

static void give_up(struct request *r, struct handle *h, const Cfs__Unlock *unlock)
{
    uint64_t session = h->locks.session != 0 ? h->locks.session : locks_session(r->fs);
    struct retried_command *e;

    writebacks_drain(r->fs);
    if (unlock->kind == CFS__LOCK__KIND__FLOCK)
        h->locks.flocked = false;
    e = retried_command_unlock(r->fs, session, unlock, on_unlocked);
    request_wait(r, &e->waiters);
}

static void release(struct fs *fs, fuse_req_t req, struct handle *h, const Cfs__Unlock *unlock)
{
    if (has_some(fs, h, unlock->kind, unlock->owner))
        give_up(request_new(fs, req, finish_unlock), h, unlock);
    else
        fuse_reply_err(req, 0);
}

bool ops_unlock_at_flush(struct request *r, struct handle *h, uint64_t owner)
{
    Cfs__Unlock unlock = CFS__UNLOCK__INIT;

    unlock.ino = h->ino;
    unlock.kind = CFS__LOCK__KIND__POSIX;
    unlock.owner = owner;
    unlock.end = INT64_MAX;
    if (!locks_has_posix(r->fs, h->ino, owner))
        return false;
    give_up(r, h, &unlock);
    return true;
}

/* ---- The requests ---------------------------------------------------------------------------- */

/* The handle if it is usable; otherwise the request is answered here. */
static struct handle *get_handle(struct fs *fs, fuse_req_t req, uint64_t fh)
{
    struct handle *h = handle_find(&fs->handles, fh);

    if (h != NULL && !locks_lost(fs, h))
        return h;
    fuse_reply_err(req, h == NULL ? EBADF : EIO);
    return NULL;
}

void ops_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    struct fs *fs = fs_of(req);
    struct handle *h = get_handle(fs, req, fi->fh);
    Cfs__Lock lock = CFS__LOCK__INIT;
    Cfs__Unlock unlock = CFS__UNLOCK__INIT;

    if (h == NULL)
        return;
    if ((op & LOCK_UN) != 0) {
        unlock.ino = ino;
        unlock.kind = CFS__LOCK__KIND__FLOCK;
        unlock.handle = fi->fh;
        release(fs, req, h, &unlock);
        return;
    }
    lock.ino = ino;
    lock.kind = CFS__LOCK__KIND__FLOCK;
    lock.handle = fi->fh;
    lock.write = (op & LOCK_EX) != 0;
    lock.wait = (op & LOCK_NB) == 0;
    lock.pid = (uint32_t)fuse_req_ctx(req)->pid;
    take(fs, req, h, &lock);
}

/* libfuse has converted the kernel's inclusive end into a length: l_len 0 means "to the end". */
static uint64_t end_of(const struct flock *lock)
{
    return lock->l_len == 0 ? INT64_MAX : (uint64_t)(lock->l_start + lock->l_len - 1);
}

static void fill_lock(Cfs__Lock *out, uint64_t ino, const struct fuse_file_info *fi,
                      const struct flock *lock)
{
    out->ino = ino;
    out->kind = CFS__LOCK__KIND__POSIX;
    out->handle = fi->fh;
    out->owner = fi->lock_owner;
    out->start = (uint64_t)lock->l_start;
    out->end = end_of(lock);
    out->write = lock->l_type == F_WRLCK;
    out->pid = (uint32_t)lock->l_pid;
}

void ops_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
               int sleep)
{
    struct fs *fs = fs_of(req);
    struct handle *h = get_handle(fs, req, fi->fh);
    Cfs__Lock wanted = CFS__LOCK__INIT;
    Cfs__Unlock unlock = CFS__UNLOCK__INIT;

    if (h == NULL)
        return;
    fill_lock(&wanted, ino, fi, lock);
    if (lock->l_type == F_UNLCK) {
        unlock.ino = ino;
        unlock.kind = CFS__LOCK__KIND__POSIX;
        unlock.owner = wanted.owner;
        unlock.start = wanted.start;
        unlock.end = wanted.end;
        release(fs, req, h, &unlock);
        return;
    }
    wanted.wait = sleep != 0;
    take(fs, req, h, &wanted);
}

/* ---- F_GETLK --------------------------------------------------------------------------------- */

static void getlk_now(struct request *r, const Cfs__Lock *asked)
{
    const struct backend *b = &r->fs->backend;
    uint64_t session = locks_session(r->fs);
    struct flock out = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    struct backend_lock found;
    int n = b->ops->getlk(b->ctx, session, asked, &found);

    if (n < 0) {
        fuse_reply_err(r->req, -n);
        return;
    }
    if (n > 0) {
        out.l_type = found.write ? F_WRLCK : F_RDLCK;
        out.l_start = (off_t)found.start;
        out.l_len = found.end == INT64_MAX ? 0 : (off_t)(found.end - found.start + 1);
        out.l_pid = found.session == session ? (pid_t)found.pid : 0;
    }
    fuse_reply_lock(r->req, &out);
}

static void finish_getlk(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        getlk_now(r, r->own);
}

/* The present state anywhere: the request holds no lock in the kernel, so it may ask the quorum. */
void ops_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
    struct request *r = request_new(fs_of(req), req, finish_getlk);
    Cfs__Lock *asked = xcalloc(1, sizeof(*asked));

    cfs__lock__init(asked);
    fill_lock(asked, ino, fi, lock);
    r->own = asked;
    request_barrier(r);
}
