/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A task is a piece of mail. Any thread allocates one and posts it; the loop thread takes it
 * (tasks_take) and hands it on: a command to the client, a barrier to the driver, a function to its
 * call. The ticket is drawn before the task is posted, because the task may be complete before post
 * returns.
 *
 * Only barriers stay here, in a table by ticket, until the driver reports them, their deadline
 * passes, or they are cancelled. A ticket to be cancelled is looked up in this table first; if it
 * is not there, it belongs to a command of the client. Each command and each barrier completes
 * exactly once. After the order to stop they complete with -ESHUTDOWN, and all other tasks are
 * dropped. */
#include "raft/tasks.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define uthash_fatal(msg) die("%s", msg)
#include <uthash.h>

enum task_kind { TASK_SUBMIT, TASK_BARRIER, TASK_CANCEL, TASK_RUN, TASK_STOP };

struct task {
    struct mail mail;
    UT_hash_handle hh; /* BARRIER, once taken */
    struct tasks *tasks;
    enum task_kind kind;
    uint64_t ticket; /* CANCEL: the ticket to cancel */
    uint64_t deadline_ms;
    uint64_t session;      /* SUBMIT: to be carried out in it; 0: in any */
    struct buf command;    /* SUBMIT, until taken */
    client_done done;      /* SUBMIT and BARRIER */
    void (*fn)(void *arg); /* RUN */
    void *arg;
};

static void on_woken(uv_poll_t *woken, int status, int events BASE_UNUSED)
{
    const struct tasks *c = woken->data;

    check(status == 0);
    c->on_mail(c->arg);
}

void tasks_init(struct tasks *c, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg)
{
    *c = (struct tasks){.earliest = TASKS_NEVER, .on_mail = on_mail, .arg = arg};
    check(mailbox_init(&c->mailbox) == 0);
    check(uv_poll_init(loop, &c->woken, c->mailbox.event_fd) == 0);
    c->woken.data = c;
    check(uv_poll_start(&c->woken, UV_READABLE, on_woken) == 0);
}

/* ---- Any thread ------------------------------------------------------------------------------ */

static void on_task(struct mail *mail);

static void post(struct tasks *c, const struct task *content)
{
    struct task *task = xmalloc(sizeof *task);

    *task = *content;
    task->tasks = c;
    mailbox_post(&c->mailbox, &task->mail, on_task);
}

static uint64_t post_waiting(struct tasks *c, struct task *content)
{
    uint64_t ticket = atomic_fetch_add(&c->last_ticket, 1) + 1;

    check(content->done != NULL);
    content->ticket = ticket; /* the task may be gone when post returns */
    post(c, content);
    return ticket;
}

uint64_t tasks_submit(struct tasks *c, uint64_t session, struct buf *command, uint64_t deadline_ms,
                      client_done done, void *arg)
{
    struct task task = {.kind = TASK_SUBMIT,
                        .session = session,
                        .deadline_ms = deadline_ms,
                        .command = buf_take(command),
                        .done = done,
                        .arg = arg};

    return post_waiting(c, &task);
}

uint64_t tasks_barrier(struct tasks *c, uint64_t deadline_ms, client_done done, void *arg)
{
    struct task task = {.kind = TASK_BARRIER, .deadline_ms = deadline_ms, .done = done, .arg = arg};

    return post_waiting(c, &task);
}

void tasks_cancel(struct tasks *c, uint64_t ticket)
{
    post(c, &(struct task){.kind = TASK_CANCEL, .ticket = ticket});
}

void tasks_run(struct tasks *c, void (*fn)(void *arg), void *arg)
{
    post(c, &(struct task){.kind = TASK_RUN, .fn = fn, .arg = arg});
}

void tasks_stop(struct tasks *c)
{
    post(c, &(struct task){.kind = TASK_STOP});
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void task_free(struct task *task)
{
    buf_fini(&task->command);
    free(task);
}

static struct task *find(struct tasks *c, uint64_t ticket)
{
    struct task *task;

    HASH_FIND(hh, c->barriers, &ticket, sizeof ticket, task);
    return task;
}

static void complete(struct task *task, int err)
{
    HASH_DEL(task->tasks->barriers, task);
    task->done(task->arg, err, NULL, 0);
    task_free(task);
}

static void give_up_barrier(struct task *task, int err)
{
    driver_barrier_cancel(task->tasks->driver, task->ticket);
    complete(task, err);
}

void tasks_barrier_reached(struct tasks *c, uint64_t ticket)
{
    struct task *task = find(c, ticket);

    if (task != NULL)
        complete(task, 0);
}

/* `earliest` is a lower bound of the deadlines, made exact each time it is reached. A callback can
 * only put tasks into the mailbox, so the table does not change during this loop. */
void tasks_expire(struct tasks *c, uint64_t now)
{
    struct task *task, *following;

    if (now < c->earliest)
        return;
    c->earliest = TASKS_NEVER;
    HASH_ITER (hh, c->barriers, task, following) {
        if (task->deadline_ms <= now)
            give_up_barrier(task, -ETIMEDOUT);
        else
            c->earliest = min_u64(c->earliest, task->deadline_ms);
    }
}

uint64_t tasks_deadline(const struct tasks *c)
{
    return c->earliest;
}

/* ---- Taking ---------------------------------------------------------------------------------- */

static void take_submit(struct tasks *c, struct task *task)
{
    uint64_t deadline = task->deadline_ms != TASKS_NEVER ? task->deadline_ms : 0;

    client_submit(c->client, task->ticket, task->session, &task->command, deadline, task->done,
                  task->arg);
    task_free(task);
}

static void take_barrier(struct tasks *c, struct task *task)
{
    HASH_ADD(hh, c->barriers, ticket, sizeof task->ticket, task);
    c->earliest = min_u64(c->earliest, task->deadline_ms);
    driver_barrier(c->driver, task->ticket);
}

/* The ticket is a barrier's or a command's; each kind has its own table. */
static void take_cancel(struct tasks *c, struct task *task)
{
    struct task *barrier = find(c, task->ticket);

    if (barrier != NULL)
        give_up_barrier(barrier, -EINTR);
    else
        client_cancel(c->client, task->ticket);
    task_free(task);
}

static void take_run(struct tasks *c BASE_UNUSED, struct task *task)
{
    void (*fn)(void *arg) = task->fn;
    void *arg = task->arg;

    task_free(task);
    fn(arg);
}

static void take_stop(struct tasks *c, struct task *task)
{
    task_free(task);
    c->stopping = true;
}

/* The order to stop was taken before. */
static void refuse(struct task *task)
{
    if (task->done != NULL)
        task->done(task->arg, -ESHUTDOWN, NULL, 0);
    task_free(task);
}

static void on_task(struct mail *mail)
{
    static void (*const takers[])(struct tasks * c, struct task * task) = {
        [TASK_SUBMIT] = take_submit, [TASK_BARRIER] = take_barrier, [TASK_CANCEL] = take_cancel,
        [TASK_RUN] = take_run,       [TASK_STOP] = take_stop,
    };
    struct task *task = CONTAINER_OF(mail, struct task, mail);

    if (task->tasks->stopping)
        refuse(task);
    else
        takers[task->kind](task->tasks, task);
}

bool tasks_take(struct tasks *c)
{
    mailbox_watch(&c->mailbox);
    return mailbox_deliver(&c->mailbox) > 0;
}

void tasks_unwatch(struct tasks *c)
{
    mailbox_unwatch(&c->mailbox);
}

/* ---- The end --------------------------------------------------------------------------------- */

void tasks_sleep(struct tasks *c)
{
    uv_close((uv_handle_t *)&c->woken, NULL);
}

void tasks_shut(struct tasks *c)
{
    struct task *task, *following;

    c->stopping = true;
    HASH_ITER (hh, c->barriers, task, following)
        complete(task, -ESHUTDOWN);
}

void tasks_fini(struct tasks *c)
{
    check(c->stopping && c->barriers == NULL);
    while (tasks_take(c))
        continue;
    mailbox_fini(&c->mailbox);
}
