/* SPDX-License-Identifier: Apache-2.0 */
/* One running member: the place where fs/, raft/ and store/ meet. */
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
    struct store *store;         /* loop thread (until the node runs and after: main thread) */
    struct store_reader *reader; /* FUSE reader thread */
    struct machine_adapter *machine;
    struct consensus *consensus;
    struct reaper *reaper;
    struct session_manager *session_manager;
    struct control *control;
    struct views *views;
    _Atomic(struct fs *) fs; /* NULL while there is no mount */
    atomic_bool has_leader;  /* as far as this member knows */
    uint64_t started_ms;
};

#endif
