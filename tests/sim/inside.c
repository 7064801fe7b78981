/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/inside.h"

#include "store/internal.h"

void inside_abandon(struct store *s)
{
    if (s->in_transaction) {
        s->in_transaction = false;
        pthread_mutex_unlock(&s->writer);
    }
    if (!inside_is_open(s))
        return;
    sqlite3_db_config(s->db.conn, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    s->db.fatal = false;
    store_close(s);
}

bool inside_is_open(const struct store *s)
{
    return s->db.conn != NULL;
}

uint64_t inside_count_replies(struct store *s)
{
    sqlite3_stmt *st = NULL;
    uint64_t n = 0;

    check(sqlite3_prepare_v2(s->db.conn, "SELECT count(*) FROM reply", -1, &st, NULL) == SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW)
        n = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}
