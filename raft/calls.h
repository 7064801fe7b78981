/* SPDX-License-Identifier: Apache-2.0 */
/* What other threads ask of the loop: commands, barriers, their cancellation, functions to be
 * called, and the order to stop. They travel through the inbox; commands and barriers then wait
 * under their ticket, on the loop thread, until they are done.
 *
 * Deadlines are absolute, in the node's time; CALLS_NEVER: none. */
#ifndef RAFT_CALLS_H
#define RAFT_CALLS_H

#include "base/base.h"
#include "base/buf.h"
#include "raft/client.h"
#include "raft/driver.h"
#include "raft/inbox.h"

#define CALLS_NEVER UINT64_MAX

struct call;

struct calls {
    struct inbox inbox;
    _Atomic uint64_t last_ticket;
    /* The loop thread's: */
    struct client *client; /* set by the owner, before anything is taken */
    struct driver *driver;
    struct call *waiting; /* by ticket */
    uint64_t earliest;    /* no barrier's deadline is before this */
    bool stopping;        /* the order to stop was taken: nothing is obeyed any more */
};

/* Loop thread. on_mail(arg) is called from the loop when there is something to take. */
void calls_init(struct calls *c, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* ---- Any thread ------------------------------------------------------------------------------ */

/* Takes the bytes; a ticket. session: see client_submit_in; 0: in any. */
uint64_t calls_submit(struct calls *c, uint64_t session, struct buf *command, uint64_t deadline_ms,
                      client_done done, void *arg);
uint64_t calls_barrier(struct calls *c, uint64_t deadline_ms, client_done done, void *arg);
void calls_cancel(struct calls *c, uint64_t ticket);
void calls_run(struct calls *c, void (*fn)(void *arg), void *arg);
void calls_stop(struct calls *c);

/* ---- The loop thread ------------------------------------------------------------------------- */

/* Takes all there is, in order; false: there was nothing. Commands go to the client, barriers to
 * the driver, functions are called. After the order to stop, and after calls_shut, what is taken is
 * completed with -ESHUTDOWN and functions are dropped. */
bool calls_take(struct calls *c);
void calls_unwatch(struct calls *c); /* before the loop goes to sleep */

void calls_barrier_reached(struct calls *c, uint64_t ticket); /* the driver says */
void calls_expire(struct calls *c, uint64_t now); /* barriers; the client does its own */
uint64_t calls_deadline(const struct calls *c);

void calls_sleep(struct calls *c); /* gives up the loop */
/* Completes the barriers that wait with -ESHUTDOWN (the client does so with the commands). */
void calls_shut(struct calls *c);
/* Also from the thread that has joined the loop's: completes what is left in the inbox. */
void calls_fini(struct calls *c);

#endif
