/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to SQLite, its pragmas, and its prepared statements. One thread at a time.
 *
 * On the writer's connection (DB_WRITER), db_get, db_step and db_run never return an error but
 * die(): a member that cannot write its state must stop. On other connections they return -EIO. */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <sqlite3.h>

#include "base/base.h"
#include "store/statement.h"

enum db_role {
    DB_PROBE,      /* examines a database before it is opened; close it with db_abandon */
    DB_WRITER,     /* the loop thread's connection: the only one that changes the database */
    DB_READER,     /* store/reader.h */
    DB_CHECKPOINT, /* store/checkpoint.h */
    DB_SNAPSHOT,   /* writes a snapshot: new, private, not durable */
    DB_VERIFY,     /* reads a whole database for a check */
    DB_SEAL,       /* makes the last, durable change of a received snapshot */
};

struct db {
    sqlite3 *conn;
    bool fatal;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
};

/* 0 or -errno, with a reason in errmsg. The file must exist, except for DB_SNAPSHOT. */
int db_open(struct db *db, const char *path, enum db_role role, char *errmsg, size_t errmsg_len);
void db_close(struct db *db);
/* Closes like db_close but leaves the write-ahead log alone, even if this is the last connection.
 */
void db_abandon(struct db *db);

/* Converts SQLite's rc to -errno; a damaged database is -EUCLEAN. Uses the system errno of conn's
 * last failure. */
int db_errno(sqlite3 *conn, int rc);

/* Executes SQL that returns no rows. Returns SQLite's rc. */
int db_exec(struct db *db, const char *sql);

/* Returns the statement, ready for binding. NULL after an error; db_step and db_run then return
 * -EIO. */
sqlite3_stmt *db_get(struct db *db, enum statement which);

/* 1: there is a row. 0: no more rows, and the statement was reset. -EIO. */
int db_step(struct db *db, sqlite3_stmt *st);
void db_reset(sqlite3_stmt *st); /* ends a statement before its last row */
/* Runs a statement that returns no rows: 0 or -EIO. */
int db_run(struct db *db, sqlite3_stmt *st);
/* Returns the first column of the statement's row for this key; 0 if there is no row, or on a
 * reader's error. */
uint64_t db_find_u64(struct db *db, enum statement which, uint64_t key);

void db_bind(sqlite3_stmt *st, int at, uint64_t value); /* `at` counts from 1 */
void db_bind_all(sqlite3_stmt *st, int at, const uint64_t *values, size_t n);
/* Borrows data until the statement is reset. */
void db_bind_bytes(sqlite3_stmt *st, int at, const void *data, size_t len);

uint64_t db_u64(sqlite3_stmt *st, int column); /* `column` counts from 0 */
void db_u64_all(sqlite3_stmt *st, int column, uint64_t *out, size_t n);
/* The bytes are valid until the next step; never NULL. */
const uint8_t *db_bytes(sqlite3_stmt *st, int column, size_t *len);

/* Waits until all committed transactions are on the disk. 0 or -errno. */
int db_sync_wal(struct db *db);

#endif
