/* What each command does to the model's tree. Each operation first looks whether it is allowed, in
 * the order in which Linux would find what is wrong, and only then changes anything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/model.h"

/* ---- Finding -----------------------------------------------------------------------------------
 */

static int name_status(const ProtobufCBinaryData *name)
{
    if (name->len == 0)
        return EINVAL;
    if (name->len > LIMIT_NAME_MAX)
        return ENAMETOOLONG;
    if (name->data[0] == '.' && (name->len == 1 || (name->len == 2 && name->data[1] == '.')))
        return EINVAL;
    if (memchr(name->data, '/', name->len) != NULL || memchr(name->data, 0, name->len) != NULL)
        return EINVAL;
    return 0;
}

/* A directory and a name in it: the place that a command speaks of. */
struct place {
    struct model_inode *dir;
    const ProtobufCBinaryData *name;
    struct model_entry *entry; /* NULL: the name is free */
    struct model_inode *inode; /* the entry's */
};

static int find_place(const struct model *m, uint64_t parent, const ProtobufCBinaryData *name,
                      struct place *out)
{
    int status = name_status(name);

    *out = (struct place){.dir = model_find(m, parent), .name = name};
    if (status != 0)
        return status;
    if (out->dir == NULL)
        return ENOENT;
    if (!model_is_dir(out->dir))
        return ENOTDIR;
    out->entry = model_find_entry(m, parent, name->data, name->len);
    out->inode = out->entry != NULL ? model_find(m, out->entry->ino) : NULL;
    return 0;
}

static bool is_empty(const struct model *m, const struct model_inode *dir)
{
    return model_next_entry(m, dir->attr.ino, 0) == NULL;
}

/* Is dir `top` itself, or somewhere below it? */
static bool is_within(const struct model *m, const struct model_inode *dir, uint64_t top)
{
    while (dir->attr.ino != top) {
        if (dir->attr.ino == MODEL_ROOT)
            return false;
        dir = model_find(m, dir->attr.parent);
    }
    return true;
}

/* ---- Marks -------------------------------------------------------------------------------------
 */

static void mark_ctime(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.ctime_ns = s->time_ns;
}

static void mark_data(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.mtime_ns = s->time_ns;
    inode->attr.ctime_ns = s->time_ns;
    inode->attr.version++;
    inode->attr.modified = s->index;
}

static void mark_attributes(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.ctime_ns = s->time_ns;
    inode->attr.aversion++;
}

static void mark_children(const struct model_step *s, struct model_inode *dir)
{
    dir->attr.mtime_ns = s->time_ns;
    dir->attr.ctime_ns = s->time_ns;
    dir->attr.cversion++;
    dir->attr.children_modified = s->index;
}

static struct model_change *add_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino)
{
    struct model_change *c = &s->result->changes[s->result->n_changes++];

    check(s->result->n_changes <= MODEL_CHANGES_MAX);
    *c = (struct model_change){.kind = kind, .ino = ino};
    return c;
}

static void add_place_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino,
                             const struct place *at)
{
    struct model_change *c = add_change(s, kind, ino);

    c->parent = at->dir->attr.ino;
    c->name = buf_copy(at->name->data, at->name->len);
}

static void set_attr(struct model_reply *reply, const struct model_inode *inode)
{
    reply->has_attr = true;
    model_attr(inode, &reply->attr);
}

/* ---- Entries come and go -----------------------------------------------------------------------
 */

static void insert(struct model_step *s, const struct place *at, struct model_inode *inode)
{
    model_add_entry(s->model, at->dir->attr.ino, at->name, inode->attr.ino);
    at->dir->attr.size++;
    if (model_is_dir(inode)) {
        at->dir->attr.nlink++;
        inode->attr.parent = at->dir->attr.ino;
    }
}

/* The name goes; the inode is not touched. */
static void take_out(struct model_step *s, struct place *at)
{
    model_remove_entry(s->model, at->entry);
    at->entry = NULL;
    at->dir->attr.size--;
    if (model_is_dir(at->inode))
        at->dir->attr.nlink--;
}

/* An inode has lost a name: what is left of it, in reply (if not NULL) as well. */
static void lose_name(struct model_step *s, struct model_inode *inode, struct model_reply *reply)
{
    mark_ctime(s, inode);
    inode->attr.nlink = model_is_dir(inode) ? 0 : inode->attr.nlink - 1;
    if (reply != NULL)
        set_attr(reply, inode);
    if (inode->attr.nlink > 0)
        return;
    if (S_ISREG(inode->attr.mode))
        inode->unlinked = s->index;
    else
        model_remove_inode(s->model, inode->attr.ino);
}

/* ---- Make, Link, Unlink ------------------------------------------------------------------------
 */

static int make_status(const struct model *m, const Cfs__Make *make, const struct place *at)
{
    switch (make->mode & S_IFMT) {
    case S_IFLNK:
        if (make->target.len == 0)
            return EINVAL;
        if (make->target.len > LIMIT_SYMLINK_MAX)
            return ENAMETOOLONG;
        break;
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
        break;
    default:
        return EINVAL;
    }
    if (at->entry != NULL)
        return EEXIST;
    if (S_ISDIR(make->mode) && at->dir->attr.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    if (m->n_inodes >= LIMIT_TREE_ENTRIES)
        return ENOSPC;
    return 0;
}

static void fill_new(const struct model_step *s, const Cfs__Make *make,
                     const struct model_inode *parent, struct model_inode *inode)
{
    Cfs__Attr *a = &inode->attr;

    a->nlink = S_ISDIR(a->mode) ? 2 : 1;
    a->uid = make->uid;
    a->gid = make->gid;
    if (parent->attr.mode & S_ISGID) {
        a->gid = parent->attr.gid;
        if (S_ISDIR(a->mode))
            a->mode |= S_ISGID;
    }
    if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
        a->rdev = make->rdev;
    a->atime_ns = a->mtime_ns = a->ctime_ns = s->time_ns;
    a->created = a->modified = s->index;
    if (S_ISDIR(a->mode))
        a->children_modified = s->index;
    if (S_ISLNK(a->mode)) {
        inode->content = buf_copy(make->target.data, make->target.len);
        a->size = make->target.len;
    }
}

static int op_make(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Make *make = command->make;
    struct model_inode *inode;
    struct place at;
    int status = find_place(s->model, make->parent, &make->name, &at);

    if (status == 0)
        status = make_status(s->model, make, &at);
    if (status != 0)
        return status;
    inode = model_add_inode(s->model, make->mode & (S_IFMT | 07777));
    fill_new(s, make, at.dir, inode);
    insert(s, &at, inode);
    mark_children(s, at.dir);
    set_attr(reply, inode);
    add_place_change(s, CFS__CHANGE__KIND__CREATE, inode->attr.ino, &at);
    return 0;
}

static int op_link(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Link *link = command->link;
    struct model_inode *inode = model_find(s->model, link->ino);
    struct place at;
    int status = find_place(s->model, link->parent, &link->name, &at);

    if (status != 0)
        return status;
    if (inode == NULL)
        return ESTALE;
    if (at.entry != NULL)
        return EEXIST;
    if (model_is_dir(inode))
        return EPERM;
    if (inode->attr.nlink == 0)
        return ENOENT;
    if (inode->attr.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    insert(s, &at, inode);
    inode->attr.nlink++;
    mark_ctime(s, inode);
    mark_children(s, at.dir);
    set_attr(reply, inode);
    add_place_change(s, CFS__CHANGE__KIND__LINK, inode->attr.ino, &at);
    return 0;
}

static int op_unlink(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Unlink *unlink = command->unlink;
    struct place at;
    int status = find_place(s->model, unlink->parent, &unlink->name, &at);

    if (status != 0)
        return status;
    if (at.entry == NULL)
        return ENOENT;
    if (unlink->directory && !model_is_dir(at.inode))
        return ENOTDIR;
    if (!unlink->directory && model_is_dir(at.inode))
        return EISDIR;
    if (unlink->directory && !is_empty(s->model, at.inode))
        return ENOTEMPTY;
    add_place_change(s, unlink->directory ? CFS__CHANGE__KIND__RMDIR : CFS__CHANGE__KIND__UNLINK,
                     at.inode->attr.ino, &at);
    take_out(s, &at);
    mark_children(s, at.dir);
    lose_name(s, at.inode, reply);
    return 0;
}

/* ---- Rename ------------------------------------------------------------------------------------
 */

static int replace_status(const struct model *m, const struct place *from, const struct place *to)
{
    if (to->entry == NULL)
        return 0;
    if (model_is_dir(from->inode) && !model_is_dir(to->inode))
        return ENOTDIR;
    if (!model_is_dir(from->inode) && model_is_dir(to->inode))
        return EISDIR;
    if (model_is_dir(to->inode) && !is_empty(m, to->inode))
        return ENOTEMPTY;
    return 0;
}

/* Would a directory get into itself? */
static bool makes_loop(const struct model *m, const struct place *from, const struct place *to)
{
    return model_is_dir(from->inode) && is_within(m, to->dir, from->inode->attr.ino);
}

static int exchange_status(const struct model *m, const struct place *from, const struct place *to)
{
    if (to->entry == NULL)
        return ENOENT;
    if (makes_loop(m, from, to) || makes_loop(m, to, from))
        return EINVAL;
    return 0;
}

static int move_status(const struct model *m, const struct place *from, const struct place *to)
{
    if (makes_loop(m, from, to))
        return EINVAL;
    return replace_status(m, from, to);
}

static void add_rename_change(struct model_step *s, Cfs__Change__Kind kind,
                              const struct place *from, const struct place *to)
{
    struct model_change *c;

    add_place_change(s, kind, from->inode->attr.ino, from);
    c = &s->result->changes[s->result->n_changes - 1];
    c->new_parent = to->dir->attr.ino;
    c->new_name = buf_copy(to->name->data, to->name->len);
    c->victim = to->inode != NULL ? to->inode->attr.ino : 0;
}

static void mark_parents(const struct model_step *s, const struct place *from,
                         const struct place *to)
{
    mark_children(s, from->dir);
    if (to->dir != from->dir)
        mark_children(s, to->dir);
}

static void do_exchange(struct model_step *s, struct place *from, struct place *to)
{
    bool from_dir = model_is_dir(from->inode), to_dir = model_is_dir(to->inode);

    from->entry->ino = to->inode->attr.ino;
    to->entry->ino = from->inode->attr.ino;
    if (from_dir) {
        from->dir->attr.nlink--;
        to->dir->attr.nlink++;
        from->inode->attr.parent = to->dir->attr.ino;
    }
    if (to_dir) {
        to->dir->attr.nlink--;
        from->dir->attr.nlink++;
        to->inode->attr.parent = from->dir->attr.ino;
    }
    mark_ctime(s, from->inode);
    mark_ctime(s, to->inode);
    mark_parents(s, from, to);
}

static void do_move(struct model_step *s, struct place *from, struct place *to)
{
    take_out(s, from);
    if (to->entry != NULL) {
        take_out(s, to);
        lose_name(s, to->inode, NULL);
    }
    insert(s, to, from->inode);
    mark_ctime(s, from->inode);
    mark_parents(s, from, to);
}

static int op_rename(struct model_step *s, const Cfs__Command *command,
                     struct model_reply *reply BASE_UNUSED)
{
    const Cfs__Rename *rename = command->rename;
    bool exchange = rename->mode == CFS__RENAME__MODE__EXCHANGE;
    struct place from, to;
    int status = find_place(s->model, rename->parent, &rename->name, &from);

    if (status == 0)
        status = find_place(s->model, rename->new_parent, &rename->new_name, &to);
    if (status != 0)
        return status;
    if (from.entry == NULL)
        return ENOENT;
    if (rename->mode == CFS__RENAME__MODE__NOREPLACE && to.entry != NULL)
        return EEXIST;
    status = exchange ? exchange_status(s->model, &from, &to) : 0;
    if (status != 0)
        return status;
    if (to.entry != NULL && from.inode == to.inode)
        return 0;
    status = exchange ? 0 : move_status(s->model, &from, &to);
    if (status != 0)
        return status;
    add_rename_change(s, exchange ? CFS__CHANGE__KIND__EXCHANGE : CFS__CHANGE__KIND__RENAME, &from,
                      &to);
    (exchange ? do_exchange : do_move)(s, &from, &to);
    return 0;
}

/* ---- Data --------------------------------------------------------------------------------------
 */

static int data_status(const struct model_inode *inode)
{
    if (inode == NULL)
        return ESTALE;
    if (model_is_dir(inode))
        return EISDIR;
    if (!S_ISREG(inode->attr.mode))
        return EINVAL;
    return 0;
}

static int size_status(const struct model *m, const struct model_inode *inode, uint64_t size)
{
    uint64_t others = model_bytes(m) - inode->attr.size;

    if (size > LIMIT_FILE_MAX)
        return EFBIG;
    if (size > inode->attr.size && others + size > LIMIT_TREE_BYTES)
        return ENOSPC;
    return 0;
}

static void set_size(struct model_inode *inode, uint64_t size)
{
    inode->attr.size = size;
    inode->content.len = min_u64(inode->content.len, size);
}

static void put_bytes(struct model_inode *inode, uint64_t offset, const ProtobufCBinaryData *data)
{
    struct buf *c = &inode->content;
    uint64_t end = offset + data->len;

    if (data->len == 0)
        return;
    if (end > c->len) {
        buf_reserve(c, end - c->len);
        memset(c->data + c->len, 0, end - c->len);
        c->len = end;
    }
    memcpy(c->data + offset, data->data, data->len);
    inode->attr.size = max_u64(inode->attr.size, end);
}

/* Whoever writes to a file that runs with somebody's rights takes these rights away. */
static bool kill_suid(struct model_inode *inode)
{
    uint32_t before = inode->attr.mode;

    inode->attr.mode &= ~(uint32_t)S_ISUID;
    if (before & S_IXGRP)
        inode->attr.mode &= ~(uint32_t)S_ISGID;
    return inode->attr.mode != before;
}

/* The size that the file will have, in out; or the reason why not. */
static int write_status(const struct model *m, const struct model_inode *inode,
                        const Cfs__Write *write)
{
    uint64_t size = write->truncate ? 0 : inode->attr.size;
    uint64_t total = 0;

    for (size_t i = 0; i < write->n_extents; i++) {
        const Cfs__Extent *e = write->extents[i];
        uint64_t at = write->append ? size : e->offset;

        total += e->data.len;
        if (e->data.len == 0)
            continue;
        if (at > LIMIT_FILE_MAX || e->data.len > LIMIT_FILE_MAX - at)
            return EFBIG;
        size = max_u64(size, at + e->data.len);
    }
    if (write->n_extents > LIMIT_EXTENTS_MAX || total > LIMIT_WRITE_MAX)
        return EINVAL;
    return size_status(m, inode, size);
}

static int op_write(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Write *write = command->write;
    struct model_inode *inode = model_find(s->model, write->ino);
    int status = data_status(inode);

    if (status == 0)
        status = write_status(s->model, inode, write);
    if (status != 0)
        return status;
    if (write->truncate)
        set_size(inode, 0);
    for (size_t i = 0; i < write->n_extents; i++) {
        uint64_t at = write->append ? inode->attr.size : write->extents[i]->offset;

        if (i == 0)
            reply->value = at;
        put_bytes(inode, at, &write->extents[i]->data);
    }
    mark_data(s, inode);
    add_change(s, CFS__CHANGE__KIND__DATA, inode->attr.ino);
    if (write->kill_suid && kill_suid(inode)) {
        mark_attributes(s, inode);
        add_change(s, CFS__CHANGE__KIND__ATTR, inode->attr.ino);
    }
    set_attr(reply, inode);
    return 0;
}

/* ---- Attributes --------------------------------------------------------------------------------
 */

static void change_attributes(const struct model_step *s, struct model_inode *inode,
                              const Cfs__SetAttr *set)
{
    Cfs__Attr *a = &inode->attr;

    if (set->set_mode)
        a->mode = (a->mode & S_IFMT) | (set->mode & 07777);
    if (set->set_uid)
        a->uid = set->uid;
    if (set->set_gid)
        a->gid = set->gid;
    if (set->set_atime)
        a->atime_ns = set->atime_now ? s->time_ns : set->atime_ns;
    if (set->set_mtime)
        a->mtime_ns = set->mtime_now ? s->time_ns : set->mtime_ns;
    if (set->kill_suid)
        kill_suid(inode);
}

static int op_set_attr(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__SetAttr *set = command->set_attr;
    struct model_inode *inode = model_find(s->model, set->ino);
    bool others = set->set_mode || set->set_uid || set->set_gid || set->set_atime ||
                  set->set_mtime || set->kill_suid || !set->set_size;
    int status = inode == NULL ? ESTALE : 0;

    if (status == 0 && set->set_size)
        status = data_status(inode);
    if (status == 0 && set->set_size)
        status = size_status(s->model, inode, set->size);
    if (status != 0)
        return status;
    if (set->set_size) {
        set_size(inode, set->size);
        mark_data(s, inode);
        add_change(s, CFS__CHANGE__KIND__DATA, inode->attr.ino);
    }
    if (others) {
        change_attributes(s, inode, set);
        mark_attributes(s, inode);
        add_change(s, CFS__CHANGE__KIND__ATTR, inode->attr.ino);
    }
    set_attr(reply, inode);
    return 0;
}

static int xattr_name_status(const ProtobufCBinaryData *name)
{
    if (name->len == 0 || name->len > LIMIT_XATTR_NAME)
        return ERANGE;
    if (memchr(name->data, 0, name->len) != NULL)
        return EINVAL;
    return 0;
}

static uint64_t xattr_bytes(const struct model_inode *inode)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < inode->n_xattrs; i++)
        sum += inode->xattrs[i].name.len + inode->xattrs[i].value.len;
    return sum;
}

static int set_xattr_status(const struct model_inode *inode, const Cfs__SetXattr *set,
                            const struct model_xattr *there)
{
    uint64_t after = xattr_bytes(inode) + set->name.len + set->value.len;

    if (there != NULL && set->mode == CFS__SET_XATTR__MODE__CREATE)
        return EEXIST;
    if (there == NULL && set->mode == CFS__SET_XATTR__MODE__REPLACE)
        return ENODATA;
    if (there != NULL)
        after -= there->name.len + there->value.len;
    return after > LIMIT_XATTR_TOTAL ? ENOSPC : 0;
}

static struct model_xattr *add_xattr(struct model_inode *inode, const ProtobufCBinaryData *name)
{
    struct model_xattr *x;

    inode->xattrs = xrealloc(inode->xattrs, (inode->n_xattrs + 1) * sizeof *inode->xattrs);
    x = &inode->xattrs[inode->n_xattrs++];
    *x = (struct model_xattr){.name = buf_copy(name->data, name->len)};
    return x;
}

static int op_set_xattr(struct model_step *s, const Cfs__Command *command,
                        struct model_reply *reply)
{
    const Cfs__SetXattr *set = command->set_xattr;
    struct model_inode *inode = model_find(s->model, set->ino);
    struct model_xattr *x;
    int status = inode == NULL ? ESTALE : xattr_name_status(&set->name);

    if (status == 0 && set->value.len > LIMIT_XATTR_VALUE)
        status = E2BIG;
    if (status != 0)
        return status;
    x = model_find_xattr(inode, set->name.data, set->name.len);
    status = set_xattr_status(inode, set, x);
    if (status != 0)
        return status;
    if (x == NULL)
        x = add_xattr(inode, &set->name);
    buf_fini(&x->value);
    x->value = buf_copy(set->value.data, set->value.len);
    mark_attributes(s, inode);
    set_attr(reply, inode);
    add_change(s, CFS__CHANGE__KIND__XATTR, inode->attr.ino);
    return 0;
}

static int op_remove_xattr(struct model_step *s, const Cfs__Command *command,
                           struct model_reply *reply)
{
    const Cfs__RemoveXattr *remove = command->remove_xattr;
    struct model_inode *inode = model_find(s->model, remove->ino);
    struct model_xattr *x;
    int status = inode == NULL ? ESTALE : xattr_name_status(&remove->name);

    if (status != 0)
        return status;
    x = model_find_xattr(inode, remove->name.data, remove->name.len);
    if (x == NULL)
        return ENODATA;
    buf_fini(&x->name);
    buf_fini(&x->value);
    *x = inode->xattrs[--inode->n_xattrs];
    mark_attributes(s, inode);
    set_attr(reply, inode);
    add_change(s, CFS__CHANGE__KIND__XATTR, inode->attr.ino);
    return 0;
}

/* ---- The rest ----------------------------------------------------------------------------------
 */

static int op_reap(struct model_step *s, const Cfs__Command *command,
                   struct model_reply *reply BASE_UNUSED)
{
    const Cfs__Reap *reap = command->reap;

    if (reap->n_inos > LIMIT_REAP_MAX)
        return EINVAL;
    for (size_t i = 0; i < reap->n_inos; i++) {
        struct model_inode *inode = model_find(s->model, reap->inos[i]);

        if (inode != NULL && model_is_orphan(inode))
            model_remove_inode(s->model, inode->attr.ino);
    }
    return 0;
}

static int op_noop(struct model_step *s BASE_UNUSED, const Cfs__Command *command BASE_UNUSED,
                   struct model_reply *reply BASE_UNUSED)
{
    return 0;
}

/* A session cannot open a session. */
static int op_refused(struct model_step *s BASE_UNUSED, const Cfs__Command *command BASE_UNUSED,
                      struct model_reply *reply BASE_UNUSED)
{
    return EINVAL;
}

static int (*const ops[])(struct model_step *, const Cfs__Command *, struct model_reply *) = {
    [CFS__COMMAND__OP_NOOP] = op_noop,           [CFS__COMMAND__OP_OPEN_SESSION] = op_refused,
    [CFS__COMMAND__OP_MAKE] = op_make,           [CFS__COMMAND__OP_LINK] = op_link,
    [CFS__COMMAND__OP_UNLINK] = op_unlink,       [CFS__COMMAND__OP_RENAME] = op_rename,
    [CFS__COMMAND__OP_SET_ATTR] = op_set_attr,   [CFS__COMMAND__OP_WRITE] = op_write,
    [CFS__COMMAND__OP_SET_XATTR] = op_set_xattr, [CFS__COMMAND__OP_REMOVE_XATTR] = op_remove_xattr,
    [CFS__COMMAND__OP_REAP] = op_reap,
};

void model_op_run(struct model_step *step, const Cfs__Command *command, struct model_reply *reply)
{
    check(command->op_case > 0 && command->op_case < (int)ARRAY_LEN(ops));
    check(ops[command->op_case] != NULL);
    reply->status = (uint32_t)ops[command->op_case](step, command, reply);
}
