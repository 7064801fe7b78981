/* SPDX-License-Identifier: Apache-2.0 */
/* A SQLite VFS in front of the real one that simulates a disk. A power cut loses or tears unsynced
 * writes, and the n-th operation can be made to fail. Any thread; one at a time in a process. */
#ifndef TESTS_LIB_CRASH_VFS_H
#define TESTS_LIB_CRASH_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Connections that are opened between the two calls use it for their whole life. */
void crash_vfs_on(void);
void crash_vfs_off(void);
void crash_vfs_adopt(const char *dir); /* the present content counts as synced */
void crash_vfs_forget(void);           /* forgets all files; no connection may be open */

void crash_vfs_forget_dir(const char *dir); /* forgets only the directory's files */

/* Copies every file of `from_dir` into `to_dir` as a power cut now would leave it: the synced
 * content, and a random part (random()) of the unsynced content, in sectors of 512 bytes. */
void crash_vfs_cut(const char *from_dir, const char *to_dir);

/* The same. Afterwards no such operation of this process ever returns: kill the process. */
void crash_vfs_power_off(const char *from_dir, const char *to_dir);

/* From now on the disk lies: a sync reports success and does nothing. */
void crash_vfs_lie(bool lying);

/* The same as crash_vfs_cut if only the process were killed: everything that was written. */
void crash_vfs_kill(const char *from_dir, const char *to_dir);

/* The n-th write, sync or truncation from now (1: the next) and all after it fail with this SQLite
 * code. 0: none. */
void crash_vfs_fail(unsigned n, int rc);

/* Calls `fn` before each such operation and each change of a name; `fn` may call crash_vfs_cut.
 * NULL: calls nothing. */
void crash_vfs_watch(void (*fn)(const char *path));

/* Reports operations on these files that do not go through SQLite. A power cut loses a rename or a
 * removal and everything after it, unless the directory was synced. */
void crash_vfs_written(const char *path, uint64_t at, const void *data, size_t len);
void crash_vfs_synced(const char *path); /* a file, or a directory */
void crash_vfs_renamed(const char *from, const char *to);
void crash_vfs_removed(const char *path);

/* Writes, syncs and truncations so far. */
unsigned long crash_vfs_operations(void);
unsigned long crash_vfs_syncs(void);

#endif
