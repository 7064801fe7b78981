/* SPDX-License-Identifier: Apache-2.0 */
/* The feed: .coordfs/events and .coordfs/log.
 *
 * A reader of events has a cursor in the replicated history, not a queue. A slow reader delays
 * no other process and costs no memory, but it can fall off the end of the history. Then it reads
 * one last line, {"error":"compacted","oldest":INDEX}, and ESTALE after that. A read that finds
 * nothing is parked until there are new changes.
 *
 * The log has the same lines as one growing file. The state machine counts the bytes of all lines
 * ever, so each line has its position. The file of this mount begins with the oldest line that was
 * kept when a process first read it; a line that was deleted since reads as an empty line.
 *
 * Reader thread only. */
#ifndef FS_CONTROL_EVENTS_H
#define FS_CONTROL_EVENTS_H

#include "base/buf.h"
#include "base/mailbox.h"
#include "fs/request/request.h"

struct vdir_handle;
struct events_watch;

struct events {
    uint64_t after; /* the number of the last change that was examined */
    bool text;
    bool lost;  /* the next change is not kept any more */
    bool ended; /* and the reader has been told so */
    struct events_watch *watches;
    unsigned n_watches; /* 0: everything */
    struct buf out;     /* lines that were made, */
    size_t at;          /* and how far they were read */
};

struct events_all {
    struct request_queue waiting; /* parked reads that found nothing to read */
    struct mail again;            /* a search must continue */
    bool posted;
    struct fs *fs;
    bool based;
    uint64_t base; /* start of the log, in bytes of all lines */
};

void events_init(struct fs *fs);
void events_open(struct fs *fs, struct events *f); /* only changes from now on */
void events_close(struct events *f);
void events_read(fuse_req_t req, struct vdir_handle *h, size_t size, int flags);
bool events_is_ready(struct fs *fs, struct events *f);
void events_ioctl(fuse_req_t req, struct events *f, const void *in, size_t in_size);
void events_news(struct fs *fs);

uint64_t events_log_size(struct fs *fs);
void events_log_read(fuse_req_t req, size_t size, uint64_t offset);

#endif
