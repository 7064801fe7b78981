/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's side: a FUSE session over libfuse3's low-level interface.
 *
 * One reader thread (the caller of fs_run) takes requests in the kernel's order. It answers
 * immediately from local state where it can, and parks the others. A parked request is answered
 * when the backend completes its change. Every parked request can be interrupted and has a deadline
 * (mount option timeout).
 *
 * The caller's sequence: fs_mount, fs_run (returns when unmounted or stopped), fs_free. */
#ifndef FS_FS_H
#define FS_FS_H

#include "base/base.h"
#include "fs/backend.h"

struct fs;

/* The fate of processes that have a file open through a handle whose lock was lost. */
enum fs_lostlock { FS_LOSTLOCK_NONE, FS_LOSTLOCK_TERM, FS_LOSTLOCK_KILL };

struct fs_options {
    const char *source;     /* shown in /proc/mounts, exactly as the user wrote it */
    const char *mountpoint; /* a directory */
    unsigned long ms_flags; /* MS_RDONLY, MS_NOEXEC, MS_NOSUID, MS_NODEV … */
    unsigned timeout_ms;    /* for requests that hold kernel locks; default 8000 */
    uint64_t file_max;      /* largest file, in bytes */
    bool strong;            /* a barrier before each open, lookup and getattr */
    unsigned deny_ms;       /* stale=deny: after so long without a quorum; 0: stale=serve */
    unsigned writeback_ms;  /* tests: idle time of writeback; 0: WRITEBACK_IDLE_MS and
                             * WRITEBACK_AGE_MS */
    unsigned mirror_ms; /* tests: patience with the mirror's process; 0: derived from timeout_ms */
    unsigned
        lane_max;  /* tests: number of jobs of the name lane (fs/cache/lane.h); 0: LANE_JOBS_MAX */
    bool uncached; /* the kernel caches nothing and asks each time */
    bool debug;    /* log every request */
    enum fs_lostlock lostlock;
    /* A program that can be the mirror (fs/mirror/mirror_child.h); NULL: other hosts' changes raise
     * no events. */
    const char *mirror_program;
};

/* State of the mirror: inotify events for other hosts' changes. */
struct fs_mirror_status {
    bool on;
    char why[128];    /* not */
    int pid;          /* of its process; 0: none */
    uint64_t done;    /* changes that raised their events */
    uint64_t refused; /* changes without events, because this host changed the same names later */
    uint64_t missed;
    uint64_t restarts; /* of its process */
    uint64_t rests;    /* of changes that needed what a local process had locked */
};

/* Mounts (type fuse.coordfs, default_permissions, allow_other). Returns 0, or -errno and one clear
 * line in errmsg: -ENOENT or -ENOTDIR (mountpoint), -EBUSY (a mount of ours is there), -ENODEV (no
 * /dev/fuse) … Copies options; borrows the backend until fs_free. */
int fs_mount(const struct fs_options *options, struct backend backend, struct fs **out,
             char *errmsg, size_t errmsg_len);

/* Serves requests until the filesystem is unmounted or fs_stop is called. `ready` (may be NULL) is
 * called once, when the kernel has finished INIT: stat(mountpoint) works from then on. Returns 0 or
 * -errno. The calling thread becomes the reader thread. */
int fs_run(struct fs *fs, void (*ready)(void *arg), void *arg);

/* Makes fs_run return soon. Any thread, also a signal handler. */
void fs_stop(struct fs *fs);

/* Unmounts if still mounted, and frees. Call it after fs_run returned; the backend must not
 * complete anything any more. */
void fs_free(struct fs *fs);

/* Loop thread: commands of any host were applied. `own`: this host's session made them. Called
 * before the completions of these commands, and as soon as the backend shows their changes. Between
 * fs_changing(fs, true), shortly before that, and fs_changing(fs, false), programs are shown
 * nothing. */
void fs_changing(struct fs *fs, bool changing);
/* Takes the array (of malloc) and the changes in it. */
void fs_changed(struct fs *fs, Cfs__Change **changes, size_t n, bool own);
/* Loop thread: the whole state was replaced, so everything cached is stale. */
void fs_replaced(struct fs *fs);

/* Loop thread: a Lock of this host's session that was answered EINPROGRESS with `id` is granted.
 * Called after fs_changed of the same entry and after the completion of the Lock. */
void fs_granted(struct fs *fs, uint64_t id, uint64_t fence);
/* Loop thread: from now on this is the host's session (0: none). Everything that belongs to another
 * session is lost, above all locks. Called before the completion of any command that was carried
 * out in the new session. */
void fs_session(struct fs *fs, uint64_t session);

/* Any thread: changes these options of the mount. Requests that are waiting keep their deadline. */
void fs_reconfigure(struct fs *fs, unsigned timeout_ms, enum fs_lostlock lostlock);

/* Loop thread: a control file (leader, members, health) has new content. Wakes its pollers. `name`
 * must stay valid. */
void fs_control_changed(struct fs *fs, const char *name);
/* Loop thread: fs_changed was called for all changes up to this raft index. */
void fs_told(struct fs *fs, uint64_t index);

/* Any thread. */
void fs_mirror_status(struct fs *fs, struct fs_mirror_status *out);

/* How long names of this mount were stale after other hosts' changes were applied here. */
#define FS_DELAYS 12
#define FS_DELAY_BOUNDS_MS                                                                         \
    {                                                                                              \
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000                                             \
    }
struct fs_names_status {
    uint64_t counts[FS_DELAYS]; /* names, by the first bound that is not below; the last: longer */
    uint64_t max_ms, sum_ms;
    uint64_t stale; /* names that the kernel may still use */
    uint64_t late;  /* changes that wait until a directory is unlocked (fs/cache/lane_late.h) */
};
/* Any thread. */
void fs_names_status(struct fs *fs, struct fs_names_status *out);
/* The bound, in ms, that 99 of 100 names keep; UINT64_MAX: some take longer than all bounds. */
uint64_t fs_names_p99_ms(const struct fs_names_status *s);
extern const unsigned fs_delay_bounds_ms[FS_DELAYS - 1];

/* The number of requests that the kernel has sent. Any thread. */
uint64_t fs_requests(struct fs *fs);

/* Loop thread: true if a process of this host may have the inode open or mapped, or holds it in
 * another way: the kernel knows it. */
bool fs_is_open(struct fs *fs, uint64_t ino);

#endif
