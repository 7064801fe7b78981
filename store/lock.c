/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A request that cannot be granted is queued at its file. Three events can make a queued request
 * grantable: a lock was released or became weaker, a request was dropped, or a grant changed which
 * owners wait for which (then requests on other files may no longer be blocked, add_others_of).
 * Each operation ends with serve(), which looks at the affected files until nothing more can be
 * granted. The order in which it looks is fixed, so every member grants in the same order.
 *
 * flock locks are simple: a file has either shared locks or one exclusive lock, and every request
 * concerns the whole file. POSIX locks need three things more. take() splits and merges ranges.
 * Requests that conflict only with other queued requests may pass those whose owners wait for them
 * (find_earlier). And before a request is queued, closes_cycle looks for a deadlock: a cycle of
 * hard edges is EDEADLK; a cycle that also has soft edges is dissolved (store/waits.h). */
#include "store/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/limits.h"
#include "store/waits.h"

/* ---- What stands against a request ------------------------------------------------------------*/

static struct lock *held_by(const struct lock_owner *owner, const struct lock_file *file)
{
    struct lock *lock;

    if (owner == NULL)
        return NULL;
    LIST_FOREACH (lock, &owner->held, in_owner)
        if (lock->file == file)
            return lock;
    return NULL;
}

/* Held flock locks of a file are all alike: several shared ones, or one exclusive. So the first one
 * of another owner decides. */
static const struct lock *find_holder(const struct lock_file *file, const struct lock_row *want)
{
    const struct lock *lock;

    TAILQ_FOREACH (lock, &file->held, in_file) {
        if (locktab_conflict(&lock->row, want))
            return lock;
        if (want->kind == LOCK_FLOCK &&
            (lock->row.session != want->session || lock->row.owner != want->owner))
            return NULL;
    }
    return NULL;
}

/* Finds an earlier conflicting request that blocks this one. */
static const struct lock *find_earlier(struct locktab *t, const struct lock_file *file,
                                       const struct lock_row *want)
{
    struct lock_owner *owner = locktab_owner(t, want);
    bool marked = false;
    const struct lock *w;

    if (want->kind == LOCK_FLOCK && held_by(owner, file) != NULL)
        return NULL;
    TAILQ_FOREACH (w, &file->waiting, in_file) {
        if (w->row.number >= want->number)
            break;
        if (!locktab_conflict(&w->row, want))
            continue;
        if (want->kind == LOCK_FLOCK || owner == NULL)
            return w;
        if (!marked && !waits_is_awaited(owner, WAITS_HARD))
            return w;
        if (!marked)
            waits_mark(t, owner, WAITS_HARD, WAITS_ALL);
        marked = true;
        if (!waits_marked(t, w->by))
            return w;
    }
    return NULL;
}

static bool is_free(struct locktab *t, const struct lock_file *file, const struct lock_row *want)
{
#ifdef BREAK_QUEUE
    return file == NULL || find_holder(file, want) == NULL;
#endif
    return file == NULL || (find_holder(file, want) == NULL && find_earlier(t, file, want) == NULL);
}

/* ---- Taking and giving up ---------------------------------------------------------------------*/

struct own {
    struct lock **locks;
    size_t n;
};

/* Returns the owner's locks on the file that overlap or touch the range. The caller frees
 * own.locks. */
static struct own find_own(const struct locktab *t, const struct lock_row *range)
{
    const struct lock_file *file = locktab_file(t, range->ino, (enum lock_kind)range->kind);
    const struct lock_owner *owner = locktab_owner(t, range);
    struct own own = {NULL, 0};
    struct lock *lock;

    if (file == NULL || owner == NULL)
        return own;
    LIST_FOREACH (lock, &owner->held, in_owner) {
        if (lock->file != file || lock->row.first > range->last + 1 ||
            range->first > lock->row.last + 1)
            continue;
        if ((own.n & (own.n + 1)) == 0) /* 0, 1, 3, 7 …: room for as many again */
            own.locks = xrealloc(own.locks, (2 * own.n + 1) * sizeof *own.locks);
        own.locks[own.n++] = lock;
    }
    return own;
}

/* Removes [first, last] from a lock. The remaining pieces keep the lock's token. */
static void cut(struct locktab *t, struct lock *lock, uint64_t first, uint64_t last)
{
    struct lock_row left = lock->row, right = lock->row;

    locktab_drop(t, lock);
    if (left.first < first) {
        left.last = first - 1;
        locktab_hold(t, &left);
    }
    if (right.last > last) {
        right.first = last + 1;
        locktab_hold(t, &right);
    }
}

static bool overlap(const struct lock_row *a, const struct lock_row *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Gives the range to the owner. True if the owner lost something that others may get now. */
static bool take(struct locktab *t, struct lock_row row)
{
    struct own own = find_own(t, &row);
    bool weaker = false;

    for (size_t i = 0; i < own.n; i++) {
        struct lock *lock = own.locks[i];
        bool alike = lock->row.exclusive == row.exclusive && lock->row.handle == row.handle;

        if (alike) {
            row.first = min_u64(row.first, lock->row.first);
            row.last = max_u64(row.last, lock->row.last);
            row.number = max_u64(row.number, lock->row.number);
            locktab_drop(t, lock);
        } else if (overlap(&lock->row, &row)) {
            weaker = weaker || (lock->row.exclusive && !row.exclusive);
            cut(t, lock, row.first, row.last);
        }
    }
    free(own.locks);
    locktab_hold(t, &row);
    return weaker;
}

/* ---- The queue --------------------------------------------------------------------------------*/

/* Files whose queues must be looked at. */
struct files {
    uint64_t (*keys)[2]; /* ino, kind */
    size_t n;
};

static void add_file(struct files *f, const struct lock_file *file)
{
    if ((f->n & (f->n + 1)) == 0)
        f->keys = xrealloc(f->keys, (2 * f->n + 1) * sizeof *f->keys);
    f->keys[f->n][0] = file->key[0];
    f->keys[f->n][1] = file->key[1];
    f->n++;
}

/* Call after a grant to `owner`. Owners that wait for the granted lock no longer block the owner's
 * other requests, so the files of those requests are looked at, too. */
static void add_others_of(struct files *f, const struct lock_owner *owner)
{
    const struct lock *w;

    LIST_FOREACH (w, &owner->waiting, in_owner)
        add_file(f, w->file);
}

/* Grants a request. True if the owner lost something that others may get now. The file and the
 * owner stay, because a lock is held. */
static bool grant(struct op *op, struct lock *w)
{
    struct lock_row row = w->row;
    bool weaker;

    row.number = op->index;
    weaker = take(op->locks, row);
    op_grant(op, &row, w->row.number);
    locktab_drop(op->locks, w);
    return weaker;
}

/* True if `w` surely waits behind `other`, which cannot be granted. This only saves time: if many
 * requests wait for one range, all but the first few are skipped quickly. */
static bool is_behind(const struct lock *w, const struct lock *other)
{
    return other != NULL && other->row.first <= w->row.first && other->row.last >= w->row.last &&
           locktab_conflict(&other->row, &w->row) && LIST_EMPTY(&w->by->held);
}

static uint64_t width(const struct lock *lock)
{
    return lock->row.last - lock->row.first;
}

/* Grants what it can. True: start again from the beginning. */
static bool serve_posix(struct op *op, struct lock_file *file, struct files *more)
{
    const struct lock *widest = NULL; /* of the exclusive requests that cannot be granted */
    struct lock *w, *next;

    for (w = TAILQ_FIRST(&file->waiting); w != NULL; w = next) {
        struct lock_owner *owner = w->by;

        next = TAILQ_NEXT(w, in_file);
        if (is_behind(w, widest))
            continue;
        if (is_free(op->locks, file, &w->row)) {
            bool weaker = grant(op, w);

            add_others_of(more, owner);
            if (weaker)
                return true;
        } else if (w->row.exclusive && (widest == NULL || width(w) > width(widest))) {
            widest = w;
        }
    }
    return false;
}

/* Returns the owner's first request that can be granted. */
static struct lock *find_free(struct op *op, const struct lock_owner *owner,
                              const struct lock_file *file)
{
    struct lock *w, *first = NULL;

    LIST_FOREACH (w, &owner->waiting, in_owner)
        if (w->file == file && (first == NULL || w->row.number < first->row.number) &&
            is_free(op->locks, file, &w->row))
            first = w;
    return first;
}

/* Finds a request that can be granted. While the first request of the queue is blocked, so are all
 * behind it, with two exceptions: requests of the first one's owner, and of the owner of the only
 * held lock (an upgrade). An owner never blocks itself. */
static struct lock *find_free_flock(struct op *op, const struct lock_file *file)
{
    const struct lock *first = TAILQ_FIRST(&file->waiting), *held = TAILQ_FIRST(&file->held);
    struct lock *w = first != NULL ? find_free(op, first->by, file) : NULL;

    if (w == NULL && held != NULL && TAILQ_NEXT(held, in_file) == NULL)
        w = find_free(op, held->by, file);
    return w;
}

static bool serve_flock(struct op *op, struct lock_file *file)
{
    struct lock *w;

    while ((w = find_free_flock(op, file)) != NULL) {
        const struct lock_owner *owner = w->by;

        grant(op, w);
        while ((w = find_free(op, owner, file)) != NULL)
            grant(op, w);
    }
    return false;
}

/* Grants requests of a file until no more can be granted. */
static void serve_file(struct op *op, uint64_t ino, enum lock_kind kind, struct files *more)
{
    bool again = true;

    while (again) {
        struct lock_file *file = locktab_file(op->locks, ino, kind);

        if (file == NULL || TAILQ_EMPTY(&file->waiting))
            return;
        again = kind == LOCK_FLOCK ? serve_flock(op, file) : serve_posix(op, file, more);
    }
}

static int compare_keys(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    for (int i = 0; i < 2; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Grants what can be granted on these files, then on the files that these grants affect. The order
 * is the same on every member. Frees f->keys. */
static void serve(struct op *op, struct files *f)
{
    while (f->n > 0) {
        struct files more = {NULL, 0};

        qsort(f->keys, f->n, sizeof *f->keys, compare_keys);
        for (size_t i = 0; i < f->n; i++)
            if (i == 0 || compare_keys(f->keys[i - 1], f->keys[i]) != 0)
                serve_file(op, f->keys[i][0], (enum lock_kind)f->keys[i][1], &more);
        free(f->keys);
        *f = more;
    }
}

static void serve_one(struct op *op, uint64_t ino, enum lock_kind kind)
{
    const struct lock_file *file = locktab_file(op->locks, ino, kind);
    struct files files = {NULL, 0};

    if (file == NULL)
        return;
    add_file(&files, file);
    serve(op, &files);
}

/* ---- Lock -------------------------------------------------------------------------------------*/

static uint32_t check_lock(struct op *op, const Cfs__Lock *c)
{
    struct inode inode;

    if (c->kind != CFS__LOCK__KIND__FLOCK && c->kind != CFS__LOCK__KIND__POSIX)
        return EINVAL;
    if (c->kind == CFS__LOCK__KIND__POSIX && (c->start > c->end || c->end > LOCK_END))
        return EINVAL;
    if (!row_inode_find(op->rows, c->ino, &inode))
        return ESTALE;
    return op_type(&inode) == S_IFREG ? 0 : EINVAL;
}

static struct lock_row new_row(uint64_t session, uint64_t number, const Cfs__Lock *c)
{
    bool flock = c->kind == CFS__LOCK__KIND__FLOCK;

    return (struct lock_row){
        .ino = c->ino,
        .kind = flock ? LOCK_FLOCK : LOCK_POSIX,
        .session = session,
        .owner = flock ? c->handle : c->owner,
        .first = flock ? 0 : c->start,
        .last = flock ? LOCK_END : c->end,
        .exclusive = c->write,
        .handle = c->handle,
        .pid = c->pid,
        .number = number,
    };
}

/* True if there is room for a lock and for `more` pieces that it splits off. */
static bool has_room(const struct locktab *t, uint64_t session, size_t more)
{
    const struct lock_session *s = locktab_session(t, session);
    size_t count = s != NULL ? s->count : 0;

    return count + more <= LIMIT_LOCKS_SESSION && t->count + more <= LIMIT_LOCKS_TOTAL;
}

/* Finds a lock of the owner that already covers the range in one piece, taken through the same
 * handle. */
static const struct lock *find_same(const struct locktab *t, const struct lock_row *want)
{
    struct own own = find_own(t, want);
    const struct lock *same = NULL;

    for (size_t i = 0; i < own.n; i++) {
        const struct lock_row *row = &own.locks[i]->row;

        if (row->first <= want->first && row->last >= want->last &&
            row->exclusive == want->exclusive && row->handle == want->handle)
            same = own.locks[i];
    }
    free(own.locks);
    return same;
}

/* True if the request would wait for a marked owner. */
static bool waits_for_marked(const struct locktab *t, const struct lock_file *file,
                             const struct lock_row *want, enum waits_edges edges)
{
    const struct lock *lock;

    TAILQ_FOREACH (lock, &file->held, in_file)
        if (locktab_conflict(&lock->row, want) && waits_marked(t, lock->by))
            return true;
    if (edges == WAITS_HARD)
        return false;
    TAILQ_FOREACH (lock, &file->waiting, in_file)
        if (locktab_conflict(&lock->row, want) && waits_marked(t, lock->by))
            return true;
    return false;
}

/* True if waiting would close a cycle whose other edges are as `edges` says. The last edge of the
 * cycle is the request's. */
static bool closes_cycle(struct locktab *t, const struct lock_file *file,
                         const struct lock_row *want, enum waits_edges edges)
{
    struct lock_owner *owner = locktab_owner(t, want);

    if (want->kind == LOCK_FLOCK || owner == NULL || !waits_is_awaited(owner, edges))
        return false;
    waits_mark(t, owner, edges, edges);
    return waits_for_marked(t, file, want, edges);
}

/* Breaks a cycle that is not a deadlock: an owner in it waits only for its turn, and is granted its
 * request out of turn. */
static void dissolve_cycle(struct op *op, const struct lock *closing)
{
    struct locktab *t = op->locks;
    struct files files = {NULL, 0};

    waits_mark(t, closing->by, WAITS_ALL, WAITS_ALL);
    for (const struct lock *w = t->waiters; w != NULL; w = w->hh.next)
        if (w->row.kind == LOCK_POSIX && waits_marked(t, w->by))
            add_file(&files, w->file);
    serve(op, &files);
}

static uint32_t queue(struct op *op, const struct lock_file *file, const struct lock_row *want)
{
    struct locktab *t = op->locks;
    struct lock *old = NULL;
    const struct lock *w;
    bool cycle;

    if (file->n_waiting >= LIMIT_WAITERS_FILE)
        return ENOLCK;
    if (closes_cycle(t, file, want, WAITS_HARD))
        return EDEADLK;
    cycle = closes_cycle(t, file, want, WAITS_ALL);
    if (want->kind == LOCK_FLOCK)
        old = held_by(locktab_owner(t, want), file);
    w = locktab_wait(t, want);
    op->reply.value = want->number;
    if (old != NULL) {
        locktab_drop(t, old);
        serve_one(op, want->ino, LOCK_FLOCK);
    } else if (cycle) {
        dissolve_cycle(op, w);
    }
    return EINPROGRESS;
}

/* Refuses a request that does not wait. As in Linux, a flock of another type removes the owner's
 * lock before it takes the new one, and a refusal does not bring the old one back. */
static uint32_t refuse(struct op *op, const struct lock_file *file, const struct lock_row *want)
{
    struct lock *old = NULL;

    if (want->kind == LOCK_FLOCK)
        old = held_by(locktab_owner(op->locks, want), file);
    if (old != NULL) {
        locktab_drop(op->locks, old);
        serve_one(op, want->ino, LOCK_FLOCK);
    }
    return EAGAIN;
}

static void take_now(struct op *op, const struct lock_row *want)
{
    struct files files = {NULL, 0};
    bool weaker = take(op->locks, *want);

    if (weaker)
        add_file(&files, locktab_file(op->locks, want->ino, (enum lock_kind)want->kind));
    add_others_of(&files, locktab_owner(op->locks, want));
    serve(op, &files);
}

uint32_t lock_take(struct op *op, const Cfs__Lock *c)
{
    uint32_t status = check_lock(op, c);
    struct lock_row want = new_row(op->session, op->index, c);
    const struct lock_file *file;
    const struct lock *same;

    if (status != 0)
        return status;
    same = find_same(op->locks, &want);
    if (same != NULL) {
        op->reply.value = same->row.number;
        return 0;
    }
    if (!has_room(op->locks, op->session, 2))
        return ENOLCK;
    file = locktab_file(op->locks, want.ino, (enum lock_kind)want.kind);
    if (!is_free(op->locks, file, &want))
        return c->wait ? queue(op, file, &want) : refuse(op, file, &want);
    op->reply.value = want.number;
    take_now(op, &want);
    return 0;
}

/* ---- Unlock and the others --------------------------------------------------------------------*/

uint32_t lock_give_up(struct op *op, const Cfs__Unlock *c)
{
    bool flock = c->kind == CFS__LOCK__KIND__FLOCK;
    struct lock_row range = {
        .ino = c->ino,
        .kind = flock ? LOCK_FLOCK : LOCK_POSIX,
        .session = op->session,
        .owner = flock ? c->handle : c->owner,
        .first = flock ? 0 : c->start,
        .last = flock ? LOCK_END : c->end,
    };
    struct own own;

    if ((!flock && c->kind != CFS__LOCK__KIND__POSIX) || range.first > range.last ||
        range.last > LOCK_END)
        return EINVAL;
    own = find_own(op->locks, &range);
    if (own.n == 1 && own.locks[0]->row.first < range.first &&
        own.locks[0]->row.last > range.last && !has_room(op->locks, op->session, 1)) {
        free(own.locks);
        return ENOLCK;
    }
    for (size_t i = 0; i < own.n; i++)
        if (overlap(&own.locks[i]->row, &range))
            cut(op->locks, own.locks[i], range.first, range.last);
    if (own.n > 0)
        serve_one(op, range.ino, (enum lock_kind)range.kind);
    free(own.locks);
    return 0;
}

static void drop_handle(struct op *op, struct lock_handle *handle, struct files *files)
{
    bool last = false;

    while (!last) { /* the handle is freed with its last lock */
        struct lock *lock = LIST_FIRST(&handle->locks);

        last = LIST_NEXT(lock, in_handle) == NULL;
        add_file(files, lock->file);
        locktab_drop(op->locks, lock);
    }
}

uint32_t lock_release_handles(struct op *op, const Cfs__ReleaseHandle *c)
{
    struct files files = {NULL, 0};

    if (c->n_handles > LIMIT_RELEASE_MAX)
        return E2BIG;
    for (size_t i = 0; i < c->n_handles; i++) {
        struct lock_handle *handle = locktab_handle(op->locks, op->session, c->handles[i]);

        if (handle != NULL)
            drop_handle(op, handle, &files);
    }
    serve(op, &files);
    return 0;
}

uint32_t lock_cancel(struct op *op, const Cfs__CancelLock *c)
{
    struct lock *w = locktab_waiter(op->locks, c->id);
    uint64_t ino;
    enum lock_kind kind;

    if (w == NULL || w->row.session != op->session)
        return EALREADY;
    ino = w->row.ino;
    kind = (enum lock_kind)w->row.kind;
    locktab_drop(op->locks, w);
    serve_one(op, ino, kind);
    return 0;
}

void lock_end_session(struct op *op, uint64_t session)
{
    struct files files = {NULL, 0};
    struct lock_session *s;

    /* Drops all of them first, so that the end of one does not grant another. */
    while ((s = locktab_session(op->locks, session)) != NULL)
        drop_handle(op, LIST_FIRST(&s->handles), &files);
    serve(op, &files);
}

/* ---- Questions --------------------------------------------------------------------------------*/

bool lock_exists(const struct locktab *t, uint64_t ino)
{
    return locktab_file(t, ino, LOCK_FLOCK) != NULL || locktab_file(t, ino, LOCK_POSIX) != NULL;
}

bool lock_guards(const struct locktab *t, uint64_t ino, uint64_t session)
{
    for (int kind = LOCK_FLOCK; kind <= LOCK_POSIX; kind++) {
        const struct lock_file *file = locktab_file(t, ino, (enum lock_kind)kind);
        const struct lock *first = file != NULL ? TAILQ_FIRST(&file->held) : NULL;

        /* If the first lock is exclusive and covers the whole file, it is the only one. */
        if (first != NULL && first->row.session == session && first->row.exclusive &&
            first->row.first == 0 && first->row.last == LOCK_END)
            return true;
    }
    return false;
}

/* The range may be covered by pieces of different types. */
bool lock_holds(const struct locktab *t, uint64_t session, const Cfs__Lock *asked, uint64_t *fence)
{
    struct lock_row want = new_row(session, 0, asked);
    struct own own = find_own(t, &want);
    uint64_t at = want.first;
    bool more = true;

    *fence = 0;
    while (more && at <= want.last) {
        more = false;
        for (size_t i = 0; i < own.n && !more; i++) {
            const struct lock_row *row = &own.locks[i]->row;

            if (row->first > at || row->last < at || row->exclusive < want.exclusive)
                continue;
            at = row->last + 1;
            *fence = max_u64(*fence, row->number);
            more = true;
        }
    }
    free(own.locks);
    return at > want.last;
}

static bool check_held(const struct lock_file *file, char *why, size_t why_len)
{
    const struct lock *a, *b;

    TAILQ_FOREACH (a, &file->held, in_file)
        for (b = TAILQ_NEXT(a, in_file); b != NULL; b = TAILQ_NEXT(b, in_file)) {
            bool same = a->by == b->by;

            if (locktab_conflict(&a->row, &b->row) || (same && overlap(&a->row, &b->row))) {
                snprintf(why, why_len,
                         "sessions %llu and %llu hold conflicting locks of inode %llu",
                         (unsigned long long)a->row.session, (unsigned long long)b->row.session,
                         (unsigned long long)a->row.ino);
                return false;
            }
        }
    return true;
}

static bool check_waiting(struct locktab *t, const struct lock_file *file, char *why,
                          size_t why_len)
{
    const struct lock *w;

    TAILQ_FOREACH (w, &file->waiting, in_file)
        if (is_free(t, file, &w->row)) {
            snprintf(why, why_len,
                     "request %llu for a lock of inode %llu waits although it could be granted",
                     (unsigned long long)w->row.number, (unsigned long long)w->row.ino);
            return false;
        }
    return true;
}

bool lock_check(struct locktab *t, char *why, size_t why_len)
{
    for (const struct lock_file *file = t->files; file != NULL; file = file->hh.next)
        if (!check_held(file, why, why_len) || !check_waiting(t, file, why, why_len))
            return false;
    return true;
}
