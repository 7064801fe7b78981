/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A received snapshot is trusted only after three checks: its schema is exactly ours, SQLite finds
 * its structure sound, and the state hash of all its rows equals the one that it carries, which the
 * sender updated with every change. Then the snapshot becomes this member's: the row of `local`
 * (identity, term, vote) is inserted at the last moment, in one durable change of a file that
 * no other code uses, so neither term nor vote can be lost. The rename in state_dir_install makes
 * it the database. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/background.h"
#include "store/check.h"
#include "store/internal.h"

struct store_snapshot_in {
    struct store *store;
    int fd;
    uint64_t size;
    struct background thread;
    atomic_bool cancel;
    atomic_int progress; /* enum store_progress */
    struct store_snapshot_info info;
};

struct store_snapshot_in *store_snapshot_in_open(struct store *s)
{
    struct store_snapshot_in *st = xcalloc(1, sizeof *st);

    check(s->snapshot_in == NULL);
    s->snapshot_in = st;
    st->store = s;
    atomic_store(&st->progress, STORE_BUSY);
    st->fd =
        open(s->state_dir.snapshot_in, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (st->fd < 0)
        log_error("%s: %s", s->state_dir.snapshot_in, strerror(errno));
    return st;
}

int store_snapshot_in_write(struct store_snapshot_in *st, uint64_t offset, const void *data,
                            size_t len)
{
    const uint8_t *at = data;

    check(!st->thread.started);
    if (st->fd < 0)
        return -EIO;
    if (offset != st->size)
        return -EINVAL;
    while (len > 0) {
        ssize_t n = pwrite(st->fd, at, len, (off_t)st->size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        st->size += (uint64_t)n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- Verification: a thread -------------------------------------------------------------------*/

static bool agrees(const struct state *state, const struct store_snapshot_info *info)
{
    return state->n.applied == info->index && state->n.applied_term == info->term &&
           state->config_index == info->config_index && state->config.len == info->config.len &&
           (info->config.len == 0 ||
            memcmp(state->config.data, info->config.data, info->config.len) == 0);
}

static bool verify(struct store_snapshot_in *st, char *why, size_t why_len)
{
    struct state state;
    bool good;

    if (st->size != st->info.size) {
        snprintf(why, why_len, "%llu of %llu bytes arrived", (unsigned long long)st->size,
                 (unsigned long long)st->info.size);
        return false;
    }
    if (!check_snapshot(st->store->state_dir.snapshot_in, &st->cancel, &state, why, why_len))
        return false;
    good = agrees(&state, &st->info);
    state_fini(&state);
    if (!good) {
        snprintf(why, why_len, "its index, term or configuration differs from the announcement");
        return false;
    }
    if (fsync(st->fd) != 0) {
        snprintf(why, why_len, "%s", strerror(errno));
        return false;
    }
    return true;
}

static void *thread_main(void *arg)
{
    struct store_snapshot_in *st = arg;
    char why[256] = "";
    bool good = verify(st, why, sizeof why);

    if (!good && !atomic_load(&st->cancel))
        log_error("refused a received snapshot: %s", why);
    atomic_store(&st->progress, good ? STORE_READY : STORE_FAILED);
    return NULL;
}

void store_snapshot_in_verify(struct store_snapshot_in *st, const struct store_snapshot_info *info)
{
    check(!st->thread.started && st->progress == STORE_BUSY);
    st->info = *info;
    st->info.config = buf_copy(info->config.data, info->config.len);
    if (st->fd < 0) {
        atomic_store(&st->progress, STORE_FAILED);
        return;
    }
    background_start(&st->thread, thread_main, st, "the verification of a snapshot");
}

enum store_progress store_snapshot_in_poll(struct store_snapshot_in *st)
{
    return (enum store_progress)atomic_load(&st->progress);
}

/* ---- Installation: the loop thread ------------------------------------------------------------*/

static void stop(struct store_snapshot_in *st)
{
    atomic_store(&st->cancel, true);
    background_join(&st->thread);
}

static void release(struct store_snapshot_in *st)
{
    st->store->snapshot_in = NULL;
    if (st->fd >= 0)
        close(st->fd);
    buf_fini(&st->info.config);
    free(st);
}

/* Writes this member's identity, term and vote into the snapshot. */
static int seal(struct store *s, char *errmsg, size_t errmsg_len)
{
    struct db db;
    int err = db_open(&db, s->state_dir.snapshot_in, DB_SEAL, errmsg, errmsg_len);

    if (err != 0)
        return err;
    err = raftlog_put_local(&db, &s->identity, s->log.term, s->log.vote);
#ifdef BREAK_SEAL
    err = raftlog_put_local(&db, &s->identity, s->log.term, 0);
#endif
    if (err != 0)
        snprintf(errmsg, errmsg_len, "%s", sqlite3_errmsg(db.conn));
    db_close(&db);
    return err;
}

static int replace(struct store *s, char *errmsg, size_t errmsg_len)
{
    int err = state_dir_install(&s->state_dir);

    if (err != 0) {
        snprintf(errmsg, errmsg_len, "%s", strerror(-err));
        return err;
    }
    return internal_open(s, errmsg, errmsg_len);
}

void store_snapshot_in_install(struct store_snapshot_in *st)
{
    struct store *s = st->store;
    uint64_t index = st->info.index, term = s->log.term, vote = s->log.vote;
    char errmsg[256] = "";

    check(!s->in_transaction);
    check(store_snapshot_in_poll(st) == STORE_READY);
    check(index >= s->state.n.applied); /* a member never goes back */
    stop(st);
    release(st);
    if (seal(s, errmsg, sizeof errmsg) != 0)
        die("cannot write this member's identity into the received snapshot: %s", errmsg);

    internal_stop_snapshots_out(s);
    pthread_rwlock_wrlock(&s->readers_lock);
    internal_close_readers(s);
    internal_close(s, true);
    if (replace(s, errmsg, sizeof errmsg) != 0)
        die("cannot install the received snapshot: %s", errmsg);
    pthread_rwlock_unlock(&s->readers_lock);

    check(s->state.n.applied == index);
    check(s->log.term == term && s->log.vote == vote);
    check(s->log.first == index + 1 && s->log.last == index);
}

void store_snapshot_in_close(struct store_snapshot_in *st)
{
    struct store *s = st->store;

    stop(st);
    release(st);
    unlink(s->state_dir.snapshot_in);
}
