/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * The database is in WAL mode with synchronous=NORMAL: a commit appends to the write-ahead log and
 * syncs nothing. Only at the end of a transaction does the caller know whether the commit must be
 * durable, and then SQLite does not allow `synchronous` to be changed any more. So the writer syncs
 * the log file itself after such a commit, through SQLite's own file handle (db_sync_wal).
 * synchronous=FULL would do the same: on a file system with power-safe overwrite (SQLite's default
 * assumption on Unix) it differs from NORMAL only in this sync. Commits reach the disk in order, as
 * a prefix.
 *
 * Never open and close a file of the database other than through SQLite: closing it would drop the
 * locks that this process holds on it, because POSIX locks belong to the process. */
#include "store/db.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* The pragmas. These apply to all roles. */
static const char common_pragmas[] =
    /* The schema of a received database is not trusted. */
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA cell_size_check=ON;"
    /* A mapped file would count as resident memory, and an I/O error would raise SIGBUS. */
    "PRAGMA mmap_size=0;";

static const struct {
    int flags;
    bool fatal;
    const char *pragmas;
} roles[] = {
    /* Writable for one case: a crash during the change to WAL mode, at creation or after an
     * installation, leaves a rollback journal. It must be played back before anything is read. */
    [DB_PROBE] = {SQLITE_OPEN_READWRITE, false, "PRAGMA query_only=ON;"},
    [DB_WRITER] = {SQLITE_OPEN_READWRITE, true,
                   "PRAGMA journal_mode=WAL;"
                   "PRAGMA synchronous=NORMAL;"
                   /* store/checkpoint.c makes the checkpoints, on its own thread. */
                   "PRAGMA wal_autocheckpoint=0;"
                   /* Debian's SQLite overwrites deleted rows by default, which is useless work
                    * here: a snapshot for another member is built from rows and contains no remains
                    * of deleted ones. */
                   "PRAGMA secure_delete=OFF;"
                   /* 16 MiB: the inner pages for a few million files, and the working set. */
                   "PRAGMA cache_size=-16384;"
                   "PRAGMA temp_store=MEMORY;"},
    /* A reader drops its cache at every commit of the writer and then reads from the kernel's page
     * cache. Small caches are enough. */
    [DB_READER] = {SQLITE_OPEN_READONLY, false, "PRAGMA cache_size=-4096;"},
    [DB_CHECKPOINT] = {SQLITE_OPEN_READWRITE, false,
                       "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
                       "PRAGMA cache_size=-64;"},
    /* A snapshot is not needed after a crash: no journal, no sync. */
    [DB_SNAPSHOT] = {SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, false,
                     "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8192;"},
    [DB_VERIFY] = {SQLITE_OPEN_READONLY, false, "PRAGMA cache_size=-8192;"},
    /* The file becomes the database only after this change is complete, so a journal in memory is
     * enough. But then the change must be on the disk. */
    [DB_SEAL] = {SQLITE_OPEN_READWRITE, false,
                 "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=FULL;"},
};

/* With memory statistics, every allocation of every thread would take one global lock. */
static void configure_sqlite(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int db_errno(sqlite3 *conn, int rc)
{
    int os = conn != NULL ? sqlite3_system_errno(conn) : 0;

    switch (rc & 0xff) {
    case SQLITE_OK:
        return 0;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: /* no such table, no such column */
        return -EUCLEAN;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return -EACCES;
    case SQLITE_CANTOPEN:
        return os > 0 ? -os : -EACCES;
    case SQLITE_NOMEM:
        die("out of memory");
    default:
        return os > 0 ? -os : -EIO;
    }
}

static int open_failed(struct db *db, int rc, char *errmsg, size_t errmsg_len)
{
    int err = db_errno(db->conn, rc);

    snprintf(errmsg, errmsg_len, "%s",
             db->conn != NULL ? sqlite3_errmsg(db->conn) : "out of memory");
    db_abandon(db);
    return err;
}

/* If the file system cannot support WAL, SQLite silently keeps the previous mode. */
static int check_wal(sqlite3 *conn)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(conn, "PRAGMA journal_mode", -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(st, 0);

        rc = mode != NULL && strcmp(mode, "wal") == 0 ? SQLITE_OK : SQLITE_PROTOCOL;
    }
    sqlite3_finalize(st);
    return rc;
}

int db_open(struct db *db, const char *path, enum db_role role, char *errmsg, size_t errmsg_len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc;

    pthread_once(&once, configure_sqlite);
    memset(db, 0, sizeof *db);
    rc = sqlite3_open_v2(path, &db->conn, roles[role].flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return open_failed(db, rc, errmsg, errmsg_len);
    sqlite3_extended_result_codes(db->conn, 1);
    /* A connection only ever waits for the recovery of the log after a crash. */
    sqlite3_busy_timeout(db->conn, 10000);
    rc = sqlite3_exec(db->conn, common_pragmas, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->conn, roles[role].pragmas, NULL, NULL, NULL);
    if (rc == SQLITE_OK && role == DB_WRITER)
        rc = check_wal(db->conn);
    if (rc != SQLITE_OK)
        return open_failed(db, rc, errmsg, errmsg_len);
    /* After the pragmas, because newer versions refuse journal_mode=OFF in defensive mode. */
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    db->fatal = roles[role].fatal;
    return 0;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(db->prepared[i]);
    check(sqlite3_close(db->conn) == SQLITE_OK);
    memset(db, 0, sizeof *db);
}

void db_abandon(struct db *db)
{
    if (db->conn != NULL)
        sqlite3_db_config(db->conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    db_close(db);
}

static const char *remedy(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return "make room on the disk and start the member again";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "move the state directory away and start the member again: it gets a copy of the "
               "state from the others";
    default:
        return "look for errors of the disk in the kernel's log";
    }
}

static int failed(struct db *db, const char *sql)
{
    int os = sqlite3_system_errno(db->conn);

    if (db->fatal)
        die("the database %s failed: %s%s%s, in \"%s\": %s", sqlite3_db_filename(db->conn, "main"),
            sqlite3_errmsg(db->conn), os != 0 ? ": " : "", os != 0 ? strerror(os) : "", sql,
            remedy(sqlite3_errcode(db->conn)));
    return -EIO;
}

int db_exec(struct db *db, const char *sql)
{
    return sqlite3_exec(db->conn, sql, NULL, NULL, NULL);
}

sqlite3_stmt *db_get(struct db *db, enum statement which)
{
    sqlite3_stmt **st = &db->prepared[which];

    if (*st == NULL && sqlite3_prepare_v3(db->conn, statement_sql[which], -1,
                                          SQLITE_PREPARE_PERSISTENT, st, NULL) != SQLITE_OK)
        failed(db, statement_sql[which]);
    return *st;
}

int db_step(struct db *db, sqlite3_stmt *st)
{
    int rc = st != NULL ? sqlite3_step(st) : SQLITE_ERROR;

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    if (rc == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM)
        die("out of memory");
    failed(db, st != NULL ? sqlite3_sql(st) : "a statement");
    sqlite3_reset(st);
    return -EIO;
}

void db_reset(sqlite3_stmt *st)
{
    sqlite3_reset(st);
}

int db_run(struct db *db, sqlite3_stmt *st)
{
    int row = db_step(db, st);

    check(row <= 0);
    return row;
}

uint64_t db_find_u64(struct db *db, enum statement which, uint64_t key)
{
    sqlite3_stmt *st = db_get(db, which);
    uint64_t value = 0;

    db_bind(st, 1, key);
    if (db_step(db, st) > 0)
        value = db_u64(st, 0);
    db_reset(st);
    return value;
}

/* A NULL statement could not be prepared; the step that follows reports the error. */
void db_bind(sqlite3_stmt *st, int at, uint64_t value)
{
    check(st == NULL || sqlite3_bind_int64(st, at, (int64_t)value) == SQLITE_OK);
}

void db_bind_all(sqlite3_stmt *st, int at, const uint64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        db_bind(st, at + (int)i, values[i]);
}

void db_bind_bytes(sqlite3_stmt *st, int at, const void *data, size_t len)
{
    const void *bytes = len > 0 ? data : ""; /* a NULL pointer would be bound as NULL */

    check(st == NULL || sqlite3_bind_blob64(st, at, bytes, len, SQLITE_STATIC) == SQLITE_OK);
}

uint64_t db_u64(sqlite3_stmt *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st, column);
}

void db_u64_all(sqlite3_stmt *st, int column, uint64_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = db_u64(st, column + (int)i);
}

const uint8_t *db_bytes(sqlite3_stmt *st, int column, size_t *len)
{
    const void *data = sqlite3_column_blob(st, column);
    int n = sqlite3_column_bytes(st, column);

    /* SQLite returns NULL for an empty value, and when memory is exhausted. */
    if (data == NULL && sqlite3_errcode(sqlite3_db_handle(st)) == SQLITE_NOMEM)
        die("out of memory");
    *len = data != NULL ? (size_t)n : 0;
    return data != NULL ? data : (const uint8_t *)"";
}

int db_sync_wal(struct db *db)
{
    sqlite3_file *wal = NULL;
    int rc = sqlite3_file_control(db->conn, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);

    if (rc == SQLITE_OK && (wal == NULL || wal->pMethods == NULL))
        return 0; /* this connection has written nothing */
    if (rc == SQLITE_OK)
        rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    return rc == SQLITE_OK ? 0 : db_errno(NULL, rc);
}
