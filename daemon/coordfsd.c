/* SPDX-License-Identifier: Apache-2.0 */
/* coordfsd: one member of a cluster, with a mount of the replicated tree.
 *
 * It sets up options, state directory, database, loop thread, control socket and mount. Then the
 * main thread is the FUSE reader until the filesystem is unmounted or a signal comes; a member
 * without a mount waits for the signal. Then it takes everything down in reverse order. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <libmount.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"
#include "daemon/app.h"
#include "daemon/backend.h"
#include "daemon/catch_up.h"
#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/detach.h"
#include "daemon/machine.h"
#include "daemon/reaper.h"
#include "daemon/remount.h"
#include "daemon/session_manager.h"
#include "daemon/views.h"
#include "fs/mirror/mirror_child.h"
#include "proto/encode.h"

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

#define DYING_MS 2000
#define PRIORITY -10 /* halves the effect of other load on the latency of the mount */

static struct daemon self;

BASE_PRINTF(2, 3) static int fail(int status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "coordfsd: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    return status;
}

/* ---- The loop's callbacks -------------------------------------------------------------------- */

static struct buf open_command(void *ctx, uint64_t nonce)
{
    struct daemon *d = ctx;

    return encode_open_session(nonce, d->options.id, d->options.session_ttl_ms);
}

static struct buf noop_command(void *ctx BASE_UNUSED)
{
    return encode_noop();
}

static int stored_reply(void *ctx, uint64_t session, uint64_t seq, struct buf *out)
{
    struct daemon *d = ctx;

    return store_reply(d->store, session, seq, out);
}

static void on_applied(void *ctx, uint64_t applied BASE_UNUSED)
{
    struct daemon *d = ctx;

    session_manager_applied(d->session_manager);
    machine_deliver(d->machine);
}

static void on_installed(void *ctx, uint64_t applied)
{
    struct daemon *d = ctx;
    struct fs *fs = atomic_load(&d->fs);

    if (fs != NULL) {
        fs_replaced(fs);
        fs_told(fs, applied);
    }
    session_manager_installed(d->session_manager);
}

static void on_leader(void *ctx, uint64_t leader, uint64_t term)
{
    struct daemon *d = ctx;

    atomic_store(&d->has_leader, leader != 0);
    session_manager_leader(d->session_manager, leader, term);
    views_on_leader(d->views, leader);
    if (leader != 0 && leader != d->options.id) /* the driver logs that this member leads */
        log_info("following member %llu in term %llu", (unsigned long long)leader,
                 (unsigned long long)term);
}

static void on_session(void *ctx, uint64_t session)
{
    struct daemon *d = ctx;

    session_manager_opened(d->session_manager, session);
}

static void on_app(void *ctx, uint64_t from, const uint8_t *data, size_t len)
{
    struct daemon *d = ctx;
    Cfs__App *app = app_decode(data, len);

    if (app == NULL)
        return;
    reaper_message(d->reaper, from, app);
    session_manager_message(d->session_manager, from, app);
    cfs__app__free_unpacked(app, NULL);
}

static void on_tick(void *ctx)
{
    struct daemon *d = ctx;

    reaper_tick(d->reaper);
    session_manager_tick(d->session_manager);
    views_tick(d->views);
}

/* ---- Set-up ---------------------------------------------------------------------------------- */

static void on_signal(int signo BASE_UNUSED)
{
    struct fs *fs = atomic_load(&self.fs);

    if (fs != NULL)
        fs_stop(fs);
}

/* These signals stop the daemon. All threads block them until the main thread is ready. */
static sigset_t stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static void setup_process(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct rlimit files = {65536, 65536};
    sigset_t set = stop_signals();

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    umask(077);
    /* Both are optional: an unprivileged member runs without them. */
    (void)setpriority(PRIO_PROCESS, 0, PRIORITY);
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

static int make_state_dir(const char *dir)
{
    char *copy = xstrdup(dir);
    int err = mkdir(dir, 0700) < 0 ? -errno : 0;

    if (err == -ENOENT && mkdir(dirname(copy), 0755) == 0)
        err = mkdir(dir, 0700) < 0 ? -errno : 0;
    if (err != 0 && access(dir, F_OK) == 0)
        err = 0;
    free(copy);
    if (err == 0 && access(dir, R_OK | W_OK | X_OK) < 0)
        err = -errno;
    return err;
}

/* The working directory becomes "/", so paths must be absolute. */
static void make_absolute(char **path)
{
    char *absolute;
    char *cwd;

    if (*path == NULL || (*path)[0] == '/')
        return;
    cwd = getcwd(NULL, 0);
    check(cwd != NULL);
    absolute = xasprintf("%s/%s", cwd, *path);
    free(cwd);
    free(*path);
    *path = absolute;
}

static int setup_log(const struct options *o)
{
    static char name[128];
    int fd;

    snprintf(name, sizeof name, "coordfsd[%s/%llu]", o->name, (unsigned long long)o->id);
    log_set_name(name);
    log_set_level((enum log_level)o->log_level);
    if (o->log == NULL && !o->foreground)
        log_to_syslog();
    if (o->log == NULL)
        return 0;
    fd = open(o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(EXIT_SYSTEM, "%s: %s", o->log, strerror(errno));
    log_to_fd(fd);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct driver_member *x = a;
    const struct driver_member *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

/* The first configuration: the peers and this member, in the same order on all members. */
static unsigned first_members(struct options *o, struct driver_member *out)
{
    static char local[] = "local";

    memcpy(out, o->members, o->n_members * sizeof *out);
    out[o->n_members] = (struct driver_member){
        .id = o->id, .address = o->listen != NULL ? o->listen : local, .role = DRIVER_VOTER};
    qsort(out, o->n_members + 1, sizeof *out, by_id);
    return o->n_members + 1;
}

static int start_node(struct daemon *d, char *errmsg, size_t errmsg_len)
{
    static struct consensus_env env = {
        .open_command = open_command,
        .noop_command = noop_command,
        .stored_reply = stored_reply,
        .on_applied = on_applied,
        .on_installed = on_installed,
        .on_leader = on_leader,
        .on_session = on_session,
        .on_app = on_app,
        .on_tick = on_tick,
    };
    struct driver_member members[LIMIT_MEMBERS_MAX + 1];
    struct options *o = &d->options;
    struct consensus_config config = {
        .listen = o->listen,
        .driver =
            {
                .id = o->id,
                .election_ms = o->election_ms,
                .heartbeat_ms = o->heartbeat_ms,
                .compact_every = o->compact_every,
                .compact_trailing = o->compact_trailing,
                .max_inflight = 4096,
                .seed = clock_entropy(),
                .members = members,
                .n_members = first_members(o, members),
            },
    };

    snprintf(config.cluster, sizeof config.cluster, "%s", o->name);
    env.ctx = d;
    return consensus_start(&config, &env, machine_of(d->machine), &d->consensus, errmsg,
                           errmsg_len);
}

/* Creates the link by which `coordfs status MOUNT` finds this daemon. A failure is only logged. */
static char *publish_mount(const struct options *o)
{
    struct statx st;
    char *link;

    /* The kernel knows the device. Its other attributes might have to wait for a majority. */
    if (statx(AT_FDCWD, o->mount, AT_STATX_DONT_SYNC, 0, &st) < 0)
        return NULL;
    link = control_link(makedev(st.stx_dev_major, st.stx_dev_minor));
    if (mkdir(CONTROL_RUN_DIR, 0755) < 0 && errno != EEXIST)
        log_warn("%s: %s", CONTROL_RUN_DIR, strerror(errno));
    unlink(link);
    if (symlink(o->state, link) < 0)
        log_warn("%s: %s", link, strerror(errno));
    return link;
}

static void write_pid_file(const char *state)
{
    char *path = xasprintf("%s/coordfsd.pid", state);
    FILE *f = fopen(path, "we");

    if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0)
        log_warn("%s: %s", path, strerror(errno));
    if (f != NULL)
        fclose(f);
    free(path);
}

static void remove_pid_file(const char *state)
{
    char *path = xasprintf("%s/coordfsd.pid", state);

    unlink(path);
    free(path);
}

/* ---- Running --------------------------------------------------------------------------------- */

static void announce_ready(struct daemon *d)
{
    write_pid_file(d->options.state);
    log_info("ready after %llu ms", (unsigned long long)(clock_boot_ms() - d->started_ms));
    (void)sd_notify(0, "READY=1"); /* does nothing where no manager listens */
    detach_ready();
}

/* INIT is done. A separate thread looks at the mount and waits: the thread that serves it must not.
 */
static void *on_mounted(void *arg)
{
    struct daemon *d = arg;

    char *link = publish_mount(&d->options);

    catch_up_wait(d);
    announce_ready(d);
    return link;
}

static pthread_t ready_thread;
static bool ready_started;

static void on_ready(void *arg)
{
    check(pthread_create(&ready_thread, NULL, on_mounted, arg) == 0);
    ready_started = true;
}

static void remove_link(struct daemon *d)
{
    void *link;

    catch_up_cancel(d);
    if (!ready_started || pthread_join(ready_thread, &link) != 0 || link == NULL)
        return;
    unlink(link);
    free(link);
}

static void unblock_signals(void)
{
    sigset_t set = stop_signals();

    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int run_mounted(struct daemon *d, struct fs *fs)
{
    int err;

    atomic_store(&d->fs, fs);
    session_manager_announce(d->session_manager);
    unblock_signals();
    err = fs_run(fs, on_ready, d);
    if (err != 0)
        log_error("the mount failed: %s", strerror(-err));
    return err;
}

static void run_unmounted(struct daemon *d)
{
    sigset_t set = stop_signals();
    int signo;

    announce_ready(d);
    sigwait(&set, &signo);
}

static int run(struct daemon *d)
{
    struct options *o = &d->options;
    struct fs_options fs_options = {
        .source = o->name,
        .mountpoint = o->mount,
        .ms_flags = o->ms_flags,
        .timeout_ms = o->timeout_ms,
        .file_max = LIMIT_FILE_MAX,
        .strong = o->strong,
        .lostlock = o->lostlock,
        .deny_ms = o->deny ? o->election_ms : 0,
        .debug = o->debug_fuse,
        .mirror_program = o->no_mirror ? NULL : "/proc/self/exe",
    };
    char errmsg[512] = "";
    struct fs *fs;
    int err;

    if (o->mount == NULL) {
        run_unmounted(d);
        return 0;
    }
    err = fs_mount(&fs_options, backend_of(d), &fs, errmsg, sizeof errmsg);
    if (err != 0)
        return fail(EXIT_MOUNT, "%s", errmsg);
    err = run_mounted(d, fs);
    log_info("stopping");
    return err != 0 ? EXIT_SYSTEM : 0;
}

static void stop_node(struct daemon *d)
{
    consensus_hand_over(d->consensus);
    consensus_stop(d->consensus);
    d->consensus = NULL;
}

/* Each function undoes its own part, in reverse order. */
static int with_control(struct daemon *d)
{
    char errmsg[512] = "";
    struct fs *fs;
    int status;

    if (control_start(d, &d->control, errmsg, sizeof errmsg) != 0) {
        stop_node(d);
        return fail(EXIT_SYSTEM, "%s", errmsg);
    }
    status = run(d);
    (void)sd_notify(0, "STOPPING=1");
    remove_link(d); /* ends its thread, which uses the node */
    session_manager_leave(d->session_manager);
    control_stop(d->control);
    stop_node(d);
    fs = atomic_exchange(&d->fs, NULL);
    if (fs != NULL)
        fs_free(fs);
    remove_pid_file(d->options.state);
    return status;
}

static int with_store(struct daemon *d)
{
    char errmsg[512] = "";
    int status;

    d->reader = reader_new(d->store);
    d->machine = machine_new(d);
    d->reaper = reaper_new(d);
    d->session_manager = session_manager_new(d);
    d->views = views_new(d);
    if (start_node(d, errmsg, sizeof errmsg) != 0)
        status = fail(EXIT_SYSTEM, "%s", errmsg);
    else
        status = with_control(d);
    session_manager_free(d->session_manager);
    views_free(d->views);
    reaper_free(d->reaper);
    machine_free(d->machine);
    reader_free(d->reader);
    return status;
}

/* The pid of the daemon that uses the state directory; 0: unknown. */
static int running_pid(const char *state)
{
    char *path = xasprintf("%s/coordfsd.pid", state);
    FILE *f = fopen(path, "re");
    int pid = 0;

    if (f != NULL && fscanf(f, "%d", &pid) != 1)
        pid = 0;
    if (f != NULL)
        fclose(f);
    free(path);
    return pid;
}

/* Where the cluster is mounted on this host; gives. NULL: nowhere. Reads /proc/self/mountinfo only:
 * a look-up of our own mount could wait for a daemon that does not answer. */
static char *mounted_at(const char *cluster)
{
    struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
    struct libmnt_fs *fs =
        table != NULL ? mnt_table_find_srcpath(table, cluster, MNT_ITER_BACKWARD) : NULL;
    const char *type = fs != NULL ? mnt_fs_get_fstype(fs) : NULL;
    char *at =
        type != NULL && strcmp(type, "fuse.coordfs") == 0 ? xstrdup(mnt_fs_get_target(fs)) : NULL;

    mnt_unref_table(table);
    return at;
}

static int fail_in_use(const struct options *o)
{
    char *at = mounted_at(o->name);
    int pid = running_pid(o->state);
    int status;

    if (at != NULL)
        status = fail(EXIT_SYSTEM,
                      "%s: in use by a running member (pid %d), which is mounted at %s: unmount it "
                      "first (umount %s)",
                      o->state, pid, at, at);
    else
        status = fail(EXIT_SYSTEM,
                      "%s: in use by a running member (pid %d): stop it first (kill %d), or use "
                      "another state directory",
                      o->state, pid, pid);
    free(at);
    return status;
}

/* A daemon that was just killed may still hold the lock for a moment. */
static int open_store(struct daemon *d, const struct store_identity *identity, char *errmsg,
                      size_t errmsg_len)
{
    uint64_t give_up = clock_boot_ms() + DYING_MS;
    int err;

    while ((err = store_open(d->options.state, identity, &d->store, errmsg, errmsg_len)) ==
               -EBUSY &&
           clock_boot_ms() < give_up)
        usleep(20000);
    return err;
}

static int remount(const struct options *o)
{
    char errmsg[1024] = "";
    int err = remount_run(o, errmsg, sizeof errmsg);

    if (err == 0)
        return 0;
    return fail(err == -EINVAL ? EXIT_USAGE : EXIT_MOUNT, "%s", errmsg);
}

static int with_options(struct daemon *d)
{
    struct options *o = &d->options;
    struct store_identity identity = {.member = o->id};
    char errmsg[512] = "";
    int status;
    int err;

    make_absolute(&o->state);
    make_absolute(&o->mount);
    make_absolute(&o->log);
    if (o->remount)
        return remount(o);
    if (!o->foreground)
        detach_start();
    d->started_ms = clock_boot_ms();
    setup_process();
    err = make_state_dir(o->state);
    if (err != 0)
        return fail(EXIT_SYSTEM, "%s: %s", o->state, strerror(-err));
    status = setup_log(o);
    if (status != 0)
        return status;
    snprintf(identity.cluster, sizeof identity.cluster, "%s", o->name);
    err = open_store(d, &identity, errmsg, sizeof errmsg);
    if (err == -EBUSY)
        return fail_in_use(o);
    if (err != 0)
        return fail(EXIT_SYSTEM, "%s: %s", o->state, errmsg);
    status = with_store(d);
    store_close(d->store);
    log_info("stopped");
    return status;
}

int main(int argc, char **argv)
{
    char errmsg[512] = "";
    int status = 0;

    if (argc > 1 && strcmp(argv[1], MIRROR_CHILD_ARGUMENT) == 0)
        return mirror_child_main(argc, argv);
    switch (options_parse(argc, argv, &self.options, errmsg, sizeof errmsg)) {
    case OPTIONS_RUN:
        status = with_options(&self);
        break;
    case OPTIONS_HELP:
        options_help();
        break;
    case OPTIONS_VERSION:
        puts("coordfsd " COORDFS_VERSION);
        break;
    case OPTIONS_ERROR:
        status = fail(EXIT_USAGE, "%s", errmsg);
        break;
    }
    options_fini(&self.options);
    return status;
}
