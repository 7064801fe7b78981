/* SPDX-License-Identifier: Apache-2.0 */
/* One running member: connects fs/, raft/ and store/. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdatomic.h>

#include "daemon/options.h"
#include "fs/fs.h"
#include "raft/consensus.h"
#include "store/reader.h"
#include "store/store.h"

struct machine_adapter;
struct reaper;
struct session_manager;
struct control;
struct views;

struct daemon {
    struct options options;
    struct store *store;         /* loop thread; main thread while the node does not run */
    struct store_reader *reader; /* FUSE reader thread */
    struct machine_adapter *machine;
    struct consensus *consensus;
    struct reaper *reaper;
    struct session_manager *session_manager;
    struct control *control;
    struct views *views;
    _Atomic(struct fs *) fs;   /* NULL while there is no mount */
    atomic_bool has_leader;    /* as far as this member knows */
    atomic_bool behind;        /* not caught up since the start (daemon/catch_up.h) */
    atomic_bool ends;          /* the mount has ended: catch_up_wait does not wait */
    _Atomic uint64_t catch_up; /* ticket of its barrier */
    uint64_t started_ms;
};

#endif
