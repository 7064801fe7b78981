/* SPDX-License-Identifier: Apache-2.0 */
/* Content that programs have written but that is not committed yet, one draft for each such file.
 *
 * The write rule. A file is to be replaced in one step, and an error is to reach the program that
 * caused it. So
 *  - a truncation to nothing (O_TRUNC, ftruncate) waits for the first write behind it;
 *  - a write that looks like one of many (whole blocks) is acknowledged and waits for more;
 *  - a short write, which ends nearly every output, an append and an O_SYNC write are acknowledged
 *    when they are committed, in one step with all that waited before them;
 *  - the rest is committed by fsync and close, after 100 ms without a write or 1 s in all, and as
 * soon as a process looks at the file that does not write it; also at 8 MiB, unless the draft is
 * all that the file will hold: then it waits until it is as large as a file can be. A truncation
 * with nothing behind it is committed when the program closes the file (who may hold it still:
 * fs/kernel/procfd.h), or after 1 s while there is a quorum.
 *
 * What is committed becomes visible in one step on all hosts, or not at all. If it does not fit
 * into one log entry, all entries but the last one stage it (Stage in proto/command.proto), and the
 * last, a Write, applies it; the state machine drops what was staged when the session ends, and the
 * draft when the commit has failed. So `cp big f` replaces f at once, if no more than a second (and
 * 100 ms without a write) passes before it closes the file. What is written more slowly, or by a
 * file's size too large for memory (DRAFT_MEMORY), appears in steps, each of which is a draft.
 *
 * Local readers see what was acknowledged at once: it is laid over the store's content. What a
 * writer still waits for nobody sees before it is committed. All writers of a file on this host
 * share its draft, so their writes keep their order.
 *
 * A commit whose transport failed (no quorum in time) is reported to the write that waited for it;
 * what was acknowledged before is kept and tried again, without limit. What the state machine
 * refuses (no space) is lost: logged, and reported once to each handle at its next write, fsync or
 * close.
 *
 * Reader thread only. */
#ifndef FS_WRITEBACK_WRITEBACK_H
#define FS_WRITEBACK_WRITEBACK_H

#include <sys/queue.h>

#include "fs/request/request.h"
#include "fs/writeback/extents.h"

#define WRITEBACK_IDLE_MS 100
#define WRITEBACK_AGE_MS  1000
#define WRITEBACK_BYTES   (8u << 20) /* waiting: more is committed, unless it is the whole file */
#define WRITEBACK_EXTENTS 8192       /* the same, whatever it is */
#define WRITEBACK_MEMORY                                                                           \
    (128u << 20)                    /* all drafts together: more, and no draft has an exception    \
                                     */
#define WRITEBACK_BYTES_PER_MS 4096 /* much content has more time: the mount's timeout and this */
#define WRITEBACK_FLYING       (16u << 20) /* on their way to be committed: more has to wait */
#define WRITEBACK_BLOCK        512         /* what is no multiple of it … */
#define WRITEBACK_MIN_FULL     4096        /* … or less than this is a short write */

struct writeback;
struct drop;

struct writebacks {
    struct writeback *table;
    LIST_HEAD(, writeback) dirty; /* with something that is not submitted */
    uint64_t last_stage;
    LIST_HEAD(, drop) drops; /* stages that are being dropped */
    uint64_t next_due_ms;    /* not later than the earliest is due; UINT64_MAX: nothing dirty */
};

void writebacks_init(struct writebacks *ds);
void writebacks_fini(struct writebacks *ds); /* what is left is lost */

/* ---- Writing ---- */

struct writeback_write {
    uint64_t ino;
    int tid; /* of the writer */
    bool kill_suid;
    bool append;
    uint64_t offset;
    const void *data;
    size_t len;
};

void writeback_truncate(struct fs *fs, uint64_t ino, int tid, bool kill_suid);
/* Is there room for what waits and this much more, in the tree and within quotas? If there is not,
 * a write must not wait: whether it fits is told by its commit. */
bool writeback_has_room(struct fs *fs, uint64_t ino, size_t len);
/* Takes the write into the draft. True; false when so much is on its way that r, if it is not NULL,
 * now waits for room. */
bool writeback_buffer(struct fs *fs, const struct writeback_write *w, struct request *r);
/* Commits the draft and the write; r ends then. Where there may be no room for both, they go apart,
 * and what was acknowledged stays; but a file is replaced as a whole, or not at all. */
void writeback_commit(struct fs *fs, const struct writeback_write *w, struct request *r);

/* What is written or truncated next is part of this session of the host's, in which its writer
 * holds a lock: it is committed in it, or not at all. 0: it is part of none. */
void writeback_bind(struct fs *fs, uint64_t ino, uint64_t session);
/* What is part of the session and not submitted is lost. */
void writeback_drop(struct fs *fs, uint64_t ino, uint64_t session);

/* ---- Committing ---- */

/* Submits what is not submitted. Waits for nothing and has no deadline. */
void writeback_submit(struct fs *fs, uint64_t ino);
/* The same for all that a thread has written (not for what it only truncated). */
void writebacks_submit_of(struct fs *fs, int tid);
/* If something is on its way: true, and r ends when none of it is any more (error 0), or when r is
 * given up. */
bool writeback_wait(struct fs *fs, uint64_t ino, struct request *r);

/* ---- Looking ---- */

/* Is there something uncommitted, and thread tid none of those who write the file? */
bool writeback_is_foreign(struct fs *fs, uint64_t ino, int tid);
/* Nothing uncommitted but a truncation? Who did it in *tid. */
bool writeback_only_truncates(struct fs *fs, uint64_t ino, int *tid);
/* If there is nothing uncommitted but a truncation: true, and the draft has it no more. The caller
 * commits it with what follows it, or, if that fails, gives it back: to go with the next write (a
 * program may try again, or in another way), but not without one. *kill_suid is set if it has that
 * to do. */
bool writeback_take_truncate(struct fs *fs, uint64_t ino, bool *kill_suid);
void writeback_keep_truncate(struct fs *fs, uint64_t ino);
bool writeback_exists(struct fs *fs, uint64_t ino);
/* Shows the draft's size in the attributes, and when it was changed: its commit will have times of
 * its own. True when there is a draft. */
bool writeback_show(struct fs *fs, Cfs__Attr *attr);
/* As the backend's read, with drafts laid over it. */
int64_t writeback_read(struct fs *fs, uint64_t ino, uint64_t offset, uint8_t *out, size_t len);
/* The error of acknowledged content that was lost since *seen: once each; 0 when there is none. */
int writeback_error(struct fs *fs, uint64_t ino, unsigned *seen);
/* A new handle has not caused what was lost before. */
unsigned writeback_errors(struct fs *fs, uint64_t ino);

/* ---- Time ---- */

/* The last handle of the file was closed. */
void writeback_closed(struct fs *fs, uint64_t ino);
/* Submits what is due; the time until there is more to do, in ms; -1: nothing. */
int writebacks_turn(struct fs *fs);
/* Submits everything. True when nothing is on its way any more. */
bool writebacks_drain(struct fs *fs);

#endif
