/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mirror/mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/inode/attr.h"
#include "fs/state.h"
#include "proto/limits.h"

#define LOOKS_MAX 1000u
#define NAMES_MAX 16u /* names of one file that are examined */

void mirror_init(struct mirror *m)
{
    TAILQ_INIT(&m->ops);
    LIST_INIT(&m->processes);
    m->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    check(m->stop_fd >= 0);
    check(pthread_mutex_init(&m->lock, NULL) == 0);
}

void mirror_fini(struct mirror *m)
{
    struct mirror_op *op;

    while ((op = TAILQ_FIRST(&m->ops)) != NULL)
        mirror_op_free(m, op);
    pthread_mutex_destroy(&m->lock);
    close(m->stop_fd);
}

bool mirror_wanted(const struct mirror *m)
{
    return m->program != NULL;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static const struct {
    bool mirrored;
    bool named; /* the change gives the name; other operations are about an inode */
    enum mirror_kind kind;
} kinds[] = {
    [CFS__CHANGE__KIND__CREATE] = {true, true, MIRROR_MAKE},
    [CFS__CHANGE__KIND__LINK] = {true, true, MIRROR_LINK},
    [CFS__CHANGE__KIND__UNLINK] = {true, true, MIRROR_UNLINK},
    [CFS__CHANGE__KIND__RMDIR] = {true, true, MIRROR_RMDIR},
    [CFS__CHANGE__KIND__RENAME] = {true, true, MIRROR_RENAME},
    [CFS__CHANGE__KIND__EXCHANGE] = {true, true, MIRROR_EXCHANGE},
    [CFS__CHANGE__KIND__DATA] = {true, false, MIRROR_DATA},
    [CFS__CHANGE__KIND__ATTR] = {true, false, MIRROR_ATTR},
    [CFS__CHANGE__KIND__XATTR] = {true, false, MIRROR_ATTR},
};

bool mirror_has_names(const struct mirror_op *op)
{
    return op->kind != MIRROR_DATA && op->kind != MIRROR_ATTR;
}

static bool has_two(const struct mirror_op *op)
{
    return op->kind == MIRROR_RENAME || op->kind == MIRROR_EXCHANGE;
}

bool mirror_moves(const struct mirror_op *op)
{
    return mirror_has_names(op) && !op->late && op->kind != MIRROR_MAKE && op->kind != MIRROR_LINK;
}

static bool known(struct fs *fs, uint64_t ino)
{
    return ino != 0 && node_lookups(&fs->nodes, ino) > 0;
}

/* The directory of a changed file is looked up later. */
static bool may_be_watched(struct fs *fs, const Cfs__Change *c)
{
    return !kinds[c->kind].named || known(fs, c->ino) || known(fs, c->parent) ||
           known(fs, c->new_parent) || known(fs, c->victim);
}

static char *copy_name(const ProtobufCBinaryData *name)
{
    char *out = xcalloc(1, name->len + 1);

    memcpy(out, name->data, name->len);
    return out;
}

static struct mirror_op *op_add(struct mirror *m, enum mirror_kind kind, uint64_t ino)
{
    struct mirror_op *op = xcalloc(1, sizeof(*op));

    op->kind = kind;
    op->ino = ino;
    atomic_init(&op->refused, false);
    atomic_init(&op->answered, false);
    TAILQ_INSERT_TAIL(&m->ops, op, link);
    return op;
}

struct mirror_op *mirror_op_new(struct fs *fs, const Cfs__Change *c)
{
    struct mirror *m = &fs->mirror;
    struct mirror_op *op;

    if (!mirror_wanted(m) || (size_t)c->kind >= ARRAY_LEN(kinds) || !kinds[c->kind].mirrored ||
        !may_be_watched(fs, c))
        return NULL;
    op = op_add(m, kinds[c->kind].kind, c->ino);
    op->index = c->index;
    op->victim = c->victim;
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        atomic_init(&op->names[i].newer, false);
    if (kinds[c->kind].named) {
        op->names[0].dir = c->parent;
        op->names[0].name = copy_name(&c->name);
    }
    if (has_two(op)) {
        op->names[1].dir = c->new_parent;
        op->names[1].name = copy_name(&c->new_name);
    }
    return op;
}

struct mirror_op *mirror_op_control(struct fs *fs, uint64_t ino, const char *name)
{
    struct mirror *m = &fs->mirror;
    struct mirror_op *op;

    if (!mirror_wanted(m) || (!known(fs, ino) && !known(fs, VDIR_INO)))
        return NULL;
    op = op_add(m, MIRROR_DATA, ino);
    op->mode = S_IFREG;
    op->names[0].dir = VDIR_INO;
    op->names[0].name = xstrdup(name);
    op->paths[0] = xstrdup("/" VDIR_NAME);
    op->prepared = true;
    return op;
}

void mirror_op_free(struct mirror *m, struct mirror_op *op)
{
    TAILQ_REMOVE(&m->ops, op, link);
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++) {
        free(op->names[i].name);
        free(op->paths[i]);
    }
    free(op);
}

unsigned mirror_inos(const struct mirror_op *op, uint64_t out[MIRROR_INOS])
{
    unsigned n = 0;

    out[n++] = op->ino;
    if (op->victim != 0)
        out[n++] = op->victim;
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        if (op->names[i].dir != 0)
            out[n++] = op->names[i].dir;
    return n;
}

/* ---- Refusing -------------------------------------------------------------------------------- */

static bool is_name(const struct mirror_name *n, uint64_t dir, const ProtobufCBinaryData *name)
{
    return n->dir == dir && n->name != NULL && strlen(n->name) == name->len &&
           memcmp(n->name, name->data, name->len) == 0;
}

static bool shares_name(const struct mirror_op *op, const Cfs__Change *c)
{
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        if (op->names[i].dir != 0 &&
            (is_name(&op->names[i], c->parent, &c->name) ||
             (c->new_parent != 0 && is_name(&op->names[i], c->new_parent, &c->new_name))))
            return true;
    return false;
}

void mirror_own(struct fs *fs, const Cfs__Change *c)
{
    struct mirror_op *op;

    if ((size_t)c->kind >= ARRAY_LEN(kinds) || !kinds[c->kind].named)
        return;
    TAILQ_FOREACH (op, &fs->mirror.ops, link) {
        if (op->index < c->index && mirror_has_names(op) && shares_name(op, c))
            atomic_store(&op->refused, true);
        if (c->kind == CFS__CHANGE__KIND__RMDIR && op->ino == c->ino)
            op->removed_dir = true;
    }
}

bool mirror_renames_in(const struct fs *fs, uint64_t dir)
{
    const struct mirror_op *op;

    TAILQ_FOREACH (op, &fs->mirror.ops, link)
        if (mirror_has_names(op) && (op->names[0].dir == dir || op->names[1].dir == dir))
            return true;
    return false;
}

void mirror_refuse_all(struct fs *fs)
{
    struct mirror_op *op;

    TAILQ_FOREACH (op, &fs->mirror.ops, link)
        if (!vdir_owns(op->ino))
            atomic_store(&op->refused, true);
}

void mirror_drop(struct mirror_op *op)
{
    op->dropped = !atomic_load(&op->refused) || op->dropped;
    atomic_store(&op->refused, true);
}

/* ---- The tree and the queue ----
 *
 * The tree is ahead of the operation, and may also be ahead of the changes that were delivered
 * here. What the tree no longer shows, the later operations in the queue show. */

/* True if every change that the tree shows was delivered here. Delivery is prompt, so a caller that
 * has waited long need not wait again. */
static bool is_complete(struct fs *fs, const struct mirror_op *op)
{
    return op->looks > LOOKS_MAX || fs->backend.ops->applied(fs->backend.ctx) <= fs->told_seen;
}

/* The type of an inode that is gone from the tree: the type that the kernel was told, else the one
 * it had when it went. What a directory replaces is a directory. */
static uint32_t lost_type(struct fs *fs, const struct mirror_op *op, uint64_t ino)
{
    uint32_t type = node_type(&fs->nodes, ino);
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (type != 0)
        return type;
    for (; op != NULL; op = TAILQ_NEXT(op, link)) {
        if (op->ino == ino && (op->removed_dir || op->kind == MIRROR_RMDIR))
            return S_IFDIR;
        if (op->kind != MIRROR_RENAME || op->victim != ino)
            continue;
        if (attr_get(fs, op->ino, &attr) == 0)
            return S_ISDIR(attr.mode) ? S_IFDIR : S_IFREG;
        ino = op->ino;
    }
    return S_IFREG;
}

static bool prepare_mode(struct fs *fs, struct mirror_op *op)
{
    Cfs__Attr attr = CFS__ATTR__INIT;

    if (attr_get(fs, op->ino, &attr) == 0) {
        op->mode = attr.mode;
        op->rdev = attr.rdev;
        return true;
    }
    if (!is_complete(fs, op))
        return false;
    op->mode = lost_type(fs, op, op->ino);
    return true;
}

struct names { /* of an inode */
    unsigned n;
    struct {
        uint64_t dir;
        char name[LIMIT_NAME_MAX + 1];
    } at[NAMES_MAX];
};

static bool add_name(struct names *ns, uint64_t dir, const char *name, size_t len)
{
    check(len <= LIMIT_NAME_MAX);
    if (ns->n == NAMES_MAX)
        return false;
    ns->at[ns->n].dir = dir;
    memcpy(ns->at[ns->n].name, name, len);
    ns->at[ns->n++].name[len] = '\0';
    return true;
}

static bool on_name(void *arg, uint64_t parent, const char *name, size_t len)
{
    return add_name(arg, parent, name, len);
}

static void undo_gain(struct names *ns, const struct mirror_name *name)
{
    for (unsigned i = 0; i < ns->n; i++)
        if (ns->at[i].dir == name->dir && strcmp(ns->at[i].name, name->name) == 0)
            ns->at[i--] = ns->at[--ns->n];
}

static void undo_loss(struct names *ns, const struct mirror_name *name)
{
    add_name(ns, name->dir, name->name, strlen(name->name));
}

/* The inodes that the names led to before the operation. */
static void undo(struct names *ns, const struct mirror_op *op, uint64_t ino)
{
    if (op->ino == ino) {
        if (op->kind == MIRROR_MAKE || op->kind == MIRROR_LINK)
            undo_gain(ns, &op->names[0]);
        else if (has_two(op))
            undo_gain(ns, &op->names[1]);
        if (mirror_moves(op))
            undo_loss(ns, &op->names[0]);
    } else if (op->victim == ino && has_two(op)) {
        if (op->kind == MIRROR_EXCHANGE)
            undo_gain(ns, &op->names[0]);
        undo_loss(ns, &op->names[1]);
    }
}

/* Content and attributes: finds the name by which the kernel knows the inode, before the next
 * operations. Prefers a name in a directory that the kernel knows. */
static bool prepare_name(struct fs *fs, struct mirror_op *op)
{
    const struct mirror_op *later;
    struct names ns = {.n = 0};
    unsigned i = 0;

    fs->backend.ops->names(fs->backend.ctx, op->ino, on_name, &ns);
    if (!is_complete(fs, op))
        return false;
    for (later = TAILQ_LAST(&fs->mirror.ops, mirror_ops); later != op;
         later = TAILQ_PREV(later, mirror_ops, link))
        undo(&ns, later, op->ino);
    while (i < ns.n && !known(fs, ns.at[i].dir))
        i++;
    op->unwatched = i == ns.n && !known(fs, op->ino);
    if (ns.n > 0) {
        op->names[0].dir = ns.at[i % ns.n].dir;
        op->names[0].name = xstrdup(ns.at[i % ns.n].name);
    }
    return true;
}

static void prepare_soft(struct fs *fs, struct mirror_op *op)
{
    op->names[0].soft = S_ISDIR(op->mode);
    op->names[1].soft = S_ISDIR(op->mode) || S_ISDIR(node_type(&fs->nodes, op->victim));
    if (op->kind == MIRROR_EXCHANGE)
        op->names[0].soft = op->names[1].soft;
}

bool mirror_prepare(struct fs *fs, struct mirror_op *op)
{
    if (op->prepared || atomic_load(&op->refused))
        return true;
    op->looks++;
    if (!prepare_mode(fs, op) || (!mirror_has_names(op) && !prepare_name(fs, op)))
        return false;
    prepare_soft(fs, op);
    op->prepared = true;
    return true;
}

bool mirror_find_paths(struct fs *fs, struct mirror_op *op)
{
    char path[PATH_MAX];

    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++) {
        if (op->names[i].dir == 0)
            continue;
        if (op->paths[i] != NULL ||
            fs->backend.ops->path(fs->backend.ctx, op->names[i].dir, path, sizeof(path)) < 0)
            return false;
        op->paths[i] = xstrdup(path);
    }
    return true;
}
