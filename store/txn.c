/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * The steps are carried out one by one, each on the result of the steps before it. A step's path is
 * looked up component by component, as the kernel would do, with the permissions of the caller.
 * Then the step becomes an ordinary command (make, write, rename …), which makes its own checks.
 *
 * If a step fails, everything is undone. The database goes back to the savepoint that was set
 * before the first step. The counters and settings in memory are restored from a copy, the counts
 * of the sessions are computed anew, and the cached path of the history is dropped. Locks and
 * sessions need no copy, because no step changes them. */
#include "store/txn.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"
#include "store/access.h"
#include "store/content.h"
#include "store/history.h"
#include "store/lock.h"

struct txn {
    struct op *op;
    const Cfs__Txn *c;
    const Cfs__Cred *cred;
    uint32_t (*run)(struct op *op, const Cfs__Command *c);
    uint64_t hashed; /* bytes that were hashed so far */
};

/* ---- Paths ------------------------------------------------------------------------------------*/

/* The result of a path lookup. A directory that was reached without a name ("/", "..") has an empty
 * name. */
struct place {
    struct inode dir;
    ProtobufCBinaryData name;
    bool there;
    struct inode inode;
    uint64_t ino; /* 0: does not exist */
};

static uint32_t look(struct txn *t, const struct inode *dir, struct bytes name, struct place *out)
{
    struct dirent d;
    uint32_t status;

    if (!op_is_dir(dir))
        return op_type(dir) == S_IFLNK ? ELOOP : ENOTDIR;
    if ((status = access_check(t->op, t->cred, dir, ACCESS_EXEC)))
        return status;
    if (name.len > LIMIT_NAME_MAX)
        return ENAMETOOLONG;
    *out = (struct place){.dir = *dir};
    if (name.len == 0 || (name.len == 1 && name.data[0] == '.')) {
        out->inode = *dir;
    } else if (name.len == 2 && memcmp(name.data, "..", 2) == 0) {
        check(row_inode_find(t->op->rows, dir->parent, &out->inode));
    } else {
        out->name = (ProtobufCBinaryData){name.len, op_alloc(t->op, name.len)};
        memcpy(out->name.data, name.data, name.len);
        if (!row_dirent_find(t->op->rows, dir->ino, name, &d))
            return 0;
        check(row_inode_find(t->op->rows, d.ino, &out->inode));
    }
    out->there = true;
    out->ino = out->inode.ino;
    return 0;
}

static uint32_t find_start(struct txn *t, bool root, struct inode *out)
{
    if (!row_inode_find(t->op->rows, root ? ROW_ROOT_INO : t->c->dir, out))
        return ENOENT;
    return op_is_dir(out) ? 0 : ENOTDIR;
}

static uint32_t find_place(struct txn *t, ProtobufCBinaryData path, struct place *out)
{
    static const uint8_t none[1];
    const uint8_t *p = path.len > 0 ? path.data : none, *end = p + path.len;
    struct inode at;
    uint32_t status;

    if (path.len > LIMIT_TXN_PATH)
        return ENAMETOOLONG;
    if (path.len > 0 && memchr(path.data, '\0', path.len) != NULL)
        return EINVAL;
    if ((status = find_start(t, path.len > 0 && *p == '/', &at)) ||
        (status = look(t, &at, (struct bytes){NULL, 0}, out)))
        return status;
    while (p < end) {
        const uint8_t *slash = memchr(p, '/', (size_t)(end - p));
        size_t len = (size_t)((slash != NULL ? slash : end) - p);

        if (len > 0) {
            if (!out->there)
                return ENOENT;
            at = out->inode;
            if ((status = look(t, &at, (struct bytes){p, len}, out)))
                return status;
        }
        p += len + (slash != NULL ? 1 : 0);
    }
    if (path.len > 1 && end[-1] == '/' && out->there && !op_is_dir(&out->inode))
        return ENOTDIR;
    return 0;
}

static uint32_t find_there(struct txn *t, ProtobufCBinaryData path, struct place *out)
{
    uint32_t status = find_place(t, path, out);

    return status == 0 && !out->there ? ENOENT : status;
}

/* ---- Conditions -------------------------------------------------------------------------------*/

static uint32_t check_hash(struct txn *t, const struct inode *inode, uint64_t wanted)
{
    uint32_t status = access_check(t->op, t->cred, inode, ACCESS_READ);

    if (status != 0)
        return status;
    if (op_type(inode) != S_IFREG)
        return op_is_dir(inode) ? EISDIR : EINVAL;
    if (inode->size > LIMIT_TXN_HASHED - t->hashed)
        return E2BIG;
    t->hashed += inode->size;
    return content_xxh3(t->op->rows, inode) == wanted ? 0 : ECANCELED;
}

static uint32_t run_check(struct txn *t, const Cfs__TxnStep *s)
{
    const Cfs__TxnCheck *c = s->check;
    struct place at;
    uint32_t status = find_place(t, s->path, &at);

    if (c->kind == CFS__TXN_CHECK__KIND__ABSENT && (status == ENOENT || status == ENOTDIR))
        return 0;
    if (status != 0)
        return status;
    if (at.there)
        op_reply_attr(t->op, &at.inode);
    if (c->kind == CFS__TXN_CHECK__KIND__ABSENT)
        return at.there ? EEXIST : 0;
    if (!at.there)
        return ENOENT;
    switch (c->kind) {
    case CFS__TXN_CHECK__KIND__EXISTS:
        return 0;
    case CFS__TXN_CHECK__KIND__VERSION:
        return at.inode.version == c->version ? 0 : ECANCELED;
    case CFS__TXN_CHECK__KIND__CVERSION:
        return at.inode.cversion == c->version ? 0 : ECANCELED;
    case CFS__TXN_CHECK__KIND__AVERSION:
        return at.inode.aversion == c->version ? 0 : ECANCELED;
    case CFS__TXN_CHECK__KIND__HASH:
        return check_hash(t, &at.inode, c->xxh3);
    case CFS__TXN_CHECK__KIND__LOCKED:
        return lock_guards(t->op->locks, at.ino, t->op->session) ? 0 : EACCES;
    case CFS__TXN_CHECK__KIND__ABSENT:
    case _CFS__TXN_CHECK__KIND_IS_INT_SIZE:
    default:
        return EINVAL;
    }
}

/* ---- Operations -------------------------------------------------------------------------------*/

#define COMMAND(field, CASE, value)                                                                \
    (&(Cfs__Command){.base = PROTOBUF_C_MESSAGE_INIT(&cfs__command__descriptor),                   \
                     .op_case = CFS__COMMAND__OP_##CASE,                                           \
                     {.field = (value)}})

static uint32_t make(struct txn *t, const struct place *at, const Cfs__Make *c)
{
    uint32_t type = c->mode & S_IFMT;
    Cfs__Make make = *c;
    uint32_t status = access_check_entry(t->op, t->cred, &at->dir, NULL);

    if (status != 0)
        return status;
    make.parent = at->dir.ino;
    make.name = at->name;
    if (t->cred != NULL) {
        make.uid = t->cred->uid;
        make.gid = t->cred->gid;
        if ((type == S_IFCHR || type == S_IFBLK) && t->cred->uid != 0)
            return EPERM;
        if (type != S_IFDIR && (at->dir.mode & S_ISGID) != 0 &&
            !access_is_member(t->cred, at->dir.gid))
            /* the file would belong to a group that the caller is not in */
            make.mode &= ~(uint32_t)S_ISGID;
    }
    return t->run(t->op, COMMAND(make, MAKE, &make));
}

/* Finds the place of a new entry. A sequential name may end with a slash: then its prefix is empty.
 */
static uint32_t find_new(struct txn *t, ProtobufCBinaryData path, bool sequential,
                         struct place *out)
{
    bool bare = sequential && (path.len == 0 || path.data[path.len - 1] == '/');
    uint32_t status = find_place(t, path, out);

    if (status != 0)
        return status;
    if (bare) {
        if (!out->there)
            return ENOENT;
        if (!op_is_dir(&out->inode))
            return ENOTDIR;
        out->dir = out->inode;
        out->name = (ProtobufCBinaryData){0, NULL};
    } else if (out->name.len == 0) {
        return EEXIST; /* the path names a directory without a name of its own */
    }
    return 0;
}

static uint32_t run_make(struct txn *t, const Cfs__TxnStep *s)
{
    struct place at;
    uint32_t status = find_new(t, s->path, s->make->sequential, &at);

    return status != 0 ? status : make(t, &at, s->make);
}

static uint32_t put_data(struct txn *t, uint64_t ino, const Cfs__TxnPut *c, Cfs__Kill kill)
{
    Cfs__Write write = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};

    write.ino = ino;
    write.truncate = !c->append;
    write.append = c->append;
    write.kill = kill;
    write.extents = extents;
    write.n_extents = c->data.len > 0 ? 1 : 0;
    extent.data = c->data;
    return t->run(t->op, COMMAND(write, WRITE, &write));
}

static uint32_t put_new(struct txn *t, const struct place *at, const Cfs__TxnPut *c)
{
    ProtobufCBinaryData name;
    Cfs__Make new = CFS__MAKE__INIT;
    uint32_t status;

    if ((c->mode & ~07777u) != 0 || (c->umask & ~0777u) != 0)
        return EINVAL;
    new.mode = S_IFREG | c->mode;
    new.umask = c->umask;
    new.sequential = c->sequential;
    new.ephemeral = c->ephemeral;
    status = make(t, at, &new);
    if (status != 0 || c->data.len == 0)
        return status;
    name = t->op->reply.name;
    status = put_data(t, t->op->attr.ino, c, CFS__KILL__KILL_NONE);
    t->op->reply.name = name;
    return status;
}

static uint32_t run_put(struct txn *t, const Cfs__TxnStep *s)
{
    struct place at;
    uint32_t status = find_new(t, s->path, s->put->sequential, &at);

    if (status != 0)
        return status == EEXIST ? EISDIR : status;
    if (s->put->sequential || !at.there)
        return put_new(t, &at, s->put);
    if (op_type(&at.inode) == S_IFLNK)
        return ELOOP;
    if ((status = access_check(t->op, t->cred, &at.inode, ACCESS_WRITE)))
        return status;
    return put_data(t, at.ino, s->put, access_kill(t->cred, &at.inode));
}

static uint32_t run_remove(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__Unlink c = *s->remove;
    struct place at;
    uint32_t status = find_there(t, s->path, &at);

    if (status != 0)
        return status;
    if (at.name.len == 0)
        return EBUSY;
    if ((status = access_check_entry(t->op, t->cred, &at.dir, &at.inode)))
        return status;
    c.parent = at.dir.ino;
    c.name = at.name;
    return t->run(t->op, COMMAND(unlink, UNLINK, &c));
}

/* Moving a directory to another parent changes the directory itself: its "..". */
static uint32_t check_moved(struct txn *t, const struct place *from, const struct place *to)
{
    uint32_t status = access_check_entry(t->op, t->cred, &from->dir, &from->inode);

    if (status == 0 && from->dir.ino != to->dir.ino && op_is_dir(&from->inode))
        status = access_check(t->op, t->cred, &from->inode, ACCESS_WRITE);
    return status;
}

static uint32_t run_move(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__Rename c = CFS__RENAME__INIT;
    struct place from, to;
    uint32_t status;

    if ((status = find_there(t, s->path, &from)) || (status = find_place(t, s->move->to, &to)))
        return status;
    if (from.name.len == 0 || to.name.len == 0)
        return EBUSY;
    if ((status = check_moved(t, &from, &to)) ||
        (status = access_check_entry(t->op, t->cred, &to.dir, to.there ? &to.inode : NULL)))
        return status;
    if (s->move->mode == CFS__RENAME__MODE__EXCHANGE && to.there &&
        (status = check_moved(t, &to, &from)))
        return status;
    c.parent = from.dir.ino;
    c.name = from.name;
    c.new_parent = to.dir.ino;
    c.new_name = to.name;
    c.mode = s->move->mode;
    return t->run(t->op, COMMAND(rename, RENAME, &c));
}

static uint32_t run_link(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__Link c = CFS__LINK__INIT;
    struct place from, to;
    uint32_t status;

    if ((status = find_there(t, s->path, &from)) || (status = find_place(t, s->link->to, &to)))
        return status;
    if (to.name.len == 0)
        return EEXIST;
    if ((status = access_check_entry(t->op, t->cred, &to.dir, NULL)))
        return status;
    c.ino = from.ino;
    c.parent = to.dir.ino;
    c.name = to.name;
    return t->run(t->op, COMMAND(link, LINK, &c));
}

static uint32_t run_set_attr(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__SetAttr c = *s->set_attr;
    struct place at;
    uint32_t status;

    if ((status = find_there(t, s->path, &at)) ||
        (status = access_check_set_attr(t->op, t->cred, &at.inode, &c)))
        return status;
    c.ino = at.ino;
    return t->run(t->op, COMMAND(set_attr, SET_ATTR, &c));
}

static uint32_t run_set_xattr(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__SetXattr c = *s->set_xattr;
    struct place at;
    uint32_t status;

    if ((status = find_there(t, s->path, &at)) ||
        (status = access_check_xattr(t->op, t->cred, &at.inode, op_bytes(c.name))))
        return status;
    c.ino = at.ino;
    c.cred = t->c->cred;
    return t->run(t->op, COMMAND(set_xattr, SET_XATTR, &c));
}

static uint32_t run_remove_xattr(struct txn *t, const Cfs__TxnStep *s)
{
    Cfs__RemoveXattr c = *s->remove_xattr;
    struct place at;
    uint32_t status;

    if ((status = find_there(t, s->path, &at)) ||
        (status = access_check_xattr(t->op, t->cred, &at.inode, op_bytes(c.name))))
        return status;
    c.ino = at.ino;
    c.cred = t->c->cred;
    return t->run(t->op, COMMAND(remove_xattr, REMOVE_XATTR, &c));
}

static uint32_t (*const verbs[])(struct txn *t, const Cfs__TxnStep *s) = {
    [CFS__TXN_STEP__OP_CHECK] = run_check,
    [CFS__TXN_STEP__OP_MAKE] = run_make,
    [CFS__TXN_STEP__OP_PUT] = run_put,
    [CFS__TXN_STEP__OP_REMOVE] = run_remove,
    [CFS__TXN_STEP__OP_MOVE] = run_move,
    [CFS__TXN_STEP__OP_LINK] = run_link,
    [CFS__TXN_STEP__OP_SET_ATTR] = run_set_attr,
    [CFS__TXN_STEP__OP_SET_XATTR] = run_set_xattr,
    [CFS__TXN_STEP__OP_REMOVE_XATTR] = run_remove_xattr,
};

/* ---- The whole --------------------------------------------------------------------------------*/

static bool is_well_formed(const Cfs__Txn *c)
{
    if (c->n_steps == 0 || c->n_steps > LIMIT_TXN_STEPS ||
        (c->cred != NULL && c->cred->n_groups > LIMIT_TXN_GROUPS))
        return false;
    for (size_t i = 0; i < c->n_steps; i++)
        if (c->steps[i]->op_case == CFS__TXN_STEP__OP__NOT_SET)
            return false;
    return true;
}

static Cfs__StepReply *step_reply(struct op *op, uint32_t status)
{
    Cfs__StepReply *reply = op_alloc(op, sizeof *reply);

    cfs__step_reply__init(reply);
    reply->status = status;
    if (op->reply.attr != NULL) {
        reply->attr = op_alloc(op, sizeof *reply->attr);
        *reply->attr = *op->reply.attr;
    }
    reply->name = op->reply.name;
    return reply;
}

static uint32_t run_steps(struct txn *t, Cfs__StepReply **replies, size_t *n)
{
    uint32_t status = 0;

    for (*n = 0; *n < t->c->n_steps && status == 0; (*n)++) {
        const Cfs__TxnStep *step = t->c->steps[*n];

        cfs__reply__init(&t->op->reply);
        status = verbs[step->op_case](t, step);
        replies[*n] = step_reply(t->op, status);
    }
    return status;
}

static void execute(struct op *op, enum statement which)
{
    db_run(op->rows->db, db_get(op->rows->db, which));
}

static void undo(struct op *op, const struct state *before)
{
#ifndef BREAK_ROLLBACK
    execute(op, STATEMENT_ROLLBACK_TO);
#endif
    *op->rows->state = *before;
    sessions_recount(op->sessions);
    op->n_changes = 0;
    history_forget(op->history);
}

uint32_t txn_run(struct op *op, const Cfs__Txn *c,
                 uint32_t (*run)(struct op *op, const Cfs__Command *c))
{
    struct txn t = {.op = op, .c = c, .cred = c->cred, .run = run};
    struct state before = *op->rows->state;
    Cfs__StepReply **replies;
    uint32_t status;
    size_t n;

    if (!is_well_formed(c))
        return EINVAL;
    replies = op_alloc(op, c->n_steps * sizeof *replies);
    op->unseen = true;
    execute(op, STATEMENT_SAVEPOINT);
    status = run_steps(&t, replies, &n);
    if (status != 0)
        undo(op, &before);
    execute(op, STATEMENT_RELEASE);
    cfs__reply__init(&op->reply);
    op->reply.steps = replies;
    op->reply.n_steps = n;
    op->reply.value = status != 0 ? n : 0;
    return status;
}
