/* SPDX-License-Identifier: Apache-2.0 */
/* What the filesystem needs of the system below it: reads, which are answered at once from a
 * snapshot of the local state, and changes, which are submitted and answered later.
 * daemon/backend.c is behind it in production; tests implement it in memory. */
#ifndef FS_BACKEND_H
#define FS_BACKEND_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/feed.h"

/* err: 0 or -errno (-EINTR cancelled, -ETIMEDOUT, -ESTALE session lost, -ESHUTDOWN …) of the
 * transport; the command's own outcome is reply->status. reply is borrowed and NULL when err != 0.
 * Called exactly once, on the loop thread, never from within submit. */
typedef void (*backend_done)(void *arg, int err, const Cfs__Reply *reply);

struct backend_entry {
    uint64_t cookie;  /* > 0; position after this entry */
    const char *name; /* not terminated; borrowed for the call */
    size_t name_len;
    uint64_t ino;
    uint32_t type;         /* S_IFMT bits */
    const Cfs__Attr *attr; /* NULL unless asked for */
};

struct backend_usage {
    uint64_t inodes;
    uint64_t bytes;
    uint64_t max_inodes;
    uint64_t max_bytes;
};

/* A lock that stands in the way of another (F_GETLK). */
struct backend_lock {
    uint64_t session; /* whose */
    uint64_t start;
    uint64_t end; /* inclusive */
    bool write;
    uint32_t pid; /* on its session's host */
};

/* What has become of a request for a lock that was answered EINPROGRESS. */
enum backend_wait {
    BACKEND_WAITS,
    BACKEND_GRANTED,
    BACKEND_GONE, /* neither */
};

/* What a control file shows now. Belongs to the backend from control() until done(), which comes
 * once, on the loop thread, or never when the system below has stopped before. */
struct backend_control {
    const char *name;   /* of the file; borrowed until done */
    struct buf content; /* for done to take */
    void (*done)(struct backend_control *c);
    void *ctx; /* the backend's */
};

/* The changes that are kept of the history (proto/feed.h). */
struct backend_past {
    uint64_t first; /* numbers; first is last + 1 when there are none */
    uint64_t last;
    uint64_t oldest; /* index of the first; 0 when there is none */
    uint64_t start;  /* bytes of all lines before the first, and of all lines ever */
    uint64_t end;
};

struct backend {
    void *ctx;
    const struct backend_ops *ops;
};

struct backend_ops {
    /* ---- Reads: the FUSE reader thread only; never wait. 0, a length, or -errno; -ESTALE when
     * there is no such inode. ----
     */
    int (*attr)(void *ctx, uint64_t ino, Cfs__Attr *out);
    int (*lookup)(void *ctx, uint64_t parent, const char *name, size_t len, Cfs__Attr *out);
    int64_t (*readlink)(void *ctx, uint64_t ino, char *out, size_t size);
    int64_t (*read)(void *ctx, uint64_t ino, uint64_t offset, void *out, size_t len);
    /* SEEK_DATA, or SEEK_HOLE if `hole`; -ENXIO as lseek(2). */
    int64_t (*seek)(void *ctx, uint64_t ino, uint64_t offset, bool hole);
    int64_t (*getxattr)(void *ctx, uint64_t ino, const char *name, size_t name_len, void *out,
                        size_t size);
    int64_t (*listxattr)(void *ctx, uint64_t ino, char *out, size_t size);
    /* Entries with cookie > after, in order; fn returns false to stop. No "." and "..". */
    int (*readdir)(void *ctx, uint64_t ino, uint64_t after, bool attrs,
                   bool (*fn)(void *arg, const struct backend_entry *entry), void *arg);
    int (*usage)(void *ctx, struct backend_usage *out);
    /* How many bytes may be added to a file's content before something is full. */
    int64_t (*room)(void *ctx, uint64_t ino);
    /* fn for each name of the inode, until it returns false; name is borrowed for the call. */
    int (*names)(void *ctx, uint64_t ino,
                 bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                 void *arg);
    /* A directory's path from the root ("/…", terminated); its length or -errno. */
    int64_t (*path)(void *ctx, uint64_t ino, char *out, size_t size);
    /* The raft index that reads are as of. */
    uint64_t (*applied)(void *ctx);
    /* 1 and the lock that keeps the session's owner from what is asked for; 0: none. */
    int (*getlk)(void *ctx, uint64_t session, const Cfs__Lock *asked, struct backend_lock *out);
    /* The latest fencing token of the session's locks of the file; -ENODATA: it holds none. */
    int (*fence)(void *ctx, uint64_t session, uint64_t ino, uint64_t *out);
    /* enum backend_wait, with the token in *fence when it was granted. */
    int (*wait_state)(void *ctx, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                      uint64_t *fence);
    /* Does the session's owner hold anything of the range asked for? */
    bool (*holds_some)(void *ctx, uint64_t session, const Cfs__Lock *asked);
    /* ReleaseEphemeral would remove it: it is ephemeral=open, and goes with this session. */
    bool (*ends_with_open)(void *ctx, uint64_t session, uint64_t ino);

    /* ---- Changes: any thread. -------------------------------------------------------------------
     */
    /* Submits the command (borrowed for the call: it is packed at once). timeout_ms 0: no deadline.
     * Returns a ticket > 0 for cancel. */
    uint64_t (*submit)(void *ctx, const Cfs__Command *command, unsigned timeout_ms,
                       backend_done done, void *arg);
    /* The same, but it is carried out in this session of the host's or not at all: -ESTALE, as soon
     * as the host has another one. NULL: as submit. */
    uint64_t (*submit_in)(void *ctx, uint64_t session, const Cfs__Command *command,
                          unsigned timeout_ms, backend_done done, void *arg);
    /* Completes when this host has everything that was committed anywhere before the call (P6). */
    uint64_t (*barrier)(void *ctx, unsigned timeout_ms, backend_done done, void *arg);
    /* done(-EINTR) follows soon unless it was done before. */
    void (*cancel)(void *ctx, uint64_t ticket);
    /* Would a change probably be committed soon: is there a leader that has its quorum? Never
     * waits. NULL: always. */
    bool (*has_quorum)(void *ctx);
    /* The host's session while its lease holds, at this very moment (CLOCK_BOOTTIME); 0: there is
     * none, or it may have been expired. Never waits. Any thread. NULL: always 1. */
    uint64_t (*session)(void *ctx);

    /* ---- The control directory and the feed (fs/control/vdir.h): the FUSE reader thread only;
     * never wait. control NULL: there is none of them. ---- */
    void (*control)(void *ctx, struct backend_control *c);
    int (*past)(void *ctx, struct backend_past *out);
    /* Changes with a number > after, in order; fn returns false to stop. -ESTALE: the next one is
     * not kept any more. */
    int (*past_after)(void *ctx, uint64_t after,
                      bool (*fn)(void *arg, const struct feed_change *change), void *arg);
    /* The number of the last change with an index <= index; whose line ends at offset or before.
     * -ESTALE: what comes next is not kept any more. */
    int (*past_since)(void *ctx, uint64_t index, uint64_t *out);
    int (*past_at)(void *ctx, uint64_t offset, uint64_t *out);
};

static inline bool backend_has_quorum(const struct backend *b)
{
    return b->ops->has_quorum == NULL || b->ops->has_quorum(b->ctx);
}

#endif
