/* SPDX-License-Identifier: Apache-2.0 */
/* The replicated state machine and its disk: one SQLite database per member. It holds the raft log,
 * term and vote, and the replicated state: tree, sessions, locks, history and counters.
 *
 * Deterministic: the state after an entry depends only on the state before it and on the entry's
 * bytes. No clock, no random numbers, no environment, no floating point, no order of unordered
 * things.
 *
 * A struct store belongs to one thread (the loop thread). For readers on other threads see
 * store/reader.h. Functions without a result do not fail: they die() if SQLite fails. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"

struct store;

/* ---- Life -------------------------------------------------------------------------------------*/

struct store_identity {
    uint64_t member;  /* this member's id */
    char cluster[65]; /* the cluster's name */
};

/* Opens the database DIR/coordfs.db, or creates it. Migrates an older schema, and checks that the
 * database belongs to `identity`. DIR must exist; it is locked against a second opener. 0 or
 * -errno, with a reason in errmsg; after an error nothing was changed. -EUCLEAN: damaged.
 * -EPROTONOSUPPORT: written by a newer version. -EXDEV: it belongs to another cluster or member.
 * -EBUSY: in use. -EACCES, … */
int store_open(const char *dir, const struct store_identity *identity, struct store **out,
               char *errmsg, size_t errmsg_len);
void store_close(struct store *s); /* all readers must be freed before */

/* ---- Transactions -----------------------------------------------------------------------------*/

void store_begin(struct store *s);
void store_commit(struct store *s, bool sync); /* sync: wait until it is on the disk */
/* The first half of store_commit, which must follow: readers see the new state. */
void store_show(struct store *s);

/* ---- Raft's part ------------------------------------------------------------------------------*/

enum store_entry_type { STORE_COMMAND = 1, STORE_BARRIER = 2, STORE_CHANGE = 3 };

struct store_entry {
    uint64_t term;
    enum store_entry_type type;
    const uint8_t *data;
    size_t len;
};

struct store_raft_state {
    uint64_t term;
    uint64_t vote;
    uint64_t first_index; /* last_index + 1 if the log is empty */
    uint64_t last_index;  /* `applied` if the log is empty */
    uint64_t applied;
    uint64_t applied_term;
    uint64_t config_index;
    struct buf config; /* gives */
};

void store_raft_state(struct store *s, struct store_raft_state *out);
void store_set_vote(struct store *s, uint64_t term, uint64_t vote);
void store_log_append(struct store *s, uint64_t index, const struct store_entry *entry);
void store_log_truncate(struct store *s, uint64_t from); /* deletes index >= from */
void store_log_compact(struct store *s, uint64_t below); /* deletes index < below */
/* False if there is no such row. Dies if the row's checksum is wrong. The data are borrowed until
 * the next call. */
bool store_log_get(struct store *s, uint64_t index, struct store_entry *out);

/* ---- Apply ------------------------------------------------------------------------------------*/

enum store_outcome {
    STORE_APPLIED,    /* the command was carried out; its status is in reply */
    STORE_DUPLICATE,  /* it was applied before; reply is the stored one, if it is still kept */
    STORE_GAP,        /* an earlier command of the session is missing: nothing was done */
    STORE_NO_SESSION, /* the session does not exist: nothing was done */
    STORE_INTERNAL,   /* not a command (barrier, configuration) */
};

/* A waiting request for a lock was granted. */
struct store_grant {
    uint64_t session; /* that made the request */
    uint64_t id;      /* the value of the reply EINPROGRESS */
    uint64_t ino;
    uint32_t kind; /* Cfs__Lock__Kind */
    uint64_t handle;
    uint64_t owner;
    uint64_t fence; /* the fencing token */
};

/* A session ended: it was closed, has expired, or was superseded. Everything it held is gone. */
struct store_ended {
    uint64_t session;
    uint64_t member;
};

struct store_result {
    enum store_outcome outcome;
    uint64_t session; /* for an OpenSession: the session that has the nonce now */
    uint64_t seq;
    uint64_t nonce;       /* of an OpenSession; else 0 */
    const uint8_t *reply; /* a packed Reply, borrowed until the next call; NULL: none */
    size_t reply_len;
    const Cfs__Change *const *changes; /* these arrays are borrowed until the next call */
    size_t n_changes;
    const struct store_grant *grants; /* in the order of the grants; of all sessions */
    size_t n_grants;
    const struct store_ended *ended;
    size_t n_ended;
};

/* Applies the committed entry `index`, which must be applied + 1, inside the transaction. A
 * duplicate gets the stored reply. Otherwise validates everything, then makes the changes, and
 * stores the reply. Dies if the bytes are not a command. */
void store_apply(struct store *s, uint64_t index, const struct store_entry *entry,
                 struct store_result *out);

/* True if applying these bytes (a stamp and a command) would carry out a command, with any outcome,
 * and not die. The leader asks before it proposes bytes from a peer, so that no peer can put an
 * entry into the log that stops every member. Pure; any thread. */
bool store_acceptable(const uint8_t *data, size_t len);

/* True if the bytes are acceptable and name no session but the member's own. */
bool store_acceptable_from(const struct store *s, uint64_t member, const uint8_t *data, size_t len);

/* Finds the reply of an applied command. 1: the bytes are in *out (gives; empty if the session has
 * acknowledged the reply and it was forgotten). 0: not applied yet. -ESTALE: no such session. */
int store_reply(struct store *s, uint64_t session, uint64_t seq, struct buf *out);

uint64_t store_applied(const struct store *s);

/* ---- Sessions and locks -----------------------------------------------------------------------*/

struct store_session {
    uint64_t id;
    uint64_t member;
    unsigned ttl_ms;
    uint64_t locks;      /* locks that it holds or waits for */
    uint64_t ephemerals; /* entries that end with it */
};

/* Calls fn for each session, in the order of their ids. fn must not call the store. */
void store_sessions(const struct store *s, void (*fn)(void *arg, const struct store_session *),
                    void *arg);
bool store_session(const struct store *s, uint64_t id, struct store_session *out);

/* Tells what became of a request that was answered EINPROGRESS. A member asks after a snapshot has
 * replaced its state, because it has not seen the grants in between. */
enum store_wait {
    STORE_WAITING,
    STORE_GRANTED, /* the owner holds all of the range, at least as strongly */
    STORE_GONE,    /* neither waiting nor granted */
};
enum store_wait store_wait_state(const struct store *s, uint64_t session, uint64_t id,
                                 const Cfs__Lock *asked, uint64_t *fence);

/* ---- Entries whose time is over ---------------------------------------------------------------*/

/* The cluster's time as of the last ExpireEntries, in ns; 0: it has not begun. */
int64_t store_clock(const struct store *s);

enum store_ttls {
    STORE_TTLS_NONE,    /* no ttl runs: the cluster's time may stand still */
    STORE_TTLS_RUNNING, /* all have their deadlines */
    STORE_TTLS_BEGUN,   /* some wait for the next ExpireEntries to get theirs */
};
enum store_ttls store_ttls(struct store *s);

/* Calls fn for up to `max` entries whose deadline has passed when elapsed_ms have passed since
 * store_clock(), the earliest first. `version` is for ExpireEntries. */
void store_due(struct store *s, uint64_t elapsed_ms, unsigned max,
               void (*fn)(void *arg, uint64_t ino, uint64_t version), void *arg);

/* ---- The state hash ---------------------------------------------------------------------------*/

/* The hash of the whole replicated state as of the applied index: the sum modulo 2^128 of the
 * XXH3-128 hashes of all rows. It is updated with each change and does not depend on the order of
 * rows. */
struct store_hash {
    uint64_t low;
    uint64_t high;
};

struct store_hash store_state_hash(const struct store *s);

/* ---- Checks -----------------------------------------------------------------------------------*/

/* Verifies the invariants S1 … S62 (store/check.h) on the whole database; slow. True; or false, and
 * the violation in `why`. Not within a transaction. */
bool store_check(struct store *s, char *why, size_t why_len);

/* The same for a database file that no process has open (coordfs check). */
bool store_check_file(const char *path, char *why, size_t why_len);

/* ---- Orphans: unlinked files that hosts may still hold open -----------------------------------*/

/* Calls fn for up to `max` orphans with an inode number > after, in order, with the raft index of
 * the unlink. */
void store_orphans(struct store *s, uint64_t after, unsigned max,
                   void (*fn)(void *arg, uint64_t ino, uint64_t unlinked), void *arg);

/* ---- Copies of the database (snapshots) -------------------------------------------------------*/

struct store_snapshot_out; /* outgoing */
struct store_snapshot_in;  /* incoming */

enum store_progress { STORE_BUSY, STORE_READY, STORE_FAILED };

struct store_snapshot_info {
    uint64_t index;
    uint64_t term;
    uint64_t config_index;
    struct buf config; /* gives */
    uint64_t size;
};

/* Makes a consistent copy of the database as it is now, without log, term, vote and identity. A
 * thread writes it to a file in the state directory; store_snapshot_out_close deletes the file, and
 * store_open deletes left-over ones. Constant memory. Loop thread. Call _read and _info only after
 * STORE_READY. */
struct store_snapshot_out *store_snapshot_out_open(struct store *s);
enum store_progress store_snapshot_out_poll(struct store_snapshot_out *c);
void store_snapshot_out_info(struct store_snapshot_out *c, struct store_snapshot_info *out);
int64_t store_snapshot_out_read(struct store_snapshot_out *c, uint64_t offset, void *out,
                                size_t len);
void store_snapshot_out_close(struct store_snapshot_out *c);

/* Receives a snapshot. Its bytes are written in order. Then a thread verifies it (schema version,
 * the state hash recomputed from every row) and syncs it. At last it is installed by an atomic
 * rename while all readers are held off. This member's term and vote are kept, and the log is
 * empty. */
struct store_snapshot_in *store_snapshot_in_open(struct store *s);
int store_snapshot_in_write(struct store_snapshot_in *st, uint64_t offset, const void *data,
                            size_t len);
void store_snapshot_in_verify(struct store_snapshot_in *st, const struct store_snapshot_info *info);
enum store_progress store_snapshot_in_poll(struct store_snapshot_in *st);
void store_snapshot_in_install(struct store_snapshot_in *st); /* takes st */
void store_snapshot_in_close(struct store_snapshot_in *st);

/* ---- Figures ----------------------------------------------------------------------------------*/

struct store_counts {
    uint64_t inodes;
    uint64_t bytes; /* stored file data; holes do not count */
    uint64_t sessions;
    uint64_t log_rows;
    uint64_t file_bytes; /* size of the database file */
};

void store_counts(struct store *s, struct store_counts *out);

#endif
