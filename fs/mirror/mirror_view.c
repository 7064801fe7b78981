/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/inode/attr.h"
#include "fs/kernel/convert.h"
#include "fs/kernel/mount.h"
#include "fs/mirror/mirror.h"
#include "fs/state.h"

#define COUNTED_MAX 1000u

/* ---- Recognising it ---------------------------------------------------------------------------*/

static struct mirror_process *find_process(const struct mirror *m, int pid)
{
    struct mirror_process *p;

    LIST_FOREACH (p, &m->processes, link)
        if (pid != 0 && atomic_load(&p->pid) == pid)
            return p;
    return NULL;
}

bool mirror_sends(const struct mirror *m, int pid)
{
    return find_process(m, pid) != NULL;
}

static bool is_mirror(fuse_req_t req)
{
    return mirror_sends(&fs_of(req)->mirror, fuse_req_ctx(req)->pid);
}

static struct mirror_op *current_op(fuse_req_t req)
{
    const struct mirror_process *p = find_process(&fs_of(req)->mirror, fuse_req_ctx(req)->pid);

    return p == NULL ? NULL : atomic_load(&p->current);
}

static bool same_name(const struct mirror_name *n, uint64_t dir, const char *name)
{
    return n->dir == dir && n->name != NULL && strcmp(n->name, name) == 0;
}

/* A change that the mirror asks for is the current operation or nothing. It must never change the
 * tree. */
static bool accepts(struct mirror_op *op, bool matches)
{
    return op != NULL && matches && !atomic_load(&op->refused);
}

static void refuse(fuse_req_t req)
{
    fuse_reply_err(req, ECANCELED);
}

/* ---- The state before and after the operation ---- */

/* The number of names that the inode has in the kernel's view and not in the tree. */
static int more_links(struct fs *fs, uint64_t ino, const struct mirror_op *current)
{
    const struct mirror_op *op;
    unsigned n = 0;
    int more = 0;

    TAILQ_FOREACH (op, &fs->mirror.ops, link) {
        if (++n > COUNTED_MAX)
            break;
        if ((op->kind == MIRROR_UNLINK && op->ino == ino) ||
            (op->kind == MIRROR_RENAME && op->victim == ino))
            more++;
        if (op->kind == MIRROR_LINK && op->ino == ino && op != current)
            more--;
    }
    return more;
}

/* The type of an inode that is gone from the tree. Only a directory can take a directory's place.
 */
static uint32_t view_type(struct fs *fs, const struct mirror_op *op, uint64_t ino)
{
    uint32_t type = node_type(&fs->nodes, ino);

    if (type != 0)
        return type;
    if (ino == op->ino)
        return op->mode & S_IFMT;
    return op->kind == MIRROR_RENAME && S_ISDIR(op->mode) ? S_IFDIR : S_IFREG;
}

/* The attributes that the kernel must believe of an inode that exists for it. The inode may be gone
 * from the tree. */
static void view(struct fs *fs, const struct mirror_op *op, uint64_t ino, Cfs__Attr *out)
{
    uint32_t type = view_type(fs, op, ino);
    int64_t links;

    if (attr_get(fs, ino, out) != 0) {
        out->ino = ino;
        out->mode = type;
        out->nlink = 0;
    }
    links = (int64_t)out->nlink + more_links(fs, ino, op);
    if (S_ISDIR(out->mode))
        out->nlink = out->nlink < 2 ? 2 : out->nlink;
    else
        out->nlink = links < 1 ? 1 : (uint32_t)links;
}

/* True if the name leads there in the tree, too. Then the kernel may keep the answer. */
static double name_valid_s(struct fs *fs, uint64_t parent, const char *name, uint64_t ino)
{
    const struct backend *b = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (b->ops->lookup(b->ctx, parent, name, strlen(name), &attr) != 0 || attr.ino != ino)
        return 0;
    return attr_name_valid_s(fs);
}

static void reply_entry(fuse_req_t req, const struct mirror_op *op, uint64_t ino, double valid_s,
                        bool unsure)
{
    struct fs *fs = fs_of(req);
    struct fuse_entry_param entry;
    Cfs__Attr attr = CFS__ATTR__INIT;

    view(fs, op, ino, &attr);
    attr_entry(fs, &attr, &entry);
    entry.entry_timeout = valid_s;
    entry.attr_timeout = valid_s == 0 || unsure ? ATTR_UNSURE_S : entry.attr_timeout;
    node_remember(&fs->nodes, &attr);
    if (fuse_reply_entry(req, &entry) != 0)
        node_forget(&fs->nodes, ino, 1);
}

/* The kernel needs it for the system call that it has begun; other processes are to ask. */
static void reply_none(fuse_req_t req)
{
    struct fuse_entry_param none = {.entry_timeout = 0};

    fuse_reply_entry(req, &none);
}

static void reply_attr(fuse_req_t req, const struct mirror_op *op, uint64_t ino, double valid_s)
{
    struct fs *fs = fs_of(req);
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct stat st;

    view(fs, op, ino, &attr);
    convert_stat(&attr, &st);
    fuse_reply_attr(req, &st, valid_s);
}

/* ---- Requests ---------------------------------------------------------------------------------*/

/* The inode that the i-th name led to before the operation. */
static uint64_t before(const struct mirror_op *op, unsigned i)
{
    if (op->kind == MIRROR_MAKE || op->kind == MIRROR_LINK)
        return 0;
    return i == 0 ? op->ino : op->victim;
}

/* For the system call that the kernel has begun it is the truth; other processes are to ask. A
 * rename moves the entry to another name, where the answer need not be true. But a directory that
 * something is mounted on would be unmounted when the next answer is another. */
static double before_valid_s(struct fs *fs, const struct mirror_op *op, unsigned i)
{
    const struct mirror_name *n = &op->names[i];

    if (n->soft && mount_has_submounts(fs->mount_id))
        return attr_name_valid_s(fs);
    if (op->kind == MIRROR_RENAME || op->kind == MIRROR_EXCHANGE)
        return 0;
    return name_valid_s(fs, n->dir, n->name, before(op, i));
}

/* Another name, on the way: as it is. It waits for nothing, and is never told to look again. */
static void look_up(fuse_req_t req, uint64_t parent, const char *name)
{
    struct fs *fs = fs_of(req);
    const struct backend *b = &fs->backend;
    Cfs__Attr attr = CFS__ATTR__INIT;
    struct fuse_entry_param entry;
    int err = b->ops->lookup(b->ctx, parent, name, strlen(name), &attr);

    if (err != 0) {
        fuse_reply_err(req, err == -ESTALE ? ENOENT : -err);
        return;
    }
    attr_get(fs, attr.ino, &attr);
    attr_entry(fs, &attr, &entry);
    entry.entry_timeout = attr_entry_valid_s(fs, parent, name);
    node_remember(&fs->nodes, &attr);
    if (fuse_reply_entry(req, &entry) != 0)
        node_forget(&fs->nodes, attr.ino, 1);
}

bool mirror_lookup(fuse_req_t req, uint64_t parent, const char *name)
{
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    for (unsigned i = 0; op != NULL && i < ARRAY_LEN(op->names); i++) {
        if (!same_name(&op->names[i], parent, name))
            continue;
        atomic_store(&op->names[i].newer, false);
        if (before(op, i) == 0)
            reply_none(req);
        else
            reply_entry(req, op, before(op, i), before_valid_s(fs_of(req), op, i), false);
        return true;
    }
    look_up(req, parent, name);
    return true;
}

/* What of an ACL, or of another attribute, is left where the tree has no inode any more: the kernel
 * checks permissions with it, and root's do not depend on it. */
int64_t mirror_xattr(fuse_req_t req, int64_t n)
{
    return n == -ESTALE && is_mirror(req) ? -ENODATA : n;
}

static bool op_told(struct mirror_op *op, uint64_t parent, const char *name)
{
    bool told = false;

    for (unsigned i = 0; op != NULL && i < ARRAY_LEN(op->names); i++)
        if (same_name(&op->names[i], parent, name)) {
            atomic_store(&op->names[i].newer, true);
            told = true;
        }
    return told;
}

bool mirror_told(struct fs *fs, uint64_t parent, const char *name)
{
    struct mirror_process *p;
    bool told = false;

    LIST_FOREACH (p, &fs->mirror.processes, link)
        told = op_told(atomic_load(&p->current), parent, name) || told;
    return told;
}

/* The kernel asks while it holds the directories' locks; the names were decided before. */
static void accept_names(fuse_req_t req, struct mirror_op *op)
{
    if (atomic_load(&op->names[0].newer) || atomic_load(&op->names[1].newer)) {
        fuse_reply_err(req, ESTALE);
        return;
    }
    atomic_store(&op->answered, true);
    fuse_reply_err(req, 0);
}

bool mirror_make(fuse_req_t req, uint64_t parent, const char *name)
{
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (!accepts(op, op != NULL && (op->kind == MIRROR_MAKE || op->kind == MIRROR_LINK) &&
                         same_name(&op->names[0], parent, name))) {
        refuse(req);
        return true;
    }
    atomic_store(&op->answered, true);
    reply_entry(req, op, op->ino, name_valid_s(fs_of(req), parent, name, op->ino), true);
    return true;
}

bool mirror_remove(fuse_req_t req, uint64_t parent, const char *name)
{
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (accepts(op, op != NULL && (op->kind == MIRROR_UNLINK || op->kind == MIRROR_RMDIR) &&
                        same_name(&op->names[0], parent, name)))
        accept_names(req, op);
    else
        refuse(req);
    return true;
}

bool mirror_rename(fuse_req_t req, uint64_t parent, const char *name, uint64_t new_parent,
                   const char *new_name)
{
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (accepts(op, op != NULL && (op->kind == MIRROR_RENAME || op->kind == MIRROR_EXCHANGE) &&
                        same_name(&op->names[0], parent, name) &&
                        same_name(&op->names[1], new_parent, new_name)))
        accept_names(req, op);
    else
        refuse(req);
    return true;
}

bool mirror_getattr(fuse_req_t req, uint64_t ino)
{
    struct fs *fs = fs_of(req);
    Cfs__Attr attr = CFS__ATTR__INIT;
    const struct mirror_op *op;
    struct stat st;
    int error;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (op != NULL && (ino == op->ino || ino == op->victim)) {
        reply_attr(req, op, ino, attr_valid_s(fs, ino));
        return true;
    }
    error = attr_get(fs, ino, &attr);
    if (error != 0) {
        fuse_reply_err(req, error);
        return true;
    }
    convert_stat(&attr, &st);
    fuse_reply_attr(req, &st, attr_valid_s(fs, ino));
    return true;
}

bool mirror_setattr(fuse_req_t req, uint64_t ino, void (*reply)(fuse_req_t req, fuse_ino_t ino))
{
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (!accepts(op, op != NULL && (op->kind == MIRROR_DATA || op->kind == MIRROR_ATTR) &&
                         op->ino == ino)) {
        refuse(req);
        return true;
    }
    atomic_store(&op->answered, true);
    if (reply != NULL)
        reply(req, ino);
    else
        reply_attr(req, op, ino, ATTR_UNSURE_S);
    return true;
}

bool mirror_open(fuse_req_t req, uint64_t ino)
{
    struct fuse_file_info fi = {.fh = 0, .direct_io = 1, .keep_cache = 1, .noflush = 1};
    struct mirror_op *op;

    if (!is_mirror(req))
        return false;
    op = current_op(req);
    if (accepts(op, op != NULL && op->kind == MIRROR_DATA && op->ino == ino))
        fuse_reply_open(req, &fi);
    else
        refuse(req);
    return true;
}

bool mirror_denied(fuse_req_t req)
{
    if (!is_mirror(req))
        return false;
    refuse(req);
    return true;
}
