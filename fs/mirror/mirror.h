/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror: inotify for changes that other hosts make.
 *
 * The kernel raises events for the system calls of its own processes only. So a process of ours
 * (fs/mirror/mirror_child.h) makes each such change once more, as a system call on a private clone
 * of the mount. The daemon recognises the process by its pid, answers from the kernel's view (the
 * state before that change), says that it was done, and changes nothing. What the kernel caches
 * becomes right in the same step, so names need not be forgotten.
 *
 * Theory of operation. A change that comes with the news (fs/cache/invalidate.c) and that somebody
 * may be watching becomes a mirror_op: the kernel knows its directory (a watch pins the inode, and
 * a lookup count that is not 0 tells of it) or, for watches on files, its inode. It is a job of
 * lane B and runs when lane A has forgotten the old pages (so an event's reader sees what it tells
 * of), no parked request of a local process holds the locks that it needs, and no earlier job about
 * the same inodes is left. One runs at a time. Lane B's thread tells the process, which answers
 * when the system call has returned.
 *
 * What may go wrong, and then:
 *  - a local process has changed one of the names, after this change in the log: the kernel's names
 *    are newer than the change. It is refused, raises no event, and its names are looked up again;
 *  - another process has looked up a name between the change and its mirror: the kernel has an
 *    entry from the future, and says EEXIST or ENOENT without asking us. The names are made to be
 *    looked up again, and it is tried again, a few times;
 *  - the same happens while it is tried. What other processes are told of its names meanwhile is
 *    valid for a moment only, so the kernel asks again when the mirror's system call has locked the
 *    directory. Should it be about to remove or rename another inode than the operation's, it is
 *    told to look again (ESTALE). Lists do not bring names into the cache while operations in the
 *    directory wait (READDIRPLUS answers without inodes);
 *  - a directory has been looked up by a later name of its, and the kernel cannot take it away from
 *    there, as a local process holds the lock of the directory which that is in (d_splice_alias
 *    fails with ESTALE): it is tried again when that one has had time;
 *  - the process dies: another is started. The operation is performed by that one unless the
 *    kernel may have raised the event already;
 *  - the process hangs (somebody has stopped or frozen it). Whoever was granted a lock waits for
 *    it, as names may be stale. So it is killed after a while (patience_ms), and all goes on as if
 *    it had died; when the next one hangs, too, there is none for a minute;
 *  - something is mounted on what is removed or renamed: the name stays as long as it is (to forget
 *    it would unmount that);
 *  - it cannot keep up, and lane B has too many jobs: all of them are given up (fs/cache/lane.c);
 *  - it cannot be: names are forgotten as if there were no mirror.
 * Events are lost then, but caches are right always.
 *
 * Reader thread only, but for what says otherwise. */
#ifndef FS_MIRROR_MIRROR_H
#define FS_MIRROR_MIRROR_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <fuse_lowlevel.h>

#include "fs/fs.h"
#include "fs/mirror/mirror_wire.h"

#define MIRROR_TRIES   8   /* of one operation, at once */
#define MIRROR_RESTS   100 /* between so many tries */
#define MIRROR_REST_MS 100 /* each at most: together longer than a request of ours may wait */
/* For an answer, beyond what a change of a local process may take, which the process may have to
 * wait for in the kernel; that is reckoned with up to MIRROR_LOCAL_MS. */
#define MIRROR_PATIENCE_MS 2000
#define MIRROR_LOCAL_MS    30000

struct mirror_name {
    uint64_t dir; /* 0: none */
    char *name;
    bool soft; /* it leads, or led, to a directory: there may be mounts below it */
    /* Another process was told what it leads to now, since the mirror's was told what it led to. */
    atomic_bool newer;
};

struct mirror_op {
    TAILQ_ENTRY(mirror_op) link; /* in the order of the log, until it is done */
    enum mirror_kind kind;
    uint64_t index; /* of the log */
    uint64_t ino;
    uint64_t victim;
    struct mirror_name names[2]; /* the second: what the first becomes */
    uint32_t mode;
    uint64_t rdev;
    bool prepared;
    bool late;        /* something was mounted there: names are to be forgotten when it is not */
    bool unwatched;   /* nobody: there is nothing to be done */
    bool removed_dir; /* this host has removed ino, a directory, since */
    bool dropped;     /* refused as there were too many; set before that */
    unsigned looks;   /* attempts to prepare it */
    unsigned rests;
    uint64_t rest_until_ms;
    char *paths[2]; /* of the directories; NULL: not asked for */
    atomic_bool refused;
    atomic_bool answered; /* the kernel was told that it was done */
};

TAILQ_HEAD(mirror_ops, mirror_op);

struct mirror {
    struct mirror_ops ops;
    _Atomic(struct mirror_op *) current; /* that the process performs now */
    atomic_int pid;                      /* of the process; 0: there is none */
    int mount_id;

    /* Lane B's thread. */
    const char *program; /* NULL: none is wanted */
    int sock;            /* -1: no process */
    int stop_fd;         /* readable: to end */
    bool submounts;
    uint64_t retry_at_ms; /* when another may be started */
    unsigned patience_ms; /* with a process that does not answer */
    unsigned n_hung;      /* in a row */

    pthread_mutex_t lock; /* covers what follows */
    struct fs_mirror_status status;
};

struct fs;

void mirror_init(struct mirror *m);
void mirror_fini(struct mirror *m);
bool mirror_wanted(const struct mirror *m);

/* ---- The queue: fs/mirror/mirror.c ---- */

/* An operation for this change of another host; NULL: nobody here may be watching, or there is no
 * mirror. It is in the queue until mirror_op_free. */
struct mirror_op *mirror_op_new(struct fs *fs, const Cfs__Change *c);
/* The same for a file of the control directory (fs/control/vdir.h), which shows something else now.
 */
struct mirror_op *mirror_op_control(struct fs *fs, uint64_t ino, const char *name);
void mirror_op_free(struct mirror *m, struct mirror_op *op);
/* This host's own change, which the kernel made itself: earlier operations on its names are
 * refused. */
void mirror_own(struct fs *fs, const Cfs__Change *c);
/* A state of which no single changes are known: nothing that is queued makes sense any more, but
 * for what is not about the tree. */
void mirror_refuse_all(struct fs *fs);
/* There are too many: it is not to be performed, and counts as missed. */
void mirror_drop(struct mirror_op *op);
/* Any thread: it was not performed. */
void mirror_count_given_up(struct mirror *m, const struct mirror_op *op);

/* Is there an operation about names of this directory? */
bool mirror_renames_in(const struct fs *fs, uint64_t dir);

#define MIRROR_INOS 4
/* The inodes whose locks it needs. */
unsigned mirror_inos(const struct mirror_op *op, uint64_t out[MIRROR_INOS]);
/* Finds out what it needs to know of the tree. False: later. */
bool mirror_prepare(struct fs *fs, struct mirror_op *op);
/* The process wants paths. False: there are none. */
bool mirror_find_paths(struct fs *fs, struct mirror_op *op);
/* Does it take a name away from the inode, or give it to another? */
bool mirror_moves(const struct mirror_op *op);

/* ---- The process: fs/mirror/mirror_run.c; lane B's thread ---- */

struct io;

void mirror_start(struct mirror *m);
void mirror_stop(struct mirror *m);
/* Performs it, and forgets the names if that could not be done. -EAGAIN: it needs paths. -EBUSY:
 * something is mounted there, try again much later. -EINPROGRESS: it is to rest for a while. */
int mirror_run(struct mirror *m, struct io *io, struct mirror_op *op);
/* Any thread: makes mirror_run return soon. */
void mirror_ask_end(struct mirror *m);
/* Any thread. */
void mirror_get_status(struct mirror *m, struct fs_mirror_status *out);

/* ---- The kernel's view: fs/mirror/mirror_view.c. Each answers the request if it is the mirror's
 * and returns true then. ---- */

/* Is the process with this pid the mirror's? */
bool mirror_sends(struct mirror *m, int pid);

bool mirror_lookup(fuse_req_t req, uint64_t parent, const char *name);
/* Another process is told what the name leads to. True: the kernel is not to believe it for longer
 * than that process needs it, as the current operation is about this name. */
bool mirror_told(struct fs *fs, uint64_t parent, const char *name);
bool mirror_make(fuse_req_t req, uint64_t parent, const char *name);
bool mirror_remove(fuse_req_t req, uint64_t parent, const char *name);
bool mirror_rename(fuse_req_t req, uint64_t parent, const char *name, uint64_t new_parent,
                   const char *new_name);
bool mirror_getattr(fuse_req_t req, uint64_t ino);
bool mirror_setattr(fuse_req_t req, uint64_t ino);
/* The handle that it opens has the number 0: no other has, so its RELEASE (which does not say who
 * sends it) is recognised. */
bool mirror_open(fuse_req_t req, uint64_t ino);
/* A change that it is never to make. */
bool mirror_denied(fuse_req_t req);

#endif
