/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/events.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/kernel/payload.h"
#include "fs/state.h"
#include "proto/feed.h"
#include "proto/ioctl.h"
#include "proto/limits.h"

#define FILL_BYTES (64u << 10) /* one turn makes this many bytes of lines … */
#define FILL_ROWS  1024 /* … or examines this many changes, then the thread does other work */

struct events_watch {
    char *path;
    size_t len;
    bool recursive;
};

void events_init(struct fs *fs)
{
    TAILQ_INIT(&fs->vdir.events.waiting);
    fs->vdir.events.fs = fs;
}

static int get_past(struct fs *fs, struct backend_past *out)
{
    return fs->backend.ops->past(fs->backend.ctx, out);
}

static void start_now(struct fs *fs, struct events *f)
{
    struct backend_past past;

    f->after = get_past(fs, &past) == 0 ? past.last : 0;
}

void events_open(struct fs *fs, struct events *f)
{
    start_now(fs, f);
}

void events_close(struct events *f)
{
    for (unsigned i = 0; i < f->n_watches; i++)
        free(f->watches[i].path);
    free(f->watches);
    buf_fini(&f->out);
}

/* ---- Making lines ---------------------------------------------------------------------------- */

struct fill {
    struct events *events;
    unsigned rows;
    bool more; /* there are more changes to examine */
};

static bool is_watched(const struct events *f, const struct feed_change *c)
{
    for (unsigned i = 0; i < f->n_watches; i++) {
        const struct events_watch *w = &f->watches[i];

        if (feed_matches(c, (struct feed_path){(const uint8_t *)w->path, w->len}, w->recursive))
            return true;
    }
    return f->n_watches == 0;
}

static bool fill_one(void *arg, const struct feed_change *c)
{
    struct fill *fill = arg;
    struct events *f = fill->events;

    if (fill->rows++ == FILL_ROWS || f->out.len >= FILL_BYTES) {
        fill->more = true;
        return false;
    }
    f->after = c->number;
    if (is_watched(f, c)) {
        if (f->text)
            feed_text(&f->out, c);
        else
            feed_json(&f->out, c);
    }
    return true;
}

static void add_compacted(struct fs *fs, struct events *f)
{
    struct backend_past past = {.oldest = 0};

    get_past(fs, &past);
    buf_printf(&f->out, "{\"error\":\"compacted\",\"oldest\":%llu}\n",
               (unsigned long long)past.oldest);
    f->ended = true;
}

static void on_again(struct mail *mail)
{
    struct events_all *fe = CONTAINER_OF(mail, struct events_all, again);

    fe->posted = false;
    events_news(fe->fs);
}

/* The search continues after other work. */
static void search_on(struct events_all *fe)
{
    if (fe->posted || fe->fs->ended)
        return;
    fe->posted = true;
    mailbox_post(&fe->fs->mailbox, &fe->again, on_again);
}

static bool has_lines(const struct events *f)
{
    return f->at < f->out.len;
}

/* Makes lines if there are none. Returns 0 or -errno. */
static int fill(struct fs *fs, struct events *f)
{
    struct fill fill = {.events = f};
    int err = 0;

    if (has_lines(f) || f->ended)
        return 0;
    f->out.len = f->at = 0;
    if (!f->lost)
        err = fs->backend.ops->past_after(fs->backend.ctx, f->after, fill_one, &fill);
    if (err == -ESTALE)
        f->lost = true;
    if (f->lost) {
        add_compacted(fs, f);
        return 0;
    }
    if (err == 0 && fill.more && f->out.len == 0)
        search_on(&fs->vdir.events);
    return err;
}

bool events_is_ready(struct fs *fs, struct events *f)
{
    return fill(fs, f) != 0 || has_lines(f) || f->ended;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void reply_lines(fuse_req_t req, struct events *f, size_t size)
{
    size_t n = min_u64(size, f->out.len - f->at);

    /* If the kernel does not take the lines, the reader was killed and has not seen them. */
    if (fuse_reply_buf(req, (const char *)f->out.data + f->at, n) == 0)
        f->at += n;
}

static void finish_read(struct request *r, int error);

static void read_or_wait(fuse_req_t req, struct vdir_handle *h, size_t size, int flags)
{
    struct fs *fs = fs_of(req);
    int err = fill(fs, &h->events);
    struct request *r;

    if (err != 0) {
        fuse_reply_err(req, -err);
    } else if (has_lines(&h->events)) {
        reply_lines(req, &h->events, size);
    } else if (h->events.ended) {
        fuse_reply_err(req, ESTALE);
    } else if ((flags & O_NONBLOCK) != 0) {
        fuse_reply_err(req, EAGAIN);
    } else {
        r = request_new(fs, req, finish_read);
        r->patience = REQUEST_PATIENT;
        r->fh = h->fh;
        r->count = size;
        r->flags = flags;
        request_wait(r, &fs->vdir.events.waiting);
    }
}

static void finish_read(struct request *r, int error)
{
    struct vdir_handle *h = vdir_find(r->fs, r->fh);

    if (error == 0 && h == NULL)
        error = EBADF;
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        read_or_wait(r->req, h, r->count, r->flags);
}

void events_read(fuse_req_t req, struct vdir_handle *h, size_t size, int flags)
{
    read_or_wait(req, h, size, flags);
}

/* Every parked reader looks again. A reader that finds nothing is parked again. */
void events_news(struct fs *fs)
{
    struct request_queue now = TAILQ_HEAD_INITIALIZER(now);
    struct vdir_handle *h, *next;

    requests_move(&fs->vdir.events.waiting, &now);
    request_wake(&now, 0);
    HASH_ITER (hh, fs->vdir.handles, h, next)
        if (h->poll != NULL && vdir_is_events(h) && events_is_ready(fs, &h->events))
            vdir_wake_poll(h);
}

/* ---- New changes ---- */

static void add_watch(struct events *f, const struct coordfs_ioc_watch *w)
{
    f->watches = xrealloc(f->watches, (f->n_watches + 1) * sizeof *f->watches);
    f->watches[f->n_watches++] = (struct events_watch){
        .path = xmemdup(w->path, w->path_len),
        .len = w->path_len,
        .recursive = (w->flags & COORDFS_IOC_WATCH_RECURSIVE) != 0,
    };
}

void events_ioctl(fuse_req_t req, struct events *f, const void *in, size_t in_size)
{
    struct fs *fs = fs_of(req);
    const struct coordfs_ioc_watch *w = in;
    int error = in_size == sizeof *w ? payload_watch(w) : EINVAL, err = 0;

    if (error == 0 && f->n_watches == COORDFS_IOC_WATCH_PATHS_MAX)
        error = E2BIG;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    add_watch(f, w);
    f->text = (w->flags & COORDFS_IOC_WATCH_TEXT) != 0;
    f->lost = f->ended = false;
    f->out.len = f->at = 0;
    if ((w->flags & COORDFS_IOC_WATCH_SINCE) == 0)
        start_now(fs, f);
    else
        err = fs->backend.ops->past_since(fs->backend.ctx, w->since, &f->after);
    f->lost = err == -ESTALE; /* its first read reports this */
    if (err != 0 && !f->lost)
        fuse_reply_err(req, -err);
    else
        fuse_reply_ioctl(req, 0, NULL, 0);
}

/* ---- The log --------------------------------------------------------------------------------- */

static int log_range(struct fs *fs, struct backend_past *out)
{
    struct events_all *fe = &fs->vdir.events;
    int err = get_past(fs, out);

    if (err == 0 && !fe->based) {
        fe->base = out->start;
        fe->based = true;
    }
    return err;
}

uint64_t events_log_size(struct fs *fs)
{
    struct backend_past past;

    return log_range(fs, &past) == 0 ? past.end - fs->vdir.events.base : 0;
}

/* State of a read of the log: lines go into fs->scratch. */
struct log_read {
    struct fs *fs;
    uint64_t at; /* position, in bytes of all lines, of the next byte in scratch */
    size_t used;
    size_t size;
    struct buf line;
};

static bool log_one(void *arg, const struct feed_change *c)
{
    struct log_read *l = arg;
    uint64_t start;
    size_t skip, n;

    l->line.len = 0;
    feed_json(&l->line, c);
    start = c->end - l->line.len;
    skip = l->at > start ? l->at - start : 0;
    n = min_u64(l->line.len - skip, l->size - l->used);
    memcpy(l->fs->scratch + l->used, l->line.data + skip, n);
    l->used += n;
    l->at += n;
    return l->used < l->size;
}

/* Lines that were deleted meanwhile read as empty lines. */
static void log_deleted(struct log_read *l, uint64_t start)
{
    size_t n = l->at < start ? min_u64(start - l->at, l->size) : 0;

    memset(l->fs->scratch, '\n', n);
    l->used += n;
    l->at += n;
}

/* Returns 0, or -errno: -ESTALE if lines were deleted during the read. */
static int log_lines(struct log_read *l, uint64_t offset)
{
    const struct backend *b = &l->fs->backend;
    struct backend_past past;
    uint64_t base, after = 0;
    int err = log_range(l->fs, &past);

    base = l->fs->vdir.events.base;
    if (err != 0 || offset >= past.end - base)
        return err;
    l->at = base + offset;
    l->size = min_u64(l->size, past.end - l->at);
    log_deleted(l, past.start);
    if (l->used == l->size)
        return 0;
    err = b->ops->past_at(b->ctx, l->at, &after);
    return err == 0 ? b->ops->past_after(b->ctx, after, log_one, l) : err;
}

void events_log_read(fuse_req_t req, size_t size, uint64_t offset)
{
    struct fs *fs = fs_of(req);
    struct log_read l = {.fs = fs};
    int err = -ESTALE;

    for (int tries = 0; err == -ESTALE && tries < 3; tries++) {
        l.size = min_u64(size, LIMIT_WRITE_MAX);
        l.used = 0;
        err = log_lines(&l, offset);
    }
    buf_fini(&l.line);
    if (err != 0)
        fuse_reply_err(req, -err);
    else
        fuse_reply_buf(req, (const char *)fs->scratch, l.used);
}
