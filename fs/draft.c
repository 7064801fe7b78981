#include "fs/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/hash.h"
#include "fs/news.h"
#include "fs/procfd.h"
#include "fs/state.h"
#include "proto/limits.h"

/* What is submitted together, and takes effect with its last command: those before it only stage
 * their content. */
struct batch {
    TAILQ_ENTRY(batch) link;
    struct fs *fs;
    struct draft *draft;
    struct patch patch;
    size_t acked; /* extents whose writers were told that they are written */
    bool append;
    uint64_t session; /* in which it is to be committed; 0: in any */
    uint64_t stage;
    unsigned staged; /* extents */
    unsigned left;   /* commands */
    int error;
    bool uncertain;
    struct request_queue writer;  /* who waits for what is not acknowledged */
    struct request_queue waiters; /* everybody else */
    unsigned timeout_ms;
    struct batch_call *calls;
    unsigned n_calls;
};

struct batch_call {
    struct call call;
    struct batch *batch;
};

TAILQ_HEAD(batch_list, batch);

struct draft {
    uint64_t ino;
    struct patch patch;
    int truncater; /* thread */
    int writer;
    bool dirty;
    bool cut;          /* a truncation failed together with the write that it had waited for */
    uint64_t session;  /* that its content is part of; 0: of none */
    uint64_t first_ms; /* when it became dirty, and changed last */
    uint64_t last_ms;
    uint64_t room; /* for it, when it became dirty */
    struct batch_list flying;
    size_t flying_bytes;
    int error; /* of what was lost last */
    unsigned errors;
    LIST_ENTRY(draft) link;
    UT_hash_handle hh;
};

static void batch_submit(struct batch *b);

/* ---- Drafts -------------------------------------------------------------------------------------
 */

void drafts_init(struct drafts *ds)
{
    ds->table = NULL;
    LIST_INIT(&ds->dirty);
    LIST_INIT(&ds->drops);
    ds->last_stage = 0;
    ds->next_due_ms = UINT64_MAX;
}

static struct draft *draft_find(struct fs *fs, uint64_t ino)
{
    struct draft *d;

    HASH_FIND_U64(fs->drafts.table, ino, d);
    return d;
}

/* The next write takes a truncation along that has failed. */
static void take_cut(struct draft *d)
{
    if (d->cut && patch_empty(&d->patch))
        patch_truncate(&d->patch);
    d->cut = false;
}

static struct draft *draft_get(struct fs *fs, uint64_t ino)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL) {
        d = xcalloc(1, sizeof(*d));
        d->ino = ino;
        TAILQ_INIT(&d->flying);
        HASH_ADD_U64(fs->drafts.table, ino, d);
    }
    return d;
}

static void set_clean(struct draft *d)
{
    if (d->dirty)
        LIST_REMOVE(d, link);
    d->dirty = false;
}

static uint64_t due_of(const struct fs *fs, const struct draft *d)
{
    uint64_t age = d->first_ms + DRAFT_AGE_MS;

    if (fs->options.draft_ms != 0)
        return d->first_ms + fs->options.draft_ms;
    return d->patch.n == 0 ? age : min_u64(age, d->last_ms + DRAFT_IDLE_MS);
}

/* How much the file can grow; what is truncated makes room. */
static uint64_t room_of(struct fs *fs, uint64_t ino, bool truncate)
{
    const struct backend *be = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;
    int64_t room = be->ops->room(be->ctx, ino);

    if (room < 0)
        return UINT64_MAX; /* the commit will tell */
    if (truncate && be->ops->attr(be->ctx, ino, &attr) == 0)
        room += (int64_t)attr.blocks * 512;
    return (uint64_t)room;
}

bool draft_has_room(struct fs *fs, uint64_t ino, size_t len)
{
    const struct draft *d = draft_find(fs, ino);

    if (d == NULL || !d->dirty)
        return room_of(fs, ino, false) >= len;
    return d->patch.bytes + len <= d->room;
}

static void set_dirty(struct fs *fs, struct draft *d)
{
    uint64_t now = clock_boot_ms();

    if (!d->dirty) {
        LIST_INSERT_HEAD(&fs->drafts.dirty, d, link);
        d->first_ms = now;
        d->room = room_of(fs, d->ino, d->patch.truncate);
        d->room -= min_u64(d->room, d->flying_bytes);
    }
    d->dirty = true;
    d->last_ms = now;
    fs->drafts.next_due_ms = min_u64(fs->drafts.next_due_ms, due_of(fs, d));
}

static void draft_free(struct drafts *ds, struct draft *d)
{
    set_clean(d);
    patch_fini(&d->patch);
    HASH_DEL(ds->table, d);
    free(d);
}

/* A draft with nothing in it stays while somebody has not heard of an error. */
static void draft_settle(struct fs *fs, struct draft *d)
{
    if (patch_empty(&d->patch) && TAILQ_EMPTY(&d->flying) && !d->cut &&
        (d->errors == 0 || opens_count(&fs->opens, d->ino) == 0))
        draft_free(&fs->drafts, d);
}

/* ---- Batches ------------------------------------------------------------------------------------
 */

/* Takes the patch. */
static struct batch *batch_of(struct fs *fs, struct draft *d, struct patch *patch)
{
    struct batch *b = xcalloc(1, sizeof(*b));

    b->fs = fs;
    b->draft = d;
    b->patch = *patch;
    b->acked = b->patch.n;
    b->session = d->session;
    d->session = 0;
    *patch = (struct patch){0};
    TAILQ_INIT(&b->writer);
    TAILQ_INIT(&b->waiters);
    TAILQ_INSERT_TAIL(&d->flying, b, link);
    return b;
}

/* Takes the draft's content. */
static struct batch *batch_new(struct fs *fs, struct draft *d)
{
    set_clean(d);
    return batch_of(fs, d, &d->patch);
}

static void batch_free(struct batch *b)
{
    patch_fini(&b->patch);
    free(b->calls);
    free(b);
}

/* Nobody waits for the truncation or for the acknowledged writes of this batch any more: were there
 * any? */
static bool has_acked(const struct batch *b)
{
    return b->acked > 0 || (b->patch.n == 0 && b->patch.truncate);
}

/* What was acknowledged is tried again, without a deadline; who waits for it waits on. Together
 * with what was written meanwhile, if that is not too much for one change. */
static void try_again(struct batch *b)
{
    struct draft *d = b->draft;
    struct batch *again;

    patch_cut(&b->patch, b->acked);
    if (b->patch.bytes + d->patch.bytes > LIMIT_FILE_MAX ||
        b->patch.n + d->patch.n > DRAFT_EXTENTS) {
        uint64_t session = d->session; /* of what is there now */

        d->session = b->session;
        again = batch_of(b->fs, d, &b->patch);
        d->session = session;
    } else {
        patch_prepend(&d->patch, &b->patch);
        if (b->session != 0)
            d->session = b->session;
        again = batch_new(b->fs, d);
    }
    requests_move(&b->waiters, &again->waiters);
    batch_submit(again);
}

static void note_loss(struct batch *b)
{
    struct draft *d = b->draft;

    d->errors++;
    d->error = b->error;
    log_error("inode %llu: %zu bytes that were written are lost: %s", (unsigned long long)d->ino,
              b->patch.bytes, strerror(b->error));
}

/* What a failed commit has staged takes space in the tree until it is dropped. */
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
    LIST_INSERT_HEAD(&fs->drafts.drops, drop, link);
    call_submit(fs, &drop->call, &command, 0, on_dropped);
}

static void batch_end(struct batch *b)
{
    struct draft *d = b->draft;
    struct fs *fs = b->fs;

    TAILQ_REMOVE(&d->flying, b, link);
    d->flying_bytes -= b->patch.bytes;
    if (b->error != 0 && b->stage != 0 && b->error != ENOTCONN) /* it goes with the session */
        drop_stage(fs, b->stage);
    if (b->error != 0)
        lane_forget_inode(fs, d->ino); /* pages that showed what did not happen */
    if (b->error != 0 && has_acked(b)) {
        if (b->uncertain)
            try_again(b);
        else
            note_loss(b);
    } else if (b->error != 0 && b->patch.truncate && (b->session == 0 || b->uncertain)) {
        d->cut = true;
    }
    /* The kernel's old pages go first: news of our own changes arrive before this. Not for errors:
     * nobody waits for what has not happened. */
    if (b->error == 0) {
        lane_move_waiters(fs, d->ino, &b->writer);
        lane_move_waiters(fs, d->ino, &b->waiters);
    }
    request_wake(&b->writer, b->error);
    request_wake(&b->waiters, 0); /* errors that concern them: draft_error */
    batch_free(b);
    draft_settle(fs, d);
}

static void on_call_done(struct call *c)
{
    struct batch *b = CONTAINER_OF(c, struct batch_call, call)->batch;
    int error = call_error(c);

    news_of_call(b->fs, c);
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

    stage.ino = b->draft->ino;
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

    write->ino = b->draft->ino;
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
    b->left = (unsigned)patch_n_commands(&b->patch);
    b->calls = xcalloc(b->left, sizeof(*b->calls));
    b->draft->flying_bytes += b->patch.bytes;
    if (b->left > 1) {
        check(!b->append); /* one write, which fits into an entry */
        b->stage = ++b->fs->drafts.last_stage;
    }
    patch_commands(&b->patch, submit_one, b);
    check(b->n_calls == b->left);
}

/* The writer that waits for a batch is given up: its commands are cancelled, and the batch ends
 * when all of them have. */
static void give_up_writer(struct request *r, int error)
{
    struct batch *b = CONTAINER_OF(r->queue, struct batch, writer);

    (void)error;
    for (unsigned i = 0; i < b->n_calls; i++)
        call_cancel(&b->calls[i].call);
}

/* ---- Writing ------------------------------------------------------------------------------------
 */

void draft_truncate(struct fs *fs, uint64_t ino, int tid, bool kill_suid)
{
    struct draft *d = draft_get(fs, ino);

    patch_truncate(&d->patch);
    d->patch.kill_suid = d->patch.kill_suid || kill_suid;
    d->truncater = tid;
    set_dirty(fs, d);
}

static size_t bytes_of_all(struct fs *fs)
{
    struct draft *d, *next;
    size_t bytes = 0;

    HASH_ITER(hh, fs->drafts.table, d, next)
    bytes += d->patch.bytes + d->flying_bytes;
    return bytes;
}

/* Is there nothing in the file but what the draft has? */
static bool is_whole(struct fs *fs, struct draft *d)
{
    const struct backend *be = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (d->patch.truncate)
        return true;
    return TAILQ_EMPTY(&d->flying) && be->ops->attr(be->ctx, d->ino, &attr) == 0 && attr.size == 0;
}

/* Shall the draft wait for more? One more write fits into a stage then (LIMIT_STAGE_BYTES). */
static bool may_grow(struct fs *fs, struct draft *d)
{
    if (d->patch.n >= DRAFT_EXTENTS)
        return false;
    if (d->patch.bytes < DRAFT_BYTES)
        return true;
    return d->patch.bytes <= LIMIT_FILE_MAX && bytes_of_all(fs) < DRAFT_MEMORY && is_whole(fs, d);
}

bool draft_buffer(struct fs *fs, const struct draft_write *w, struct request *r)
{
    struct draft *d = draft_get(fs, w->ino);

    check(!w->append);
    take_cut(d);
    patch_write(&d->patch, w->offset, w->data, w->len, true);
    d->patch.kill_suid = d->patch.kill_suid || w->kill_suid;
    d->writer = w->tid;
    set_dirty(fs, d);
    if (may_grow(fs, d))
        return true;
    draft_submit(fs, w->ino);
    if (d->flying_bytes <= DRAFT_FLYING || r == NULL)
        return true;
    return !draft_wait(fs, w->ino, r);
}

void draft_commit(struct fs *fs, const struct draft_write *w, struct request *r)
{
    struct draft *d = draft_get(fs, w->ino);
    uint64_t session = d->session;
    struct batch *b;

    /* All extents of a command that appends go to the end: what has its place goes before. */
    if (d->patch.n > 0 &&
        (w->append || (!d->patch.truncate && !draft_has_room(fs, w->ino, w->len))))
        draft_submit(fs, w->ino);
    d->session = session;
    d->writer = w->tid;
    take_cut(d);
    b = batch_new(fs, d);
    b->append = w->append;
    patch_write(&b->patch, w->offset, w->data, w->len, false);
    b->timeout_ms = fs->options.timeout_ms + (unsigned)(b->patch.bytes / DRAFT_BYTES_PER_MS);
    b->patch.kill_suid = b->patch.kill_suid || w->kill_suid;
    r->give_up = give_up_writer;
    request_wait(r, &b->writer);
    batch_submit(b);
}

/* What is part of a session goes for itself, but for a truncation that waits for its content. */
void draft_bind(struct fs *fs, uint64_t ino, uint64_t session)
{
    struct draft *d = session == 0 ? draft_find(fs, ino) : draft_get(fs, ino);

    if (d == NULL || d->session == session)
        return;
    if (d->session != 0 || d->patch.n > 0)
        draft_submit(fs, ino);
    d->session = session;
}

void draft_drop(struct fs *fs, uint64_t ino, uint64_t session)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL)
        return;
    d->cut = false;
    if (d->session != session || patch_empty(&d->patch))
        return;
    d->errors++;
    d->error = EIO;
    log_error("inode %llu: %zu bytes that were written are lost, with a lock",
              (unsigned long long)ino, d->patch.bytes);
    patch_fini(&d->patch);
    d->patch = (struct patch){0};
    d->session = 0;
    set_clean(d);
    lane_forget_inode(fs, ino); /* pages that showed it */
    draft_settle(fs, d);
}

/* ---- Committing ---------------------------------------------------------------------------------
 */

void draft_submit(struct fs *fs, uint64_t ino)
{
    struct draft *d = draft_find(fs, ino);

    if (d != NULL && !patch_empty(&d->patch))
        batch_submit(batch_new(fs, d));
}

void drafts_submit_of(struct fs *fs, int tid)
{
    struct draft *d, *next;

    for (d = LIST_FIRST(&fs->drafts.dirty); d != NULL; d = next) {
        next = LIST_NEXT(d, link);
        if (d->patch.n > 0 && d->writer == tid)
            batch_submit(batch_new(fs, d));
    }
}

bool draft_wait(struct fs *fs, uint64_t ino, struct request *r)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL || TAILQ_EMPTY(&d->flying))
        return false;
    request_wait(r, &TAILQ_LAST(&d->flying, batch_list)->waiters);
    return true;
}

/* ---- Looking ------------------------------------------------------------------------------------
 */

bool draft_exists(struct fs *fs, uint64_t ino)
{
    struct draft *d = draft_find(fs, ino);

    return d != NULL && !(patch_empty(&d->patch) && TAILQ_EMPTY(&d->flying));
}

bool draft_is_foreign(struct fs *fs, uint64_t ino, int tid)
{
    struct draft *d = draft_find(fs, ino);

    if (!draft_exists(fs, ino) || tid == d->truncater || tid == d->writer)
        return false;
    return !procfd_writes(tid, ino); /* a command that has inherited the handle */
}

bool draft_only_truncates(struct fs *fs, uint64_t ino, int *tid)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL || !d->patch.truncate || d->patch.n > 0 || !TAILQ_EMPTY(&d->flying))
        return false;
    *tid = d->truncater;
    return true;
}

bool draft_take_truncate(struct fs *fs, uint64_t ino, bool *kill_suid)
{
    struct draft *d = draft_find(fs, ino);
    int tid;

    if (d != NULL && TAILQ_EMPTY(&d->flying))
        take_cut(d);
    if (!draft_only_truncates(fs, ino, &tid))
        return false;
    *kill_suid = *kill_suid || d->patch.kill_suid;
    patch_fini(&d->patch);
    d->patch = (struct patch){0};
    set_clean(d);
    draft_settle(fs, d);
    return true;
}

void draft_keep_truncate(struct fs *fs, uint64_t ino)
{
    draft_get(fs, ino)->cut = true;
    lane_forget_inode(fs, ino); /* it looked empty */
}

/* What a writer waits for, he does not know to be written: who sees it before it is committed could
 * see it vanish, or not be there yet on the next host. A truncation is part of such a write. */
static struct patch shown_of(const struct batch *b)
{
    struct patch shown = b->patch;

    shown.n = b->acked;
    if (!has_acked(b))
        shown.truncate = false;
    return shown;
}

bool draft_show(struct fs *fs, Cfs__Attr *attr)
{
    struct draft *d = draft_find(fs, attr->ino);
    struct batch *b;

    if (!draft_exists(fs, attr->ino))
        return false;
    TAILQ_FOREACH(b, &d->flying, link)
    {
        struct patch shown = shown_of(b);

        attr->size = patch_size(&shown, attr->size);
    }
    attr->size = patch_size(&d->patch, attr->size);
    return true;
}

int64_t draft_read(struct fs *fs, uint64_t ino, uint64_t offset, uint8_t *out, size_t len)
{
    const struct backend *be = &fs->backend;
    struct draft *d = draft_find(fs, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct batch *b;
    int64_t n;
    int err;

    if (!draft_exists(fs, ino))
        return be->ops->read(be->ctx, ino, offset, out, len);
    err = be->ops->attr(be->ctx, ino, &attr);
    if (err != 0)
        return err;
    draft_show(fs, &attr);
    len = offset >= attr.size ? 0 : min_u64(len, attr.size - offset);
    memset(out, 0, len);
    n = be->ops->read(be->ctx, ino, offset, out, len);
    if (n < 0)
        return n;
    TAILQ_FOREACH(b, &d->flying, link)
    {
        struct patch shown = shown_of(b);

        patch_overlay(&shown, offset, out, len);
    }
    patch_overlay(&d->patch, offset, out, len);
    return (int64_t)len;
}

int draft_error(struct fs *fs, uint64_t ino, unsigned *seen)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL || d->errors == *seen)
        return 0;
    *seen = d->errors;
    return d->error;
}

unsigned draft_errors(struct fs *fs, uint64_t ino)
{
    struct draft *d = draft_find(fs, ino);

    return d == NULL ? 0 : d->errors;
}

/* ---- Time ---------------------------------------------------------------------------------------
 */

void draft_closed(struct fs *fs, uint64_t ino)
{
    struct draft *d = draft_find(fs, ino);

    if (d == NULL)
        return;
    d->cut = false;
    draft_submit(fs, ino);
    draft_settle(fs, d);
}

/* A program that has emptied a file and not written to it yet will be told at its write that there
 * is no quorum; then the file is better left as it was. */
static bool can_wait(struct fs *fs, const struct draft *d)
{
    return d->patch.n == 0 && !backend_has_quorum(&fs->backend);
}

int drafts_turn(struct fs *fs)
{
    struct drafts *ds = &fs->drafts;
    struct draft *d, *next;
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

bool drafts_drain(struct fs *fs)
{
    struct draft *d, *next;
    bool idle = true;

    while ((d = LIST_FIRST(&fs->drafts.dirty)) != NULL)
        batch_submit(batch_new(fs, d));
    HASH_ITER(hh, fs->drafts.table, d, next)
    idle = idle && TAILQ_EMPTY(&d->flying);
    return idle;
}

void drafts_fini(struct drafts *ds)
{
    struct draft *d, *next;
    struct batch *b;
    struct drop *drop;

    while ((drop = LIST_FIRST(&ds->drops)) != NULL) {
        LIST_REMOVE(drop, link);
        free(drop);
    }
    HASH_ITER(hh, ds->table, d, next)
    {
        while ((b = TAILQ_FIRST(&d->flying)) != NULL) {
            TAILQ_REMOVE(&d->flying, b, link);
            batch_free(b);
        }
        if (!patch_empty(&d->patch))
            log_error("inode %llu: what was written last is lost", (unsigned long long)d->ino);
        draft_free(ds, d);
    }
}
