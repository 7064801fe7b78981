/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/catch_up.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>

#include "base/log.h"

struct wait {
    sem_t done;
    int err;
};

/* Loop thread. */
static void on_waited(void *arg, int err, const uint8_t *reply BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct wait *w = arg;

    w->err = err;
    check(sem_post(&w->done) == 0);
}

/* Loop thread, also while the node stops. */
static void on_caught_up(void *arg, int err, const uint8_t *reply BASE_UNUSED,
                         size_t len BASE_UNUSED)
{
    struct daemon *d = arg;

    if (err != 0)
        return;
    atomic_store(&d->behind, false);
    log_info("caught up with the cluster");
}

static void warn(const struct daemon *d)
{
    static const char text[] = "no majority of the members has answered: the mount shows what this "
                               "member had when it stopped, until it has caught up";

    log_warn(text);
    if (d->options.log == NULL && d->options.foreground)
        return; /* the log goes to standard error */
    fprintf(stderr, "coordfsd: warning: %s\n", text);
}

void catch_up_wait(struct daemon *d)
{
    unsigned timeout_ms = (unsigned)min_u64(d->options.timeout_ms, CATCH_UP_MAX_MS);
    struct wait w = {.err = 0};

    check(sem_init(&w.done, 0, 0) == 0);
    atomic_store(&d->catch_up, consensus_barrier(d->consensus, timeout_ms, on_waited, &w));
    if (atomic_load(&d->ends))
        consensus_cancel(d->consensus, atomic_load(&d->catch_up));
    while (sem_wait(&w.done) != 0)
        check(errno == EINTR);
    check(sem_destroy(&w.done) == 0);
    if (w.err != -ETIMEDOUT)
        return;
    atomic_store(&d->behind, true);
    warn(d);
    consensus_barrier(d->consensus, 0, on_caught_up, d);
}

void catch_up_cancel(struct daemon *d)
{
    uint64_t ticket;

    atomic_store(&d->ends, true);
    ticket = atomic_load(&d->catch_up);
    if (ticket != 0)
        consensus_cancel(d->consensus, ticket);
}
