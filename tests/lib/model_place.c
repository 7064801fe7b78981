/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

/* ---- Finding --------------------------------------------------------------------------------- */

int model_name_status(const ProtobufCBinaryData *name, int dot, int dotdot)
{
    if (name->len > LIMIT_NAME_MAX)
        return ENAMETOOLONG;
    if (name->len == 0 || memchr(name->data, '/', name->len) || memchr(name->data, 0, name->len))
        return EINVAL;
    if (name->len == 1 && name->data[0] == '.')
        return dot;
    if (name->len == 2 && name->data[0] == '.' && name->data[1] == '.')
        return dotdot;
    return 0;
}

static int find_dir(const struct model *m, uint64_t parent, struct model_place *out)
{
    *out = (struct model_place){.dir = model_find(m, parent)};
    if (out->dir == NULL)
        return ENOENT;
    if (!model_is_dir(out->dir))
        return ENOTDIR;
    return model_is_orphan(out->dir) ? ENOENT : 0;
}

int model_find_place(const struct model *m, uint64_t parent, const ProtobufCBinaryData *name,
                     struct model_place *out)
{
    int status = find_dir(m, parent, out);

    if (status != 0)
        return status;
    out->name = name;
    out->entry = model_find_entry(m, parent, name->data, name->len);
    out->inode = out->entry != NULL ? model_find(m, out->entry->ino) : NULL;
    return 0;
}

bool model_is_empty(const struct model *m, const struct model_inode *dir)
{
    return model_next_entry(m, dir->attr.ino, 0) == NULL;
}

/* True if dir is `top` or below it. */
bool model_is_within(const struct model *m, const struct model_inode *dir, uint64_t top)
{
    while (dir->attr.ino != top) {
        if (dir->attr.ino == MODEL_ROOT)
            return false;
        dir = model_find(m, dir->attr.parent);
    }
    return true;
}

/* ---- Marks ----------------------------------------------------------------------------------- */

void model_mark_ctime(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.ctime_ns = s->time_ns;
}

void model_mark_data(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.mtime_ns = s->time_ns;
    inode->attr.ctime_ns = s->time_ns;
    inode->attr.version++;
    inode->attr.modified = s->index;
}

void model_mark_attributes(const struct model_step *s, struct model_inode *inode)
{
    inode->attr.ctime_ns = s->time_ns;
    inode->attr.aversion++;
}

void model_mark_children(const struct model_step *s, struct model_inode *dir)
{
    dir->attr.mtime_ns = s->time_ns;
    dir->attr.ctime_ns = s->time_ns;
    dir->attr.cversion++;
    dir->attr.children_modified = s->index;
}

struct model_change *model_add_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino)
{
    struct model_change *c = &s->result->changes[s->result->n_changes++];

    check(s->result->n_changes <= MODEL_CHANGES_MAX);
    *c = (struct model_change){.kind = kind, .ino = ino, .session = s->session};
    return c;
}

void model_add_place_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino,
                            const struct model_place *at)
{
    struct model_change *c = model_add_change(s, kind, ino);

    c->parent = at->dir->attr.ino;
    c->name = buf_copy(at->name->data, at->name->len);
}

void model_reply_attr(struct model_reply *reply, const struct model_inode *inode)
{
    reply->has_attr = true;
    model_attr(inode, &reply->attr);
}

/* ---- Adding and removing entries ------------------------------------------------------------- */

void model_insert(struct model_step *s, const struct model_place *at, struct model_inode *inode,
                  uint64_t order)
{
    model_add_entry(s->model, at->dir->attr.ino, at->name, inode->attr.ino, order);
    at->dir->attr.size++;
    if (model_is_dir(inode)) {
        at->dir->attr.nlink++;
        inode->attr.parent = at->dir->attr.ino;
    }
}

/* Removes the name; the inode stays as it is. */
void model_take_out(struct model_step *s, struct model_place *at)
{
    model_remove_entry(s->model, at->entry);
    at->entry = NULL;
    at->dir->attr.size--;
    if (model_is_dir(at->inode))
        at->dir->attr.nlink--;
}

/* Handles an inode that has lost a name; fills reply if not NULL. */
void model_lose_name(struct model_step *s, uint64_t dir, struct model_inode *inode,
                     struct model_reply *reply)
{
    model_mark_ctime(s, inode);
    inode->attr.nlink = model_is_dir(inode) ? 0 : inode->attr.nlink - 1;
    if (reply != NULL)
        model_reply_attr(reply, inode);
    if (inode->attr.nlink > 0)
        return;
    model_quota_lost(s->model, dir, inode);
    inode->unlinked = s->index;
}
