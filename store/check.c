/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A check opens the database on its own read-only connection. check_file reads everything, in one
 * transaction. check_snapshot is for a received snapshot: it checks the file, the schema, the
 * counters, the sum of the hashes, and that there is neither a log nor an owner. A check stops at
 * the first violation and reports the number of the invariant. Most invariants are SQL queries that
 * find the violating rows (the table `queries`). The others need code: sums of hashes (S20, with
 * the checksums of S13), conflicts of locks (S42), ACLs (S22), lengths of lines of the history
 * (S60), and the log (S19). */
#include "store/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "store/acl.h"
#include "store/content.h"
#include "store/history.h"
#include "store/lock.h"
#include "store/quota.h"
#include "store/raftlog.h"
#include "store/schema.h"
#include "store/session.h"
#include "store/special.h"
#include "store/staged_write.h"

#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number

struct check {
    struct db db;
    struct state state;
    char *why;
    size_t why_len;
};

BASE_PRINTF(3, 4)
static bool violated(struct check *c, const char *invariant, const char *fmt, ...)
{
    char text[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    snprintf(c->why, c->why_len, "%s: %s", invariant, text);
    return false;
}

/* If SQLite cannot answer, the check fails like a violation. */
static bool failed(struct check *c, const char *invariant)
{
    return violated(c, invariant, "%s", sqlite3_errmsg(c->db.conn));
}

/* ---- Invariants that are queries: no row, or what is wrong ------------------------------------*/

#define NAMES_OF "(SELECT count(*) FROM dirent d WHERE d.ino = i.ino)"

#define MALFORMED_LOCK                                                                             \
    "s.id IS NULL OR i.ino IS NULL OR (i.mode & 61440) <> 32768 OR kind NOT IN (0, 1)"             \
    " OR exclusive NOT IN (0, 1) OR first < 0 OR last < first OR (kind = 0 AND"                    \
    " (first <> 0 OR last <> 9223372036854775807 OR l.owner <> l.handle))"

static const struct {
    const char *invariant;
    const char *sql;
} queries[] =
    {
        {"S3", "SELECT 'the configuration has index ' || idx || ', applied is ' || applied"
               " FROM config, state WHERE idx > applied OR idx < 0"},
        {"S4", "SELECT 'inode number ' || ino FROM inode, state WHERE ino < 1 OR ino >= next_ino"},
        {"S4",
         "SELECT 'cookie ' || d.id FROM dirent d, state WHERE d.id < 1 OR d.id >= next_dirent"},
        {"S4", "SELECT 'cookie ' || id || ' is used twice' FROM dirent GROUP BY id"
               " HAVING count(*) > 1"},
        {"S5",
         "SELECT 'inodes: ' || inodes FROM state WHERE inodes <> (SELECT count(*) FROM inode)"},
        {"S5", "SELECT 'entries: ' || entries FROM state"
               " WHERE entries <> (SELECT count(*) FROM dirent)"},
        {"S5", "SELECT 'bytes: ' || bytes FROM state"
               " WHERE bytes <> (SELECT coalesce(sum(length(data)), 0) FROM block)"
               " + (SELECT coalesce(sum(length(data)), 0) FROM part)"},
        {"S5", "SELECT 'metadata bytes: ' || meta_bytes FROM state WHERE meta_bytes <>"
               " (SELECT coalesce(sum(length(name) + length(value)), 0) FROM xattr) +"
               " (SELECT coalesce(sum(length(target)), 0) FROM symlink)"},
        {"S6", "SELECT 'the root is missing or malformed' WHERE NOT EXISTS"
               " (SELECT 1 FROM inode WHERE ino = 1 AND (mode & 61440) = 16384 AND parent = 1)"
               " OR EXISTS (SELECT 1 FROM dirent WHERE ino = 1)"},
        {"S7",
         "SELECT 'a malformed name in inode ' || parent FROM dirent WHERE"
         " length(name) < 1 OR length(name) > " TEXT(
             LIMIT_NAME_MAX) " OR instr(name, x'2f') > 0 OR instr(name, x'00') > 0 OR name IN "
                             "(x'2e', x'2e2e')"},
        {"S7", "SELECT 'an entry in ' || d.parent || ', which is not a directory' FROM dirent d"
               " LEFT JOIN inode i ON i.ino = d.parent"
               " WHERE i.ino IS NULL OR (i.mode & 61440) <> 16384"},
        {"S7", "SELECT 'an entry in ' || d.parent || ' for ' || d.ino || ' of another type'"
               " FROM dirent d LEFT JOIN inode i ON i.ino = d.ino"
               " WHERE i.ino IS NULL OR (i.mode & 61440) <> d.type"},
        {"S8", "SELECT 'directory ' || i.ino || ' has ' || " NAMES_OF " || ' names' FROM inode i"
               " WHERE (mode & 61440) = 16384 AND ino <> 1 AND nlink > 0 AND " NAMES_OF " <> 1"},
        {"S8",
         "SELECT 'directory ' || i.ino || ' is not in its parent' FROM inode i"
         " JOIN dirent d ON d.ino = i.ino WHERE (mode & 61440) = 16384 AND d.parent <> i.parent"},
        {"S8", "SELECT 'inode ' || ino || ' has a parent' FROM inode"
               " WHERE (mode & 61440) <> 16384 AND parent <> 0"},
        {"S9",
         "WITH RECURSIVE reached(ino) AS (SELECT 1 UNION SELECT d.ino FROM reached r"
         " JOIN dirent d ON d.parent = r.ino WHERE d.type = 16384)"
         " SELECT 'directory ' || ino || ' cannot be reached' FROM inode"
         " WHERE (mode & 61440) = 16384 AND nlink > 0 AND ino NOT IN (SELECT ino FROM reached)"},
        {"S10", "SELECT 'inode ' || i.ino || ' has nlink ' || i.nlink FROM inode i"
                " WHERE (mode & 61440) <> 16384 AND nlink <> " NAMES_OF},
        {"S10", "SELECT 'directory ' || i.ino || ' has nlink ' || i.nlink FROM inode i"
                " WHERE (mode & 61440) = 16384 AND (nlink > 0 OR size > 0) AND nlink <> 2 +"
                " (SELECT count(*) FROM dirent d WHERE d.parent = i.ino AND d.type = 16384)"},
        {"S11", "SELECT 'directory ' || i.ino || ' has size ' || i.size FROM inode i"
                " WHERE (mode & 61440) = 16384 AND"
                " size <> (SELECT count(*) FROM dirent d WHERE d.parent = i.ino)"},
        {"S11", "SELECT 'inode ' || i.ino || ' has size ' || i.size FROM inode i"
                " LEFT JOIN symlink s ON s.ino = i.ino WHERE CASE mode & 61440 WHEN 16384 THEN 0"
                " WHEN 40960 THEN size IS NOT length(s.target)"
                " WHEN 32768 THEN size < 0 OR size > 64 << 20 ELSE size <> 0 END"},
        {"S12", "SELECT 'inode ' || i.ino || ' has nlink ' || nlink || ', unlinked ' ||"
                " coalesce(o.unlinked, 'never') FROM inode i LEFT JOIN orphan o ON o.ino = i.ino"
                " WHERE (nlink = 0) <> (o.ino IS NOT NULL)"},
        {"S12", "SELECT 'orphan ' || o.ino FROM orphan o, state LEFT JOIN inode i ON i.ino = o.ino"
                " WHERE i.ino IS NULL OR o.unlinked < 1 OR o.unlinked > applied"},
        {"S13", "SELECT 'block ' || (b.id & 1048575) || ' of inode ' || (b.id >> 20) FROM block b"
                " LEFT JOIN inode i ON i.ino = b.id >> 20 WHERE i.ino IS NULL"
                " OR (i.mode & 61440) <> 32768 OR length(b.data) < 1 OR length(b.data) > 16384"
                " OR (b.id & 1048575) * 16384 + length(b.data) > i.size"},
        {"S14", "SELECT 'inode ' || i.ino || ' has ' || i.stored || ' bytes stored' FROM inode i"
                " WHERE stored <> (SELECT coalesce(sum(length(data)), 0) FROM block"
                " WHERE id BETWEEN i.ino << 20 AND (i.ino << 20) + 1048575)"},
        {"S15", "SELECT 'inode ' || i.ino FROM inode i LEFT JOIN symlink s ON s.ino = i.ino"
                " WHERE ((mode & 61440) = 40960) <> (s.ino IS NOT NULL)"},
        {"S15",
         "SELECT 'the target of ' || s.ino FROM symlink s LEFT JOIN inode i ON i.ino = s.ino"
         " WHERE i.ino IS NULL OR length(target) NOT BETWEEN 1 AND " TEXT(LIMIT_SYMLINK_MAX)},
        {"S16", "SELECT 'an xattr of ' || x.ino FROM xattr x LEFT JOIN inode i ON i.ino = x.ino"
                " WHERE i.ino IS NULL OR length(name) NOT BETWEEN 1 AND " TEXT(
                    LIMIT_XATTR_NAME) " OR instr(name, x'00') > 0 OR length(value) > 64 << 10"},
        {"S16",
         "SELECT 'inode ' || i.ino || ' has ' || xattr_bytes || ' bytes of xattrs' FROM inode i"
         " WHERE xattr_bytes > 1 << 20 OR xattr_bytes <>"
         " (SELECT coalesce(sum(length(name) + length(value)), 0)"
         " FROM xattr x WHERE x.ino = i.ino)"},
        {"S17", "SELECT 'inode ' || ino || ', mode ' || mode FROM inode, state WHERE mode < 0"
                " OR (mode >> 12) NOT IN (1, 2, 4, 6, 8, 10, 12)"
                " OR created < 0 OR created > applied OR modified < 0 OR modified > applied"
                " OR children_modified < 0 OR children_modified > applied"},
        {"S18", "SELECT 'session ' || s.id FROM session s, state WHERE s.id < 1 OR s.id > s.used"
                " OR s.used > applied OR s.forgotten < 0 OR s.forgotten > s.last_seq"
                " OR s.last_seq - s.forgotten > " TEXT(LIMIT_SESSION_WINDOW)},
        {"S18", "SELECT 'member ' || member || ' has ' || count(*) || ' sessions' FROM session"
                " GROUP BY member HAVING count(*) > 1"},
        {"S18", "SELECT count(*) || ' sessions' FROM session"
                " HAVING count(*) > " TEXT(LIMIT_SESSIONS_MAX)},
        {"S18", "SELECT 'a reply of session ' || r.session || ', number ' || r.seq FROM reply r"
                " LEFT JOIN session s ON s.id = r.session"
                " WHERE s.id IS NULL OR r.seq <= s.forgotten OR r.seq > s.last_seq"},
        {"S18", "SELECT 'session ' || s.id || ' lacks replies' FROM session s"
                " WHERE s.last_seq - s.forgotten <>"
                " (SELECT count(*) FROM reply r WHERE r.session = s.id)"},
        {"S40", "SELECT 'the lease of ' || l.session FROM lease l LEFT JOIN session s"
                " ON s.id = l.session WHERE s.id IS NULL OR ttl_ms = " TEXT(LIMIT_SESSION_TTL_MS) " OR ttl_ms NOT BETWEEN " TEXT(
                    LIMIT_SESSION_TTL_MIN) " AND " TEXT(LIMIT_SESSION_TTL_MAX)},
        {"S41",
         "SELECT 'a lock of inode ' || l.ino || ', of session ' || l.session FROM lock l, state"
         " LEFT JOIN session s ON s.id = l.session LEFT JOIN inode i ON i.ino = l.ino"
         " WHERE fence < 1 OR fence > applied OR " MALFORMED_LOCK},
        {"S41",
         "SELECT 'request ' || l.id || ' for inode ' || l.ino || ', of session ' || l.session"
         " FROM waiter l, state LEFT JOIN session s ON s.id = l.session"
         " LEFT JOIN inode i ON i.ino = l.ino"
         " WHERE l.id < 1 OR l.id > applied OR " MALFORMED_LOCK},
        {"S43",
         "SELECT 'the special properties of inode ' || p.ino FROM special p, state"
         " LEFT JOIN session s ON s.id = p.session LEFT JOIN inode i ON i.ino = p.ino"
         " WHERE i.ino IS NULL OR i.nlink < 1 OR (p.session <> 0 AND s.id IS NULL)"
         " OR p.ephemeral NOT IN (0, 1, 2) OR (p.session <> 0 AND p.ephemeral = 0) OR p.ttl < 0"
         " OR p.ttl > " TEXT(LIMIT_TTL_MAX) " OR p.container NOT IN (0, 1) OR p.guard < 0"
                                            " OR p.guard >= next_ino OR (p.ephemeral = 0 AND p.ttl "
                                            "= 0 AND p.container = 0"
                                            " AND p.guard = 0 AND p.sequence = 0)"},
        {"S43", "SELECT 'inode ' || p.ino || ' cannot have its special properties' FROM special p"
                " JOIN inode i ON i.ino = p.ino WHERE CASE WHEN (i.mode & 61440) = 16384 THEN"
                " (p.deadline <> 0) <> (p.ttl <> 0 AND i.size = 0)"
                " OR (p.ino = 1 AND (p.ephemeral <> 0 OR p.ttl <> 0 OR p.container <> 0))"
                " ELSE (p.deadline <> 0) <> (p.ttl <> 0) OR i.nlink <> 1 OR p.container <> 0"
                " OR p.guard <> 0 OR p.sequence <> 0 OR (p.ephemeral <> 0 AND p.session = 0) END"},
        {"S44", "SELECT 'session ' || session || ' has ' || count(*) || ' ephemeral entries'"
                " FROM special WHERE session <> 0 GROUP BY session"
                " HAVING count(*) > " TEXT(LIMIT_EPHEMERALS)},
        {"S50", "SELECT 'staged write ' || p.id || ' of session ' || p.session FROM part p, state"
                " LEFT JOIN session s ON s.id = p.session WHERE s.id IS NULL OR p.stage = 0"
                " OR p.id < 0 OR p.id >> 12 > applied OR length(p.data) < 1 OR p.offset < 0"
                " OR p.offset + length(p.data) > 64 << 20"},
        {"S50", "SELECT 'stage ' || stage || ' of session ' || session FROM part"
                " GROUP BY session, stage HAVING sum(length(data)) > 65 << 20"
                " OR count(*) > " TEXT(LIMIT_STAGE_EXTENTS)},
        {"S51", "SELECT 'the quota of ' || q.dir FROM quota q LEFT JOIN inode i ON i.ino = q.dir"
                " WHERE i.ino IS NULL OR (i.mode & 61440) <> 16384 OR max_bytes < 0"
                " OR max_entries < 0 OR min(max_bytes, max_entries) = 9223372036854775807"},
        {"S51", "SELECT 'inode ' || c.ino || ' is charged to ' || c.dir FROM charged c"
                " LEFT JOIN orphan o ON o.ino = c.ino LEFT JOIN quota q ON q.dir = c.dir"
                " WHERE o.ino IS NULL OR q.dir IS NULL"},
        {"S52", "WITH RECURSIVE below(quota, ino) AS (SELECT dir, dir FROM quota UNION ALL"
                " SELECT b.quota, d.ino FROM below b CROSS JOIN dirent d ON d.parent = b.ino"
                " WHERE d.type = 16384), charges(quota, ino) AS (SELECT b.quota, d.ino FROM below b"
                " CROSS JOIN dirent d ON d.parent = b.ino UNION SELECT b.quota, c.ino FROM below b"
                " CROSS JOIN charged c ON c.dir = b.ino), used AS (SELECT c.quota, count(*) AS n,"
                " sum(i.stored + i.xattr_bytes + iif((i.mode & 61440) = 40960, i.size, 0)) AS bytes"
                " FROM charges c CROSS JOIN inode i ON i.ino = c.ino GROUP BY c.quota)"
                " SELECT 'directory ' || q.dir || ' has ' || q.bytes || ' bytes, ' || q.entries ||"
                " ' entries charged' FROM quota q LEFT JOIN used u ON u.quota = q.dir"
                " WHERE q.bytes <> coalesce(u.bytes, 0) OR q.entries <> coalesce(u.n, 0)"},
        {"S53", "WITH RECURSIVE dirs(ino, quota) AS (SELECT 1, (SELECT count(*) FROM quota"
                " WHERE dir = 1) WHERE EXISTS (SELECT 1 FROM quota) UNION ALL SELECT d.ino,"
                " coalesce((SELECT dir FROM quota q WHERE q.dir = d.ino), s.quota) FROM dirs s"
                " CROSS JOIN dirent d ON d.parent = s.ino WHERE d.type = 16384)"
                " SELECT 'file ' || d.ino || ' has names below different quotas' FROM dirs s"
                " CROSS JOIN dirent d ON d.parent = s.ino WHERE d.type <> 16384"
                " GROUP BY d.ino HAVING min(s.quota) <> max(s.quota)"},
        {"S60", "SELECT 'change ' || number FROM history, state WHERE number < 1 OR idx < 1"
                " OR idx > applied OR kind NOT BETWEEN 1 AND 9 OR more < 0"},
        {"S60", "SELECT count(*) || ' changes' FROM history"
                " HAVING count(*) <> max(number) - min(number) + 1"},
        {"S60", "SELECT 'changes ' || a.number || ' and the next one' FROM history a"
                " LEFT JOIN history b ON b.number = a.number + 1 WHERE b.idx < a.idx"
                " OR (a.more > 0) IS NOT (b.idx IS a.idx)"
                " OR (a.more > 0 AND b.more <> a.more - 1)"},
        {"S61",
         "SELECT 'setting ' || name || ' is ' || value FROM setting WHERE CASE name"
         " WHEN 'history' THEN value NOT BETWEEN 1 AND " TEXT(
             LIMIT_HISTORY_MAX) " OR value = " TEXT(LIMIT_HISTORY) " WHEN 'clock' THEN value < 1"
                                                                   " ELSE 1 END"},
        {"S62", "SELECT 'the root has an entry with the name of the control directory' FROM dirent "
                "WHERE parent = 1"
                " AND name = CAST('" LIMIT_CONTROL_NAME "' AS BLOB)"},
};

static bool run_query(struct check *c, const char *invariant, const char *sql)
{
    sqlite3_stmt *st = NULL;
    bool good = true;
    int rc = sqlite3_prepare_v2(c->db.conn, sql, -1, &st, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        good = violated(c, invariant, "%s", (const char *)sqlite3_column_text(st, 0));
    else if (rc != SQLITE_DONE)
        good = failed(c, invariant);
    sqlite3_finalize(st);
    return good;
}

static bool check_queries(struct check *c)
{
    for (size_t i = 0; i < ARRAY_LEN(queries); i++)
        if (!run_query(c, queries[i].invariant, queries[i].sql))
            return false;
    return true;
}

/* ---- S20, and the checksums of S13 ------------------------------------------------------------*/

static bool hash_session(sqlite3_stmt *st, struct store_hash *out)
{
    struct session session;

    session_read(st, &session);
    *out = session_hash(&session);
    return true;
}

static bool hash_reply(sqlite3_stmt *st, struct store_hash *out)
{
    *out = row_reply_hash(db_u64(st, 0), db_u64(st, 1), row_bytes(st, 2));
    return true;
}

static bool hash_inode(sqlite3_stmt *st, struct store_hash *out)
{
    struct inode inode;

    row_inode_read(st, 0, &inode);
    *out = row_inode_hash(&inode);
    return true;
}

static bool hash_symlink(sqlite3_stmt *st, struct store_hash *out)
{
    *out = row_symlink_hash(db_u64(st, 0), row_bytes(st, 1));
    return true;
}

static bool hash_orphan(sqlite3_stmt *st, struct store_hash *out)
{
    *out = row_orphan_hash(db_u64(st, 0), db_u64(st, 1));
    return true;
}

static bool hash_dirent(sqlite3_stmt *st, struct store_hash *out)
{
    struct dirent d = {db_u64(st, 2), db_u64(st, 3), db_u64(st, 4)};

    *out = row_dirent_hash(db_u64(st, 0), row_bytes(st, 1), &d);
    return true;
}

static bool hash_block(sqlite3_stmt *st, struct store_hash *out)
{
    struct bytes sum = row_bytes(st, 1), data = row_bytes(st, 2);
    struct block b = {db_u64(st, 0), hash_bytes(data.data, data.len), data.len};

    *out = row_block_hash(&b);
    return sum.len == HASH_SIZE && hash_equal(hash_decode(sum.data), b.sum);
}

static bool hash_xattr(sqlite3_stmt *st, struct store_hash *out)
{
    *out = row_xattr_hash(db_u64(st, 0), row_bytes(st, 1), row_bytes(st, 2));
    return true;
}

static bool hash_staged_write(sqlite3_stmt *st, struct store_hash *out)
{
    struct bytes sum = row_bytes(st, 4), data = row_bytes(st, 5);
    struct staged_write staged = {
        .id = db_u64(st, 0),
        .stage = db_u64(st, 2),
        .offset = db_u64(st, 3),
        .sum = hash_bytes(data.data, data.len),
        .len = data.len,
    };

    *out = staged_write_hash(db_u64(st, 1), &staged);
    return sum.len == HASH_SIZE && hash_equal(hash_decode(sum.data), staged.sum);
}

static bool hash_quota(sqlite3_stmt *st, struct store_hash *out)
{
    struct quota quota;

    quota_read(st, 0, &quota);
    *out = quota_hash(&quota);
    return true;
}

static bool hash_charged(sqlite3_stmt *st, struct store_hash *out)
{
    *out = quota_charged_hash(db_u64(st, 0), db_u64(st, 1));
    return true;
}

static bool hash_lease(sqlite3_stmt *st, struct store_hash *out)
{
    *out = session_lease_hash(db_u64(st, 0), db_u64(st, 1));
    return true;
}

static bool hash_lock(sqlite3_stmt *st, struct store_hash *out)
{
    struct lock_row row;

    locktab_read(st, &row);
    *out = locktab_row_hash(&row, false);
    return true;
}

static bool hash_waiter(sqlite3_stmt *st, struct store_hash *out)
{
    struct lock_row row;

    locktab_read(st, &row);
    *out = locktab_row_hash(&row, true);
    return true;
}

static bool hash_special(sqlite3_stmt *st, struct store_hash *out)
{
    struct special special;

    special_read(st, 0, &special);
    *out = special_hash(&special);
    return true;
}

static bool hash_history(sqlite3_stmt *st, struct store_hash *out)
{
    struct feed_change change;

    history_read(st, &change);
    *out = history_hash(&change);
    return true;
}

static bool hash_setting(sqlite3_stmt *st, struct store_hash *out)
{
    *out = history_setting_hash(row_bytes(st, 0), db_u64(st, 1));
    return true;
}

/* Each query returns the columns of a table in the order of their declaration. */
static const struct {
    const char *sql;
    bool (*hash)(sqlite3_stmt *st, struct store_hash *out); /* false: a bad checksum */
} hashed[] = {
    {"SELECT * FROM session", hash_session},   {"SELECT * FROM reply", hash_reply},
    {"SELECT * FROM inode", hash_inode},       {"SELECT * FROM symlink", hash_symlink},
    {"SELECT * FROM orphan", hash_orphan},     {"SELECT * FROM dirent NOT INDEXED", hash_dirent},
    {"SELECT * FROM block", hash_block},       {"SELECT * FROM xattr", hash_xattr},
    {"SELECT * FROM lease", hash_lease},       {"SELECT * FROM lock", hash_lock},
    {"SELECT * FROM waiter", hash_waiter},     {"SELECT * FROM special", hash_special},
    {"SELECT * FROM part", hash_staged_write}, {"SELECT * FROM quota", hash_quota},
    {"SELECT * FROM charged", hash_charged},   {"SELECT * FROM history", hash_history},
    {"SELECT * FROM setting", hash_setting},
};

static bool wrong_checksum(struct check *c, size_t table, uint64_t id)
{
    if (hashed[table].hash == hash_staged_write)
        return violated(c, "S50", "staged write %llu has a wrong checksum", (unsigned long long)id);
    return violated(c, "S13", "block %llu of inode %llu has a wrong checksum",
                    (unsigned long long)(id & ((1u << CONTENT_INDEX_BITS) - 1)),
                    (unsigned long long)(id >> CONTENT_INDEX_BITS));
}

static bool add_hashes(struct check *c, size_t table, struct store_hash *sum)
{
    sqlite3_stmt *st = NULL;
    bool good = true;
    int rc = sqlite3_prepare_v2(c->db.conn, hashed[table].sql, -1, &st, NULL);

    while (good && rc != SQLITE_DONE) {
        struct store_hash h;

        if (rc == SQLITE_OK || rc == SQLITE_ROW)
            rc = sqlite3_step(st);
        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW)
            good = failed(c, "S20");
        else if (!hashed[table].hash(st, &h))
            good = wrong_checksum(c, table, db_u64(st, 0));
        else
            hash_add(sum, h);
    }
    sqlite3_finalize(st);
    return good;
}

static bool check_hash(struct check *c)
{
    struct store_hash sum = {0, 0};

    for (size_t i = 0; i < ARRAY_LEN(hashed); i++)
        if (!add_hashes(c, i, &sum))
            return false;
    if (!hash_equal(sum, c->state.rows))
        return violated(
            c, "S20", "the rows have hash %016llx%016llx, the stored hash is %016llx%016llx",
            (unsigned long long)sum.high, (unsigned long long)sum.low,
            (unsigned long long)c->state.rows.high, (unsigned long long)c->state.rows.low);
    return true;
}

/* ---- S42 --------------------------------------------------------------------------------------*/

static bool check_locks(struct check *c)
{
    struct rows rows = {&c->db, &c->state};
    struct locktab locks;
    char text[200];
    bool good;

    locktab_load(&locks, &rows);
    good = lock_check(&locks, text, sizeof text) || violated(c, "S42", "%s", text);
    locktab_fini(&locks);
    return good;
}

/* ---- S22 --------------------------------------------------------------------------------------*/

static bool check_acl(struct check *c, sqlite3_stmt *st)
{
    struct inode inode;
    struct bytes name = row_bytes(st, 0), acl = row_bytes(st, 1);
    bool is_access = name.len == strlen(ACL_ACCESS), more = true;

    row_inode_read(st, 2, &inode);
    if (acl.len <= 4 || acl_check(acl) != 0)
        return violated(c, "S22", "inode %llu has a malformed ACL", (unsigned long long)inode.ino);
    if (op_type(&inode) == S_IFLNK || (!is_access && !op_is_dir(&inode)))
        return violated(c, "S22", "inode %llu must not have an ACL", (unsigned long long)inode.ino);
    if (is_access && (acl_mode(acl, inode.mode, &more) != inode.mode || !more))
        return violated(c, "S22", "the ACL and the mode of inode %llu disagree",
                        (unsigned long long)inode.ino);
    return true;
}

static bool check_acls(struct check *c)
{
    sqlite3_stmt *st = NULL;
    bool good = true;
    int rc = sqlite3_prepare_v2(c->db.conn,
                                "SELECT x.name, x.value, i.* FROM inode i JOIN xattr x"
                                " ON x.ino = i.ino AND x.name IN"
                                " (CAST('" ACL_ACCESS "' AS BLOB), CAST('" ACL_DEFAULT "' AS BLOB))"
                                " WHERE i.xattr_bytes > 0",
                                -1, &st, NULL);

    if (rc != SQLITE_OK)
        return failed(c, "S22");
    while (good && (rc = sqlite3_step(st)) == SQLITE_ROW)
        good = check_acl(c, st);
    if (good && rc != SQLITE_DONE)
        good = failed(c, "S22");
    sqlite3_finalize(st);
    return good;
}

/* ---- S60: the lengths of lines ----------------------------------------------------------------*/

static bool check_lines(struct check *c)
{
    sqlite3_stmt *st = NULL;
    struct buf line = BUF_EMPTY;
    uint64_t end = 0;
    bool good = true, first = true;
    int rc = sqlite3_prepare_v2(c->db.conn, "SELECT * FROM history ORDER BY number", -1, &st, NULL);

    if (rc != SQLITE_OK)
        return failed(c, "S60");
    while (good && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct feed_change change;

        history_read(st, &change);
        line.len = 0;
        feed_json(&line, &change);
        if (!first && change.end - end != line.len)
            good = violated(c, "S60", "the line of change %llu does not have the counted length",
                            (unsigned long long)change.number);
        end = change.end;
        first = false;
    }
    if (good && rc != SQLITE_DONE)
        good = failed(c, "S60");
    sqlite3_finalize(st);
    buf_fini(&line);
    return good;
}

/* ---- S19 --------------------------------------------------------------------------------------*/

struct log_walk {
    uint64_t next; /* the expected index; 0: any */
    uint64_t term; /* of the last row */
};

static bool check_log_row(struct check *c, sqlite3_stmt *st, struct log_walk *walk)
{
    uint64_t index = db_u64(st, 0), term = db_u64(st, 1), type = db_u64(st, 2);
    struct bytes data = row_bytes(st, 4);

    if (walk->next != 0 && index != walk->next)
        return violated(c, "S19", "the log goes from %llu to %llu",
                        (unsigned long long)walk->next - 1, (unsigned long long)index);
    if (term < walk->term || type < STORE_COMMAND || type > STORE_CHANGE)
        return violated(c, "S19", "log row %llu has term %llu and type %llu",
                        (unsigned long long)index, (unsigned long long)term,
                        (unsigned long long)type);
    if (db_u64(st, 3) != raftlog_sum(index, term, type, data.data, data.len))
        return violated(c, "S19", "log row %llu has a wrong checksum", (unsigned long long)index);
    if (index == c->state.n.applied && term != c->state.n.applied_term)
        return violated(c, "S19", "the applied entry has another term in the log");
    walk->next = index + 1;
    walk->term = term;
    return true;
}

static bool check_log_rows(struct check *c)
{
    sqlite3_stmt *st = NULL;
    struct log_walk walk = {0, 0};
    bool good = true;
    int rc = sqlite3_prepare_v2(c->db.conn,
                                "SELECT idx, term, type, sum, data FROM log"
                                " ORDER BY idx",
                                -1, &st, NULL);

    if (rc != SQLITE_OK)
        return failed(c, "S19");
    while (good && (rc = sqlite3_step(st)) == SQLITE_ROW)
        good = check_log_row(c, st, &walk);
    if (good && rc != SQLITE_DONE)
        good = failed(c, "S19");
    sqlite3_finalize(st);
    return good;
}

static bool check_log(struct check *c, bool must_have_owner)
{
    struct raftlog log;
    int row = raftlog_load(&log, &c->db, c->state.n.applied);
    uint64_t member = log.identity.member;

    raftlog_fini(&log);
    if (row < 0)
        return failed(c, "S19");
    if (member == 0 && must_have_owner)
        return violated(c, "S19", "the database has no owner");
    if (member == 0)
        return run_query(c, "S19", "SELECT 'a snapshot must not have a log' FROM log LIMIT 1");
    if (row == 0)
        return violated(c, "S19", "the log does not reach the applied index");
    return check_log_rows(c);
}

/* ---- The whole --------------------------------------------------------------------------------*/

static bool check_structure(struct check *c, const char *pragma)
{
    sqlite3_stmt *st = NULL;
    bool good = false;
    int rc = sqlite3_prepare_v2(c->db.conn, pragma, -1, &st, NULL);

    if (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(st, 0);

        good = text != NULL && strcmp(text, "ok") == 0;
        if (!good)
            violated(c, "S1", "%s", text != NULL ? text : "no answer");
    } else {
        failed(c, "S1");
    }
    sqlite3_finalize(st);
    return good;
}

static bool check_schema(struct check *c)
{
    enum schema_state schema = SCHEMA_FOREIGN;
    bool same = false;
    int rc = schema_probe(c->db.conn, &schema);

    if (rc == SQLITE_OK && schema == SCHEMA_CURRENT)
        rc = schema_compare(c->db.conn, &same);
    if (rc != SQLITE_OK)
        return failed(c, "S2");
    return same ? true : violated(c, "S2", "the tables are not those of this version");
}

static bool check_state(struct check *c)
{
    int row = state_load(&c->db, &c->state);

    if (row < 0)
        return failed(c, "S3");
    return row > 0 ? true : violated(c, "S3", "the counters are missing");
}

static bool open_check(struct check *c, const char *path, char *why, size_t why_len)
{
    char errmsg[256];

    memset(c, 0, sizeof *c);
    c->why = why;
    c->why_len = why_len;
    if (db_open(&c->db, path, DB_VERIFY, errmsg, sizeof errmsg) != 0)
        return violated(c, "S1", "%s", errmsg);
    return true;
}

bool check_file(const char *path, bool must_have_owner, struct store_hash *hash, char *why,
                size_t why_len)
{
    struct check c;
    bool good;

    if (!open_check(&c, path, why, why_len))
        return false;
    /* One read transaction for all queries. */
    good = db_run(&c.db, db_get(&c.db, STATEMENT_BEGIN_READ)) == 0 || failed(&c, "S1");
    good = good && check_schema(&c) && check_structure(&c, "PRAGMA integrity_check(1)") &&
           check_state(&c) && check_queries(&c) && check_acls(&c) && check_locks(&c) &&
           check_lines(&c) && check_hash(&c) && check_log(&c, must_have_owner);
    if (good)
        *hash = state_hash(&c.state);
    state_fini(&c.state);
    db_abandon(&c.db);
    return good;
}

static int cancelled(void *arg)
{
    atomic_bool *cancel = arg;

    return atomic_load(cancel) ? 1 : 0;
}

bool check_snapshot(const char *path, atomic_bool *cancel, struct state *state, char *why,
                    size_t why_len)
{
    struct check c;
    bool good;

    if (!open_check(&c, path, why, why_len))
        return false;
    sqlite3_progress_handler(c.db.conn, 10000, cancelled, cancel);
    good = check_schema(&c) && check_structure(&c, "PRAGMA quick_check(1)") && check_state(&c) &&
           run_query(&c, queries[0].invariant, queries[0].sql) && check_hash(&c) &&
           run_query(&c, "S19", "SELECT 'a snapshot must not have a log' FROM log LIMIT 1") &&
           run_query(&c, "S19", "SELECT 'a snapshot must not have an owner' FROM local LIMIT 1");
    if (good)
        *state = c.state;
    else
        state_fini(&c.state);
    db_abandon(&c.db);
    return good;
}
