/* SPDX-License-Identifier: Apache-2.0 */
/* The feed: .coordfs/events and .coordfs/log.
 *
 * A reader of events has a cursor in the replicated history, not a queue: however slow it is, it
 * holds nobody up and costs no memory, but it can fall off the history's end. Then it reads a last
 * line, {"error":"compacted","oldest":INDEX}, and ESTALE from then on. A read that finds nothing is
 * parked until there are news.
 *
 * The log is the same lines as one file that only grows: each has its place among the bytes of all
 * lines ever, counted by the state machine. This mount's file begins with what was kept when it was
 * first looked at; what has been deleted since reads as empty lines.
 *
 * Reader thread only. */
#ifndef FS_CONTROL_EVENTS_H
#define FS_CONTROL_EVENTS_H

#include "base/buf.h"
#include "fs/request/mailbox.h"
#include "fs/request/request.h"

struct vdir_handle;
struct events_watch;

struct events {
    uint64_t after; /* the number of the last change that was looked at */
    bool text;
    bool lost;  /* the next change is not kept any more */
    bool ended; /* and that was told */
    struct events_watch *watches;
    unsigned n_watches; /* 0: everything */
    struct buf out;     /* lines made, */
    size_t at;          /* and read up to here */
};

struct events_all {
    struct request_queue waiting; /* reads without anything to read yet */
    struct mail again;            /* a search is to go on */
    bool posted;
    struct fs *fs;
    bool based;
    uint64_t base; /* of the log, in bytes of all lines */
};

void events_init(struct fs *fs);
void events_open(struct fs *fs, struct events *f); /* from now on */
void events_close(struct events *f);
void events_read(fuse_req_t req, struct vdir_handle *h, size_t size, int flags);
bool events_is_ready(struct fs *fs, struct events *f);
void events_ioctl(fuse_req_t req, struct events *f, const void *in, size_t in_size);
void events_news(struct fs *fs);

uint64_t events_log_size(struct fs *fs);
void events_log_read(fuse_req_t req, size_t size, uint64_t offset);

#endif
