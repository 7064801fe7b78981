/* The process around the members. The linker sends these calls here (--wrap, see the Makefile): a
 * member that dies must not take the others along, what the store writes past SQLite must get lost
 * as well, and the adapter between store and client (daemon/machine.c) asks a node for what a
 * member has here. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/crash_vfs.h"
#include "tests/sim/impl.h"

#define WRAP(name) __wrap_##name
#define REAL(name) __real_##name

void WRAP(die)(const char *fmt, ...) BASE_NORETURN BASE_PRINTF(1, 2);
void WRAP(check_failed)(const char *expr, const char *file, int line) BASE_NORETURN;
uint64_t WRAP(node_session)(struct node *n);
void WRAP(node_applied)(struct node *n, enum client_outcome outcome, uint64_t session, uint64_t seq,
                        uint64_t nonce, const uint8_t *reply, size_t len);
void WRAP(keeper_ended)(struct keeper *k, uint64_t session);
ssize_t WRAP(pwrite64)(int fd, const void *data, size_t len, off_t at);
int WRAP(fsync)(int fd);
int WRAP(renameat)(int from_fd, const char *from, int to_fd, const char *to);
int WRAP(unlinkat)(int fd, const char *name, int flags);
int WRAP(unlink)(const char *path);

void REAL(check_failed)(const char *expr, const char *file, int line) BASE_NORETURN;
ssize_t REAL(pwrite64)(int fd, const void *data, size_t len, off_t at);
int REAL(fsync)(int fd);
int REAL(renameat)(int from_fd, const char *from, int to_fd, const char *to);
int REAL(unlinkat)(int fd, const char *name, int flags);
int REAL(unlink)(const char *path);

/* ---- The end of a process -------------------------------------------------------------------- */

void WRAP(die)(const char *fmt, ...)
{
    struct world *w = sim_world;
    char text[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (w == NULL || w->sim == NULL) {
        fprintf(stderr, "died: %s\n", text);
        abort();
    }
    for (unsigned id = 1; id <= w->config.raft.n; id++)
        if (w->members[id] != NULL && w->members[id]->failing) {
            raft_sim_note(w->sim, "%u dies: %s", id, text);
            disk_doom(w->members[id]);
            raft_sim_die(w->sim, id);
        }
    world_fail(w, "DEATH: %s", text);
    raft_sim_die(w->sim, 0);
}

void WRAP(check_failed)(const char *expr, const char *file, int line)
{
    if (sim_world == NULL || sim_world->sim == NULL)
        REAL(check_failed)(expr, file, line);
    world_fail(sim_world, "CHECK: %s:%d: %s", file, line, expr);
    raft_sim_die(sim_world->sim, 0);
}

/* ---- What daemon/machine.c asks for ---------------------------------------------------------- */

static struct member *member_of(struct node *n)
{
    return (struct member *)(void *)n;
}

uint64_t WRAP(node_session)(struct node *n)
{
    const struct member *m = member_of(n);

    return m->client != NULL ? client_session(m->client) : 0;
}

void WRAP(node_applied)(struct node *n, enum client_outcome outcome, uint64_t session, uint64_t seq,
                        uint64_t nonce, const uint8_t *reply, size_t len)
{
    member_client_applied(member_of(n), outcome, session, seq, nonce, reply, len);
}

void WRAP(keeper_ended)(struct keeper *k, uint64_t session)
{
    struct member *m = (struct member *)(void *)k;

    if (m->client != NULL)
        client_ended(m->client, session);
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* The path of an open file, or of a name in an open directory; false: none of ours. */
static bool path_of(int fd, const char *name, char *out, size_t size)
{
    char link[40];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, out, size - 1);
    if (len < 0)
        return false;
    out[len] = '\0';
    if (name != NULL)
        snprintf(out + len, size - (size_t)len, "/%s", name);
    return disk_owner(out) != NULL;
}

ssize_t WRAP(pwrite64)(int fd, const void *data, size_t len, off_t at)
{
    struct member *m;
    char path[300];

    if (!path_of(fd, NULL, path, sizeof path))
        return REAL(pwrite64)(fd, data, len, at);
    m = disk_owner(path);
    crash_vfs_written(path, (uint64_t)at, data, len);
    if (m->failing) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(pwrite64)(fd, data, len, at);
}

int WRAP(fsync)(int fd)
{
    char path[300];

    if (!path_of(fd, NULL, path, sizeof path))
        return REAL(fsync)(fd);
    crash_vfs_synced(path);
    return 0;
}

int WRAP(renameat)(int from_fd, const char *from, int to_fd, const char *to)
{
    char a[300], b[300];
    int err = REAL(renameat)(from_fd, from, to_fd, to);

    if (err == 0 && path_of(from_fd, from, a, sizeof a) && path_of(to_fd, to, b, sizeof b))
        crash_vfs_renamed(a, b);
    return err;
}

int WRAP(unlinkat)(int fd, const char *name, int flags)
{
    char path[300];
    int err = REAL(unlinkat)(fd, name, flags);

    if (err == 0 && path_of(fd, name, path, sizeof path))
        crash_vfs_removed(path);
    return err;
}

int WRAP(unlink)(const char *path)
{
    int err = REAL(unlink)(path);

    if (err == 0 && disk_owner(path) != NULL)
        crash_vfs_removed(path);
    return err;
}
