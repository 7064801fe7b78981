/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Each operation has two halves. The first looks up all directories and inodes and returns an error
 * if anything is not permitted; it changes nothing. The second cannot fail: it changes the entries,
 * then the inodes (struct op_inode: as it was, as it will be), then the quotas, and records the
 * change.
 *
 * An entry consists of a name and a cookie, the position that readdir continues from. A regular
 * file that loses its last name becomes an orphan, because a host may have it open; the leader
 * proposes a Reap when none has. Removing the last entry of a container removes the container, and
 * so on upwards (leave_container). */
#include "store/tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/limits.h"
#include "store/acl.h"
#include "store/content.h"
#include "store/history.h"
#include "store/quota.h"
#include "store/special.h"

/* ---- Names and directories --------------------------------------------------------------------*/

/* Checks a name. For "." and ".." each operation has its own error, as in Linux. */
static uint32_t check_name(ProtobufCBinaryData name, uint32_t dot, uint32_t dotdot)
{
    if (name.len > LIMIT_NAME_MAX)
        return ENAMETOOLONG;
    if (name.len == 0 || memchr(name.data, '/', name.len) != NULL ||
        memchr(name.data, '\0', name.len) != NULL)
        return EINVAL;
    if (name.len == 1 && name.data[0] == '.')
        return dot;
    if (name.len == 2 && memcmp(name.data, "..", 2) == 0)
        return dotdot;
    return 0;
}

/* The name of the control directory is reserved in the root (fs/control/vdir.h). */
static uint32_t check_reserved(uint64_t dir, ProtobufCBinaryData name)
{
    const size_t len = sizeof LIMIT_CONTROL_NAME - 1;

    return dir == ROW_ROOT_INO && name.len == len && memcmp(name.data, LIMIT_CONTROL_NAME, len) == 0
               ? EPERM
               : 0;
}

/* Finds the directory that a name is looked up in. A removed directory has no inode any more. */
static uint32_t find_dir(struct op *op, uint64_t ino, struct op_inode *out)
{
    if (!op_inode_find(op, ino, out))
        return ENOENT;
    if (!op_is_dir(&out->was))
        return ENOTDIR;
    return out->was.nlink == 0 ? ENOENT : 0; /* removed: nothing can come into it any more */
}

static void dir_changed(struct op *op, struct op_inode *dir)
{
    dir->is.mtime = op->now;
    dir->is.ctime = op->now;
    dir->is.cversion++;
    dir->is.children_modified = op->index;
    special_dir_changed(op, dir->is.ino, dir->is.size);
}

/* dir_gain, dir_lose: the directory got or lost an entry of this type. */
static void dir_gain(struct op_inode *dir, uint32_t type)
{
    dir->is.size++;
    dir->is.nlink += type == S_IFDIR ? 1 : 0;
}

static void dir_lose(struct op_inode *dir, uint32_t type)
{
    dir->is.size--;
    dir->is.nlink -= type == S_IFDIR ? 1 : 0;
}

static struct dirent new_dirent(struct op *op, const struct inode *inode)
{
    return (struct dirent){op->rows->state->n.next_dirent++, inode->ino, op_type(inode)};
}

static Cfs__Change *name_change(struct op *op, Cfs__Change__Kind kind, uint64_t ino,
                                uint64_t parent, ProtobufCBinaryData name)
{
    Cfs__Change *change = op_change(op, kind, ino);

    change->parent = parent;
    change->name = name;
    history_note_names(op, change);
    return change;
}

/* ---- Make -------------------------------------------------------------------------------------*/

static uint32_t check_new(const Cfs__Make *c)
{
    bool link = (c->mode & S_IFMT) == S_IFLNK;

    if ((c->mode & ~(uint32_t)(S_IFMT | 07777)) != 0 || link != (c->target.len > 0))
        return EINVAL;
    switch (c->mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
        return 0;
    case S_IFLNK:
        if (c->target.len > LIMIT_SYMLINK_MAX)
            return ENAMETOOLONG;
        return memchr(c->target.data, '\0', c->target.len) != NULL ? EINVAL : 0;
    default:
        return EINVAL;
    }
}

static uint32_t check_room(struct op *op, uint64_t bytes)
{
    const struct counters *n = &op->rows->state->n;

    if (n->inodes >= op->max_inodes || n->entries >= op->max_inodes || !op_has_room(op, bytes) ||
        n->next_ino > CONTENT_INO_MAX)
        return ENOSPC;
    return 0;
}

static struct inode new_inode(struct op *op, const Cfs__Make *c, const struct inode *dir)
{
    uint32_t type = c->mode & S_IFMT;
    struct inode inode = {
        .ino = op->rows->state->n.next_ino++,
        .mode = type == S_IFLNK ? S_IFLNK | 0777 : c->mode,
        .nlink = type == S_IFDIR ? 2 : 1,
        .uid = c->uid,
        .gid = c->gid,
        .rdev = type == S_IFCHR || type == S_IFBLK ? c->rdev : 0,
        .size = type == S_IFLNK ? c->target.len : 0,
        .atime = op->now,
        .mtime = op->now,
        .ctime = op->now,
        .created = op->index,
        .modified = op->index,
        .children_modified = type == S_IFDIR ? op->index : 0,
        .parent = type == S_IFDIR ? dir->ino : 0,
    };

    if (dir->mode & S_ISGID) {
        inode.gid = dir->gid;
        inode.mode |= type == S_IFDIR ? S_ISGID : 0;
    }
    return inode;
}

/* Chooses the name of a sequential entry: with the directory's next number, or the first free
 * number after it. */
static uint32_t number_name(struct op *op, const Cfs__Make *c, struct special *dir,
                            ProtobufCBinaryData *name)
{
    const size_t digits = sizeof "18446744073709551615";
    struct dirent d;
    uint32_t status;

    if (c->name.len > LIMIT_NAME_MAX)
        return ENAMETOOLONG;
    name->data = op_alloc(op, c->name.len + digits);
    if (c->name.len > 0)
        memcpy(name->data, c->name.data, c->name.len);
    for (unsigned tries = 0; tries < LIMIT_SEQUENCE_TRY; tries++) {
        int len = snprintf((char *)name->data + c->name.len, digits, "%010llu",
                           (unsigned long long)dir->sequence++);

        name->len = c->name.len + (size_t)len;
        if ((status = check_name(*name, EEXIST, EEXIST)))
            return status;
        if (!row_dirent_find(op->rows, c->parent, op_bytes(*name), &d))
            return 0;
    }
    return EEXIST;
}

static uint32_t find_name(struct op *op, const Cfs__Make *c, struct special *dir,
                          ProtobufCBinaryData *name)
{
    struct dirent d;

    if (c->sequential)
        return number_name(op, c, dir, name);
    *name = c->name;
    return row_dirent_find(op->rows, c->parent, op_bytes(c->name), &d) ? EEXIST : 0;
}

/* Checks that the quota has room for a new inode in the directory. */
static uint32_t check_quota(struct op *op, uint64_t dir, uint64_t bytes)
{
    return quota_has_room(op, quota_of_dir(op, dir), bytes, 1) ? 0 : EDQUOT;
}

static struct inode insert_inode(struct op *op, const Cfs__Make *c, const struct inode *dir,
                                 const struct acl_pair *acls)
{
    struct inode inode = new_inode(op, c, dir);

    if (op_type(&inode) != S_IFLNK) /* symlinks have all permissions */
        inode.mode = (inode.mode & ~(uint64_t)0777) | acls->permissions;
    inode.xattr_bytes = acl_pair_bytes(acls);
    row_inode_insert(op->rows, &inode);
    if (op_type(&inode) == S_IFLNK)
        row_symlink_insert(op->rows, inode.ino, op_bytes(c->target));
    acl_pair_insert(op, inode.ino, acls);
    return inode;
}

uint32_t tree_make(struct op *op, const Cfs__Make *c)
{
    uint32_t type = c->mode & S_IFMT;
    struct special dir_was, dir_is, plan;
    ProtobufCBinaryData name = {0, NULL};
    struct acl_pair acls;
    struct op_inode dir;
    struct inode inode;
    struct dirent d;
    uint32_t status;

    if ((!c->sequential && ((status = check_name(c->name, EEXIST, EEXIST)) ||
                            (status = check_reserved(c->parent, c->name)))) ||
        (status = check_new(c)) || (status = find_dir(op, c->parent, &dir)))
        return status;
    special_find(op, c->parent, &dir_was);
    dir_is = dir_was;
    if ((status = find_name(op, c, &dir_is, &name)))
        return status;
    if (type == S_IFDIR && dir.was.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    acl_inherit(op, &dir.was, c->mode, c->umask, &acls);
    if ((status = check_room(op, c->target.len + acl_pair_bytes(&acls))) ||
        (status = check_quota(op, c->parent, c->target.len + acl_pair_bytes(&acls))) ||
        (status = special_plan(op, &dir_was, c->ephemeral, type, &plan)))
        return status;

    inode = insert_inode(op, c, &dir.was, &acls);
    quota_made(op, c->parent, &inode);
    special_made(op, &plan, inode.ino);
    special_save(op, &dir_was, &dir_is);
    d = new_dirent(op, &inode);
    row_dirent_insert(op->rows, c->parent, op_bytes(name), &d);
    dir_gain(&dir, type);
    dir_changed(op, &dir);
    op_inode_save(op, &dir);

    name_change(op, CFS__CHANGE__KIND__CREATE, inode.ino, c->parent, name);
    op_reply_attr(op, &inode);
    if (c->sequential)
        op->reply.name = name;
    return 0;
}

void tree_make_root(struct rows *r)
{
    struct inode root = {
        .ino = ROW_ROOT_INO, .mode = S_IFDIR | 0755, .nlink = 2, .parent = ROW_ROOT_INO};

    check(r->state->n.next_ino == ROW_ROOT_INO);
    r->state->n.next_ino++;
    row_inode_insert(r, &root);
}

/* ---- Link -------------------------------------------------------------------------------------*/

uint32_t tree_link(struct op *op, const Cfs__Link *c)
{
    struct op_inode dir, inode;
    struct special special;
    struct dirent d;
    uint32_t status;

    if ((status = check_name(c->name, EEXIST, EEXIST)) ||
        (status = check_reserved(c->parent, c->name)) || (status = find_dir(op, c->parent, &dir)))
        return status;
    if (!op_inode_find(op, c->ino, &inode))
        return ESTALE;
    if (row_dirent_find(op->rows, c->parent, op_bytes(c->name), &d))
        return EEXIST;
    if (op_is_dir(&inode.was))
        return EPERM;
    if (inode.was.nlink == 0)
        return ENOENT;
    if (inode.was.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    if (special_find(op, c->ino, &special) && special_is_mortal(&special))
        return EPERM;
    if (quota_of(op, &inode.was) != quota_of_dir(op, c->parent))
        return EXDEV;
    if (op->rows->state->n.entries >= op->max_inodes)
        return ENOSPC;

    d = new_dirent(op, &inode.was);
    row_dirent_insert(op->rows, c->parent, op_bytes(c->name), &d);
    inode.is.nlink++;
    inode.is.ctime = op->now;
    op_inode_save(op, &inode);
    dir_gain(&dir, op_type(&inode.was));
    dir_changed(op, &dir);
    op_inode_save(op, &dir);

    name_change(op, CFS__CHANGE__KIND__LINK, c->ino, c->parent, c->name);
    op_reply_attr(op, &inode.is);
    return 0;
}

/* ---- Unlink -----------------------------------------------------------------------------------*/

/* Removes one name of the inode, in `dir`. An inode without a name stays as an orphan, whatever its
 * type: a process may have it open, mounted, or as its working directory. */
static void drop_link(struct op *op, const struct op_inode *dir, struct op_inode *i)
{
    i->is.nlink = op_is_dir(&i->was) ? 0 : i->was.nlink - 1;
    i->is.ctime = op->now;
    if (i->is.nlink == 0) {
        special_forget(op, i->was.ino);
        row_orphan_insert(op->rows, i->was.ino, op->index);
        quota_orphaned(op, dir->was.ino, &i->was);
    }
    op_inode_save(op, i);
}

static void take_out(struct op *op, struct op_inode *dir, ProtobufCBinaryData name,
                     const struct dirent *d, struct op_inode *victim)
{
    bool directory = op_is_dir(&victim->was);

    row_dirent_delete(op->rows, dir->was.ino, op_bytes(name), d);
    drop_link(op, dir, victim);
    dir_lose(dir, op_type(&victim->was));
    dir_changed(op, dir);
    op_inode_save(op, dir);
    name_change(op, directory ? CFS__CHANGE__KIND__RMDIR : CFS__CHANGE__KIND__UNLINK, d->ino,
                dir->was.ino, name);
}

/* Deletes an inode together with its only name, which was in `dir`. */
static void take_out_inode(struct op *op, struct op_inode *victim, struct op_inode *dir)
{
    sqlite3_stmt *st = db_get(op->rows->db, STATEMENT_DIRENT_OF_INODE);
    ProtobufCBinaryData name;
    struct bytes stored;
    struct dirent d;
    uint64_t parent;

    db_bind(st, 1, victim->was.ino);
    check(db_step(op->rows->db, st) > 0);
    parent = db_u64(st, 0);
    stored = row_bytes(st, 1);
    name = (ProtobufCBinaryData){stored.len, op_alloc(op, stored.len)};
    memcpy(name.data, stored.data, stored.len);
    db_reset(st);
    check(op_inode_find(op, parent, dir));
    check(row_dirent_find(op->rows, parent, op_bytes(name), &d));
    take_out(op, dir, name, &d, victim);
}

/* The directory has lost an entry. If it is a container and empty now, it is removed, too. */
static void leave_container(struct op *op, const struct op_inode *dir)
{
    struct op_inode at = *dir;
    struct special special;
    bool unseen = op->unseen;

    op->unseen = true;
    for (unsigned n = 0; n < LIMIT_CONTAINERS; n++) {
        struct op_inode victim = {at.is, at.is};

        if (victim.was.size > 0 || !special_find(op, victim.was.ino, &special) ||
            !special.container)
            break;
        take_out_inode(op, &victim, &at);
    }
    op->unseen = unseen;
}

uint32_t tree_unlink(struct op *op, const Cfs__Unlink *c)
{
    struct op_inode dir, victim;
    struct dirent d;
    uint32_t status =
        c->directory ? check_name(c->name, EINVAL, ENOTEMPTY) : check_name(c->name, EISDIR, EISDIR);

    if (status || (status = find_dir(op, c->parent, &dir)))
        return status;
    if (!row_dirent_find(op->rows, c->parent, op_bytes(c->name), &d))
        return ENOENT;
    check(op_inode_find(op, d.ino, &victim));
    if (c->directory && !op_is_dir(&victim.was))
        return ENOTDIR;
    if (!c->directory && op_is_dir(&victim.was))
        return EISDIR;
    if (c->directory && victim.was.size > 0)
        return ENOTEMPTY;

    take_out(op, &dir, c->name, &d, &victim);
    leave_container(op, &dir);
    op_reply_attr(op, &victim.is);
    return 0;
}

bool tree_remove(struct op *op, uint64_t ino)
{
    struct op_inode victim, dir;

    if (!op_inode_find(op, ino, &victim) || victim.was.nlink == 0 ||
        (op_is_dir(&victim.was) && victim.was.size > 0))
        return false;
    take_out_inode(op, &victim, &dir);
    leave_container(op, &dir);
    return true;
}

/* ---- Rename -----------------------------------------------------------------------------------*/

/* Everything that a rename involves. `to` is `from` if both names are in one directory. */
struct rename {
    const Cfs__Rename *c;
    struct op_inode dirs[2];
    struct op_inode *from;
    struct op_inode *to;
    struct op_inode source;
    struct op_inode target; /* if has_target */
    struct dirent source_entry;
    struct dirent target_entry;
    bool has_target;
};

/* True if `ino` is the directory or one of its ancestors. */
static bool is_above(struct op *op, uint64_t ino, const struct inode *dir)
{
    struct inode at = *dir;

    while (at.ino != ino) {
        if (at.ino == ROW_ROOT_INO)
            return false;
        check(row_inode_find(op->rows, at.parent, &at));
    }
    return true;
}

static uint32_t rename_find(struct op *op, struct rename *r)
{
    const Cfs__Rename *c = r->c;
    uint32_t dot = c->mode == CFS__RENAME__MODE__NOREPLACE ? EEXIST : EBUSY;
    uint32_t status;

    if ((status = check_name(c->name, EBUSY, EBUSY)) ||
        (status = check_name(c->new_name, dot, dot)) ||
        (status = check_reserved(c->new_parent, c->new_name)))
        return status;
    if (c->mode != CFS__RENAME__MODE__REPLACE && c->mode != CFS__RENAME__MODE__NOREPLACE &&
        c->mode != CFS__RENAME__MODE__EXCHANGE)
        return EINVAL;
    r->from = &r->dirs[0];
    r->to = c->new_parent == c->parent ? r->from : &r->dirs[1];
    if ((status = find_dir(op, c->parent, r->from)))
        return status;
    if (r->to != r->from && (status = find_dir(op, c->new_parent, r->to)))
        return status;
    if (!row_dirent_find(op->rows, c->parent, op_bytes(c->name), &r->source_entry))
        return ENOENT;
    check(op_inode_find(op, r->source_entry.ino, &r->source));
    r->has_target =
        row_dirent_find(op->rows, c->new_parent, op_bytes(c->new_name), &r->target_entry);
    if (r->has_target)
        check(op_inode_find(op, r->target_entry.ino, &r->target));
    return 0;
}

/* Refuses to move a directory below itself, and to replace a directory by one of its descendants.
 */
static uint32_t rename_check_loops(struct op *op, const struct rename *r)
{
    if (r->to == r->from)
        return 0; /* neither inode is the directory itself */
    if (op_is_dir(&r->source.was) && is_above(op, r->source.was.ino, &r->to->was))
        return EINVAL;
    if (r->has_target && op_is_dir(&r->target.was) &&
        is_above(op, r->target.was.ino, &r->from->was))
        return r->c->mode == CFS__RENAME__MODE__EXCHANGE ? EINVAL : ENOTEMPTY;
    return 0;
}

/* Checks that the directories may have one more subdirectory. */
static uint32_t rename_check_nlink(const struct rename *r)
{
    bool source_dir = op_is_dir(&r->source.was);
    bool target_dir = r->has_target && op_is_dir(&r->target.was);
    bool exchange = r->c->mode == CFS__RENAME__MODE__EXCHANGE;

    if (r->to == r->from)
        return 0;
    if (source_dir && !target_dir && r->to->was.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    if (exchange && target_dir && !source_dir && r->from->was.nlink >= LIMIT_LINK_MAX)
        return EMLINK;
    return 0;
}

static uint32_t rename_check_quota(struct op *op, const struct rename *r)
{
    if (r->to == r->from)
        return 0;
    return quota_of_dir(op, r->from->was.ino) == quota_of_dir(op, r->to->was.ino) ? 0 : EXDEV;
}

static uint32_t rename_check_replace(const struct rename *r)
{
    if (!r->has_target)
        return 0;
    if (op_is_dir(&r->source.was) && !op_is_dir(&r->target.was))
        return ENOTDIR;
    if (!op_is_dir(&r->source.was) && op_is_dir(&r->target.was))
        return EISDIR;
    return op_is_dir(&r->target.was) && r->target.was.size > 0 ? ENOTEMPTY : 0;
}

static void rename_moved(struct op *op, struct op_inode *i, const struct op_inode *to)
{
    i->is.ctime = op->now;
    if (op_is_dir(&i->was))
        i->is.parent = to->was.ino;
}

static void rename_save_dirs(struct op *op, struct rename *r)
{
    dir_changed(op, r->from);
    op_inode_save(op, r->from);
    if (r->to == r->from)
        return;
    dir_changed(op, r->to);
    op_inode_save(op, r->to);
}

static void rename_report(struct op *op, const struct rename *r, Cfs__Change__Kind kind)
{
    Cfs__Change *change = name_change(op, kind, r->source.was.ino, r->c->parent, r->c->name);

    change->new_parent = r->c->new_parent;
    change->new_name = r->c->new_name;
    change->victim = r->has_target ? r->target.was.ino : 0;
    history_note_names(op, change);
}

static void rename_exchange(struct op *op, struct rename *r)
{
    struct dirent source_is = r->source_entry, target_is = r->target_entry;
    uint32_t source_type = op_type(&r->source.was), target_type = op_type(&r->target.was);

    source_is.ino = r->target.was.ino;
    source_is.type = target_type;
    target_is.ino = r->source.was.ino;
    target_is.type = source_type;
    row_dirent_set(op->rows, r->c->parent, op_bytes(r->c->name), &r->source_entry, &source_is);
    row_dirent_set(op->rows, r->c->new_parent, op_bytes(r->c->new_name), &r->target_entry,
                   &target_is);
    dir_lose(r->from, source_type);
    dir_gain(r->from, target_type);
    dir_lose(r->to, target_type);
    dir_gain(r->to, source_type);
    rename_moved(op, &r->source, r->to);
    rename_moved(op, &r->target, r->from);
    op_inode_save(op, &r->source);
    op_inode_save(op, &r->target);
    rename_save_dirs(op, r);
    rename_report(op, r, CFS__CHANGE__KIND__EXCHANGE);
}

/* Keeps cookies where possible, so that a directory that is being read shows each file once: a
 * replaced name keeps its own cookie, and a name that changes within its directory keeps the old
 * name's cookie. */
static void rename_entries(struct op *op, struct rename *r)
{
    struct bytes new_name = op_bytes(r->c->new_name);
    struct dirent is = r->source_entry;

    row_dirent_delete(op->rows, r->c->parent, op_bytes(r->c->name), &r->source_entry);
    if (r->has_target) {
        is.id = r->target_entry.id;
        row_dirent_set(op->rows, r->c->new_parent, new_name, &r->target_entry, &is);
        return;
    }
    if (r->to != r->from)
        is = new_dirent(op, &r->source.was);
    row_dirent_insert(op->rows, r->c->new_parent, new_name, &is);
}

static void rename_replace(struct op *op, struct rename *r)
{
    rename_entries(op, r);
    dir_lose(r->from, op_type(&r->source.was));
    dir_gain(r->to, op_type(&r->source.was));
    if (r->has_target) {
        dir_lose(r->to, op_type(&r->target.was));
        drop_link(op, r->to, &r->target);
    }
    rename_moved(op, &r->source, r->to);
    op_inode_save(op, &r->source);
    rename_save_dirs(op, r);
    rename_report(op, r, CFS__CHANGE__KIND__RENAME);
    if (r->to != r->from)
        leave_container(op, r->from);
}

uint32_t tree_rename(struct op *op, const Cfs__Rename *c)
{
    bool exchange = c->mode == CFS__RENAME__MODE__EXCHANGE;
    struct rename r = {.c = c};
    uint32_t status = rename_find(op, &r);

    if (status)
        return status;
    if (c->mode == CFS__RENAME__MODE__NOREPLACE && r.has_target)
        return EEXIST;
    if (exchange && !r.has_target)
        return ENOENT;
    if ((status = rename_check_loops(op, &r)))
        return status;
    if (r.has_target && r.source.was.ino == r.target.was.ino)
        return 0; /* two names of one file: nothing changes, as POSIX demands */
    if (!exchange && (status = rename_check_replace(&r)))
        return status;
    if ((status = rename_check_nlink(&r)) || (status = rename_check_quota(op, &r)))
        return status;
    if (exchange)
        rename_exchange(op, &r);
    else
        rename_replace(op, &r);
    return 0;
}
