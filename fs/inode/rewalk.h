/* SPDX-License-Identifier: Apache-2.0 */
/* Threads whose system call walks its path again, and what they look up on the way.
 *
 * Theory of operation. A request about a name may fail because the kernel still believes what was
 * true before another host's change (it asked to remove a name that is gone, to make one that is
 * there). If the program got that error right away, it would know more than its kernel: the next
 * call would go by the old name, into the wrong file. The name cannot be forgotten before the
 * reply, as the request holds the lock of the directory. So the request is answered ESTALE: the
 * kernel walks the path again and asks for every name of it. Most often it finds the error itself
 * then. If the request comes again and fails again, the program gets the error; what the kernel
 * believes of the name is valid for no time then, so the kernel asks for it at the next use.
 * The same is done wherever ESTALE is answered (an OPEN by an old name, a removed directory), so a
 * second ESTALE, which would be the result of the system call, is never needed.
 *
 * A record lasts from the ESTALE to the end of the call as far as it is seen here (rewalk_end), or
 * REWALK_MS. Until then, what the thread looks up is remembered, and every answer about these
 * names, to whichever thread, is valid for no time.
 *
 * Limit: REWALK_MAX threads at the same time, the last REWALK_STEPS names of each path.
 *
 * Reader thread only. */
#ifndef FS_INODE_REWALK_H
#define FS_INODE_REWALK_H

#include "base/base.h"

#define REWALK_MAX   128
#define REWALK_STEPS 16
#define REWALK_MS    10000 /* time that the kernel may take to come back: it waits for locks */

struct rewalk_step {
    uint64_t name; /* hash of the name; 0: none */
    uint64_t ino;  /* inode that was found; 0: none */
};

struct rewalks {
    struct {
        int tid; /* 0: unused */
        uint64_t end_ms;
        struct rewalk_step steps[REWALK_STEPS];
        unsigned next_step;
    } threads[REWALK_MAX];
    unsigned next;
    uint64_t end_ms; /* of the last record */
};

/* Hash of the name in directory `parent`; never 0. */
uint64_t rewalk_hash(uint64_t parent, const char *name);

/* Thread tid is answered ESTALE. */
void rewalk_told(struct rewalks *w, int tid);
/* The thread is told where the name leads; 0: nowhere. */
void rewalk_note(struct rewalks *w, int tid, uint64_t name, uint64_t ino);
/* The thread's call is over, or has its final answer. */
void rewalk_end(struct rewalks *w, int tid);

/* True if the thread has looked the name up since it was told ESTALE: it may get any error about
 * it. */
bool rewalk_has_name(const struct rewalks *w, int tid, uint64_t name);
/* True if the thread has come to this inode on its new way. */
bool rewalk_has_inode(const struct rewalks *w, int tid, uint64_t ino);
/* True if an answer about this name must be valid for no time, because a thread is on such a way.
 */
bool rewalk_doubts(const struct rewalks *w, uint64_t name);

#endif
