/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to SQLite, its pragmas, and its prepared statements. One thread at a time.
 *
 * The writer's connection (DB_WRITER) never returns an error from db_get, db_step and db_run: a
 * member that cannot write what it has to must stop, so they die(). Other connections get -EIO. */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <sqlite3.h>

#include "base/base.h"
#include "store/statement.h"

enum db_role {
    DB_PROBE,      /* looks at a database before it is opened; close it with db_abandon */
    DB_WRITER,     /* the loop thread's: the only one that changes the database */
    DB_READER,     /* store/reader.h */
    DB_CHECKPOINT, /* store/checkpoint.h */
    DB_SNAPSHOT,   /* writes a copy: new, private, not durable */
    DB_VERIFY,     /* reads a whole database */
    DB_SEAL,       /* the last, durable change of a staged copy */
};

struct db {
    sqlite3 *conn;
    bool fatal;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
};

/* 0 or -errno, then a reason in errmsg. path must exist, except for DB_COPY. */
int db_open(struct db *db, const char *path, enum db_role role, char *errmsg, size_t errmsg_len);
void db_close(struct db *db);
/* As db_close, but leaves the write-ahead log alone, even as the last connection. */
void db_abandon(struct db *db);

/* SQLite's rc, as a -errno: damaged: -EUCLEAN. Uses the errno of conn's last failure. */
int db_errno(sqlite3 *conn, int rc);

/* Executes SQL without results: SQLite's rc. */
int db_exec(struct db *db, const char *sql);

/* The statement, ready for binding; NULL after an error (then a step would be -EIO too). */
sqlite3_stmt *db_get(struct db *db, enum statement which);

/* 1: a row; 0: no more, and the statement is reset; -EIO. */
int db_step(struct db *db, sqlite3_stmt *st);
void db_reset(sqlite3_stmt *st); /* ends a statement that was not stepped to its end */
/* A statement without rows: 0 or -EIO. */
int db_run(struct db *db, sqlite3_stmt *st);
/* The first column of the statement's row for this key; 0: there is none (or a reader's error). */
uint64_t db_find_u64(struct db *db, enum statement which, uint64_t key);

void db_bind(sqlite3_stmt *st, int at, uint64_t value); /* from 1 */
void db_bind_all(sqlite3_stmt *st, int at, const uint64_t *values, size_t n);
/* Borrows until the statement is reset. */
void db_bind_bytes(sqlite3_stmt *st, int at, const void *data, size_t len);

uint64_t db_u64(sqlite3_stmt *st, int column); /* from 0 */
void db_u64_all(sqlite3_stmt *st, int column, uint64_t *out, size_t n);
/* Valid until the next step; never NULL. */
const uint8_t *db_bytes(sqlite3_stmt *st, int column, size_t *len);

/* Waits until all that was committed is on the disk. 0 or -errno. */
int db_sync_wal(struct db *db);

#endif
