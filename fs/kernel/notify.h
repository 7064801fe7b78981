/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the kernel to forget what it caches: messages on /dev/fuse that answer no request. When a
 * function returns, it has happened. 0 or -errno: -ENOENT when the kernel has no such thing (which
 * is nothing to worry about), -ENOSYS when this kernel cannot.
 *
 * notify_attr and notify_inode wait for page locks only: the latter for those of the pages that it
 * forgets, both for those of an inode that is just being evicted (the look-up in the kernel's table
 * waits for that), so for READs. The others take the directory's lock (inode_lock), and wait for
 * requests of the kernel's that hold it. Never on the reader thread; any other. */
#ifndef FS_KERNEL_NOTIFY_H
#define FS_KERNEL_NOTIFY_H

#include "fs/kernel/io.h"

int notify_attr(struct io *io, uint64_t ino); /* attributes (and ACLs) */
int notify_inode(struct io *io,
                 uint64_t ino); /* attributes, pages of content, a directory's list */

/* A name. The kernel drops it with all below it, and what is mounted there: not for directories
 * that exist. */
int notify_entry(struct io *io, uint64_t parent, const char *name);
/* A name that may be right: it is looked up again when it is used. From Linux 6.2. */
int notify_expire(struct io *io, uint64_t parent, const char *name);
/* A directory `child` that was removed, if the kernel still has it by this name. */
int notify_delete(struct io *io, uint64_t parent, uint64_t child, const char *name);
bool notify_has_epoch(const struct io *io);
/* All names are looked up again when they are used. Takes no lock. From Linux 6.16. */
int notify_epoch(struct io *io);

#endif
