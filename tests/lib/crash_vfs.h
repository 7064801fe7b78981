/* SPDX-License-Identifier: Apache-2.0 */
/* A SQLite VFS in front of the real one that knows what is on the disk: what was written and not
 * yet synced is lost, or torn, by a power cut; and the n-th operation can be made to fail.
 * Any thread. One at a time in a process. */
#ifndef TESTS_LIB_CRASH_VFS_H
#define TESTS_LIB_CRASH_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Connections opened between the two go through it, for their whole life. */
void crash_vfs_on(void);
void crash_vfs_off(void);
void crash_vfs_adopt(const char *dir); /* what is there now is on the disk */
void crash_vfs_forget(void);           /* all files that it knows; no connection may be open */

void crash_vfs_forget_dir(const char *dir); /* the same for its files only */

/* Writes every file of `from_dir` into `to_dir` as a power cut now would leave it: what was synced,
 * and an arbitrary part (random()) of what was not, in sectors of 512 bytes. */
void crash_vfs_cut(const char *from_dir, const char *to_dir);

/* The same, and no such operation of this process ever returns again: kill it. */
void crash_vfs_power_off(const char *from_dir, const char *to_dir);

/* From now on the disk lies: it says that it has synced, and has not. */
void crash_vfs_lie(bool lying);

/* What crash_vfs_cut would leave if only the process were killed: all that was written. */
void crash_vfs_kill(const char *from_dir, const char *to_dir);

/* The n-th write, sync or truncation from now (1: the next) and all after it fail with this SQLite
 * code. 0: none. */
void crash_vfs_fail(unsigned n, int rc);

/* Before each such operation, and each change of a name, `fn` is called; it may call
 * crash_vfs_cut. NULL: nobody. */
void crash_vfs_watch(void (*fn)(const char *path));

/* What happens to these files without SQLite. A rename or removal is lost by a power cut, and all
 * that came after it, unless the directory was synced. */
void crash_vfs_written(const char *path, uint64_t at, const void *data, size_t len);
void crash_vfs_synced(const char *path); /* a file, or a directory */
void crash_vfs_renamed(const char *from, const char *to);
void crash_vfs_removed(const char *path);

/* Writes, syncs and truncations so far. */
unsigned long crash_vfs_operations(void);
unsigned long crash_vfs_syncs(void);

#endif
