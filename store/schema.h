/* SPDX-License-Identifier: Apache-2.0 */
/* The database's schema and its version: creation, numbered migrations, comparison. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include <sqlite3.h>

#include "base/base.h"

#define SCHEMA_VERSION        3          /* PRAGMA user_version */
#define SCHEMA_APPLICATION_ID 0x63664442 /* PRAGMA application_id: "cfDB" */

/* Creates the tables and the counters in an empty database, within the caller's transaction.
 * Creates no inode, not even the root. Returns SQLite's rc. */
int schema_create(sqlite3 *conn);

/* Creates only the tables, for a snapshot to be filled. Returns SQLite's rc. */
int schema_create_empty(sqlite3 *conn);

enum schema_state {
    SCHEMA_EMPTY,   /* no tables */
    SCHEMA_CURRENT, /* this version */
    SCHEMA_OLDER,   /* needs a migration */
    SCHEMA_NEWER,   /* written by a newer program */
    SCHEMA_FOREIGN, /* not a database of coordfs */
};

/* Finds out what the database is. Returns SQLite's rc. */
int schema_probe(sqlite3 *conn, enum schema_state *out);

/* Migrates an older schema, within the caller's transaction. Returns SQLite's rc. */
int schema_migrate(sqlite3 *conn);

/* *same: tables and indexes are exactly those that schema_create makes, and there is no trigger and
 * no view. Returns SQLite's rc. */
int schema_compare(sqlite3 *conn, bool *same);

/* The names of the replicated tables, ended by NULL: the content of a snapshot. */
extern const char *const schema_replicated[];

#endif
