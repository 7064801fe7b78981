/* The one crossing between threads: any thread puts items in, the loop thread takes them out, in
 * the order in which they were put.
 *
 * Waking the loop costs a system call, so it is done only for the first item since the last take,
 * and not at all while the loop watches the mailbox by itself (during a turn). */
#ifndef RAFT_MAILBOX_H
#define RAFT_MAILBOX_H

#include <pthread.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/base.h"

struct mailbox_item {
    STAILQ_ENTRY(mailbox_item) link;
};

STAILQ_HEAD(mailbox_list, mailbox_item);

struct mailbox {
    pthread_mutex_t mutex; /* of what follows */
    struct mailbox_list items;
    bool silent; /* nobody needs to be woken: woken already, watching, or asleep for good */
    bool asleep;
    uv_async_t async;
    void (*on_mail)(void *arg);
    void *arg;
};

/* Loop thread. on_mail(arg) is called from the loop, soon after something was put. */
void mailbox_init(struct mailbox *m, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* Any thread. The item is the mailbox's until it is taken. */
void mailbox_put(struct mailbox *m, struct mailbox_item *item);

/* Loop thread: moves all items to the end of `out`; false when there were none. From now on nobody
 * is woken, until mailbox_unwatch. */
bool mailbox_take(struct mailbox *m, struct mailbox_list *out);
/* Loop thread, before it goes to sleep: what is put from now on wakes it. What is there already
 * does so at once. */
void mailbox_unwatch(struct mailbox *m);

/* Loop thread: gives up the loop. Items may still be put (from any thread) and taken (now also from
 * the thread that has joined the loop's). */
void mailbox_sleep(struct mailbox *m);

/* The mailbox is empty and nobody will put anything any more. */
void mailbox_fini(struct mailbox *m);

#endif
