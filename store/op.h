/* SPDX-License-Identifier: Apache-2.0 */
/* One command while it is applied: the context of the operations in store/tree.c, store/file.c and
 * others. Each operation returns a status (0 or a positive errno, the same on every member),
 * validates everything before it changes anything, fills the reply, and records its changes.
 * Writer's thread. */
#ifndef STORE_OP_H
#define STORE_OP_H

#include <errno.h>
#include <sys/stat.h>

#include "store/locktab.h"
#include "store/row.h"
#include "store/session.h"

struct history;

struct op {
    struct rows *rows;
    struct history *history; /* notes the changes */
    struct sessions *sessions;
    struct locktab *locks;
    uint64_t max_bytes;  /* limit of the tree: stored bytes and metadata */
    uint64_t max_inodes; /* limit of the tree: inodes, and directory entries */

    uint64_t index;   /* raft index of the log entry */
    uint64_t term;    /* raft term of the log entry */
    uint64_t session; /* of the sender; 0: the state machine acts by itself */
    int64_t now;      /* the time in the command's stamp, ns since the epoch */
    bool unseen;      /* the kernel of the sender's host does not know of these changes */
    bool closing;     /* the session ends with this command */

    Cfs__Reply reply;     /* the caller sets its status */
    Cfs__Attr attr;       /* reply.attr points here */
    Cfs__Change *changes; /* op.c grows these three arrays */
    size_t n_changes;
    struct store_grant *grants;
    size_t n_grants;
    struct store_ended *ended;
    size_t n_ended;
    struct op_memory *memory;
};

/* Allocates zeroed memory that op_fini frees. */
void *op_alloc(struct op *op, size_t size);

/* Frees everything that the op has collected. */
void op_fini(struct op *op);

/* An inode that an operation changes: as it was in the database, and as it will be. */
struct op_inode {
    struct inode was;
    struct inode is;
};

static inline uint32_t op_type(const struct inode *inode)
{
    return (uint32_t)inode->mode & S_IFMT;
}

static inline bool op_is_dir(const struct inode *inode)
{
    return op_type(inode) == S_IFDIR;
}

/* 0 if the inode is a regular file, else EISDIR or EINVAL. */
static inline uint32_t op_check_regular(const struct inode *inode)
{
    if (op_is_dir(inode))
        return EISDIR;
    return op_type(inode) == S_IFREG ? 0 : EINVAL;
}

bool op_inode_find(struct op *op, uint64_t ino, struct op_inode *out);
/* writes the row if i->is differs from i->was */
void op_inode_save(struct op *op, const struct op_inode *i);
/* Deletes an inode and everything that belongs to it, except directory entries. */
void op_inode_delete(struct op *op, const struct op_inode *i);

/* True if the tree has room for `bytes` more. */
bool op_has_room(const struct op *op, uint64_t bytes);

void op_reply_attr(struct op *op, const struct inode *inode);
/* Adds a record of a change, which is valid until the next one is added. The caller fills the
 * fields that the kind has. Names are borrowed. */
Cfs__Change *op_change(struct op *op, Cfs__Change__Kind kind, uint64_t ino);
/* Attributes (kind ATTR) or xattrs (XATTR) of the inode were changed: sets ctime, raises aversion,
 * records the change. The caller saves the inode. */
void op_attr_changed(struct op *op, struct inode *inode, Cfs__Change__Kind kind);
/* Records that the waiting request `id` was granted: it is this lock now. */
void op_grant(struct op *op, const struct lock_row *lock, uint64_t id);
void op_ended(struct op *op, const struct session *session);

/* Fills in what stat(2) shows of an inode. Pure. */
void op_fill_attr(const struct inode *inode, Cfs__Attr *out);

static inline struct bytes op_bytes(ProtobufCBinaryData data)
{
    return (struct bytes){data.data, data.len};
}

#endif
