/* SPDX-License-Identifier: Apache-2.0 */
/* Tasks that other threads give to the loop: commands, barriers, their cancellation, functions to
 * call, and the order to stop. Tasks travel through the mailbox. A command then belongs to the
 * client, under its ticket; a barrier waits here, under its ticket, until the driver reaches it.
 *
 * Deadlines are absolute, in clock_boot_ms time. TASKS_NEVER: no deadline. */
#ifndef RAFT_TASKS_H
#define RAFT_TASKS_H

#include <uv.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/mailbox.h"
#include "raft/client.h"
#include "raft/driver.h"

#define TASKS_NEVER UINT64_MAX

struct task;

struct tasks {
    struct mailbox mailbox;
    uv_poll_t woken; /* the mailbox has mail */
    void (*on_mail)(void *arg);
    void *arg;
    _Atomic uint64_t last_ticket;
    /* Loop thread only: */
    struct client *client; /* set by the owner before the first tasks_take */
    struct driver *driver; /* likewise */
    struct task *barriers; /* that wait, by ticket */
    uint64_t earliest;     /* lower bound of the barriers' deadlines */
    bool stopping;         /* tasks are no longer carried out */
};

/* Loop thread. on_mail(arg) is called from the loop when there is something to take. */
void tasks_init(struct tasks *c, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* ---- Any thread ------------------------------------------------------------------------------ */

/* Takes the bytes; returns a ticket > 0. session: see client_submit. */
uint64_t tasks_submit(struct tasks *c, uint64_t session, struct buf *command, uint64_t deadline_ms,
                      client_done done, void *arg);
uint64_t tasks_barrier(struct tasks *c, uint64_t deadline_ms, client_done done, void *arg);
void tasks_cancel(struct tasks *c, uint64_t ticket);
void tasks_run(struct tasks *c, void (*fn)(void *arg), void *arg);
void tasks_stop(struct tasks *c);

/* ---- The loop thread ------------------------------------------------------------------------- */

/* Takes all tasks, in order; false if there were none. Commands go to the client, barriers to the
 * driver, functions are called. After the order to stop, and after tasks_shut, commands and
 * barriers complete with -ESHUTDOWN instead, and functions are dropped. */
bool tasks_take(struct tasks *c);
void tasks_unwatch(struct tasks *c); /* before the loop polls: new tasks wake it again */

void tasks_barrier_reached(struct tasks *c, uint64_t ticket); /* from the driver's on_barrier */
void tasks_expire(struct tasks *c, uint64_t now); /* barriers only: the client expires commands */
uint64_t tasks_deadline(const struct tasks *c);

void tasks_sleep(struct tasks *c); /* closes the handle on the loop */
/* Completes the waiting barriers with -ESHUTDOWN (client_free does the same for commands). */
void tasks_shut(struct tasks *c);
/* Also allowed on the thread that joined the loop's: completes the tasks left in the mailbox. */
void tasks_fini(struct tasks *c);

#endif
