/* SPDX-License-Identifier: Apache-2.0 */
/* The replicated tables, row by row. Each function keeps the sum of hashes and the counters in
 * struct state, so nothing else may write these tables. Writer's thread. Nothing here fails,
 * because the writer's connection dies instead. Nothing here is validated: callers have done that.
 */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "store/state.h"

#define ROW_ROOT_INO 1

/* In the order of the columns, all of 64 bits. Times: nanoseconds since the epoch, signed. */
struct inode {
    uint64_t ino;
    uint64_t mode; /* type and permissions */
    uint64_t nlink;
    uint64_t uid;
    uint64_t gid;
    uint64_t rdev;
    uint64_t size;        /* directories: number of entries; symlinks: bytes of the target */
    uint64_t stored;      /* bytes of content in blocks */
    uint64_t xattr_bytes; /* bytes of names and values */
    int64_t atime;
    int64_t mtime;
    int64_t ctime;
    uint64_t version;
    uint64_t cversion;
    uint64_t aversion;
    uint64_t created;
    uint64_t modified;
    uint64_t children_modified;
    uint64_t parent; /* of a directory; else 0 */
};

#define INODE_N (sizeof(struct inode) / sizeof(uint64_t))

struct dirent {
    uint64_t id; /* the readdir cookie */
    uint64_t ino;
    uint64_t type; /* S_IFMT bits */
};

struct bytes { /* borrowed */
    const uint8_t *data;
    size_t len;
};

struct rows {
    struct db *db;
    struct state *state;
};

/* ---- inode ---- */
bool row_inode_find(struct rows *r, uint64_t ino, struct inode *out);
void row_inode_insert(struct rows *r, const struct inode *inode);
void row_inode_update(struct rows *r, const struct inode *was, const struct inode *is);
void row_inode_delete(struct rows *r, const struct inode *was);

/* ---- symlink ---- */
void row_symlink_insert(struct rows *r, uint64_t ino, struct bytes target);
void row_symlink_delete(struct rows *r, uint64_t ino);

/* ---- orphan ---- */
bool row_orphan_find(struct rows *r, uint64_t ino, uint64_t *unlinked);
void row_orphan_insert(struct rows *r, uint64_t ino, uint64_t unlinked);
void row_orphan_delete(struct rows *r, uint64_t ino, uint64_t unlinked);

/* ---- dirent ---- */
bool row_dirent_find(struct rows *r, uint64_t parent, struct bytes name, struct dirent *out);
void row_dirent_insert(struct rows *r, uint64_t parent, struct bytes name, const struct dirent *d);
/* Puts another inode under the same name and cookie. */
void row_dirent_set(struct rows *r, uint64_t parent, struct bytes name, const struct dirent *was,
                    const struct dirent *is);
void row_dirent_delete(struct rows *r, uint64_t parent, struct bytes name,
                       const struct dirent *was);

/* ---- block: what is in it is store/content.c's ---- */
struct block {
    uint64_t id;
    struct store_hash sum; /* hash_bytes of the data */
    uint64_t len;
};
bool row_block_find(struct rows *r, uint64_t id, struct block *out);
void row_block_insert(struct rows *r, uint64_t id, struct bytes data, struct block *is);
void row_block_update(struct rows *r, const struct block *was, struct bytes data, struct block *is);
/* Returns the number of bytes in the deleted blocks. */
uint64_t row_block_delete_range(struct rows *r, uint64_t first, uint64_t last);

/* ---- xattr: the bytes stored are counted by the caller in its inode ---- */
/* gives `value` */
bool row_xattr_find(struct rows *r, uint64_t ino, struct bytes name, struct buf *value);
void row_xattr_insert(struct rows *r, uint64_t ino, struct bytes name, struct bytes value);
void row_xattr_update(struct rows *r, uint64_t ino, struct bytes name, struct bytes was,
                      struct bytes is);
void row_xattr_delete(struct rows *r, uint64_t ino, struct bytes name, struct bytes was);
void row_xattr_delete_all(struct rows *r, uint64_t ino);

/* ---- reply ---- */
/* gives `out` */
bool row_reply_find(struct rows *r, uint64_t session, uint64_t seq, struct buf *out);
void row_reply_insert(struct rows *r, uint64_t session, uint64_t seq, struct bytes data);
void row_reply_delete_upto(struct rows *r, uint64_t session, uint64_t seq);

/* ---- Hashes of rows, and rows out of statements: also for readers and checks ---- */
void row_inode_read(sqlite3_stmt *st, int column, struct inode *out);
struct store_hash row_inode_hash(const struct inode *inode);
struct store_hash row_symlink_hash(uint64_t ino, struct bytes target);
struct store_hash row_orphan_hash(uint64_t ino, uint64_t unlinked);
struct store_hash row_dirent_hash(uint64_t parent, struct bytes name, const struct dirent *d);
struct store_hash row_block_hash(const struct block *b);
struct store_hash row_xattr_hash(uint64_t ino, struct bytes name, struct bytes value);
struct store_hash row_reply_hash(uint64_t session, uint64_t seq, struct bytes data);

struct bytes row_bytes(sqlite3_stmt *st, int column); /* valid until the next step */

#endif
