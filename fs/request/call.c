/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/call.h"

#include <errno.h>

#include "fs/kernel/convert.h"
#include "fs/state.h"

static void call_deliver(struct mail *mail)
{
    struct call *c = CONTAINER_OF(mail, struct call, mail);

    c->done(c);
}

/* The backend's completion, on the loop thread. */
static void on_done(void *arg, int err, const Cfs__Reply *reply)
{
    struct call *c = arg;

    c->err = err;
    if (err == 0) {
        c->status = reply->status;
        c->value = reply->value;
        c->has_attr = reply->attr != NULL;
    }
    if (c->has_attr) {
        c->attr = *reply->attr;
        c->attr.base.n_unknown_fields = 0; /* the reply's own errno */
        c->attr.base.unknown_fields = NULL;
    }
    if (err == 0 && c->keep_reply) {
        buf_reserve(&c->reply, cfs__reply__get_packed_size(reply));
        c->reply.len = cfs__reply__pack(reply, c->reply.data);
    }
    mailbox_post(&c->fs->mailbox, &c->mail, call_deliver);
}

static void call_init(struct fs *fs, struct call *c, call_fn done)
{
    c->fs = fs;
    c->done = done;
    c->serial = ++fs->last_serial;
    c->err = 0;
    c->status = 0;
    c->has_attr = false;
    c->signature = 0;
}

/* The ticket is stored in time: the reader thread looks into its mailbox only later. */
void call_submit_in(struct fs *fs, struct call *c, uint64_t session, const Cfs__Command *command,
                    unsigned timeout_ms, call_fn done)
{
    const struct backend *b = &fs->backend;

    fs->call_hooks->before_submit(fs);
    call_init(fs, c, done);
    c->signature = lost_of_command(command);
    if (fs->ended) /* the backend may be gone */
        on_done(c, -ESHUTDOWN, NULL);
    else if (session == 0 || b->ops->submit_in == NULL)
        c->ticket = b->ops->submit(b->ctx, command, timeout_ms, on_done, c);
    else
        c->ticket = b->ops->submit_in(b->ctx, session, command, timeout_ms, on_done, c);
}

void call_submit(struct fs *fs, struct call *c, const Cfs__Command *command, unsigned timeout_ms,
                 call_fn done)
{
    call_submit_in(fs, c, 0, command, timeout_ms, done);
}

void call_barrier(struct fs *fs, struct call *c, unsigned timeout_ms, call_fn done)
{
    call_init(fs, c, done);
    if (fs->ended) {
        on_done(c, -ESHUTDOWN, NULL);
        return;
    }
    c->ticket = fs->backend.ops->barrier(fs->backend.ctx, timeout_ms, on_done, c);
}

void call_cancel(struct call *c)
{
    c->fs->backend.ops->cancel(c->fs->backend.ctx, c->ticket);
}

int call_error(const struct call *c)
{
    return c->err != 0 ? convert_error(c->err) : (int)c->status;
}

bool call_uncertain(const struct call *c)
{
    return c->err != 0;
}
