/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/local_serve.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "fs/kernel/notify.h"
#include "fs/state.h"
#include "tests/lib/local_backend.h"

struct mounted {
    struct local_host *host;
    struct fs *fs;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    int err;
};

static struct local *local;
static struct mounted mounts[LOCAL_SERVE_MOUNTS_MAX];
static unsigned n_mounts;
static FILE *answers;

struct commands {
    int in;
    int ended; /* an eventfd: all mounts have ended */
};

static void on_ready(void *arg)
{
    struct mounted *m = arg;

    pthread_mutex_lock(&m->lock);
    m->ready = true;
    pthread_cond_signal(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static void *serve(void *arg)
{
    struct mounted *m = arg;

    m->err = fs_run(m->fs, on_ready, m);
    if (m->err != 0)
        log_error("fs_run: %s", strerror(-m->err));
    on_ready(m); /* ends the wait for it */
    return NULL;
}

/* This program is BUILD/tests/PROGRAM. */
static const char *mirror_program(void)
{
    static char path[PATH_MAX];
    char self[PATH_MAX - 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    check(n > 0);
    self[n] = '\0';
    snprintf(path, sizeof(path), "%s/../coordfsd", dirname(self));
    return path;
}

static bool mount_one(const struct local_serve_options *o, const char *mountpoint)
{
    struct mounted *m = &mounts[n_mounts];
    struct fs_options options = {.source = "localfs",
                                 .mountpoint = mountpoint,
                                 .timeout_ms = o->timeout_ms,
                                 .strong = o->strong && n_mounts > 0,
                                 .writeback_ms = o->writeback_ms,
                                 .deny_ms = n_mounts > 0 ? o->deny_ms : 0,
                                 .uncached = o->last_uncached && n_mounts + 1 == o->n,
                                 .debug = o->debug,
                                 .lostlock = o->lostlock,
                                 .mirror_ms = o->mirror_ms,
                                 .lane_max = o->lane_max,
                                 .mirror_program = o->mirror_program};
    char errmsg[256];

    if (o->mirror && o->mirror_program == NULL)
        options.mirror_program = mirror_program();
    memset(m, 0, sizeof(*m));
    m->host = local_host_new(local);
    if (fs_mount(&options, local_host_backend(m->host), &m->fs, errmsg, sizeof(errmsg)) != 0) {
        log_error("%s", errmsg);
        local_host_free(m->host);
        return false;
    }
    n_mounts++;
    local_host_attach(m->host, m->fs);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->changed, NULL);
    check(pthread_create(&m->thread, NULL, serve, m) == 0);
    pthread_mutex_lock(&m->lock);
    while (!m->ready)
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    return true;
}

static void stop_all(void)
{
    for (unsigned i = 0; i < n_mounts; i++)
        fs_stop(mounts[i].fs);
}

static void answer_number(uint64_t n)
{
    fprintf(answers, "%llu\n", (unsigned long long)n);
}

static void answer_mirror(struct fs *fs)
{
    struct fs_mirror_status s;

    fs_mirror_status(fs, &s);
    fprintf(answers, "%d %d %llu %llu %llu %llu %llu\n", s.on, s.pid, (unsigned long long)s.done,
            (unsigned long long)s.refused, (unsigned long long)s.missed,
            (unsigned long long)s.restarts, (unsigned long long)s.rests);
}

static void answer_names(struct fs *fs)
{
    struct fs_names_status s;
    uint64_t all = 0;

    fs_names_status(fs, &s);
    for (unsigned i = 0; i < FS_DELAYS; i++)
        all += s.counts[i];
    fprintf(answers, "%llu %llu %llu\n", (unsigned long long)all, (unsigned long long)s.stale,
            (unsigned long long)s.late);
}

struct wedge {
    struct fs *fs;
    uint64_t dir;
    char name[64];
};

/* Makes the kernel forget a name even while another process holds the directory's lock (the lane
 * would wait). */
static void *wedge(void *arg)
{
    struct wedge *w = arg;

    notify_entry(&w->fs->io, w->dir, w->name);
    free(w);
    return NULL;
}

static void start_wedge(unsigned mount, unsigned long long dir, const char *name)
{
    struct wedge *w = xcalloc(1, sizeof(*w));
    pthread_t thread;

    w->fs = mounts[mount].fs;
    w->dir = dir;
    snprintf(w->name, sizeof(w->name), "%s", name);
    check(pthread_create(&thread, NULL, wedge, w) == 0 && pthread_detach(thread) == 0);
}

static void obey(const char *line)
{
    char why[256];
    char name[64];
    unsigned long long dir;
    unsigned a, b;

    if (strcmp(line, "applied") == 0) {
        answer_number(local_applied(local));
    } else if (strcmp(line, "pending") == 0) {
        answer_number(local_pending(local));
    } else if (strcmp(line, "requests") == 0) {
        answer_number(fs_requests(mounts[0].fs));
    } else if (strcmp(line, "held") == 0 || strcmp(line, "waiting") == 0) {
        answer_number(local_locks(local, line[0] == 'w'));
    } else if (strcmp(line, "reap") == 0) {
        answer_number(local_reap(local));
    } else if (sscanf(line, "mirror %u", &a) == 1 && a < n_mounts) {
        answer_mirror(mounts[a].fs);
    } else if (sscanf(line, "names %u", &a) == 1 && a < n_mounts) {
        answer_names(mounts[a].fs);
    } else if (strcmp(line, "check") == 0) {
        fprintf(answers, "%s\n", local_check(local, why, sizeof(why)) ? "ok" : why);
    } else {
        if (strcmp(line, "stall") == 0 || strcmp(line, "resume") == 0)
            local_set_stalled(local, line[0] == 's');
        else if (sscanf(line, "delay %u", &a) == 1)
            local_set_delay(local, a);
        else if (sscanf(line, "fail %u %u", &a, &b) == 2)
            local_fail_next(local, a, -(int)b);
        else if (sscanf(line, "renew %u", &a) == 1 && a < n_mounts)
            local_renew(mounts[a].host);
        else if (sscanf(line, "lapse %u", &a) == 1 && a < n_mounts)
            local_lapse(mounts[a].host, true);
        else if (sscanf(line, "lease %u", &a) == 1 && a < n_mounts)
            local_lapse(mounts[a].host, false);
        else if (sscanf(line, "deaf %u", &a) == 1 && a < n_mounts)
            local_set_deaf(mounts[a].host, true);
        else if (sscanf(line, "hear %u", &a) == 1 && a < n_mounts)
            local_set_deaf(mounts[a].host, false);
        else if (sscanf(line, "wedge %u %llu %63s", &a, &dir, name) == 3 && a < n_mounts)
            start_wedge(a, dir, name);
        else if (strcmp(line, "die") == 0)
            die("by command");
        else if (strcmp(line, "replaced") == 0)
            for (unsigned i = 0; i < n_mounts; i++)
                fs_replaced(mounts[i].fs);
        else if (strcmp(line, "stop") == 0)
            stop_all();
        else
            die("what is \"%s\"?", line);
        fputs("ok\n", answers);
    }
    fflush(answers);
}

/* Reads one line without its end into line. False: the input has ended, or all mounts have. The
 * input is not a stdio stream: since glibc 2.41, exit() waits for the lock of a stream that a
 * thread reads. */
static bool next_command(const struct commands *c, char *line, size_t size)
{
    struct pollfd fds[] = {{.fd = c->in, .events = POLLIN}, {.fd = c->ended, .events = POLLIN}};
    size_t len = 0;
    ssize_t n;

    while (len + 1 < size) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents != 0)
            return false;
        n = read(c->in, &line[len], 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        if (line[len] == '\n')
            break;
        len++;
    }
    line[len] = '\0';
    return true;
}

static void *read_commands(void *arg)
{
    const struct commands *c = arg;
    char line[256];

    while (next_command(c, line, sizeof(line)))
        obey(line);
    stop_all();
    return NULL;
}

int local_serve(const struct local_serve_options *o, int in, FILE *out)
{
    struct commands commands = {.in = in, .ended = eventfd(0, EFD_CLOEXEC)};
    pthread_t reader;
    bool ok = o->n <= LOCAL_SERVE_MOUNTS_MAX;
    bool ready;

    check(commands.ended >= 0);
    answers = out;
    local = local_open(o->dir);
    for (unsigned i = 0; ok && i < o->n; i++)
        ok = mount_one(o, o->mountpoints[i]);
    ready = ok;
    if (ready) {
        fputs("ready\n", out);
        fflush(out);
        check(pthread_create(&reader, NULL, read_commands, &commands) == 0);
    } else {
        stop_all();
    }
    for (unsigned i = 0; i < n_mounts; i++) {
        pthread_join(mounts[i].thread, NULL);
        ok = ok && mounts[i].err == 0;
        local_host_attach(mounts[i].host, NULL);
    }
    if (ready) {
        check(eventfd_write(commands.ended, 1) == 0);
        pthread_join(reader, NULL);
    }
    close(commands.ended);
    local_stop(local);
    for (unsigned i = 0; i < n_mounts; i++) {
        fs_free(mounts[i].fs);
        local_host_free(mounts[i].host);
    }
    local_close(local);
    return ok ? 0 : 1;
}
