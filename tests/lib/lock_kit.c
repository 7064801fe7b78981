/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/lock_kit.h"

#include <inttypes.h>
#include <stdio.h>

#define COMMAND(member, CASE)                                                                      \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

uint32_t lock_flock(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle, int how)
{
    Cfs__Lock op = CFS__LOCK__INIT;
    COMMAND(lock, LOCK);

    op.ino = ino;
    op.kind = CFS__LOCK__KIND__FLOCK;
    op.handle = handle;
    op.owner = 12345; /* ignored, as are these: */
    op.start = 9;
    op.end = 3;
    op.write = (how & WRITE) != 0;
    op.wait = (how & NOWAIT) == 0;
    op.pid = 77;
    return kit_run_as(k, h, &c);
}

uint32_t lock_unflock(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle)
{
    Cfs__Unlock op = CFS__UNLOCK__INIT;
    COMMAND(unlock, UNLOCK);

    op.ino = ino;
    op.kind = CFS__LOCK__KIND__FLOCK;
    op.handle = handle;
    return kit_run_as(k, h, &c);
}

uint32_t lock_range_by(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t handle,
                       uint64_t owner, uint64_t start, uint64_t end, int how)
{
    Cfs__Lock op = CFS__LOCK__INIT;
    COMMAND(lock, LOCK);

    op.ino = ino;
    op.kind = CFS__LOCK__KIND__POSIX;
    op.handle = handle;
    op.owner = owner;
    op.start = start;
    op.end = end;
    op.write = (how & WRITE) != 0;
    op.wait = (how & NOWAIT) == 0;
    op.pid = 77;
    return kit_run_as(k, h, &c);
}

uint32_t lock_range(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t owner, uint64_t start,
                    uint64_t end, int how)
{
    return lock_range_by(k, h, ino, owner + 1000, owner, start, end, how);
}

uint32_t lock_unrange(struct kit *k, struct kit_host *h, uint64_t ino, uint64_t owner,
                      uint64_t start, uint64_t end)
{
    Cfs__Unlock op = CFS__UNLOCK__INIT;
    COMMAND(unlock, UNLOCK);

    op.ino = ino;
    op.kind = CFS__LOCK__KIND__POSIX;
    op.owner = owner;
    op.start = start;
    op.end = end;
    return kit_run_as(k, h, &c);
}

uint32_t lock_release(struct kit *k, struct kit_host *h, uint64_t handle)
{
    Cfs__ReleaseHandle op = CFS__RELEASE_HANDLE__INIT;
    COMMAND(release_handle, RELEASE_HANDLE);

    op.n_handles = 1;
    op.handles = &handle;
    return kit_run_as(k, h, &c);
}

uint32_t lock_cancel_wait(struct kit *k, struct kit_host *h, uint64_t id)
{
    Cfs__CancelLock op = CFS__CANCEL_LOCK__INIT;
    COMMAND(cancel_lock, CANCEL_LOCK);

    op.id = id;
    return kit_run_as(k, h, &c);
}

uint32_t lock_close(struct kit *k, struct kit_host *h)
{
    Cfs__CloseSession op = CFS__CLOSE_SESSION__INIT;
    COMMAND(close_session, CLOSE_SESSION);

    return kit_run_as(k, h, &c);
}

uint32_t lock_expire(struct kit *k, struct kit_host *h, uint64_t session, uint64_t term)
{
    Cfs__ExpireSession op = CFS__EXPIRE_SESSION__INIT;
    COMMAND(expire_session, EXPIRE_SESSION);

    op.session = session;
    op.term = term;
    return kit_run_as(k, h, &c);
}

static bool add_lock(void *arg, const struct reader_lock *lock)
{
    struct buf *b = arg;

    buf_printf(b, "%" PRIu64 "%c %" PRIu64 "/%" PRIu64 "%c", lock->ino, "fp"[lock->kind],
               lock -> member, lock -> owner, lock -> write ? 'W' : 'R');
    if (lock->kind == CFS__LOCK__KIND__POSIX && lock->end == LOCK_KIT_END)
        buf_printf(b, "%" PRIu64 "-", lock->start);
    else if (lock->kind == CFS__LOCK__KIND__POSIX)
        buf_printf(b, "%" PRIu64 "-%" PRIu64, lock->start, lock->end);
    buf_printf(b, lock->waits ? "?;" : ";");
    return true;
}

const char *lock_list(struct kit *k)
{
    static char text[4096];
    struct buf b = BUF_EMPTY;

    assert_int_equal(reader_locks(k->reader, add_lock, &b), 0);
    assert_true(b.len < sizeof text);
    snprintf(text, sizeof text, "%.*s", (int)b.len, b.len > 0 ? (char *)b.data : "");
    buf_fini(&b);
    return text;
}
