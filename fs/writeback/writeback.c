/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation (fs/writeback/writeback.h has the rules)
 *
 * The content of a file that is not committed yet is in one of two places. `extents` of the
 * writeback has the content that is not submitted: the writeback is then dirty and in the list of
 * dirty ones. `flying` is a queue of batches, which are submitted. A batch takes the whole content
 * of its writeback, so new writes begin with an empty one, and the order of writes is the order of
 * batches.
 *
 * A batch becomes one or more commands, which are submitted together: all but the last one stage
 * content, and the last one, a Write, applies it. The batch ends when all of its commands have
 * completed:
 *
 *  - All succeeded: the kernel's old pages are dropped first (lane_move_waiters), then the requests
 *    that wait are answered.
 *  - The transport failed (uncertain), and the batch has acknowledged content: try_again submits
 *    the acknowledged part in a new batch, without a deadline. The writer whose write was not
 *    acknowledged gets the error.
 *  - The state machine refused the content: note_loss counts the loss, which each handle reports
 *    once.
 *
 * After a failure the staged part is dropped (Unstage), unless the session has ended, which drops
 * it too. A writeback is freed when it is clean, nothing is flying, and no handle has an error to
 * report. */
#include "fs/writeback/writeback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/hash.h"
#include "fs/kernel/procfd.h"
#include "fs/state.h"
#include "proto/limits.h"

/* Commands that are submitted together and take effect with the last one: those before it only
 * stage their content. */
struct batch {
    TAILQ_ENTRY(batch) link;
    struct fs *fs;
    struct writeback *writeback;
    struct extents extents;
    size_t acked; /* extents that were acknowledged to their writers */
    bool append;
    uint64_t session; /* session in which it must be committed; 0: any */
    uint64_t stage;
    unsigned staged; /* extents */
    unsigned left;   /* commands */
    int error;
    bool uncertain;
    struct request_queue writer;  /* the writer whose write is not acknowledged */
    struct request_queue waiters; /* all other requests that wait */
    unsigned timeout_ms;
    struct batch_call *calls;
    unsigned n_calls;
};

struct batch_call {
    struct call call;
    struct batch *batch;
};

TAILQ_HEAD(batch_list, batch);

struct writeback {
    uint64_t ino;
    struct extents extents;
    int truncater; /* thread */
    int writer;
    bool dirty;
    bool cut;          /* a truncation failed together with the write that it had waited for */
    uint64_t session;  /* session that its content belongs to; 0: none */
    uint64_t first_ms; /* when it became dirty, and changed last */
    uint64_t last_ms;
    int64_t changed_ns; /* wall clock: its last acknowledged change */
    uint64_t room;      /* for it, when it became dirty */
    struct batch_list flying;
    size_t flying_bytes;
    int error; /* of what was lost last */
    unsigned errors;
    LIST_ENTRY(writeback) link;
    UT_hash_handle hh;
};

static void batch_submit(struct batch *b);

/* ---- Writebacks ------------------------------------------------------------------------------ */

void writebacks_init(struct writebacks *ds)
{
    ds->table = NULL;
    LIST_INIT(&ds->dirty);
    LIST_INIT(&ds->drops);
    ds->last_stage = 0;
    ds->next_due_ms = UINT64_MAX;
}

static struct writeback *writeback_find(struct fs *fs, uint64_t ino)
{
    struct writeback *d;

    HASH_FIND_U64(fs->writebacks.table, ino, d);
    return d;
}

/* The next write includes a truncation that has failed. */
static void take_cut(struct writeback *d)
{
    if (d->cut && extents_empty(&d->extents))
        extents_truncate(&d->extents);
    d->cut = false;
}

static struct writeback *writeback_get(struct fs *fs, uint64_t ino)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL) {
        d = xcalloc(1, sizeof(*d));
        d->ino = ino;
        TAILQ_INIT(&d->flying);
        HASH_ADD_U64(fs->writebacks.table, ino, d);
    }
    return d;
}

static void set_clean(struct writeback *d)
{
    if (d->dirty)
        LIST_REMOVE(d, link);
    d->dirty = false;
}

static uint64_t due_of(const struct fs *fs, const struct writeback *d)
{
    uint64_t age = d->first_ms + WRITEBACK_AGE_MS;

    if (fs->options.writeback_ms != 0)
        return d->first_ms + fs->options.writeback_ms;
    return d->extents.n == 0 ? age : min_u64(age, d->last_ms + WRITEBACK_IDLE_MS);
}

/* The number of bytes by which the file can grow; a truncation makes room. */
static uint64_t room_of(struct fs *fs, uint64_t ino, bool truncate)
{
    const struct backend *be = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;
    int64_t room = be->ops->room(be->ctx, ino);

    if (room < 0)
        return UINT64_MAX; /* the commit will report it */
    if (truncate && be->ops->attr(be->ctx, ino, &attr) == 0)
        room += (int64_t)attr.blocks * 512;
    return (uint64_t)room;
}

bool writeback_has_room(struct fs *fs, uint64_t ino, size_t len)
{
    const struct writeback *d = writeback_find(fs, ino);

    if (d == NULL || !d->dirty)
        return room_of(fs, ino, false) >= len;
    return d->extents.bytes + len <= d->room;
}

static void set_dirty(struct fs *fs, struct writeback *d)
{
    uint64_t now = clock_boot_ms();

    if (!d->dirty) {
        LIST_INSERT_HEAD(&fs->writebacks.dirty, d, link);
        d->first_ms = now;
        d->room = room_of(fs, d->ino, d->extents.truncate);
        d->room -= min_u64(d->room, d->flying_bytes);
    }
    d->dirty = true;
    d->last_ms = now;
    d->changed_ns = clock_real_ns();
    fs->writebacks.next_due_ms = min_u64(fs->writebacks.next_due_ms, due_of(fs, d));
}

static void writeback_free(struct writebacks *ds, struct writeback *d)
{
    set_clean(d);
    extents_fini(&d->extents);
    HASH_DEL(ds->table, d);
    free(d);
}

/* An empty writeback stays while a handle has not been told of an error. */
static void writeback_settle(struct fs *fs, struct writeback *d)
{
    if (extents_empty(&d->extents) && TAILQ_EMPTY(&d->flying) && !d->cut &&
        (d->errors == 0 || opens_count(&fs->opens, d->ino) == 0))
        writeback_free(&fs->writebacks, d);
}

/* ---- Batches --------------------------------------------------------------------------------- */

/* Takes the extents. */
static struct batch *batch_of(struct fs *fs, struct writeback *d, struct extents *extents)
{
    struct batch *b = xcalloc(1, sizeof(*b));

    b->fs = fs;
    b->writeback = d;
    b->extents = *extents;
    b->acked = b->extents.n;
    b->session = d->session;
    d->session = 0;
    *extents = (struct extents){0};
    TAILQ_INIT(&b->writer);
    TAILQ_INIT(&b->waiters);
    TAILQ_INSERT_TAIL(&d->flying, b, link);
    return b;
}

/* Takes the content of the writeback. */
static struct batch *batch_new(struct fs *fs, struct writeback *d)
{
    set_clean(d);
    return batch_of(fs, d, &d->extents);
}

static void batch_free(struct batch *b)
{
    extents_fini(&b->extents);
    free(b->calls);
    free(b);
}

/* True if the batch has acknowledged writes, or only a truncation: no request waits for these. */
static bool has_acked(const struct batch *b)
{
    return b->acked > 0 || (b->extents.n == 0 && b->extents.truncate);
}

/* Acknowledged content is tried again, without a deadline; requests that wait for it go on waiting.
 * Content that was written meanwhile joins it, if that is not too much for one change. */
static void try_again(struct batch *b)
{
    struct writeback *d = b->writeback;
    struct batch *again;

    extents_cut(&b->extents, b->acked);
    if (b->extents.bytes + d->extents.bytes > LIMIT_FILE_MAX ||
        b->extents.n + d->extents.n > WRITEBACK_EXTENTS) {
        uint64_t session = d->session; /* of what is there now */

        d->session = b->session;
        again = batch_of(b->fs, d, &b->extents);
        d->session = session;
    } else {
        extents_prepend(&d->extents, &b->extents);
        if (b->session != 0)
            d->session = b->session;
        again = batch_new(b->fs, d);
    }
    requests_move(&b->waiters, &again->waiters);
    batch_submit(again);
}

static void note_loss(struct batch *b)
{
    struct writeback *d = b->writeback;

    d->errors++;
    d->error = b->error;
    log_error("inode %llu: %zu bytes that were written are lost: %s", (unsigned long long)d->ino,
              b->extents.bytes, strerror(b->error));
}

/* The staged part of a failed commit takes space in the tree until it is dropped. */
struct drop {
    LIST_ENTRY(drop) link;
    struct call call;
};

static void on_dropped(struct call *c)
{
    struct drop *drop = CONTAINER_OF(c, struct drop, call);

    LIST_REMOVE(drop, link);
    free(drop);
}

static void drop_stage(struct fs *fs, uint64_t stage)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Unstage unstage = CFS__UNSTAGE__INIT;
    struct drop *drop = xcalloc(1, sizeof(*drop));

    unstage.stage = stage;
    command.op_case = CFS__COMMAND__OP_UNSTAGE;
    command.unstage = &unstage;
    LIST_INSERT_HEAD(&fs->writebacks.drops, drop, link);
    call_submit(fs, &drop->call, &command, 0, on_dropped);
}

static void batch_end(struct batch *b)
{
    struct writeback *d = b->writeback;
    struct fs *fs = b->fs;

    TAILQ_REMOVE(&d->flying, b, link);
    d->flying_bytes -= b->extents.bytes;
    if (b->error != 0 && b->stage != 0 && b->error != ENOTCONN) /* it goes with the session */
        drop_stage(fs, b->stage);
    if (b->error != 0)
        lane_forget_inode(fs, d->ino); /* pages that showed a change that did not happen */
    if (b->error != 0 && has_acked(b)) {
        if (b->uncertain)
            try_again(b);
        else
            note_loss(b);
    } else if (b->error != 0 && b->extents.truncate && (b->session == 0 || b->uncertain)) {
        d->cut = true;
    }
    /* The kernel's old pages go first: our own changes are delivered before this. Not for errors:
     * no request waits for a change that did not happen. */
    if (b->error == 0) {
        lane_move_waiters(fs, d->ino, &b->writer);
        lane_move_waiters(fs, d->ino, &b->waiters);
    }
    request_wake(&b->writer, b->error);
    request_wake(&b->waiters, 0); /* errors are reported by writeback_error */
    batch_free(b);
    writeback_settle(fs, d);
}

static void on_call_done(struct call *c)
{
    struct batch *b = CONTAINER_OF(c, struct batch_call, call)->batch;
    int error = call_error(c);

    lost_note_call(b->fs, c);
    if (error != 0 && b->error == 0) {
        b->error = error;
        b->uncertain = c->err == -ETIMEDOUT || c->err == -EINTR;
    }
    if (--b->left == 0)
        batch_end(b);
}

static void submit(struct batch *b, const Cfs__Command *command)
{
    struct batch_call *call = &b->calls[b->n_calls++];

    call->batch = b;
    call_submit_in(b->fs, &call->call, b->session, command, b->timeout_ms, on_call_done);
}

static void submit_stage(struct batch *b, const Cfs__Write *write)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Stage stage = CFS__STAGE__INIT;

    stage.ino = b->writeback->ino;
    stage.stage = b->stage;
    stage.n_extents = write->n_extents;
    stage.extents = write->extents;
    for (size_t i = 0; i < write->n_extents; i++)
        b->staged += write->extents[i]->data.len > 0;
    command.op_case = CFS__COMMAND__OP_STAGE;
    command.stage = &stage;
    submit(b, &command);
}

static void submit_write(struct batch *b, Cfs__Write *write)
{
    Cfs__Command command = CFS__COMMAND__INIT;

    write->ino = b->writeback->ino;
    write->append = b->append;
    write->stage = b->stage;
    write->staged = b->staged;
    command.op_case = CFS__COMMAND__OP_WRITE;
    command.write = write;
    submit(b, &command);
}

static void submit_one(void *arg, Cfs__Write *write)
{
    struct batch *b = arg;

    if (b->n_calls + 1 < b->left)
        submit_stage(b, write);
    else
        submit_write(b, write);
}

static void batch_submit(struct batch *b)
{
    b->left = (unsigned)extents_n_commands(&b->extents);
    b->calls = xcalloc(b->left, sizeof(*b->calls));
    b->writeback->flying_bytes += b->extents.bytes;
    if (b->left > 1) {
        check(!b->append); /* one write, which fits into an entry */
        b->stage = ++b->fs->writebacks.last_stage;
    }
    extents_commands(&b->extents, submit_one, b);
    check(b->n_calls == b->left);
}

/* The writer that waits for a batch is given up. Its commands are cancelled, and the batch ends
 * when all of them have ended. */
static void give_up_writer(struct request *r, int error)
{
    struct batch *b = CONTAINER_OF(r->queue, struct batch, writer);

    (void)error;
    for (unsigned i = 0; i < b->n_calls; i++)
        call_cancel(&b->calls[i].call);
}

/* ---- Writing --------------------------------------------------------------------------------- */

void writeback_truncate(struct fs *fs, uint64_t ino, int tid, Cfs__Kill kill)
{
    struct writeback *d = writeback_get(fs, ino);

    extents_truncate(&d->extents);
    d->extents.kill = max_u64(d->extents.kill, kill);
    d->truncater = tid;
    set_dirty(fs, d);
}

static size_t bytes_of_all(struct fs *fs)
{
    struct writeback *d, *next;
    size_t bytes = 0;

    HASH_ITER (hh, fs->writebacks.table, d, next)
        bytes += d->extents.bytes + d->flying_bytes;
    return bytes;
}

/* True if the file has no content but that of the writeback. */
static bool is_whole(struct fs *fs, struct writeback *d)
{
    const struct backend *be = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (d->extents.truncate)
        return true;
    return TAILQ_EMPTY(&d->flying) && be->ops->attr(be->ctx, d->ino, &attr) == 0 && attr.size == 0;
}

/* True if the writeback should wait for more. One more write then still fits into a stage
 * (LIMIT_STAGE_BYTES). */
static bool may_grow(struct fs *fs, struct writeback *d)
{
    if (d->extents.n >= WRITEBACK_EXTENTS)
        return false;
    if (d->extents.bytes < WRITEBACK_BYTES)
        return true;
    return d->extents.bytes <= LIMIT_FILE_MAX && bytes_of_all(fs) < WRITEBACK_MEMORY &&
           is_whole(fs, d);
}

bool writeback_buffer(struct fs *fs, const struct writeback_write *w, struct request *r)
{
    struct writeback *d = writeback_get(fs, w->ino);

    check(!w->append);
    take_cut(d);
    extents_write(&d->extents, w->offset, w->data, w->len, true);
    d->extents.kill = max_u64(d->extents.kill, w->kill);
    d->writer = w->tid;
    set_dirty(fs, d);
    if (may_grow(fs, d))
        return true;
    writeback_submit(fs, w->ino);
    if (d->flying_bytes <= WRITEBACK_FLYING || r == NULL)
        return true;
    return !writeback_wait(fs, w->ino, r);
}

void writeback_commit(struct fs *fs, const struct writeback_write *w, struct request *r)
{
    struct writeback *d = writeback_get(fs, w->ino);
    uint64_t session = d->session;
    struct batch *b;

    /* All extents of a command that appends go to the end. So extents with a position are committed
     * first. */
    if (d->extents.n > 0 &&
        (w->append || (!d->extents.truncate && !writeback_has_room(fs, w->ino, w->len))))
        writeback_submit(fs, w->ino);
    d->session = session;
    d->writer = w->tid;
    take_cut(d);
    b = batch_new(fs, d);
    b->append = w->append;
    extents_write(&b->extents, w->offset, w->data, w->len, false);
    b->timeout_ms = fs->options.timeout_ms + (unsigned)(b->extents.bytes / WRITEBACK_BYTES_PER_MS);
    b->extents.kill = max_u64(b->extents.kill, w->kill);
    r->give_up = give_up_writer;
    request_wait(r, &b->writer);
    batch_submit(b);
}

/* Content of a session is committed by itself, except for a truncation that waits for its content.
 */
void writeback_bind(struct fs *fs, uint64_t ino, uint64_t session)
{
    struct writeback *d = session == 0 ? writeback_find(fs, ino) : writeback_get(fs, ino);

    if (d == NULL || d->session == session)
        return;
    if (d->session != 0 || d->extents.n > 0)
        writeback_submit(fs, ino);
    d->session = session;
}

void writeback_drop(struct fs *fs, uint64_t ino, uint64_t session)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL)
        return;
    d->cut = false;
    if (d->session != session || extents_empty(&d->extents))
        return;
    d->errors++;
    d->error = EIO;
    log_error("inode %llu: %zu bytes that were written are lost, with a lock",
              (unsigned long long)ino, d->extents.bytes);
    extents_fini(&d->extents);
    d->extents = (struct extents){0};
    d->session = 0;
    set_clean(d);
    lane_forget_inode(fs, ino); /* pages that showed it */
    writeback_settle(fs, d);
}

/* ---- Committing ------------------------------------------------------------------------------ */

void writeback_submit(struct fs *fs, uint64_t ino)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d != NULL && !extents_empty(&d->extents))
        batch_submit(batch_new(fs, d));
}

void writebacks_submit_of(struct fs *fs, int tid)
{
    struct writeback *d, *next;

    for (d = LIST_FIRST(&fs->writebacks.dirty); d != NULL; d = next) {
        next = LIST_NEXT(d, link);
        if (d->extents.n > 0 && d->writer == tid)
            batch_submit(batch_new(fs, d));
    }
}

bool writeback_wait(struct fs *fs, uint64_t ino, struct request *r)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL || TAILQ_EMPTY(&d->flying))
        return false;
    request_wait(r, &TAILQ_LAST(&d->flying, batch_list)->waiters);
    return true;
}

/* ---- Looking --------------------------------------------------------------------------------- */

bool writeback_exists(struct fs *fs, uint64_t ino)
{
    struct writeback *d = writeback_find(fs, ino);

    return d != NULL && !(extents_empty(&d->extents) && TAILQ_EMPTY(&d->flying));
}

bool writeback_is_foreign(struct fs *fs, uint64_t ino, int tid)
{
    struct writeback *d = writeback_find(fs, ino);

    if (!writeback_exists(fs, ino))
        return false;
    if (tid == 0) /* it cannot be told from the writer: outside the daemon's PID namespace */
        return true;
    if (tid == d->truncater || tid == d->writer)
        return false;
    return !procfd_writes(tid, ino); /* a command that has inherited the handle */
}

bool writeback_only_truncates(struct fs *fs, uint64_t ino, int *tid)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL || !d->extents.truncate || d->extents.n > 0 || !TAILQ_EMPTY(&d->flying))
        return false;
    *tid = d->truncater;
    return true;
}

bool writeback_take_truncate(struct fs *fs, uint64_t ino, Cfs__Kill *kill)
{
    struct writeback *d = writeback_find(fs, ino);
    int tid;

    if (d != NULL && TAILQ_EMPTY(&d->flying))
        take_cut(d);
    if (!writeback_only_truncates(fs, ino, &tid))
        return false;
    *kill = max_u64(*kill, d->extents.kill);
    extents_fini(&d->extents);
    d->extents = (struct extents){0};
    set_clean(d);
    writeback_settle(fs, d);
    return true;
}

void writeback_keep_truncate(struct fs *fs, uint64_t ino)
{
    writeback_get(fs, ino)->cut = true;
    lane_forget_inode(fs, ino); /* the file looked empty */
}

/* A blocked writer's data is not yet acknowledged. A reader that saw it before its commit could see
 * it vanish, or miss it on the next host. A truncation belongs to such a write. */
static struct extents shown_of(const struct batch *b)
{
    struct extents shown = b->extents;

    shown.n = b->acked;
    if (!has_acked(b))
        shown.truncate = false;
    return shown;
}

static void show_extents(Cfs__Attr *attr, const struct extents *e)
{
    if (extents_empty(e))
        return;
    attr->size = extents_size(e, attr->size);
    if (e->kill == CFS__KILL__KILL_NONE)
        return;
    attr->mode &= ~(uint32_t)S_ISUID;
    if (e->kill == CFS__KILL__KILL_SGID || (attr->mode & S_IXGRP) != 0)
        attr->mode &= ~(uint32_t)S_ISGID;
}

bool writeback_show(struct fs *fs, Cfs__Attr *attr)
{
    struct writeback *d = writeback_find(fs, attr->ino);
    bool changed;
    struct batch *b;

    if (!writeback_exists(fs, attr->ino))
        return false;
    changed = !extents_empty(&d->extents);
    TAILQ_FOREACH (b, &d->flying, link) {
        struct extents shown = shown_of(b);

        show_extents(attr, &shown);
        changed = changed || !extents_empty(&shown);
    }
    show_extents(attr, &d->extents);
    if (changed) {
        attr->mtime_ns = d->changed_ns;
        if (attr->ctime_ns < d->changed_ns)
            attr->ctime_ns = d->changed_ns;
    }
    return true;
}

int64_t writeback_read(struct fs *fs, uint64_t ino, uint64_t offset, uint8_t *out, size_t len)
{
    const struct backend *be = &fs->backend;
    struct writeback *d = writeback_find(fs, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct batch *b;
    int64_t n;
    int err;

    if (!writeback_exists(fs, ino))
        return be->ops->read(be->ctx, ino, offset, out, len);
    err = be->ops->attr(be->ctx, ino, &attr);
    if (err != 0)
        return err;
    writeback_show(fs, &attr);
    len = offset >= attr.size ? 0 : min_u64(len, attr.size - offset);
    memset(out, 0, len);
    n = be->ops->read(be->ctx, ino, offset, out, len);
    if (n < 0)
        return n;
    TAILQ_FOREACH (b, &d->flying, link) {
        struct extents shown = shown_of(b);

        extents_overlay(&shown, offset, out, len);
    }
    extents_overlay(&d->extents, offset, out, len);
    return (int64_t)len;
}

int writeback_error(struct fs *fs, uint64_t ino, unsigned *seen)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL || d->errors == *seen)
        return 0;
    *seen = d->errors;
    return d->error;
}

unsigned writeback_errors(struct fs *fs, uint64_t ino)
{
    struct writeback *d = writeback_find(fs, ino);

    return d == NULL ? 0 : d->errors;
}

/* ---- Time ------------------------------------------------------------------------------------ */

void writeback_closed(struct fs *fs, uint64_t ino)
{
    struct writeback *d = writeback_find(fs, ino);

    if (d == NULL)
        return;
    d->cut = false;
    writeback_submit(fs, ino);
    writeback_settle(fs, d);
}

/* A program that has emptied a file and not written to it yet is told at its write that there is no
 * quorum. Until then the file is better left unchanged. */
static bool can_wait(struct fs *fs, const struct writeback *d)
{
    return d->extents.n == 0 && !backend_has_quorum(&fs->backend);
}

int writebacks_turn(struct fs *fs)
{
    struct writebacks *ds = &fs->writebacks;
    struct writeback *d, *next;
    uint64_t now;

    if (ds->next_due_ms == UINT64_MAX)
        return -1;
    now = clock_boot_ms();
    if (ds->next_due_ms <= now) {
        ds->next_due_ms = UINT64_MAX;
        for (d = LIST_FIRST(&ds->dirty); d != NULL; d = next) {
            next = LIST_NEXT(d, link);
            if (due_of(fs, d) <= now && can_wait(fs, d))
                d->first_ms = now;
            if (due_of(fs, d) <= now)
                batch_submit(batch_new(fs, d));
            else
                ds->next_due_ms = min_u64(ds->next_due_ms, due_of(fs, d));
        }
    }
    return ds->next_due_ms == UINT64_MAX ? -1 : (int)(ds->next_due_ms - now);
}

bool writebacks_drain(struct fs *fs)
{
    struct writeback *d, *next;
    bool idle = true;

    while ((d = LIST_FIRST(&fs->writebacks.dirty)) != NULL)
        batch_submit(batch_new(fs, d));
    HASH_ITER (hh, fs->writebacks.table, d, next)
        idle = idle && TAILQ_EMPTY(&d->flying);
    return idle;
}

void writebacks_fini(struct writebacks *ds)
{
    struct writeback *d, *next;
    struct batch *b;
    struct drop *drop;

    while ((drop = LIST_FIRST(&ds->drops)) != NULL) {
        LIST_REMOVE(drop, link);
        free(drop);
    }
    HASH_ITER (hh, ds->table, d, next) {
        while ((b = TAILQ_FIRST(&d->flying)) != NULL) {
            TAILQ_REMOVE(&d->flying, b, link);
            batch_free(b);
        }
        if (!extents_empty(&d->extents))
            log_error("inode %llu: what was written last is lost", (unsigned long long)d->ino);
        writeback_free(ds, d);
    }
}
