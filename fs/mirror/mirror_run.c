/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/kernel/mount.h"
#include "fs/kernel/notify.h"
#include "fs/kernel/task.h"
#include "fs/mirror/mirror.h"
#include "fs/mirror/mirror_child.h"

#define RESTART_MS     1000  /* between two attempts to start a process */
#define HUNG_MS        60000 /* until the next attempt, after two processes in a row have hung */
#define PATIENCE_STEPS 20

static const char hangs[] = "its process hangs";

extern char **environ;

/* ---- Status ---------------------------------------------------------------------------------- */

/* Of the process that has the name lane's work; one that was set aside says nothing. */
static void set_state(struct mirror_process *p, bool on, const char *why)
{
    struct mirror *m = p->m;

    pthread_mutex_lock(&m->lock);
    if (!atomic_load(&p->aside)) {
        m->status.on = on;
        m->status.pid = atomic_load(&p->pid);
        snprintf(m->status.why, sizeof(m->status.why), "%s", why);
    }
    pthread_mutex_unlock(&m->lock);
}

static void count(struct mirror *m, uint64_t *which)
{
    pthread_mutex_lock(&m->lock);
    (*which)++;
    pthread_mutex_unlock(&m->lock);
}

void mirror_count_given_up(struct mirror *m, const struct mirror_op *op)
{
    bool missed = op->dropped || !atomic_load(&op->refused);

    count(m, missed ? &m->status.missed : &m->status.refused);
}

void mirror_get_status(struct mirror *m, struct fs_mirror_status *out)
{
    pthread_mutex_lock(&m->lock);
    *out = m->status;
    pthread_mutex_unlock(&m->lock);
}

/* ---- The process ----------------------------------------------------------------------------- */

/* Waits for the process. Until then its pid cannot be reused, and a last system call of the process
 * may still come, which must not be taken for another process's change. The wait may last until the
 * kernel gets the answer for which the process sleeps. A killed process does not wait for a request
 * that we have not read yet, and the reader thread goes on answering. */
static void end_process(struct mirror_process *p)
{
    int pid = atomic_load(&p->pid);

    if (p->sock >= 0)
        close(p->sock);
    p->sock = -1;
    if (pid == 0)
        return;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    atomic_store(&p->pid, 0);
}

void mirror_ask_end(struct mirror *m)
{
    check(eventfd_write(m->stop_fd, 1) == 0 || errno == EAGAIN);
}

/* Returns 1: there is an answer, or the process has ended. -ECANCELED: this thread must end.
 * -ETIMEDOUT: the process hangs. Waits in steps, so that a pause of the daemon itself counts as one
 * step only. A process that was set aside may wait for its lock as long as it takes: killing it
 * would not end that. */
static int await_answer(struct mirror_process *p)
{
    struct pollfd fds[] = {{.fd = p->sock, .events = POLLIN},
                           {.fd = p->m->stop_fd, .events = POLLIN}};
    int step_ms;

    for (unsigned i = 0; i < PATIENCE_STEPS; i++) {
        step_ms = (int)(atomic_load(&p->m->patience_ms) / PATIENCE_STEPS) + 1;
        if (poll(fds, ARRAY_LEN(fds), step_ms) < 0)
            continue; /* EINTR */
        if (fds[1].revents != 0)
            return -ECANCELED;
        if (fds[0].revents != 0)
            return 1;
        if (atomic_load(&p->aside) && task_is_stuck(atomic_load(&p->pid)))
            i = 0;
    }
    log_warn("the mirror's process does not answer");
    return -ETIMEDOUT;
}

/* Returns 1, 0 at the end of the process, or as await_answer. */
static int receive(struct mirror_process *p, struct mirror_answer *out)
{
    int err = await_answer(p);
    ssize_t n;

    if (err < 0)
        return err;
    do
        n = recv(p->sock, out, sizeof(*out), 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*out);
}

/* The child gets its end of the socket pair and standard files, and nothing else of the daemon's.
 */
static int spawn(struct mirror_process *p, int sock)
{
    char id[24], name[] = "coordfs-mirror", argument[] = MIRROR_CHILD_ARGUMENT;
    char *argv[] = {name, argument, id, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    int err;

    snprintf(id, sizeof(id), "%d", p->m->mount_id);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, sock, MIRROR_CHILD_SOCKET);
    /* It must outlive the moment in which the daemon lets its starter exit. */
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, MIRROR_CHILD_SOCKET + 1);
    atomic_store(&p->starting, true);
    err = posix_spawn(&pid, p->m->program, &actions, NULL, argv, environ);
    atomic_store(&p->starting, false);
    posix_spawn_file_actions_destroy(&actions);
    if (err == 0)
        atomic_store(&p->pid, pid);
    return -err;
}

static const char *start_process(struct mirror_process *p, struct mirror_answer *hello)
{
    int socks[2], err;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) != 0)
        return "no socket pair";
    err = spawn(p, socks[1]);
    close(socks[1]);
    p->sock = socks[0];
    if (err != 0)
        return strerror(-err);
    err = receive(p, hello);
    if (err == -ECANCELED)
        return "ending";
    if (err == -ETIMEDOUT)
        return hangs;
    if (err == 0)
        return "the process does not start";
    hello->why[sizeof(hello->why) - 1] = '\0';
    p->submounts = (hello->flags & MIRROR_SUBMOUNTS) != 0;
    return hello->err == 0 ? NULL : hello->why;
}

void mirror_process_init(struct mirror *m, struct mirror_process *p)
{
    *p = (struct mirror_process){.m = m, .sock = -1};
    LIST_INSERT_HEAD(&m->processes, p, link);
}

void mirror_process_fini(struct mirror_process *p)
{
    LIST_REMOVE(p, link);
}

void mirror_start(struct mirror_process *p)
{
    struct mirror_answer hello;
    const char *why;
    bool said;

    if (!mirror_wanted(p->m) || p->sock >= 0 || clock_boot_ms() < p->retry_at_ms)
        return;
    why = start_process(p, &hello);
    said = p->retry_at_ms != 0;
    p->retry_at_ms = clock_boot_ms() + (why == hangs ? HUNG_MS : RESTART_MS);
    if (why != NULL)
        end_process(p);
    set_state(p, why == NULL, why == NULL ? "" : why);
    if (why != NULL && !said)
        log_warn("no inotify events for other hosts' changes: %s", why);
}

void mirror_stop(struct mirror_process *p)
{
    end_process(p);
}

static void lose_process(struct mirror_process *p)
{
    log_warn("the mirror's process has ended");
    end_process(p);
    set_state(p, false, "its process has ended");
    count(p->m, &p->m->status.restarts);
}

/* If the process hangs for the second time in a row, there is no mirror for a while: everything
 * that waits for the name lane has waited long enough. */
static void lose_hung(struct mirror_process *p)
{
    p->n_hung++;
    lose_process(p);
    if (p->n_hung == 1)
        return;
    set_state(p, false, hangs);
    p->retry_at_ms = clock_boot_ms() + HUNG_MS;
    p->n_hung = 0;
}

/* ---- Operations ------------------------------------------------------------------------------ */

static bool tell(struct mirror_process *p, const struct mirror_op *op)
{
    struct mirror_ask order = {.kind = op->late ? MIRROR_PING : op->kind,
                               .mode = op->mode,
                               .rdev = op->rdev,
                               .ino = op->ino,
                               .victim = op->victim,
                               .dirs = {op->names[0].dir, op->names[1].dir}};
    const char *texts[MIRROR_TEXTS] = {op->names[0].name, op->names[1].name, op->paths[0],
                                       op->paths[1]};
    char all[sizeof(order) + MIRROR_TEXT_MAX];
    size_t len = sizeof(order), n;

    memcpy(all, &order, sizeof(order));
    for (unsigned i = 0; i < MIRROR_TEXTS; i++) {
        const char *text = texts[i] == NULL ? "" : texts[i];

        n = strlen(text) + 1;
        check(n <= sizeof(all) - len);
        memcpy(all + len, text, n);
        len += n;
    }
    return send(p->sock, all, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Marks the names for a new look-up. Before Linux 6.2 it invalidates them instead; names of
 * directories are left out then. */
static void lock_request_again(struct io *io, const struct mirror_op *op)
{
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        if (op->names[i].dir != 0 &&
            notify_expire(io, op->names[i].dir, op->names[i].name) == -ENOSYS && !op->names[i].soft)
            notify_entry(io, op->names[i].dir, op->names[i].name);
}

/* Invalidates the names: what the name lane does without a mirror. */
static void forget_names(struct io *io, const struct mirror_op *op)
{
    bool named = op->kind != MIRROR_DATA && op->kind != MIRROR_ATTR;

    for (unsigned i = 0; named && i < ARRAY_LEN(op->names); i++) {
        const struct mirror_name *n = &op->names[i];

        if (n->dir == 0)
            continue;
        if (op->kind == MIRROR_RMDIR && !op->late)
            notify_delete(io, n->dir, op->ino, n->name);
        else if ((!n->soft && !op->late) || notify_expire(io, n->dir, n->name) == -ENOSYS)
            notify_entry(io, n->dir, n->name);
    }
}

static bool is_final(const struct mirror_process *p, const struct mirror_op *op, int err)
{
    /* A new attempt would need to drop a directory's entry from the future, and with it every mount
     * below that directory. */
    if (p->submounts && (op->names[0].soft || op->names[1].soft))
        return true;
    return err == -ECANCELED || err == -EROFS || err == -EPERM || err == -EACCES ||
           err == -ENOTCONN;
}

/* Returns 0, -EAGAIN (it needs paths), or an error after which the operation is tried again (unless
 * is_final). */
static int attempt(struct mirror_process *p, struct mirror_op *op)
{
    struct mirror_answer answer;
    int got;

    mirror_start(p);
    if (p->sock < 0)
        return -ENOTCONN;
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        atomic_store(&op->names[i].newer, false);
    got = tell(p, op) ? receive(p, &answer) : 0;
    if (got == -ETIMEDOUT)
        lose_hung(p);
    else if (got == 0)
        lose_process(p);
    if (got == -ECANCELED)
        return got;
    if (got <= 0)
        return atomic_load(&op->answered) ? -ENOTCONN : -EINTR;
    p->n_hung = 0;
    p->submounts = (answer.flags & MIRROR_SUBMOUNTS) != 0;
    if ((answer.flags & MIRROR_WANTS_PATHS) != 0)
        return -EAGAIN;
    if (op->late)
        return p->submounts ? -EBUSY : -ECANCELED;
    /* The kernel may have found nothing to do (a rename of one name of a file to another name of
     * it). */
    if (answer.err == 0 && !atomic_load(&op->answered))
        return -ENODATA;
    return answer.err;
}

static bool is_locked_elsewhere(const struct mirror_op *op, int err)
{
    return err == -ESTALE && (op->names[0].soft || op->names[1].soft) &&
           !atomic_load(&op->refused) && op->rests < MIRROR_RESTS;
}

/* A rename moves the kernel's entry, and how long the kernel may believe it, to the other name. The
 * tree may have moved on, and a program may know that by an error (fs/inode/rewalk.h). So the
 * kernel asks for both names again, and may believe the answers for no time (before_valid_s). Not
 * for a directory with mounts below it, which another answer would unmount, and not before Linux
 * 6.2. */
static void expire_names(const struct mirror_process *p, struct io *io, const struct mirror_op *op)
{
    if (op->kind != MIRROR_RENAME && op->kind != MIRROR_EXCHANGE)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(op->names); i++)
        if (!op->names[i].soft || !mount_has_submounts(p->m->mount_id))
            (void)notify_expire(io, op->names[i].dir, op->names[i].name);
}

/* Returns 0, -EBUSY and -EAGAIN as mirror_run, or the error of the last attempt. */
static int try(struct mirror_process *p, struct io *io, struct mirror_op *op)
{
    int err = -ECANCELED;

    for (unsigned tries = 0; tries < MIRROR_TRIES && !atomic_load(&op->refused); tries++) {
        expire_names(p, io, op);
        err = attempt(p, op);
        if (op->late && p->sock < 0)
            return -EBUSY;
        if (err == 0 || err == -EBUSY || err == -EAGAIN)
            return err;
        log_debug("mirror: operation %d on inode %llu at index %llu: attempt %u: %s", (int)op->kind,
                  (unsigned long long)op->ino, (unsigned long long)op->index, tries,
                  strerror(-err));
        if (is_final(p, op, err))
            break;
        lock_request_again(io, op);
    }
    return err;
}

int mirror_run(struct mirror_process *p, struct io *io, struct mirror_op *op)
{
    int err;

    atomic_store(&p->current, op);
    err = try(p, io, op);
    atomic_store(&p->current, NULL);
    if (err == -EBUSY || err == -EAGAIN)
        return err;
    if (err == 0) {
        count(p->m, &p->m->status.done);
        return 0;
    }
    if (is_locked_elsewhere(op, err)) {
        op->rests++;
        count(p->m, &p->m->status.rests);
        return -EINPROGRESS;
    }
    mirror_count_given_up(p->m, op);
    log_debug("mirror: operation %d on inode %llu at index %llu is given up", (int)op->kind,
              (unsigned long long)op->ino, (unsigned long long)op->index);
    forget_names(io, op);
    return err;
}
