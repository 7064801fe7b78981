/* SPDX-License-Identifier: Apache-2.0 */
/* The contract between the filesystem and the system below it. Reads are answered immediately from
 * a snapshot of the local state; changes are submitted and answered later. daemon/backend.c
 * implements it in production; tests implement it in memory. */
#ifndef FS_BACKEND_H
#define FS_BACKEND_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/feed.h"

/* err: 0, or -errno of the transport (-EINTR cancelled, -ETIMEDOUT, -ESTALE session lost,
 * -ESHUTDOWN …). The outcome of the command itself is reply->status. reply is borrowed, and NULL if
 * err != 0. Called exactly once, on the loop thread, never from within submit. */
typedef void (*backend_done)(void *arg, int err, const Cfs__Reply *reply);

struct backend_entry {
    uint64_t cookie;  /* > 0; the position after this entry */
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

/* A lock that conflicts with the one that is asked for (F_GETLK). */
struct backend_lock {
    uint64_t session; /* the holder's */
    uint64_t start;
    uint64_t end; /* inclusive */
    bool write;
    uint32_t pid; /* on the host of the session */
};

/* The state of a lock request that was answered EINPROGRESS. */
enum backend_wait {
    BACKEND_WAITS,
    BACKEND_GRANTED,
    BACKEND_GONE, /* neither */
};

/* A request for the content of a control file. Belongs to the backend from control() until done().
 * done() comes once, on the loop thread; it never comes if the system below has stopped first. */
struct backend_control {
    const char *name;   /* name of the file; borrowed until done */
    struct buf content; /* the content; done may take it */
    void (*done)(struct backend_control *c);
    void *ctx; /* private to the backend */
};

/* The part of the history that is kept (proto/feed.h). */
struct backend_past {
    uint64_t first; /* numbers; first is last + 1 if nothing is kept */
    uint64_t last;
    uint64_t oldest; /* index of the first; 0 if nothing is kept */
    uint64_t start;  /* bytes of all lines before the first, and of all lines ever */
    uint64_t end;
};

struct backend {
    void *ctx;
    const struct backend_ops *ops;
};

struct backend_ops {
    /* ---- Reads: the FUSE reader thread only; they never wait. Return 0, a length, or -errno;
     * -ESTALE if the inode does not exist. ---- */
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
    /* The number of bytes that may be added to a file's content before a limit is reached. */
    int64_t (*room)(void *ctx, uint64_t ino);
    /* fn for each name of the inode, until it returns false; name is borrowed for the call. */
    int (*names)(void *ctx, uint64_t ino,
                 bool (*fn)(void *arg, uint64_t parent, const char *name, size_t name_len),
                 void *arg);
    /* A directory's path from the root ("/…", terminated); returns its length or -errno. */
    int64_t (*path)(void *ctx, uint64_t ino, char *out, size_t size);
    /* The raft index of the state that reads show. */
    uint64_t (*applied)(void *ctx);
    /* 1 and the lock that conflicts with the session owner's request; 0: none. */
    int (*getlk)(void *ctx, uint64_t session, const Cfs__Lock *asked, struct backend_lock *out);
    /* The newest fencing token of the session's locks of the file; -ENODATA: it holds none. */
    int (*fence)(void *ctx, uint64_t session, uint64_t ino, uint64_t *out);
    /* enum backend_wait; *fence is the token if the lock was granted. */
    int (*wait_state)(void *ctx, uint64_t session, uint64_t id, const Cfs__Lock *asked,
                      uint64_t *fence);
    /* True if the session's owner holds a lock in the range. */
    bool (*holds_some)(void *ctx, uint64_t session, const Cfs__Lock *asked);
    /* True if ReleaseEphemeral would remove the entry: it is ephemeral=open and belongs to this
     * session. */
    bool (*ends_with_open)(void *ctx, uint64_t session, uint64_t ino);

    /* ---- Changes: any thread. ---- */
    /* Submits the command (borrowed for the call: it is packed immediately). timeout_ms 0: no
     * deadline. Returns a ticket > 0 for cancel. */
    uint64_t (*submit)(void *ctx, const Cfs__Command *command, unsigned timeout_ms,
                       backend_done done, void *arg);
    /* The same, but the command is carried out in this session of the host or not at all: -ESTALE
     * as soon as the host has another session. NULL: as submit. */
    uint64_t (*submit_in)(void *ctx, uint64_t session, const Cfs__Command *command,
                          unsigned timeout_ms, backend_done done, void *arg);
    /* Completes when this host has everything that was committed anywhere before the call (promise
     * 6). */
    uint64_t (*barrier)(void *ctx, unsigned timeout_ms, backend_done done, void *arg);
    /* done(-EINTR) follows soon, unless done was called already. */
    void (*cancel)(void *ctx, uint64_t ticket);
    /* True if a change would probably be committed soon: there is a leader that has its quorum.
     * Never waits. NULL: always true. */
    bool (*has_quorum)(void *ctx);
    /* The host's session while its lease holds at this very moment (CLOCK_BOOTTIME); 0: there is no
     * session, or it may have expired. Never waits. Any thread. NULL: always 1. */
    uint64_t (*session)(void *ctx);

    /* ---- The control directory and the feed (fs/control/vdir.h): the FUSE reader thread only;
     * they never wait. control NULL: neither exists. ---- */
    void (*control)(void *ctx, struct backend_control *c);
    int (*past)(void *ctx, struct backend_past *out);
    /* Changes with a number > after, in order; fn returns false to stop. -ESTALE: the next change
     * is not kept any more. */
    int (*past_after)(void *ctx, uint64_t after,
                      bool (*fn)(void *arg, const struct feed_change *change), void *arg);
    /* The number of the last change with an index <= index, or whose line ends at offset or before.
     * -ESTALE: the change after it is not kept any more. */
    int (*past_since)(void *ctx, uint64_t index, uint64_t *out);
    int (*past_at)(void *ctx, uint64_t offset, uint64_t *out);
};

static inline bool backend_has_quorum(const struct backend *b)
{
    return b->ops->has_quorum == NULL || b->ops->has_quorum(b->ctx);
}

#endif
