/* SPDX-License-Identifier: Apache-2.0 */
/* One change or barrier on its way through the backend. The reader thread submits it, the loop
 * thread completes it, and the mailbox brings it back to the reader thread. So one thread submits
 * and goes on, and calls come back in the order in which the changes were applied.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_CALL_H
#define FS_REQUEST_CALL_H

#include "base/buf.h"
#include "base/mailbox.h"
#include "fs/backend.h"

struct fs;
struct call;

typedef void (*call_fn)(struct call *c); /* may free the call */

struct call { /* embedded; the outcome is valid from `done` on */
    struct mail mail;
    struct fs *fs;
    call_fn done;
    uint64_t ticket;
    uint64_t serial;    /* 1, 2, 3 … in the order of submission */
    uint64_t signature; /* signature of the change: fs/request/lost.h */
    int err;            /* of the transport: 0 or -errno */
    uint32_t status;    /* of the command: 0 or errno */
    uint64_t value;
    bool has_attr;
    Cfs__Attr attr;
    bool keep_reply;  /* set before the call: the whole reply is wanted */
    struct buf reply; /* packed; freed by the caller that asked for it */
};

/* Commands that features submit before another command, so that the state machine carries them out
 * first. fs.c sets fs.call_hooks; a hook may submit commands itself. */
struct call_hooks {
    void (*before_submit)(struct fs *fs); /* any command */
    void (*before_change)(struct fs *fs,
                          int tid); /* a change that a request of thread tid asks for */
};

/* The command is borrowed for the call. timeout_ms 0: no deadline. */
void call_submit(struct fs *fs, struct call *c, const Cfs__Command *command, unsigned timeout_ms,
                 call_fn done);
/* The same in this session of the host or not at all (backend_ops.submit_in); 0: in any session. */
void call_submit_in(struct fs *fs, struct call *c, uint64_t session, const Cfs__Command *command,
                    unsigned timeout_ms, call_fn done);
void call_barrier(struct fs *fs, struct call *c, unsigned timeout_ms, call_fn done);
/* Asks for an early end: done follows, with -EINTR or with an outcome that was faster. */
void call_cancel(struct call *c);

/* The errno for the program: 0 or positive. */
int call_error(const struct call *c);
/* The transport failed: it is unknown whether the change was or will be made. */
bool call_uncertain(const struct call *c);

#endif
