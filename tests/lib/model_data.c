/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of inodes: data, attributes, xattrs, and the reaping of orphans. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/model_op.h"

/* ---- Data ------------------------------------------------------------------------------------ */

int model_data_status(const struct model_inode *inode)
{
    if (inode == NULL)
        return ESTALE;
    if (model_is_dir(inode))
        return EISDIR;
    if (!S_ISREG(inode->attr.mode))
        return EINVAL;
    return 0;
}

void model_set_size(struct model_inode *inode, uint64_t size)
{
    inode->attr.size = size;
    inode->content.len = min_u64(inode->content.len, size);
    for (uint64_t i = 0; i < ARRAY_LEN(inode->reach); i++) {
        uint64_t start = i * MODEL_BLOCK;
        uint64_t left = size > start ? size - start : 0;

        inode->reach[i] = (uint32_t)min_u64(inode->reach[i], left);
    }
}

static void note_reach(struct model_inode *inode, uint64_t offset, uint64_t end)
{
    for (uint64_t i = offset / MODEL_BLOCK; i * MODEL_BLOCK < end; i++) {
        uint64_t last = min_u64(end - i * MODEL_BLOCK, MODEL_BLOCK);

        inode->reach[i] = (uint32_t)max_u64(inode->reach[i], last);
    }
}

void model_put_bytes(struct model_inode *inode, uint64_t offset, const ProtobufCBinaryData *data)
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
    note_reach(inode, offset, end);
}

/* A write or a change of the owner removes file capabilities. */
static void drop_capability(struct model_inode *inode)
{
    static const char name[] = "security.capability";

    model_drop_xattr(inode, name, strlen(name));
}

/* Writing to a setuid or setgid file clears these bits. */
static bool kill_bits(struct model_inode *inode, Cfs__Kill kill)
{
    uint32_t before = inode->attr.mode;

    if (kill == CFS__KILL__KILL_NONE || S_ISDIR(before))
        return false;
    inode->attr.mode &= ~(uint32_t)S_ISUID;
    if (kill == CFS__KILL__KILL_SGID || (before & S_IXGRP) != 0)
        inode->attr.mode &= ~(uint32_t)S_ISGID;
    return inode->attr.mode != before;
}

void model_note_content(struct model_step *s, struct model_inode *inode, Cfs__Kill kill)
{
    drop_capability(inode);
    model_mark_data(s, inode);
    model_add_change(s, CFS__CHANGE__KIND__DATA, inode->attr.ino);
    if (kill_bits(inode, kill)) {
        model_mark_attributes(s, inode);
        model_add_change(s, CFS__CHANGE__KIND__ATTR, inode->attr.ino);
    }
}

static int write_status(const struct model_inode *inode, const Cfs__Write *write)
{
    uint64_t end = write->truncate ? 0 : inode->attr.size;
    uint64_t total = 0;

    for (size_t i = 0; i < write->n_extents; i++) {
        const Cfs__Extent *e = write->extents[i];
        uint64_t at = write->append ? end : e->offset;

        total += e->data.len;
        if (total > LIMIT_WRITE_MAX)
            return E2BIG;
        if (e->data.len > 0 && (at > LIMIT_FILE_MAX || e->data.len > LIMIT_FILE_MAX - at))
            return EFBIG;
        end += write->append ? e->data.len : 0;
    }
    return 0;
}

/* The offset of the first extent; without extents, the end for an append. */
static uint64_t write_value(const struct model_inode *inode, const Cfs__Write *write,
                            const struct model_session *session)
{
    for (size_t i = 0; write->stage != 0 && i < session->n_staged; i++)
        if (session->staged[i].stage == write->stage)
            return session->staged[i].offset;
    if (write->append)
        return write->truncate ? 0 : inode->attr.size;
    return write->n_extents > 0 ? write->extents[0]->offset : 0;
}

/* A write without data is not a change, like write(2) of 0 bytes. */
static bool has_data(const Cfs__Write *write)
{
    for (size_t i = 0; i < write->n_extents; i++)
        if (write->extents[i]->data.len > 0)
            return true;
    return write->truncate;
}

static void write_staged(const struct model_session *session, struct model_inode *inode,
                         uint64_t stage)
{
    for (size_t i = 0; i < session->n_staged; i++) {
        const struct model_staged *e = &session->staged[i];
        ProtobufCBinaryData data = {e->data.len, e->data.data};

        if (e->stage == stage)
            model_put_bytes(inode, e->offset, &data);
    }
}

static void put_all(const struct model_session *session, struct model_inode *inode,
                    const Cfs__Write *write)
{
    if (write->truncate)
        model_set_size(inode, 0);
    if (write->stage != 0)
        write_staged(session, inode, write->stage);
    for (size_t i = 0; i < write->n_extents; i++) {
        uint64_t at = write->append ? inode->attr.size : write->extents[i]->offset;

        model_put_bytes(inode, at, &write->extents[i]->data);
    }
}

static bool write_fits(const struct model *m, const struct model_session *session,
                       const struct model_inode *inode, const Cfs__Write *write)
{
    struct model_inode *shadow;

    if (m->n_quotas == 0)
        return true;
    shadow = model_shadow(inode);
    put_all(session, shadow, write);
    return model_quota_fits_growth(m, inode, model_shadow_end(shadow));
}

int model_op_write(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__Write *write = command->write;
    struct model_session *session = model_find_session(s->model, s->session);
    struct model_inode *inode = model_find(s->model, write->ino);
    int status = write->n_extents > LIMIT_EXTENTS_MAX ? E2BIG : 0;
    uint64_t bytes = 0;
    size_t n = write->stage != 0 ? model_staged(session, write->stage, &bytes) : 0;

    if (status == 0 && write->stage != 0 && write->append)
        status = EINVAL;
    if (status == 0)
        status = model_data_status(inode);
    if (status == 0 && n != write->staged)
        status = ECANCELED;
    if (status == 0)
        status = write_status(inode, write);
    if (status == 0 && !write_fits(s->model, session, inode, write))
        status = EDQUOT;
    if (status != 0)
        return status;
    reply->value = write_value(inode, write, session);
    if (has_data(write) || n > 0) {
        put_all(session, inode, write);
        model_note_content(s, inode, write->kill);
    }
    if (write->stage != 0)
        model_staged_drop(session, write->stage);
    model_reply_attr(reply, inode);
    return 0;
}

/* ---- Attributes ------------------------------------------------------------------------------ */

static void change_attributes(const struct model_step *s, struct model_inode *inode,
                              const Cfs__SetAttr *set)
{
    Cfs__Attr *a = &inode->attr;

    if (set->set_mode) {
        a->mode = (a->mode & S_IFMT) | (set->mode & 07777);
        model_acl_chmod(inode);
    }
    if (set->set_uid)
        a->uid = set->uid;
    if (set->set_gid)
        a->gid = set->gid;
    if (set->set_atime)
        a->atime_ns = set->atime_now ? s->time_ns : set->atime_ns;
    if (set->set_mtime)
        a->mtime_ns = set->mtime_now ? s->time_ns : set->mtime_ns;
}

static int set_attr_status(const struct model_inode *inode, const Cfs__SetAttr *set)
{
    int status = model_data_status(inode);

    if (inode == NULL || !set->set_size)
        return inode == NULL ? ESTALE : 0;
    if (status == 0 && set->size > LIMIT_FILE_MAX)
        status = EFBIG;
    return status;
}

int model_op_set_attr(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__SetAttr *set = command->set_attr;
    struct model_inode *inode = model_find(s->model, set->ino);
    bool others = set->set_mode || set->set_uid || set->set_gid || set->set_atime || set->set_mtime;
    int status = set_attr_status(inode, set);
    bool resize;

    if (status != 0)
        return status;
    resize = set->set_size;
    if (resize || set->set_uid || set->set_gid)
        drop_capability(inode);
    if (resize) {
        model_set_size(inode, set->size);
        model_mark_data(s, inode);
        model_add_change(s, CFS__CHANGE__KIND__DATA, inode->attr.ino);
    }
    change_attributes(s, inode, set);
    if (kill_bits(inode, set->kill))
        others = true;
    if (others || !resize) {
        model_mark_attributes(s, inode);
        model_add_change(s, CFS__CHANGE__KIND__ATTR, inode->attr.ino);
    }
    model_reply_attr(reply, inode);
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

static int set_xattr_status(const struct model_inode *inode, const Cfs__SetXattr *set,
                            const struct model_xattr *there)
{
    uint64_t after = model_xattr_bytes(inode) + set->name.len + set->value.len;

    if (there != NULL && set->mode == CFS__SET_XATTR__MODE__CREATE)
        return EEXIST;
    if (there == NULL && set->mode == CFS__SET_XATTR__MODE__REPLACE)
        return ENODATA;
    if (there != NULL)
        after -= there->name.len + there->value.len;
    return after > LIMIT_XATTR_TOTAL ? ENOSPC : 0;
}

void model_put_xattr(struct model_inode *inode, const void *name, size_t name_len,
                     const void *value, size_t len)
{
    struct model_xattr *x = model_find_xattr(inode, name, name_len);

    if (x == NULL) {
        inode->xattrs = xrealloc(inode->xattrs, (inode->n_xattrs + 1) * sizeof *inode->xattrs);
        x = &inode->xattrs[inode->n_xattrs++];
        *x = (struct model_xattr){.name = buf_copy(name, name_len)};
    }
    buf_fini(&x->value);
    x->value = buf_copy(value, len);
}

bool model_drop_xattr(struct model_inode *inode, const void *name, size_t len)
{
    struct model_xattr *x = model_find_xattr(inode, name, len);

    if (x == NULL)
        return false;
    buf_fini(&x->name);
    buf_fini(&x->value);
    *x = inode->xattrs[--inode->n_xattrs];
    return true;
}

static struct model_xattr *copy_xattrs(const struct model_xattr *from, size_t n)
{
    struct model_xattr *to = xcalloc(n, sizeof *to);

    for (size_t i = 0; i < n; i++) {
        to[i].name = buf_copy(from[i].name.data, from[i].name.len);
        to[i].value = buf_copy(from[i].value.data, from[i].value.len);
    }
    return to;
}

static void free_xattrs(struct model_xattr *xattrs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_fini(&xattrs[i].name);
        buf_fini(&xattrs[i].value);
    }
    free(xattrs);
}

static int set_plain_xattr(struct model_inode *inode, const Cfs__SetXattr *set)
{
    int status;

    if (inode == NULL)
        return ESTALE;
    status = set_xattr_status(inode, set, model_find_xattr(inode, set->name.data, set->name.len));
    if (status == 0)
        model_put_xattr(inode, set->name.data, set->name.len, set->value.data, set->value.len);
    return status;
}

static int set_any_xattr(struct model *m, struct model_inode *inode, const Cfs__SetXattr *set,
                         bool *changed)
{
    if (model_acl_is_name(&set->name))
        return model_acl_set(inode, set, changed);
    if (inode != NULL && model_quota_is_name(&set->name))
        return model_quota_set(m, inode, set);
    if (inode != NULL && model_quota_is_reserved(&set->name))
        return EINVAL;
    return set_plain_xattr(inode, set);
}

/* Makes the change, and undoes it if it exceeds the quota. */
static int set_within_quota(struct model *m, struct model_inode *inode, const Cfs__SetXattr *set,
                            bool *changed)
{
    struct model_inode before;
    uint64_t bytes, was, quota;
    int status;

    if (inode == NULL || m->n_quotas == 0 || model_quota_is_name(&set->name))
        return set_any_xattr(m, inode, set, changed);
    before = *inode;
    before.xattrs = copy_xattrs(inode->xattrs, inode->n_xattrs);
    was = model_xattr_bytes(inode);
    quota = model_quota_of(m, inode);
    status = set_any_xattr(m, inode, set, changed);
    bytes = model_xattr_bytes(inode);
    if (status == 0 && bytes > was) {
        struct model_inode after = *inode;

        *inode = before;
        if (model_quota_fits(m, quota, bytes - was, 0)) {
            *inode = after;
        } else {
            before = after;
            status = EDQUOT;
        }
    }
    free_xattrs(before.xattrs, before.n_xattrs);
    return status;
}

int model_op_set_xattr(struct model_step *s, const Cfs__Command *command, struct model_reply *reply)
{
    const Cfs__SetXattr *set = command->set_xattr;
    struct model_inode *inode = model_find(s->model, set->ino);
    int status = xattr_name_status(&set->name);
    bool changed = true;

    if (status == 0 && set->value.len > LIMIT_XATTR_VALUE)
        status = E2BIG;
    if (status == 0 && set->mode != CFS__SET_XATTR__MODE__ANY &&
        set->mode != CFS__SET_XATTR__MODE__CREATE && set->mode != CFS__SET_XATTR__MODE__REPLACE)
        status = EINVAL;
    if (status == 0)
        status = set_within_quota(s->model, inode, set, &changed);
    if (status != 0)
        return status;
    if (changed) {
        model_mark_attributes(s, inode);
        model_add_change(s, CFS__CHANGE__KIND__XATTR, inode->attr.ino);
    }
    model_reply_attr(reply, inode);
    return 0;
}

int model_op_remove_xattr(struct model_step *s, const Cfs__Command *command,
                          struct model_reply *reply)
{
    const Cfs__RemoveXattr *remove = command->remove_xattr;
    struct model_inode *inode = model_find(s->model, remove->ino);
    int status = xattr_name_status(&remove->name);

    if (status == 0 && inode == NULL)
        status = ESTALE;
    if (status == 0 && model_quota_is_name(&remove->name))
        status = model_quota_remove(s->model, inode, &remove->name);
    if (status != 0)
        return status;
    if (model_quota_is_name(&remove->name) ||
        model_drop_xattr(inode, remove->name.data, remove->name.len)) {
        model_mark_attributes(s, inode);
        model_add_change(s, CFS__CHANGE__KIND__XATTR, inode->attr.ino);
    } else if (!model_acl_is_name(&remove->name)) {
        return ENODATA;
    }
    model_reply_attr(reply, inode);
    return 0;
}

/* ---- Orphans --------------------------------------------------------------------------------- */

int model_op_reap(struct model_step *s, const Cfs__Command *command,
                  struct model_reply *reply BASE_UNUSED)
{
    const Cfs__Reap *reap = command->reap;
    uint64_t freed = 0; /* one command frees about the size of the largest file; the rest is
                         * proposed again */

    if (reap->n_inos > LIMIT_REAP_MAX)
        return E2BIG;
    for (size_t i = 0; i < reap->n_inos && freed < LIMIT_FILE_MAX; i++) {
        struct model_inode *inode = model_find(s->model, reap->inos[i]);

        if (inode == NULL || !model_is_orphan(inode))
            continue;
        freed += model_stored(inode);
        model_remove_inode(s->model, inode->attr.ino);
    }
    return 0;
}
