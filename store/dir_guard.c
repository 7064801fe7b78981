/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * The counter state.guards makes the usual case free: if no directory has a guard, nothing is
 * looked up. Otherwise the check goes from the directory of the change up to the root and asks at
 * each guarded directory whether the session holds the lock (lock_guards). For a change of an inode
 * it does so from the directory of each of its names. The way up is bounded by LIMIT_GUARD_DEPTH. A
 * longer one is refused. */
#include "store/dir_guard.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/lock.h"
#include "store/special.h"

/* ---- Checks -----------------------------------------------------------------------------------*/

/* Checks whether the session may change the entries of the directory. */
static uint32_t check_dir(struct op *op, uint64_t dir)
{
    struct special special;
    struct inode inode;

    for (unsigned depth = 0; depth < LIMIT_GUARD_DEPTH; depth++) {
        if (!row_inode_find(op->rows, dir, &inode) || !op_is_dir(&inode))
            return 0; /* the operation itself reports the missing directory */
        if (special_find(op, dir, &special) && special.guard != 0 &&
            !lock_guards(op->locks, special.guard, op->session))
            return EACCES;
        if (dir == ROW_ROOT_INO)
            return 0;
        dir = inode.parent;
    }
    return EACCES;
}

/* Checks whether the session may change the inode, under any of its names. */
static uint32_t check_inode(struct op *op, uint64_t ino)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_DIRENT_PARENTS);
    uint64_t last = 0;
    uint32_t status = 0;

    db_bind(st, 1, ino);
    while (status == 0 && db_step(op->rows->db, st) > 0) {
        uint64_t parent = db_u64(st, 0);

        if (parent != last) /* several names of a file are often in one directory */
            status = check_dir(op, parent);
        last = parent;
    }
    db_reset(st);
    return status;
}

static uint32_t check_rename(struct op *op, const Cfs__Rename *c)
{
    uint32_t status = check_dir(op, c->parent);

    return status != 0 ? status : check_dir(op, c->new_parent);
}

static uint32_t check_link(struct op *op, const Cfs__Link *c)
{
    uint32_t status = check_dir(op, c->parent);

    return status != 0 ? status : check_inode(op, c->ino);
}

/* The switch has no default, so that the compiler asks about guards when a command is added. */
uint32_t dir_guard_check(struct op *op, const Cfs__Command *c)
{
    if (op->rows->state->guards == 0)
        return 0;
    switch (c->op_case) {
    case CFS__COMMAND__OP_MAKE:
        return check_dir(op, c->make->parent);
    case CFS__COMMAND__OP_LINK:
        return check_link(op, c->link);
    case CFS__COMMAND__OP_UNLINK:
        return check_dir(op, c->unlink->parent);
    case CFS__COMMAND__OP_RENAME:
        return check_rename(op, c->rename);
    case CFS__COMMAND__OP_SET_ATTR:
        return check_inode(op, c->set_attr->ino);
    case CFS__COMMAND__OP_WRITE:
        return check_inode(op, c->write->ino);
    case CFS__COMMAND__OP_SET_XATTR:
        return check_inode(op, c->set_xattr->ino);
    case CFS__COMMAND__OP_REMOVE_XATTR:
        return check_inode(op, c->remove_xattr->ino);
    case CFS__COMMAND__OP_FALLOCATE:
        return check_inode(op, c->fallocate->ino);
    case CFS__COMMAND__OP_COPY:
        return check_inode(op, c->copy->dst);
    case CFS__COMMAND__OP_STAGE:
        return check_inode(op, c->stage->ino);
    case CFS__COMMAND__OP_UNSTAGE:
    case CFS__COMMAND__OP_NOOP:
    case CFS__COMMAND__OP_OPEN_SESSION:
    case CFS__COMMAND__OP_CLOSE_SESSION:
    case CFS__COMMAND__OP_EXPIRE_SESSION:
    case CFS__COMMAND__OP_LOCK:
    case CFS__COMMAND__OP_UNLOCK:
    case CFS__COMMAND__OP_RELEASE_HANDLE:
    case CFS__COMMAND__OP_CANCEL_LOCK:
    case CFS__COMMAND__OP_REAP:
    case CFS__COMMAND__OP_RELEASE_EPHEMERAL:
    case CFS__COMMAND__OP_EXPIRE_ENTRIES:
    case CFS__COMMAND__OP_TXN:
    case CFS__COMMAND__OP__NOT_SET:
    case _CFS__COMMAND__OP__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

/* ---- The lock file ----------------------------------------------------------------------------*/

static bool step(struct op *op, struct inode *at, struct bytes name)
{
    struct dirent d;

    if (!op_is_dir(at))
        return false;
    if (name.len == 1 && name.data[0] == '.')
        return true;
    if (name.len == 2 && memcmp(name.data, "..", 2) == 0)
        return row_inode_find(op->rows, at->parent, at);
    return row_dirent_find(op->rows, at->ino, name, &d) && row_inode_find(op->rows, d.ino, at);
}

uint32_t dir_guard_find_lock(struct op *op, const struct inode *dir, struct bytes path,
                             uint64_t *out)
{
    const uint8_t *p = path.data, *end;
    struct inode at = *dir;

    if (path.len == 0 || path.len > LIMIT_TXN_PATH || path.data[path.len - 1] == '/')
        return EINVAL;
    end = path.data + path.len;
    if (*p == '/')
        check(row_inode_find(op->rows, ROW_ROOT_INO, &at));
    while (p < end) {
        const uint8_t *slash = memchr(p, '/', (size_t)(end - p));
        size_t len = (size_t)((slash != NULL ? slash : end) - p);

        if (len > 0 && !step(op, &at, (struct bytes){p, len}))
            return EINVAL;
        p += len + (slash != NULL ? 1 : 0);
    }
    if (op_type(&at) != S_IFREG)
        return EINVAL;
    *out = at.ino;
    return 0;
}
