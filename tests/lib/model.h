/* SPDX-License-Identifier: Apache-2.0 */
/* A model of the replicated tree, to compare the store with: the same entries, applied to plain
 * arrays with linear searches and no disk. It was written from the contracts (store/store.h,
 * store/reader.h, proto/) and from POSIX, not from the store's code, so an agreement of both means
 * something.
 *
 * Tests and the generator may read its fields; only model_apply changes them. One thread. */
#ifndef TESTS_LIB_MODEL_H
#define TESTS_LIB_MODEL_H

#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/stamp.h"
#include "store/store.h"

#define MODEL_ROOT 1

struct model_xattr {
    struct buf name;
    struct buf value;
};

/* Content is stored in blocks, each up to the last byte that was written to it. The rest takes no
 * space. */
#define MODEL_BLOCK 16384

struct model_inode {
    Cfs__Attr attr;     /* without blocks, see model_attr */
    struct buf content; /* regular: the bytes up to content.len, zeros from there to attr.size;
                           symlink: the target */
    uint32_t reach[LIMIT_FILE_MAX / MODEL_BLOCK]; /* of each block, the bytes stored */
    uint64_t unlinked;                            /* raft index of the last unlink; orphans only */
    uint64_t charged; /* orphans: the directory whose quota is charged; 0: none */
    struct model_xattr *xattrs;
    size_t n_xattrs;
};

struct model_entry {
    uint64_t dir;
    uint64_t ino;
    uint64_t order;  /* 1, 2, 3 … in the sequence of insertions: the order of cookies */
    uint64_t cookie; /* the cookie that the store uses; 0: not seen yet (compare_tree) */
    struct buf name;
};

struct model_reply {
    uint32_t status;
    bool has_attr;
    Cfs__Attr attr;
    uint64_t value;
};

struct model_kept_reply {
    uint64_t seq;
    struct model_reply reply;
};

struct model_staged {
    uint64_t stage;
    uint64_t offset;
    struct buf data;
};

struct model_session {
    uint64_t id;
    uint64_t nonce;
    uint64_t member;
    uint64_t last_seq;
    uint64_t acked;    /* replies up to here are forgotten */
    uint64_t previous; /* the nonce of the session that this one superseded */
    uint64_t used;     /* raft index of the last command */
    struct model_kept_reply *replies;
    size_t n_replies;
    struct model_staged *staged; /* in the order of writing */
    size_t n_staged;
};

#define MODEL_QUOTA_NONE ((uint64_t)INT64_MAX)

struct model_quota {
    uint64_t dir;
    uint64_t max_bytes;
    uint64_t max_entries;
};

struct model_change {
    Cfs__Change__Kind kind;
    uint64_t ino;
    uint64_t session;
    uint64_t parent;
    struct buf name;
    uint64_t new_parent;
    struct buf new_name;
    uint64_t victim;
};

#define MODEL_CHANGES_MAX 4

struct model_result {
    enum store_outcome outcome;
    uint64_t session;
    uint64_t seq;
    uint64_t nonce;
    bool has_reply;
    struct model_reply reply;
    struct model_change changes[MODEL_CHANGES_MAX];
    size_t n_changes;
};

struct model {
    uint64_t applied;
    uint64_t next_ino;
    uint64_t next_order;
    bool opened;                 /* a session was opened before */
    struct model_inode **inodes; /* in order of ino */
    size_t n_inodes;
    struct model_entry **entries; /* in order of insertion */
    size_t n_entries;
    struct model_session **sessions;
    size_t n_sessions;
    struct model_quota *quotas;
    size_t n_quotas;
};

struct model *model_new(void); /* only the root directory */
void model_free(struct model *m);

/* Applies entry `index`, which must be applied + 1. check() fails if the bytes are not a command.
 * Release *out with model_result_fini. */
void model_apply(struct model *m, uint64_t index, const struct store_entry *entry,
                 struct model_result *out);
void model_result_fini(struct model_result *out);

/* ---- Reads ----------------------------------------------------------------------------------- */

/* NULL if there is none. */
struct model_inode *model_find(const struct model *m, uint64_t ino);
struct model_entry *model_find_entry(const struct model *m, uint64_t dir, const void *name,
                                     size_t len);
struct model_session *model_find_session(const struct model *m, uint64_t id);
struct model_xattr *model_find_xattr(const struct model_inode *inode, const void *name, size_t len);
const struct model_reply *model_find_reply(const struct model_session *s, uint64_t seq);

/* All attributes, also blocks. */
void model_attr(const struct model_inode *inode, Cfs__Attr *out);

/* Copies up to len bytes of a regular file's content at offset to out; returns their number. */
size_t model_read(const struct model_inode *inode, uint64_t offset, uint8_t *out, size_t len);

/* Returns the result of SEEK_DATA or SEEK_HOLE: an offset or -ENXIO. A block counts as stored up to
 * the end of the 4096-byte page of its last stored byte. */
int64_t model_seek(const struct model_inode *inode, uint64_t offset, bool hole);

/* Returns the entry of `dir` with the smallest order > after; NULL: none. */
struct model_entry *model_next_entry(const struct model *m, uint64_t dir, uint64_t after);

bool model_is_orphan(const struct model_inode *inode);
bool model_is_dir(const struct model_inode *inode);
uint64_t model_stored(const struct model_inode *inode); /* bytes of content */
uint64_t model_bytes(const struct model *m);            /* of all inodes, also orphans, and of
                                                         * staged writes */
/* Returns how many extents the session has staged there, and their *bytes. */
size_t model_staged(const struct model_session *s, uint64_t stage, uint64_t *bytes);
uint64_t model_meta_bytes(const struct model *m); /* of targets and xattrs */
uint64_t model_xattr_bytes(const struct model_inode *inode);

/* Finds the quota of the directory itself (or NULL). model_quota_usage counts its charge.
 */
struct model_quota *model_find_quota(const struct model *m, uint64_t dir);
void model_quota_usage(const struct model *m, uint64_t quota, uint64_t *bytes, uint64_t *entries);

/* ---- For model.c and model_op.c -------------------------------------------------------------- */

struct model_step { /* one command while it is applied */
    struct model *model;
    uint64_t index;
    uint64_t session;
    int64_t time_ns;
    struct model_result *result;
};

/* Runs a command: fills its reply, and adds the changes to step->result. */
void model_op_run(struct model_step *step, const Cfs__Command *command, struct model_reply *reply);

struct model_inode *model_add_inode(struct model *m, uint32_t mode);
void model_remove_inode(struct model *m, uint64_t ino);
/* order 0: after all others. */
void model_add_entry(struct model *m, uint64_t dir, const ProtobufCBinaryData *name, uint64_t ino,
                     uint64_t order);
void model_remove_entry(struct model *m, struct model_entry *entry);
void model_staged_fini(struct model_session *s);

#endif
