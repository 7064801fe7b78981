/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/calls.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define uthash_fatal(msg) die("%s", msg)
#include <uthash.h>

enum call_kind { CALL_SUBMIT, CALL_BARRIER, CALL_CANCEL, CALL_RUN, CALL_STOP };

struct call {
    struct inbox_item item;
    UT_hash_handle hh; /* SUBMIT and BARRIER, once taken */
    struct calls *calls;
    enum call_kind kind;
    uint64_t ticket; /* CANCEL: whose */
    uint64_t deadline_ms;
    uint64_t session;       /* SUBMIT: to be carried out in it; 0: in any */
    uint64_t client_ticket; /* SUBMIT, once taken */
    struct buf command;     /* SUBMIT, until taken */
    client_done done;       /* SUBMIT and BARRIER */
    void (*fn)(void *arg);  /* RUN */
    void *arg;
};

void calls_init(struct calls *c, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg)
{
    *c = (struct calls){.earliest = CALLS_NEVER};
    inbox_init(&c->inbox, loop, on_mail, arg);
}

/* ---- Any thread --------------------------------------------------------------------------------
 */

static void post(struct calls *c, const struct call *content)
{
    struct call *call = xmalloc(sizeof *call);

    *call = *content;
    call->calls = c;
    inbox_put(&c->inbox, &call->item);
}

static uint64_t post_waiting(struct calls *c, struct call *content)
{
    uint64_t ticket = atomic_fetch_add(&c->last_ticket, 1) + 1;

    check(content->done != NULL);
    content->ticket = ticket; /* the call may be gone when post returns */
    post(c, content);
    return ticket;
}

uint64_t calls_submit(struct calls *c, uint64_t session, struct buf *command, uint64_t deadline_ms,
                      client_done done, void *arg)
{
    struct call call = {.kind = CALL_SUBMIT,
                        .session = session,
                        .deadline_ms = deadline_ms,
                        .command = buf_take(command),
                        .done = done,
                        .arg = arg};

    return post_waiting(c, &call);
}

uint64_t calls_barrier(struct calls *c, uint64_t deadline_ms, client_done done, void *arg)
{
    struct call call = {.kind = CALL_BARRIER, .deadline_ms = deadline_ms, .done = done, .arg = arg};

    return post_waiting(c, &call);
}

void calls_cancel(struct calls *c, uint64_t ticket)
{
    post(c, &(struct call){.kind = CALL_CANCEL, .ticket = ticket});
}

void calls_run(struct calls *c, void (*fn)(void *arg), void *arg)
{
    post(c, &(struct call){.kind = CALL_RUN, .fn = fn, .arg = arg});
}

void calls_stop(struct calls *c)
{
    post(c, &(struct call){.kind = CALL_STOP});
}

/* ---- Waiting -----------------------------------------------------------------------------------
 */

static void call_free(struct call *call)
{
    buf_fini(&call->command);
    free(call);
}

static void await(struct calls *c, struct call *call)
{
    HASH_ADD(hh, c->waiting, ticket, sizeof call->ticket, call);
}

static struct call *find(struct calls *c, uint64_t ticket)
{
    struct call *call;

    HASH_FIND(hh, c->waiting, &ticket, sizeof ticket, call);
    return call;
}

static void complete(struct call *call, int err, const uint8_t *reply, size_t len)
{
    HASH_DEL(call->calls->waiting, call);
    call->done(call->arg, err, reply, len);
    call_free(call);
}

static void on_submit_done(void *arg, int err, const uint8_t *reply, size_t len)
{
    complete(arg, err, reply, len);
}

static void give_up_barrier(struct call *call, int err)
{
    driver_barrier_cancel(call->calls->driver, call->ticket);
    complete(call, err, NULL, 0);
}

void calls_barrier_reached(struct calls *c, uint64_t ticket)
{
    struct call *call = find(c, ticket);

    if (call != NULL)
        complete(call, 0, NULL, 0);
}

/* As in the client: `earliest` is a lower bound, made exact each time it is reached. The callbacks
 * have only the inbox to put things in: the table does not change under our hands. */
void calls_expire(struct calls *c, uint64_t now)
{
    struct call *call, *following;

    if (now < c->earliest)
        return;
    c->earliest = CALLS_NEVER;
    HASH_ITER (hh, c->waiting, call, following) {
        if (call->kind != CALL_BARRIER)
            continue;
        if (call->deadline_ms <= now)
            give_up_barrier(call, -ETIMEDOUT);
        else
            c->earliest = min_u64(c->earliest, call->deadline_ms);
    }
}

uint64_t calls_deadline(const struct calls *c)
{
    return c->earliest;
}

/* ---- Taking ------------------------------------------------------------------------------------
 */

static void take_submit(struct calls *c, struct call *call)
{
    uint64_t deadline = call->deadline_ms != CALLS_NEVER ? call->deadline_ms : 0;

    await(c, call);
    call->client_ticket =
        client_submit_in(c->client, call->session, &call->command, deadline, on_submit_done, call);
}

static void take_barrier(struct calls *c, struct call *call)
{
    await(c, call);
    c->earliest = min_u64(c->earliest, call->deadline_ms);
    driver_barrier(c->driver, call->ticket);
}

static void take_cancel(struct calls *c, struct call *call)
{
    struct call *target = find(c, call->ticket);

    call_free(call);
    if (target == NULL)
        return;
    if (target->kind == CALL_SUBMIT)
        client_cancel(c->client, target->client_ticket);
    else
        give_up_barrier(target, -EINTR);
}

static void take_run(struct calls *c BASE_UNUSED, struct call *call)
{
    void (*fn)(void *arg) = call->fn;
    void *arg = call->arg;

    call_free(call);
    fn(arg);
}

static void take_stop(struct calls *c, struct call *call)
{
    call_free(call);
    c->stopping = true;
}

/* Too late. */
static void refuse(struct call *call)
{
    if (call->done != NULL)
        call->done(call->arg, -ESHUTDOWN, NULL, 0);
    call_free(call);
}

bool calls_take(struct calls *c)
{
    static void (*const takers[])(struct calls * c, struct call * call) = {
        [CALL_SUBMIT] = take_submit, [CALL_BARRIER] = take_barrier, [CALL_CANCEL] = take_cancel,
        [CALL_RUN] = take_run,       [CALL_STOP] = take_stop,
    };
    struct inbox_list list = STAILQ_HEAD_INITIALIZER(list);
    bool some = inbox_take(&c->inbox, &list);
    struct inbox_item *item;
    struct call *call;

    while ((item = STAILQ_FIRST(&list)) != NULL) {
        STAILQ_REMOVE_HEAD(&list, link);
        call = CONTAINER_OF(item, struct call, item);
        if (c->stopping)
            refuse(call);
        else
            takers[call->kind](c, call);
    }
    return some;
}

void calls_unwatch(struct calls *c)
{
    inbox_unwatch(&c->inbox);
}

/* ---- The end -----------------------------------------------------------------------------------
 */

void calls_sleep(struct calls *c)
{
    inbox_sleep(&c->inbox);
}

void calls_shut(struct calls *c)
{
    struct call *call, *following;

    c->stopping = true;
    HASH_ITER (hh, c->waiting, call, following) {
        if (call->kind == CALL_BARRIER)
            complete(call, -ESHUTDOWN, NULL, 0);
    }
}

void calls_fini(struct calls *c)
{
    check(c->stopping && c->waiting == NULL);
    while (calls_take(c))
        continue;
    inbox_fini(&c->inbox);
}
