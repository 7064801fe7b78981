/* SPDX-License-Identifier: Apache-2.0 */
/* Compares the model, with which the store is compared, with an ext4 filesystem. Both get the same
 * random operations; those without a system call are left out. After each operation errno, types,
 * modes, link counts, owners, sizes, content, xattrs and the set of changed times must be equal.
 * Needs root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/encode.h"
#include "tests/lib/describe.h"
#include "tests/lib/gen.h"
#include "tests/lib/local_disk.h"
#include "tests/lib/model_op.h"

#define TIME_BASE_NS 1600000000000000000

struct local {
    struct model *m;
    char root[LOCAL_DISK_PATH + 8];
    bool ctime_is_fine; /* this kernel makes each change of a ctime visible */
    struct buf said;    /* the operations so far, for the report of a failure */
    unsigned compared;  /* number of operations */
    unsigned by_status[140];
};

/* ---- Paths of inodes ------------------------------------------------------------------------- */

/* The path of a name in a directory. False: the directory has no path, or the path is too long for
 * a system call. */
static bool path_of(const struct local *l, uint64_t ino, char out[4096])
{
    char part[3600] = "";
    const struct model *m = l->m;

    while (ino != MODEL_ROOT) {
        const struct model_entry *e = NULL;
        char longer[3600];

        for (size_t i = 0; i < m->n_entries; i++)
            if (m->entries[i]->ino == ino)
                e = m->entries[i];
        if (e == NULL)
            return false; /* an orphan's child */
        if (snprintf(longer, sizeof longer, "/%.*s%s", (int)e->name.len, (char *)e->name.data,
                     part) >= (int)sizeof longer)
            return false;
        strcpy(part, longer);
        ino = e->dir;
    }
    snprintf(out, 4096, "%s%s", l->root, part);
    return true;
}

static bool is_odd(const ProtobufCBinaryData *name)
{
    return name->len > LIMIT_NAME_MAX || (name->len == 1 && name->data[0] == '.') ||
           (name->len == 2 && memcmp(name->data, "..", 2) == 0);
}

/* If a command has two errors, a kernel may report the other one, because it checks one part of a
 * path after the other. No kernel sends such a command to coordfs, so they are left out. */
static bool place_path(const struct local *l, uint64_t parent, const ProtobufCBinaryData *name,
                       char out[4096])
{
    const struct model_inode *dir = model_find(l->m, parent);
    size_t len;

    if (dir == NULL || S_ISLNK(dir->attr.mode) || !path_of(l, parent, out) ||
        (is_odd(name) && !model_is_dir(dir)))
        return false;
    if (name->len == 0 || memchr(name->data, 0, name->len) || memchr(name->data, '/', name->len))
        return false;
    len = strlen(out);
    snprintf(out + len, 4096 - len, "/%.*s", (int)name->len, (char *)name->data);
    return true;
}

static bool inode_path(const struct local *l, uint64_t ino, char out[4096])
{
    return model_find(l->m, ino) != NULL && path_of(l, ino, out);
}

/* ---- Operations as system calls -------------------------------------------------------------- */

/* These functions run one operation on the local filesystem. They return false if that is not
 * possible, and the result otherwise. They may change the command into the form that a kernel would
 * send. */

static int result_of(int rc)
{
    return rc < 0 ? errno : 0;
}

static bool do_make(const struct local *l, Cfs__Command *c, int *status)
{
    Cfs__Make *make = c->make;
    char path[4096], target[4097];

    make->uid = 0;
    if (S_ISDIR(make->mode))
        make->mode &= ~(uint32_t)(S_ISUID | S_ISGID); /* mkdir(2) ignores them */
    if (S_ISLNK(make->mode))
        make->mode = S_IFLNK | 0777;
    if (!place_path(l, make->parent, &make->name, path) || (make->mode & S_IFMT) == 0 ||
        (S_ISLNK(make->mode) && make->target.len == 0) ||
        (make->target.len > LIMIT_SYMLINK_MAX && is_odd(&make->name)))
        return false;
    setfsgid(make->gid);
    umask(make->umask);
    if (S_ISDIR(make->mode))
        *status = result_of(mkdir(path, make->mode & 07777));
    else if (!S_ISLNK(make->mode))
        *status = result_of(mknod(path, make->mode, make->rdev));
    else {
        snprintf(target, sizeof target, "%.*s", (int)make->target.len, (char *)make->target.data);
        *status = result_of(symlink(target, path));
    }
    umask(0);
    setfsgid(0);
    return true;
}

static bool do_link(const struct local *l, Cfs__Command *c, int *status)
{
    char from[4096], to[4096];

    if (!inode_path(l, c->link->ino, from) || c->link->ino == MODEL_ROOT ||
        !place_path(l, c->link->parent, &c->link->name, to))
        return false;
    *status = result_of(linkat(AT_FDCWD, from, AT_FDCWD, to, 0));
    return true;
}

static bool do_unlink(const struct local *l, Cfs__Command *c, int *status)
{
    char path[4096];

    if (!place_path(l, c->unlink->parent, &c->unlink->name, path))
        return false;
    *status = result_of(c->unlink->directory ? rmdir(path) : unlink(path));
    return true;
}

static bool do_rename(const struct local *l, Cfs__Command *c, int *status)
{
    static const unsigned flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};
    char from[4096], to[4096];

    if (!place_path(l, c->rename->parent, &c->rename->name, from) ||
        !place_path(l, c->rename->new_parent, &c->rename->new_name, to) ||
        c->rename->name.len > LIMIT_NAME_MAX ||
        (c->rename->new_name.len > LIMIT_NAME_MAX &&
         faccessat(AT_FDCWD, from, F_OK, AT_SYMLINK_NOFOLLOW) != 0))
        return false;
    *status = result_of(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags[c->rename->mode]));
    return true;
}

static bool set_size(const char *path, Cfs__SetAttr *set, int *status)
{
    *set = (Cfs__SetAttr){.base = set->base, .ino = set->ino, .set_size = true, .size = set->size};
    if (set->size > INT64_MAX)
        return false;
    *status = result_of(truncate(path, (off_t)set->size));
    return true;
}

static bool do_set_attr(const struct local *l, Cfs__Command *c, int *status)
{
    Cfs__SetAttr *set = c->set_attr;
    const struct model_inode *inode = model_find(l->m, set->ino);
    char path[4096];

    if (!inode_path(l, set->ino, path) || S_ISLNK(inode->attr.mode))
        return false;
    if (set->set_size)
        return set_size(path, set, status);
    if (set->set_mode) {
        *set = (Cfs__SetAttr){.base = set->base, .ino = set->ino, .set_mode = 1, .mode = set->mode};
        *status = result_of(chmod(path, set->mode & 07777));
        return true;
    }
    if (set->set_gid) { /* root's chown(2) of a setuid file sends kill */
        *set = (Cfs__SetAttr){.base = set->base, .ino = set->ino, .set_gid = 1, .gid = set->gid};
        set->kill = model_is_dir(inode) ? CFS__KILL__KILL_NONE : CFS__KILL__KILL_SUID;
        *status = result_of(lchown(path, (uid_t)-1, set->gid));
        return true;
    }
    return false;
}

static bool do_write(const struct local *l, Cfs__Command *c, int *status)
{
    Cfs__Write *write = c->write;
    const struct model_inode *inode = model_find(l->m, write->ino);
    int flags = O_WRONLY | (write->truncate ? O_TRUNC : 0) | (write->append ? O_APPEND : 0);
    char path[4096];
    int fd;

    write->kill = CFS__KILL__KILL_NONE;
    if (!inode_path(l, write->ino, path) || !(S_ISREG(inode->attr.mode) || model_is_dir(inode)) ||
        write->n_extents == 0 || write->n_extents > 20 || write->stage != 0 || write->staged != 0)
        return false;
    if (write->append && inode->attr.size > LIMIT_FILE_MAX / 2)
        return false; /* a kernel writes as much as fits, coordfs writes nothing */
    for (size_t i = 0; i < write->n_extents; i++)
        if (write->extents[i]->data.len == 0 || write->extents[i]->data.len > 200000 ||
            write->extents[i]->offset > (1u << 20))
            return false;
    fd = open(path, flags);
    *status = result_of(fd);
    for (size_t i = 0; fd >= 0 && i < write->n_extents; i++) {
        const ProtobufCBinaryData *data = &write->extents[i]->data;
        ssize_t n = pwrite(fd, data->data, data->len, (off_t)write->extents[i]->offset);

        check(n == (ssize_t)data->len);
    }
    if (fd >= 0)
        close(fd);
    return true;
}

static bool xattr_fits(const struct local *l, uint64_t ino, const ProtobufCBinaryData *name,
                       char path[4096], char text[400])
{
    const struct model_inode *inode = model_find(l->m, ino);

    if (!inode_path(l, ino, path) || (name->len > 0 && memchr(name->data, 0, name->len) != NULL))
        return false;
    if (name->len > LIMIT_XATTR_NAME || name->len == 0)
        snprintf(text, 400, "%.*s", (int)name->len, (char *)name->data);
    else if (model_acl_is_name(name)) {
        if (S_ISLNK(inode->attr.mode))
            return false;
        snprintf(text, 400, "%.*s", (int)name->len, (char *)name->data);
    } else if (name->len > 10 || !(model_is_dir(inode) || S_ISREG(inode->attr.mode)))
        return false;
    else
        snprintf(text, 400, "%.*s", (int)name->len, (char *)name->data);
    return true;
}

static bool do_set_xattr(const struct local *l, Cfs__Command *c, int *status)
{
    static const int flags[] = {0, XATTR_CREATE, XATTR_REPLACE};
    Cfs__SetXattr *set = c->set_xattr;
    const struct model_inode *inode = model_find(l->m, set->ino);
    const struct model_xattr *there =
        inode != NULL ? model_find_xattr(inode, set->name.data, set->name.len) : NULL;
    char path[4096], name[400];

    if (there != NULL && set->mode != CFS__SET_XATTR__MODE__CREATE &&
        there->value.len == set->value.len &&
        (set->value.len == 0 || memcmp(there->value.data, set->value.data, set->value.len) == 0))
        return false; /* if the value is the same, ext4 does nothing */
    if (!xattr_fits(l, set->ino, &set->name, path, name) ||
        (set->value.len > 300 && set->value.len <= LIMIT_XATTR_VALUE))
        return false;
    if (model_acl_is_name(&set->name) && !S_ISDIR(inode->attr.mode) && set->name.len == 24)
        return false;       /* a default ACL of a file that may also be invalid: two errors */
    set->kill_sgid = false; /* the test runs as root */
    *status = result_of(lsetxattr(path, name, set->value.data, set->value.len, flags[set->mode]));
    return true;
}

static bool do_fallocate(const struct local *l, Cfs__Command *c, int *status)
{
    static const int flags[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    Cfs__Fallocate *f = c->fallocate;
    const struct model_inode *inode = model_find(l->m, f->ino);
    bool punches = f->mode == CFS__FALLOCATE__MODE__PUNCH_HOLE;
    char path[4096];
    int fd;

    f->kill = CFS__KILL__KILL_NONE;
    if (!inode_path(l, f->ino, path) || !(S_ISREG(inode->attr.mode) || model_is_dir(inode)) ||
        (f->len == 0 && model_is_dir(inode)) || (uint32_t)f->mode >= 5 ||
        f->offset > INT64_MAX / 4 || f->len > INT64_MAX / 4)
        return false;
    /* ext4 changes times before it fails, and its limit is another one. */
    if (!punches && f->offset + f->len > LIMIT_FILE_MAX)
        return false;
    /* Before Linux 6.15, ext4 does not count this as a change. */
    if (punches && f->offset >= inode->attr.size)
        return false;
    fd = open(path, O_WRONLY);
    *status =
        result_of(fd < 0 ? fd : fallocate(fd, flags[f->mode], (off_t)f->offset, (off_t)f->len));
    if (fd >= 0)
        close(fd);
    return true;
}

/* The number of bytes that can be copied. */
static uint64_t copy_length(const Cfs__Copy *copy, const struct model_inode *src)
{
    uint64_t size = S_ISREG(src->attr.mode) ? src->attr.size : 0;

    return copy->src_offset < size ? min_u64(copy->len, size - copy->src_offset) : 0;
}

/* len: the number of bytes at the beginning. (A copy of a file to its own end makes it longer.) */
static int copy_all(const char *from, const char *to, const Cfs__Copy *copy, uint64_t len)
{
    int src = open(from, O_RDONLY), dst = open(to, O_WRONLY | (copy->truncate ? O_TRUNC : 0));
    off_t src_at = (off_t)copy->src_offset, dst_at = (off_t)copy->dst_offset;
    size_t left = (size_t)(len > 0 ? len : min_u64(copy->len, 1u << 30));
    ssize_t n = src < 0 || dst < 0 ? -1 : 0;
    int status = n < 0 ? errno : 0;

    while (status == 0 && left > 0 &&
           (n = copy_file_range(src, &src_at, dst, &dst_at, left, 0)) > 0)
        left -= (size_t)n;
    if (n < 0 && status == 0)
        status = errno;
    if (src >= 0)
        close(src);
    if (dst >= 0)
        close(dst);
    return status;
}

static bool do_copy(const struct local *l, Cfs__Command *c, int *status)
{
    Cfs__Copy *copy = c->copy;
    const struct model_inode *src = model_find(l->m, copy->src), *dst = model_find(l->m, copy->dst);
    char from[4096], to[4096];

    copy->kill = CFS__KILL__KILL_NONE;
    if (!inode_path(l, copy->src, from) || !inode_path(l, copy->dst, to) ||
        !(S_ISREG(src->attr.mode) || model_is_dir(src)) ||
        !(S_ISREG(dst->attr.mode) || model_is_dir(dst)))
        return false;
    /* A system call does not restore emptied content if it fails afterwards. */
    if (copy->truncate && (src == dst || model_is_dir(src)))
        return false;
    /* A kernel copies as much as fits, coordfs copies nothing. */
    if (copy->src_offset > INT64_MAX / 4 || copy->dst_offset > LIMIT_FILE_MAX / 2 ||
        copy_length(copy, src) > LIMIT_FILE_MAX / 2)
        return false;
    if (copy->len == 0 && (model_is_dir(src) || model_is_dir(dst)))
        return false;
    *status = copy_all(from, to, copy, copy_length(copy, src));
    return true;
}

static bool do_remove_xattr(const struct local *l, Cfs__Command *c, int *status)
{
    char path[4096], name[400];

    if (!xattr_fits(l, c->remove_xattr->ino, &c->remove_xattr->name, path, name))
        return false;
    *status = result_of(lremovexattr(path, name));
    return true;
}

static bool (*const doers[])(const struct local *, Cfs__Command *, int *) = {
    [CFS__COMMAND__OP_MAKE] = do_make,           [CFS__COMMAND__OP_LINK] = do_link,
    [CFS__COMMAND__OP_UNLINK] = do_unlink,       [CFS__COMMAND__OP_RENAME] = do_rename,
    [CFS__COMMAND__OP_SET_ATTR] = do_set_attr,   [CFS__COMMAND__OP_WRITE] = do_write,
    [CFS__COMMAND__OP_SET_XATTR] = do_set_xattr, [CFS__COMMAND__OP_REMOVE_XATTR] = do_remove_xattr,
    [CFS__COMMAND__OP_FALLOCATE] = do_fallocate, [CFS__COMMAND__OP_COPY] = do_copy,
};

/* ---- Comparing ------------------------------------------------------------------------------- */

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

BASE_PRINTF(3, 4)
static void require(const struct local *l, bool good, const char *fmt, ...)
{
    va_list args;

    if (good)
        return;
    va_start(args, fmt);
    fprintf(stderr, "%.*s\n", (int)l->said.len,
            (char *)l->said.data); /* cmocka cuts messages at 1 KiB */
    vprint_error(fmt, args);
    va_end(args);
    fail_msg("the model differs from %s", l->root);
}

static void compare_content(const struct local *l, const struct model_inode *inode,
                            const char *path)
{
    size_t len = (size_t)min_u64(inode->attr.size, 400000);
    uint8_t *got = xmalloc(len + 1), *want = xmalloc(len + 1);
    int fd = open(path, O_RDONLY);
    ssize_t n;

    check(fd >= 0);
    n = pread(fd, got, len, 0);
    close(fd);
    check(model_read(inode, 0, want, len) == len);
    require(l, n == (ssize_t)len && memcmp(got, want, len) == 0, "content of %s\n", path);
    free(got);
    free(want);
}

static void compare_xattrs(const struct local *l, const struct model_inode *inode, const char *path)
{
    char value[400], names[4096];
    ssize_t len = llistxattr(path, names, sizeof names);
    size_t count = 0;

    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
        count += strncmp(names + at, "security.", 9) != 0;
    require(l, count == inode->n_xattrs, "%s has %zu xattrs, the model %zu\n", path, count,
            inode->n_xattrs);
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const struct model_xattr *x = &inode->xattrs[i];
        char name[300];

        snprintf(name, sizeof name, "%.*s", (int)x->name.len, (char *)x->name.data);
        len = lgetxattr(path, name, value, sizeof value);
        require(l,
                len == (ssize_t)x->value.len &&
                    (len == 0 || memcmp(value, x->value.data, (size_t)len) == 0),
                "xattr %s of %s\n", name, path);
    }
}

/* The times of a real file before an operation. */
struct times {
    uint64_t ino;
    int64_t mtime_ns, ctime_ns;
    int64_t model_mtime_ns, model_ctime_ns;
};

static struct times *note_times(const struct local *l, size_t *n)
{
    struct times *all = xcalloc(l->m->n_inodes, sizeof *all);

    *n = 0;
    for (size_t i = 0; i < l->m->n_inodes; i++) {
        const struct model_inode *inode = l->m->inodes[i];
        struct timespec set[2] = {{0, UTIME_OMIT}, {1500000000, (long)inode->attr.ino}};
        char path[4096];
        struct stat st;

        if (!inode_path(l, inode->attr.ino, path))
            continue;
        /* Sets an mtime that the operation cannot produce, so that each change is visible. */
        check(utimensat(AT_FDCWD, path, set, AT_SYMLINK_NOFOLLOW) == 0 && lstat(path, &st) == 0);
        all[(*n)++] = (struct times){inode->attr.ino, ns_of(st.st_mtim), ns_of(st.st_ctim),
                                     inode->attr.mtime_ns, inode->attr.ctime_ns};
    }
    return all;
}

static void compare_times(const struct local *l, const struct times *before, const struct stat *st,
                          const struct model_inode *inode, const char *path)
{
    bool mtime = ns_of(st->st_mtim) != before->mtime_ns;
    bool ctime = ns_of(st->st_ctim) != before->ctime_ns;
    bool model_mtime = inode->attr.mtime_ns != before->model_mtime_ns;
    bool model_ctime = inode->attr.ctime_ns != before->model_ctime_ns;

    require(l, mtime == model_mtime, "mtime of %s (%" PRIu64 "): changed %d, in the model %d\n",
            path, inode->attr.ino, mtime, model_mtime);
    require(l, ctime == model_ctime || (model_ctime && !l->ctime_is_fine),
            "ctime of %s (%" PRIu64 "): changed %d, in the model %d\n", path, inode->attr.ino,
            ctime, model_ctime);
}

static void compare_inode(const struct local *l, const struct model_inode *inode,
                          const struct times *before, size_t n_before)
{
    char path[4096];
    struct stat st;

    if (!inode_path(l, inode->attr.ino, path))
        return;
    require(l, lstat(path, &st) == 0, "%s is missing\n", path);
    require(l, st.st_mode == inode->attr.mode, "mode of %s is 0%o, in the model 0%o\n", path,
            st.st_mode, inode->attr.mode);
    require(l, st.st_nlink == inode->attr.nlink, "nlink of %s is %lu, in the model %u\n", path,
            (unsigned long)st.st_nlink, inode->attr.nlink);
    require(l, st.st_gid == inode->attr.gid, "gid of %s is %u, in the model %u\n", path, st.st_gid,
            inode->attr.gid);
    require(l, st.st_rdev == inode->attr.rdev, "rdev of %s\n", path);
    require(l, model_is_dir(inode) || (uint64_t)st.st_size == inode->attr.size,
            "size of %s is %lld, in the model %" PRIu64 "\n", path, (long long)st.st_size,
            inode->attr.size);
    if (S_ISREG(inode->attr.mode))
        compare_content(l, inode, path);
    if (S_ISREG(inode->attr.mode) || model_is_dir(inode))
        compare_xattrs(l, inode, path);
    for (size_t i = 0; i < n_before; i++)
        if (before[i].ino == inode->attr.ino)
            compare_times(l, &before[i], &st, inode, path);
}

static size_t count_real(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    size_t n = 0;

    check(dir != NULL);
    while ((e = readdir(dir)) != NULL)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static void compare_all(const struct local *l, const struct times *before, size_t n_before)
{
    for (size_t i = 0; i < l->m->n_inodes; i++) {
        const struct model_inode *inode = l->m->inodes[i];
        char path[4096];

        compare_inode(l, inode, before, n_before);
        if (model_is_dir(inode) && inode_path(l, inode->attr.ino, path))
            require(l, count_real(path) == inode->attr.size, "entries in %s\n", path);
    }
}

/* ---- A run ----------------------------------------------------------------------------------- */

static void apply_message(struct local *l, Cfs__Command *command, struct model_result *result)
{
    struct model_session *s = l->m->sessions[0];
    struct stamp stamp = {s->id, s->last_seq + 1, s->last_seq,
                          TIME_BASE_NS + (int64_t)l->m->applied};
    struct buf bytes = encode_stamped(&stamp, command);
    struct store_entry entry = {1, STORE_COMMAND, bytes.data, bytes.len};

    model_apply(l->m, l->m->applied + 1, &entry, result);
    buf_fini(&bytes);
}

static void open_session(struct local *l)
{
    struct gen_op op = {.kind = GEN_OPEN_SESSION};
    struct buf data = BUF_EMPTY;
    struct store_entry entry;
    struct model_result result;

    gen_entry(&op, l->m, &data, &entry);
    model_apply(l->m, 1, &entry, &result);
    check(result.outcome == STORE_APPLIED && l->m->n_sessions == 1);
    model_result_fini(&result);
    buf_fini(&data);
}

static void run_op(struct local *l, const struct gen_op *op)
{
    struct buf data = BUF_EMPTY;
    struct store_entry entry;
    struct model_result result;
    Cfs__Command *command;
    struct times *before;
    size_t n_before;
    int status = 0;

    gen_entry(op, l->m, &data, &entry);
    command = cfs__command__unpack(NULL, entry.len - STAMP_SIZE, entry.data + STAMP_SIZE);
    check(command != NULL);
    before = note_times(l, &n_before);
    if (doers[command->op_case](l, command, &status)) {
        describe_message(&command->base, &l->said);
        buf_printf(&l->said, " -> %d\n", status);
        apply_message(l, command, &result);
        require(l, (int)result.reply.status == status, "status %d (%s), in the model %u\n", status,
                strerror(status), result.reply.status);
        compare_all(l, before, n_before);
        model_result_fini(&result);
        l->compared++;
        l->by_status[status]++;
    }
    free(before);
    cfs__command__free_unpacked(command, NULL);
    buf_fini(&data);
}

static int remove_one(const char *path, const struct stat *st BASE_UNUSED, int type BASE_UNUSED,
                      struct FTW *ftw BASE_UNUSED)
{
    return remove(path);
}

/* True if the kernel gives each change of a ctime a different time. (Some do since 6.13.) */
static bool has_fine_ctime(const char *path)
{
    struct stat a, b;

    for (int i = 0; i < 100; i++) {
        check(stat(path, &a) == 0 && chmod(path, 0755) == 0 && stat(path, &b) == 0);
        if (ns_of(a.st_ctim) == ns_of(b.st_ctim))
            return false;
    }
    return true;
}

static unsigned run_local(const char *disk, uint64_t seed, size_t n_ops, unsigned by_status[140],
                          bool *fine_ctime)
{
    static const enum gen_kind kinds[] = {
        GEN_MAKE,         GEN_MAKE,      GEN_LINK,     GEN_UNLINK,    GEN_RENAME,
        GEN_RENAME,       GEN_SET_ATTR,  GEN_TRUNCATE, GEN_WRITE,     GEN_SET_XATTR,
        GEN_REMOVE_XATTR, GEN_FALLOCATE, GEN_COPY,     GEN_SET_XATTR, GEN_MAKE};
    struct gen_rng rng = gen_rng_from(seed);
    struct gen_mix mix = gen_mix(&rng);
    struct local l = {.m = model_new()};

    snprintf(l.root, sizeof l.root, "%s/seed", disk);
    check(mkdir(l.root, 0755) == 0);
    l.ctime_is_fine = *fine_ctime = has_fine_ctime(l.root);
    buf_printf(&l.said, "seed %" PRIu64 ":\n", seed);
    open_session(&l);
    for (size_t i = 0; i < n_ops; i++) {
        struct gen_op op = gen_op(&rng, &mix);

        op.kind = kinds[gen_below(&rng, ARRAY_LEN(kinds))];
        run_op(&l, &op);
    }
    nftw(l.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < 140; i++)
        by_status[i] += l.by_status[i];
    buf_fini(&l.said);
    model_free(l.m);
    return l.compared;
}

static bool gave_up;

/* The contract with tests/run.sh: a line with the reason, and exit status 77. */
static void give_up(const char *why)
{
    printf("%s\n", why);
    gave_up = true;
    skip();
}

static void test_against_local_filesystem(void **state BASE_UNUSED)
{
    static const int expected[] = {0,     ENOENT, EEXIST,  ENOTDIR,      EISDIR, ENOTEMPTY, EINVAL,
                                   EPERM, EFBIG,  ENODATA, ENAMETOOLONG, ERANGE, E2BIG};
    const struct rlimit limit = {LIMIT_FILE_MAX, LIMIT_FILE_MAX};
    uint64_t first = gen_env("MODEL_SEED", 1), seeds = gen_env("MODEL_SEEDS", 12);
    unsigned by_status[140] = {0}, compared = 0;
    char disk[LOCAL_DISK_PATH];
    bool fine = false;

    if (geteuid() != 0)
        give_up("SKIP: root is needed");
    if (!local_disk_mount(disk))
        give_up("SKIP-MACHINE: no ext4 on a loop device");
    umask(0);
    signal(SIGXFSZ, SIG_IGN);
    check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (uint64_t seed = first; seed < first + seeds; seed++)
        compared += run_local(disk, seed, 300, by_status, &fine);
    local_disk_unmount(disk);
    print_message("%u operations compared, seeds from %" PRIu64 "; each ctime shows: %s\n",
                  compared, first, fine ? "yes" : "no");
    for (size_t i = 0; seeds >= 12 && i < ARRAY_LEN(expected); i++)
        if (by_status[expected[i]] == 0)
            fail_msg("no operation ended with %s", strerror(expected[i]));
}

/* ---- The reach of the generator -------------------------------------------------------------- */

/* A property test proves nothing about cases that its generator never makes. These outcomes must
 * occur. */
static const struct {
    enum gen_kind kind;
    uint32_t status;
} reached[] = {
    {GEN_NOOP, 0},
    {GEN_OPEN_SESSION, 0},
    {GEN_MAKE, 0},
    {GEN_MAKE, ENOENT},
    {GEN_MAKE, EEXIST},
    {GEN_MAKE, ENOTDIR},
    {GEN_MAKE, EINVAL},
    {GEN_MAKE, ENAMETOOLONG},
    {GEN_LINK, 0},
    {GEN_LINK, ENOENT},
    {GEN_LINK, ESTALE},
    {GEN_LINK, EPERM},
    {GEN_LINK, EEXIST},
    {GEN_LINK, ENOTDIR},
    {GEN_UNLINK, 0},
    {GEN_UNLINK, ENOENT},
    {GEN_UNLINK, EISDIR},
    {GEN_UNLINK, ENOTDIR},
    {GEN_UNLINK, ENOTEMPTY},
    {GEN_RENAME, 0},
    {GEN_RENAME, ENOENT},
    {GEN_RENAME, EEXIST},
    {GEN_RENAME, ENOTDIR},
    {GEN_RENAME, EISDIR},
    {GEN_RENAME, EINVAL},
    {GEN_RENAME, ENOTEMPTY},
    {GEN_RENAME, ENAMETOOLONG},
    {GEN_SET_ATTR, 0},
    {GEN_SET_ATTR, ESTALE},
    {GEN_SET_ATTR, EISDIR},
    {GEN_SET_ATTR, EINVAL},
    {GEN_TRUNCATE, 0},
    {GEN_TRUNCATE, EFBIG},
    {GEN_TRUNCATE, ESTALE},
    {GEN_WRITE, 0},
    {GEN_WRITE, EFBIG},
    {GEN_WRITE, EINVAL},
    {GEN_WRITE, EISDIR},
    {GEN_WRITE, ESTALE},
    {GEN_SET_XATTR, 0},
    {GEN_SET_XATTR, EEXIST},
    {GEN_SET_XATTR, ENODATA},
    {GEN_SET_XATTR, ERANGE},
    {GEN_SET_XATTR, E2BIG},
    {GEN_SET_XATTR, ENOSPC},
    {GEN_SET_XATTR, ESTALE},
    {GEN_SET_XATTR, EINVAL},
    {GEN_SET_XATTR, EOPNOTSUPP},
    {GEN_SET_XATTR, EACCES},
    {GEN_REMOVE_XATTR, 0},
    {GEN_REMOVE_XATTR, ENODATA},
    {GEN_REMOVE_XATTR, ERANGE},
    {GEN_REMOVE_XATTR, ESTALE},
    {GEN_REAP, 0},
    {GEN_FALLOCATE, 0},
    {GEN_FALLOCATE, EINVAL},
    {GEN_FALLOCATE, EFBIG},
    {GEN_FALLOCATE, EISDIR},
    {GEN_FALLOCATE, ESTALE},
    {GEN_COPY, 0},
    {GEN_COPY, EINVAL},
    {GEN_COPY, EFBIG},
    {GEN_COPY, EISDIR},
    {GEN_COPY, ESTALE},
    {GEN_WRITE, ECANCELED},
    {GEN_STAGE, 0},
    {GEN_STAGE, EINVAL},
    {GEN_STAGE, EFBIG},
    {GEN_STAGE, EISDIR},
    {GEN_STAGE, ESTALE},
    {GEN_UNSTAGE, 0},
};

struct tally {
    unsigned statuses[GEN_KINDS][140];
    unsigned outcomes[STORE_INTERNAL + 1];
    unsigned forgotten; /* duplicates whose reply was forgotten */
    unsigned reaped;
    unsigned depth; /* of the deepest directory */
};

static unsigned depth_of(const struct model *m)
{
    unsigned deepest = 0;

    for (size_t i = 0; i < m->n_inodes; i++) {
        const struct model_inode *dir = m->inodes[i];
        unsigned depth = 0;

        if (model_is_orphan(dir)) /* an orphan has no parent */
            continue;
        for (; model_is_dir(dir) && dir->attr.ino != MODEL_ROOT; depth++)
            dir = model_find(m, dir->attr.parent);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest;
}

static void tally_seed(uint64_t seed, struct tally *t)
{
    struct gen_rng rng = gen_rng_from(seed);
    struct gen_mix mix = gen_mix(&rng);
    struct model *m = model_new();

    for (int i = 0; i < 400; i++) {
        struct gen_op op = gen_op(&rng, &mix);
        struct buf data = BUF_EMPTY;
        struct store_entry entry;
        struct model_result result;
        size_t inodes = m->n_inodes;

        if (!gen_is_entry(&op))
            continue;
        gen_entry(&op, m, &data, &entry);
        model_apply(m, m->applied + 1, &entry, &result);
        t->outcomes[result.outcome]++;
        t->forgotten += result.outcome == STORE_DUPLICATE && !result.has_reply;
        if (result.outcome == STORE_APPLIED)
            t->statuses[op.kind][result.reply.status]++;
        if (op.kind == GEN_REAP)
            t->reaped += (unsigned)(inodes - m->n_inodes);
        model_result_fini(&result);
        buf_fini(&data);
    }
    t->depth = (unsigned)max_u64(t->depth, depth_of(m));
    model_free(m);
}

static void test_generator_reaches(void **state BASE_UNUSED)
{
    struct tally t = {0};

    for (uint64_t seed = 1; seed <= 60; seed++)
        tally_seed(seed, &t);
    for (size_t i = 0; i < ARRAY_LEN(reached); i++)
        if (t.statuses[reached[i].kind][reached[i].status] == 0)
            fail_msg("operation %d never ends with %s", reached[i].kind,
                     strerror((int)reached[i].status));
    for (size_t i = 0; i < ARRAY_LEN(t.outcomes); i++)
        assert_true(t.outcomes[i] > 0);
    assert_true(t.forgotten > 0);
    assert_true(t.reaped > 0);
    assert_true(t.depth >= 6);
    assert_true(t.statuses[GEN_RENAME][0] > t.statuses[GEN_RENAME][ENOENT] / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_local_filesystem),
        cmocka_unit_test(test_generator_reaches),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    return failed == 0 && gave_up ? 77 : failed;
}
