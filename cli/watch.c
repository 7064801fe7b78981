/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs watch: follows the feed .coordfs/events of the mount that contains PATH. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "proto/ioctl.h"
#include "proto/limits.h"

enum { CLI_COMPACTED = 3, CLI_TIMEOUT = 4 };

#define COMPACTED "{\"error\":\"compacted\",\"oldest\":%" SCNu64

struct watch {
    bool once;
    int timeout_ms; /* -1: none */
    uint64_t since;
    uint32_t flags;
    int fd;
    char *mount; /* NULL: not known yet */
    struct buf line;
};

/* ---- Options and paths ----------------------------------------------------------------------- */

static bool take_option(struct watch *w, int option)
{
    uint64_t ms;

    switch (option) {
    case 'r':
        w->flags |= COORDFS_IOC_WATCH_RECURSIVE;
        return true;
    case 'j':
        w->flags &= ~(uint32_t)COORDFS_IOC_WATCH_TEXT;
        return true;
    case '1':
        w->once = true;
        return true;
    case 's':
        w->flags |= COORDFS_IOC_WATCH_SINCE;
        return cli_parse_number(optarg, 0, UINT64_MAX, "--since", &w->since);
    case 't':
        if (!cli_parse_time(optarg, "--timeout", &ms))
            return false;
        w->timeout_ms = (int)min_u64(ms, INT_MAX);
        return true;
    default:
        return false;
    }
}

static bool take_options(struct watch *w, int argc, char **argv)
{
    static const struct option options[] = {
        {"recursive", no_argument, NULL, 'r'},     {"since", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},          {"once", no_argument, NULL, '1'},
        {"timeout", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = cli_option(argc, argv, "rs:j1t:", options)) >= 0)
        if (!take_option(w, option))
            return false;
    return true;
}

/* The real path (gives), or NULL with errno. A path that does not exist yet is resolved by its
 * directory. *fd: a descriptor in the same mount. */
static char *resolve(const char *path, int *fd)
{
    char *copy, *base, *real, *out;

    *fd = open(path, O_PATH | O_CLOEXEC);
    if (*fd >= 0)
        return realpath(path, NULL);
    if (errno != ENOENT)
        return NULL;
    copy = xstrdup(path);
    base = xstrdup(path);
    *fd = open(dirname(copy), O_PATH | O_CLOEXEC);
    real = *fd >= 0 ? realpath(copy, NULL) : NULL;
    out = real != NULL ? xasprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, basename(base))
                       : NULL;
    free(real);
    free(base);
    free(copy);
    return out;
}

static int open_events(struct watch *w, const char *path)
{
    char *events = xasprintf("%s/" LIMIT_CONTROL_NAME "/events", w->mount);

    w->fd = open(events, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    free(events);
    if (w->fd >= 0)
        return CLI_OK;
    if (errno == ENOENT) /* a bind mount of a directory */
        return cli_fail(CLI_FAILED,
                        "%s: the feed is in the root of the filesystem, which is not mounted here: "
                        "mount it (a bind "
                        "mount of a directory is not enough)",
                        path);
    return cli_fail(CLI_FAILED, "%s: %s", path, explain_errno(errno));
}

/* Subscribes to a path; takes `inside`, the path from the root of the filesystem. */
static int order(struct watch *w, const char *path, char *inside)
{
    struct coordfs_ioc_watch request = {.since = w->since, .flags = w->flags};
    int status = CLI_OK;

    request.path_len = (uint32_t)strlen(inside);
    if (request.path_len > sizeof request.path)
        status = cli_fail(CLI_FAILED, "%s: %s", path, explain_errno(ENAMETOOLONG));
    else
        memcpy(request.path, inside, request.path_len);
    free(inside);
    if (status == CLI_OK && ioctl(w->fd, COORDFS_IOC_WATCH, &request) < 0)
        status = cli_fail(CLI_FAILED, "%s: %s", path, explain_errno(errno));
    return status;
}

static int add_mounted(struct watch *w, const char *path, const struct path_mount *mounted,
                       const char *real)
{
    char *inside = path_inside(mounted, real);
    int status = CLI_OK;

    if (inside == NULL)
        return cli_fail(CLI_FAILED, "%s: %s", path, explain_text(EXPLAIN_NOT_COORDFS));
    if (w->mount != NULL && strcmp(w->mount, mounted->mount) != 0)
        status = cli_fail(
            CLI_USAGE, "%s: in another mount than the earlier paths: watch one mount per command",
            path);
    if (w->mount == NULL) {
        w->mount = xstrdup(mounted->mount);
        status = open_events(w, path);
    }
    if (status == CLI_OK)
        return order(w, path, inside);
    free(inside);
    return status;
}

static int add_path(struct watch *w, const char *path)
{
    struct path_mount mounted;
    int fd, status;
    char *real = resolve(path, &fd);

    if (real == NULL) {
        status = cli_fail(CLI_FAILED, "%s: %s", path, explain_errno(errno));
    } else if (!path_find_mount(fd, &mounted)) {
        status = cli_fail(CLI_FAILED, "%s: %s", path, explain_text(EXPLAIN_NOT_COORDFS));
    } else {
        status = add_mounted(w, path, &mounted, real);
        path_mount_fini(&mounted);
    }
    free(real);
    if (fd >= 0)
        close(fd);
    return status;
}

/* ---- Following ------------------------------------------------------------------------------- */

/* -1: go on; otherwise the exit status. */
static int take_line(struct watch *w, const char *line, size_t len)
{
    uint64_t oldest;

    if (sscanf(line, COMPACTED, &oldest) == 1) {
        fflush(stdout);
        return cli_fail(
            CLI_COMPACTED,
            "compacted, oldest is %" PRIu64 ": read the tree again and watch from there", oldest);
    }
    if (fwrite(line, 1, len, stdout) != len)
        return CLI_FAILED;
    return w->once ? CLI_OK : -1;
}

static int take_lines(struct watch *w)
{
    const char *at = (const char *)w->line.data, *end = at + w->line.len, *newline;
    int status = -1;

    while (status < 0 && (newline = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        status = take_line(w, at, (size_t)(newline + 1 - at));
        at = newline + 1;
    }
    w->line.len = (size_t)(end - at);
    memmove(w->line.data, at, w->line.len);
    w->line.data[w->line.len] = '\0';
    if (fflush(stdout) != 0)
        return CLI_FAILED;
    return status;
}

static int read_more(struct watch *w)
{
    const size_t size = 65536;
    ssize_t n;

    buf_reserve(&w->line, size + 1);
    n = read(w->fd, w->line.data + w->line.len, size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    if (n <= 0)
        return cli_fail(CLI_FAILED, "%s: %s", w->mount,
                        n < 0 ? explain_errno(errno) : "the feed ended");
    w->line.len += (size_t)n;
    w->line.data[w->line.len] = '\0';
    return take_lines(w);
}

/* Each change restarts the timeout. */
static int follow(struct watch *w)
{
    struct pollfd fd = {.fd = w->fd, .events = POLLIN};
    int status = -1;

    while (status < 0) {
        int n = poll(&fd, 1, w->timeout_ms);

        if (n < 0 && errno != EINTR)
            return cli_fail(CLI_FAILED, "%s: %s", w->mount, explain_errno(errno));
        if (n == 0)
            return CLI_TIMEOUT;
        status = read_more(w);
    }
    return status;
}

int cli_watch(int argc, char **argv)
{
    struct watch w = {.timeout_ms = -1, .flags = COORDFS_IOC_WATCH_TEXT, .fd = -1};
    int status = CLI_OK;

    if (!take_options(&w, argc, argv))
        return CLI_USAGE;
    if (optind == argc)
        return CLI_SHOW_USAGE;
    for (int i = optind; status == CLI_OK && i < argc; i++)
        status = add_path(&w, argv[i]);
    if (status == CLI_OK)
        status = follow(&w);
    if (w.fd >= 0)
        close(w.fd);
    free(w.mount);
    buf_fini(&w.line);
    return status;
}
