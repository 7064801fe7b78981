/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *box)
{
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

    /* EAGAIN: the counter is full, so the descriptor is readable already. */
    do
        n = write(box->event_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    errno = saved;
}

void mailbox_post(struct mailbox *box, struct mail *mail, mail_fn deliver)
{
    bool first;

    mail->deliver = deliver;
    pthread_mutex_lock(&box->lock);
    first = STAILQ_EMPTY(&box->list);
    STAILQ_INSERT_TAIL(&box->list, mail, link);
    atomic_store(&box->waiting, true);
    pthread_mutex_unlock(&box->lock);
    if (first)
        mailbox_wake(box);
}

unsigned mailbox_deliver(struct mailbox *box)
{
    struct mail_list mine = STAILQ_HEAD_INITIALIZER(mine);
    struct mail *mail;
    uint64_t counter;
    unsigned n = 0;

    /* The counter is read before the list is taken: mail that is posted later wakes us again. */
    if (read(box->event_fd, &counter, sizeof(counter)) < 0)
        check(errno == EAGAIN || errno == EINTR);
    pthread_mutex_lock(&box->lock);
    STAILQ_CONCAT(&mine, &box->list);
    atomic_store(&box->waiting, false);
    pthread_mutex_unlock(&box->lock);
    while ((mail = STAILQ_FIRST(&mine)) != NULL) {
        STAILQ_REMOVE_HEAD(&mine, link);
        mail->deliver(mail);
        n++;
    }
    return n;
}
