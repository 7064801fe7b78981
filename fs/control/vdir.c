/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/vdir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fs/inode/attr.h"
#include "fs/kernel/convert.h"
#include "fs/state.h"
#include "proto/ioctl.h"
#include "proto/limits.h"

#define FILES_INO  (VDIR_BIT | 16) /* the first file's */
#define ROOT_INO   1
#define PLAIN_POLL (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)

struct vdir_file {
    const char *name;
    enum vdir_kind kind;
    mode_t mode; /* files that show paths or users are for root */
    bool polls;  /* poll(2) reports changes */
};

static const struct vdir_file files[] = {
    {"status", VDIR_MADE, 0444, false},   {"members", VDIR_MADE, 0444, true},
    {"leader", VDIR_MADE, 0444, true},    {"self", VDIR_MADE, 0444, false},
    {"health", VDIR_MADE, 0444, true},    {"locks", VDIR_MADE, 0400, false},
    {"sessions", VDIR_MADE, 0444, false}, {"metrics", VDIR_MADE, 0444, false},
    {"index", VDIR_MADE, 0444, false},    {"version", VDIR_MADE, 0444, false},
    {"events", VDIR_EVENTS, 0400, true},  {"log", VDIR_LOG, 0400, false},
};

_Static_assert(ARRAY_LEN(files) <= VDIR_FILES_MAX, "room in struct vdir");

/* A request to the loop thread for a file's content. */
struct vdir_job {
    struct backend_control control;
    struct mail mail;
    struct fs *fs;
    uint64_t fh;
    uint64_t seen;
    LIST_ENTRY(vdir_job) link;
};

/* ---- Life ------------------------------------------------------------------------------------ */

void vdir_init(struct fs *fs)
{
    struct vdir *v = &fs->vdir;

    v->exists = fs->backend.ops->control != NULL;
    LIST_INIT(&v->jobs);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        v->files[i].time_ns = clock_real_ns();
    events_init(fs);
}

static void handle_free(struct vdir *v, struct vdir_handle *h)
{
    HASH_DEL(v->handles, h);
    if (h->poll != NULL)
        fuse_pollhandle_destroy(h->poll);
    events_close(&h->events);
    buf_fini(&h->content);
    free(h);
}

static void job_free(struct vdir_job *job)
{
    LIST_REMOVE(job, link);
    buf_fini(&job->control.content);
    free(job);
}

void vdir_fini(struct fs *fs)
{
    struct vdir *v = &fs->vdir;
    struct vdir_handle *h, *next;
    struct vdir_job *job;

    while ((job = LIST_FIRST(&v->jobs)) != NULL)
        job_free(job); /* the loop has dropped it */
    HASH_ITER (hh, v->handles, h, next)
        handle_free(v, h);
}

/* ---- Files and handles ----------------------------------------------------------------------- */

bool vdir_is_name(struct fs *fs, uint64_t parent, const char *name)
{
    return fs->vdir.exists && parent == ROOT_INO && strcmp(name, VDIR_NAME) == 0;
}

static const struct vdir_file *find_file(uint64_t ino)
{
    uint64_t number = ino - FILES_INO;

    return number < ARRAY_LEN(files) ? &files[number] : NULL;
}

static uint64_t file_ino(const struct vdir_file *file)
{
    return FILES_INO + (uint64_t)(file - files);
}

static const struct vdir_file *find_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    return NULL;
}

struct vdir_handle *vdir_find(struct fs *fs, uint64_t fh)
{
    struct vdir_handle *h;

    HASH_FIND_U64(fs->vdir.handles, fh, h);
    return h;
}

bool vdir_is_events(const struct vdir_handle *h)
{
    return h->file->kind == VDIR_EVENTS;
}

static uint64_t changes_of(struct fs *fs, const struct vdir_file *file)
{
    return fs->vdir.files[file - files].changes;
}

/* ---- Attributes and names -------------------------------------------------------------------- */

static void fill_stat(struct fs *fs, uint64_t ino, struct stat *out)
{
    const struct vdir_file *file = find_file(ino);
    int64_t time_ns =
        file != NULL ? fs->vdir.files[file - files].time_ns : fs->vdir.files[0].time_ns;

    memset(out, 0, sizeof *out);
    out->st_ino = ino;
    out->st_mode = file != NULL ? S_IFREG | file->mode : S_IFDIR | 0555;
    out->st_nlink = file != NULL ? 1 : 2;
    out->st_size = file != NULL && file->kind == VDIR_LOG ? (off_t)events_log_size(fs) : 0;
    out->st_blocks = (out->st_size + 511) / 512;
    out->st_blksize = 4096;
    out->st_atim = out->st_mtim = out->st_ctim = convert_timespec(time_ns);
}

static void reply_entry(fuse_req_t req, uint64_t ino)
{
    struct fs *fs = fs_of(req);
    struct fuse_entry_param entry = {.ino = ino, .entry_timeout = attr_name_valid_s(fs)};
    Cfs__Attr attr = CFS__ATTR__INIT;

    fill_stat(fs, ino, &entry.attr);
    attr.ino = ino;
    attr.mode = entry.attr.st_mode;
    node_remember(&fs->nodes, &attr);
    if (fuse_reply_entry(req, &entry) != 0)
        node_forget(&fs->nodes, ino, 1);
}

void vdir_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct vdir_file *file = find_name(name);

    if (parent == ROOT_INO || strcmp(name, ".") == 0)
        reply_entry(req, VDIR_INO);
    else if (parent == VDIR_INO && file != NULL)
        reply_entry(req, file_ino(file));
    else
        fuse_reply_err(req, parent == VDIR_INO ? ENOENT : ENOTDIR);
}

void vdir_getattr(fuse_req_t req, fuse_ino_t ino)
{
    struct stat st;

    fill_stat(fs_of(req), ino, &st);
    fuse_reply_attr(req, &st, 0);
}

/* Setting the times to now changes nothing, but the kernel then raises inotify events. */
void vdir_setattr(fuse_req_t req, fuse_ino_t ino, int to_set)
{
    const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME |
                      FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;

    if (mirror_setattr(req, ino, vdir_getattr))
        return;
    if ((to_set & ~times) != 0 || fuse_req_ctx(req)->uid != 0)
        fuse_reply_err(req, EPERM);
    else
        vdir_getattr(req, ino);
}

void vdir_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->fh = 0;
    fuse_reply_open(req, fi);
}

/* Returns false if the entry does not fit. */
static bool add_name(fuse_req_t req, struct buf *out, size_t size, const char *name, uint64_t ino,
                     mode_t type, off_t next, bool plus)
{
    struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = type}};
    size_t n;

    buf_reserve(out, 512);
    n = plus ? fuse_add_direntry_plus(req, (char *)out->data + out->len, 512, name, &entry, next)
             : fuse_add_direntry(req, (char *)out->data + out->len, 512, name, &entry.attr, next);
    check(n <= 512);
    if (out->len + n > size)
        return false;
    out->len += n;
    return true;
}

void vdir_readdir(fuse_req_t req, size_t size, off_t off, bool plus)
{
    struct buf out = BUF_EMPTY;
    bool fits = true;

    for (size_t i = (size_t)off; fits && i < ARRAY_LEN(files) + 2; i++) {
        off_t next = (off_t)i + 1;

        if (i == 0)
            fits = add_name(req, &out, size, ".", VDIR_INO, S_IFDIR, next, plus);
        else if (i == 1)
            fits = add_name(req, &out, size, "..", ROOT_INO, S_IFDIR, next, plus);
        else
            fits = add_name(req, &out, size, files[i - 2].name, FILES_INO + i - 2, S_IFREG, next,
                            plus);
    }
    fuse_reply_buf(req, (const char *)out.data, out.len);
    buf_fini(&out);
}

/* ---- Opening and reading --------------------------------------------------------------------- */

void vdir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    const struct vdir_file *file = find_file(ino);
    struct fs *fs = fs_of(req);
    struct vdir *v = &fs->vdir;
    struct vdir_handle *h;

    if (mirror_open(req, ino))
        return;
    if (file == NULL || (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
        fuse_reply_err(req, file == NULL ? ESTALE : EACCES);
        return;
    }
    h = xcalloc(1, sizeof *h);
    h->fh = ++v->next_fh;
    h->file = file;
    h->seen = changes_of(fs, file);
    TAILQ_INIT(&h->readers);
    if (vdir_is_events(h))
        events_open(fs, &h->events);
    HASH_ADD_U64(v->handles, fh, h);
    fi->fh = h->fh;
    fi->direct_io = 1;
    fi->noflush = 1;
    fi->nonseekable = vdir_is_events(h);
    if (fuse_reply_open(req, fi) != 0)
        handle_free(v, h);
}

void vdir_release(fuse_req_t req, struct fuse_file_info *fi)
{
    struct fs *fs = fs_of(req);
    struct vdir_handle *h = vdir_find(fs, fi->fh);

    if (h != NULL) {
        request_wake(&h->readers, EBADF);
        handle_free(&fs->vdir, h);
    }
    fuse_reply_err(req, 0);
}

static void reply_content(fuse_req_t req, const struct vdir_handle *h, size_t size, uint64_t off)
{
    uint64_t from = min_u64(off, h->content.len);

    fuse_reply_buf(req, (const char *)h->content.data + from, min_u64(size, h->content.len - from));
}

static void finish_read(struct request *r, int error)
{
    const struct vdir_handle *h = vdir_find(r->fs, r->fh);

    if (error != 0 || h == NULL)
        fuse_reply_err(r->req, error != 0 ? error : EBADF);
    else
        reply_content(r->req, h, r->count, 0);
}

static void on_made(struct mail *mail)
{
    struct vdir_job *job = CONTAINER_OF(mail, struct vdir_job, mail);
    struct vdir_handle *h = vdir_find(job->fs, job->fh);

    if (h != NULL) {
        buf_fini(&h->content);
        h->content = buf_take(&job->control.content);
        h->seen = job->seen;
        h->asked = false;
        request_wake(&h->readers, 0);
    }
    job_free(job);
}

static void on_loop_done(struct backend_control *control)
{
    struct vdir_job *job = CONTAINER_OF(control, struct vdir_job, control);

    mailbox_post(&job->fs->mailbox, &job->mail, on_made);
}

static void lock_request(struct fs *fs, struct vdir_handle *h)
{
    struct vdir_job *job = xcalloc(1, sizeof *job);

    job->control.name = h->file->name;
    job->control.done = on_loop_done;
    job->fs = fs;
    job->fh = h->fh;
    job->seen = changes_of(fs, h->file);
    LIST_INSERT_HEAD(&fs->vdir.jobs, job, link);
    h->asked = true;
    fs->backend.ops->control(fs->backend.ctx, &job->control);
}

static void read_made(fuse_req_t req, struct vdir_handle *h, size_t size, uint64_t off)
{
    struct fs *fs = fs_of(req);
    struct request *r;

    if (off > 0) {
        reply_content(req, h, size, off);
        return;
    }
    r = request_new(fs, req, finish_read);
    r->patience = REQUEST_PATIENT;
    r->fh = h->fh;
    r->count = size;
    request_wait(r, &h->readers);
    if (!h->asked)
        lock_request(fs, h);
}

void vdir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct vdir_handle *h = vdir_find(fs_of(req), fi->fh);

    (void)ino;
    if (h == NULL)
        fuse_reply_err(req, EBADF);
    else if (h->file->kind == VDIR_EVENTS)
        events_read(req, h, size, fi->flags);
    else if (h->file->kind == VDIR_LOG)
        events_log_read(req, size, (uint64_t)off);
    else
        read_made(req, h, size, (uint64_t)off);
}

bool vdir_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, const void *in, size_t in_size,
                struct fuse_file_info *fi)
{
    struct vdir_handle *h;

    if (cmd != (unsigned)COORDFS_IOC_WATCH)
        return false;
    h = vdir_owns(ino) ? vdir_find(fs_of(req), fi->fh) : NULL;
    if (h == NULL || !vdir_is_events(h))
        fuse_reply_err(req, ENOTTY);
    else
        events_ioctl(req, &h->events, in, in_size);
    return true;
}

/* ---- Notification of changes ---- */

static unsigned ready_for(struct fs *fs, struct vdir_handle *h)
{
    if (h == NULL)
        return POLLERR;
    if (vdir_is_events(h))
        return events_is_ready(fs, &h->events) ? POLLIN | POLLRDNORM : 0;
    if (h->seen != changes_of(fs, h->file))
        return POLLIN | POLLRDNORM | POLLERR | POLLPRI;
    return POLLIN | POLLRDNORM;
}

/* Handles POLL of any file of the mount: the kernel sends it for every file once it knows that this
 * server answers POLL. */
void vdir_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
               struct fuse_pollhandle *ph)
{
    struct fs *fs = fs_of(req);
    struct vdir_handle *h = vdir_owns(ino) ? vdir_find(fs, fi->fh) : NULL;

    if (ph != NULL && h != NULL && h->file->polls) {
        if (h->poll != NULL)
            fuse_pollhandle_destroy(h->poll);
        h->poll = ph;
    } else if (ph != NULL) {
        fuse_pollhandle_destroy(ph);
    }
    fuse_reply_poll(req, vdir_owns(ino) ? ready_for(fs, h) : PLAIN_POLL);
}

void vdir_wake_poll(struct vdir_handle *h)
{
    fuse_lowlevel_notify_poll(h->poll);
    fuse_pollhandle_destroy(h->poll);
    h->poll = NULL;
}

/* A control file has new content: poll(2) returns, and inotify reports it. */
static void changed(struct fs *fs, const struct vdir_file *file)
{
    struct vdir *v = &fs->vdir;
    struct mirror_op *op = mirror_op_control(fs, file_ino(file), file->name);
    struct vdir_handle *h, *next;

    v->files[file - files].changes++;
    v->files[file - files].time_ns = clock_real_ns();
    HASH_ITER (hh, v->handles, h, next)
        if (h->file == file && h->poll != NULL)
            vdir_wake_poll(h);
    if (op != NULL)
        lane_mirror(fs, op);
}

struct change_mail {
    struct mail mail;
    struct fs *fs;
    const char *name;
};

static void on_changed(struct mail *mail)
{
    struct change_mail *m = CONTAINER_OF(mail, struct change_mail, mail);
    const struct vdir_file *file = find_name(m->name);

    check(file != NULL);
    changed(m->fs, file);
    free(m);
}

void vdir_post_changed(struct fs *fs, const char *name)
{
    struct change_mail *m = xcalloc(1, sizeof *m);

    m->fs = fs;
    m->name = name;
    mailbox_post(&fs->mailbox, &m->mail, on_changed);
}

void vdir_news(struct fs *fs)
{
    if (fs->vdir.handles != NULL)
        events_news(fs);
}
