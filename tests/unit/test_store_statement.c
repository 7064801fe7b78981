/* SPDX-License-Identifier: Apache-2.0 */
/* store/statement.c: every statement can be prepared; none scans a table or sorts, unless intended.
 */
#include "tests/lib/store_kit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "store/schema.h"
#include "store/statement.h"

/* These read a whole table; the others ask for row 1 of a table with one row. */
static bool may_scan(size_t which)
{
    return which == STATEMENT_SESSION_ALL || which == STATEMENT_ORPHAN_ALL ||
           which == STATEMENT_LOG_RANGE || which == STATEMENT_LOCK_ALL ||
           which == STATEMENT_WAITER_ALL || which == STATEMENT_LOCK_LIST ||
           which == STATEMENT_SESSION_LIST || which == STATEMENT_SPECIAL_COUNT ||
           which == STATEMENT_SPECIAL_SESSIONS || which == STATEMENT_STAGED_WRITE_COUNT ||
           which == STATEMENT_QUOTAS || which == STATEMENT_ROOM /* does one exist? */;
}

/* True for scans of the statement's own result (WITH RECURSIVE), not of a table. */
static bool is_own_result(const char *plan)
{
    return strcmp(plan, "SCAN b") == 0 || strcmp(plan, "SCAN u") == 0 ||
           strcmp(plan, "SCAN CONSTANT ROW") == 0 || strncmp(plan, "SCAN (subquery", 14) == 0;
}

/* These sort few rows: short lists, the locks that conflict with one, and, rarely, the files below
 * a directory (at most LIMIT_QUOTA_COUNT). */
static bool may_sort(size_t which)
{
    return which == STATEMENT_LOCK_LIST || which == STATEMENT_SESSION_LIST ||
           which == STATEMENT_LOCK_CONFLICT || which == STATEMENT_QUOTA_FOREIGN;
}

static sqlite3 *open_empty(void)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(schema_create(db), SQLITE_OK);
    return db;
}

static void test_plans(void **state)
{
    sqlite3 *db = open_empty();

    (void)state;
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        char sql[1200];
        sqlite3_stmt *st;

        assert_non_null(statement_sql[i]);
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statement_sql[i]);
        if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(st, 3);

            if ((strstr(plan, "SCAN") != NULL && !may_scan(i) && !is_own_result(plan)) ||
                (strstr(plan, "TEMP") != NULL && !may_sort(i)))
                fail_msg("%s: %s", statement_sql[i], plan);
        }
        sqlite3_finalize(st);
    }
    sqlite3_close(db);
}

static void assert_plan(sqlite3 *db, enum statement which, const char *wanted)
{
    char sql[1200];
    sqlite3_stmt *st;

    snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", statement_sql[which]);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    if (strstr((const char *)sqlite3_column_text(st, 3), wanted) == NULL)
        fail_msg("%s: %s", statement_sql[which], (const char *)sqlite3_column_text(st, 3));
    sqlite3_finalize(st);
}

/* The lookups that the indexes were made for. */
static void test_indexes(void **state)
{
    sqlite3 *db = open_empty();

    (void)state;
    assert_plan(db, STATEMENT_READDIR, "COVERING INDEX dirent_order (parent=? AND id>?)");
    assert_plan(db, STATEMENT_READDIR_ATTRS, "COVERING INDEX dirent_order (parent=? AND id>?)");
    assert_plan(db, STATEMENT_LOOKUP, "PRIMARY KEY (parent=? AND name=?)");
    assert_plan(db, STATEMENT_DIRENT_OF_INODE, "COVERING INDEX dirent_ino (ino=?)");
    assert_plan(db, STATEMENT_LOCK_CONFLICT, "PRIMARY KEY (ino=? AND kind=?)");
    assert_plan(db, STATEMENT_SPECIAL_SESSIONS, "COVERING INDEX special_session");
    assert_plan(db, STATEMENT_SPECIAL_OF_SESSION, "COVERING INDEX special_session (session=?)");
    assert_plan(db, STATEMENT_SPECIAL_DUE, "INDEX special_deadline (deadline>? AND deadline<?)");
    assert_plan(db, STATEMENT_SPECIAL_PENDING, "COVERING INDEX special_deadline (deadline<?)");
    assert_plan(db, STATEMENT_SPECIAL_RUNNING, "COVERING INDEX special_deadline (deadline>?)");
    assert_plan(db, STATEMENT_DIRENT_FIRST, "COVERING INDEX dirent_ino (ino=?)");
    assert_plan(db, STATEMENT_HISTORY_AFTER, "INTEGER PRIMARY KEY (rowid>?)");
    assert_plan(db, STATEMENT_DIRENT_PARENTS, "INDEX dirent_ino (ino=?)");
    assert_plan(db, STATEMENT_LOCK_FENCE, "PRIMARY KEY (ino=?)");
    assert_plan(db, STATEMENT_BLOCK_RANGE, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)");
    sqlite3_close(db);
}

static void test_schema_states(void **state)
{
    enum schema_state schema;
    sqlite3 *db;
    bool same;

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_EMPTY);
    assert_int_equal(schema_create(db), SQLITE_OK);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_CURRENT);
    assert_int_equal(schema_compare(db, &same), SQLITE_OK);
    assert_true(same);
    assert_int_equal(schema_migrate(db), SQLITE_OK); /* nothing to migrate */
    assert_int_equal(schema_compare(db, &same), SQLITE_OK);
    assert_true(same);
    /* As version 1 was. */
    sqlite3_exec(db,
                 "DROP TABLE lease; DROP TABLE lock; DROP TABLE waiter; DROP TABLE special;"
                 "DROP TABLE part; DROP TABLE quota; DROP TABLE charged;"
                 "DROP TABLE history; DROP TABLE setting;"
                 "PRAGMA user_version = 1",
                 NULL, NULL, NULL);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_OLDER);
    assert_int_equal(schema_migrate(db), SQLITE_OK);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_CURRENT);
    assert_int_equal(schema_compare(db, &same), SQLITE_OK);
    assert_true(same);
    sqlite3_exec(db, "CREATE TABLE more(x)", NULL, NULL, NULL);
    assert_int_equal(schema_compare(db, &same), SQLITE_OK);
    assert_false(same);
    sqlite3_exec(db, "PRAGMA user_version = 1000", NULL, NULL, NULL);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_NEWER);
    sqlite3_exec(db, "PRAGMA application_id = 0", NULL, NULL, NULL);
    assert_int_equal(schema_probe(db, &schema), SQLITE_OK);
    assert_int_equal(schema, SCHEMA_FOREIGN);
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_indexes),
        cmocka_unit_test(test_schema_states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
