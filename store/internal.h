/* SPDX-License-Identifier: Apache-2.0 */
/* struct store: for the files of store/ that implement its parts. Nobody else includes this. */
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

    /* Open while the database is (closed only for a moment, by an installation). */
    struct db db;
    struct state state;
    struct rows rows;
    struct raftlog log;
    struct sessions sessions;
    struct locktab locks;
    struct apply apply;
    struct checkpoint *checkpoint;

    pthread_mutex_t writer; /* held from begin to commit; also taken by checkpoints */
    bool in_transaction;
    bool changed;       /* state has to be saved */
    bool unsynced;      /* something was committed that may not be on the disk */
    unsigned wal_pages; /* as of the last commit */

    /* Readers hold it for reading between begin and end; an installation for writing. */
    pthread_rwlock_t readers_lock;
    pthread_mutex_t readers_mutex; /* of the list */
    LIST_HEAD(, store_reader) readers;

    LIST_HEAD(, store_snapshot_out) snapshots_out;
    unsigned snapshot_count; /* ever */
    struct store_snapshot_in *snapshot_in;
};

/* Opens and closes what belongs to the database (all but state_dir and locks). internal_open: 0 or
 * -errno, then a reason in errmsg. */
int internal_open(struct store *s, char *errmsg, size_t errmsg_len);
void internal_close(struct store *s, bool keep_wal);

/* store/reader.c: closes a reader's connection; the next read opens it again. Under readers_lock,
 * for writing. */
void internal_close_readers(struct store *s);

/* A read on a reader's connection, for files other than store/reader.c: begins a snapshot unless
 * there is one (*opened); NULL and *err when that fails. internal_reader_leave ends it. */
struct db *internal_reader_enter(struct store_reader *r, bool *opened, int *err);
void internal_reader_leave(struct store_reader *r, bool opened);

/* store/snapshot_out.c: stops copies that are still being made; they have failed then. */
void internal_stop_snapshots_out(struct store *s);

#endif
