/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Reads use the store's reader and return immediately. Only the FUSE reader thread makes them, with
 * the reader that it owns. Changes and barriers are passed to raft/, and `done` is called later on
 * the loop thread, exactly once, with the decoded reply or a negative errno.
 *
 * This file translates between the types of fs/backend.h and those of store/ and raft/, and decides
 * nothing. */
#include "daemon/backend.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/session_manager.h"
#include "daemon/views.h"
#include "proto/encode.h"
#include "store/history_reader.h"

static struct store_reader *reader_of(void *ctx)
{
    struct daemon *d = ctx;

    return d->reader;
}

/* ---- Reads ----------------------------------------------------------------------------------- */

static int do_attr(void *ctx, uint64_t ino, Cfs__Attr *out)
{
    return reader_attr(reader_of(ctx), ino, out);
}

static int do_lookup(void *ctx, uint64_t parent, const char *name, size_t len, Cfs__Attr *out)
{
    return reader_lookup(reader_of(ctx), parent, name, len, out);
}

static int64_t do_readlink(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_readlink(reader_of(ctx), ino, out, size);
}

static int64_t do_read(void *ctx, uint64_t ino, uint64_t offset, void *out, size_t len)
{
    return reader_read(reader_of(ctx), ino, offset, out, len);
}

static int64_t do_seek(void *ctx, uint64_t ino, uint64_t offset, bool hole)
{
    return reader_seek(reader_of(ctx), ino, offset, hole);
}

static int64_t do_getxattr(void *ctx, uint64_t ino, const char *name, size_t name_len, void *out,
                           size_t size)
{
    return reader_getxattr(reader_of(ctx), ino, name, name_len, out, size);
}

static int64_t do_listxattr(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_listxattr(reader_of(ctx), ino, out, size);
}

struct entry_pass {
    bool (*fn)(void *arg, const struct backend_entry *entry);
    void *arg;
};

static bool pass_entry(void *arg, const struct reader_entry *e)
{
    struct entry_pass *pass = arg;
    struct backend_entry entry = {e->cookie, e->name, e->name_len, e->ino, e->type, e->attr};

    return pass->fn(pass->arg, &entry);
}

static int do_readdir(void *ctx, uint64_t ino, uint64_t after, bool attrs,
                      bool (*fn)(void *arg, const struct backend_entry *entry), void *arg)
{
    struct entry_pass pass = {fn, arg};

    return reader_readdir(reader_of(ctx), ino, after, attrs, pass_entry, &pass);
}

static int do_usage(void *ctx, struct backend_usage *out)
{
    struct reader_usage usage;
    int err = reader_usage(reader_of(ctx), &usage);

    if (err == 0)
        *out = (struct backend_usage){usage.inodes, usage.bytes, usage.max_inodes, usage.max_bytes};
    return err;
}

static int64_t do_room(void *ctx, uint64_t ino)
{
    return reader_room(reader_of(ctx), ino);
}

static int do_getlk(void *ctx, uint64_t session, const Cfs__Lock *asked, struct backend_lock *out)
{
    struct reader_lock lock;
    int found = reader_getlk(reader_of(ctx), session, asked, &lock);

    if (found > 0)
        *out = (struct backend_lock){lock.session, lock.start, lock.end, lock.write, lock.pid};
    return found;
}

static int do_fence(void *ctx, uint64_t session, uint64_t ino, uint64_t *out)
{
    return reader_fence(reader_of(ctx), session, ino, out);
}

static int do_wait_state(void *ctx, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                         uint64_t *fence)
{
    static const enum backend_wait states[] = {
        [STORE_WAITING] = BACKEND_WAITS,
        [STORE_GRANTED] = BACKEND_GRANTED,
        [STORE_GONE] = BACKEND_GONE,
    };
    int state = reader_wait_state(reader_of(ctx), session, id, asked, fence);

    return state < 0 ? state : (int)states[state];
}

static bool do_holds_some(void *ctx, uint64_t session, const Cfs__Lock *asked)
{
    uint64_t fence;
    bool some = false;

    return reader_holds(reader_of(ctx), session, asked, &fence, &some) >= 0 && some;
}

static bool do_ends_with_open(void *ctx, uint64_t session, uint64_t ino)
{
    return reader_ends_with_open(reader_of(ctx), session, ino) > 0;
}

static int do_names(void *ctx, uint64_t ino,
                    bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                    void *arg)
{
    return reader_names(reader_of(ctx), ino, fn, arg);
}

static int64_t do_path(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_path(reader_of(ctx), ino, out, size);
}

static uint64_t do_applied(void *ctx)
{
    uint64_t applied = 0;

    return reader_applied(reader_of(ctx), &applied) == 0 ? applied : 0;
}

/* ---- Changes --------------------------------------------------------------------------------- */

struct pending {
    backend_done done;
    void *arg;
};

static void on_done(void *arg, int err, const uint8_t *bytes, size_t len)
{
    struct pending *p = arg;
    Cfs__Reply *reply = NULL;

    if (err == 0) {
        reply = cfs__reply__unpack(NULL, len, bytes);
        check(reply != NULL); /* our own store packed it */
    }
    p->done(p->arg, err, reply);
    if (reply != NULL)
        cfs__reply__free_unpacked(reply, NULL);
    free(p);
}

static void on_barrier(void *arg, int err, const uint8_t *bytes BASE_UNUSED, size_t len BASE_UNUSED)
{
    struct pending *p = arg;
    Cfs__Reply reply = CFS__REPLY__INIT;

    p->done(p->arg, err, err == 0 ? &reply : NULL);
    free(p);
}

static struct pending *new_pending(backend_done done, void *arg)
{
    struct pending *p = xmalloc(sizeof *p);

    *p = (struct pending){done, arg};
    return p;
}

static uint64_t do_submit_in(void *ctx, uint64_t session, const Cfs__Command *command,
                             unsigned timeout_ms, backend_done done, void *arg)
{
    struct daemon *d = ctx;
    struct buf bytes = encode_command(command);

    return consensus_submit_in(d->consensus, session, &bytes, timeout_ms, on_done,
                               new_pending(done, arg));
}

static uint64_t do_submit(void *ctx, const Cfs__Command *command, unsigned timeout_ms,
                          backend_done done, void *arg)
{
    return do_submit_in(ctx, 0, command, timeout_ms, done, arg);
}

static uint64_t do_barrier(void *ctx, unsigned timeout_ms, backend_done done, void *arg)
{
    struct daemon *d = ctx;

    return consensus_barrier(d->consensus, timeout_ms, on_barrier, new_pending(done, arg));
}

static void do_cancel(void *ctx, uint64_t ticket)
{
    struct daemon *d = ctx;

    consensus_cancel(d->consensus, ticket);
}

/* A leader that loses its quorum steps down, and its followers then know no leader. */
static bool do_has_quorum(void *ctx)
{
    struct daemon *d = ctx;

    return atomic_load(&d->has_leader);
}

static uint64_t do_session(void *ctx)
{
    struct daemon *d = ctx;

    return session_manager_session(d->session_manager);
}

/* ---- The control directory and the feed ------------------------------------------------------ */

static void make_content(void *arg)
{
    struct backend_control *c = arg;
    struct daemon *d = c->ctx;

    check(views_text(d->views, c->name, &c->content));
    c->done(c);
}

static void do_control(void *ctx, struct backend_control *c)
{
    struct daemon *d = ctx;

    c->ctx = d;
    consensus_run(d->consensus, make_content, c);
}

static int do_past(void *ctx, struct backend_past *out)
{
    struct history_reader_range past;
    int err = history_reader_range(reader_of(ctx), &past);

    if (err == 0)
        *out = (struct backend_past){past.first, past.last, past.oldest, past.start, past.end};
    return err;
}

static int do_past_after(void *ctx, uint64_t after,
                         bool (*fn)(void *arg, const struct feed_change *change), void *arg)
{
    return history_reader_each(reader_of(ctx), after, fn, arg);
}

static int do_past_since(void *ctx, uint64_t index, uint64_t *out)
{
    return history_reader_since(reader_of(ctx), index, out);
}

static int do_past_at(void *ctx, uint64_t offset, uint64_t *out)
{
    return history_reader_at(reader_of(ctx), offset, out);
}

static const struct backend_ops ops = {
    .attr = do_attr,
    .lookup = do_lookup,
    .readlink = do_readlink,
    .read = do_read,
    .seek = do_seek,
    .getxattr = do_getxattr,
    .listxattr = do_listxattr,
    .readdir = do_readdir,
    .usage = do_usage,
    .room = do_room,
    .getlk = do_getlk,
    .fence = do_fence,
    .wait_state = do_wait_state,
    .holds_some = do_holds_some,
    .ends_with_open = do_ends_with_open,
    .names = do_names,
    .path = do_path,
    .applied = do_applied,
    .submit = do_submit,
    .submit_in = do_submit_in,
    .barrier = do_barrier,
    .cancel = do_cancel,
    .has_quorum = do_has_quorum,
    .session = do_session,
    .control = do_control,
    .past = do_past,
    .past_after = do_past_after,
    .past_since = do_past_since,
    .past_at = do_past_at,
};

struct backend backend_of(struct daemon *d)
{
    return (struct backend){d, &ops};
}
