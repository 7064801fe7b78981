/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications: messages on /dev/fuse that answer no request and make the kernel forget cached
 * things. When a function returns, the kernel has forgotten. Returns 0 or -errno: -ENOENT if the
 * kernel has no such thing (harmless), -ENOSYS if this kernel does not know the message.
 *
 * notify_attr and notify_inode wait for page locks only: notify_inode for those of the pages that
 * it drops, both for those of an inode that is being evicted (the kernel's inode table waits for
 * the eviction). The kernel holds page locks while a READ waits for us. The other functions take
 * the directory's lock (inode_lock), so they wait for every request that holds it. Any thread but
 * the reader thread. */
#ifndef FS_KERNEL_NOTIFY_H
#define FS_KERNEL_NOTIFY_H

#include "fs/kernel/io.h"

int notify_attr(struct io *io, uint64_t ino); /* attributes and ACLs */
int notify_inode(struct io *io,
                 uint64_t ino); /* attributes, pages of content, a directory's listing */

/* A name. The kernel drops it with everything below it, and unmounts what is mounted there: never
 * use it for a directory that exists. */
int notify_entry(struct io *io, uint64_t parent, const char *name);
/* A name that may still be right: the kernel looks it up again before it uses it. From Linux 6.2.
 */
int notify_expire(struct io *io, uint64_t parent, const char *name);
/* A directory `child` that was removed, if the kernel still has it under this name. */
int notify_delete(struct io *io, uint64_t parent, uint64_t child, const char *name);
bool notify_has_epoch(const struct io *io);
/* Every name: the kernel looks each up again before it uses it. Takes no lock. From Linux 6.16. */
int notify_epoch(struct io *io);

#endif
