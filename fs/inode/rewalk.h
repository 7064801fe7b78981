/* SPDX-License-Identifier: Apache-2.0 */
/* Threads whose system call walks its path again, because a request of theirs was answered ESTALE:
 * what they were told, and what they look up on the way.
 *
 * Theory of operation. A request about a name may fail because the kernel still believes what was
 * true before another host's change (it asked to remove a name that is gone, to make one that is
 * there). If the program got that error right away, it would know more than its kernel: the next
 * call would go by the old name, into the wrong file. The name cannot be forgotten before the
 * reply, as the request holds the lock of the directory. So the request is answered ESTALE: the
 * kernel walks the path again and asks for every name of it. Most often it finds the error itself
 * then. If the request comes again and fails again, the program gets the error; what the kernel
 * believes of the name is valid for no time then, so the kernel asks for it at the next use.
 * The same is done wherever ESTALE is answered: an OPEN by an old name, a removed directory, a file
 * that is being moved (fs/cache/moved.h).
 *
 * A second ESTALE would be the result of the system call. Three rules avoid it:
 *   - A thread that has looked a name up on its new way may get any error about it.
 *   - The inode that it found there may be opened, even if an older name of it still waits for
 *     invalidation, or if the next file has taken its place since: a name that is replaced is never
 *     absent. The inode is not reaped until it is open.
 *   - A thread that came another way (a working directory, /proc/PID/fd) asks about the same inode
 *     again at once. It insists, and gets the answer of a local filesystem.
 *
 * A record lasts from the ESTALE to the end of the call as far as it is seen here (rewalk_end,
 * rewalk_open), or REWALK_MS. Until then, what the thread looks up is remembered, and every answer
 * about these names, to whichever thread, is valid for no time.
 *
 * Limit: REWALK_MAX threads at the same time, the last REWALK_STEPS names of each path.
 *
 * Reader thread only, except rewalk_holds. */
#ifndef FS_INODE_REWALK_H
#define FS_INODE_REWALK_H

#include <pthread.h>

#include "base/base.h"

#define REWALK_MAX   128
#define REWALK_STEPS 16
#define REWALK_MS    10000 /* time that the kernel may take to come back: it waits for locks */

struct rewalk_step {
    uint64_t name; /* hash of the name; 0: none */
    uint64_t ino;  /* inode that was found; 0: none */
};

struct rewalk {
    int tid;           /* 0: unused, but `found` may still be held */
    uint64_t end_ms;   /* valid until then */
    bool told;         /* the thread was answered ESTALE */
    bool misled;       /* its rename got such an answer */
    uint64_t expected; /* hash of the name that a rename asks for again; 0: none */
    uint64_t about;    /* inode that the ESTALE was about; 0: it was about a name */
    uint64_t found;    /* where the last look-up led; 0: nowhere */
    struct rewalk_step steps[REWALK_STEPS];
    unsigned next_step;
};

struct rewalks {
    pthread_mutex_t lock; /* of `found` and `end_ms` of the records, which other threads read */
    struct rewalk threads[REWALK_MAX];
    unsigned next;
    uint64_t end_ms; /* of the last record */
};

void rewalks_init(struct rewalks *w);
void rewalks_fini(struct rewalks *w);

/* Hash of the name in directory `parent`; never 0. */
uint64_t rewalk_hash(uint64_t parent, const char *name);

/* Thread tid is answered ESTALE in a request about inode `about`; 0: about a name. */
void rewalk_told(struct rewalks *w, int tid, uint64_t about);
/* The thread is told where the name leads; 0: nowhere. */
void rewalk_note(struct rewalks *w, int tid, uint64_t name, uint64_t ino);
/* The thread's call is over, or has its final answer. */
void rewalk_end(struct rewalks *w, int tid);
/* The thread opens the inode, which ends its walk. True: its walk has led to this inode. */
bool rewalk_open(struct rewalks *w, int tid, uint64_t ino);

/* True if the thread was told ESTALE about this inode, and has not found it by a name since. */
bool rewalk_insists(const struct rewalks *w, int tid, uint64_t ino);
/* True if the thread has looked the name up since it was told ESTALE. */
bool rewalk_has_name(const struct rewalks *w, int tid, uint64_t name);
/* True if the thread has come to this inode on its new way. */
bool rewalk_has_inode(const struct rewalks *w, int tid, uint64_t ino);
/* True if an answer about this name must be valid for no time, because a thread is on such a way.
 */
bool rewalk_doubts(const struct rewalks *w, uint64_t name);
/* Any thread: true if a thread is about to open the inode. */
bool rewalk_holds(struct rewalks *w, uint64_t ino);

/* ---- Renames of a file that is being moved (fs/cache/moved.h) ---- */

/* The thread's rename is told ESTALE, about a moved file or with its own error. */
void rewalk_mislead(struct rewalks *w, int tid);
/* It was told so in this call already. */
bool rewalk_misled(const struct rewalks *w, int tid);
/* The kernel will ask for this name once more in the same call. False: that was known. */
bool rewalk_expect(struct rewalks *w, int tid, uint64_t name);
/* The look-ups of the rename are over. */
void rewalk_rename_ends(struct rewalks *w, int tid);

#endif
