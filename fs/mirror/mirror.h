/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror: inotify events for changes that other hosts make.
 *
 * The kernel raises events only for system calls of its own processes. So a process of ours
 * (fs/mirror/mirror_child.h) repeats each such change as a system call on a private clone of the
 * mount. The daemon recognises the process by its pid, answers from the kernel's view (the state
 * before that change), reports success, and changes nothing. The same step corrects the kernel's
 * cache, so no name needs to be invalidated.
 *
 * Theory of operation. A change that is delivered (fs/cache/invalidate.c) and that a process may be
 * watching becomes a mirror_op. A process may be watching if the kernel knows the directory (a
 * watch pins the inode, so the lookup count is not 0) or, for a watch on a file, its inode. The
 * operation is a job of the name lane. It runs when the page lane has dropped the old pages (so a
 * reader that gets the event sees the change), no parked request of a local process holds the locks
 * that it needs, and no earlier job about the same inodes is left. One operation runs at a time,
 * apart from those that wait for a lock in the kernel. The name lane's thread tells the process,
 * which answers when the system call has returned.
 *
 * What can go wrong, and the response:
 *  - A local process has changed one of the names, later in the log. The kernel's names are newer
 *    than the change: the operation is refused and raises no event, and its names are looked up
 *    again.
 *  - Another process has looked up a name between the change and its mirror. The kernel then has an
 *    entry from the future and returns EEXIST or ENOENT without asking us. The names are marked for
 *    a new look-up, and the operation is tried again, a few times.
 *  - The same happens during the attempt. What other processes are told of its names meanwhile is
 *    valid for a moment only, so the kernel asks again when the mirror's system call has locked the
 *    directory. If that call would remove or rename another inode than the operation's, it gets
 *    ESTALE and looks again. Listings do not bring names into the cache while operations in the
 *    directory wait (READDIRPLUS answers without inodes).
 *  - A directory was looked up by a later name, and the kernel cannot move its entry, because a
 *    local process holds the lock of the directory that contains it (d_splice_alias fails with
 *    ESTALE). The operation is tried again later.
 *  - The process dies. Another one is started. It performs the operation, unless the kernel may
 *    have raised the event already.
 *  - The process waits for a lock that a local process holds in the kernel, for as long as it
 * likes. The operation is late (fs/cache/lane_late.h): it is performed when the lock is free, and
 * another process performs those of other directories meanwhile.
 *  - The process hangs (somebody has stopped or frozen it). A program that was granted a lock waits
 *    for it, because names may be stale. So the process is killed after a while (patience_ms), as
 *    if it had died. If the next one hangs, too, there is no mirror for a minute.
 *  - Something is mounted on the directory that is removed or renamed. The name stays as long as
 *    the mount does: invalidating the name would unmount it.
 *  - The mirror cannot keep up and the name lane has too many jobs. All of them are given up
 *    (fs/cache/lane.c).
 *  - There is no mirror. Names are invalidated instead.
 *
 * Events can be lost in these cases. The caches are always right.
 *
 * Reader thread only, unless a comment says otherwise. */
#ifndef FS_MIRROR_MIRROR_H
#define FS_MIRROR_MIRROR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <fuse_lowlevel.h>

#include "fs/fs.h"
#include "fs/mirror/mirror_wire.h"

#define MIRROR_TRIES   8   /* immediate attempts of one operation */
#define MIRROR_RESTS   100 /* rest between so many attempts */
#define MIRROR_REST_MS 100 /* longest rest; all together exceed a request's time */
/* Time for an answer, in addition to the time of a local change: the process may have to wait for
 * one in the kernel. A local change counts up to MIRROR_LOCAL_MS. */
#define MIRROR_PATIENCE_MS 2000
#define MIRROR_LOCAL_MS    30000

/* timeout_ms: the time that a local change may take. */
static inline unsigned mirror_patience(unsigned timeout_ms)
{
    return MIRROR_PATIENCE_MS + (unsigned)min_u64(timeout_ms, MIRROR_LOCAL_MS);
}

struct mirror_name {
    uint64_t dir; /* 0: none */
    char *name;
    bool soft; /* it leads, or led, to a directory: mounts may be below it */
    /* Another process was told what the name leads to now, after the mirror was told what it led to
     * before. */
    atomic_bool newer;
};

struct mirror_op {
    TAILQ_ENTRY(mirror_op) link; /* in the order of the log, until the operation is done */
    enum mirror_kind kind;
    uint64_t index; /* raft index */
    uint64_t ino;
    uint64_t victim;
    struct mirror_name names[2]; /* the second name: the new name of the first */
    uint32_t mode;
    uint64_t rdev;
    bool prepared;
    bool late;        /* something was mounted there: names must be invalidated when it is gone */
    bool unwatched;   /* nobody watches: nothing to do */
    bool removed_dir; /* this host has since removed ino, a directory */
    bool dropped;     /* refused because there were too many; set before the refusal */
    unsigned looks;   /* attempts to prepare it */
    unsigned rests;
    uint64_t rest_until_ms;
    char *paths[2]; /* paths of the directories; NULL: not needed */
    atomic_bool refused;
    atomic_bool answered; /* the kernel was told that the operation was done */
};

TAILQ_HEAD(mirror_ops, mirror_op);

struct mirror;

/* The process of one thread of the name lane. A thread that waits for a lock of the kernel is set
 * aside with its process (fs/cache/lane_worker.h), and another thread with another process goes on.
 */
struct mirror_process {
    struct mirror *m;
    LIST_ENTRY(mirror_process) link;     /* reader thread */
    _Atomic(struct mirror_op *) current; /* the operation that the process performs now */
    atomic_int pid;                      /* 0: there is none */
    atomic_bool aside;                   /* another one has taken its place */
    atomic_bool starting;                /* its thread waits for that, and for no lock */

    /* The thread that it belongs to. */
    int sock; /* -1: no process */
    bool submounts;
    uint64_t retry_at_ms; /* earliest time to start another */
    unsigned n_hung;      /* processes that hung in a row */
};

struct mirror {
    struct mirror_ops ops;
    LIST_HEAD(, mirror_process) processes;
    int mount_id;
    const char *program;     /* NULL: no mirror is wanted */
    int stop_fd;             /* readable: the threads must end */
    atomic_uint patience_ms; /* patience with a process that does not answer */

    pthread_mutex_t lock; /* protects the fields below */
    struct fs_mirror_status status;
};

struct fs;

void mirror_init(struct mirror *m);
void mirror_fini(struct mirror *m);
bool mirror_wanted(const struct mirror *m);

/* ---- The queue: fs/mirror/mirror.c ---- */

/* Makes an operation for this change of another host. NULL: no process on this host can be
 * watching, or there is no mirror. The operation is in the queue until mirror_op_free. */
struct mirror_op *mirror_op_new(struct fs *fs, const Cfs__Change *c);
/* The same for a file of the control directory (fs/control/vdir.h) that has new content. */
struct mirror_op *mirror_op_control(struct fs *fs, uint64_t ino, const char *name);
void mirror_op_free(struct mirror *m, struct mirror_op *op);
/* This host's own change, which the kernel made itself: earlier operations on its names are
 * refused. */
void mirror_own(struct fs *fs, const Cfs__Change *c);
/* State replaced by a snapshot: no per-change list exists. Every queued operation is refused,
 * except those of the control directory. */
void mirror_refuse_all(struct fs *fs);
/* There are too many operations: this one is given up and counts as missed. */
void mirror_drop(struct mirror_op *op);
/* Any thread: the operation was not performed. */
void mirror_count_given_up(struct mirror *m, const struct mirror_op *op);

/* True if an operation about names of this directory is queued. */
bool mirror_renames_in(const struct fs *fs, uint64_t dir);

#define MIRROR_INOS 4
/* The inodes whose locks the operation needs. */
unsigned mirror_inos(const struct mirror_op *op, uint64_t out[MIRROR_INOS]);
/* Reads what the operation needs from the tree. False: try again later. */
bool mirror_prepare(struct fs *fs, struct mirror_op *op);
/* The process needs paths. False: there are none. */
bool mirror_find_paths(struct fs *fs, struct mirror_op *op);
/* True if it is about a name, not about an inode. */
bool mirror_has_names(const struct mirror_op *op);
/* True if the operation takes a name away from the inode, or gives it to another. */
bool mirror_moves(const struct mirror_op *op);

/* ---- The process: fs/mirror/mirror_run.c; a thread of the name lane ---- */

struct io;

/* Reader thread. */
void mirror_process_init(struct mirror *m, struct mirror_process *p);
void mirror_process_fini(struct mirror_process *p); /* after mirror_stop */

void mirror_start(struct mirror_process *p);
void mirror_stop(struct mirror_process *p);
/* Performs the operation, and invalidates the names if that failed. -EAGAIN: it needs paths.
 * -EBUSY: something is mounted there, try again much later. -EINPROGRESS: it must rest for a while.
 */
int mirror_run(struct mirror_process *p, struct io *io, struct mirror_op *op);
/* Any thread: makes mirror_run return soon. */
void mirror_ask_end(struct mirror *m);
/* Any thread. */
void mirror_get_status(struct mirror *m, struct fs_mirror_status *out);

/* ---- The kernel's view: fs/mirror/mirror_view.c. Each function answers the request if it comes
 * from the mirror, and returns true then. ---- */

/* True if the process with this pid is a process of the mirror. */
bool mirror_sends(const struct mirror *m, int pid);

bool mirror_lookup(fuse_req_t req, uint64_t parent, const char *name);
/* n: the outcome of a request for an extended attribute; the one to answer. */
int64_t mirror_xattr(fuse_req_t req, int64_t n);
/* Another process is told what the name leads to. True: the current operation is about this name,
 * so the kernel must not keep the answer longer than that process needs it. */
bool mirror_told(struct fs *fs, uint64_t parent, const char *name);
bool mirror_make(fuse_req_t req, uint64_t parent, const char *name);
bool mirror_remove(fuse_req_t req, uint64_t parent, const char *name);
bool mirror_rename(fuse_req_t req, uint64_t parent, const char *name, uint64_t new_parent,
                   const char *new_name);
bool mirror_getattr(fuse_req_t req, uint64_t ino);
/* reply answers for an inode that is not in the tree; NULL: the answer is the tree's. */
bool mirror_setattr(fuse_req_t req, uint64_t ino, void (*reply)(fuse_req_t req, fuse_ino_t ino));
/* The mirror's handles have the number 0, and no other handle does. So its RELEASE, which carries
 * no pid, is recognised. */
bool mirror_open(fuse_req_t req, uint64_t ino);
/* A change that the mirror must never make. */
bool mirror_denied(fuse_req_t req);

#endif
