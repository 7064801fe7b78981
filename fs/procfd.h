/* What /proc tells of other processes' open files. */
#ifndef FS_PROCFD_H
#define FS_PROCFD_H

#include <sys/types.h>

#include "base/base.h"

/* Has the process (of thread tid) inode ino open for writing? Compares inode numbers only (another
 * filesystem's may be equal: who asks must bear an undue yes). No when the kernel does not tell
 * (before 5.14). Takes about 100 µs; touches no filesystem but /proc. */
bool procfd_writes(pid_t tid, uint64_t ino);

#endif
