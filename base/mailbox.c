/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *box)
{
    box->watched = false;
    box->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (box->event_fd < 0)
        return -errno;
    STAILQ_INIT(&box->list);
    atomic_init(&box->waiting, false);
    check(pthread_mutex_init(&box->lock, NULL) == 0);
    return 0;
}

void mailbox_fini(struct mailbox *box)
{
    check(STAILQ_EMPTY(&box->list));
    check(pthread_mutex_destroy(&box->lock) == 0);
    close(box->event_fd);
}

void mailbox_wake(struct mailbox *box)
{
    uint64_t one = 1;
    ssize_t n;
    int saved = errno;

    /* EAGAIN means that the counter is full: then it is readable as well. */
    do
        n = write(box->event_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    errno = saved;
}

void mailbox_post(struct mailbox *box, struct mail *mail, mail_fn deliver)
{
    bool wakes;

    mail->deliver = deliver;
    check(pthread_mutex_lock(&box->lock) == 0);
    wakes = STAILQ_EMPTY(&box->list) && !box->watched;
    STAILQ_INSERT_TAIL(&box->list, mail, link);
    atomic_store(&box->waiting, true);
    check(pthread_mutex_unlock(&box->lock) == 0);
    if (wakes)
        mailbox_wake(box);
}

static void clear_event(struct mailbox *box)
{
    uint64_t counter;

    if (read(box->event_fd, &counter, sizeof(counter)) < 0)
        check(errno == EAGAIN || errno == EINTR);
}

unsigned mailbox_deliver(struct mailbox *box)
{
    struct mail_list mine = STAILQ_HEAD_INITIALIZER(mine);
    struct mail *mail;
    unsigned n = 0;

    /* Before the list is taken: what is posted later wakes us again. */
    if (!box->watched)
        clear_event(box);
    check(pthread_mutex_lock(&box->lock) == 0);
    STAILQ_CONCAT(&mine, &box->list);
    atomic_store(&box->waiting, false);
    check(pthread_mutex_unlock(&box->lock) == 0);
    while ((mail = STAILQ_FIRST(&mine)) != NULL) {
        STAILQ_REMOVE_HEAD(&mine, link);
        mail->deliver(mail);
        n++;
    }
    return n;
}

void mailbox_watch(struct mailbox *box)
{
    if (box->watched)
        return;
    clear_event(box);
    check(pthread_mutex_lock(&box->lock) == 0);
    box->watched = true;
    check(pthread_mutex_unlock(&box->lock) == 0);
}

void mailbox_unwatch(struct mailbox *box)
{
    bool wakes;

    check(pthread_mutex_lock(&box->lock) == 0);
    box->watched = false;
    wakes = !STAILQ_EMPTY(&box->list);
    check(pthread_mutex_unlock(&box->lock) == 0);
    if (wakes)
        mailbox_wake(box);
}
