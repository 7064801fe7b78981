/* SPDX-License-Identifier: Apache-2.0 */
/* The database's schema and its version: creation, numbered migrations, comparison. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

#include <sqlite3.h>

#include "base/base.h"

#define SCHEMA_VERSION        3          /* PRAGMA user_version */
#define SCHEMA_APPLICATION_ID 0x63664442 /* PRAGMA application_id: "cfDB" */

/* Creates the tables and the counters in an empty database, in the caller's transaction: no inode
 * yet, not even the root. SQLite's rc. */
int schema_create(sqlite3 *conn);

/* Creates the tables only: for a copy, which is then filled. SQLite's rc. */
int schema_create_empty(sqlite3 *conn);

enum schema_state {
    SCHEMA_EMPTY,   /* no tables at all */
    SCHEMA_CURRENT, /* this version */
    SCHEMA_OLDER,   /* to be migrated */
    SCHEMA_NEWER,   /* written by a newer program */
    SCHEMA_FOREIGN, /* not a database of coordfs */
};

/* What the database at hand is. SQLite's rc. */
int schema_probe(sqlite3 *conn, enum schema_state *out);

/* Brings an older schema up to date, in the caller's transaction. SQLite's rc. */
int schema_migrate(sqlite3 *conn);

/* Are tables and indexes exactly those that schema_create makes, and nothing else (no trigger,
 * no view)? SQLite's rc. */
int schema_compare(sqlite3 *conn, bool *same);

/* The names of the replicated tables, NULL-terminated: what a copy consists of. */
extern const char *const schema_replicated[];

#endif
