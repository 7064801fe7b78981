/* SPDX-License-Identifier: Apache-2.0 */
/* A rename(2) of a file that another host is moving.
 *
 * Theory of operation. Linux looks up both names of a rename with their directories locked. If both
 * are the same inode, it returns 0 without asking us, as POSIX demands for hard links. If another
 * host moves the file from the one name to the other meanwhile, the kernel sees exactly that: its
 * old name is from before, the answer for the new one from after. So a look-up of a moved file on
 * behalf of a rename is answered ESTALE. The kernel begins the call again and asks for every name
 * of both paths, the old one first.
 *
 * The node's `moving` tells that the kernel may still have an old name: a name is invalidated under
 * its directory's lock, and a rename holds that lock from its first look-up to its end. An answer
 * that is ahead of the delivery of the move waits for it.
 *
 * A second ESTALE would be the result of rename(2), so a thread is told only once until its call
 * has ended (fs/inode/rewalk.h keeps the records). If the kernel has an entry of the name already,
 * it takes ESTALE as a reason to drop that entry, and asks again. This must be expected if the name
 * led to another inode that the kernel knows and waits for invalidation as well. Then the answer is
 * the truth: the kernel drops the entry for it and asks again, and then it is told ESTALE.
 *
 * /proc/TID/syscall tells which system call a thread is in. If it does not tell, the call may be a
 * rename.
 *
 * Limits: a file that is moved back and away again (or exchanged twice) while the kernel asks for
 * the second time; an entry that was not expected. In both cases the result is as without this
 * module.
 *
 * Reader thread only. */
#ifndef FS_CACHE_MOVED_H
#define FS_CACHE_MOVED_H

#include "base/base.h"

struct fs;

/* True if a look-up that leads to this inode must wait for the delivery of changes. */
bool moved_is_early(struct fs *fs, uint64_t ino);
/* True if thread tid, whose look-up of the name would find this inode, must be told ESTALE. */
bool moved_misleads(struct fs *fs, int tid, uint64_t parent, const char *name, uint64_t ino);

#endif
