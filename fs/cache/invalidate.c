/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel updates its caches itself when a request of its own succeeds; it has to be told of
 * other hosts' changes, and of our own that it does not know of: a change whose request was
 * answered EINTR or ETIMEDOUT may still be made later. While that is possible, all our changes are
 * treated like others'. It ends when a command that was submitted after the last such answer has
 * come back applied: a session's commands are applied in order. Which of them the kernel has not
 * made, and the mirror (fs/mirror/mirror.h) is to make, their signatures tell (fs/request/lost.h).
 * What a transaction changed, or went by itself with something else, is unknown to the kernel, too
 * (Change.unseen).
 *
 * Content is another matter: what a draft commits is told to the kernel always, as the kernel has
 * long answered the writes.
 *
 * One reading, one state. A program reads a file in several steps: open, read until there is
 * nothing more, close; and each read(2) through the page cache is several looks of the kernel's: at
 * its idea of the size (GETATTR if it is to ask), at the page (READ if it is not there), at the
 * size again. A change that the kernel hears of in between could show as the beginning of one state
 * and the end of another. So:
 *  - what the kernel has cached stays until those who have just opened the file have closed it, for
 *    PASS_MS at most; who opens it meanwhile waits (lane_wait_inode). That is enough where changes
 *    are rare: during the whole pass nobody asks us anything.
 *  - where they follow one another, sizes and pages would come from different states. So what has
 *    changed while the kernel had pages of it is opened past the page cache for a while: one read
 *    is one request then, and the steps of one pass are kept together by fs/reading/pass.h. */
#include "fs/cache/invalidate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fs/state.h"

#define BYPASS_MS 10000 /* renewed by each change */
#define PASS_MS   100   /* that a program takes to read a file, from open to close, at most */

/* ---- What each kind of change makes stale -------------------------------------------------------
 */

static bool is_dir(struct fs *fs, uint64_t ino)
{
    const struct node *node = node_find(&fs->nodes, ino);

    return node != NULL && node->last != NULL;
}

/* The directory's list. What the kernel keeps of it is filled in without a lock (fuse_readdir), so
 * an old piece may still come: the next OPENDIR begins anew. When there was none since the last
 * change, nobody reads what is kept. */
static void list_changed(struct fs *fs, uint64_t dir)
{
    struct node *node = node_get(&fs->nodes, dir);

    if (node == NULL)
        return;
    if (node->changed && opens_count(&fs->opens, dir) == 0) {
        lane_forget_attr(fs, dir);
        return;
    }
    node->changed = true;
    lane_forget_inode(fs, dir);
}

static void forget_name(struct fs *fs, enum lane_what what, uint64_t dir,
                        const ProtobufCBinaryData *name, uint64_t ino)
{
    lane_forget_name(fs, what, dir, name->data, name->len, ino);
}

/* A name of an inode that goes on: a directory is looked up again, as it may have mounts below it.
 */
static enum lane_what softly(struct fs *fs, uint64_t ino)
{
    return is_dir(fs, ino) ? LANE_EXPIRE : LANE_ENTRY;
}

static void names_create(struct fs *fs, const Cfs__Change *c)
{
    forget_name(fs, softly(fs, c->ino), c->parent, &c->name, 0);
}

static void names_unlink(struct fs *fs, const Cfs__Change *c)
{
    forget_name(fs, LANE_ENTRY, c->parent, &c->name, c->ino);
}

static void names_rmdir(struct fs *fs, const Cfs__Change *c)
{
    forget_name(fs, LANE_DELETE, c->parent, &c->name, c->ino);
}

static void names_rename(struct fs *fs, const Cfs__Change *c)
{
    enum lane_what what = softly(fs, c->ino);

    forget_name(fs, what, c->parent, &c->name, c->ino);
    forget_name(fs, what, c->new_parent, &c->new_name, c->victim);
}

static void on_create(struct fs *fs, const Cfs__Change *c)
{
    list_changed(fs, c->parent);
}

static void on_attr(struct fs *fs, const Cfs__Change *c)
{
    lane_forget_attr(fs, c->ino);
}

static void on_link(struct fs *fs, const Cfs__Change *c)
{
    list_changed(fs, c->parent);
    on_attr(fs, c);
}

static void on_rmdir(struct fs *fs, const Cfs__Change *c)
{
    list_changed(fs, c->parent);
    lane_forget_inode(fs, c->ino);
}

static void on_rename(struct fs *fs, const Cfs__Change *c)
{
    list_changed(fs, c->parent);
    if (c->new_parent != c->parent)
        list_changed(fs, c->new_parent);
    if (is_dir(fs, c->ino))
        lane_forget_inode(fs, c->ino); /* ".." may be another */
    else
        lane_forget_attr(fs, c->ino);
    if (c->victim != 0)
        lane_forget_attr(fs, c->victim);
}

static void on_exchange(struct fs *fs, const Cfs__Change *c)
{
    on_rename(fs, c);
    if (is_dir(fs, c->victim))
        lane_forget_inode(fs, c->victim);
}

static void forget_pages(struct fs *fs, uint64_t ino, struct node *node)
{
    lane_forget_inode(fs, ino);
    node->cached = node->readers > 0; /* they go on reading */
}

static void on_data(struct fs *fs, const Cfs__Change *c)
{
    struct node *node = node_find(&fs->nodes, c->ino);

    if (node == NULL || !node->cached) {
        lane_forget_attr(fs, c->ino);
        return;
    }
    node->bypass_ms = clock_boot_ms() + BYPASS_MS;
    if (node->passes > 0 && clock_boot_ms() - node->passed_ms < PASS_MS)
        lane_forget_inode_at(fs, c->ino, node->passed_ms + PASS_MS);
    else
        lane_forget_inode(fs, c->ino);
    node->cached = node->readers > 0; /* they go on reading */
}

/* Our own writes: the kernel knows that size and times have changed, but pages may have been read
 * before the commit, and before Linux 6.6 it keeps them even while it writes. */
static void own_data(struct fs *fs, const Cfs__Change *c)
{
    struct node *node = node_find(&fs->nodes, c->ino);

    if (node != NULL && node->cached)
        forget_pages(fs, c->ino, node);
}

/* Names are forgotten only if the mirror does not do the change once more: that makes them right.
 */
static const struct {
    void (*caches)(struct fs *fs, const Cfs__Change *c);
    void (*names)(struct fs *fs, const Cfs__Change *c);
} handlers[] = {
    [CFS__CHANGE__KIND__CREATE] = {on_create, names_create},
    [CFS__CHANGE__KIND__LINK] = {on_link, names_create},
    [CFS__CHANGE__KIND__UNLINK] = {on_link, names_unlink},
    [CFS__CHANGE__KIND__RMDIR] = {on_rmdir, names_rmdir},
    [CFS__CHANGE__KIND__RENAME] = {on_rename, names_rename},
    [CFS__CHANGE__KIND__EXCHANGE] = {on_exchange, names_rename},
    [CFS__CHANGE__KIND__DATA] = {on_data, NULL},
    [CFS__CHANGE__KIND__ATTR] = {on_attr, NULL},
    [CFS__CHANGE__KIND__XATTR] = {on_attr, NULL},
};

static void unsure(struct fs *fs, uint64_t ino)
{
    struct node *node = node_find(&fs->nodes, ino);

    if (node != NULL)
        node->alive = false;
}

/* Somebody else's change, or one that the kernel may not know of. */
static void handle_other(struct fs *fs, const Cfs__Change *c, bool mirrored)
{
    struct mirror_op *op;

    if ((size_t)c->kind >= ARRAY_LEN(handlers) || handlers[c->kind].caches == NULL)
        return;
    handlers[c->kind].caches(fs, c);
    op = mirrored ? mirror_op_new(fs, c) : NULL;
    if (op != NULL)
        lane_mirror(fs, op);
    else if (handlers[c->kind].names != NULL)
        handlers[c->kind].names(fs, c);
}

/* Our own rename: the kernel moves what it believes to be at the names. If that may be something
 * else, because one of them is about to be forgotten, what it has made of it is forgotten as well.
 */
static void own_rename(struct fs *fs, const Cfs__Change *c)
{
    if (!lane_needs(fs, c->parent) && !lane_needs(fs, c->new_parent))
        return;
    names_rename(fs, c);
    lane_expire_all(fs); /* before the reply, if that can be */
}

void invalidate_change(struct fs *fs, const Cfs__Change *c, bool own)
{
    unsure(fs, c->ino);
    if (c->victim != 0)
        unsure(fs, c->victim);
    if (!own || c->unseen) {
        handle_other(fs, c, true);
        return;
    }
    if (fs->uncertain_serial != 0 && lost_take(&fs->lost, lost_of_change(c))) {
        handle_other(fs, c, true); /* whoever asked for it was told that it failed */
        return;
    }
    mirror_own(fs, c);
    if (fs->uncertain_serial != 0)
        handle_other(fs, c, false);
    else if (c->kind == CFS__CHANGE__KIND__DATA)
        own_data(fs, c);
    else if (c->kind == CFS__CHANGE__KIND__RENAME || c->kind == CFS__CHANGE__KIND__EXCHANGE)
        own_rename(fs, c);
}

static void forget_node(void *arg, uint64_t ino)
{
    struct fs *fs = arg;
    struct node *node = node_find(&fs->nodes, ino);

    if (node != NULL) {
        node->changed = node->last != NULL;
        node->cached = node->readers > 0;
        node->alive = false;
    }
    lane_forget_inode(fs, ino);
}

/* Another state altogether: everything is forgotten. */
void invalidate_forget_all(struct fs *fs)
{
    nodes_each(&fs->nodes, forget_node, fs);
    mirror_refuse_all(fs);
    lane_forget_all_names(fs);
}

/* ---- Waiting for news
 * -------------------------------------------------------------------------------
 */

void invalidate_turn(struct fs *fs)
{
    struct request_queue now;

    if (TAILQ_EMPTY(&fs->for_news) || invalidate_missing(fs))
        return;
    TAILQ_INIT(&now);
    requests_move(&fs->for_news, &now); /* some may come to wait for the next */
    request_wake(&now, 0);
}

bool invalidate_missing(struct fs *fs)
{
    return atomic_load(&fs->changing) || atomic_load(&fs->invalidate_posted) != fs->invalidate_seen;
}
