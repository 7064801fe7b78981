/* SPDX-License-Identifier: Apache-2.0 */
/* A rename(2) of what another host is moving.
 *
 * Theory of operation. Linux looks up both names of a rename with their directories locked, and
 * returns 0 without asking us when both are the same inode, as POSIX wants of hard links. When
 * another host has moved the file from the one name to the other meanwhile, that is what the kernel
 * sees: its old name is from before, the answer for the new one from after. So whoever looks a
 * moved file up on behalf of a rename is answered ESTALE: the kernel begins the call again, and
 * asks for every name of both paths, the old one first.
 *
 * That an old name may still be believed is what `moving` of a node tells: the name is forgotten
 * under its directory's lock, which a rename holds from its first look-up to its end. An answer
 * that is ahead of the news of the move waits for them.
 *
 * A second ESTALE would be rename(2)'s result; so a thread is told once, until its call has come to
 * an end. But when the kernel has an entry of the name already, it takes ESTALE for a reason to
 * drop that, and asks again. Where that is to be expected, because the name led to something else
 * that the kernel knows, and is to be forgotten as well, the answer is the truth: the kernel drops
 * the entry for that, and asks again, too; then it is told.
 *
 * What call a thread is in, /proc/TID/syscall tells; when it does not, it may be a rename.
 *
 * Limits: a file that is moved back and away again (or exchanged twice) while the kernel asks for
 * the second time; an entry that was not expected. Both times it is as if nothing were done here.
 *
 * Reader thread only. */
#ifndef FS_CACHE_MOVED_H
#define FS_CACHE_MOVED_H

#include "base/base.h"

#define MOVED_MAX 64    /* threads in such a call at the same time */
#define MOVED_MS  10000 /* that the kernel may take to ask again */

struct fs;

struct moved {
    struct {
        int tid;       /* 0: nobody */
        bool told;     /* ESTALE */
        uint64_t name; /* hash of the one that it was expected to ask for again; 0: none */
        uint64_t end_ms;
    } threads[MOVED_MAX];
    unsigned next;
};

/* Is a name that leads to this inode to be answered after the news only? */
bool moved_is_early(struct fs *fs, uint64_t ino);
/* Is thread tid, whose look-up of the name would find this inode, to be told ESTALE? */
bool moved_misleads(struct fs *fs, int tid, uint64_t parent, const char *name, uint64_t ino);
/* Its call comes to an end: it has found nothing, or asks for the rename. */
void moved_ends(struct fs *fs, int tid);

#endif
