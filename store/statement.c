/* SPDX-License-Identifier: Apache-2.0 */
#include "store/statement.h"

#include "proto/limits.h"

/* The columns of these tables, in the order of their structs (store/row.h, store/state.h). */
#define INODE_COLUMNS(t)                                                                           \
    t "ino," t "mode," t "nlink," t "uid," t "gid," t "rdev," t "size," t "stored," t              \
      "xattr_bytes," t "atime," t "mtime," t "ctime," t "version," t "cversion," t "aversion," t   \
      "created," t "modified," t "children_modified," t "parent"

#define SESSION_COLUMNS "id, member, nonce, previous, last_seq, forgotten, used"

#define LOCK_COLUMNS "ino, kind, session, owner, first, last, exclusive, handle, pid"

#define SPECIAL_COLUMNS "ino, ephemeral, session, ttl, deadline, container, guard, sequence"

#define HISTORY_COLUMNS                                                                            \
    "number, idx, kind, ino, version, session, member, time, more, last_byte, path, new_path"

#define TTL(lease)    "coalesce(" lease ", " TEXT(LIMIT_SESSION_TTL_MS) ")"
#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number

/* The directories from ?1 downwards; the names in them; what an inode is charged (store/quota.h).
 */
#define BELOW                                                                                      \
    "WITH RECURSIVE below(ino) AS (SELECT ?1 UNION ALL SELECT d.ino FROM below b"                  \
    " CROSS JOIN dirent d ON d.parent = b.ino WHERE d.type = 16384) "
#define NAMES_BELOW "below b CROSS JOIN dirent d ON d.parent = b.ino"
#define COST        "i.stored + i.xattr_bytes + iif((i.mode & 61440) = 40960, i.size, 0)"

const char *const statement_sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN_READ] = "BEGIN",
    [STATEMENT_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",

    [STATEMENT_STATE_GET] = "SELECT applied, applied_term, next_ino, next_dirent, opened, inodes,"
                            " entries, bytes, meta_bytes, sum FROM state WHERE id = 1",
    [STATEMENT_STATE_PUT] = "UPDATE state SET applied = ?1, applied_term = ?2, next_ino = ?3,"
                            " next_dirent = ?4, opened = ?5, inodes = ?6, entries = ?7,"
                            " bytes = ?8, meta_bytes = ?9, sum = ?10 WHERE id = 1",
    [STATEMENT_CONFIG_GET] = "SELECT idx, data FROM config WHERE id = 1",
    [STATEMENT_CONFIG_PUT] = "UPDATE config SET idx = ?1, data = ?2 WHERE id = 1",
    [STATEMENT_LOCAL_GET] = "SELECT cluster, member, term, vote FROM local WHERE id = 1",
    [STATEMENT_LOCAL_PUT] = "INSERT INTO local(id, cluster, member, term, vote)"
                            " VALUES(1, ?1, ?2, ?3, ?4) ON CONFLICT(id) DO UPDATE SET"
                            " cluster = ?1, member = ?2, term = ?3, vote = ?4",

    [STATEMENT_LOG_RANGE] = "SELECT (SELECT min(idx) FROM log), (SELECT max(idx) FROM log)",
    [STATEMENT_LOG_GET] = "SELECT term, type, sum, data FROM log WHERE idx = ?1",
    [STATEMENT_LOG_INSERT] = "INSERT INTO log(idx, term, type, sum, data)"
                             " VALUES(?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_LOG_DELETE_FROM] = "DELETE FROM log WHERE idx >= ?1",
    [STATEMENT_LOG_DELETE_BELOW] = "DELETE FROM log WHERE idx < ?1",

    [STATEMENT_SESSION_ALL] = "SELECT " SESSION_COLUMNS ", " TTL(
        "ttl_ms") " FROM session LEFT JOIN lease ON lease.session = session.id ORDER BY id",
    [STATEMENT_SESSION_MEMBER] = "SELECT member FROM session WHERE id = ?1",
    [STATEMENT_SESSION_INSERT] = "INSERT INTO session(" SESSION_COLUMNS ")"
                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STATEMENT_SESSION_UPDATE] = "UPDATE session SET last_seq = ?2, forgotten = ?3, used = ?4"
                                 " WHERE id = ?1",
    [STATEMENT_SESSION_DELETE] = "DELETE FROM session WHERE id = ?1",

    [STATEMENT_REPLY_GET] = "SELECT data FROM reply WHERE session = ?1 AND seq = ?2",
    [STATEMENT_REPLY_INSERT] = "INSERT INTO reply(session, seq, data) VALUES(?1, ?2, ?3)",
    [STATEMENT_REPLY_UPTO] = "SELECT session, seq, data FROM reply"
                             " WHERE session = ?1 AND seq <= ?2",
    [STATEMENT_REPLY_DELETE_UPTO] = "DELETE FROM reply WHERE session = ?1 AND seq <= ?2",

    [STATEMENT_INODE_GET] = "SELECT " INODE_COLUMNS("") " FROM inode WHERE ino = ?1",
    [STATEMENT_INODE_INSERT] = "INSERT INTO inode(" INODE_COLUMNS(
        "") ") VALUES(?1, ?2, ?3, ?4,"
            " ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
            " ?19)",
    [STATEMENT_INODE_UPDATE] = "UPDATE inode SET mode = ?2, nlink = ?3, uid = ?4, gid = ?5,"
                               " rdev = ?6, size = ?7, stored = ?8, xattr_bytes = ?9, atime = ?10,"
                               " mtime = ?11, ctime = ?12, version = ?13, cversion = ?14,"
                               " aversion = ?15, created = ?16, modified = ?17,"
                               " children_modified = ?18, parent = ?19 WHERE ino = ?1",
    [STATEMENT_INODE_DELETE] = "DELETE FROM inode WHERE ino = ?1",

    [STATEMENT_SYMLINK_GET] = "SELECT target FROM symlink WHERE ino = ?1",
    [STATEMENT_SYMLINK_INSERT] = "INSERT INTO symlink(ino, target) VALUES(?1, ?2)",
    [STATEMENT_SYMLINK_DELETE] = "DELETE FROM symlink WHERE ino = ?1",

    [STATEMENT_ORPHAN_GET] = "SELECT unlinked FROM orphan WHERE ino = ?1",
    [STATEMENT_ORPHAN_ALL] =
        "SELECT ino, unlinked FROM orphan WHERE ino > ?2 ORDER BY ino LIMIT ?1",
    [STATEMENT_ORPHAN_INSERT] = "INSERT INTO orphan(ino, unlinked) VALUES(?1, ?2)",
    [STATEMENT_ORPHAN_DELETE] = "DELETE FROM orphan WHERE ino = ?1",

    [STATEMENT_DIRENT_GET] = "SELECT id, ino, type FROM dirent WHERE parent = ?1 AND name = ?2",
    [STATEMENT_DIRENT_OF_INODE] = "SELECT parent, name FROM dirent WHERE ino = ?1 LIMIT 1",
    [STATEMENT_DIRENT_FIRST] = "SELECT parent, name FROM dirent WHERE ino = ?1"
                               " ORDER BY parent, name LIMIT 1",
    [STATEMENT_DIRENTS_OF_INODE] = "SELECT parent, name FROM dirent WHERE ino = ?1",
    [STATEMENT_DIRENT_PARENTS] = "SELECT parent FROM dirent WHERE ino = ?1",
    [STATEMENT_DIRENT_INSERT] = "INSERT INTO dirent(parent, name, id, ino, type)"
                                " VALUES(?1, ?2, ?3, ?4, ?5)",
    [STATEMENT_DIRENT_SET] = "UPDATE dirent SET ino = ?3, type = ?4"
                             " WHERE parent = ?1 AND name = ?2",
    [STATEMENT_DIRENT_DELETE] = "DELETE FROM dirent WHERE parent = ?1 AND name = ?2",

    [STATEMENT_BLOCK_GET] = "SELECT sum, data FROM block WHERE id = ?1",
    [STATEMENT_BLOCK_META] = "SELECT sum, length(data) FROM block WHERE id = ?1",
    [STATEMENT_BLOCK_RANGE] = "SELECT id, sum, data FROM block WHERE id BETWEEN ?1 AND ?2"
                              " ORDER BY id",
    [STATEMENT_BLOCK_RANGE_META] = "SELECT id, sum, length(data) FROM block"
                                   " WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    [STATEMENT_BLOCK_INSERT] = "INSERT INTO block(id, sum, data) VALUES(?1, ?2, ?3)",
    [STATEMENT_BLOCK_UPDATE] = "UPDATE block SET sum = ?2, data = ?3 WHERE id = ?1",
    [STATEMENT_BLOCK_DELETE_RANGE] = "DELETE FROM block WHERE id BETWEEN ?1 AND ?2",

    [STATEMENT_STAGED_WRITE_COUNT] = "SELECT count(*) FROM part",
    [STATEMENT_STAGED_WRITE_LIST] = "SELECT id, stage, offset, sum, length(data) FROM part"
                                    " WHERE session = ?1 AND stage = ?2 ORDER BY id",
    [STATEMENT_STAGED_WRITE_GET] = "SELECT data FROM part WHERE id = ?1",
    [STATEMENT_STAGED_WRITE_INSERT] = "INSERT INTO part(id, session, stage, offset, sum, data)"
                                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [STATEMENT_STAGED_WRITE_DELETE] = "DELETE FROM part WHERE session = ?1 AND stage = ?2",
    [STATEMENT_STAGED_WRITE_OF_SESSION] = "SELECT stage FROM part WHERE session = ?1"
                                          " ORDER BY stage LIMIT 1",

    [STATEMENT_XATTR_GET] = "SELECT value FROM xattr WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_ALL] = "SELECT name, value FROM xattr WHERE ino = ?1 ORDER BY name",
    [STATEMENT_XATTR_INSERT] = "INSERT INTO xattr(ino, name, value) VALUES(?1, ?2, ?3)",
    [STATEMENT_XATTR_UPDATE] = "UPDATE xattr SET value = ?3 WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_DELETE] = "DELETE FROM xattr WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_DELETE_ALL] = "DELETE FROM xattr WHERE ino = ?1",

    [STATEMENT_LEASE_INSERT] = "INSERT INTO lease(session, ttl_ms) VALUES(?1, ?2)",
    [STATEMENT_LEASE_DELETE] = "DELETE FROM lease WHERE session = ?1",

    [STATEMENT_LOCK_ALL] = "SELECT " LOCK_COLUMNS ", fence FROM lock",
    [STATEMENT_LOCK_INSERT] = "INSERT INTO lock(" LOCK_COLUMNS ", fence)"
                              " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [STATEMENT_LOCK_DELETE] = "DELETE FROM lock WHERE ino = ?1 AND kind = ?2 AND session = ?3"
                              " AND owner = ?4 AND first = ?5",
    [STATEMENT_WAITER_ALL] = "SELECT " LOCK_COLUMNS ", id FROM waiter ORDER BY id",
    [STATEMENT_WAITER_INSERT] = "INSERT INTO waiter(" LOCK_COLUMNS ", id)"
                                " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [STATEMENT_WAITER_DELETE] = "DELETE FROM waiter WHERE id = ?1",

    [STATEMENT_SPECIAL_GET] = "SELECT " SPECIAL_COLUMNS " FROM special WHERE ino = ?1",
    [STATEMENT_SPECIAL_PUT] = "INSERT INTO special(" SPECIAL_COLUMNS ")"
                              " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(ino) DO UPDATE"
                              " SET ephemeral = ?2, session = ?3, ttl = ?4, deadline = ?5,"
                              " container = ?6, guard = ?7, sequence = ?8",
    [STATEMENT_SPECIAL_DELETE] = "DELETE FROM special WHERE ino = ?1",
    [STATEMENT_SPECIAL_COUNT] = "SELECT count(*), count(nullif(guard, 0)) FROM special",
    [STATEMENT_SPECIAL_SESSIONS] = "SELECT session, count(*) FROM special WHERE session <> 0"
                                   " GROUP BY session",
    [STATEMENT_SPECIAL_OF_SESSION] = "SELECT ino FROM special WHERE session = ?1 AND session <> 0"
                                     " ORDER BY ino LIMIT 1",
    [STATEMENT_SPECIAL_DUE] =
        "SELECT s.ino, iif((i.mode & 61440) = 16384, i.cversion, i.version) FROM special s"
        " CROSS JOIN inode i ON i.ino = s.ino WHERE s.deadline <> 0 AND s.deadline > 0"
        " AND s.deadline <= ?1 ORDER BY s.deadline, s.ino LIMIT ?2",
    [STATEMENT_SPECIAL_PENDING] = "SELECT ino FROM special WHERE deadline <> 0 AND deadline < 0"
                                  " ORDER BY deadline DESC, ino DESC LIMIT 1",
    [STATEMENT_SPECIAL_RUNNING] = "SELECT ino FROM special WHERE deadline <> 0 AND deadline > 0"
                                  " ORDER BY deadline LIMIT 1",

    [STATEMENT_QUOTAS] = "SELECT count(*) FROM quota",
    [STATEMENT_QUOTA_GET] = "SELECT dir, max_bytes, max_entries, bytes, entries FROM quota"
                            " WHERE dir = ?1",
    [STATEMENT_QUOTA_PUT] = "INSERT INTO quota(dir, max_bytes, max_entries, bytes, entries)"
                            " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(dir) DO UPDATE SET"
                            " max_bytes = ?2, max_entries = ?3, bytes = ?4, entries = ?5",
    [STATEMENT_QUOTA_DELETE] = "DELETE FROM quota WHERE dir = ?1",
    [STATEMENT_QUOTA_BOUND] = BELOW "SELECT count(*) FROM (SELECT 1 FROM " NAMES_BELOW
                                    " LIMIT 1 + " TEXT(LIMIT_QUOTA_COUNT) ")",
    [STATEMENT_QUOTA_FOREIGN] =
        BELOW "SELECT count(*) FROM (SELECT 1 FROM " NAMES_BELOW
              " CROSS JOIN inode i ON i.ino = d.ino WHERE d.type <> 16384 AND i.nlink > 1"
              " GROUP BY i.ino HAVING count(*) <> max(i.nlink) LIMIT 1)",
    [STATEMENT_QUOTA_COUNT] = BELOW "SELECT count(*), coalesce(sum(" COST "), 0) FROM inode i"
                                    " WHERE i.ino IN (SELECT d.ino FROM " NAMES_BELOW ")",
    [STATEMENT_QUOTA_ORPHANS] =
        BELOW "SELECT count(*), coalesce(sum(" COST "), 0) FROM below b"
              " CROSS JOIN charged c ON c.dir = b.ino CROSS JOIN inode i ON i.ino = c.ino",
    [STATEMENT_CHARGED_GET] = "SELECT dir FROM charged WHERE ino = ?1",
    [STATEMENT_CHARGED_OF_DIR] = "SELECT ino FROM charged WHERE dir = ?1 ORDER BY ino LIMIT 1",
    [STATEMENT_CHARGED_INSERT] = "INSERT INTO charged(ino, dir) VALUES(?1, ?2)",
    [STATEMENT_CHARGED_DELETE] = "DELETE FROM charged WHERE ino = ?1",

    [STATEMENT_HISTORY_RANGE] = "SELECT (SELECT min(number) FROM history), number, last_byte"
                                " FROM history WHERE number = (SELECT max(number) FROM history)",
    [STATEMENT_HISTORY_INSERT] = "INSERT INTO history(" HISTORY_COLUMNS ")"
                                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [STATEMENT_HISTORY_AFTER] = "SELECT " HISTORY_COLUMNS " FROM history WHERE number > ?1"
                                " ORDER BY number LIMIT ?2",
    [STATEMENT_HISTORY_DELETE_UPTO] = "DELETE FROM history WHERE number <= ?1",
    [STATEMENT_SETTING_GET] = "SELECT value FROM setting WHERE name = ?1",
    [STATEMENT_SETTING_PUT] = "INSERT INTO setting(name, value) VALUES(?1, ?2)"
                              " ON CONFLICT(name) DO UPDATE SET value = ?2",
    [STATEMENT_SETTING_DELETE] = "DELETE FROM setting WHERE name = ?1",

    [STATEMENT_SAVEPOINT] = "SAVEPOINT txn",
    [STATEMENT_ROLLBACK_TO] = "ROLLBACK TO txn",
    [STATEMENT_RELEASE] = "RELEASE txn",

    [STATEMENT_LOCK_CONFLICT] = "SELECT " LOCK_COLUMNS ", fence FROM lock WHERE ino = ?1"
                                " AND kind = ?2 AND first <= ?6 AND last >= ?5"
                                " AND NOT (session = ?3 AND owner = ?4) AND (exclusive OR ?7)"
                                " ORDER BY first, session, owner LIMIT 1",
    [STATEMENT_LOCK_FENCE] = "SELECT max(fence) FROM lock WHERE ino = ?1 AND session = ?2"
                             " HAVING count(*) > 0",
    [STATEMENT_LOCK_OWN] = "SELECT " LOCK_COLUMNS ", fence FROM lock WHERE ino = ?1 AND kind = ?2"
                           " AND session = ?3 AND owner = ?4 AND first <= ?6 AND last >= ?5"
                           " ORDER BY first",
    [STATEMENT_WAITER_GET] = "SELECT session FROM waiter WHERE id = ?1",
    [STATEMENT_LOCK_LIST] =
        "SELECT l.*, s.member FROM (SELECT " LOCK_COLUMNS
        ", fence AS number, 0 AS waits FROM lock UNION ALL SELECT " LOCK_COLUMNS
        ", id, 1 FROM waiter) l JOIN session s ON s.id = l.session ORDER BY l.ino, l.kind, l.waits,"
        " iif(l.waits, l.number, l.first), l.session, l.owner",
    [STATEMENT_SESSION_LIST] =
        "WITH held AS (SELECT session, count(*) AS n FROM lock GROUP BY session),"
        " waiting AS (SELECT session, count(*) AS n FROM waiter GROUP BY session),"
        " ephemeral AS (SELECT session, count(*) AS n FROM special WHERE session <> 0"
        " GROUP BY session)"
        " SELECT s.id, s.member, " TTL("ttl_ms") ", coalesce(held.n, 0), coalesce(waiting.n, 0),"
                                                 " coalesce(ephemeral.n, 0) FROM session s"
                                                 " LEFT JOIN lease ON lease.session = s.id"
                                                 " LEFT JOIN held ON held.session = s.id"
                                                 " LEFT JOIN waiting ON waiting.session = s.id"
                                                 " LEFT JOIN ephemeral ON ephemeral.session = s.id"
                                                 " ORDER BY s.id",

    [STATEMENT_LOOKUP] =
        "SELECT " INODE_COLUMNS("i.") " FROM dirent d CROSS JOIN inode i"
                                      " ON i.ino = d.ino WHERE d.parent = ?1 AND d.name = ?2",
    [STATEMENT_READDIR] = "SELECT id, ino, type, name FROM dirent INDEXED BY dirent_order"
                          " WHERE parent = ?1 AND id > ?2 ORDER BY id",
    [STATEMENT_READDIR_ATTRS] = "SELECT d.id, d.ino, d.type, d.name, " INODE_COLUMNS(
        "i.") " FROM dirent d INDEXED BY dirent_order CROSS JOIN inode i"
              " ON i.ino = d.ino WHERE d.parent = ?1 AND d.id > ?2"
              " ORDER BY d.id",
    [STATEMENT_USAGE] = "SELECT inodes, bytes FROM state WHERE id = 1",
    [STATEMENT_ROOM] =
        "WITH RECURSIVE up(dir) AS (SELECT coalesce((SELECT dir FROM charged WHERE ino = ?1),"
        " (SELECT parent FROM dirent WHERE ino = ?1 LIMIT 1)) UNION ALL SELECT i.parent FROM up u"
        " CROSS JOIN inode i ON i.ino = u.dir WHERE u.dir <> 1)"
        " SELECT bytes + meta_bytes, (SELECT min(max(q.max_bytes - q.bytes, 0)) FROM up u"
        " CROSS JOIN quota q ON q.dir = u.dir WHERE EXISTS (SELECT 1 FROM quota))"
        " FROM state WHERE id = 1",
};
