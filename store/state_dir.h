/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: its lock, the names of its files, and the two-step replacement of the
 * database that a crash cannot tear apart.
 *
 *   coordfs.db, -wal, -shm   the database
 *   coordfs.lock             locked while a store is open
 *   coordfs.stage            an incoming copy, not yet installed: deleted at open
 *   coordfs.new              an incoming copy that IS installed: replaces the database at open
 *   coordfs.copy-N           an outgoing copy: deleted at open
 *
 * state_dir_install renames stage to new (that is the moment), deletes the old write-ahead log, and
 * renames new to the database, each step on the disk before the next: the old log can never be
 * applied to the new file. A crash in between is finished by the next state_dir_open. */
#ifndef STORE_STATE_DIR_H
#define STORE_STATE_DIR_H

#include "base/base.h"

struct state_dir {
    char *dir;
    char *db;          /* paths */
    char *snapshot_in; /* SQLite makes no other file for this one, see db.c */
    int dir_fd;
    int lock_fd;
};

/* Locks the directory, finishes an installation, deletes left-overs, and makes an empty database
 * file (0600) where there is none. 0 or -errno, then a reason in errmsg. */
int state_dir_open(struct state_dir *h, const char *dir, char *errmsg, size_t errmsg_len);
void state_dir_close(struct state_dir *h);

/* The stage, complete and synced, becomes the database. No connection may be open. 0 or -errno. */
int state_dir_install(struct state_dir *h);

int state_dir_sync(struct state_dir *h); /* the directory itself; 0 or -errno */

#endif
