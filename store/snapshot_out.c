/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A snapshot is a new database that is filled table by table from one read transaction on the
 * store's database. Both tables have the same definition, so SQLite copies the cells of the B-trees
 * unchanged, indexes included, in order and without sorting; memory use is constant. In contrast to
 * a copy of the pages (SQLite's backup API), the snapshot contains no raft log, no free pages and
 * no remains of deleted rows.
 *
 * store_snapshot_out_open itself begins the read transaction, so the snapshot shows that moment.
 * Then the thread takes the connection over.
 *
 * The read transaction prevents the write-ahead log from being started over while the snapshot is
 * made. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/background.h"
#include "store/internal.h"
#include "store/schema.h"

#define CANCEL_OPS 10000 /* steps of SQLite's virtual machine between two looks at `cancel` */

struct store_snapshot_out {
    struct store *store;
    char *path;
    /* of the snapshot, with the store's database attached; used by the thread while it runs */
    struct db db;
    struct background thread;
    atomic_bool cancel;
    atomic_int progress; /* enum store_progress */
    LIST_ENTRY(store_snapshot_out) next;

    /* The thread writes these before it sets STORE_READY. */
    int fd;
    uint64_t size;
    struct state state;
};

/* ---- The thread -------------------------------------------------------------------------------*/

static int cancelled(void *arg)
{
    struct store_snapshot_out *c = arg;

    return atomic_load(&c->cancel) ? 1 : 0;
}

/* Returns the path as a URI for SQLite, with the special characters escaped. */
static char *source_uri(const char *path)
{
    struct buf uri = BUF_EMPTY;

    buf_printf(&uri, "file:");
    for (const char *p = path; *p != '\0'; p++) {
        if (*p == '%' || *p == '?' || *p == '#')
            buf_printf(&uri, "%%%02x", (unsigned)*p);
        else
            buf_append(&uri, p, 1);
    }
    buf_append(&uri, "?mode=ro", sizeof "?mode=ro");
    return (char *)uri.data;
}

static int attach(struct db *db, const char *path)
{
    sqlite3_stmt *st = NULL;
    char *uri = source_uri(path);
    int rc = sqlite3_prepare_v2(db->conn, "ATTACH ?1 AS source", -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(st, 1, uri, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(db->conn);
    sqlite3_finalize(st);
    free(uri);
    return rc;
}

static int copy_tables(struct db *db)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && schema_replicated[i] != NULL; i++) {
        char sql[128];

        snprintf(sql, sizeof sql, "INSERT INTO main.%s SELECT * FROM source.%s",
                 schema_replicated[i], schema_replicated[i]);
        rc = db_exec(db, sql);
    }
    return rc;
}

static int make(struct store_snapshot_out *c)
{
    int rc = schema_create_empty(c->db.conn);

    if (rc == SQLITE_OK)
        rc = copy_tables(&c->db);
    if (rc == SQLITE_OK)
        rc = db_exec(&c->db, "COMMIT");
    if (rc == SQLITE_OK)
        rc = state_load(&c->db, &c->state) == 1 ? SQLITE_OK : SQLITE_CORRUPT;
    if (rc != SQLITE_OK && !atomic_load(&c->cancel))
        log_warn("cannot make a snapshot of the database: %s", sqlite3_errmsg(c->db.conn));
    return rc == SQLITE_OK ? 0 : -EIO;
}

/* SQLite must have closed the file before it is opened here (see store/db.c). */
static int open_result(struct store_snapshot_out *c)
{
    struct stat st;

    c->fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0 || fstat(c->fd, &st) != 0)
        return -errno;
    c->size = (uint64_t)st.st_size;
    return 0;
}

static void *thread_main(void *arg)
{
    struct store_snapshot_out *c = arg;
    int err = make(c);

    db_close(&c->db);
    if (err == 0)
        err = open_result(c);
    atomic_store(&c->progress, err == 0 ? STORE_READY : STORE_FAILED);
    return NULL;
}

/* ---- The loop thread --------------------------------------------------------------------------*/

/* Begins the read transaction: later reads see the database as it is now. */
static int begin(struct store_snapshot_out *c)
{
    int rc = attach(&c->db, c->store->state_dir.db);

    if (rc == SQLITE_OK)
        rc = db_exec(&c->db, "BEGIN; SELECT applied FROM source.state");
    if (rc != SQLITE_OK)
        log_warn("cannot make a snapshot of the database: %s", sqlite3_errmsg(c->db.conn));
    sqlite3_progress_handler(c->db.conn, CANCEL_OPS, cancelled, c);
    return rc == SQLITE_OK ? 0 : -EIO;
}

static int open_copy(struct store_snapshot_out *c)
{
    char errmsg[256];
    int err, fd = open(c->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0) {
        log_warn("%s: %s", c->path, strerror(errno));
        return -errno;
    }
    close(fd);
    err = db_open(&c->db, c->path, DB_SNAPSHOT, errmsg, sizeof errmsg);
    if (err != 0) {
        log_warn("cannot make a snapshot of the database: %s", errmsg);
        return err;
    }
    err = begin(c);
    if (err != 0)
        db_close(&c->db);
    return err;
}

struct store_snapshot_out *store_snapshot_out_open(struct store *s)
{
    struct store_snapshot_out *c = xcalloc(1, sizeof *c);

    check(!s->in_transaction);
    c->store = s;
    c->fd = -1;
    c->path = xasprintf("%s/coordfs.copy-%u", s->state_dir.dir, s->snapshot_count++);
    LIST_INSERT_HEAD(&s->snapshots_out, c, next);
    if (open_copy(c) != 0) {
        atomic_store(&c->progress, STORE_FAILED);
        return c;
    }
    atomic_store(&c->progress, STORE_BUSY);
    background_start(&c->thread, thread_main, c, "a snapshot");
    return c;
}

enum store_progress store_snapshot_out_poll(struct store_snapshot_out *c)
{
    return (enum store_progress)atomic_load(&c->progress);
}

void store_snapshot_out_info(struct store_snapshot_out *c, struct store_snapshot_info *out)
{
    check(store_snapshot_out_poll(c) == STORE_READY);
    *out = (struct store_snapshot_info){
        .index = c->state.n.applied,
        .term = c->state.n.applied_term,
        .config_index = c->state.config_index,
        .config = buf_copy(c->state.config.data, c->state.config.len),
        .size = c->size,
    };
}

int64_t store_snapshot_out_read(struct store_snapshot_out *c, uint64_t offset, void *out,
                                size_t len)
{
    size_t done = 0;

    check(store_snapshot_out_poll(c) == STORE_READY);
    while (done < len) {
        ssize_t n = pread(c->fd, (uint8_t *)out + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static void stop(struct store_snapshot_out *c)
{
    atomic_store(&c->cancel, true);
    background_join(&c->thread);
}

void internal_stop_snapshots_out(struct store *s)
{
    struct store_snapshot_out *c;

    LIST_FOREACH (c, &s->snapshots_out, next)
        stop(c);
}

void store_snapshot_out_close(struct store_snapshot_out *c)
{
    stop(c);
    LIST_REMOVE(c, next);
    if (c->fd >= 0)
        close(c->fd);
    unlink(c->path);
    state_fini(&c->state);
    free(c->path);
    free(c);
}
