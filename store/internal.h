/* SPDX-License-Identifier: Apache-2.0 */
/* struct store, for the files of store/ that implement it. Nothing else may include this. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "store/apply.h"
#include "store/checkpoint.h"
#include "store/raftlog.h"
#include "store/session.h"
#include "store/state_dir.h"

struct store {
    struct state_dir state_dir;
    struct store_identity identity;

    /* Open while the database is open. An installation closes and reopens all of these. */
    struct db db;
    struct state state;
    struct rows rows;
    struct raftlog log;
    struct sessions sessions;
    struct locktab locks;
    struct apply apply;
    struct checkpoint *checkpoint;

    pthread_mutex_t writer; /* held from begin to commit, and by checkpoints */
    bool in_transaction;
    bool changed;       /* the state must be saved before the commit */
    bool unsynced;      /* commits exist that may not be on the disk */
    unsigned wal_pages; /* pages in the write-ahead log at the last commit */

    /* Readers hold it for reading between begin and end, an installation for writing. */
    pthread_rwlock_t readers_lock;
    pthread_mutex_t readers_mutex; /* protects `readers` */
    LIST_HEAD(, store_reader) readers;

    LIST_HEAD(, store_snapshot_out) snapshots_out;
    unsigned snapshot_count; /* made since the store was opened */
    struct store_snapshot_in *snapshot_in;
};

/* Open and close everything that belongs to the database: all but state_dir and the mutexes.
 * internal_open: 0 or -errno, with a reason in errmsg. */
int internal_open(struct store *s, char *errmsg, size_t errmsg_len);
void internal_close(struct store *s, bool keep_wal);

/* store/reader.c: closes the connections of all readers; the next read reopens each. The caller
 * holds readers_lock for writing. */
void internal_close_readers(struct store *s);

/* A read on a reader's connection, for files other than store/reader.c. Begins a snapshot unless
 * the reader has one; *opened tells. On failure returns NULL and *err. internal_reader_leave ends
 * it. */
struct db *internal_reader_enter(struct store_reader *r, bool *opened, int *err);
void internal_reader_leave(struct store_reader *r, bool opened);

/* store/snapshot_out.c: stops the snapshots that are still being made; they become STORE_FAILED. */
void internal_stop_snapshots_out(struct store *s);

#endif
