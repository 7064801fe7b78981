/* SPDX-License-Identifier: Apache-2.0 */
/* Writeback: content that programs have written and that is not committed yet, one object per file.
 *
 * The write rule. A file must be replaced in one step, and an error must reach the program that
 * caused it. So:
 *  - A truncation to nothing (O_TRUNC, ftruncate) waits for the first write behind it.
 *  - A write that looks like one of many (whole blocks) is acknowledged and waits for more.
 *  - A short write (the end of nearly every output), an append and an O_SYNC write are acknowledged
 *    when they are committed, in one step with everything that waited before them.
 *  - The rest is committed by fsync and close, after 100 ms without a write or 1 s in all, and when
 *    a process looks at the file that does not write it. It is also committed at 8 MiB, unless the
 *    writeback is the whole future content: then it waits up to the largest size of a file. A
 *    truncation with nothing behind it is committed when the program closes the file
 *    (fs/kernel/procfd.h finds other holders), or after 1 s while there is a quorum.
 *
 * A commit becomes visible in one step on all hosts, or not at all. If it does not fit into one log
 * entry, all entries but the last one stage content (Stage in proto/command.proto), and the last
 * one, a Write, applies it. The state machine drops staged content when the session ends; the
 * writeback drops it when the commit has failed. So `cp big f` replaces f in one step if no more
 * than a second (and no 100 ms without a write) passes before it closes the file. Content that is
 * written more slowly, or that is too large for memory (WRITEBACK_MEMORY), appears in several
 * steps.
 *
 * Local readers see acknowledged content immediately: it is laid over the store's content. The
 * content of a blocked writer is invisible before its commit. All writers of a file on this host
 * share its writeback, so their writes keep their order.
 *
 * If the transport of a commit failed (no quorum in time), the write that waited for it gets the
 * error. Content that was acknowledged before is kept and tried again, without limit. Content that
 * the state machine refuses (no space) is lost: this is logged, and reported once to each handle at
 * its next write, fsync or close.
 *
 * Reader thread only. */
#ifndef FS_WRITEBACK_WRITEBACK_H
#define FS_WRITEBACK_WRITEBACK_H

#include <sys/queue.h>

#include "fs/request/request.h"
#include "fs/writeback/extents.h"

#define WRITEBACK_IDLE_MS      100
#define WRITEBACK_AGE_MS       1000
#define WRITEBACK_BYTES        (8u << 20)   /* more is committed, unless it is the whole file */
#define WRITEBACK_EXTENTS      8192         /* the same limit in every case */
#define WRITEBACK_MEMORY       (128u << 20) /* of all files: beyond it nothing may wait longer */
#define WRITEBACK_BYTES_PER_MS 4096         /* large content has the mount's timeout and this */
#define WRITEBACK_FLYING       (16u << 20)  /* bytes being committed: more must wait */
#define WRITEBACK_BLOCK        512          /* a size that is no multiple of this … */
#define WRITEBACK_MIN_FULL     4096         /* … or less than this is a short write */

struct writeback;
struct drop;

struct writebacks {
    struct writeback *table;
    LIST_HEAD(, writeback) dirty; /* those with content that is not submitted */
    uint64_t last_stage;
    LIST_HEAD(, drop) drops; /* stages that are being dropped */
    uint64_t next_due_ms; /* not later than the earliest due time; UINT64_MAX: nothing is dirty */
};

void writebacks_init(struct writebacks *ds);
void writebacks_fini(struct writebacks *ds); /* the remaining content is lost */

/* ---- Writing ---- */

struct writeback_write {
    uint64_t ino;
    int tid; /* of the writer */
    Cfs__Kill kill;
    bool append;
    uint64_t offset;
    const void *data;
    size_t len;
};

void writeback_truncate(struct fs *fs, uint64_t ino, int tid, Cfs__Kill kill);
/* True if there is room for the waiting content and this much more, in the tree and within quotas.
 * If not, a write must not wait: its commit tells whether it fits. */
bool writeback_has_room(struct fs *fs, uint64_t ino, size_t len);
/* Takes the write. True; or false if so much is being committed that r, unless it is NULL, now
 * waits for room. */
bool writeback_buffer(struct fs *fs, const struct writeback_write *w, struct request *r);
/* Commits the waiting content and the write; r ends then. If there may be no room for both, they
 * are committed separately, and acknowledged content stays; but a file is replaced as a whole or
 * not at all. */
void writeback_commit(struct fs *fs, const struct writeback_write *w, struct request *r);

/* The following writes and truncations belong to this session of the host, in which their writer
 * holds a lock: they are committed in it or not at all. 0: they belong to none. */
void writeback_bind(struct fs *fs, uint64_t ino, uint64_t session);
/* Content that belongs to the session and is not submitted is lost. */
void writeback_drop(struct fs *fs, uint64_t ino, uint64_t session);

/* ---- Committing ---- */

/* Submits everything that is not submitted. Waits for nothing and has no deadline. */
void writeback_submit(struct fs *fs, uint64_t ino);
/* The same for everything that a thread has written (not for its mere truncations). */
void writebacks_submit_of(struct fs *fs, int tid);
/* If something is being committed: true, and r ends when all of it is done (error 0), or when r is
 * given up. */
bool writeback_wait(struct fs *fs, uint64_t ino, struct request *r);

/* ---- Looking ---- */

/* True if there is uncommitted content and thread tid is none of its writers. */
bool writeback_is_foreign(struct fs *fs, uint64_t ino, int tid);
/* True if a truncation is all that is uncommitted. *tid: its thread. */
bool writeback_only_truncates(struct fs *fs, uint64_t ino, int *tid);
/* If a truncation is all that is uncommitted: true, and the writeback has it no more. The caller
 * commits it together with its own change. If that fails, the caller gives it back: it then goes
 * with the next write (a program may try again, or in another way), but not without one. *kill
 * becomes the truncation's if that clears more. */
bool writeback_take_truncate(struct fs *fs, uint64_t ino, Cfs__Kill *kill);
void writeback_keep_truncate(struct fs *fs, uint64_t ino);
bool writeback_exists(struct fs *fs, uint64_t ino);
/* Shows size, mode and the time of the last change in the attributes; the commit will have its own
 * times. True if there is uncommitted content. */
bool writeback_show(struct fs *fs, Cfs__Attr *attr);
/* As the backend's read, with uncommitted content laid over it. */
int64_t writeback_read(struct fs *fs, uint64_t ino, uint64_t offset, uint8_t *out, size_t len);
/* The error of acknowledged content that was lost since *seen: once each; 0 if there is none. */
int writeback_error(struct fs *fs, uint64_t ino, unsigned *seen);
/* A new handle gets no errors of earlier losses. */
unsigned writeback_errors(struct fs *fs, uint64_t ino);

/* ---- Time ---- */

/* The last handle of the file was closed. */
void writeback_closed(struct fs *fs, uint64_t ino);
/* Submits due content. Returns the time until there is more to do, in ms; -1: nothing. */
int writebacks_turn(struct fs *fs);
/* Submits everything. True if nothing is being committed any more. */
bool writebacks_drain(struct fs *fs);

#endif
