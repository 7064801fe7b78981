/* SPDX-License-Identifier: Apache-2.0 */
/* The invalidation of the kernel's caches after a change.
 *
 * The kernel updates its caches itself when a request of its own succeeds. It must be told of other
 * hosts' changes, and of our own changes that it does not know: a change whose request was answered
 * EINTR or ETIMEDOUT may still be committed later. While that is possible, all our changes are
 * treated like those of others. It ends when a command that was submitted after the last such
 * answer has come back applied, because a session's commands are applied in order. The signatures
 * of fs/request/lost.h tell which of them the kernel has not made, so that the mirror
 * (fs/mirror/mirror.h) makes them. The kernel also does not know the changes of a transaction, or
 * changes that followed by themselves (Change.unseen).
 *
 * Content is different: the kernel is always told of a commit of the writeback, because it has long
 * answered the writes.
 *
 * One reading, one state. A program reads a file in several steps: open, read until the end, close.
 * Each read(2) through the page cache looks at several things: the size (GETATTR if it must ask),
 * the page (READ if it is missing), and the size again. A change that the kernel hears of in
 * between could show the beginning of one state and the end of another. So:
 *  - What the kernel has cached stays until the programs that have just opened the file have closed
 *    it, for PASS_MS at most. A program that opens the file meanwhile waits (lane_wait_inode). This
 *    is enough where changes are rare: during the whole pass the kernel sends no request.
 *  - Where changes follow each other, sizes and pages would come from different states. So a file
 *    that changed while the kernel had pages of it is opened past the page cache for a while. One
 *    read is one request then, and fs/reading/pass.h keeps the steps of one pass together. */
#include "fs/cache/invalidate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "fs/state.h"

#define BYPASS_MS 10000 /* each change extends it */
#define PASS_MS   100   /* longest time that a program takes from open to close */

/* ---- What each kind of change makes stale ---------------------------------------------------- */

static bool is_dir(struct fs *fs, uint64_t ino)
{
    const struct node *node = node_find(&fs->nodes, ino);

    return node != NULL && node->last != NULL;
}

/* Invalidates the directory's listing. The kernel fills its listing without a lock (fuse_readdir),
 * so an old piece may still arrive; the next OPENDIR begins a new one. If no process has
 * listed the directory since the last change, no process reads the kept listing. */
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

/* Invalidates a name of an inode that still exists. A directory is only looked up again, because
 * mounts may be below it. */
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
        lane_forget_inode(fs, c->ino); /* ".." may have changed */
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
    node->cached = node->readers > 0; /* open files are still read */
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
    node->cached = node->readers > 0; /* open files are still read */
}

/* After our own writes the kernel knows that size and times have changed. But it may have read
 * pages before the commit, and before Linux 6.6 it keeps them even while it writes. */
static void own_data(struct fs *fs, const Cfs__Change *c)
{
    struct node *node = node_find(&fs->nodes, c->ino);

    if (node != NULL && node->cached)
        forget_pages(fs, c->ino, node);
}

/* Names are invalidated only if the mirror does not repeat the change: the mirror corrects them. */
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

/* Handles another host's change, or one that the kernel may not know. */
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

/* Handles our own rename. The kernel moves the entries that it has at the two names. If one of them
 * waits for invalidation, the kernel may have moved another entry, so both names are invalidated.
 */
static void own_rename(struct fs *fs, const Cfs__Change *c)
{
    if (!lane_needs(fs, c->parent) && !lane_needs(fs, c->new_parent))
        return;
    names_rename(fs, c);
    lane_expire_all(fs); /* before the reply, if that is possible */
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
        handle_other(fs, c, true); /* the program was told that this change failed */
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

/* The whole state was replaced: everything is invalidated. */
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
    requests_move(&fs->for_news, &now); /* some requests may now wait for the next changes */
    request_wake(&now, 0);
}

bool invalidate_missing(struct fs *fs)
{
    return atomic_load(&fs->changing) || atomic_load(&fs->invalidate_posted) != fs->invalidate_seen;
}
