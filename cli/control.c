/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "proto/control.h"

#define TIMEOUT_S 10

static bool has_socket(const char *dir)
{
    char *path = xasprintf("%s/" CONTROL_SOCKET, dir);
    struct stat st;
    bool found = stat(path, &st) == 0 && S_ISSOCK(st.st_mode);

    free(path);
    return found;
}

char *control_find(const char *where)
{
    struct stat st;
    char *candidate;

    if (has_socket(where))
        return xstrdup(where);
    if (strchr(where, '/') == NULL) {
        candidate = xasprintf(CONTROL_STATE_BASE "/%s", where);
        if (has_socket(candidate))
            return candidate;
        free(candidate);
    }
    if (stat(where, &st) == 0) {
        candidate = control_link(st.st_dev);
        if (has_socket(candidate))
            return candidate;
        free(candidate);
    }
    cli_fail(0, "%s: no running member found (a mount, a cluster's name or a state directory?)",
             where);
    return NULL;
}

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

json_t *control_ask(const char *state, const char *command)
{
    int fd = connect_to(state);
    json_t *answer;
    const char *error;

    if (fd < 0) {
        cli_fail(0, "%s: %s", state,
                 fd == -ECONNREFUSED ? "the member is not running" : strerror(-fd));
        return NULL;
    }
    answer = exchange(fd, command);
    close(fd);
    if (answer == NULL) {
        cli_fail(0, "%s: the daemon did not answer", state);
        return NULL;
    }
    error = json_string_value(json_object_get(answer, "error"));
    if (error == NULL)
        return answer;
    cli_fail(0, "%s: %s", state, error);
    json_decref(answer);
    return NULL;
}
