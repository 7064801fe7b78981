/* SPDX-License-Identifier: Apache-2.0 */
#include "store/waits.h"

/* Calls fn for each owner that has an edge to `owner`; stops when fn returns false. */
static bool each_before(const struct lock_owner *owner, enum waits_edges edges,
                        bool (*fn)(void *arg, struct lock_owner *from), void *arg)
{
    const struct lock *lock, *w;

    LIST_FOREACH (lock, &owner->held, in_owner)
        TAILQ_FOREACH (w, &lock->file->waiting, in_file)
            if (locktab_conflict(&lock->row, &w->row) && !fn(arg, w->by))
                return false;
    if (edges == WAITS_HARD)
        return true;
    LIST_FOREACH (lock, &owner->waiting, in_owner)
        for (w = TAILQ_NEXT(lock, in_file); w != NULL; w = TAILQ_NEXT(w, in_file))
            if (locktab_conflict(&lock->row, &w->row) && !fn(arg, w->by))
                return false;
    return true;
}

struct search {
    uint64_t visit;
    /* marked owners whose own predecessors were not visited yet, linked by `below` */
    struct lock_owner *stack;
};

static bool push(void *arg, struct lock_owner *from)
{
    struct search *s = arg;

    if (from->visited != s->visit) {
        from->visited = s->visit;
        from->below = s->stack;
        s->stack = from;
    }
    return true;
}

void waits_mark(struct locktab *t, struct lock_owner *owner, enum waits_edges last,
                enum waits_edges others)
{
    struct search s = {++t->visit, NULL};

    owner->visited = s.visit;
    each_before(owner, last, push, &s);
    while (s.stack != NULL) {
        const struct lock_owner *at = s.stack;

        s.stack = at->below;
        each_before(at, others, push, &s);
    }
}

bool waits_marked(const struct locktab *t, const struct lock_owner *owner)
{
    return owner->visited == t->visit;
}

static bool stop(void *arg BASE_UNUSED, struct lock_owner *from BASE_UNUSED)
{
    return false;
}

bool waits_is_awaited(const struct lock_owner *owner, enum waits_edges edges)
{
    return !each_before(owner, edges, stop, NULL);
}
