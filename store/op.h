/* SPDX-License-Identifier: Apache-2.0 */
/* One command while it is being applied: what the operations of store/tree.c and store/file.c work
 * on. Each returns the replicated status (0 or an errno, positive), validates everything before it
 * changes anything, fills the reply, and records what it changed. */
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
    struct history *history; /* where changes are noted */
    struct sessions *sessions;
    struct locktab *locks;
    uint64_t max_bytes;  /* of the tree, as stored, meta data included */
    uint64_t max_inodes; /* and directory entries */

    uint64_t index;   /* raft index of the command */
    uint64_t term;    /* of its entry */
    uint64_t session; /* that sent it; 0: none, the state machine itself is at work */
    int64_t now;      /* the command's time */
    bool unseen;      /* its changes are not known to the kernel of the host that sent it */
    bool closing;     /* the session ends with this command */

    Cfs__Reply reply;     /* status is set by the caller */
    Cfs__Attr attr;       /* reply.attr, when set */
    Cfs__Change *changes; /* these three: grown by op.c */
    size_t n_changes;
    struct store_grant *grants;
    size_t n_grants;
    struct store_ended *ended;
    size_t n_ended;
    struct op_memory *memory;
};

/* Memory that is valid as long as the result. */
void *op_alloc(struct op *op, size_t size);

/* Frees what an op has collected. */
void op_fini(struct op *op);

/* An inode that is to be changed: as it is in the database, and as it shall be. */
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
void op_inode_save(struct op *op, const struct op_inode *i); /* if it differs */
/* Deletes an inode and all that belongs to it, but no directory entry. */
void op_inode_delete(struct op *op, const struct op_inode *i);

/* Would `bytes` more fit into the tree? */
bool op_has_room(const struct op *op, uint64_t bytes);

void op_reply_attr(struct op *op, const struct inode *inode);
/* A new record of a change, valid until the next; the caller fills what its kind has. Names are
 * borrowed. */
Cfs__Change *op_change(struct op *op, Cfs__Change__Kind kind, uint64_t ino);
/* Attributes (kind ATTR) or xattrs (XATTR) of the inode were changed: sets ctime, raises aversion,
 * records the change. The caller saves the inode. */
void op_attr_changed(struct op *op, struct inode *inode, Cfs__Change__Kind kind);
/* The request `id` that waited holds this lock now. */
void op_grant(struct op *op, const struct lock_row *lock, uint64_t id);
void op_ended(struct op *op, const struct session *session);

/* What stat(2) shows of an inode. Pure. */
void op_fill_attr(const struct inode *inode, Cfs__Attr *out);

static inline struct bytes op_bytes(ProtobufCBinaryData data)
{
    return (struct bytes){data.data, data.len};
}

#endif
