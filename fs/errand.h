/* A command that nobody gives up: it is sent again until it was carried out, or until its session
 * is gone. Whoever wants to know may wait for it, and may stop waiting.
 *
 * Reader thread only. */
#ifndef FS_ERRAND_H
#define FS_ERRAND_H

#include "fs/request.h"

struct errand;

/* error: 0, the command's errno, or EIO when the session is gone (ENOTCONN: the daemon stops). The
 * errand is freed, and those who wait for it end with the same error, afterwards. */
typedef void (*errand_done)(struct errand *e, int error);

struct errand {
    struct call call;
    struct fs *fs;
    uint64_t session; /* of the host, in which it means something */
    Cfs__Command command;
    union {
        Cfs__Unlock unlock;
        Cfs__ReleaseHandle release;
        Cfs__CancelLock cancel;
        Cfs__ReleaseEphemeral ephemeral;
    };
    uint64_t *numbers;            /* what `release` and `ephemeral` point to; its own */
    struct request_queue waiters; /* end with it */
    errand_done done;             /* NULL: nothing else to do */
    void *arg;
};

/* Each sends the command. The errand is the reader's until it is done. */
struct errand *errand_unlock(struct fs *fs, uint64_t session, const Cfs__Unlock *unlock,
                             errand_done done);
struct errand *errand_release(struct fs *fs, uint64_t session, const uint64_t *handles, size_t n,
                              errand_done done);
struct errand *errand_cancel(struct fs *fs, uint64_t session, uint64_t id, errand_done done,
                             void *arg);
struct errand *errand_ephemeral(struct fs *fs, uint64_t session, uint64_t ino);

#endif
