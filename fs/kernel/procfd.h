/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of other processes, above all of their open files. The reader thread must not
 * ask for what takes locks that a process holds while it waits for us: no `stat`, `cmdline`,
 * `maps`. */
#ifndef FS_KERNEL_PROCFD_H
#define FS_KERNEL_PROCFD_H

#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

/* Has the process (of thread tid) inode ino open for writing? Compares inode numbers only (another
 * filesystem's may be equal: who asks must bear an undue yes). No when the kernel does not tell
 * (before 5.14). Takes about 100 µs; touches no filesystem but /proc. */
bool procfd_writes(pid_t tid, uint64_t ino);

/* Can the process (of thread tid) hear of changes, by inotify or fanotify? Yes when it is not
 * known. Takes about 50 µs. */
bool procfd_listens(pid_t tid);

/* Calls fn for each process, other than ours, that has one of the inodes open through the mount
 * with this id (as in mountinfo), with a pidfd that is borrowed for the call. Takes long; touches
 * no filesystem but /proc. Any thread. */
void procfd_find(int mount_id, const uint64_t *inos, size_t n,
                 void (*fn)(void *arg, int pidfd, pid_t pid, uint64_t ino), void *arg);
/* Appends /proc/TID/status, and a zero byte that is not counted. False: there is none (any more).
 */
bool procfd_status(pid_t tid, struct buf *out);
/* The number of the system call that the thread sleeps in; -1: it does not sleep, or the kernel
 * does not tell. */
int procfd_syscall(pid_t tid);
/* Is the process ending (or gone)? Then nobody hears of an error of the close(2) that comes with
 * it, and no signal reaches it any more: it must not wait for long. */
bool procfd_ends(pid_t tid);

#endif
