/* SPDX-License-Identifier: Apache-2.0 */
/* The one crossing between threads: any thread puts items in, the loop thread takes them out, in
 * the order in which they were put.
 *
 * Waking the loop costs a system call, so it is done only for the first item since the last take,
 * and not at all while the loop watches the inbox by itself (during a turn). */
#ifndef RAFT_INBOX_H
#define RAFT_INBOX_H

#include <pthread.h>
#include <sys/queue.h>
#include <uv.h>

#include "base/base.h"

struct inbox_item {
    STAILQ_ENTRY(inbox_item) link;
};

STAILQ_HEAD(inbox_list, inbox_item);

struct inbox {
    pthread_mutex_t mutex; /* of what follows */
    struct inbox_list items;
    bool silent; /* nobody needs to be woken: woken already, watching, or asleep for good */
    bool asleep;
    uv_async_t async;
    void (*on_mail)(void *arg);
    void *arg;
};

/* Loop thread. on_mail(arg) is called from the loop, soon after something was put. */
void inbox_init(struct inbox *m, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* Any thread. The item is the inbox's until it is taken. */
void inbox_put(struct inbox *m, struct inbox_item *item);

/* Loop thread: moves all items to the end of `out`; false when there were none. From now on nobody
 * is woken, until inbox_unwatch. */
bool inbox_take(struct inbox *m, struct inbox_list *out);
/* Loop thread, before it goes to sleep: what is put from now on wakes it. What is there already
 * does so at once. */
void inbox_unwatch(struct inbox *m);

/* Loop thread: gives up the loop. Items may still be put (from any thread) and taken (now also from
 * the thread that has joined the loop's). */
void inbox_sleep(struct inbox *m);

/* The inbox is empty and nobody will put anything any more. */
void inbox_fini(struct inbox *m);

#endif
