/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Replicated tables, all covered by the state hash: state, config, session, reply, inode, symlink,
 * orphan, dirent, block, xattr, lease, lock, waiter, special, part (staged writes), quota, charged,
 * history, setting. Tables of this member alone: local, log.
 *
 * dirent is clustered by (parent, name), so a lookup is one descent of a B-tree. dirent_order holds
 * all columns that readdir needs in the order of the cookies, and dirent_ino finds the names of an
 * inode. Both contain the primary key, as every index of a table WITHOUT ROWID does, so neither
 * needs the table.
 *
 * In block, the checksum stands before the data. So it can be read, and the row's hash be
 * subtracted, without reading the data.
 *
 * Columns are typed (STRICT). Unsigned 64-bit numbers are stored as signed ones with the same bits.
 */
#include "store/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Added by version 2: leases of sessions, locks, and the special properties of inodes. */
#define TABLES_2                                                                                   \
    "CREATE TABLE lease(session INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL) STRICT;"             \
                                                                                                   \
    "CREATE TABLE lock(ino INTEGER NOT NULL, kind INTEGER NOT NULL, session INTEGER NOT NULL,"     \
    " owner INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"                      \
    " exclusive INTEGER NOT NULL, handle INTEGER NOT NULL, pid INTEGER NOT NULL,"                  \
    " fence INTEGER NOT NULL, PRIMARY KEY(ino, kind, session, owner, first))"                      \
    " WITHOUT ROWID, STRICT;"                                                                      \
                                                                                                   \
    "CREATE TABLE waiter(ino INTEGER NOT NULL, kind INTEGER NOT NULL, session INTEGER NOT NULL,"   \
    " owner INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,"                      \
    " exclusive INTEGER NOT NULL, handle INTEGER NOT NULL, pid INTEGER NOT NULL,"                  \
    " id INTEGER PRIMARY KEY) STRICT;"                                                             \
                                                                                                   \
    "CREATE TABLE special(ino INTEGER PRIMARY KEY, ephemeral INTEGER NOT NULL,"                    \
    " session INTEGER NOT NULL, ttl INTEGER NOT NULL, deadline INTEGER NOT NULL,"                  \
    " container INTEGER NOT NULL, guard INTEGER NOT NULL, sequence INTEGER NOT NULL) STRICT;"      \
    "CREATE INDEX special_session ON special(session, ino) WHERE session <> 0;"                    \
    "CREATE INDEX special_deadline ON special(deadline, ino) WHERE deadline <> 0;"

/* Added by version 3: staged writes, quotas, the orphans charged to quotas, the history of changes,
 * and settings that differ from the default. */
#define TABLES_3_SPACE                                                                             \
    "CREATE TABLE part(id INTEGER PRIMARY KEY, session INTEGER NOT NULL, stage INTEGER NOT NULL,"  \
    " offset INTEGER NOT NULL, sum BLOB NOT NULL, data BLOB NOT NULL) STRICT;"                     \
    "CREATE INDEX part_stage ON part(session, stage, id);"                                         \
                                                                                                   \
    "CREATE TABLE quota(dir INTEGER PRIMARY KEY, max_bytes INTEGER NOT NULL,"                      \
    " max_entries INTEGER NOT NULL, bytes INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT;"     \
                                                                                                   \
    "CREATE TABLE charged(ino INTEGER PRIMARY KEY, dir INTEGER NOT NULL) STRICT;"                  \
    "CREATE INDEX charged_dir ON charged(dir, ino);"

#define TABLES_3_HISTORY                                                                           \
    "CREATE TABLE history(number INTEGER PRIMARY KEY, idx INTEGER NOT NULL,"                       \
    " kind INTEGER NOT NULL, ino INTEGER NOT NULL, version INTEGER NOT NULL,"                      \
    " session INTEGER NOT NULL, member INTEGER NOT NULL, time INTEGER NOT NULL,"                   \
    " more INTEGER NOT NULL, last_byte INTEGER NOT NULL, path BLOB NOT NULL,"                      \
    " new_path BLOB NOT NULL) STRICT;"                                                             \
                                                                                                   \
    "CREATE TABLE setting(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;"

#define TABLES_3 TABLES_3_SPACE TABLES_3_HISTORY

static const char tables[] =
    "CREATE TABLE local(id INTEGER PRIMARY KEY CHECK(id = 1), cluster TEXT NOT NULL,"
    " member INTEGER NOT NULL, term INTEGER NOT NULL, vote INTEGER NOT NULL) STRICT;"

    "CREATE TABLE log(idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, type INTEGER NOT NULL,"
    " sum INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"

    "CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), applied INTEGER NOT NULL,"
    " applied_term INTEGER NOT NULL, next_ino INTEGER NOT NULL, next_dirent INTEGER NOT NULL,"
    " opened INTEGER NOT NULL, inodes INTEGER NOT NULL, entries INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, meta_bytes INTEGER NOT NULL, sum BLOB NOT NULL) STRICT;"

    "CREATE TABLE config(id INTEGER PRIMARY KEY CHECK(id = 1), idx INTEGER NOT NULL,"
    " data BLOB NOT NULL) STRICT;"

    "CREATE TABLE session(id INTEGER PRIMARY KEY, member INTEGER NOT NULL,"
    " nonce INTEGER NOT NULL, previous INTEGER NOT NULL, last_seq INTEGER NOT NULL,"
    " forgotten INTEGER NOT NULL, used INTEGER NOT NULL) STRICT;"

    "CREATE TABLE reply(session INTEGER NOT NULL, seq INTEGER NOT NULL, data BLOB NOT NULL,"
    " PRIMARY KEY(session, seq)) WITHOUT ROWID, STRICT;"

    "CREATE TABLE inode(ino INTEGER PRIMARY KEY, mode INTEGER NOT NULL, nlink INTEGER NOT NULL,"
    " uid INTEGER NOT NULL, gid INTEGER NOT NULL, rdev INTEGER NOT NULL, size INTEGER NOT NULL,"
    " stored INTEGER NOT NULL, xattr_bytes INTEGER NOT NULL, atime INTEGER NOT NULL,"
    " mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, version INTEGER NOT NULL,"
    " cversion INTEGER NOT NULL, aversion INTEGER NOT NULL, created INTEGER NOT NULL,"
    " modified INTEGER NOT NULL, children_modified INTEGER NOT NULL, parent INTEGER NOT NULL)"
    " STRICT;"

    "CREATE TABLE symlink(ino INTEGER PRIMARY KEY, target BLOB NOT NULL) STRICT;"

    "CREATE TABLE orphan(ino INTEGER PRIMARY KEY, unlinked INTEGER NOT NULL) STRICT;"

    "CREATE TABLE dirent(parent INTEGER NOT NULL, name BLOB NOT NULL, id INTEGER NOT NULL,"
    " ino INTEGER NOT NULL, type INTEGER NOT NULL, PRIMARY KEY(parent, name))"
    " WITHOUT ROWID, STRICT;"
    "CREATE INDEX dirent_order ON dirent(parent, id, ino, type);"
    "CREATE INDEX dirent_ino ON dirent(ino);"

    "CREATE TABLE block(id INTEGER PRIMARY KEY, sum BLOB NOT NULL, data BLOB NOT NULL) STRICT;"

    "CREATE TABLE xattr(ino INTEGER NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL,"
    " PRIMARY KEY(ino, name)) WITHOUT ROWID, STRICT;" TABLES_2 TABLES_3;

const char *const schema_replicated[] = {"state",   "config",  "session", "reply",   "inode",
                                         "symlink", "orphan",  "dirent",  "block",   "xattr",
                                         "lease",   "lock",    "waiter",  "special", "part",
                                         "quota",   "charged", "history", "setting", NULL};

/* Element i migrates version i + 1 to i + 2. Members may migrate at different times, so the state
 * hash must stay the same: columns may be added to it only together with a command. */
static const char *const migrations[] = {TABLES_2, TABLES_3, NULL};

_Static_assert(sizeof migrations / sizeof migrations[0] == SCHEMA_VERSION,
               "a migration for every version but the first (and the final NULL)");

static int exec(sqlite3 *conn, const char *sql)
{
    return sqlite3_exec(conn, sql, NULL, NULL, NULL);
}

static int get_number(sqlite3 *conn, const char *sql, int64_t *out)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(conn, sql, -1, &st, NULL);

    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int set_version(sqlite3 *conn)
{
    char sql[128];

    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d",
             SCHEMA_APPLICATION_ID, SCHEMA_VERSION);
    return exec(conn, sql);
}

int schema_create_empty(sqlite3 *conn)
{
    int rc = exec(conn, tables);

    return rc == SQLITE_OK ? set_version(conn) : rc;
}

int schema_create(sqlite3 *conn)
{
    int rc = schema_create_empty(conn);

    if (rc != SQLITE_OK)
        return rc;
    return exec(conn, "INSERT INTO state VALUES(1, 0, 0, 1, 1, 0, 0, 0, 0, 0, zeroblob(16));"
                      "INSERT INTO config VALUES(1, 0, x'');");
}

int schema_probe(sqlite3 *conn, enum schema_state *out)
{
    int64_t application = 0, version = 0, objects = 0;
    int rc = get_number(conn, "PRAGMA application_id", &application);

    if (rc == SQLITE_OK)
        rc = get_number(conn, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK)
        rc = get_number(conn, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc != SQLITE_OK)
        return rc;
    if (application == 0 && version == 0 && objects == 0)
        *out = SCHEMA_EMPTY;
    else if (application != SCHEMA_APPLICATION_ID || version < 1)
        *out = SCHEMA_FOREIGN;
    else if (version > SCHEMA_VERSION)
        *out = SCHEMA_NEWER;
    else
        *out = version < SCHEMA_VERSION ? SCHEMA_OLDER : SCHEMA_CURRENT;
    return SQLITE_OK;
}

int schema_migrate(sqlite3 *conn)
{
    int64_t version = 0;
    int rc = get_number(conn, "PRAGMA user_version", &version);

    if (rc != SQLITE_OK)
        return rc;
    check(version >= 1);
    for (; version < SCHEMA_VERSION; version++) {
        check(migrations[version - 1] != NULL);
        rc = exec(conn, migrations[version - 1]);
        if (rc != SQLITE_OK)
            return rc;
    }
    return set_version(conn);
}

/* Returns the schema as one text. It can be compared exactly, because all databases are created
 * from `tables`. */
static int schema_text(sqlite3 *conn, char **out)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(conn,
                                "SELECT group_concat(line, char(10)) FROM (SELECT type || ' ' ||"
                                " name || ' ' || tbl_name || ' ' || coalesce(sql, '') AS line"
                                " FROM sqlite_schema ORDER BY type, name)",
                                -1, &st, NULL);

    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(st, 0);

        *out = xstrdup(text != NULL ? text : "");
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

int schema_compare(sqlite3 *conn, bool *same)
{
    sqlite3 *fresh = NULL;
    char *wanted = NULL, *found = NULL;
    int rc = sqlite3_open(":memory:", &fresh);

    if (rc == SQLITE_OK)
        rc = schema_create_empty(fresh);
    if (rc == SQLITE_OK)
        rc = schema_text(fresh, &wanted);
    if (rc == SQLITE_OK)
        rc = schema_text(conn, &found);
    if (rc == SQLITE_OK)
        *same = wanted != NULL && found != NULL && strcmp(wanted, found) == 0;
    free(wanted);
    free(found);
    sqlite3_close(fresh);
    return rc;
}
