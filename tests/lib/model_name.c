/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that create, move and remove names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

/* ---- Make, Link, Unlink ---------------------------------------------------------------------- */

/* Errors that do not depend on the directory. */
static int make_status(const Cfs__Make *make)
{
    static const uint32_t types[] = {S_IFREG,  S_IFDIR, S_IFLNK, S_IFIFO,
                                     S_IFSOCK, S_IFCHR, S_IFBLK};
    const ProtobufCBinaryData *target = &make->target;
    bool known = false;

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        known = known || (make->mode & ~07777u) == types[i];
    if (!known || S_ISLNK(make->mode) != (target->len > 0))
        return EINVAL;
    if (target->len > LIMIT_SYMLINK_MAX)
        return ENAMETOOLONG;
    return target->len > 0 && memchr(target->data, 0, target->len) != NULL ? EINVAL : 0;
}

static int room_status(const struct model *m, const Cfs__Make *make, const struct model_place *at)
{
    if (at->entry != NULL)
        return EEXIST;
    if (S_ISDIR(make->mode) && at->dir->attr.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    return m->n_inodes >= LIMIT_TREE_ENTRIES ? ENOSPC : 0;
}

static void fill_new(const struct model_step *s, const Cfs__Make *make,
                     const struct model_inode *parent, struct model_inode *inode)
{
    Cfs__Attr *a = &inode->attr;

    model_acl_inherit(parent, make->umask, inode);
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

/* Creates the inode to find out what it costs below a quota, and releases it. */
static uint64_t cost_of_new(const Cfs__Make *make, const struct model_inode *parent)
{
    struct model_inode *inode = xcalloc(1, sizeof *inode);
    uint64_t bytes;

    cfs__attr__init(&inode->attr);
    inode->attr.mode = S_ISLNK(make->mode) ? S_IFLNK | 0777 : make->mode;
    model_acl_inherit(parent, make->umask, inode);
    bytes = model_xattr_bytes(inode) + make->target.len;
    while (inode->n_xattrs > 0)
        model_drop_xattr(inode, inode->xattrs[0].name.data, inode->xattrs[0].name.len);
    free(inode->xattrs);
    free(inode);
    return bytes;
}

int model_op_make(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Make *make = command->make;
    struct model_inode *inode;
    struct model_place at;
    int status = model_name_status(&make->name, EEXIST, EEXIST);

    if (status == 0)
        status = make_status(make);
    if (status == 0)
        status = model_find_place(s->model, make->parent, &make->name, &at);
    if (status == 0)
        status = room_status(s->model, make, &at);
    if (status == 0 && s->model->n_quotas > 0 &&
        !model_quota_fits(s->model, model_quota_of_dir(s->model, make->parent),
                          cost_of_new(make, at.dir), 1))
        status = EDQUOT;
    if (status != 0)
        return status;
    inode = model_add_inode(s->model, S_ISLNK(make->mode) ? S_IFLNK | 0777 : make->mode);
    fill_new(s, make, at.dir, inode);
    model_insert(s, &at, inode, 0);
    model_mark_children(s, at.dir);
    model_reply_attr(reply, inode);
    model_add_place_change(s, CFS__CHANGE__KIND__CREATE, inode->attr.ino, &at);
    return 0;
}

int model_op_link(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Link *link = command->link;
    struct model_inode *inode = model_find(s->model, link->ino);
    struct model_place at;
    int status = model_name_status(&link->name, EEXIST, EEXIST);

    if (status == 0)
        status = model_find_place(s->model, link->parent, &link->name, &at);
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
    if (model_quota_of(s->model, inode) != model_quota_of_dir(s->model, link->parent))
        return EXDEV;

    model_insert(s, &at, inode, 0);
    inode->attr.nlink++;
    model_mark_ctime(s, inode);
    model_mark_children(s, at.dir);
    model_reply_attr(reply, inode);
    model_add_place_change(s, CFS__CHANGE__KIND__LINK, inode->attr.ino, &at);
    return 0;
}

int model_op_unlink(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Unlink *unlink = command->unlink;
    struct model_place at;
    int status = model_name_status(&unlink->name, unlink->directory ? EINVAL : EISDIR,
                                   unlink->directory ? ENOTEMPTY : EISDIR);

    if (status == 0)
        status = model_find_place(s->model, unlink->parent, &unlink->name, &at);
    if (status != 0)
        return status;
    if (at.entry == NULL)
        return ENOENT;
    if (unlink->directory && !model_is_dir(at.inode))
        return ENOTDIR;
    if (!unlink->directory && model_is_dir(at.inode))
        return EISDIR;
    if (unlink->directory && !model_is_empty(s->model, at.inode))
        return ENOTEMPTY;
    model_add_place_change(s,
                           unlink->directory ? CFS__CHANGE__KIND__RMDIR : CFS__CHANGE__KIND__UNLINK,
                           at.inode->attr.ino, &at);
    model_take_out(s, &at);
    model_mark_children(s, at.dir);
    model_lose_name(s, at.dir->attr.ino, at.inode, reply);
    return 0;
}

/* ---- Rename ---------------------------------------------------------------------------------- */

static int replace_status(const struct model *m, const struct model_place *from,
                          const struct model_place *to)
{
    if (to->entry == NULL || to->inode == from->inode)
        return 0;
    if (model_is_dir(to->inode) && model_is_within(m, from->dir, to->inode->attr.ino))
        return ENOTEMPTY; /* the moved entry is below it, so it is not empty */
    if (model_is_dir(from->inode) && !model_is_dir(to->inode))
        return ENOTDIR;
    if (!model_is_dir(from->inode) && model_is_dir(to->inode))
        return EISDIR;
    if (model_is_dir(to->inode) && !model_is_empty(m, to->inode))
        return ENOTEMPTY;
    return 0;
}

/* True if a directory would be moved below itself. */
static bool makes_loop(const struct model *m, const struct model_place *from,
                       const struct model_place *to)
{
    return model_is_dir(from->inode) && model_is_within(m, to->dir, from->inode->attr.ino);
}

static int exchange_status(const struct model *m, const struct model_place *from,
                           const struct model_place *to)
{
    if (to->entry == NULL)
        return ENOENT;
    if (makes_loop(m, from, to) || makes_loop(m, to, from))
        return EINVAL;
    return 0;
}

static int move_status(const struct model *m, const struct model_place *from,
                       const struct model_place *to)
{
    if (makes_loop(m, from, to))
        return EINVAL;
    return replace_status(m, from, to);
}

static void add_rename_change(struct model_step *s, Cfs__Change__Kind kind,
                              const struct model_place *from, const struct model_place *to)
{
    struct model_change *c;

    model_add_place_change(s, kind, from->inode->attr.ino, from);
    c = &s->result->changes[s->result->n_changes - 1];
    c->new_parent = to->dir->attr.ino;
    c->new_name = buf_copy(to->name->data, to->name->len);
    c->victim = to->inode != NULL ? to->inode->attr.ino : 0;
}

static void mark_parents(const struct model_step *s, const struct model_place *from,
                         const struct model_place *to)
{
    model_mark_children(s, from->dir);
    if (to->dir != from->dir)
        model_mark_children(s, to->dir);
}

static void do_exchange(struct model_step *s, struct model_place *from, struct model_place *to)
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
    model_mark_ctime(s, from->inode);
    model_mark_ctime(s, to->inode);
    mark_parents(s, from, to);
}

/* A replaced name, and a name that changes within its directory, keep their place: a reader of the
 * directory sees each file once. */
static void do_move(struct model_step *s, struct model_place *from, struct model_place *to)
{
    uint64_t order = from->dir == to->dir ? from->entry->order : 0;

    if (to->entry != NULL)
        order = to->entry->order;
    model_take_out(s, from);
    if (to->entry != NULL) {
        model_take_out(s, to);
        model_lose_name(s, to->dir->attr.ino, to->inode, NULL);
    }
    model_insert(s, to, from->inode, order);
    model_mark_ctime(s, from->inode);
    mark_parents(s, from, to);
}

static bool is_known(Cfs__Rename__Mode mode)
{
    return mode == CFS__RENAME__MODE__REPLACE || mode == CFS__RENAME__MODE__NOREPLACE ||
           mode == CFS__RENAME__MODE__EXCHANGE;
}

static int find_both(const struct model *m, const Cfs__Rename *rename, struct model_place *from,
                     struct model_place *to)
{
    int dots = rename->mode == CFS__RENAME__MODE__NOREPLACE ? EEXIST : EBUSY;
    int status = model_name_status(&rename->name, EBUSY, EBUSY);

    if (status == 0)
        status = model_name_status(&rename->new_name, dots, dots);
    if (status == 0 && !is_known(rename->mode))
        status = EINVAL;
    if (status == 0)
        status = model_find_place(m, rename->parent, &rename->name, from);
    if (status == 0)
        status = model_find_place(m, rename->new_parent, &rename->new_name, to);
    return status == 0 && from->entry == NULL ? ENOENT : status;
}

int model_op_rename(struct model_step *s, const Cfs__Command *command,
                    struct model_reply *reply BASE_UNUSED)
{
    const Cfs__Rename *rename = command->rename;
    bool exchange = rename->mode == CFS__RENAME__MODE__EXCHANGE;
    struct model_place from, to;
    int status = find_both(s->model, rename, &from, &to);

    if (status != 0)
        return status;
    if (rename->mode == CFS__RENAME__MODE__NOREPLACE && to.entry != NULL)
        return EEXIST;
    status = (exchange ? exchange_status : move_status)(s->model, &from, &to);
    if (status != 0)
        return status;
    if (from.inode == to.inode)
        return 0;
    if (model_quota_of_dir(s->model, rename->parent) !=
        model_quota_of_dir(s->model, rename->new_parent))
        return EXDEV;
    add_rename_change(s, exchange ? CFS__CHANGE__KIND__EXCHANGE : CFS__CHANGE__KIND__RENAME, &from,
                      &to);
    (exchange ? do_exchange : do_move)(s, &from, &to);
    return 0;
}
