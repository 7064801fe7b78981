/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/inbox.h"

static void on_async(uv_async_t *async)
{
    struct inbox *m = async->data;

    m->on_mail(m->arg);
}

void inbox_init(struct inbox *m, uv_loop_t *loop, void (*on_mail)(void *arg), void *arg)
{
    *m = (struct inbox){.on_mail = on_mail, .arg = arg};
    STAILQ_INIT(&m->items);
    check(pthread_mutex_init(&m->mutex, NULL) == 0);
    check(uv_async_init(loop, &m->async, on_async) == 0);
    m->async.data = m;
}

/* The caller holds the mutex, so that inbox_sleep cannot close the handle meanwhile. */
static void wake(struct inbox *m)
{
    if (m->silent)
        return;
    m->silent = true;
    check(uv_async_send(&m->async) == 0);
}

void inbox_put(struct inbox *m, struct inbox_item *item)
{
    check(pthread_mutex_lock(&m->mutex) == 0);
    STAILQ_INSERT_TAIL(&m->items, item, link);
    wake(m);
    check(pthread_mutex_unlock(&m->mutex) == 0);
}

bool inbox_take(struct inbox *m, struct inbox_list *out)
{
    bool some;

    check(pthread_mutex_lock(&m->mutex) == 0);
    some = !STAILQ_EMPTY(&m->items);
    STAILQ_CONCAT(out, &m->items);
    m->silent = true;
    check(pthread_mutex_unlock(&m->mutex) == 0);
    return some;
}

void inbox_unwatch(struct inbox *m)
{
    check(pthread_mutex_lock(&m->mutex) == 0);
    m->silent = m->asleep;
    if (!STAILQ_EMPTY(&m->items))
        wake(m);
    check(pthread_mutex_unlock(&m->mutex) == 0);
}

void inbox_sleep(struct inbox *m)
{
    check(pthread_mutex_lock(&m->mutex) == 0);
    m->asleep = true;
    m->silent = true;
    check(pthread_mutex_unlock(&m->mutex) == 0);
    uv_close((uv_handle_t *)&m->async, NULL);
}

void inbox_fini(struct inbox *m)
{
    check(STAILQ_EMPTY(&m->items));
    check(pthread_mutex_destroy(&m->mutex) == 0);
}
