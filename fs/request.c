#include "fs/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fs/convert.h"
#include "fs/state.h"

void requests_init(struct requests *rs)
{
    LIST_INIT(&rs->parked);
    rs->next_cancel_ms = UINT64_MAX;
}

/* libfuse calls this on the reader thread: while it handles INTERRUPT, or from within
 * fuse_req_interrupt_func when that came first. */
static void on_interrupt(fuse_req_t req, void *arg)
{
    struct request *r = arg;
    struct requests *rs = &r->fs->requests;
    uint64_t now = clock_boot_ms();

    check(r->req == req);
    if (r->cancel_at_ms != 0)
        return;
    r->cancel_at_ms = r->patience == REQUEST_PATIENT ? now : now + REQUEST_GRACE_MS;
    rs->next_cancel_ms = min_u64(rs->next_cancel_ms, r->cancel_at_ms);
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

/* The mailbox's delivery, on the reader thread. */
static void request_deliver(struct mail *mail)
{
    struct request *r = CONTAINER_OF(mail, struct request, mail);
    int error = r->err != 0 ? convert_error(r->err) : (int)r->status;

    LIST_REMOVE(r, link);
    r->finish(r, error);
    free(r);
}

/* The backend's completion, on the loop thread. */
static void on_done(void *arg, int err, const Cfs__Reply *reply)
{
    struct request *r = arg;

    r->err = err;
    if (err == 0 && reply != NULL) {
        r->status = reply->status;
        r->value = reply->value;
        r->has_attr = reply->attr != NULL;
        if (r->has_attr) {
            r->attr = *reply->attr;
            r->attr.base.n_unknown_fields = 0; /* the reply's own */
            r->attr.base.unknown_fields = NULL;
        }
    }
    mailbox_post(&r->fs->mailbox, &r->mail, request_deliver);
}

static unsigned timeout_of(const struct request *r)
{
    return r->patience == REQUEST_PATIENT ? 0 : r->fs->options.timeout_ms;
}

void request_submit(struct request *r, const Cfs__Command *command)
{
    const struct backend *b = &r->fs->backend;

    /* r lives at least until the reader thread looks into the mailbox: later than this. */
    r->ticket = b->ops->submit(b->ctx, command, timeout_of(r), on_done, r);
}

void request_barrier(struct request *r)
{
    const struct backend *b = &r->fs->backend;

    r->ticket = b->ops->barrier(b->ctx, timeout_of(r), on_done, r);
}

int requests_turn(struct fs *fs)
{
    struct requests *rs = &fs->requests;
    const struct backend *b = &fs->backend;
    struct request *r;
    uint64_t now;

    if (rs->next_cancel_ms == UINT64_MAX)
        return -1;
    now = clock_boot_ms();
    if (rs->next_cancel_ms <= now) {
        rs->next_cancel_ms = UINT64_MAX;
        LIST_FOREACH(r, &rs->parked, link)
        {
            if (r->cancel_at_ms == 0 || r->cancelled)
                continue;
            if (r->cancel_at_ms > now) {
                rs->next_cancel_ms = min_u64(rs->next_cancel_ms, r->cancel_at_ms);
                continue;
            }
            r->cancelled = true;
            b->ops->cancel(b->ctx, r->ticket);
        }
    }
    return rs->next_cancel_ms == UINT64_MAX ? -1 : (int)(rs->next_cancel_ms - now);
}

void requests_abandon(struct fs *fs, int error)
{
    struct request *r;

    while ((r = LIST_FIRST(&fs->requests.parked)) != NULL) {
        LIST_REMOVE(r, link);
        fuse_reply_err(r->req, error);
        free(r);
    }
}
