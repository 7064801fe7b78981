/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/local_backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/encode.h"
#include "proto/limits.h"
#include "proto/stamp.h"
#include "store/reader.h"
#include "store/store.h"

#define LOG_KEEP 256 /* entries that a compaction keeps, and entries between two compactions */

struct job {
    TAILQ_ENTRY(job) link;
    struct local_host *host; /* NULL: a job of the apply thread */
    uint64_t ticket;
    uint64_t session;   /* the session that the command is bound to; 0: any */
    bool renews;        /* opens the host's next session */
    struct buf command; /* empty: a barrier */
    uint64_t deadline_ms;
    bool cancelled;
    backend_done done;
    void *arg;
};

TAILQ_HEAD(job_list, job);

struct local_host {
    LIST_ENTRY(local_host) link;
    struct local *local;
    struct store_reader *reader;
    struct fs *fs;
    uint64_t member;
    _Atomic uint64_t session;
    atomic_bool lapsed; /* its lease has expired */
    atomic_bool deaf;   /* gets no grants */
    uint64_t seq;
};

struct local {
    pthread_mutex_t
        lock; /* protects all fields below except the store, which store_lock protects */
    pthread_cond_t changed;
    pthread_mutex_t store_lock;
    struct store *store;
    pthread_t thread;
    struct job_list jobs;
    LIST_HEAD(, local_host) hosts;
    uint64_t next_ticket;
    unsigned pending;
    unsigned delay_ms;
    bool stalled;
    bool stopped;
    unsigned fail_n;
    int fail_err;
    uint64_t applied;
    uint64_t next_member;
};

/* The results of an applied command that must be passed on. */
struct applied {
    Cfs__Reply *reply;
    Cfs__Change **changes;
    size_t n_changes;
    struct store_grant *grants;
    size_t n_grants;
    uint64_t index;
};

/* ---- Applying -------------------------------------------------------------------------------- */

/* Copies the array and the changes in it. */
static Cfs__Change **copy_changes(const Cfs__Change *const *changes, size_t n)
{
    Cfs__Change **copies = xcalloc(n, sizeof(*copies));

    for (size_t i = 0; i < n; i++)
        copies[i] = encode_copy_change(changes[i]);
    return copies;
}

static void copy_grants(struct applied *out, const struct store_result *result)
{
    out->n_grants = result->n_grants;
    out->grants = xcalloc(result->n_grants, sizeof(*out->grants));
    if (result->n_grants > 0)
        memcpy(out->grants, result->grants, result->n_grants * sizeof(*out->grants));
}

static void applied_fini(struct applied *a)
{
    free(a->grants);
    for (size_t i = 0; i < a->n_changes; i++)
        cfs__change__free_unpacked(a->changes[i], NULL);
    free(a->changes);
    if (a->reply != NULL)
        cfs__reply__free_unpacked(a->reply, NULL);
}

/* Applies one entry in one transaction. For an OpenSession, returns the session. */
static uint64_t apply(struct local *l, uint64_t session, uint64_t seq, const struct buf *command,
                      struct applied *out)
{
    struct stamp stamp = {.session = session, .seq = seq, .acked = seq > 0 ? seq - 1 : 0};
    struct store_entry entry = {.term = 1, .type = STORE_COMMAND};
    struct store_result result;
    struct buf bytes = BUF_EMPTY;
    uint64_t index;

    stamp.time_ns = clock_real_ns();
    buf_reserve(&bytes, STAMP_SIZE);
    stamp_encode(&stamp, bytes.data);
    bytes.len = STAMP_SIZE;
    buf_append(&bytes, command->data, command->len);
    entry.data = bytes.data;
    entry.len = bytes.len;

    pthread_mutex_lock(&l->store_lock);
    index = store_applied(l->store) + 1;
    store_begin(l->store);
    store_log_append(l->store, index, &entry);
    store_apply(l->store, index, &entry, &result);
    check(result.outcome == STORE_APPLIED || result.outcome == STORE_NO_SESSION);
    check(session == 0 || result.outcome == STORE_APPLIED);
    memset(out, 0, sizeof(*out));
    if (result.reply != NULL)
        out->reply = cfs__reply__unpack(NULL, result.reply_len, result.reply);
    out->n_changes = result.n_changes;
    out->changes = copy_changes(result.changes, result.n_changes);
    copy_grants(out, &result);
    out->index = index;
    session = result.session;
    if (index % LOG_KEEP == 0 && index > LOG_KEEP)
        store_log_compact(l->store, index - LOG_KEEP);
    store_commit(l->store, false);
    pthread_mutex_unlock(&l->store_lock);
    buf_fini(&bytes);
    return session;
}

static uint64_t open_session(struct local *l, uint64_t member, struct applied *applied)
{
    struct buf bytes = encode_open_session(clock_entropy() | 1, member, 0);
    uint64_t session;

    session = apply(l, 0, 0, &bytes, applied);
    check(session != 0);
    buf_fini(&bytes);
    return session;
}

static void set_changing(struct local *l, bool changing)
{
    struct local_host *host;

    pthread_mutex_lock(&l->lock);
    LIST_FOREACH (host, &l->hosts, link)
        if (host->fs != NULL)
            fs_changing(host->fs, changing);
    pthread_mutex_unlock(&l->lock);
}

static void tell(struct local *l, const struct local_host *maker, const struct applied *applied,
                 uint64_t index)
{
    struct local_host *host;

    pthread_mutex_lock(&l->lock);
    LIST_FOREACH (host, &l->hosts, link) {
        if (host->fs != NULL && applied->n_changes > 0)
            fs_changed(
                host->fs,
                copy_changes((const Cfs__Change *const *)applied->changes, applied->n_changes),
                applied->n_changes, host == maker);
        if (host->fs != NULL)
            fs_told(host->fs, index);
    }
    pthread_mutex_unlock(&l->lock);
}

/* Call it after the completion of the command that caused them. */
static void tell_grants(struct local *l, const struct applied *applied)
{
    struct local_host *host;

    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < applied->n_grants; i++)
        LIST_FOREACH (host, &l->hosts, link)
            if (host->fs != NULL && !host->deaf && host->session == applied->grants[i].session)
                fs_granted(host->fs, applied->grants[i].id, applied->grants[i].fence);
    pthread_mutex_unlock(&l->lock);
}

static void tell_session(struct local_host *host, uint64_t session)
{
    struct local *l = host->local;

    pthread_mutex_lock(&l->lock);
    host->session = session;
    if (host->fs != NULL)
        fs_session(host->fs, session);
    pthread_mutex_unlock(&l->lock);
}

static void finish(struct local *l, struct job *job, int err, const Cfs__Reply *reply)
{
    job->done(job->arg, err, reply);
    pthread_mutex_lock(&l->lock);
    l->pending--;
    pthread_mutex_unlock(&l->lock);
    buf_fini(&job->command);
    free(job);
}

/* Opens another session in place of the host's present one. */
static void renew(struct local *l, struct job *job)
{
    struct local_host *host = job->host;
    struct applied applied;
    uint64_t session;

    set_changing(l, true);
    session = open_session(l, host->member, &applied);
    tell(l, NULL, &applied, applied.index);
    set_changing(l, false);
    tell_session(host, 0);
    tell_grants(l, &applied);
    host->seq = 0;
    host->lapsed = false;
    tell_session(host, session);
    applied_fini(&applied);
    finish(l, job, 0, NULL);
}

static void carry_out(struct local *l, struct job *job)
{
    struct applied applied;

    if (job->renews) {
        renew(l, job);
        return;
    }
    if (job->session != 0 && job->session != job->host->session) {
        finish(l, job, -ESTALE, NULL);
        return;
    }
    if (job->command.data == NULL) {
        Cfs__Reply nothing = CFS__REPLY__INIT;

        finish(l, job, 0, &nothing);
        return;
    }
    set_changing(l, true);
    apply(l, job->host->session, ++job->host->seq, &job->command, &applied);
    pthread_mutex_lock(&l->lock);
    l->applied++;
    pthread_mutex_unlock(&l->lock);
    check(applied.reply != NULL);
    tell(l, job->host, &applied, applied.index);
    set_changing(l, false);
    finish(l, job, 0, applied.reply);
    tell_grants(l, &applied);
    applied_fini(&applied);
}

/* Takes the next job that can be completed from the list, with its result. NULL: none now; *wait_ms
 * is the time to wait (-1: no limit). Call it with the lock held. */
static struct job *next_job(struct local *l, int *err, int *wait_ms)
{
    uint64_t now = clock_boot_ms(), soonest = UINT64_MAX;
    struct job *job;

    TAILQ_FOREACH (job, &l->jobs, link) {
        *err = l->stopped                                         ? -ESHUTDOWN
               : job->cancelled                                   ? -EINTR
               : job->deadline_ms != 0 && job->deadline_ms <= now ? -ETIMEDOUT
               : !l->stalled && l->fail_n > 0 && l->fail_n-- > 0  ? l->fail_err
                                                                  : 0;
        if (*err != 0 || !l->stalled)
            break;
        if (job->deadline_ms != 0)
            soonest = min_u64(soonest, job->deadline_ms);
    }
    *wait_ms = soonest == UINT64_MAX ? -1 : (int)(soonest - now);
    if (job != NULL)
        TAILQ_REMOVE(&l->jobs, job, link);
    return job;
}

static void wait_for_change(struct local *l, int wait_ms)
{
    struct timespec until;

    if (wait_ms < 0) {
        pthread_cond_wait(&l->changed, &l->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000l;
    if (until.tv_nsec >= 1000000000l) {
        until.tv_nsec -= 1000000000l;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&l->changed, &l->lock, &until);
}

static void *run(void *arg)
{
    struct local *l = arg;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        int err = 0, wait_ms;
        struct job *job = next_job(l, &err, &wait_ms);
        unsigned delay_ms = l->delay_ms;

        if (job == NULL) {
            if (l->stopped)
                break;
            wait_for_change(l, wait_ms);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        if (err != 0) {
            finish(l, job, err, NULL);
        } else {
            if (delay_ms > 0)
                usleep(delay_ms * 1000);
            carry_out(l, job);
        }
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- The backend ----------------------------------------------------------------------------- */

static uint64_t enqueue_job(struct local_host *host, const struct job *content, unsigned timeout_ms)
{
    struct local *l = host->local;
    struct job *job = xmalloc(sizeof(*job));
    uint64_t ticket;

    *job = *content;
    job->host = host;
    job->deadline_ms = timeout_ms == 0 ? 0 : clock_boot_ms() + timeout_ms;
    pthread_mutex_lock(&l->lock);
    ticket = job->ticket = ++l->next_ticket;
    l->pending++;
    TAILQ_INSERT_TAIL(&l->jobs, job, link);
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return ticket;
}

static uint64_t on_submit_in(void *ctx, uint64_t session, const Cfs__Command *command,
                             unsigned timeout_ms, backend_done done, void *arg)
{
    struct job job = {
        .session = session, .command = encode_command(command), .done = done, .arg = arg};

    check(job.command.len + STAMP_SIZE <= LIMIT_COMMAND_MAX);
    return enqueue_job(ctx, &job, timeout_ms);
}

static uint64_t on_submit(void *ctx, const Cfs__Command *command, unsigned timeout_ms,
                          backend_done done, void *arg)
{
    return on_submit_in(ctx, 0, command, timeout_ms, done, arg);
}

static uint64_t on_barrier(void *ctx, unsigned timeout_ms, backend_done done, void *arg)
{
    return enqueue_job(ctx, &(struct job){.done = done, .arg = arg}, timeout_ms);
}

static void on_cancel(void *ctx, uint64_t ticket)
{
    struct local *l = ((struct local_host *)ctx)->local;
    struct job *job;

    pthread_mutex_lock(&l->lock);
    TAILQ_FOREACH (job, &l->jobs, link)
        if (job->ticket == ticket)
            job->cancelled = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

static bool on_has_quorum(void *ctx)
{
    struct local *l = ((struct local_host *)ctx)->local;
    bool stalled;

    pthread_mutex_lock(&l->lock);
    stalled = l->stalled;
    pthread_mutex_unlock(&l->lock);
    return !stalled;
}

static struct store_reader *reader(void *ctx)
{
    return ((struct local_host *)ctx)->reader;
}

static int on_attr(void *ctx, uint64_t ino, Cfs__Attr *out)
{
    return reader_attr(reader(ctx), ino, out);
}

static int on_lookup(void *ctx, uint64_t parent, const char *name, size_t len, Cfs__Attr *out)
{
    return reader_lookup(reader(ctx), parent, name, len, out);
}

static int64_t on_readlink(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_readlink(reader(ctx), ino, out, size);
}

static int64_t on_read(void *ctx, uint64_t ino, uint64_t offset, void *out, size_t len)
{
    return reader_read(reader(ctx), ino, offset, out, len);
}

static int64_t on_seek(void *ctx, uint64_t ino, uint64_t offset, bool hole)
{
    return reader_seek(reader(ctx), ino, offset, hole);
}

static int64_t on_getxattr(void *ctx, uint64_t ino, const char *name, size_t name_len, void *out,
                           size_t size)
{
    return reader_getxattr(reader(ctx), ino, name, name_len, out, size);
}

static int64_t on_listxattr(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_listxattr(reader(ctx), ino, out, size);
}

struct entry_sink {
    bool (*fn)(void *arg, const struct backend_entry *entry);
    void *arg;
};

static bool on_reader_entry(void *arg, const struct reader_entry *e)
{
    struct entry_sink *sink = arg;
    struct backend_entry entry = {.cookie = e->cookie,
                                  .name = e->name,
                                  .name_len = e->name_len,
                                  .ino = e->ino,
                                  .type = e->type,
                                  .attr = e->attr};

    return sink->fn(sink->arg, &entry);
}

static int on_readdir(void *ctx, uint64_t ino, uint64_t after, bool attrs,
                      bool (*fn)(void *arg, const struct backend_entry *entry), void *arg)
{
    struct entry_sink sink = {.fn = fn, .arg = arg};

    return reader_readdir(reader(ctx), ino, after, attrs, on_reader_entry, &sink);
}

static int on_usage(void *ctx, struct backend_usage *out)
{
    struct reader_usage usage;
    int err = reader_usage(reader(ctx), &usage);

    if (err == 0)
        *out = (struct backend_usage){.inodes = usage.inodes,
                                      .bytes = usage.bytes,
                                      .max_inodes = usage.max_inodes,
                                      .max_bytes = usage.max_bytes};
    return err;
}

static int on_getlk(void *ctx, uint64_t session, const Cfs__Lock *asked, struct backend_lock *out)
{
    struct reader_lock lock;
    int found = reader_getlk(reader(ctx), session, asked, &lock);

    if (found > 0)
        *out = (struct backend_lock){lock.session, lock.start, lock.end, lock.write, lock.pid};
    return found;
}

static int on_fence(void *ctx, uint64_t session, uint64_t ino, uint64_t *out)
{
    return reader_fence(reader(ctx), session, ino, out);
}

static int on_wait_state(void *ctx, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                         uint64_t *fence)
{
    return reader_wait_state(reader(ctx), session, id, asked, fence);
}

static bool on_holds_some(void *ctx, uint64_t session, const Cfs__Lock *asked)
{
    uint64_t fence;
    bool some = false;

    return reader_holds(reader(ctx), session, asked, &fence, &some) >= 0 && some;
}

static bool on_ends_with_open(void *ctx, uint64_t session, uint64_t ino)
{
    return reader_ends_with_open(reader(ctx), session, ino) > 0;
}

static uint64_t on_session(void *ctx)
{
    struct local_host *host = ctx;

    return host->lapsed ? 0 : host->session;
}

static int64_t on_room(void *ctx, uint64_t ino)
{
    return reader_room(reader(ctx), ino);
}

static int on_names(void *ctx, uint64_t ino,
                    bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                    void *arg)
{
    return reader_names(reader(ctx), ino, fn, arg);
}

static int64_t on_path(void *ctx, uint64_t ino, char *out, size_t size)
{
    return reader_path(reader(ctx), ino, out, size);
}

static uint64_t on_applied(void *ctx)
{
    uint64_t applied = 0;

    return reader_applied(reader(ctx), &applied) == 0 ? applied : 0;
}

static const struct backend_ops ops = {
    .getlk = on_getlk,
    .fence = on_fence,
    .wait_state = on_wait_state,
    .holds_some = on_holds_some,
    .ends_with_open = on_ends_with_open,
    .submit_in = on_submit_in,
    .session = on_session,
    .attr = on_attr,
    .lookup = on_lookup,
    .readlink = on_readlink,
    .read = on_read,
    .seek = on_seek,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
    .readdir = on_readdir,
    .usage = on_usage,
    .room = on_room,
    .names = on_names,
    .path = on_path,
    .applied = on_applied,
    .submit = on_submit,
    .barrier = on_barrier,
    .cancel = on_cancel,
    .has_quorum = on_has_quorum,
};

/* ---- Life ------------------------------------------------------------------------------------ */

struct local *local_open(const char *dir)
{
    struct store_identity identity = {.member = 1, .cluster = "local"};
    struct local *l = xcalloc(1, sizeof(*l));
    char errmsg[256];

    TAILQ_INIT(&l->jobs);
    LIST_INIT(&l->hosts);
    check(pthread_mutex_init(&l->lock, NULL) == 0);
    check(pthread_mutex_init(&l->store_lock, NULL) == 0);
    check(pthread_cond_init(&l->changed, NULL) == 0);
    if (store_open(dir, &identity, &l->store, errmsg, sizeof(errmsg)) != 0)
        die("%s: %s", dir, errmsg);
    check(pthread_create(&l->thread, NULL, run, l) == 0);
    return l;
}

void local_stop(struct local *l)
{
    pthread_mutex_lock(&l->lock);
    check(!l->stopped);
    l->stopped = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    check(pthread_join(l->thread, NULL) == 0);
}

void local_close(struct local *l)
{
    check(l->stopped && LIST_EMPTY(&l->hosts) && TAILQ_EMPTY(&l->jobs));
    store_close(l->store);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->store_lock);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

struct local_host *local_host_new(struct local *l)
{
    struct local_host *host = xcalloc(1, sizeof(*host));
    struct applied applied;

    host->local = l;
    host->member = ++l->next_member;
    host->session = open_session(l, host->member, &applied);
    applied_fini(&applied);
    pthread_mutex_lock(&l->store_lock);
    host->reader = reader_new(l->store);
    pthread_mutex_unlock(&l->store_lock);
    pthread_mutex_lock(&l->lock);
    LIST_INSERT_HEAD(&l->hosts, host, link);
    pthread_mutex_unlock(&l->lock);
    return host;
}

void local_host_free(struct local_host *host)
{
    pthread_mutex_lock(&host->local->lock);
    LIST_REMOVE(host, link);
    pthread_mutex_unlock(&host->local->lock);
    reader_free(host->reader);
    free(host);
}

struct backend local_host_backend(struct local_host *host)
{
    return (struct backend){.ctx = host, .ops = &ops};
}

void local_host_attach(struct local_host *host, struct fs *fs)
{
    struct local *l = host->local;
    struct local_host *h;
    uint64_t applied;

    pthread_mutex_lock(&l->store_lock);
    applied = store_applied(l->store);
    pthread_mutex_unlock(&l->store_lock);
    pthread_mutex_lock(&l->lock);
    host->fs = fs;
    if (fs != NULL)
        fs_session(fs, host->session);
    LIST_FOREACH (h, &l->hosts, link)
        if (h->fs != NULL)
            fs_told(h->fs, applied); /* the session of the new host */
    pthread_mutex_unlock(&l->lock);
}

/* ---- Trouble --------------------------------------------------------------------------------- */

void local_set_delay(struct local *l, unsigned ms)
{
    pthread_mutex_lock(&l->lock);
    l->delay_ms = ms;
    pthread_mutex_unlock(&l->lock);
}

void local_set_stalled(struct local *l, bool stalled)
{
    pthread_mutex_lock(&l->lock);
    l->stalled = stalled;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void local_fail_next(struct local *l, unsigned n, int err)
{
    pthread_mutex_lock(&l->lock);
    l->fail_n = n;
    l->fail_err = err;
    pthread_mutex_unlock(&l->lock);
}

static void on_renewed(void *arg, int err, const Cfs__Reply *reply)
{
    (void)arg;
    (void)err;
    (void)reply;
}

void local_renew(struct local_host *h)
{
    enqueue_job(h, &(struct job){.renews = true, .done = on_renewed}, 0);
}

void local_lapse(struct local_host *h, bool lapsed)
{
    struct local *l = h->local;

    h->lapsed = lapsed;
    if (lapsed)
        return;
    pthread_mutex_lock(&l->lock);
    if (h->fs != NULL) {
        fs_session(h->fs, 0);
        fs_session(h->fs, h->session);
    }
    pthread_mutex_unlock(&l->lock);
}

void local_set_deaf(struct local_host *h, bool deaf)
{
    h->deaf = deaf;
}

uint64_t local_applied(struct local *l)
{
    uint64_t applied;

    pthread_mutex_lock(&l->lock);
    applied = l->applied;
    pthread_mutex_unlock(&l->lock);
    return applied;
}

unsigned local_pending(struct local *l)
{
    unsigned pending;

    pthread_mutex_lock(&l->lock);
    pending = l->pending;
    pthread_mutex_unlock(&l->lock);
    return pending;
}

struct lock_count {
    bool waiting;
    unsigned n;
};

static bool count_lock(void *arg, const struct reader_lock *lock)
{
    struct lock_count *count = arg;

    if (lock->waits == count->waiting)
        count->n++;
    return true;
}

unsigned local_locks(struct local *l, bool waiting)
{
    struct lock_count count = {.waiting = waiting};
    struct store_reader *r;

    pthread_mutex_lock(&l->store_lock);
    r = reader_new(l->store);
    check(reader_locks(r, count_lock, &count) == 0);
    reader_free(r);
    pthread_mutex_unlock(&l->store_lock);
    return count.n;
}

bool local_check(struct local *l, char *why, size_t why_len)
{
    bool ok;

    pthread_mutex_lock(&l->store_lock);
    ok = store_check(l->store, why, why_len);
    pthread_mutex_unlock(&l->store_lock);
    return ok;
}

struct orphans {
    struct local *local;
    uint64_t inos[LIMIT_REAP_MAX];
    size_t n;
};

static void on_orphan(void *arg, uint64_t ino, uint64_t unlinked)
{
    struct orphans *o = arg;
    struct local_host *host;

    (void)unlinked;
    LIST_FOREACH (host, &o->local->hosts, link)
        if (host->fs != NULL && fs_is_open(host->fs, ino))
            return;
    o->inos[o->n++] = ino;
}

static void on_reaped(void *arg, int err, const Cfs__Reply *reply)
{
    (void)arg;
    (void)err;
    (void)reply;
}

unsigned local_reap(struct local *l)
{
    struct orphans o = {.local = l};
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Reap reap = CFS__REAP__INIT;
    struct local_host *host;

    pthread_mutex_lock(&l->store_lock);
    pthread_mutex_lock(&l->lock);
    host = LIST_FIRST(&l->hosts);
    store_orphans(l->store, 0, LIMIT_REAP_MAX, on_orphan, &o);
    pthread_mutex_unlock(&l->lock);
    pthread_mutex_unlock(&l->store_lock);
    if (o.n == 0 || host == NULL)
        return 0;
    reap.n_inos = o.n;
    reap.inos = o.inos;
    command.op_case = CFS__COMMAND__OP_REAP;
    command.reap = &reap;
    on_submit(host, &command, 0, on_reaped, NULL);
    return (unsigned)o.n;
}
