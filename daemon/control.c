/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * A client connects, sends one line ({"cmd": NAME}), gets one line of JSON and is disconnected. The
 * loop thread serves all connections and makes each answer immediately from the state in memory, so
 * an answer needs no quorum. A request that is longer than REQUEST_MAX, and a connection beyond
 * CONNECTIONS_MAX, is closed without an answer.
 *
 * The socket exists only while the daemon runs: control_start removes the socket of an earlier run,
 * control_stop removes its own. The server's handle belongs to the loop thread, so both run their
 * work there, and the main thread waits until it is done. Access is checked twice: the socket has
 * mode 0600, and SO_PEERCRED must name root or the daemon's own user.
 *
 * If a client neither reads nor closes, it keeps one of the CONNECTIONS_MAX places until it ends.
 */
#include "daemon/control.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/locklist.h"
#include "daemon/remount.h"
#include "daemon/session_manager.h"
#include "daemon/status.h"
#include "daemon/views.h"

#define REQUEST_MAX     16384 /* a remount sends all options of a mount */
#define CONNECTIONS_MAX 32

struct connection {
    LIST_ENTRY(connection) link;
    struct control *control;
    uv_pipe_t pipe;
    uv_write_t write;
    char request[REQUEST_MAX];
    size_t request_len;
    char *answer;
};

struct control {
    struct daemon *daemon;
    uv_pipe_t server;
    int fd; /* listening; libuv's once it is open */
    char *path;
    LIST_HEAD(, connection) connections;
    unsigned n_connections;
    bool closed; /* the server's handle is */

    /* start and stop run on the loop thread while the main thread waits */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool finished;
    int err;
};

/* ---- Commands -------------------------------------------------------------------------------- */

static json_t *cmd_sessions(struct daemon *d)
{
    return session_manager_sessions(d->session_manager);
}

static const struct {
    const char *name;
    json_t *(*run)(struct daemon *d);
} commands[] = {
    {"status", status_json},
    {"sessions", cmd_sessions},
    {"locks", locklist_json},
};

json_t *control_answer(struct daemon *d, const char *text, size_t len)
{
    json_t *request = json_loadb(text, len, 0, NULL);
    const char *name = json_string_value(json_object_get(request, "cmd"));
    json_t *answer = NULL;
    unsigned i;

    if (name != NULL && strcmp(name, "remount") == 0)
        answer = remount_answer(d, request);
    for (i = 0; name != NULL && i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            answer = commands[i].run(d);
    if (answer == NULL && name != NULL)
        answer = views_json(d->views, name);
    if (answer == NULL)
        answer = json_pack("{s:s}", "error",
                           name != NULL ? "it does not know this command: its version may be older"
                                        : "the request is not {\"cmd\": …}");
    json_decref(request);
    return answer;
}

/* ---- Connections ----------------------------------------------------------------------------- */

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *conn = handle->data;

    free(conn->answer);
    free(conn);
}

static void connection_close(struct connection *conn)
{
    if (uv_is_closing((uv_handle_t *)&conn->pipe))
        return;
    LIST_REMOVE(conn, link);
    conn->control->n_connections--;
    uv_close((uv_handle_t *)&conn->pipe, on_connection_closed);
}

static void on_written(uv_write_t *write, int status BASE_UNUSED)
{
    connection_close(write->data);
}

static void answer_request(struct connection *conn, size_t len)
{
    json_t *answer = control_answer(conn->control->daemon, conn->request, len);
    char *text = json_dumps(answer, JSON_COMPACT);
    uv_buf_t buf;

    json_decref(answer);
    check(text != NULL);
    conn->answer = xasprintf("%s\n", text);
    free(text);
    buf = uv_buf_init(conn->answer, (unsigned)strlen(conn->answer));
    uv_read_stop((uv_stream_t *)&conn->pipe);
    conn->write.data = conn;
    if (uv_write(&conn->write, (uv_stream_t *)&conn->pipe, &buf, 1, on_written) != 0)
        connection_close(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested BASE_UNUSED, uv_buf_t *buf)
{
    struct connection *conn = handle->data;

    *buf = uv_buf_init(conn->request + conn->request_len,
                       (unsigned)(sizeof conn->request - conn->request_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf BASE_UNUSED)
{
    struct connection *conn = stream->data;
    const char *end;

    if (n < 0) {
        connection_close(conn);
        return;
    }
    conn->request_len += (size_t)n;
    end = memchr(conn->request, '\n', conn->request_len);
    if (end != NULL)
        answer_request(conn, (size_t)(end - conn->request));
    else if (conn->request_len == sizeof conn->request)
        connection_close(conn);
}

static bool admitted(uv_pipe_t *pipe)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    uv_os_fd_t fd;

    return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
           (cred.uid == 0 || cred.uid == geteuid());
}

static void on_connect(uv_stream_t *server, int status)
{
    struct control *c = server->data;
    struct connection *conn;

    if (status < 0)
        return;
    conn = xcalloc(1, sizeof *conn);
    conn->control = c;
    conn->pipe.data = conn;
    uv_pipe_init(server->loop, &conn->pipe, 0);
    LIST_INSERT_HEAD(&c->connections, conn, link);
    c->n_connections++;
    if (uv_accept(server, (uv_stream_t *)&conn->pipe) != 0 || !admitted(&conn->pipe) ||
        c->n_connections > CONNECTIONS_MAX ||
        uv_read_start((uv_stream_t *)&conn->pipe, on_alloc, on_read) != 0)
        connection_close(conn);
}

/* ---- Start and stop -------------------------------------------------------------------------- */

static int bind_in_directory(int fd, const char *dir)
{
    struct sockaddr_un addr;
    int dir_fd = control_address(dir, &addr);
    int err = 0;

    if (dir_fd < 0)
        return dir_fd;
    if (unlink(addr.sun_path) < 0 && errno != ENOENT)
        err = -errno;
    else if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
             chmod(addr.sun_path, 0600) < 0 || listen(fd, CONNECTIONS_MAX) < 0)
        err = -errno;
    close(dir_fd);
    return err;
}

/* Runs fn on the loop thread and waits until it has called finish(). */
static int on_loop(struct control *c, void (*fn)(void *arg))
{
    pthread_mutex_lock(&c->mutex);
    c->finished = false;
    pthread_mutex_unlock(&c->mutex);
    consensus_run(c->daemon->consensus, fn, c);
    pthread_mutex_lock(&c->mutex);
    while (!c->finished)
        pthread_cond_wait(&c->cond, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    return c->err;
}

static void finish(struct control *c, int err)
{
    pthread_mutex_lock(&c->mutex);
    c->finished = true;
    c->err = err;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

static void do_start(void *arg)
{
    struct control *c = arg;
    int err;

    uv_pipe_init(consensus_loop(c->daemon->consensus), &c->server, 0);
    c->server.data = c;
    err = uv_pipe_open(&c->server, c->fd);
    if (err == 0)
        err = uv_listen((uv_stream_t *)&c->server, CONNECTIONS_MAX, on_connect);
    finish(c, err);
}

static void on_server_closed(uv_handle_t *handle)
{
    finish(handle->data, 0);
}

static void do_stop(void *arg)
{
    struct control *c = arg;

    while (!LIST_EMPTY(&c->connections))
        connection_close(LIST_FIRST(&c->connections));
    uv_close((uv_handle_t *)&c->server, on_server_closed);
}

static void control_free(struct control *c)
{
    pthread_mutex_destroy(&c->mutex);
    pthread_cond_destroy(&c->cond);
    free(c->path);
    free(c);
}

int control_start(struct daemon *d, struct control **out, char *errmsg, size_t errmsg_len)
{
    struct control *c = xcalloc(1, sizeof *c);
    int err;

    c->daemon = d;
    c->path = xasprintf("%s/" CONTROL_SOCKET, d->options.state);
    LIST_INIT(&c->connections);
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->cond, NULL);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    err = c->fd < 0 ? -errno : bind_in_directory(c->fd, d->options.state);
    if (err == 0)
        err = on_loop(c, do_start);
    if (err != 0) {
        snprintf(errmsg, errmsg_len, "%s: %s", c->path, strerror(-err));
        if (c->fd >= 0)
            close(c->fd);
        control_free(c);
        return err;
    }
    *out = c;
    return 0;
}

void control_stop(struct control *c)
{
    on_loop(c, do_stop);
    unlink(c->path);
    control_free(c);
}
