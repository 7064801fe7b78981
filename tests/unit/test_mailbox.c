/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mailbox.h"

enum { THREADS = 4, LETTERS = 5000, PATIENCE_MS = 20000 };

struct letter {
    struct mail mail;
    unsigned from, number;
};

static struct mailbox box;
static unsigned next[THREADS], total;

static void on_letter(struct mail *mail)
{
    struct letter *l = CONTAINER_OF(mail, struct letter, mail);

    assert_int_equal(l->number, next[l->from]); /* in the order of posting */
    next[l->from]++;
    total++;
    free(l);
}

static void post(unsigned from, unsigned number)
{
    struct letter *l = xmalloc(sizeof *l);

    l->from = from;
    l->number = number;
    mailbox_post(&box, &l->mail, on_letter);
}

static bool is_woken(int timeout_ms)
{
    struct pollfd fd = {.fd = box.event_fd, .events = POLLIN};

    return poll(&fd, 1, timeout_ms) == 1;
}

static void *sender(void *arg)
{
    for (unsigned i = 0; i < LETTERS; i++)
        post(*(unsigned *)arg, i);
    return NULL;
}

static void reset(void)
{
    total = 0;
    for (unsigned i = 0; i < THREADS; i++)
        next[i] = 0;
    assert_int_equal(mailbox_init(&box), 0);
}

/* The owner watches while it works, as the loop does in a turn. */
static void test_many_senders(void **state BASE_UNUSED)
{
    pthread_t threads[THREADS];
    unsigned ids[THREADS];

    reset();
    for (unsigned i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, sender, &ids[i]), 0);
    }
    while (total < THREADS * LETTERS) {
        assert_true(is_woken(PATIENCE_MS));
        mailbox_watch(&box);
        mailbox_deliver(&box);
        mailbox_unwatch(&box);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total, THREADS * LETTERS);
    mailbox_fini(&box);
}

/* Many posts cause one wake-up, posts to a watching owner cause none, and no mail is forgotten. */
static void test_wakes(void **state BASE_UNUSED)
{
    uint64_t wakes;

    reset();
    assert_false(is_woken(0));
    post(0, 0);
    post(0, 1);
    assert_true(is_woken(0));
    assert_int_equal(read(box.event_fd, &wakes, sizeof wakes), sizeof wakes);
    assert_int_equal(wakes, 1);
    mailbox_watch(&box);
    assert_int_equal(mailbox_deliver(&box), 2);
    post(0, 2);
    assert_false(is_woken(0));
    assert_true(mailbox_waiting(&box));
    mailbox_unwatch(&box); /* not delivered yet: wakes immediately */
    assert_true(is_woken(0));
    mailbox_watch(&box);
    assert_false(is_woken(0));
    assert_int_equal(mailbox_deliver(&box), 1);
    mailbox_unwatch(&box);
    assert_false(is_woken(0));
    post(0, 3);
    assert_true(is_woken(0));
    assert_int_equal(mailbox_deliver(&box), 1);
    assert_false(is_woken(0));
    assert_false(mailbox_waiting(&box));
    mailbox_watch(&box);
    post(0, 4); /* the owner never sleeps again: still accepted */
    assert_false(is_woken(0));
    assert_int_equal(mailbox_deliver(&box), 1);
    assert_int_equal(total, 5);
    mailbox_fini(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_wakes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
