#include "store/statement.h"

/* The columns of these tables in the order of their structs (store/row.h, store/state.h). */
#define INODE_COLUMNS(t)                                                                           \
    t "ino," t "mode," t "nlink," t "uid," t "gid," t "rdev," t "size," t "stored," t              \
      "xattr_bytes," t "atime," t "mtime," t "ctime," t "version," t "cversion," t "aversion," t   \
      "created," t "modified," t "children_modified," t "parent"

#define SESSION_COLUMNS "id, member, nonce, previous, last_seq, forgotten, used"

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

    [STATEMENT_SESSION_ALL] = "SELECT " SESSION_COLUMNS " FROM session ORDER BY id",
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

    [STATEMENT_XATTR_GET] = "SELECT value FROM xattr WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_ALL] = "SELECT name, value FROM xattr WHERE ino = ?1 ORDER BY name",
    [STATEMENT_XATTR_INSERT] = "INSERT INTO xattr(ino, name, value) VALUES(?1, ?2, ?3)",
    [STATEMENT_XATTR_UPDATE] = "UPDATE xattr SET value = ?3 WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_DELETE] = "DELETE FROM xattr WHERE ino = ?1 AND name = ?2",
    [STATEMENT_XATTR_DELETE_ALL] = "DELETE FROM xattr WHERE ino = ?1",

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
};
