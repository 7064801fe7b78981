/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side: a FUSE session over libfuse3's low-level interface.
 *
 * One reader thread (fs_run's caller) takes requests in the kernel's order, answers what is local
 * at once, and parks the rest; parked requests are answered on the loop thread by the backend's
 * completions. Every parked request can be interrupted and has a deadline (mount option timeout).
 *
 * The caller's sequence: fs_mount, fs_run (returns when unmounted or stopped), fs_free. */
#ifndef FS_FS_H
#define FS_FS_H

#include "base/base.h"
#include "fs/backend.h"

struct fs;

/* What becomes of processes that have a file open through a handle whose lock was lost. */
enum fs_lostlock { FS_LOSTLOCK_NONE, FS_LOSTLOCK_TERM, FS_LOSTLOCK_KILL };

struct fs_options {
    const char *source;     /* shown in /proc/mounts, exactly as the user gave it */
    const char *mountpoint; /* a directory */
    unsigned long ms_flags; /* MS_RDONLY, MS_NOEXEC, MS_NOSUID, MS_NODEV … */
    unsigned timeout_ms;    /* of requests that hold kernel locks; default 8000 */
    uint64_t file_max;      /* bytes of a file */
    bool strong;            /* a barrier before each open, lookup and getattr */
    unsigned deny_ms;       /* stale=deny: without a quorum for so long; 0: stale=serve */
    unsigned writeback_ms;  /* tests: drafts wait so long; 0: DRAFT_IDLE_MS and DRAFT_AGE_MS */
    unsigned mirror_ms;     /* tests: patience with the mirror's process; 0: by timeout_ms */
    unsigned lane_max;      /* tests: jobs of lane B (fs/cache/lane.h); 0: LANE_JOBS_MAX */
    bool uncached;          /* the kernel asks for everything each time */
    bool debug;             /* log every request */
    enum fs_lostlock lostlock;
    /* A program that can be the mirror (fs/mirror/mirror_child.h); NULL: no events for other hosts'
     * changes. */
    const char *mirror_program;
};

/* inotify events for other hosts' changes. */
struct fs_mirror_status {
    bool on;
    char why[128];    /* not */
    int pid;          /* of its process; 0: none */
    uint64_t done;    /* changes that it made known */
    uint64_t refused; /* not made known, as this host changed the same names later */
    uint64_t missed;
    uint64_t restarts; /* of its process */
};

/* Mounts (type fuse.coordfs, default_permissions, allow_other). 0, or -errno and one clear line in
 * errmsg: -ENOENT/-ENOTDIR (mountpoint), -EBUSY (something of ours is mounted there), -ENODEV (no
 * /dev/fuse) … Copies options; borrows the backend until fs_free. */
int fs_mount(const struct fs_options *options, struct backend backend, struct fs **out,
             char *errmsg, size_t errmsg_len);

/* Serves requests until the filesystem is unmounted, or fs_stop. `ready` (may be NULL) is called
 * once, when the kernel has finished INIT: stat(mountpoint) works from then on. Returns 0 or
 * -errno. Becomes the reader thread. */
int fs_run(struct fs *fs, void (*ready)(void *arg), void *arg);

/* Any thread, also from a signal handler: makes fs_run return soon. */
void fs_stop(struct fs *fs);

/* Unmounts if it still is mounted, and frees. After fs_run returned; the backend must not complete
 * anything any more. */
void fs_free(struct fs *fs);

/* Loop thread: commands were applied (by whichever host). `own`: made by this host's session.
 * Called before these commands' completions, and as soon as the backend shows what they changed:
 * from shortly before that, fs_changing(fs, true), until fs_changing(fs, false) nobody is shown
 * anything. */
void fs_changing(struct fs *fs, bool changing);
void fs_changed(struct fs *fs, const Cfs__Change *const *changes, size_t n, bool own);
/* Loop thread: the whole state was replaced: every cached thing is stale. */
void fs_replaced(struct fs *fs);

/* Loop thread: a Lock of this host's session that was answered EINPROGRESS with `id` is granted.
 * After fs_changed of the same entry, and after the completion of the Lock. */
void fs_granted(struct fs *fs, uint64_t id, uint64_t fence);
/* Loop thread: from now on this is the host's session (0: none). Whatever hung on another one,
 * locks above all, is lost. Before the completion of any command that was carried out in it. */
void fs_session(struct fs *fs, uint64_t session);

/* Loop thread: a control file (leader, members, health) shows something else now: whoever polls it
 * is told. `name` must stay. */
void fs_control_changed(struct fs *fs, const char *name);
/* Loop thread: fs_changed was called for all changes up to this raft index. */
void fs_told(struct fs *fs, uint64_t index);

/* Any thread. */
void fs_mirror_status(struct fs *fs, struct fs_mirror_status *out);

/* Requests that the kernel has sent. Any thread. */
uint64_t fs_requests(struct fs *fs);

/* Loop thread: does a process of this host hold the file open (or mapped)? */
bool fs_is_open(struct fs *fs, uint64_t ino);

#endif
