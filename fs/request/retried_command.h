/* SPDX-License-Identifier: Apache-2.0 */
/* A command that is sent again until it was carried out, or until its session is gone. A request
 * may wait for it, and may stop waiting.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_RETRIED_COMMAND_H
#define FS_REQUEST_RETRIED_COMMAND_H

#include "fs/request/request.h"

struct retried_command;

/* error: 0, the command's errno, or EIO if the session is gone (ENOTCONN: the daemon stops).
 * Afterwards the command is freed, and the requests that wait for it end with the same error. */
typedef void (*retried_command_done)(struct retried_command *e, int error);

struct retried_command {
    struct call call;
    struct fs *fs;
    uint64_t session; /* the host's session in which the command has a meaning */
    Cfs__Command command;
    union {
        Cfs__Unlock unlock;
        Cfs__ReleaseHandle release;
        Cfs__CancelLock cancel;
        Cfs__ReleaseEphemeral ephemeral;
    };
    uint64_t *numbers;            /* storage for `release` and `ephemeral`; owned */
    struct request_queue waiters; /* requests that end with it */
    retried_command_done done;    /* NULL: nothing else to do */
    void *arg;
};

/* Each sends the command. The reader thread owns it until it is done. */
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
