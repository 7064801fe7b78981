/* Parked requests: those of the kernel that wait for a change to be committed, or for a barrier.
 *
 * The reader thread submits them and goes on; the completion arrives on the loop thread and comes
 * back through the mailbox, and the reader thread answers. So all of a request's life is on one
 * thread, and answers leave in the order in which the changes were applied.
 *
 * Interrupts. The kernel sends INTERRUPT for any signal that the caller gets, also one that it
 * handles and that would not disturb a change on a local disk (a timer, a child's end). So the
 * answer EINTR comes only after a grace, in which nearly every change is committed; what waits for
 * another process (locks) and may wait for long is cancelled at once.
 *
 * Deadlines are the backend's (the mount option timeout). */
#ifndef FS_REQUEST_H
#define FS_REQUEST_H

#include <sys/queue.h>

#include <fuse_lowlevel.h>

#include "fs/backend.h"
#include "fs/mailbox.h"

#define REQUEST_GRACE_MS 500

struct fs;
struct request;

/* Reader thread: replies to r->req. `error` is 0 or the positive errno to answer with: of the
 * transport, or the command's status. Does not free. */
typedef void (*request_finish)(struct request *r, int error);

enum request_patience {
    REQUEST_BOUNDED, /* holds kernel locks: has the mount's deadline, and a grace */
    REQUEST_PATIENT, /* holds none: no deadline, and interrupted at once */
};

struct request {
    struct mail mail;
    LIST_ENTRY(request) link;
    struct fs *fs;
    fuse_req_t req;
    request_finish finish;
    enum request_patience patience;
    uint64_t ticket;
    uint64_t cancel_at_ms; /* 0: was not interrupted */
    bool cancelled;

    /* The outcome: of the transport, and of the command. */
    int err;
    uint32_t status;
    bool has_attr;
    Cfs__Attr attr;
    uint64_t value;

    /* For finish. */
    uint64_t ino;
    size_t count;
    int flags;
};

struct requests {
    LIST_HEAD(, request) parked;
    uint64_t next_cancel_ms; /* the earliest cancel_at_ms of those to be cancelled; UINT64_MAX */
};

void requests_init(struct requests *rs);

/* A parked request for req; submit it with one of the two below. */
struct request *request_new(struct fs *fs, fuse_req_t req, request_finish finish);
void request_submit(struct request *r, const Cfs__Command *command);
void request_barrier(struct request *r);

/* Cancels what was interrupted long enough ago. Returns the time until there is more to do, in ms;
 * -1: nothing. */
int requests_turn(struct fs *fs);

/* Answers all that are parked with errno `error`; later completions are passed over. The backend
 * must not complete anything any more. */
void requests_abandon(struct fs *fs, int error);

#endif
