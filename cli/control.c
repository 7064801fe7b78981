/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "proto/control.h"

#define TIMEOUT_S 10

/* ---- Finding the state directory ---------------------------------------------------------------
 *
 * `where` is tried as a path in a mount (the daemon leaves a link for the device number of its
 * mount), as a state directory, and as the name of a cluster (its default state directory). */

struct search {
    char *state; /* found; owned */
    int err;     /* why not, if that is not simply "nothing there" */
};

/* Takes dir. True: the search is over. */
static bool try_directory(struct search *s, char *dir)
{
    char *path = xasprintf("%s/" CONTROL_SOCKET, dir);
    struct stat st;
    int err = stat(path, &st) < 0 ? errno : !S_ISSOCK(st.st_mode) ? ENOTSOCK : 0;

    free(path);
    if (err == 0) {
        s->state = dir;
        return true;
    }
    free(dir);
    if (err == EACCES)
        s->err = EACCES;
    return false;
}

/* Without a request to the daemon if `path` is the mount itself: with consistency=strong, and
 * without a majority, that would wait. */
static bool try_mount(struct search *s, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    struct path_mount mounted;
    struct statx st;
    bool found;

    if (fd < 0) {
        if (errno == ENOTCONN || errno == ECONNABORTED)
            s->err = ENOTCONN; /* a mount whose daemon has ended */
        return false;
    }
    found = statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) == 0 &&
            path_find_mount(fd, &mounted);
    close(fd);
    if (!found)
        return false;
    path_mount_fini(&mounted);
    return try_directory(s, control_link(makedev(st.stx_dev_major, st.stx_dev_minor)));
}

static const char *why_not_found(const struct search *s)
{
    return explain_text(s->err == EACCES     ? EXPLAIN_SOCKET_DENIED
                        : s->err == ENOTCONN ? EXPLAIN_STOPPED
                                             : EXPLAIN_NO_MEMBER);
}

/* The state directory; gives. NULL after a message. */
static char *find_state(const char *where)
{
    struct search s = {0};

    if (try_mount(&s, where) || try_directory(&s, xstrdup(where)) ||
        (strchr(where, '/') == NULL &&
         try_directory(&s, xasprintf(CONTROL_STATE_BASE "/%s", where))))
        return s.state;
    cli_fail(0, "%s: %s", where, why_not_found(&s));
    return NULL;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static int connect_to(const char *state)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    struct sockaddr_un addr;
    int dir_fd = control_address(state, &addr);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = 0;

    if (dir_fd < 0 || fd < 0)
        err = dir_fd < 0 ? dir_fd : -errno;
    else if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
             connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        err = -errno;
    if (dir_fd >= 0)
        close(dir_fd);
    if (err != 0 && fd >= 0)
        close(fd);
    return err != 0 ? err : fd;
}

static json_t *exchange(int fd, const char *command)
{
    json_error_t error;
    json_t *answer = NULL;
    FILE *stream;

    if (dprintf(fd, "{\"cmd\":\"%s\"}\n", command) < 0)
        return NULL;
    stream = fdopen(dup(fd), "r");
    if (stream != NULL) {
        answer = json_loadf(stream, JSON_DISABLE_EOF_CHECK, &error);
        fclose(stream);
    }
    return answer;
}

static const char *why_not_connected(int err)
{
    if (err == -ECONNREFUSED || err == -ENOENT)
        return explain_text(EXPLAIN_STOPPED);
    if (err == -EACCES || err == -EPERM)
        return explain_text(EXPLAIN_SOCKET_DENIED);
    return err == -EAGAIN ? explain_text(EXPLAIN_SILENT) : explain_errno(-err);
}

static json_t *ask_state(const char *where, const char *state, const char *command)
{
    int fd = connect_to(state);
    json_t *answer;
    const char *error;

    if (fd < 0) {
        cli_fail(0, "%s: %s", where, why_not_connected(fd));
        return NULL;
    }
    answer = exchange(fd, command);
    close(fd);
    if (answer == NULL) {
        cli_fail(0, "%s: %s", where, explain_text(EXPLAIN_SILENT));
        return NULL;
    }
    error = json_string_value(json_object_get(answer, "error"));
    if (error == NULL)
        return answer;
    cli_fail(0, "%s: its member answers: %s", where, error);
    json_decref(answer);
    return NULL;
}

json_t *control_ask(const char *where, const char *command)
{
    char *state = find_state(where);
    json_t *answer = state != NULL ? ask_state(where, state, command) : NULL;

    free(state);
    return answer;
}
