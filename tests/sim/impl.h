/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of tests/sim only:
 *
 *   world.c      a run from its beginning to its end
 *   member.c     one member: the store and the client around a driver of raft_sim
 *   disk.c       its files: power cuts, failures, restarts
 *   load.c       the load that hosts make
 *   request.c    one request: submitted, answered, checked
 *   reference.c  the meaning of the committed log
 *   wraps.c      the process around them: die(), check(), files written without SQLite */
#ifndef TESTS_SIM_IMPL_H
#define TESTS_SIM_IMPL_H

#include "daemon/daemon.h"
#include "daemon/machine.h"
#include "daemon/ttl_clock.h"
#include "raft/client.h"
#include "store/background.h"
#include "tests/lib/gen.h"
#include "tests/lib/lock_model.h"
#include "tests/sim/reference.h"
#include "tests/sim/sim.h"

#define JOBS_MAX     16
#define HANDLES      2 /* of a member that hold locks at the same time */
#define JOURNAL_NAME "journal"

struct member {
    struct world *world;
    unsigned id;
    char dir[160];
    unsigned incarnation; /* number of the files' directory */

    struct daemon daemon; /* only store, machine and consensus (this member) are set */
    struct machine inner;
    struct store_reader *reader; /* NULL: the member is not running */
    struct client *client;       /* NULL: the same */
    uint64_t last_ticket;        /* of the client */
    struct driver *driver;
    uint64_t leader, term;

    bool doomed;
    char grave[160];      /* the directory with its remaining files */
    uint64_t crash_in;    /* disk operations until then; 0: never */
    uint64_t fail_in;     /* the same */
    bool failing;         /* the disk fails, until the end of the event */
    bool recovers;        /* its next process opens the database */
    uint64_t synced_term; /* at the last sync */
    uint64_t synced_last; /* last row of the log then, without rows truncated later */
    struct machine_incoming *installing;
    struct background *jobs[JOBS_MAX];
    unsigned n_jobs;

    int64_t wall_ns; /* the error of its wall clock: up to a day */
    struct ttl_clock ttl_clock;
    uint64_t at_session, at_seq; /* of the answer that is being delivered */
    uint64_t handles[HANDLES];
    uint64_t pending; /* requests */
};

struct barrier_floor {
    uint64_t index, journal; /* answered before the barrier was requested */
};

struct world {
    struct sim_config config;
    struct raft_sim *sim;
    char dir[100];
    struct reference *reference;
    struct member *members[RAFT_SIM_MAX + 1];
    struct sim_stats stats;
    struct raft_sim_backend backend;

    uint64_t answered;         /* the highest index of any answer */
    uint64_t journal_answered; /* size of the journal, as any answer has shown it */
    uint64_t next_number, next_handle;
    uint64_t waits;               /* lock requests that wait or may wait */
    struct barrier_floor *floors; /* [ticket - 1] */
    uint64_t n_floors;
};

extern struct world *sim_world; /* the running world */

BASE_PRINTF(2, 3) void world_fail(struct world *w, const char *fmt, ...);
void world_remove_dir(const char *dir);

/* member.c */
extern const struct raft_sim_backend member_backend;
void member_client_applied(struct member *m, enum client_outcome outcome, uint64_t session,
                           uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len);
int64_t member_wall_ns(const struct member *m);

/* disk.c */
void disk_open(struct member *m);
void disk_close(struct member *m); /* in any state of the store; the files remain */
void disk_doom(struct member *m);
void disk_crash(struct member *m); /* afterwards the store is as a new process finds it */
void disk_arm(struct member *m);   /* plans the next crash and the next failure */
void disk_after(struct member *m);
struct member *disk_owner(const char *path); /* NULL: none */
void disk_watch(const char *path);
void disk_set_job_owner(struct member *m); /* the member whose job starts next */
void disk_run_jobs(struct member *m);
extern const struct background_plan disk_plan;

/* load.c */
void load_one(struct member *m);

/* request.c */
struct request {
    struct member *member;
    uint64_t hash;    /* of the command's bytes */
    uint64_t floor;   /* answered before it was submitted */
    uint64_t journal; /* the number that it appends; 0: none */
    bool waits;       /* may wait for a lock */
    bool final;
};
void sim_request_submit(struct member *m, struct buf *command, uint64_t journal, bool waits);

#endif
