/* SPDX-License-Identifier: Apache-2.0 */
/* The one crossing between threads: any thread puts items in, and the loop thread takes them out in
 * the same order.
 *
 * Waking the loop costs a system call. Only the first item since the last take wakes it, and no
 * item does while the loop watches the inbox (during a turn). */
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
    pthread_mutex_t mutex; /* protects items, silent and asleep */
    struct inbox_list items;
    bool silent; /* do not wake: the loop is woken already, watching, or closed */
    bool asleep; /* the handle is closed */
    uv_async_t async;
    void (*on_mail)(void *arg);
    void *arg;
};

/* Loop thread. The loop calls on_mail(arg) soon after an item was put. */
void inbox_init(struct inbox *m, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg);

/* Any thread. The inbox owns the item until the loop takes it. */
void inbox_put(struct inbox *m, struct inbox_item *item);

/* Loop thread: moves all items to the end of `out`; false if there were none. New items do not wake
 * the loop until inbox_unwatch. */
bool inbox_take(struct inbox *m, struct inbox_list *out);
/* Loop thread, before it polls: from now on a new item wakes it. If there is an item already, it
 * wakes the loop immediately. */
void inbox_unwatch(struct inbox *m);

/* Loop thread: closes the handle on the loop. Items may still be put (from any thread) and taken
 * (now also by the thread that has joined the loop's thread). */
void inbox_sleep(struct inbox *m);

/* The inbox must be empty, and no thread may use it any more. */
void inbox_fini(struct inbox *m);

#endif
