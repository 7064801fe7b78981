/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about other processes from /proc, above all about their open files. The reader thread must
 * not read files whose locks a process holds while it waits for us: never `stat`, `cmdline`,
 * `maps`. */
#ifndef FS_KERNEL_PROCFD_H
#define FS_KERNEL_PROCFD_H

#include <sys/types.h>

#include "base/base.h"
#include "base/buf.h"

/* True if the process (of thread tid) has inode ino open for writing. Compares inode numbers only:
 * another filesystem's file with the same number also counts, so a caller must tolerate a wrong
 * yes. False if the kernel does not say (before 5.14). Takes about 100 µs; touches no filesystem
 * but /proc. */
bool procfd_writes(pid_t tid, uint64_t ino);

/* True if the process (of thread tid) can get events of inotify or fanotify, or if that is unknown.
 * Takes about 50 µs. */
bool procfd_listens(pid_t tid);

/* Calls fn for each process, except ours, that has one of the inodes open through the mount with
 * this id (as in mountinfo). The pidfd is borrowed for the call. Slow; touches no filesystem but
 * /proc. Any thread. */
void procfd_find(int mount_id, const uint64_t *inos, size_t n,
                 void (*fn)(void *arg, int pidfd, pid_t pid, uint64_t ino), void *arg);
/* Appends /proc/TID/status and a zero byte that is not counted. False: the thread does not exist.
 */
bool procfd_status(pid_t tid, struct buf *out);
/* The number of the system call in which the thread sleeps; -1: it does not sleep, or the kernel
 * does not say. */
int procfd_syscall(pid_t tid);
/* True if the process is exiting or gone. An error of its close(2) is then lost, and no signal
 * reaches it: its request must not wait long. */
bool procfd_ends(pid_t tid);

#endif
