/* SPDX-License-Identifier: Apache-2.0 */
/* The crossing into a thread: any thread posts mail (a command, a completed command, a job that is
 * done), and the one thread that owns the mailbox delivers it, in the order of posting.
 *
 * Posting never fails and never waits for more than the mutex. The owner sleeps in poll(2), or in a
 * loop of libuv, until event_fd is readable. Waking it costs a system call, so only the first mail
 * since the last delivery does that, and none does while the owner watches the mailbox by itself
 * (mailbox_watch). */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"

struct mail;

/* The owner's thread. May free the mail. */
typedef void (*mail_fn)(struct mail *mail);

struct mail { /* embedded in the posted object; belongs to the mailbox while it is there */
    STAILQ_ENTRY(mail) link;
    mail_fn deliver;
};

STAILQ_HEAD(mail_list, mail);

struct mailbox {
    pthread_mutex_t lock; /* of list and watched */
    struct mail_list list;
    bool watched;        /* the owner looks without being woken; only the owner writes it */
    atomic_bool waiting; /* there is mail */
    int event_fd;        /* readable: deliver */
};

int mailbox_init(struct mailbox *box);  /* 0 or -errno */
void mailbox_fini(struct mailbox *box); /* must be empty */

/* Any thread. Takes the mail. */
void mailbox_post(struct mailbox *box, struct mail *mail, mail_fn deliver);
/* Any thread, and signal handlers: makes event_fd readable. */
void mailbox_wake(struct mailbox *box);

/* Is there anything to deliver? Costs nothing; only the event_fd can be waited for, though. */
static inline bool mailbox_waiting(struct mailbox *box)
{
    return atomic_load_explicit(&box->waiting, memory_order_relaxed);
}

/* ---- The owner's thread ---- */

/* Delivers what is there; returns how many. Posting from within a delivery is allowed. */
unsigned mailbox_deliver(struct mailbox *box);

/* From now on posting wakes nothing, until mailbox_unwatch. */
void mailbox_watch(struct mailbox *box);
/* The owner is about to sleep: mail that is there already wakes it immediately. */
void mailbox_unwatch(struct mailbox *box);

#endif
