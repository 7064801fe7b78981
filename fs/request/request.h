/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests: requests of the kernel that cannot be answered yet, because they wait for a
 * change to be committed, for a barrier, or for another request's change.
 *
 * Interrupts. The kernel sends INTERRUPT for any signal of the caller, also for a handled one that
 * would not disturb a change on a local disk (a timer, a child's end). So a request that holds
 * kernel locks is cancelled only after a grace period, in which nearly every change is committed. A
 * request that may wait long is cancelled immediately.
 *
 * Reader thread only. */
#ifndef FS_REQUEST_REQUEST_H
#define FS_REQUEST_REQUEST_H

#include <sys/queue.h>

#include <fuse_lowlevel.h>

#include "fs/request/call.h"

#define REQUEST_GRACE_MS 500

struct fs;
struct request;

/* Replies to r->req. `error`: 0 or the positive errno of the answer. Does not free. */
typedef void (*request_finish)(struct request *r, int error);

enum request_patience {
    REQUEST_BOUNDED, /* holds kernel locks: has the mount's deadline and a grace period */
    REQUEST_PATIENT, /* holds none: no deadline, interrupted immediately */
};

TAILQ_HEAD(request_queue, request);

struct request {
    struct call call; /* its outcome is valid in finish */
    LIST_ENTRY(request) link;
    TAILQ_ENTRY(request) wait_link;
    struct request_queue *queue; /* the queue in which it waits; NULL: it waits for its call */
    struct fs *fs;
    fuse_req_t req;
    request_finish finish;
    enum request_patience patience;
    bool interrupted;
    uint64_t due_ms;  /* its deadline; 0: none */
    uint64_t session; /* the host's session in which its command has a meaning; 0: any */
    /* How to give up a request that waits in a queue. NULL: it leaves the queue and ends. */
    void (*give_up)(struct request *r, int error);

    /* For finish. */
    uint64_t ino;
    uint64_t dirs[2]; /* inodes that the kernel keeps locked until the answer */
    uint64_t fh;
    size_t count;
    int flags;
    uint32_t mode;
    uint64_t names[2]; /* hash of the name that it is about (rewalk_hash); 0: none */
    char *name;        /* owned, freed with the request */
    void *own;         /* owned, freed with the request */
};

struct requests {
    LIST_HEAD(, request) parked;
    uint64_t next_due_ms; /* not later than the earliest deadline; UINT64_MAX: none */
};

void requests_init(struct requests *rs);

/* Parks req; one of the three functions below must follow. */
struct request *request_new(struct fs *fs, fuse_req_t req, request_finish finish);
/* The next wait of the same request, from within r's finish. Moves r's data for finish to it. */
struct request *request_next(struct request *r, request_finish finish);
void request_submit(struct request *r, const Cfs__Command *command);
void request_barrier(struct request *r);
/* Waits in a queue until it is woken. */
void request_wait(struct request *r, struct request_queue *queue);

/* Gives the request up at that time, if not earlier. */
void request_due(struct request *r, uint64_t due_ms);

/* Takes the request out of its queue, if it is in one, and finishes it. */
void request_end(struct request *r, int error);
/* Ends all requests of the queue. */
void request_wake(struct request_queue *queue, int error);

void requests_move(struct request_queue *from, struct request_queue *to); /* all that wait */
/* True if the kernel holds the lock of this inode for a parked request. */
bool requests_hold(struct fs *fs, uint64_t ino);

/* Gives up due requests. Returns the time until the next one, in ms; -1: none. */
int requests_turn(struct fs *fs);

/* Answers all parked requests with errno `error`. The backend must not complete anything any more.
 */
void requests_abandon(struct fs *fs, int error);

#endif
