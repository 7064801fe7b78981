/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * One thread reads requests and does all work of the filesystem. Each pass of its loop
 * (serve_or_wait) delivers the mail of other threads, drops stale caches, serves at most one
 * request, and does due work: locks, writeback, deadlines, staleness, lanes. It sleeps in poll(2)
 * only if there was no request.
 *
 * Other threads call the functions at the end of this file (fs_changed, fs_granted, …). These post
 * mail or set a flag, and never wait for the reader thread. Between fs_changing(true) and
 * fs_changing(false), no request is served, so a program that has seen a change never gets older
 * pages.
 *
 * To end, fs_run leaves the loop and gives uncommitted content some time (drain). fs_free then
 * abandons the parked requests and ends the lanes. A lane may sleep in the kernel until a request
 * is answered, so requests are refused until all lanes have ended. The guardian stops last. */
#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/cache/invalidate.h"
#include "fs/deliver.h"
#include "fs/kernel/mount.h"
#include "fs/lock/lock_request.h"
#include "fs/ops/ops.h"
#include "fs/ops/route.h"
#include "proto/limits.h"

#define DEFAULT_TIMEOUT_MS 8000
#define LANE_STEP_MS       2
#define NEWS_STEP_MS       1
#define DRAIN_MS           2000 /* fs_run may go on this long for uncommitted content */

/* ---- Hooks of lower files for the features above them ---- */

static const struct call_hooks call_hooks = {
    .before_submit = locks_send,           /* locks of closed handles are released first */
    .before_change = writebacks_submit_of, /* a thread's earlier writes are committed first */
};

static const struct attr_overlay attr_overlay = {
    .show = writeback_show,
    .exists = writeback_exists,
};

/* ---- The session ----------------------------------------------------------------------------- */

static ssize_t on_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct fs *fs = userdata;

    check(fd == fs->io.dev_fd);
    return io_writev(&fs->io, iov, count);
}

/* libfuse needs one, but fs_run reads the requests. */
static ssize_t on_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)userdata;
    return read(fd, buf, len);
}

static int session_open(struct fs *fs, int dev_fd)
{
    static const struct fuse_custom_io io = {.writev = on_writev, .read = on_read};
    char name[] = "coordfs";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_lowlevel_ops ops;

    route_make(fs, &ops);
    fs->session = fuse_session_new(&args, &ops, sizeof(ops), fs);
    fuse_opt_free_args(&args);
    if (fs->session == NULL)
        return -ENOMEM;
    return fuse_session_custom_io(fs->session, &io, dev_fd) == 0 ? 0 : -EINVAL;
}

static void on_library_log(enum fuse_log_level level, const char *fmt, va_list args)
{
    char line[512];
    size_t len;

    vsnprintf(line, sizeof(line), fmt, args);
    len = strlen(line);
    if (len > 0 && line[len - 1] == '\n')
        line[len - 1] = '\0';
    if (level <= FUSE_LOG_ERR)
        log_error("%s", line);
    else
        log_debug("%s", line);
}

static void copy_options(struct fs_options *out, const struct fs_options *in)
{
    *out = *in;
    out->source = xstrdup(in->source);
    out->mountpoint = xstrdup(in->mountpoint);
    out->mirror_program = in->mirror_program == NULL ? NULL : xstrdup(in->mirror_program);
    if (out->timeout_ms == 0)
        out->timeout_ms = DEFAULT_TIMEOUT_MS;
    if (out->mirror_ms == 0)
        out->mirror_ms = mirror_patience(out->timeout_ms);
    if (out->lane_max == 0)
        out->lane_max = LANE_JOBS_MAX;
    if (out->file_max == 0)
        out->file_max = LIMIT_FILE_MAX;
}

static void free_parts(struct fs *fs)
{
    union {
        const char *in;
        char *out;
    } source = {.in = fs->options.source}, mountpoint = {.in = fs->options.mountpoint},
      program = {.in = fs->options.mirror_program};

    vdir_fini(fs);
    writebacks_fini(&fs->writebacks);
    locks_fini(fs);
    open_lifetimes_forget(fs);
    handles_fini(&fs->handles);
    nodes_fini(&fs->nodes);
    opens_fini(&fs->opens);
    rewalks_fini(&fs->rewalks);
    mailbox_fini(&fs->mailbox);
    mirror_fini(&fs->mirror);
    lost_clear(&fs->lost);
    io_fini(&fs->io);
    free(fs->scratch);
    free(source.out);
    free(mountpoint.out);
    free(program.out);
    free(fs);
}

/* A filesystem that is mounted read-only is read-only itself, not a read-only mount of a writable
 * one. */
static void set_up_mirror(struct fs *fs)
{
    struct mirror *m = &fs->mirror;

    m->mount_id = fs->mount_id;
    atomic_store(&m->patience_ms, fs->options.mirror_ms);
    if (fs->options.mirror_program == NULL)
        snprintf(m->status.why, sizeof(m->status.why), "mirror=off");
    else if ((fs->options.ms_flags & MS_RDONLY) != 0)
        snprintf(m->status.why, sizeof(m->status.why), "mounted read-only");
    else
        m->program = fs->options.mirror_program;
}

int fs_mount(const struct fs_options *options, struct backend backend, struct fs **out,
             char *errmsg, size_t errmsg_len)
{
    struct fs *fs = xcalloc(1, sizeof(*fs));
    int dev_fd, err;

    fuse_set_log_func(on_library_log);
    fs->backend = backend;
    fs->mount_id = -1;
    err = mailbox_init(&fs->mailbox);
    if (err != 0) {
        snprintf(errmsg, errmsg_len, "eventfd: %s", strerror(-err));
        free(fs);
        return err;
    }
    copy_options(&fs->options, options);
    fs->call_hooks = &call_hooks;
    fs->attr_overlay = &attr_overlay;
    opens_init(&fs->opens);
    rewalks_init(&fs->rewalks);
    nodes_init(&fs->nodes);
    handles_init(&fs->handles, &fs->opens);
    requests_init(&fs->requests);
    writebacks_init(&fs->writebacks);
    locks_init(&fs->locks);
    vdir_init(fs);
    fs->scratch = xmalloc(LIMIT_WRITE_MAX);
    atomic_init(&fs->changing, false);
    atomic_init(&fs->invalidate_posted, 0);
    TAILQ_INIT(&fs->for_news);
    atomic_init(&fs->stopping, false);
    atomic_init(&fs->told, 0);
    mirror_init(&fs->mirror);

    dev_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    err = dev_fd < 0 ? -errno : 0;
    if (err != 0)
        snprintf(errmsg, errmsg_len, "/dev/fuse: %s", strerror(-err));
    io_init(&fs->io, dev_fd, options->debug);
    if (err == 0 && (err = session_open(fs, dev_fd)) != 0)
        snprintf(errmsg, errmsg_len, "libfuse cannot start a session");
    if (err == 0)
        err = mount_open(&fs->options, dev_fd, &fs->mount_id, errmsg, errmsg_len);
    if (err == 0) {
        guardian_start(&fs->guardian, mount_device(fs->mount_id));
        set_up_mirror(fs);
        lanes_start(fs);
        *out = fs;
        return 0;
    }
    if (fs->session != NULL)
        fuse_session_destroy(fs->session); /* closes dev_fd */
    else if (dev_fd >= 0)
        close(dev_fd);
    free_parts(fs);
    return err == -ENOENT && dev_fd < 0 ? -ENODEV : err;
}

/* ---- The reader thread ----------------------------------------------------------------------- */

/* Sleeps until there is a request, mail, or due work. `told` is set only after posting: a report
 * from before the mailbox was emptied, or found empty, has arrived. */
static int wait_for_work(struct fs *fs, int timeout_ms)
{
    struct pollfd fds[] = {
        {.fd = fs->io.dev_fd, .events = POLLIN},
        {.fd = fs->mailbox.event_fd, .events = POLLIN},
    };
    uint64_t told = atomic_load(&fs->told);

    if (poll(fds, ARRAY_LEN(fds), timeout_ms) < 0 && errno != EINTR)
        return -errno;
    if (fds[1].revents != 0) {
        told = atomic_load(&fs->told);
        mailbox_deliver(&fs->mailbox);
    }
    fs->told_seen = told;
    return 0;
}

/* Returns 1: answered or parked a request; 0: there is none; or -errno. */
static int serve(struct fs *fs)
{
    struct fuse_buf buf = {.mem = fs->io.buf};
    int err = io_read(&fs->io);

    if (err <= 0)
        return err;
    if (stale_denies(fs)) {
        io_answer(&fs->io, EIO);
        return 1;
    }
    pass_note(fs);
    buf.size = fs->io.request_len;
    fuse_session_process_buf(fs->session, &buf);
    return 1;
}

/* Does due work. Returns the time until there is more, in ms; -1: none. */
static int turn(struct fs *fs)
{
    locks_turn(fs);
    return clock_sooner(
        writebacks_turn(fs),
        clock_sooner(requests_turn(fs), clock_sooner(stale_turn(fs), lanes_turn(fs))));
}

/* Gives uncommitted content, and requests that wait for it, some time to end. */
static void drain(struct fs *fs)
{
    struct pollfd fd = {.fd = fs->mailbox.event_fd, .events = POLLIN};
    uint64_t now, end = clock_boot_ms() + DRAIN_MS;

    while (!writebacks_drain(fs) && (now = clock_boot_ms()) < end) {
        if (poll(&fd, 1, (int)(end - now)) < 0 && errno != EINTR)
            break;
        mailbox_deliver(&fs->mailbox);
    }
}

/* A program that was shown a change must not find older pages when it opens a file next. So no
 * request is served between a commit and its delivery. */
static void await_news(struct fs *fs)
{
    struct pollfd fd = {.fd = fs->mailbox.event_fd, .events = POLLIN};

    while (atomic_load(&fs->changing) && !atomic_load(&fs->stopping)) {
        poll(&fd, 1, NEWS_STEP_MS);
        mailbox_deliver(&fs->mailbox);
    }
}

/* Reading a request that is not there costs less than asking first: programs that open and close
 * files keep us busy with two requests at a time. Deliveries go before requests. */
static int serve_or_wait(struct fs *fs)
{
    uint64_t told;
    int got, timeout_ms;

    await_news(fs);
    told = atomic_load(&fs->told);
    if (mailbox_waiting(&fs->mailbox))
        mailbox_deliver(&fs->mailbox);
    fs->told_seen = told;
    invalidate_turn(fs);
    got = serve(fs);
    timeout_ms = turn(fs);
    if (got != 0)
        return got < 0 ? got : 0;
    return wait_for_work(fs, timeout_ms);
}

int fs_run(struct fs *fs, void (*ready)(void *arg), void *arg)
{
    int err = 0;

    while (err == 0 && !atomic_load(&fs->stopping) && !fuse_session_exited(fs->session)) {
        err = serve_or_wait(fs);
        if (ready != NULL && atomic_load(&fs->io.ready)) {
            ready(arg);
            ready = NULL;
        }
    }
    drain(fs);
    return err == -ENODEV ? 0 : err; /* unmounted */
}

void fs_stop(struct fs *fs)
{
    atomic_store(&fs->stopping, true);
    mailbox_wake(&fs->mailbox);
}

/* A lane may sleep in a lock that the kernel holds for an unread request: all requests are answered
 * until the lane has woken up. */
static void end_lanes(struct fs *fs)
{
    struct pollfd fd = {.fd = fs->io.dev_fd, .events = POLLIN};

    lanes_ask_end(fs);
    while (!lanes_ended(fs)) {
        poll(&fd, 1, LANE_STEP_MS);
        if (io_refuse(&fs->io, ENOTCONN) < 0)
            usleep(LANE_STEP_MS * 1000); /* aborted: the lanes wake up by themselves */
    }
    while (mailbox_deliver(&fs->mailbox) > 0)
        continue;
    lanes_fini(fs);
}

void fs_free(struct fs *fs)
{
    fs->ended = true;
    while (mailbox_deliver(&fs->mailbox) > 0)
        continue;
    requests_abandon(fs, ENOTCONN);
    end_lanes(fs);
    fuse_session_destroy(fs->session); /* closes /dev/fuse: from here on nothing can wait for us */
    guardian_stop(&fs->guardian);
    mount_close(fs->mount_id);
    free_parts(fs);
}

/* ---- What happens elsewhere ------------------------------------------------------------------ */

void fs_changing(struct fs *fs, bool changing)
{
    atomic_store(&fs->changing, changing);
}

void fs_changed(struct fs *fs, Cfs__Change **changes, size_t n, bool own)
{
    deliver_changes(fs, changes, n, own);
}

void fs_replaced(struct fs *fs)
{
    deliver_replaced(fs);
}

void fs_granted(struct fs *fs, uint64_t id, uint64_t fence)
{
    lock_request_post_grant(fs, id, fence);
}

void fs_session(struct fs *fs, uint64_t session)
{
    deliver_session(fs, session);
}

void fs_reconfigure(struct fs *fs, unsigned timeout_ms, enum fs_lostlock lostlock)
{
    deliver_options(fs, timeout_ms, lostlock);
}

void fs_control_changed(struct fs *fs, const char *name)
{
    vdir_post_changed(fs, name);
}

void fs_told(struct fs *fs, uint64_t index)
{
    if (index > atomic_load(&fs->told))
        atomic_store(&fs->told, index);
    if (atomic_load(&fs->lanes.look_again))
        mailbox_wake(&fs->mailbox);
}

void fs_mirror_status(struct fs *fs, struct fs_mirror_status *out)
{
    mirror_get_status(&fs->mirror, out);
}

uint64_t fs_requests(struct fs *fs)
{
    return atomic_load_explicit(&fs->io.n_requests, memory_order_relaxed);
}

bool fs_is_open(struct fs *fs, uint64_t ino)
{
    return opens_count(&fs->opens, ino) > 0 || rewalk_holds(&fs->rewalks, ino) ||
           nodes_know(&fs->nodes, ino);
}
