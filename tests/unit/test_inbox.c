/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "raft/inbox.h"

enum { THREADS = 4, LETTERS = 5000 };

struct letter {
    struct inbox_item item;
    unsigned from, number;
};

static struct inbox box;
static unsigned next[THREADS], total, wakes;

static void put(unsigned from, unsigned number)
{
    struct letter *l = xmalloc(sizeof *l);

    l->from = from;
    l->number = number;
    inbox_put(&box, &l->item);
}

static void take(void)
{
    struct inbox_list list = STAILQ_HEAD_INITIALIZER(list);
    bool some = inbox_take(&box, &list);

    assert_int_equal(some, !STAILQ_EMPTY(&list));
    while (!STAILQ_EMPTY(&list)) {
        struct letter *l = CONTAINER_OF(STAILQ_FIRST(&list), struct letter, item);

        STAILQ_REMOVE_HEAD(&list, link);
        assert_int_equal(l->number, next[l->from]); /* in the order of inbox_put */
        next[l->from]++;
        total++;
        free(l);
    }
}

static void on_mail(void *arg BASE_UNUSED)
{
    wakes++;
    take();
    inbox_unwatch(&box);
    if (total == THREADS * LETTERS)
        inbox_sleep(&box);
}

static void *sender(void *arg)
{
    for (unsigned i = 0; i < LETTERS; i++)
        put(*(unsigned *)arg, i);
    return NULL;
}

static void reset(void)
{
    total = wakes = 0;
    for (unsigned i = 0; i < THREADS; i++)
        next[i] = 0;
}

static void test_many_senders(void **state BASE_UNUSED)
{
    pthread_t threads[THREADS];
    unsigned ids[THREADS];
    uv_loop_t loop;

    reset();
    assert_int_equal(uv_loop_init(&loop), 0);
    inbox_init(&box, &loop, on_mail, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, sender, &ids[i]), 0);
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* until on_mail has taken all items */
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total, THREADS * LETTERS);
    inbox_fini(&box);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void on_wake(void *arg BASE_UNUSED)
{
    wakes++;
}

/* Many items cause one wake-up, none while the loop watches, and no item is forgotten. */
static void test_wakes(void **state BASE_UNUSED)
{
    uv_loop_t loop;

    reset();
    assert_int_equal(uv_loop_init(&loop), 0);
    inbox_init(&box, &loop, on_wake, NULL);
    put(0, 0);
    put(0, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(wakes, 1);
    take();
    put(0, 2); /* the loop watches */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(wakes, 1);
    inbox_unwatch(&box); /* not taken yet: wakes immediately */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(wakes, 2);
    take();
    inbox_unwatch(&box);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(wakes, 2);
    put(0, 3);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(wakes, 3);
    take();
    inbox_sleep(&box);
    put(0, 4); /* still accepted */
    inbox_unwatch(&box);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(wakes, 3);
    take();
    assert_int_equal(total, 5);
    inbox_fini(&box);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
