/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror's process.
 *
 * The clone (open_tree(2)) keeps the filesystem alive, so it must go when the public mount goes.
 * The kernel reports every mount and unmount through /proc/self/mountinfo; this process exits when
 * it does not find its mount there any more.
 *
 * Directories are found by their inode numbers, with hand-made handles of name_to_handle_at(2). So
 * no name on the way is looked up: it may have changed. This works while the kernel has an entry of
 * the directory in its cache; if it has none, the process asks the daemon for a path. */
#include "fs/mirror/mirror_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fs/mirror/mirror_wire.h"

#define ROOT_INO    1u
#define HANDLE_TYPE 0x81 /* FILEID_INO64_GEN: the node id's two halves, and the generation */

struct child {
    int sock;
    int mounts; /* /proc/self/mountinfo */
    int id;
    int root; /* of the clone */
    bool submounts;
};

struct order {
    struct mirror_ask head;
    char texts[MIRROR_TEXT_MAX];
    const char *names[2];
    const char *paths[2];
};

static const struct timespec content_times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};

/* ---- The mount ------------------------------------------------------------------------------- */

/* \ooo stands for blanks and similar bytes. */
static void unescape(char *s)
{
    char *out = s;
    unsigned value;

    for (; *s != '\0'; s++) {
        if (s[0] == '\\' && strlen(s) >= 4 && sscanf(s + 1, "%3o", &value) == 1) {
            *out++ = (char)value;
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* Looks for the mount, its path (PATH_MAX bytes, or NULL) and device. Notes mounts below it. */
static bool find_mount(struct child *c, char *path, dev_t *dev)
{
    static char text[1 << 20];
    char at[PATH_MAX];
    unsigned id, parent, major_no, minor_no;
    size_t len = 0;
    ssize_t n;
    bool found = false;
    char *save = NULL;

    if (lseek(c->mounts, 0, SEEK_SET) != 0)
        return false;
    while (len < sizeof(text) - 1 && (n = read(c->mounts, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    c->submounts = false;
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (sscanf(line, "%u %u %u:%u %*s %4095s", &id, &parent, &major_no, &minor_no, at) != 5)
            continue;
        c->submounts = c->submounts || parent == (unsigned)c->id;
        if (id != (unsigned)c->id || (*dev != 0 && *dev != makedev(major_no, minor_no)))
            continue;
        found = true;
        *dev = makedev(major_no, minor_no);
        if (path != NULL) {
            unescape(at);
            strcpy(path, at);
        }
    }
    return found;
}

static dev_t mount_dev;

static const char *errno_text(const char *what)
{
    static char text[MIRROR_WHY_MAX];

    snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
    return text;
}

/* Returns NULL, or the reason why there can be no mirror. */
static const char *make_clone(struct child *c)
{
    char path[PATH_MAX];
    struct statx st;
    int tree;

    c->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (c->mounts < 0)
        return errno_text("/proc/self/mountinfo");
    if (!find_mount(c, path, &mount_dev))
        return "the mount is gone";
    tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return errno == ENOSYS ? "open_tree(2) is there from Linux 5.2" : errno_text("open_tree");
    /* Attributes from the kernel's cache. The device is always among them. */
    if (statx(tree, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) != 0)
        return errno_text("statx");
    if (makedev(st.stx_dev_major, st.stx_dev_minor) != mount_dev)
        return "something else is mounted over the mount";
    /* open_by_handle_at does not take O_PATH descriptors. */
    c->root = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->root < 0)
        return errno_text("the mount's root");
    close(tree);
    return NULL;
}

/* ---- Finding things -------------------------------------------------------------------------- */

static int open_number(const struct child *c, uint64_t ino, int flags)
{
    struct {
        struct file_handle head;
        uint32_t body[3];
    } handle = {.head = {.handle_bytes = sizeof(handle.body), .handle_type = HANDLE_TYPE}};
    uint32_t body[3] = {(uint32_t)(ino >> 32), (uint32_t)ino, 0};

    memcpy(handle.head.f_handle, body, sizeof(body));
    return open_by_handle_at(c->root, &handle.head, flags | O_CLOEXEC);
}

static int open_path(const struct child *c, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, c->root, path + 1, &how, sizeof(how));

    if (fd < 0 && errno == ENOSYS) /* before Linux 5.6 */
        fd = openat(c->root, path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

/* Returns an open directory (never c->root itself), or -errno. */
static int open_dir(const struct child *c, const struct order *order, unsigned i, uint32_t *flags)
{
    int fd;

    if (order->head.dirs[i] == ROOT_INO)
        fd = openat(c->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    else if (order->paths[i][0] == '/')
        fd = open_path(c, order->paths[i]);
    else
        fd = open_number(c, order->head.dirs[i], O_PATH | O_DIRECTORY);
    if (fd >= 0)
        return fd;
    if (order->paths[i][0] == '\0')
        *flags |= MIRROR_WANTS_PATHS;
    return -errno;
}

/* Returns 0 if the name leads to inode ino (0: to nothing), or -errno. Opens it in *out unless out
 * is NULL. The look-up also prepares the kernel's cache before the change takes its locks: a
 * directory that the kernel knows under another name could not be found while they are held. */
static int expect(int dir, const char *name, uint64_t ino, int *out)
{
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct statx st;
    int err = 0;

    if (fd < 0)
        return errno == ENOENT && ino == 0 ? 0 : -errno;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_TYPE, &st) != 0)
        err = -errno;
    else if (ino == 0)
        err = -EEXIST;
    else if (st.stx_ino != ino)
        err = -ESTALE;
    if (err == 0 && out != NULL)
        *out = fd;
    else
        close(fd);
    return err;
}

/* ---- The operations: each returns 0 or -errno ---- */

static int outcome(int rv)
{
    return rv < 0 ? -errno : 0;
}

static int do_make(const struct child *c BASE_UNUSED, const struct order *order, const int *dirs)
{
    switch (order->head.mode & S_IFMT) {
    case S_IFDIR:
        return outcome(mkdirat(dirs[0], order->names[0], order->head.mode & 07777));
    case S_IFLNK:
        return outcome(symlinkat("-", dirs[0], order->names[0])); /* the daemon knows better */
    default:
        return outcome(mknodat(dirs[0], order->names[0], order->head.mode, order->head.rdev));
    }
}

static int do_link(const struct child *c, const struct order *order, const int *dirs)
{
    int fd = open_number(c, order->head.ino, O_PATH | O_NOFOLLOW), err;

    /* The kernel does not know the inode, so no process can be watching it. */
    if (fd < 0)
        return do_make(c, order, dirs);
    err = outcome(linkat(fd, "", dirs[0], order->names[0], AT_EMPTY_PATH));
    close(fd);
    return err == -ENOENT ? do_make(c, order, dirs)
                          : err; /* the kernel believes that the inode has no name */
}

static int do_remove(const struct child *c BASE_UNUSED, const struct order *order, const int *dirs)
{
    int err = expect(dirs[0], order->names[0], order->head.ino, NULL);

    if (err != 0)
        return err;
    return outcome(
        unlinkat(dirs[0], order->names[0], order->head.kind == MIRROR_RMDIR ? AT_REMOVEDIR : 0));
}

static int do_rename(const struct child *c BASE_UNUSED, const struct order *order, const int *dirs)
{
    unsigned flags = order->head.kind == MIRROR_EXCHANGE ? RENAME_EXCHANGE : 0;
    int err = expect(dirs[0], order->names[0], order->head.ino, NULL);

    if (err == 0)
        err = expect(dirs[1], order->names[1], order->head.victim, NULL);
    if (err == 0)
        err = outcome(renameat2(dirs[0], order->names[0], dirs[1], order->names[1], flags));
    return err;
}

/* Opens the object of the operation, by name, or by number if it has no name. Returns -errno on
 * failure. */
static int open_subject(const struct child *c, const struct order *order, const int *dirs)
{
    int fd = -ENOENT, err;

    if (order->names[0][0] == '\0') {
        fd = open_number(c, order->head.ino, O_PATH | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
    }
    err = expect(dirs[0], order->names[0], order->head.ino, &fd);
    return err == 0 ? fd : err;
}

/* Sets only the modification time: the kernel reports that as a change of content. */
static int touch_content(int fd, const char *path)
{
    return outcome(fd >= 0 ? futimens(fd, content_times)
                           : utimensat(AT_FDCWD, path, content_times, 0));
}

static int do_data(const struct child *c, const struct order *order, const int *dirs)
{
    char path[64];
    int subject = open_subject(c, order, dirs), fd, err;

    if (subject < 0)
        return subject;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", subject);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    /* The file is being executed, or has a lease (which this attempt has broken). */
    if (fd >= 0 || errno == ETXTBSY || errno == EWOULDBLOCK)
        err = touch_content(fd, path);
    else
        err = -errno;
    if (fd >= 0)
        close(fd);
    close(subject);
    return err;
}

static int do_attr(const struct child *c, const struct order *order, const int *dirs)
{
    char path[64];
    int subject = open_subject(c, order, dirs), err;

    if (subject < 0)
        return subject;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", subject);
    err = outcome(utimensat(AT_FDCWD, path, NULL, 0));
    close(subject);
    return err;
}

static const struct {
    int (*run)(const struct child *c, const struct order *order, const int *dirs);
    unsigned n_dirs;
} operations[] = {
    [MIRROR_MAKE] = {do_make, 1},     [MIRROR_LINK] = {do_link, 1},
    [MIRROR_UNLINK] = {do_remove, 1}, [MIRROR_RMDIR] = {do_remove, 1},
    [MIRROR_RENAME] = {do_rename, 2}, [MIRROR_EXCHANGE] = {do_rename, 2},
    [MIRROR_DATA] = {do_data, 1},     [MIRROR_ATTR] = {do_attr, 1},
};

static int perform(const struct child *c, const struct order *order, uint32_t *flags)
{
    int dirs[2] = {-1, -1}, err = 0;

    if (order->head.kind >= ARRAY_LEN(operations))
        return order->head.kind == MIRROR_PING ? 0 : -EINVAL;
    for (unsigned i = 0; err == 0 && i < operations[order->head.kind].n_dirs; i++)
        if (order->names[i][0] != '\0' && (dirs[i] = open_dir(c, order, i, flags)) < 0)
            err = dirs[i];
    if (err == 0)
        err = operations[order->head.kind].run(c, order, dirs);
    for (unsigned i = 0; i < ARRAY_LEN(dirs); i++)
        if (dirs[i] >= 0)
            close(dirs[i]);
    return err;
}

/* ---- Serving --------------------------------------------------------------------------------- */

/* Returns false if no more messages will come. */
static bool receive(const struct child *c, struct order *order)
{
    struct iovec iov[2] = {{&order->head, sizeof(order->head)},
                           {order->texts, sizeof(order->texts)}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov)};
    const char *texts[MIRROR_TEXTS];
    const char *at = order->texts;
    ssize_t n;

    do
        n = recvmsg(c->sock, &msg, 0);
    while (n < 0 && errno == EINTR);
    if (n <= (ssize_t)sizeof(order->head) ||
        order->texts[(size_t)n - sizeof(order->head) - 1] != '\0')
        return false;
    for (unsigned i = 0; i < MIRROR_TEXTS; i++) {
        if (at >= order->texts + ((size_t)n - sizeof(order->head)))
            return false;
        texts[i] = at;
        at += strlen(at) + 1;
    }
    memcpy(order->names, texts, sizeof(order->names));
    memcpy(order->paths, texts + 2, sizeof(order->paths));
    return true;
}

static bool answer(const struct child *c, int err, uint32_t flags, const char *why)
{
    struct mirror_answer a = {.err = err, .flags = flags};

    snprintf(a.why, sizeof(a.why), "%s", why);
    if (c->submounts)
        a.flags |= MIRROR_SUBMOUNTS;
    return send(c->sock, &a, sizeof(a), MSG_NOSIGNAL) == (ssize_t)sizeof(a);
}

/* Serves until the daemon closes its end, or the mount is gone. */
static void serve(struct child *c)
{
    static struct order order;
    struct pollfd fds[] = {{.fd = c->sock, .events = POLLIN}, {.fd = c->mounts, .events = POLLPRI}};
    uint32_t flags;
    int err;

    for (;;) {
        if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
            return;
        if ((fds[1].revents & (POLLPRI | POLLERR)) != 0 && !find_mount(c, NULL, &mount_dev))
            return;
        if (fds[0].revents == 0)
            continue;
        flags = 0;
        if (!receive(c, &order))
            return;
        err = perform(c, &order, &flags);
        if (!answer(c, err, flags, ""))
            return;
    }
}

/* Only the kernel's own signals may end this process before the daemon ends it. */
static void set_up_process(void)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "coordfs-mirror");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the signal came too early, the end of the socket ends
                                       * the process */
    umask(0);
}

int mirror_child_main(int argc, char **argv)
{
    struct child c = {.sock = MIRROR_CHILD_SOCKET, .root = -1};
    const char *why;

    if (argc != 3)
        return 1;
    set_up_process();
    c.id = atoi(argv[2]);
    why = chdir("/") == 0 ? make_clone(&c) : errno_text("/");
    if (!answer(&c, why == NULL ? 0 : -ENOSYS, 0, why == NULL ? "" : why) || why != NULL)
        return 1;
    serve(&c);
    return 0;
}
