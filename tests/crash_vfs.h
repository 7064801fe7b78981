/* A SQLite VFS in front of the real one that knows what is on the disk: what was written and not
 * yet synced is lost, or torn, by a power cut; and the n-th operation can be made to fail.
 * Any thread. One at a time in a process. */
#ifndef TESTS_CRASH_VFS_H
#define TESTS_CRASH_VFS_H

#include <stdbool.h>
#include <stddef.h>

/* Connections opened between the two go through it, for their whole life. */
void crash_vfs_on(void);
void crash_vfs_off(void);
void crash_vfs_forget(void); /* all files that it knows; no connection may be open */

/* Writes every file of `from_dir` into `to_dir` as a power cut now would leave it: what was synced,
 * and an arbitrary part (random()) of what was not, in sectors of 512 bytes. */
void crash_vfs_cut(const char *from_dir, const char *to_dir);

/* The n-th write, sync or truncation from now (1: the next) and all after it fail with this SQLite
 * code. 0: none. */
void crash_vfs_fail(unsigned n, int rc);

/* Writes, syncs and truncations so far. */
unsigned long crash_vfs_operations(void);
unsigned long crash_vfs_syncs(void);

#endif
