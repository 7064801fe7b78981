/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- The tree -------------------------------------------------------------------------------- */

struct walk {
    struct store_reader *reader;
    struct model *m;
    struct gen_rng *rng;
    struct buf *why;
};

struct listing { /* one directory, while readdir calls back */
    struct walk *w;
    uint64_t dir;
    uint64_t order; /* of the previous entry */
    uint64_t cookie;
    unsigned left; /* entries until the callback returns false */
    bool with_attrs;
    bool stopped;
    bool good;
};

static bool check_cookie(struct listing *l, struct model_entry *e, uint64_t cookie)
{
    if (cookie == 0 || cookie >> 62 != 0 || cookie <= l->cookie)
        return compare_differ(l->w->why, "dir %" PRIu64 ": cookie %" PRIu64 " after %" PRIu64,
                              l->dir, cookie, l->cookie);
    if (e->cookie != 0 && e->cookie != cookie)
        return compare_differ(
            l->w->why, "dir %" PRIu64 ": the cookie of an entry was %" PRIu64 " and is %" PRIu64,
            l->dir, e->cookie, cookie);
    e->cookie = cookie;
    l->cookie = cookie;
    return true;
}

static bool check_listed(struct listing *l, const struct reader_entry *got)
{
    struct model_entry *want = model_next_entry(l->w->m, l->dir, l->order);
    const struct model_inode *inode;

    if (l->stopped)
        return compare_differ(l->w->why, "dir %" PRIu64 ": called again after stop", l->dir);
    if (want == NULL)
        return compare_differ(l->w->why, "dir %" PRIu64 ": one entry too many: %.*s", l->dir,
                              (int)got->name_len, got->name);
    l->order = want->order;
    if (!compare_bytes(got->name, got->name_len, want->name.data, want->name.len) ||
        got->ino != want->ino)
        return compare_differ(
            l->w->why, "dir %" PRIu64 ": entry %.*s ino %" PRIu64 ", should be %.*s ino %" PRIu64,
            l->dir, (int)got->name_len, got->name, got->ino, (int)want->name.len,
            (char *)want->name.data, want->ino);
    inode = model_find(l->w->m, want->ino);
    if (got->type != (inode->attr.mode & S_IFMT))
        return compare_differ(l->w->why, "dir %" PRIu64 ": type of %.*s is 0%o", l->dir,
                              (int)got->name_len, got->name, got->type);
    if ((got->attr != NULL) != l->with_attrs)
        return compare_differ(
            l->w->why, "dir %" PRIu64 ": attr given without being requested, or missing", l->dir);
    if (l->with_attrs) {
        Cfs__Attr attr;

        model_attr(inode, &attr);
        if (!compare_attr("readdir", got->attr, &attr, l->w->why))
            return false;
    }
    return check_cookie(l, want, got->cookie);
}

static bool on_listed(void *arg, const struct reader_entry *got)
{
    struct listing *l = arg;

    l->good = l->good && check_listed(l, got);
    if (!l->good)
        return false;
    l->stopped = l->left > 0 && --l->left == 0;
    return !l->stopped;
}

/* Lists the directory from behind `after` (NULL: from the beginning), all of it or `left` entries.
 */
static bool check_listing(struct walk *w, uint64_t dir, const struct model_entry *after,
                          unsigned left, bool attrs)
{
    struct listing l = {.w = w,
                        .dir = dir,
                        .order = after != NULL ? after->order : 0,
                        .cookie = after != NULL ? after->cookie : 0,
                        .left = left,
                        .with_attrs = attrs,
                        .good = true};
    int err = reader_readdir(w->reader, dir, l.cookie, attrs, on_listed, &l);

    if (!l.good)
        return false;
    if (err != 0)
        return compare_differ(w->why, "dir %" PRIu64 ": readdir: %d", dir, err);
    if (!l.stopped && model_next_entry(w->m, dir, l.order) != NULL)
        return compare_differ(w->why, "dir %" PRIu64 ": entries are missing at the end", dir);
    return true;
}

static bool check_lookup(struct walk *w, uint64_t dir, const char *name, size_t len, uint64_t ino)
{
    Cfs__Attr got, want;
    int err = reader_lookup(w->reader, dir, name, len, &got);

    if (err != 0)
        return compare_differ(w->why, "dir %" PRIu64 ": lookup of %.*s: %d", dir, (int)len, name,
                              err);
    model_attr(model_find(w->m, ino), &want);
    return compare_attr("lookup", &got, &want, w->why);
}

static bool check_no_lookup(struct walk *w, uint64_t dir, const char *name, size_t len, int want)
{
    Cfs__Attr got;
    int err = reader_lookup(w->reader, dir, name, len, &got);

    if (err != want)
        return compare_differ(w->why, "ino %" PRIu64 ": lookup of %.*s is %d, should be %d", dir,
                              (int)len, name, err, want);
    return true;
}

static bool check_dir(struct walk *w, const struct model_inode *inode)
{
    uint64_t dir = inode->attr.ino;
    unsigned entries = (unsigned)inode->attr.size;
    struct model_entry *middle = NULL, *e = NULL;

    if (model_is_orphan(inode))
        return check_no_lookup(w, dir, "absent", 6, -ESTALE) &&
               check_no_lookup(w, dir, ".", 1, -ESTALE);
    if (!check_listing(w, dir, NULL, 0, gen_chance(w->rng, 1, 2)))
        return false;
    for (uint64_t k = gen_below(w->rng, entries + 1); k > 0; k--)
        middle = model_next_entry(w->m, dir, middle != NULL ? middle->order : 0);
    if (!check_listing(w, dir, middle, (unsigned)gen_below(w->rng, 3), gen_chance(w->rng, 1, 2)))
        return false;
    while ((e = model_next_entry(w->m, dir, e != NULL ? e->order : 0)) != NULL)
        if (!check_lookup(w, dir, (char *)e->name.data, e->name.len, e->ino))
            return false;
    return check_lookup(w, dir, ".", 1, dir) && check_lookup(w, dir, "..", 2, inode->attr.parent) &&
           check_no_lookup(w, dir, "absent", 6, -ENOENT);
}

static bool check_range(struct walk *w, const struct model_inode *inode, uint64_t offset,
                        size_t len)
{
    uint8_t *got = xmalloc(len), *want = xmalloc(len);
    int64_t n = reader_read(w->reader, inode->attr.ino, offset, got, len);
    size_t expected = model_read(inode, offset, want, len), at = 0;
    bool same = n == (int64_t)expected;

    while (same && at < expected && got[at] == want[at])
        at++;
    if (!same)
        compare_differ(
            w->why, "ino %" PRIu64 ": read of %zu at %" PRIu64 " gave %" PRId64 ", should be %zu",
            inode->attr.ino, len, offset, n, expected);
    else if (at < expected)
        same =
            compare_differ(w->why, "ino %" PRIu64 ": byte at %" PRIu64 " is %02x, should be %02x",
                           inode->attr.ino, offset + at, got[at], want[at]);
    free(got);
    free(want);
    return same;
}

static bool check_seek(struct walk *w, const struct model_inode *inode, uint64_t offset)
{
    for (int hole = 0; hole < 2; hole++) {
        int64_t got = reader_seek(w->reader, inode->attr.ino, offset, hole);
        int64_t want = model_seek(inode, offset, hole);

        if (got != want)
            return compare_differ(w->why,
                                  "ino %" PRIu64 ": the %s from %" PRIu64 " on is at %" PRId64
                                  ", should be %" PRId64,
                                  inode->attr.ino, hole ? "hole" : "data", offset, got, want);
    }
    return true;
}

/* Seeks from the beginning on, like a program that copies a sparse file, and from some other
 * places. */
static bool check_seeks(struct walk *w, const struct model_inode *inode)
{
    int64_t at = 0;

    for (int hole = 0; at >= 0 && (uint64_t)at < inode->attr.size; hole = !hole) {
        if (!check_seek(w, inode, (uint64_t)at))
            return false;
        at = model_seek(inode, (uint64_t)at, hole);
    }
    return check_seek(w, inode, gen_below(w->rng, inode->attr.size + 2)) &&
           check_seek(w, inode, gen_below(w->rng, 70000)) &&
           check_seek(w, inode, inode->attr.size) && check_seek(w, inode, UINT64_MAX);
}

static bool check_content(struct walk *w, const struct model_inode *inode)
{
    static const uint64_t borders[] = {0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 131072};
    uint64_t size = inode->attr.size;
    size_t step = 1u << 20;

    for (uint64_t at = 0; at < size; at += step)
        if (!check_range(w, inode, at, step))
            return false;
    for (int i = 0; i < 3; i++) {
        uint64_t offset = borders[gen_below(w->rng, ARRAY_LEN(borders))];

        if (!check_range(w, inode, offset, gen_below(w->rng, 70000)))
            return false;
    }
    return check_seeks(w, inode) && check_range(w, inode, size, 100) &&
           check_range(w, inode, size + 1, 100) && check_range(w, inode, UINT64_MAX, 100) &&
           check_range(w, inode, 0, 0) && check_range(w, inode, size > 0 ? size - 1 : 0, 100);
}

static bool check_target(struct walk *w, const struct model_inode *inode)
{
    char got[LIMIT_SYMLINK_MAX + 1];
    int64_t n = reader_readlink(w->reader, inode->attr.ino, got, sizeof got);

    if (n < 0 || !compare_bytes(got, (size_t)n, inode->content.data, inode->content.len))
        return compare_differ(w->why, "ino %" PRIu64 ": readlink: %" PRId64 ", should be %zu",
                              inode->attr.ino, n, inode->content.len);
    return true;
}

static bool check_xattr(struct walk *w, uint64_t ino, const struct model_xattr *x)
{
    const char *name = (const char *)x->name.data;
    char *value = xmalloc(LIMIT_XATTR_VALUE);
    int64_t n = reader_getxattr(w->reader, ino, name, x->name.len, value, LIMIT_XATTR_VALUE);
    bool same = n >= 0 && compare_bytes(value, (size_t)n, x->value.data, x->value.len);

    free(value);
    if (!same)
        return compare_differ(w->why, "ino %" PRIu64 ": xattr %.*s: %" PRId64 ", should be %zu",
                              ino, (int)x->name.len, name, n, x->value.len);
    n = reader_getxattr(w->reader, ino, name, x->name.len, NULL, 0);
    if (n != (int64_t)x->value.len)
        return compare_differ(w->why, "ino %" PRIu64 ": the length of an xattr: %" PRId64, ino, n);
    if (x->value.len > 1) {
        char small[1];

        n = reader_getxattr(w->reader, ino, name, x->name.len, small, sizeof small);
        if (n != -ERANGE)
            return compare_differ(w->why, "ino %" PRIu64 ": a long xattr into 1 byte: %" PRId64,
                                  ino, n);
    }
    return true;
}

/* The list has each name once, in any order. */
static bool check_quota_value(struct walk *w, uint64_t ino, const char *what, uint64_t want)
{
    char name[40], value[40];
    int64_t n;

    snprintf(name, sizeof name, "user.coordfs.%s", what);
    n = reader_getxattr(w->reader, ino, name, strlen(name), value, sizeof value - 1);
    if (want == MODEL_QUOTA_NONE)
        return compare_number(what, ino, n, -ENODATA, w->why);
    value[n > 0 ? n : 0] = 0;
    return compare_number(what, ino, n > 0 ? (int64_t)strtoull(value, NULL, 10) : n, (int64_t)want,
                          w->why);
}

static bool check_quota(struct walk *w, uint64_t ino)
{
    const struct model_quota *q = model_find_quota(w->m, ino);
    uint64_t bytes = MODEL_QUOTA_NONE, entries = MODEL_QUOTA_NONE;

    if (q != NULL)
        model_quota_usage(w->m, ino, &bytes, &entries);
    return check_quota_value(w, ino, "usage.bytes", bytes) &&
           check_quota_value(w, ino, "usage.entries", entries) &&
           check_quota_value(w, ino, "quota.bytes", q != NULL ? q->max_bytes : bytes) &&
           check_quota_value(w, ino, "quota.entries", q != NULL ? q->max_entries : entries);
}

/* The number of listed xattrs that belong to a quota. */
static size_t quota_names(const struct walk *w, uint64_t ino)
{
    const struct model_quota *q = model_find_quota(w->m, ino);

    return q == NULL ? 0
                     : (q->max_bytes != MODEL_QUOTA_NONE) + (q->max_entries != MODEL_QUOTA_NONE);
}

static bool check_xattr_list(struct walk *w, const struct model_inode *inode)
{
    uint64_t ino = inode->attr.ino;
    int64_t len = reader_listxattr(w->reader, ino, NULL, 0), again;
    char *list = xmalloc(len > 0 ? (size_t)len : 1);
    size_t count = 0;
    bool good = true;

    again = len > 0 ? reader_listxattr(w->reader, ino, list, (size_t)len) : len;
    if (len < 0 || again != len || (len > 0 && list[len - 1] != 0))
        good = compare_differ(w->why, "ino %" PRIu64 ": listxattr: %" PRId64 ", then %" PRId64, ino,
                              len, again);
    for (int64_t at = 0; good && at < len; at += (int64_t)strlen(list + at) + 1, count++)
        if (model_find_xattr(inode, list + at, strlen(list + at)) == NULL &&
            strncmp(list + at, "user.coordfs.quota.", 19) != 0)
            good = compare_differ(w->why, "ino %" PRIu64 ": xattr %s listed", ino, list + at);
    if (good)
        good = compare_number("number of xattrs", ino, (int64_t)count,
                              (int64_t)(inode->n_xattrs + quota_names(w, ino)), w->why);
    if (good && len > 1 && reader_listxattr(w->reader, ino, list, (size_t)len - 1) != -ERANGE)
        good = compare_differ(w->why, "ino %" PRIu64 ": listxattr into a short buffer", ino);
    free(list);
    return good;
}

static bool check_xattrs(struct walk *w, const struct model_inode *inode)
{
    for (size_t i = 0; i < inode->n_xattrs; i++)
        if (!check_xattr(w, inode->attr.ino, &inode->xattrs[i]))
            return false;
    if (!compare_number("an absent xattr", inode->attr.ino,
                        reader_getxattr(w->reader, inode->attr.ino, "user.absent", 11, NULL, 0),
                        -ENODATA, w->why))
        return false;
    return check_quota(w, inode->attr.ino) && check_xattr_list(w, inode);
}

/* The inode that the path leads to in the model; 0: none. */
static uint64_t follow(const struct model *m, const char *path, size_t len)
{
    uint64_t ino = MODEL_ROOT;
    size_t at = 1;

    if (len == 0 || path[0] != '/')
        return 0;
    while (at < len) {
        const char *slash = memchr(path + at, '/', len - at);
        size_t part = slash != NULL ? (size_t)(slash - path) - at : len - at;
        const struct model_entry *e = model_find_entry(m, ino, path + at, part);

        if (e == NULL)
            return 0;
        ino = e->ino;
        at += part + 1;
    }
    return ino;
}

static bool check_path(struct walk *w, const struct model_inode *inode)
{
    static char path[1 << 16];
    uint64_t ino = inode->attr.ino;
    int64_t len = reader_path(w->reader, ino, path, sizeof path);

    if (inode->attr.nlink == 0)
        return compare_number("path of an orphan", ino, len, -ENOENT, w->why);
    if (len < 1 || strlen(path) != (size_t)len || follow(w->m, path, (size_t)len) != ino)
        return compare_differ(w->why, "ino %" PRIu64 ": path is %" PRId64 " %.*s", ino, len,
                              len > 0 ? (int)min_u64((uint64_t)len, 200) : 0, path);
    return true;
}

static bool check_inode(struct walk *w, const struct model_inode *inode)
{
    Cfs__Attr got, want;
    uint64_t ino = inode->attr.ino;
    int err = reader_attr(w->reader, ino, &got);

    if (err != 0)
        return compare_differ(w->why, "ino %" PRIu64 ": attr: %d", ino, err);
    model_attr(inode, &want);
    if (!compare_attr("attr", &got, &want, w->why) || !check_xattrs(w, inode) ||
        !check_path(w, inode))
        return false;
    if (model_is_dir(inode))
        return check_dir(w, inode);
    if (!check_no_lookup(w, ino, "a", 1, -ENOTDIR))
        return false;
    if (S_ISREG(inode->attr.mode))
        return check_content(w, inode);
    return S_ISLNK(inode->attr.mode) ? check_target(w, inode) : true;
}

/* No function finds an inode that does not exist (any more). */
static bool check_absent(struct walk *w)
{
    for (uint64_t ino = 0; ino < w->m->next_ino + 2; ino++) {
        Cfs__Attr attr;
        int err;

        if (model_find(w->m, ino) != NULL)
            continue;
        err = reader_attr(w->reader, ino, &attr);
        if (err != -ENOENT && err != -ESTALE)
            return compare_differ(w->why, "ino %" PRIu64 " is not there; attr: %d", ino, err);
        err = reader_lookup(w->reader, ino, "a", 1, &attr);
        if (err != -ENOENT && err != -ESTALE)
            return compare_differ(w->why, "ino %" PRIu64 " is not there; lookup in it: %d", ino,
                                  err);
    }
    return true;
}

static bool check_usage(struct walk *w)
{
    struct reader_usage usage;
    uint64_t applied;
    int err = reader_applied(w->reader, &applied);

    if (err != 0 || applied != w->m->applied)
        return compare_differ(w->why, "applied %" PRIu64 " (%d), should be %" PRIu64, applied, err,
                              w->m->applied);
    err = reader_usage(w->reader, &usage);
    if (err != 0)
        return compare_differ(w->why, "usage: %d", err);
    return compare_number("usage: inodes", 0, (int64_t)usage.inodes, (int64_t)w->m->n_inodes,
                          w->why) &&
           compare_number("usage: bytes", 0, (int64_t)usage.bytes, (int64_t)model_bytes(w->m),
                          w->why) &&
           compare_number("usage: limit of inodes", 0, (int64_t)usage.max_inodes,
                          LIMIT_TREE_ENTRIES, w->why) &&
           compare_number("usage: limit of bytes", 0, (int64_t)usage.max_bytes, LIMIT_TREE_BYTES,
                          w->why);
}

bool compare_tree(struct store_reader *reader, struct model *m, struct gen_rng *rng,
                  struct buf *why)
{
    struct walk w = {reader, m, rng, why};
    int err = reader_begin(reader);
    bool good;

    if (err != 0)
        return compare_differ(why, "reader_begin: %d", err);
    good = check_usage(&w) && check_absent(&w);
    for (size_t i = 0; good && i < m->n_inodes; i++)
        good = check_inode(&w, m->inodes[i]);
    reader_end(reader);
    return good;
}
