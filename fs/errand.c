#include "fs/errand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state.h"

static void send(struct errand *e);

static bool is_final(const struct call *c)
{
    return c->err == 0 || c->err == -ESTALE || c->err == -ESHUTDOWN;
}

static void on_call_done(struct call *c)
{
    struct errand *e = CONTAINER_OF(c, struct errand, call);
    int error = call_error(c);

    if (!is_final(c)) {
        send(e);
        return;
    }
    if (e->done != NULL)
        e->done(e, error);
    request_wake(&e->waiters, error);
    free(e->numbers);
    free(e);
}

static void send(struct errand *e)
{
    call_submit_in(e->fs, &e->call, e->session, &e->command, 0, on_call_done);
}

static struct errand *errand_new(struct fs *fs, uint64_t session, Cfs__Command__OpCase op,
                                 errand_done done, void *arg)
{
    struct errand *e = xcalloc(1, sizeof(*e));

    e->fs = fs;
    e->session = session;
    cfs__command__init(&e->command);
    e->command.op_case = op;
    e->done = done;
    e->arg = arg;
    TAILQ_INIT(&e->waiters);
    return e;
}

static void take_numbers(struct errand *e, const uint64_t *numbers, size_t n)
{
    e->numbers = xcalloc(n, sizeof(*numbers));
    memcpy(e->numbers, numbers, n * sizeof(*numbers));
}

struct errand *errand_unlock(struct fs *fs, uint64_t session, const Cfs__Unlock *unlock,
                             errand_done done)
{
    struct errand *e = errand_new(fs, session, CFS__COMMAND__OP_UNLOCK, done, NULL);

    e->unlock = *unlock;
    e->command.unlock = &e->unlock;
    send(e);
    return e;
}

struct errand *errand_release(struct fs *fs, uint64_t session, const uint64_t *handles, size_t n,
                              errand_done done)
{
    struct errand *e = errand_new(fs, session, CFS__COMMAND__OP_RELEASE_HANDLE, done, NULL);

    take_numbers(e, handles, n);
    cfs__release_handle__init(&e->release);
    e->release.handles = e->numbers;
    e->release.n_handles = n;
    e->command.release_handle = &e->release;
    send(e);
    return e;
}

struct errand *errand_cancel(struct fs *fs, uint64_t session, uint64_t id, errand_done done,
                             void *arg)
{
    struct errand *e = errand_new(fs, session, CFS__COMMAND__OP_CANCEL_LOCK, done, arg);

    cfs__cancel_lock__init(&e->cancel);
    e->cancel.id = id;
    e->command.cancel_lock = &e->cancel;
    send(e);
    return e;
}

struct errand *errand_ephemeral(struct fs *fs, uint64_t session, uint64_t ino)
{
    struct errand *e = errand_new(fs, session, CFS__COMMAND__OP_RELEASE_EPHEMERAL, NULL, NULL);

    take_numbers(e, &ino, 1);
    cfs__release_ephemeral__init(&e->ephemeral);
    e->ephemeral.inos = e->numbers;
    e->ephemeral.n_inos = 1;
    e->command.release_ephemeral = &e->ephemeral;
    send(e);
    return e;
}
