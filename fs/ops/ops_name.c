/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "fs/ops/open_existing.h"
#include "fs/ops/ops.h"
#include "proto/limits.h"

/* The kernel counts a look-up for each entry in a reply that it took. unsure: the attributes answer
 * a change of an inode that the kernel knows. */
static void reply_name(struct fs *fs, fuse_req_t req, const Cfs__Attr *attr, double valid_s,
                       bool unsure)
{
    struct fuse_entry_param entry;

    attr_entry(fs, attr, &entry);
    entry.entry_timeout = valid_s;
    if (unsure)
        entry.attr_timeout = ATTR_UNSURE_S;
    node_remember(&fs->nodes, attr);
    if (fuse_reply_entry(req, &entry) != 0)
        node_forget(&fs->nodes, attr->ino, 1);
}

static void reply_entry(struct request *r, const Cfs__Attr *attr, bool unsure)
{
    double valid_s = rewalk_doubts(&r->fs->rewalks, r->names[0]) ? 0 : attr_name_valid_s(r->fs);

    reply_name(r->fs, r->req, attr, valid_s, unsure);
}

/* ---- Failing --------------------------------------------------------------------------------- */

/* True if the kernel could have known the error, because it has looked up the name with its
 * directory locked. */
static bool is_surprising(int error)
{
    return error == ENOENT || error == EEXIST || error == ENOTDIR || error == EISDIR;
}

/* True if the kernel may still have the state from before the error. */
static bool is_ahead(const struct request *r, int error)
{
    if (call_uncertain(&r->call))
        return false;
    return is_surprising(error) || lane_forgets_in(r->fs, r->dirs[0]) ||
           (r->dirs[1] != 0 && lane_forgets_in(r->fs, r->dirs[1]));
}

static bool has_looked(const struct request *r, int tid)
{
    for (unsigned i = 0; i < ARRAY_LEN(r->names); i++)
        if (r->names[i] != 0 && !rewalk_has_name(&r->fs->rewalks, tid, r->names[i]))
            return false;
    return true;
}

/* The outcome of a request about names for the program. The kernel must know everything that the
 * program is told (fs/inode/rewalk.h). */
static int outcome(struct request *r, int error)
{
    int tid = fuse_req_ctx(r->req)->pid;

    error = ops_dir_error(r->fs, r->req, r->ino, error);
    if (error != 0 && error != ESTALE && is_ahead(r, error) && !has_looked(r, tid)) {
        ops_note_stale(r->fs, r->req);
        error = ESTALE;
    }
    if (error == ESTALE) {
        if (r->names[1] != 0 && tid != 0) /* no second time for a file that is being moved */
            rewalk_mislead(&r->fs->rewalks, tid);
        return ESTALE;
    }
    ops_note_end(r->fs, r->req);
    return error;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void finish_entry(struct request *r, int error)
{
    error = outcome(r, error);
    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    check(r->call.has_attr);
    reply_entry(r, &r->call.attr, false);
}

static void finish_link(struct request *r, int error)
{
    error = outcome(r, error);
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        reply_entry(r, &r->call.attr, true);
}

static void finish_plain(struct request *r, int error)
{
    fuse_reply_err(r->req, outcome(r, error));
}

/* A request about a name in a directory. */
static struct request *name_request(fuse_req_t req, uint64_t dir, const char *name,
                                    request_finish finish)
{
    struct request *r = request_new(fs_of(req), req, finish);

    r->ino = dir;
    r->dirs[0] = dir;
    r->names[0] = rewalk_hash(dir, name);
    return r;
}

/* The kernel may also remember that a name does not exist. */
static void reply_missing(fuse_req_t req, int error, double valid_s)
{
    struct fuse_entry_param none = {.entry_timeout = valid_s};

    if (error == ENOENT && none.entry_timeout > 0)
        fuse_reply_entry(req, &none);
    else
        fuse_reply_err(req, error);
}

static void finish_lookup(struct request *r, int error);
static void finish_lookup_early(struct request *r, int error);

static void look_up(struct fs *fs, fuse_req_t req, uint64_t parent, const char *name, bool waited)
{
    const struct backend *b = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error = -b->ops->lookup(b->ctx, parent, name, strlen(name), &attr);
    struct request *r;
    int tid = fuse_req_ctx(req)->pid;
    double valid_s;

    if (error != 0) {
        rewalk_note(&fs->rewalks, tid, rewalk_hash(parent, name), 0);
        valid_s = mirror_told(fs, parent, name) ? 0 : attr_entry_valid_s(fs, parent, name);
        rewalk_rename_ends(&fs->rewalks, tid);
        reply_missing(req, ops_dir_error(fs, req, parent, error), valid_s);
        return;
    }
    if (moved_is_early(fs, attr.ino)) {
        r = name_request(req, parent, name, finish_lookup_early);
        r->name = xstrdup(name);
        r->count = waited;
        request_wait(r, &fs->for_news);
        return;
    }
    if (moved_misleads(fs, tid, parent, name, attr.ino)) {
        ops_reply_stale(fs, req);
        return;
    }
    if (!waited && writeback_is_foreign(fs, attr.ino, tid)) {
        writeback_submit(fs, attr.ino);
        r = name_request(req, parent, name, finish_lookup);
        r->name = xstrdup(name);
        if (!writeback_wait(fs, attr.ino, r))
            request_end(r, 0);
        return;
    }
    writeback_show(fs, &attr);
    rewalk_note(&fs->rewalks, tid, rewalk_hash(parent, name), attr.ino);
    valid_s = mirror_told(fs, parent, name) ? 0 : attr_entry_valid_s(fs, parent, name);
    reply_name(fs, req, &attr, valid_s, false);
}

static void finish_lookup_early(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        look_up(r->fs, r->req, r->ino, r->name, r->count != 0);
}

/* Other processes' writes are committed, or that takes too long: answers with the present state. */
static void finish_lookup(struct request *r, int error)
{
    (void)error;
    look_up(r->fs, r->req, r->ino, r->name, true);
}

static void finish_lookup_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        look_up(r->fs, r->req, r->ino, r->name, false);
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fs *fs = fs_of(req);
    int error = ops_name_error(name);
    struct request *r;

    if (mirror_lookup(req, parent, name))
        return;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    if (!fs->options.strong) {
        look_up(fs, req, parent, name, false);
        return;
    }
    r = name_request(req, parent, name, finish_lookup_barrier);
    r->name = xstrdup(name);
    request_barrier(r);
}

void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    node_forget(&fs_of(req)->nodes, ino, nlookup);
    fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        node_forget(&fs_of(req)->nodes, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

/* ---- New inodes ------------------------------------------------------------------------------ */

static void submit_make(struct request *r, uint64_t parent, const char *name, mode_t mode,
                        dev_t rdev, const char *target)
{
    const struct fuse_ctx *credentials = fuse_req_ctx(r->req);
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Make make = CFS__MAKE__INIT;

    make.parent = parent;
    make.name = convert_bytes(name, strlen(name));
    make.mode = mode;
    make.uid = credentials->uid;
    make.gid = credentials->gid;
    make.umask = credentials->umask;
    make.rdev = rdev;
    make.target = convert_bytes(target, strlen(target));
    command.op_case = CFS__COMMAND__OP_MAKE;
    command.make = &make;
    request_submit(r, &command);
}

static void make_entry(fuse_req_t req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
                       const char *target)
{
    int error = ops_name_error(name);

    if (mirror_make(req, parent, name))
        return;
    if (error != 0)
        fuse_reply_err(req, error);
    else
        submit_make(name_request(req, parent, name, finish_entry), parent, name, mode, rdev,
                    target);
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    make_entry(req, parent, name, mode, rdev, "");
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    make_entry(req, parent, name, S_IFDIR | (mode & ~(mode_t)S_IFMT), 0, "");
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    if (strlen(target) > LIMIT_SYMLINK_MAX)
        fuse_reply_err(req, ENAMETOOLONG);
    else
        make_entry(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void reply_create(struct request *r, const Cfs__Attr *attr)
{
    struct fs *fs = r->fs;
    struct fuse_file_info fi = {.flags = r->flags};
    struct fuse_entry_param entry;

    attr_entry(fs, attr, &entry);
    if (rewalk_doubts(&fs->rewalks, r->names[0]))
        entry.entry_timeout = 0;
    node_remember(&fs->nodes, attr);
    ops_open_handle(fs, attr->ino, fuse_req_ctx(r->req)->pid, &fi);
    if (fuse_reply_create(r->req, &entry, &fi) != 0) {
        ops_close_handle(fs, fi.fh);
        node_forget(&fs->nodes, attr->ino, 1);
    }
}

static void finish_create(struct request *r, int error);

static void submit_create(struct request *r)
{
    submit_make(r, r->ino, r->name, S_IFREG | (mode_t)r->mode, 0, "");
}

/* Opens the entry that another host has made under the name meanwhile. */
static void finish_create_existing(struct request *r, int error)
{
    struct fs *fs = r->fs;
    const struct backend *b = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (error == 0)
        error = -b->ops->lookup(b->ctx, r->ino, r->name, strlen(r->name), &attr);
    if (error == ENOENT) { /* it is gone again */
        submit_create(request_next(r, finish_create));
        return;
    }
    if (error == 0)
        error = open_existing_error(fs, r->req, r->ino, &attr, r->flags);
    ops_note_end(fs, r->req);
    if (error != 0) {
        fuse_reply_err(r->req, error == ESTALE ? ENOENT : error);
        return;
    }
    writeback_show(fs, &attr);
    reply_create(r, &attr);
    if ((r->flags & O_TRUNC) != 0 && attr.size > 0)
        writeback_truncate(fs, attr.ino, fuse_req_ctx(r->req)->pid, r->count != 0);
}

static void open_existing(struct request *r)
{
    const struct backend *b = &r->fs->backend;
    struct request *next = request_next(r, finish_create_existing);
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (b->ops->lookup(b->ctx, r->ino, next->name, strlen(next->name), &attr) != 0 ||
        !lane_wait_inode(r->fs, attr.ino, next))
        request_end(next, 0);
}

/* The kernel sends CREATE for a name that it believes not to exist. If another host was faster,
 * ESTALE makes the kernel walk the path again and ask for the name: it finds the file and opens it,
 * with all its checks. If it had walked again already and did not find the file then, the file is
 * opened here. */
static void finish_create(struct request *r, int error)
{
    int tid = fuse_req_ctx(r->req)->pid;

    if (error == EEXIST && (r->flags & O_EXCL) == 0 &&
        rewalk_has_name(&r->fs->rewalks, tid, r->names[0])) {
        open_existing(r);
        return;
    }
    error = outcome(r, error);
    if (error != 0) {
        fuse_reply_err(r->req, error);
        return;
    }
    check(r->call.has_attr);
    reply_create(r, &r->call.attr);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                struct fuse_file_info *fi)
{
    int error = ops_name_error(name);
    struct request *r;

    if (mirror_denied(req))
        return;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    r = name_request(req, parent, name, finish_create);
    r->flags = fi->flags;
    r->name = xstrdup(name);
    r->count = io_kill_suid(&r->fs->io);
    r->mode = mode & ~(mode_t)S_IFMT;
    submit_create(r);
}

/* ---- Names of inodes that exist -------------------------------------------------------------- */

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Link link = CFS__LINK__INIT;
    int error = ops_name_error(name);

    if (mirror_make(req, parent, name))
        return;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    link.ino = ino;
    link.parent = parent;
    link.name = convert_bytes(name, strlen(name));
    command.op_case = CFS__COMMAND__OP_LINK;
    command.link = &link;
    request_submit(name_request(req, parent, name, finish_link), &command);
}

static void remove_name(fuse_req_t req, uint64_t parent, const char *name, bool directory)
{
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Unlink unlink = CFS__UNLINK__INIT;
    int error = ops_name_error(name);

    if (mirror_remove(req, parent, name))
        return;
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    unlink.parent = parent;
    unlink.name = convert_bytes(name, strlen(name));
    unlink.directory = directory;
    command.op_case = CFS__COMMAND__OP_UNLINK;
    command.unlink = &unlink;
    request_submit(name_request(req, parent, name, finish_plain), &command);
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, false);
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, true);
}

/* 0, or the errno for flags that are not supported (RENAME_WHITEOUT). */
static int rename_mode(unsigned flags, Cfs__Rename__Mode *out)
{
    switch (flags) {
    case 0:
        *out = CFS__RENAME__MODE__REPLACE;
        return 0;
    case RENAME_NOREPLACE:
        *out = CFS__RENAME__MODE__NOREPLACE;
        return 0;
    case RENAME_EXCHANGE:
        *out = CFS__RENAME__MODE__EXCHANGE;
        return 0;
    default:
        return EINVAL;
    }
}

static int lookup_ino(struct fs *fs, uint64_t parent, const char *name, uint64_t *ino)
{
    Cfs__Attr attr = CFS__ATTR__INIT;
    int err = fs->backend.ops->lookup(fs->backend.ctx, parent, name, strlen(name), &attr);

    *ino = attr.ino;
    return err;
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                const char *new_name, unsigned flags)
{
    struct fs *fs = fs_of(req);
    struct request *r;
    uint64_t ino;
    Cfs__Command command = CFS__COMMAND__INIT;
    Cfs__Rename rename = CFS__RENAME__INIT;
    int error = ops_name_error(name);

    if (mirror_rename(req, parent, name, new_parent, new_name))
        return;
    if (error == 0)
        error = ops_name_error(new_name);
    if (error == 0)
        error = rename_mode(flags, &rename.mode);
    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    rewalk_rename_ends(&fs->rewalks, fuse_req_ctx(req)->pid);
    /* The new name must not show less than the old one did. */
    if (lookup_ino(fs, parent, name, &ino) == 0)
        writeback_submit(fs, ino);
    rename.parent = parent;
    rename.name = convert_bytes(name, strlen(name));
    rename.new_parent = new_parent;
    rename.new_name = convert_bytes(new_name, strlen(new_name));
    command.op_case = CFS__COMMAND__OP_RENAME;
    command.rename = &rename;
    r = name_request(req, parent, name, finish_plain);
    r->dirs[1] = new_parent;
    r->names[1] = rewalk_hash(new_parent, new_name);
    request_submit(r, &command);
}
