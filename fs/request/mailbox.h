/* SPDX-License-Identifier: Apache-2.0 */
/* The only way into the reader thread. Another thread posts what it has for the reader thread (a
 * completed command, a drained lane); the reader thread handles it between two requests of the
 * kernel.
 *
 * Posting never fails and never waits for more than the mutex. Mail that one thread posts is
 * delivered in the order of posting. */
#ifndef FS_REQUEST_MAILBOX_H
#define FS_REQUEST_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/base.h"

struct mail;

/* Reader thread. May free the mail. */
typedef void (*mail_fn)(struct mail *mail);

struct mail { /* embedded in the posted object; belongs to the mailbox until it is delivered */
    STAILQ_ENTRY(mail) link;
    mail_fn deliver;
};

STAILQ_HEAD(mail_list, mail);

struct mailbox {
    pthread_mutex_t lock;
    struct mail_list list;
    atomic_bool waiting; /* there is mail */
    int event_fd;        /* readable while there is something to do */
};

int mailbox_init(struct mailbox *box);  /* 0 or -errno */
void mailbox_fini(struct mailbox *box); /* must be empty */

void mailbox_post(struct mailbox *box, struct mail *mail, mail_fn deliver); /* any thread; takes */
void mailbox_wake(struct mailbox *box); /* any thread, and signal handlers */

/* True if there is mail. Costs nothing; to wait for mail, poll event_fd. */
static inline bool mailbox_waiting(struct mailbox *box)
{
    return atomic_load_explicit(&box->waiting, memory_order_relaxed);
}

/* Delivers the mail and returns its number. Reader thread. */
unsigned mailbox_deliver(struct mailbox *box);

#endif
