/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: its lock, its file names, and the replacement of the database in two steps
 * that survives a crash.
 *
 *   coordfs.db, -wal, -shm   the database
 *   coordfs.lock             locked while a store is open
 *   coordfs.stage            a snapshot being received: deleted at open
 *   coordfs.new              a received snapshot that IS installed: replaces the database at open
 *   coordfs.copy-N           a snapshot being made for others: deleted at open
 *
 * state_dir_install renames coordfs.stage to coordfs.new, which decides the installation. Then it
 * deletes the old write-ahead log and renames coordfs.new to coordfs.db. Each step is on the disk
 * before the next, so the old log can never be applied to the new file. After a crash in between,
 * the next state_dir_open finishes the installation. */
#ifndef STORE_STATE_DIR_H
#define STORE_STATE_DIR_H

#include "base/base.h"

struct state_dir {
    char *dir;
    char *db;          /* path of coordfs.db */
    char *snapshot_in; /* path of coordfs.stage; SQLite makes no other file for it (store/db.c) */
    int dir_fd;
    int lock_fd;
};

/* Locks the directory, finishes an installation, deletes left-over files, and creates an empty
 * database file (mode 0600) if there is none. 0 or -errno, with a reason in errmsg. */
int state_dir_open(struct state_dir *h, const char *dir, char *errmsg, size_t errmsg_len);
void state_dir_close(struct state_dir *h);

/* Makes the received snapshot, which is complete and synced, the database. No connection may be
 * open. 0 or -errno. */
int state_dir_install(struct state_dir *h);

int state_dir_sync(struct state_dir *h); /* syncs the directory itself; 0 or -errno */

#endif
