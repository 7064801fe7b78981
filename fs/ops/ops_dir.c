/* SPDX-License-Identifier: Apache-2.0 */
/* Listings. A position in a directory is the cookie of the entry before it; the store never gives a
 * cookie to another entry. So an entry that exists all the time is listed exactly once, whatever is
 * added or removed meanwhile. "." and "..", which the store does not list, have positions 1 and 2;
 * the store's cookies follow. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ops/ops.h"
#include "proto/limits.h"

#define DOT    1
#define DOTDOT 2
#define FIRST  DOTDOT /* offset of the store's cookies */

struct listing {
    struct fs *fs;
    fuse_req_t req;
    uint64_t ino;
    bool plus;
    bool looked_up; /* READDIRPLUS: entries bring their inodes into the kernel's cache */
    size_t size;    /* size that the kernel wants */
    size_t used;
    unsigned known; /* entries that the kernel is told of, in the order of fs->scratch */
    uint64_t *inos; /* of these: to forget if the kernel does not take the reply */
    unsigned inos_cap;
};

static void listing_known(struct listing *l, const Cfs__Attr *attr)
{
    if (l->known == l->inos_cap) {
        l->inos_cap = l->inos_cap == 0 ? 64 : 2 * l->inos_cap;
        l->inos = xrealloc(l->inos, l->inos_cap * sizeof(*l->inos));
    }
    l->inos[l->known++] = attr->ino;
    node_remember(&l->fs->nodes, attr);
}

/* Returns false if the entry does not fit any more. attr: NULL for an entry without a look-up. */
static bool listing_add(struct listing *l, const char *name, uint64_t ino, uint32_t type,
                        uint64_t position, const Cfs__Attr *attr)
{
    char *out = (char *)l->fs->scratch + l->used;
    size_t left = l->size - l->used, n;
    struct fuse_entry_param entry;

    memset(&entry, 0, sizeof(entry));
    if (attr != NULL)
        attr_entry(l->fs, attr, &entry);
    entry.attr.st_ino = ino;
    entry.attr.st_mode = attr != NULL ? attr->mode : type;
    n = l->plus ? fuse_add_direntry_plus(l->req, out, left, name, &entry, (off_t)position)
                : fuse_add_direntry(l->req, out, left, name, &entry.attr, (off_t)position);
    if (n > left)
        return false;
    l->used += n;
    if (attr != NULL)
        listing_known(l, attr);
    return true;
}

static bool on_entry(void *arg, const struct backend_entry *e)
{
    struct listing *l = arg;
    char name[LIMIT_NAME_MAX + 1];
    Cfs__Attr attr;

    check(e->name_len <= LIMIT_NAME_MAX);
    memcpy(name, e->name, e->name_len);
    name[e->name_len] = '\0';
    if (e->attr != NULL && rewalk_doubts(&l->fs->rewalks, rewalk_hash(l->ino, name)))
        return listing_add(l, name, e->ino, e->type, e->cookie + FIRST, NULL);
    if (e->attr != NULL) {
        attr = *e->attr;
        writeback_show(l->fs, &attr);
    }
    return listing_add(l, name, e->ino, e->type, e->cookie + FIRST, e->attr == NULL ? NULL : &attr);
}

/* Returns 0 or a positive errno. */
static int fill(struct listing *l, uint64_t ino, uint64_t after)
{
    Cfs__Attr attr = CFS__ATTR__INIT;
    int error = attr_get(l->fs, ino, &attr);

    if (error != 0)
        return error;
    if (attr.nlink == 0)
        return ENOENT; /* the kernel's own answer for a directory that it knows to be removed */
    if (after < DOT && !listing_add(l, ".", ino, S_IFDIR, DOT, NULL))
        return 0;
    if (after < DOTDOT && !listing_add(l, "..", attr.parent, S_IFDIR, DOTDOT, NULL))
        return 0;
    return -l->fs->backend.ops->readdir(l->fs->backend.ctx, ino, after < FIRST ? 0 : after - FIRST,
                                        l->looked_up, on_entry, l);
}

static void list(fuse_req_t req, uint64_t ino, size_t size, off_t off, bool plus)
{
    struct fs *fs = fs_of(req);
    struct listing l = {.fs = fs, .req = req, .ino = ino, .plus = plus};
    int error, taken;

    l.size = min_u64(size, LIMIT_WRITE_MAX);
    l.looked_up = plus && !mirror_renames_in(fs, ino); /* see fs/mirror/mirror.h */
    /* The kernel must not keep a name in another state than the listing shows. */
    if (lane_forgets_in(fs, ino))
        lane_expire_all(fs);
    error = fill(&l, ino, (uint64_t)off);
    taken =
        error != 0 ? fuse_reply_err(req, error) : fuse_reply_buf(req, (char *)fs->scratch, l.used);
    if (error != 0 || taken != 0)
        for (unsigned i = 0; i < l.known; i++)
            node_forget(&fs->nodes, l.inos[i], 1);
    free(l.inos);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, true);
}

/* The kernel keeps a directory's listing until another host has changed it. */
static void set_caching(struct fs *fs, uint64_t ino, struct fuse_file_info *fi)
{
    struct node *node = node_find(&fs->nodes, ino);

    fi->cache_readdir = !fs->options.uncached;
    fi->keep_cache = fi->cache_readdir && node != NULL && !node->changed;
    if (node != NULL)
        node->changed = false;
}

static void open_dir(struct fs *fs, fuse_req_t req, uint64_t ino, int flags)
{
    struct fuse_file_info fi = {.flags = flags};
    int error = ops_open_error(fs, req, ino, NULL);

    if (error != 0) {
        fuse_reply_err(req, error);
        return;
    }
    set_caching(fs, ino, &fi);
    fi.fh = handle_open(&fs->handles, ino, flags, fuse_req_ctx(req)->pid)->fh;
    if (fuse_reply_open(req, &fi) != 0)
        handle_close(&fs->handles, fi.fh);
}

static void finish_opendir_barrier(struct request *r, int error)
{
    if (error != 0)
        fuse_reply_err(r->req, error);
    else
        open_dir(r->fs, r->req, r->ino, r->flags);
}

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct request *r;

    if (!fs->options.strong) {
        open_dir(fs, req, ino, fi->flags);
        return;
    }
    r = request_new(fs, req, finish_opendir_barrier);
    r->ino = ino;
    r->flags = fi->flags;
    request_barrier(r);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    handle_close(&fs_of(req)->handles, fi->fh);
    open_lifetime_closed(fs_of(req), ino);
    fuse_reply_err(req, 0);
}
