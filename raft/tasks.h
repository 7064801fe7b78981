/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads ask of the loop: commands, barriers, their cancellation, functions to be
 * called, and the order to stop. They travel through the inbox; commands and barriers then wait
 * under their ticket, on the loop thread, until they are done.
 *
 * Deadlines are absolute, in the node's time; CALLS_NEVER: none. */
#ifndef RAFT_TASKS_H
#define RAFT_TASKS_H

#include "base/base.h"
#include "base/buf.h"
#include "raft/client.h"
#include "raft/driver.h"
#include "raft/inbox.h"

#define TASKS_NEVER UINT64_MAX

struct task;

struct tasks {
    struct inbox inbox;
    _Atomic uint64_t last_ticket;
    /* The loop thread's: */
    struct client *client; /* set by the owner, before anything is taken */
    struct driver *driver;
    struct task *barriers; /* that wait, by ticket */
    uint64_t earliest;     /* no barrier's deadline is before this */
    bool stopping;         /* the order to stop was taken: nothing is obeyed any more */
};

/* Loop thread. on_mail(arg) is called from the loop when there is something to take. */
void tasks_init(struct tasks *c, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* ---- Any thread ------------------------------------------------------------------------------ */

/* Takes the bytes; a ticket. session: see client_submit; 0: in any. */
uint64_t tasks_submit(struct tasks *c, uint64_t session, struct buf *command, uint64_t deadline_ms,
                      client_done done, void *arg);
uint64_t tasks_barrier(struct tasks *c, uint64_t deadline_ms, client_done done, void *arg);
void tasks_cancel(struct tasks *c, uint64_t ticket);
void tasks_run(struct tasks *c, void (*fn)(void *arg), void *arg);
void tasks_stop(struct tasks *c);

/* ---- The loop thread ------------------------------------------------------------------------- */

/* Takes all there is, in order; false: there was nothing. Commands go to the client, barriers to
 * the driver, functions are called. After the order to stop, and after tasks_shut, what is taken is
 * completed with -ESHUTDOWN and functions are dropped. */
bool tasks_take(struct tasks *c);
void tasks_unwatch(struct tasks *c); /* before the loop goes to sleep */

void tasks_barrier_reached(struct tasks *c, uint64_t ticket); /* the driver says */
void tasks_expire(struct tasks *c, uint64_t now); /* barriers; the client does its own */
uint64_t tasks_deadline(const struct tasks *c);

void tasks_sleep(struct tasks *c); /* gives up the loop */
/* Completes the barriers that wait with -ESHUTDOWN (the client does so with the commands). */
void tasks_shut(struct tasks *c);
/* Also from the thread that has joined the loop's: completes what is left in the inbox. */
void tasks_fini(struct tasks *c);

#endif
