/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests: those of the kernel that cannot be answered yet, because they wait for a change
 * to be committed, for a barrier, or for another request's change.
 *
 * Interrupts. The kernel sends INTERRUPT for any signal that the caller gets, also one that it
 * handles and that would not disturb a change on a local disk (a timer, a child's end). So who
 * holds kernel locks is cancelled only after a grace, in which nearly every change is committed;
 * who may wait for long is cancelled at once.
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

/* Replies to r->req. `error` is 0 or the positive errno to answer with. Does not free. */
typedef void (*request_finish)(struct request *r, int error);

enum request_patience {
    REQUEST_BOUNDED, /* holds kernel locks: has the mount's deadline, and a grace */
    REQUEST_PATIENT, /* holds none: no deadline, and interrupted at once */
};

TAILQ_HEAD(request_queue, request);

struct request {
    struct call call; /* its outcome is there for finish */
    LIST_ENTRY(request) link;
    TAILQ_ENTRY(request) wait_link;
    struct request_queue *queue; /* that it waits in; NULL: for its call */
    struct fs *fs;
    fuse_req_t req;
    request_finish finish;
    enum request_patience patience;
    bool interrupted;
    uint64_t due_ms;  /* when it is given up; 0: never */
    uint64_t session; /* of the host, in which its command means something; 0: in any */
    /* What giving up means for one that waits in a queue; NULL: it leaves the queue and ends. */
    void (*give_up)(struct request *r, int error);

    /* For finish. */
    uint64_t ino;
    uint64_t dirs[2]; /* directories, or files, that the kernel keeps locked until we answer */
    uint64_t fh;
    size_t count;
    int flags;
    uint32_t mode;
    uint64_t names[2]; /* that it is about (rewalk_hash); 0: none */
    char *name;        /* its own, freed with it */
    void *own;         /* the same */
};

struct requests {
    LIST_HEAD(, request) parked;
    uint64_t next_due_ms; /* not later than the earliest due_ms; UINT64_MAX: none */
};

void requests_init(struct requests *rs);

/* A parked request for req; then one of the three below. */
struct request *request_new(struct fs *fs, fuse_req_t req, request_finish finish);
/* The same request's next wait, from within r's finish: what r had for its finish goes over to it.
 */
struct request *request_next(struct request *r, request_finish finish);
void request_submit(struct request *r, const Cfs__Command *command);
void request_barrier(struct request *r);
/* Waits in a queue until it is woken. */
void request_wait(struct request *r, struct request_queue *queue);

/* Gives it up then, if not earlier. */
void request_due(struct request *r, uint64_t due_ms);

/* Takes it out of its queue, if it is in one, and finishes it. */
void request_end(struct request *r, int error);
/* Ends all that wait in the queue. */
void request_wake(struct request_queue *queue, int error);

void requests_move(struct request_queue *from, struct request_queue *to); /* all that wait */
/* Does the kernel hold the lock of this inode, for the sake of a parked request? */
bool requests_hold(struct fs *fs, uint64_t ino);

/* Gives up what is due. Returns the time until there is more to do, in ms; -1: nothing. */
int requests_turn(struct fs *fs);

/* Answers all that are parked with errno `error`. The backend must not complete anything any
 * more. */
void requests_abandon(struct fs *fs, int error);

#endif
