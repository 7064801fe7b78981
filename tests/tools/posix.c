/* SPDX-License-Identifier: Apache-2.0 */
/* posix [-v] TABLE REFERENCE SUBJECT [SUBJECT]: runs the cases of a table on two sides and compares
 * the results. REFERENCE is a directory on a local filesystem, SUBJECT a directory on the
 * filesystem under test. With two SUBJECTs (two mounts of one tree), operations on paths take
 * turns.
 *
 * A table is text. "case NAME" begins a case; each further line is one operation with its
 * arguments; '#' begins a comment line. Each case runs in a new empty directory on each side, in a
 * separate process, as root unless the case changes the user. An operation prints its result (a
 * number or the name of the errno) and what it saw. A case fails if a line of the two sides
 * differs.
 *
 * Arguments: plain words; \xHH any byte; \_ a blank; {TEXT*N} TEXT repeated; "-" an empty one.
 * Paths are relative to the case's directory. The operations are in the table at the end. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/buf.h"
#include "proto/ioctl.h"

#define ARGS_MAX   8
#define FDS_MAX    10
#define MARKS_MAX  8
#define ROOTS_MAX  2
#define CASE_LIMIT 20    /* seconds */
#define CLOCK_TICK 20000 /* microseconds: longer than the step of any filesystem's clock */

struct arg {
    char *s;
    size_t len;
};

struct mark {
    char name[16];
    struct stat st;
};

/* One side of one case, in its own process. */
struct side {
    const char *roots[ROOTS_MAX];
    int root_fds[ROOTS_MAX];
    unsigned n_roots;
    unsigned turn;
    const char *dir; /* of the case, below each root */
    int fds[FDS_MAX];
    struct mark marks[MARKS_MAX];
    unsigned n_marks;
    FILE *out;
};

/* ---- Words and numbers ----------------------------------------------------------------------- */

static const struct {
    const char *name;
    long value;
} words[] = {
    {"O_RDONLY", O_RDONLY},
    {"O_WRONLY", O_WRONLY},
    {"O_RDWR", O_RDWR},
    {"O_CREAT", O_CREAT},
    {"O_EXCL", O_EXCL},
    {"O_TRUNC", O_TRUNC},
    {"O_APPEND", O_APPEND},
    {"O_DIRECTORY", O_DIRECTORY},
    {"O_NOFOLLOW", O_NOFOLLOW},
    {"O_PATH", O_PATH},
    {"O_SYNC", O_SYNC},
    {"O_NONBLOCK", O_NONBLOCK},
    {"O_NOATIME", O_NOATIME},
    {"SEEK_SET", SEEK_SET},
    {"SEEK_CUR", SEEK_CUR},
    {"SEEK_END", SEEK_END},
    {"SEEK_DATA", SEEK_DATA},
    {"SEEK_HOLE", SEEK_HOLE},
    {"NOREPLACE", RENAME_NOREPLACE},
    {"EXCHANGE", RENAME_EXCHANGE},
    {"WHITEOUT", RENAME_WHITEOUT},
    {"XATTR_CREATE", XATTR_CREATE},
    {"XATTR_REPLACE", XATTR_REPLACE},
    {"NOW", UTIME_NOW},
    {"OMIT", UTIME_OMIT},
    {"REG", S_IFREG},
    {"FIFO", S_IFIFO},
    {"SOCK", S_IFSOCK},
    {"CHR", S_IFCHR},
    {"BLK", S_IFBLK},
    {"DIR", S_IFDIR},
    {"R_OK", R_OK},
    {"W_OK", W_OK},
    {"X_OK", X_OK},
    {"F_OK", F_OK},
    {"KEEP_SIZE", FALLOC_FL_KEEP_SIZE},
    {"PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE},
    {"ZERO_RANGE", FALLOC_FL_ZERO_RANGE},
};

static const char *table_name;
static unsigned line_number;

BASE_NORETURN BASE_PRINTF(1, 2) static void bad(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "%s:%u: ", table_name, line_number);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static long one_number(const char *s)
{
    char *end;
    long value;

    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(s, words[i].name) == 0)
            return words[i].value;
    value = strtol(s, &end, 0);
    if (*s == '\0' || *end != '\0')
        bad("what number is \"%s\"?", s);
    return value;
}

/* "O_RDWR|O_CREAT", "0644", "-1" … */
static long number(const struct arg *a)
{
    char *copy = xstrdup(a->s), *save = NULL;
    long value = 0;

    for (char *w = strtok_r(copy, "|", &save); w != NULL; w = strtok_r(NULL, "|", &save))
        value |= one_number(w);
    free(copy);
    return value;
}

/* Expands \xHH, \_ and {TEXT*N}. */
static struct arg expand(const char *s)
{
    struct buf b = BUF_EMPTY;

    if (strcmp(s, "-") == 0)
        s = "";
    while (*s != '\0') {
        unsigned value, n;
        const char *star, *close;

        if (s[0] == '\\' && s[1] == '_') {
            buf_append(&b, " ", 1);
            s += 2;
        } else if (s[0] == '\\' && s[1] == 'x' && sscanf(s + 2, "%2x", &value) == 1) {
            uint8_t byte = (uint8_t)value;

            buf_append(&b, &byte, 1);
            s += 4;
        } else if (s[0] == '{' && (star = strchr(s, '*')) != NULL &&
                   (close = strchr(star, '}')) != NULL && sscanf(star + 1, "%u", &n) == 1) {
            while (n-- > 0)
                buf_append(&b, s + 1, (size_t)(star - s - 1));
            s = close + 1;
        } else {
            buf_append(&b, s++, 1);
        }
    }
    buf_append(&b, "", 1);
    return (struct arg){.s = (char *)b.data, .len = b.len - 1};
}

static const char *errno_name(int err)
{
    const char *name = strerrorname_np(err);

    return name != NULL ? name : "E?";
}

/* ---- Parts of operations --------------------------------------------------------------------- */

static const char *path(struct side *s, const struct arg *a)
{
    static char out[2][65536];
    static unsigned which;
    char *p = out[which++ % 2];

    if (a->len == 0)
        return ""; /* an empty argument stays empty */
    snprintf(p, sizeof(out[0]), "%s/%s/%s", s->roots[s->turn % s->n_roots], s->dir, a->s);
    return p;
}

static int *slot(struct side *s, const struct arg *a)
{
    long n = number(a);

    if (n < 0 || n >= FDS_MAX)
        bad("handles are 0 to %d", FDS_MAX - 1);
    return &s->fds[n];
}

static int fd_of(struct side *s, const struct arg *a)
{
    return *slot(s, a);
}

static void say(struct side *s, long ret)
{
    if (ret < 0)
        fprintf(s->out, " %s", errno_name(errno));
    else
        fprintf(s->out, " %ld", ret);
}

static void say_bytes(struct side *s, const char *data, size_t len)
{
    uint32_t sum = 2166136261u;

    fputs(" \"", s->out);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];

        sum = (sum ^ c) * 16777619u;
        if (i >= 64)
            continue;
        if (isprint(c) && c != '"' && c != '\\')
            fputc(c, s->out);
        else
            fprintf(s->out, "\\x%02x", c);
    }
    fprintf(s->out, "\" (%zu, %08x)", len, sum);
}

/* Prints everything that must be equal. Each filesystem has its own sizes and link counts of
 * directories. */
static void say_stat(struct side *s, const struct stat *st)
{
    fprintf(s->out, " mode %o uid %u gid %u", st->st_mode, st->st_uid, st->st_gid);
    if (!S_ISDIR(st->st_mode))
        fprintf(s->out, " nlink %lu size %lld", (unsigned long)st->st_nlink,
                (long long)st->st_size);
    else
        fprintf(s->out, " dead %d", st->st_nlink == 0);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        fprintf(s->out, " rdev %u:%u", major(st->st_rdev), minor(st->st_rdev));
}

static void said_stat(struct side *s, int ret, const struct stat *st)
{
    say(s, ret);
    if (ret == 0)
        say_stat(s, st);
}

/* ---- Operations ------------------------------------------------------------------------------ */

#define OP(name) static void op_##name(struct side *s, const struct arg *a)

OP(open) /* FD PATH FLAGS MODE */
{
    int *fd = slot(s, &a[0]);

    *fd = open(path(s, &a[1]), (int)number(&a[2]) | O_CLOEXEC, (mode_t)number(&a[3]));
    say(s, *fd < 0 ? -1 : 0);
}

OP(reopen) /* FD FD FLAGS: opens another descriptor's file through /proc */
{
    char name[64];
    int *fd = slot(s, &a[0]);

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd_of(s, &a[1]));
    *fd = open(name, (int)number(&a[2]) | O_CLOEXEC);
    say(s, *fd < 0 ? -1 : 0);
}

OP(close) /* FD */
{
    int *fd = slot(s, &a[0]);

    say(s, close(*fd));
    *fd = -1;
}

OP(write) /* FD TEXT */
{
    say(s, write(fd_of(s, &a[0]), a[1].s, a[1].len));
}

OP(pwrite) /* FD OFFSET TEXT */
{
    say(s, pwrite(fd_of(s, &a[0]), a[2].s, a[2].len, number(&a[1])));
}

static void said_read(struct side *s, ssize_t n, char *data)
{
    say(s, n);
    if (n >= 0)
        say_bytes(s, data, (size_t)n);
    free(data);
}

OP(read) /* FD LEN */
{
    size_t len = (size_t)number(&a[1]);
    char *data = xmalloc(len);

    said_read(s, read(fd_of(s, &a[0]), data, len), data);
}

OP(pread) /* FD OFFSET LEN */
{
    size_t len = (size_t)number(&a[2]);
    char *data = xmalloc(len);

    said_read(s, pread(fd_of(s, &a[0]), data, len, number(&a[1])), data);
}

OP(cat) /* PATH */
{
    size_t size = 1u << 20, len = 0;
    char *data = xmalloc(size);
    int fd = open(path(s, &a[0]), O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    while (fd >= 0 && len < size && (n = read(fd, data + len, size - len)) > 0)
        len += (size_t)n;
    said_read(s, fd < 0 || n < 0 ? -1 : (ssize_t)len, data);
    if (fd >= 0)
        close(fd);
}

OP(put) /* PATH TEXT: like > of a shell */
{
    int fd = open(path(s, &a[0]), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    say(s, fd < 0 ? -1 : write(fd, a[1].s, a[1].len));
    if (fd >= 0)
        close(fd);
}

OP(add) /* PATH TEXT: like >> of a shell */
{
    int fd = open(path(s, &a[0]), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    say(s, fd < 0 ? -1 : write(fd, a[1].s, a[1].len));
    if (fd >= 0)
        close(fd);
}

OP(lseek) /* FD OFFSET WHENCE */
{
    say(s, lseek(fd_of(s, &a[0]), number(&a[1]), (int)number(&a[2])));
}

OP(ftruncate) /* FD SIZE */
{
    say(s, ftruncate(fd_of(s, &a[0]), number(&a[1])));
}

OP(truncate) /* PATH SIZE */
{
    say(s, truncate(path(s, &a[0]), number(&a[1])));
}

OP(fallocate) /* FD MODE OFFSET LEN */
{
    say(s, fallocate(fd_of(s, &a[0]), (int)number(&a[1]), number(&a[2]), number(&a[3])));
}

OP(copy) /* FD OFFSET FD OFFSET LEN: copy_file_range */
{
    off_t from = number(&a[1]), to = number(&a[3]);

    say(s, copy_file_range(fd_of(s, &a[0]), &from, fd_of(s, &a[2]), &to, (size_t)number(&a[4]), 0));
}

OP(fsync) /* FD */
{
    say(s, fsync(fd_of(s, &a[0])));
}

OP(fdatasync) /* FD */
{
    say(s, fdatasync(fd_of(s, &a[0])));
}

OP(mmap) /* FD OFFSET LEN: reads through a private mapping */
{
    size_t len = (size_t)number(&a[2]);
    char *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd_of(s, &a[0]), number(&a[1]));

    say(s, map == MAP_FAILED ? -1 : 0);
    if (map == MAP_FAILED)
        return;
    say_bytes(s, map, len);
    munmap(map, len);
}

OP(stat) /* PATH */
{
    struct stat st;
    int ret = stat(path(s, &a[0]), &st);

    said_stat(s, ret, &st);
}

OP(lstat) /* PATH */
{
    struct stat st;
    int ret = lstat(path(s, &a[0]), &st);

    said_stat(s, ret, &st);
}

OP(fstat) /* FD */
{
    struct stat st;
    int ret = fstat(fd_of(s, &a[0]), &st);

    said_stat(s, ret, &st);
}

OP(times) /* PATH: access and modification time */
{
    struct stat st;
    int ret = lstat(path(s, &a[0]), &st);

    say(s, ret);
    if (ret == 0)
        fprintf(s->out, " %lld.%09ld %lld.%09ld", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
                (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

OP(same) /* PATH PATH: one inode? */
{
    struct stat x, y;
    int ret = lstat(path(s, &a[0]), &x);

    if (ret == 0)
        ret = lstat(path(s, &a[1]), &y);
    say(s, ret);
    if (ret == 0)
        fprintf(s->out, " %s", x.st_ino == y.st_ino && x.st_dev == y.st_dev ? "same" : "different");
}

/* Remembers a file's times, and waits until the clock advances … */
OP(mark) /* NAME PATH */
{
    struct mark *m = &s->marks[s->n_marks++];

    if (s->n_marks > MARKS_MAX)
        bad("too many marks");
    snprintf(m->name, sizeof(m->name), "%s", a[0].s);
    say(s, lstat(path(s, &a[1]), &m->st));
    usleep(CLOCK_TICK);
}

static bool later(const struct timespec *x, const struct timespec *y)
{
    return x->tv_sec > y->tv_sec || (x->tv_sec == y->tv_sec && x->tv_nsec > y->tv_nsec);
}

/* … and prints which of them have advanced. */
OP(moved) /* NAME PATH */
{
    struct stat st;
    int ret = lstat(path(s, &a[1]), &st);

    say(s, ret);
    for (unsigned i = 0; ret == 0 && i < s->n_marks; i++)
        if (strcmp(s->marks[i].name, a[0].s) == 0)
            fprintf(s->out, "%s%s", later(&st.st_mtim, &s->marks[i].st.st_mtim) ? " mtime" : "",
                    later(&st.st_ctim, &s->marks[i].st.st_ctim) ? " ctime" : "");
}

OP(mkdir) /* PATH MODE */
{
    say(s, mkdir(path(s, &a[0]), (mode_t)number(&a[1])));
}

OP(rmdir) /* PATH */
{
    say(s, rmdir(path(s, &a[0])));
}

OP(unlink) /* PATH */
{
    say(s, unlink(path(s, &a[0])));
}

OP(mknod) /* PATH TYPE|MODE RDEV */
{
    say(s, mknod(path(s, &a[0]), (mode_t)number(&a[1]), (dev_t)number(&a[2])));
}

OP(symlink) /* TARGET PATH */
{
    say(s, symlink(a[0].s, path(s, &a[1])));
}

OP(readlink) /* PATH SIZE */
{
    size_t len = (size_t)number(&a[1]);
    char *data = xmalloc(len);

    said_read(s, readlink(path(s, &a[0]), data, len), data);
}

OP(link) /* PATH PATH */
{
    say(s, link(path(s, &a[0]), path(s, &a[1])));
}

OP(linkfd) /* FD PATH: a new name of an open file */
{
    char name[64];

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd_of(s, &a[0]));
    say(s, linkat(AT_FDCWD, name, AT_FDCWD, path(s, &a[1]), AT_SYMLINK_FOLLOW));
}

OP(rename) /* PATH PATH FLAGS */
{
    say(s, renameat2(AT_FDCWD, path(s, &a[0]), AT_FDCWD, path(s, &a[1]), (unsigned)number(&a[2])));
}

OP(chmod) /* PATH MODE */
{
    say(s, chmod(path(s, &a[0]), (mode_t)number(&a[1])));
}

OP(fchmod) /* FD MODE */
{
    say(s, fchmod(fd_of(s, &a[0]), (mode_t)number(&a[1])));
}

OP(chown) /* PATH UID GID */
{
    say(s, lchown(path(s, &a[0]), (uid_t)number(&a[1]), (gid_t)number(&a[2])));
}

OP(utimens) /* PATH ASEC ANSEC MSEC MNSEC */
{
    struct timespec t[2] = {{number(&a[1]), number(&a[2])}, {number(&a[3]), number(&a[4])}};

    say(s, utimensat(AT_FDCWD, path(s, &a[0]), t, AT_SYMLINK_NOFOLLOW));
}

OP(access) /* PATH MODE: with the effective ids */
{
    say(s, faccessat(AT_FDCWD, path(s, &a[0]), (int)number(&a[1]), AT_EACCESS));
}

OP(setxattr) /* PATH NAME VALUE FLAGS */
{
    say(s, lsetxattr(path(s, &a[0]), a[1].s, a[2].s, a[2].len, (int)number(&a[3])));
}

OP(getxattr) /* PATH NAME SIZE */
{
    size_t len = (size_t)number(&a[2]);
    char *data = xcalloc(1, len + 1);
    ssize_t n = lgetxattr(path(s, &a[0]), a[1].s, data, len);

    say(s, n);
    if (n >= 0 && len > 0)
        say_bytes(s, data, (size_t)n);
    free(data);
}

OP(removexattr) /* PATH NAME */
{
    say(s, lremovexattr(path(s, &a[0]), a[1].s));
}

/* ---- ACLs: "u::rw-,u:1000:r--,g::r--,m::rw-,o::---" for the extended attribute, as the kernel
 * wants it; "-" is the empty one. */

static const struct {
    char letter;
    bool has_id;
    unsigned tag;
} acl_tags[] = {{'u', false, 1}, {'u', true, 2},   {'g', false, 4},
                {'g', true, 8},  {'m', false, 16}, {'o', false, 32}};

static const char *acl_name(const struct arg *a)
{
    return strcmp(a->s, "default") == 0 ? "system.posix_acl_default" : "system.posix_acl_access";
}

static void put_le(struct buf *out, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);

        buf_append(out, &byte, 1);
    }
}

static void encode_entry(struct buf *out, const char *word)
{
    const char *id = strchr(word, ':'), *perm = id == NULL ? NULL : strchr(id + 1, ':');
    bool has_id = perm != NULL && perm != id + 1;
    unsigned bits = 0;

    if (perm == NULL)
        bad("what ACL entry is \"%s\"?", word);
    for (const char *p = perm + 1; *p != '\0'; p++)
        bits |= *p == 'r' ? 4u : *p == 'w' ? 2u : *p == 'x' ? 1u : 0u;
    for (unsigned i = 0; i < ARRAY_LEN(acl_tags); i++)
        if (acl_tags[i].letter == word[0] && acl_tags[i].has_id == has_id)
            put_le(out, acl_tags[i].tag, 2);
    put_le(out, bits, 2);
    put_le(out, has_id ? (uint32_t)atol(id + 1) : UINT32_MAX, 4);
}

OP(setacl) /* PATH access|default ACL */
{
    char *copy = xstrdup(a[2].s), *save = NULL;
    struct buf acl = BUF_EMPTY;

    put_le(&acl, 2, 4);
    for (char *w = strtok_r(copy, ",", &save); w != NULL; w = strtok_r(NULL, ",", &save))
        encode_entry(&acl, w);
    say(s, setxattr(path(s, &a[0]), acl_name(&a[1]), acl.data, acl.len, 0));
    buf_fini(&acl);
    free(copy);
}

static void say_entry(struct side *s, const uint8_t *p)
{
    unsigned bits = p[2];

    for (unsigned i = 0; i < ARRAY_LEN(acl_tags); i++) {
        if (acl_tags[i].tag != p[0])
            continue;
        fprintf(s->out, " %c:", acl_tags[i].letter);
        if (acl_tags[i].has_id)
            fprintf(s->out, "%u", p[4] | p[5] << 8);
        fprintf(s->out, ":%c%c%c", bits & 4 ? 'r' : '-', bits & 2 ? 'w' : '-',
                bits & 1 ? 'x' : '-');
    }
}

OP(getacl) /* PATH access|default */
{
    uint8_t acl[4096];
    ssize_t n = getxattr(path(s, &a[0]), acl_name(&a[1]), acl, sizeof(acl));

    say(s, n);
    for (ssize_t i = 4; i + 8 <= n; i += 8)
        say_entry(s, acl + i);
}

static int by_name(const void *x, const void *y)
{
    return strcmp(*(char *const *)x, *(char *const *)y);
}

static void say_sorted(struct side *s, char **names, size_t n)
{
    if (n > 0)
        qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++) {
        say_bytes(s, names[i], strlen(names[i]));
        free(names[i]);
    }
    free(names);
}

OP(listxattr) /* PATH: the names, sorted, without the host's own labels */
{
    char list[65536];
    ssize_t len = llistxattr(path(s, &a[0]), list, sizeof(list));
    char **names = NULL;
    size_t n = 0;

    say(s, len < 0 ? -1 : 0);
    for (ssize_t i = 0; i < len; i += (ssize_t)strlen(list + i) + 1)
        if (strcmp(list + i, "security.selinux") != 0) {
            names = xrealloc(names, (n + 1) * sizeof(*names));
            names[n++] = xstrdup(list + i);
        }
    say_sorted(s, names, n);
}

OP(ls) /* PATH: the names and types, sorted */
{
    DIR *dir = opendir(path(s, &a[0]));
    struct dirent *e;
    char **names = NULL;
    size_t n = 0;

    say(s, dir == NULL ? -1 : 0);
    if (dir == NULL)
        return;
    errno = 0;
    while ((e = readdir(dir)) != NULL) {
        names = xrealloc(names, (n + 1) * sizeof(*names));
        names[n++] = xasprintf("%s:%u", e->d_name, e->d_type);
    }
    if (errno != 0)
        fprintf(s->out, " %s", errno_name(errno));
    closedir(dir);
    say_sorted(s, names, n);
}

OP(fill) /* PATH N: makes that many empty files f0, f1 … */
{
    long n = number(&a[1]), made = 0;
    struct arg name;

    for (long i = 0; i < n; i++) {
        int fd;

        name.s = xasprintf("%s/f%ld", a[0].s, i);
        name.len = strlen(name.s);
        fd = open(path(s, &name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        free(name.s);
        if (fd >= 0) {
            made++;
            close(fd);
        }
    }
    say(s, made);
}

OP(drain) /* PATH: removes every file that readdir shows, while reading */
{
    DIR *dir = opendir(path(s, &a[0]));
    struct dirent *e;
    long removed = 0;

    while (dir != NULL && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.' && unlinkat(dirfd(dir), e->d_name, 0) == 0)
            removed++;
    say(s, dir == NULL ? -1 : removed);
    if (dir != NULL)
        closedir(dir);
}

OP(chdir) /* PATH */
{
    say(s, chdir(path(s, &a[0])));
}

OP(here) /* lists, makes and stats in the working directory */
{
    struct stat st;
    int fd = open("made-here", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    DIR *dir;
    int ret;

    (void)a;
    say(s, fd < 0 ? -1 : 0);
    if (fd >= 0)
        close(fd);
    ret = stat(".", &st);
    said_stat(s, ret, &st);
    dir = opendir(".");
    errno = 0;
    say(s, dir == NULL || (readdir(dir) == NULL && errno != 0) ? -1 : 0);
    if (dir != NULL)
        closedir(dir);
}

OP(statvfs) /* PATH: the values that must be equal */
{
    struct statvfs st;
    int ret = statvfs(path(s, &a[0]), &st);

    say(s, ret);
    if (ret == 0)
        fprintf(s->out, " namemax %lu room %d %d", st.f_namemax, st.f_bfree > 0, st.f_ffree > 0);
}

OP(umask) /* MODE */
{
    say(s, umask((mode_t)number(&a[0])));
}

OP(as) /* UID GID [GID]: continues as this user */
{
    gid_t groups[2] = {(gid_t)number(&a[1]), 0};
    size_t n = 1;

    if (a[2].len > 0)
        groups[n++] = (gid_t)number(&a[2]);
    if (seteuid(0) != 0 || setgroups(n, groups) != 0 || setegid(groups[0]) != 0 ||
        seteuid((uid_t)number(&a[0])) != 0)
        bad("cannot become another user: %s", strerror(errno));
    say(s, 0);
}

OP(sync) /* syncfs on PATH */
{
    int fd = open(path(s, &a[0]), O_RDONLY | O_CLOEXEC);

    say(s, fd < 0 ? -1 : syncfs(fd));
    if (fd >= 0)
        close(fd);
}

static const struct op {
    const char *name;
    void (*run)(struct side *s, const struct arg *a);
    unsigned min, max; /* arguments */
} ops[] = {
    {"open", op_open, 3, 4},
    {"reopen", op_reopen, 3, 3},
    {"close", op_close, 1, 1},
    {"write", op_write, 2, 2},
    {"pwrite", op_pwrite, 3, 3},
    {"read", op_read, 2, 2},
    {"pread", op_pread, 3, 3},
    {"cat", op_cat, 1, 1},
    {"put", op_put, 2, 2},
    {"add", op_add, 2, 2},
    {"lseek", op_lseek, 3, 3},
    {"ftruncate", op_ftruncate, 2, 2},
    {"truncate", op_truncate, 2, 2},
    {"fallocate", op_fallocate, 4, 4},
    {"copy", op_copy, 5, 5},
    {"fsync", op_fsync, 1, 1},
    {"fdatasync", op_fdatasync, 1, 1},
    {"mmap", op_mmap, 3, 3},
    {"stat", op_stat, 1, 1},
    {"lstat", op_lstat, 1, 1},
    {"fstat", op_fstat, 1, 1},
    {"times", op_times, 1, 1},
    {"same", op_same, 2, 2},
    {"mark", op_mark, 2, 2},
    {"moved", op_moved, 2, 2},
    {"mkdir", op_mkdir, 2, 2},
    {"rmdir", op_rmdir, 1, 1},
    {"unlink", op_unlink, 1, 1},
    {"mknod", op_mknod, 3, 3},
    {"symlink", op_symlink, 2, 2},
    {"readlink", op_readlink, 2, 2},
    {"link", op_link, 2, 2},
    {"linkfd", op_linkfd, 2, 2},
    {"rename", op_rename, 2, 3},
    {"chmod", op_chmod, 2, 2},
    {"fchmod", op_fchmod, 2, 2},
    {"chown", op_chown, 3, 3},
    {"utimens", op_utimens, 5, 5},
    {"access", op_access, 2, 2},
    {"setxattr", op_setxattr, 3, 4},
    {"getxattr", op_getxattr, 3, 3},
    {"removexattr", op_removexattr, 2, 2},
    {"listxattr", op_listxattr, 1, 1},
    {"setacl", op_setacl, 3, 3},
    {"getacl", op_getacl, 2, 2},
    {"ls", op_ls, 1, 1},
    {"fill", op_fill, 2, 2},
    {"drain", op_drain, 1, 1},
    {"chdir", op_chdir, 1, 1},
    {"here", op_here, 0, 0},
    {"statvfs", op_statvfs, 1, 1},
    {"umask", op_umask, 1, 1},
    {"as", op_as, 2, 3},
    {"sync", op_sync, 1, 1},
};

/* ---- Cases ----------------------------------------------------------------------------------- */

struct line {
    char *text;
    unsigned number;
};

struct test_case {
    char *name;
    struct line *lines;
    size_t n;
};

static void run_line(struct side *s, const struct line *line)
{
    char *copy = xstrdup(line->text), *save = NULL, *w = strtok_r(copy, " \t", &save);
    struct arg args[ARGS_MAX];
    unsigned n = 0;

    line_number = line->number;
    for (char *x = strtok_r(NULL, " \t", &save); x != NULL; x = strtok_r(NULL, " \t", &save)) {
        if (n == ARGS_MAX)
            bad("too many arguments");
        args[n++] = expand(x);
    }
    for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
        if (strcmp(ops[i].name, w) != 0)
            continue;
        if (n < ops[i].min || n > ops[i].max)
            bad("%s takes %u to %u arguments", w, ops[i].min, ops[i].max);
        while (n < ops[i].max) { /* a missing argument is 0 */
            args[n] = expand("0");
            args[n++].len = strcmp(w, "as") == 0 ? 0 : 1;
        }
        fprintf(s->out, "%s:", line->text);
        ops[i].run(s, args);
        fputc('\n', s->out);
        for (unsigned k = 0; k < n; k++)
            free(args[k].s);
        free(copy);
        return;
    }
    bad("what operation is \"%s\"?", w);
}

/* Two mounts are two hosts: the changes of one must be visible on the other, also through files
 * that were opened there in an earlier turn. */
static void change_sides(struct side *s)
{
    s->turn++;
    for (unsigned i = 0; s->n_roots > 1 && i < s->n_roots; i++)
        if (ioctl(s->root_fds[i], COORDFS_IOC_SYNC) != 0)
            bad("no barrier: %s", strerror(errno));
}

/* In a child: runs the case on one side and writes the results to out. */
static void run_case(const struct test_case *c, struct side *s)
{
    umask(022);
    for (unsigned i = 0; i < FDS_MAX; i++)
        s->fds[i] = -1;
    for (unsigned i = 0; i < s->n_roots; i++)
        s->root_fds[i] = open(s->roots[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < c->n; i++) {
        change_sides(s);
        run_line(s, &c->lines[i]);
    }
    fflush(s->out);
}

static char *slurp(FILE *file)
{
    struct buf b = BUF_EMPTY;
    char block[4096];
    size_t n;

    rewind(file);
    while ((n = fread(block, 1, sizeof(block), file)) > 0)
        buf_append(&b, block, n);
    buf_append(&b, "", 1);
    return (char *)b.data;
}

/* Runs the case on one side. Returns its results. */
static char *on_side(const struct test_case *c, const char *const *roots, unsigned n_roots)
{
    static unsigned serial;
    char dir[64], full[4200];
    FILE *out = tmpfile();
    int status, ms;
    char *said;
    pid_t pid;

    snprintf(dir, sizeof(dir), "case-%lx-%d-%u", (long)time(NULL), (int)getpid(), ++serial);
    snprintf(full, sizeof(full), "%s/%s", roots[0], dir);
    check(out != NULL);
    if (mkdir(full, 0777) != 0 || chmod(full, 0777) != 0)
        die("%s: %s", full, strerror(errno));
    fflush(NULL);
    pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        struct side s = {.n_roots = n_roots, .dir = dir, .out = out};

        for (unsigned i = 0; i < n_roots; i++)
            s.roots[i] = roots[i];
        signal(SIGXFSZ, SIG_IGN);
        run_case(c, &s);
        _exit(0);
    }
    for (ms = 0; waitpid(pid, &status, WNOHANG) == 0; ms += 2) {
        if (ms > CASE_LIMIT * 1000) {
            kill(pid, SIGKILL);
            die("case %s hangs in %s", c->name, roots[0]);
        }
        usleep(2000);
    }
    said = slurp(out);
    fclose(out);
    if (status != 0)
        die("case %s ended with status %#x in %s", c->name, (unsigned)status, roots[0]);
    return said;
}

static bool compare(const struct test_case *c, const char *expected, const char *got)
{
    const char *x = expected, *y = got;

    if (strcmp(expected, got) == 0)
        return true;
    printf("FAIL %s\n", c->name);
    while (*x != '\0' || *y != '\0') {
        size_t nx = strcspn(x, "\n"), ny = strcspn(y, "\n");

        if (nx != ny || memcmp(x, y, nx) != 0)
            printf("  expected  %.*s\n       got  %.*s\n", (int)nx, x, (int)ny, y);
        x += nx + (x[nx] == '\n');
        y += ny + (y[ny] == '\n');
    }
    return false;
}

static struct test_case *load(const char *name, size_t *n_out)
{
    struct test_case *cases = NULL, *c = NULL;
    FILE *file = fopen(name, "re");
    char *text = NULL;
    size_t size = 0, n = 0;

    if (file == NULL)
        die("%s: %s", name, strerror(errno));
    table_name = name;
    for (line_number = 1; getline(&text, &size, file) > 0; line_number++) {
        char *start = text + strspn(text, " \t");

        start[strcspn(start, "\n")] = '\0';
        if (*start == '\0' || *start == '#')
            continue;
        if (strncmp(start, "case ", 5) == 0) {
            cases = xrealloc(cases, (n + 1) * sizeof(*cases));
            c = &cases[n++];
            *c = (struct test_case){.name = xstrdup(start + 5)};
            continue;
        }
        if (c == NULL)
            bad("a line outside of a case");
        c->lines = xrealloc(c->lines, (c->n + 1) * sizeof(*c->lines));
        c->lines[c->n++] = (struct line){.text = xstrdup(start), .number = line_number};
    }
    free(text);
    fclose(file);
    *n_out = n;
    return cases;
}

static void unload(struct test_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < cases[i].n; k++)
            free(cases[i].lines[k].text);
        free(cases[i].lines);
        free(cases[i].name);
    }
    free(cases);
}

int main(int argc, char **argv)
{
    const char *reference[1], *subject[ROOTS_MAX];
    size_t n, failed = 0;
    struct test_case *cases;
    bool verbose = false;
    unsigned n_subject = 0;
    int opt;

    while ((opt = getopt(argc, argv, "v")) != -1)
        if (opt != 'v')
            return 2;
        else
            verbose = true;
    if (argc - optind < 3 || argc - optind > 2 + ROOTS_MAX) {
        fprintf(stderr, "usage: posix [-v] TABLE REFERENCE SUBJECT [SUBJECT]\n");
        return 2;
    }
    cases = load(argv[optind], &n);
    reference[0] = argv[optind + 1];
    for (int i = optind + 2; i < argc; i++)
        subject[n_subject++] = argv[i];
    for (size_t i = 0; i < n; i++) {
        char *expected = on_side(&cases[i], reference, 1);
        char *got = on_side(&cases[i], subject, n_subject);

        if (!compare(&cases[i], expected, got))
            failed++;
        else if (verbose)
            printf("ok   %s\n%s", cases[i].name, got);
        free(expected);
        free(got);
    }
    printf("%s: %zu passed, %zu failed\n", argv[optind], n - failed, failed);
    unload(cases, n);
    return failed == 0 && n > 0 ? 0 : 1;
}
