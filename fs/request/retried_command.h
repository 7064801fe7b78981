/* SPDX-License-Identifier: Apache-2.0 */
/* A command that nobody gives up: it is sent again until it was carried out, or until its session
 * is gone. Whoever wants to know may wait for it, and may stop waiting.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_RETRIED_COMMAND_H
#define FS_REQUEST_RETRIED_COMMAND_H

#include "fs/request/request.h"

struct retried_command;

/* error: 0, the command's errno, or EIO when the session is gone (ENOTCONN: the daemon stops). The
 * errand is freed, and those who wait for it end with the same error, afterwards. */
typedef void (*retried_command_done)(struct retried_command *e, int error);

struct retried_command {
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
    retried_command_done done;    /* NULL: nothing else to do */
    void *arg;
};

/* Each sends the command. The errand is the reader's until it is done. */
struct retried_command *retried_command_unlock(struct fs *fs, uint64_t session,
                                               const Cfs__Unlock *unlock,
                                               retried_command_done done);
struct retried_command *retried_command_release(struct fs *fs, uint64_t session,
                                                const uint64_t *handles, size_t n,
                                                retried_command_done done);
struct retried_command *retried_command_cancel(struct fs *fs, uint64_t session, uint64_t id,
                                               retried_command_done done, void *arg);
struct retried_command *retried_command_ephemeral(struct fs *fs, uint64_t session, uint64_t ino);

#endif
