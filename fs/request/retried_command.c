/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/retried_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/state.h"

static void send(struct retried_command *e);

static bool is_final(const struct call *c)
{
    return c->err == 0 || c->err == -ESTALE || c->err == -ESHUTDOWN;
}

static void on_call_done(struct call *c)
{
    struct retried_command *e = CONTAINER_OF(c, struct retried_command, call);
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

static void send(struct retried_command *e)
{
    call_submit_in(e->fs, &e->call, e->session, &e->command, 0, on_call_done);
}

static struct retried_command *retried_command_new(struct fs *fs, uint64_t session,
                                                   Cfs__Command__OpCase op,
                                                   retried_command_done done, void *arg)
{
    struct retried_command *e = xcalloc(1, sizeof(*e));

    e->fs = fs;
    e->session = session;
    cfs__command__init(&e->command);
    e->command.op_case = op;
    e->done = done;
    e->arg = arg;
    TAILQ_INIT(&e->waiters);
    return e;
}

static void take_numbers(struct retried_command *e, const uint64_t *numbers, size_t n)
{
    e->numbers = xcalloc(n, sizeof(*numbers));
    memcpy(e->numbers, numbers, n * sizeof(*numbers));
}

struct retried_command *retried_command_unlock(struct fs *fs, uint64_t session,
                                               const Cfs__Unlock *unlock, retried_command_done done)
{
    struct retried_command *e =
        retried_command_new(fs, session, CFS__COMMAND__OP_UNLOCK, done, NULL);

    e->unlock = *unlock;
    e->command.unlock = &e->unlock;
    send(e);
    return e;
}

struct retried_command *retried_command_release(struct fs *fs, uint64_t session,
                                                const uint64_t *handles, size_t n,
                                                retried_command_done done)
{
    struct retried_command *e =
        retried_command_new(fs, session, CFS__COMMAND__OP_RELEASE_HANDLE, done, NULL);

    take_numbers(e, handles, n);
    cfs__release_handle__init(&e->release);
    e->release.handles = e->numbers;
    e->release.n_handles = n;
    e->command.release_handle = &e->release;
    send(e);
    return e;
}

struct retried_command *retried_command_cancel(struct fs *fs, uint64_t session, uint64_t id,
                                               retried_command_done done, void *arg)
{
    struct retried_command *e =
        retried_command_new(fs, session, CFS__COMMAND__OP_CANCEL_LOCK, done, arg);

    cfs__cancel_lock__init(&e->cancel);
    e->cancel.id = id;
    e->command.cancel_lock = &e->cancel;
    send(e);
    return e;
}

struct retried_command *retried_command_ephemeral(struct fs *fs, uint64_t session, uint64_t ino)
{
    struct retried_command *e =
        retried_command_new(fs, session, CFS__COMMAND__OP_RELEASE_EPHEMERAL, NULL, NULL);

    take_numbers(e, &ino, 1);
    cfs__release_ephemeral__init(&e->ephemeral);
    e->ephemeral.inos = e->numbers;
    e->ephemeral.n_inos = 1;
    e->command.release_ephemeral = &e->ephemeral;
    send(e);
    return e;
}
