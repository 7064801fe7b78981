/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/state.h"

void requests_init(struct requests *rs)
{
    LIST_INIT(&rs->parked);
    rs->next_due_ms = UINT64_MAX;
}

void request_due(struct request *r, uint64_t due_ms)
{
    struct requests *rs = &r->fs->requests;

    if (r->due_ms == 0 || due_ms < r->due_ms)
        r->due_ms = due_ms;
    rs->next_due_ms = min_u64(rs->next_due_ms, r->due_ms);
}

/* libfuse calls this on the reader thread: while it handles INTERRUPT, or from within
 * fuse_req_interrupt_func if INTERRUPT came first. */
static void on_interrupt(fuse_req_t req, void *arg)
{
    struct request *r = arg;
    uint64_t now = clock_boot_ms();

    check(r->req == req);
    if (r->interrupted)
        return;
    r->interrupted = true;
    request_due(r, r->patience == REQUEST_PATIENT ? now : now + REQUEST_GRACE_MS);
}

struct request *request_new(struct fs *fs, fuse_req_t req, request_finish finish)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->fs = fs;
    r->req = req;
    r->finish = finish;
    LIST_INSERT_HEAD(&fs->requests.parked, r, link);
    fuse_req_interrupt_func(req, on_interrupt, r);
    return r;
}

struct request *request_next(struct request *r, request_finish finish)
{
    struct request *next = request_new(r->fs, r->req, finish);

    next->ino = r->ino;
    next->dirs[0] = r->dirs[0];
    next->dirs[1] = r->dirs[1];
    next->fh = r->fh;
    next->count = r->count;
    next->flags = r->flags;
    next->mode = r->mode;
    next->names[0] = r->names[0];
    next->names[1] = r->names[1];
    next->name = r->name;
    r->name = NULL;
    return next;
}

static void request_free(struct request *r)
{
    if (r->queue != NULL)
        TAILQ_REMOVE(r->queue, r, wait_link);
    LIST_REMOVE(r, link);
    free(r->name);
    free(r->own);
    free(r);
}

void request_end(struct request *r, int error)
{
    r->finish(r, error);
    request_free(r);
}

static void on_call_done(struct call *c)
{
    struct request *r = CONTAINER_OF(c, struct request, call);

    lost_note_call(r->fs, c);
    request_end(r, call_error(c));
}

static unsigned timeout_of(const struct request *r)
{
    return r->patience == REQUEST_PATIENT ? 0 : r->fs->options.timeout_ms;
}

void request_submit(struct request *r, const Cfs__Command *command)
{
    r->fs->call_hooks->before_change(r->fs, fuse_req_ctx(r->req)->pid);
    call_submit_in(r->fs, &r->call, r->session, command, timeout_of(r), on_call_done);
}

void request_barrier(struct request *r)
{
    call_barrier(r->fs, &r->call, timeout_of(r), on_call_done);
}

void request_wait(struct request *r, struct request_queue *queue)
{
    TAILQ_INSERT_TAIL(queue, r, wait_link);
    r->queue = queue;
    if (r->patience == REQUEST_BOUNDED && r->give_up == NULL)
        request_due(r, clock_boot_ms() + r->fs->options.timeout_ms);
}

void request_wake(struct request_queue *queue, int error)
{
    struct request *r;

    while ((r = TAILQ_FIRST(queue)) != NULL) {
        TAILQ_REMOVE(queue, r, wait_link);
        r->queue = NULL;
        request_end(r, error);
    }
}

void requests_move(struct request_queue *from, struct request_queue *to)
{
    struct request *r;

    TAILQ_FOREACH (r, from, wait_link)
        r->queue = to;
    TAILQ_CONCAT(to, from, wait_link);
}

bool requests_hold(struct fs *fs, uint64_t ino)
{
    struct request *r;

    LIST_FOREACH (r, &fs->requests.parked, link)
        if (r->dirs[0] == ino || r->dirs[1] == ino)
            return true;
    return false;
}

static void give_up(struct request *r)
{
    int error = r->interrupted ? EINTR : ETIMEDOUT;

    r->due_ms = 0;
    if (r->queue == NULL)
        call_cancel(&r->call); /* ends when the call ends */
    else if (r->give_up != NULL)
        r->give_up(r, error);
    else
        request_end(r, error);
}

static struct request *find_due(struct requests *rs, uint64_t now)
{
    struct request *r;

    rs->next_due_ms = UINT64_MAX;
    LIST_FOREACH (r, &rs->parked, link) {
        if (r->due_ms != 0 && r->due_ms <= now)
            return r;
        if (r->due_ms != 0)
            rs->next_due_ms = min_u64(rs->next_due_ms, r->due_ms);
    }
    return NULL;
}

int requests_turn(struct fs *fs)
{
    struct requests *rs = &fs->requests;
    struct request *r;
    uint64_t now;

    if (rs->next_due_ms == UINT64_MAX)
        return -1;
    now = clock_boot_ms();
    if (rs->next_due_ms <= now)
        while ((r = find_due(rs, now)) != NULL)
            give_up(r);
    return rs->next_due_ms == UINT64_MAX ? -1 : (int)(rs->next_due_ms - now);
}

void requests_abandon(struct fs *fs, int error)
{
    struct request *r;

    while ((r = LIST_FIRST(&fs->requests.parked)) != NULL) {
        fuse_reply_err(r->req, error);
        request_free(r);
    }
}
