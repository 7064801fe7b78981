/* SPDX-License-Identifier: Apache-2.0 */
/* The replicated state machine and its disk: ONE SQLite database per member, with the raft log,
 * term and vote, and the replicated tree, sessions and counters.
 *
 * Deterministic: the state after an entry depends on the state before and the entry's bytes alone;
 * no clock, no chance, no environment, no floating point, no order of anything unordered.
 *
 * A struct store belongs to one thread (the loop thread). Readers on other threads: store/reader.h.
 * Functions without a result do not fail: they die() when SQLite does. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/base.h"
#include "base/buf.h"
#include "proto/command.pb-c.h"

struct store;

/* ---- Life ---------------------------------------------------------------------------------------
 */

struct store_identity {
    uint64_t member;  /* this member's id */
    char cluster[65]; /* the cluster's name */
};

/* Opens (creating it when it is not there) the database DIR/coordfs.db, migrates an older schema,
 * and checks that it belongs to `identity`. DIR must exist; it is locked against a second opener.
 * 0 or -errno, then a reason in errmsg: -EUCLEAN (damaged), -EPROTONOSUPPORT (from a newer
 * version), -EXDEV (another cluster's or another member's), -EBUSY (in use), -EACCES … ; nothing
 * was changed then. */
int store_open(const char *dir, const struct store_identity *identity, struct store **out,
               char *errmsg, size_t errmsg_len);
void store_close(struct store *s); /* all readers must be closed */

/* ---- Transactions -------------------------------------------------------------------------------
 */

void store_begin(struct store *s);
void store_commit(struct store *s, bool sync); /* sync: on the disk on return */
/* The first half of store_commit, which is to follow: readers see the new state. */
void store_show(struct store *s);

/* ---- Raft's part
 * --------------------------------------------------------------------------------- */

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
    uint64_t first_index; /* last_index + 1 when the log is empty */
    uint64_t last_index;  /* `applied` when the log is empty */
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
/* False when there is no such row; dies when its checksum is wrong. The data are borrowed until
 * the next call. */
bool store_log_get(struct store *s, uint64_t index, struct store_entry *out);

/* ---- Apply
 * ---------------------------------------------------------------------------------------- */

enum store_outcome {
    STORE_APPLIED,    /* the command was carried out; reply has its status */
    STORE_DUPLICATE,  /* applied before: reply is the stored one, if it is still kept */
    STORE_GAP,        /* an earlier command of the session is missing: nothing was done */
    STORE_NO_SESSION, /* there is no such session: nothing was done */
    STORE_INTERNAL,   /* not a command (barrier, configuration) */
};

/* A request for a lock that had waited was granted. */
struct store_grant {
    uint64_t session; /* whose */
    uint64_t id;      /* what the reply EINPROGRESS said */
    uint64_t ino;
    uint32_t kind; /* Cfs__Lock__Kind */
    uint64_t handle;
    uint64_t owner;
    uint64_t fence; /* the fencing token */
};

/* A session is no more: closed, expired, superseded. All that it held is gone. */
struct store_ended {
    uint64_t session;
    uint64_t member;
};

struct store_result {
    enum store_outcome outcome;
    uint64_t session; /* OpenSession: the session that has the nonce now */
    uint64_t seq;
    uint64_t nonce;       /* of an OpenSession; else 0 */
    const uint8_t *reply; /* a packed Reply; borrowed until the next call; NULL: none */
    size_t reply_len;
    const Cfs__Change *const *changes; /* borrowed until the next call, as what follows */
    size_t n_changes;
    const struct store_grant *grants; /* in the order of the granting; any session's */
    size_t n_grants;
    const struct store_ended *ended;
    size_t n_ended;
};

/* Applies the committed entry `index` (which is applied + 1) inside the transaction: duplicate? the
 * stored reply; else validates everything, then changes, and remembers the reply. Dies on bytes
 * that are no command. */
void store_apply(struct store *s, uint64_t index, const struct store_entry *entry,
                 struct store_result *out);

/* Would applying these bytes (a stamp and a command) carry something out, whatever its outcome,
 * rather than die? The leader asks before it proposes what a peer has sent, so that no peer can put
 * bytes into the log that stop every member. Pure; any thread. */
bool store_acceptable(const uint8_t *data, size_t len);

/* May the member propose these bytes? They are acceptable, and speak of no session but its own. */
bool store_acceptable_from(const struct store *s, uint64_t member, const uint8_t *data, size_t len);

/* The reply of a command that was applied: 1 and the bytes (gives; none when the reply has been
 * forgotten, as the session had acknowledged it), 0 not applied yet, -ESTALE no such session. */
int store_reply(struct store *s, uint64_t session, uint64_t seq, struct buf *out);

uint64_t store_applied(const struct store *s);

/* ---- Sessions and locks -------------------------------------------------------------------------
 */

struct store_session {
    uint64_t id;
    uint64_t member;
    unsigned ttl_ms;
    uint64_t locks;      /* that it holds or waits for */
    uint64_t ephemerals; /* entries that go with it */
};

/* All of them, in order of their ids. fn must not call the store. */
void store_sessions(const struct store *s, void (*fn)(void *arg, const struct store_session *),
                    void *arg);
bool store_session(const struct store *s, uint64_t id, struct store_session *out);

/* What has become of a request that was answered EINPROGRESS. For a member whose state was replaced
 * by a snapshot: it has not seen the grants in between. */
enum store_wait {
    STORE_WAITING,
    STORE_GRANTED, /* the owner holds all of what was asked for, at least that strong */
    STORE_GONE,    /* neither */
};
enum store_wait store_wait_state(const struct store *s, uint64_t session, uint64_t id,
                                 const Cfs__Lock *asked, uint64_t *fence);

/* ---- Entries whose time is over -----------------------------------------------------------------
 */

/* Calls fn for up to `max` entries whose ttl ends at now_ns (wall clock, as in stamps) or earlier,
 * the earliest first, with the version for ExpireEntries. */
void store_due(struct store *s, int64_t now_ns, unsigned max,
               void (*fn)(void *arg, uint64_t ino, uint64_t version), void *arg);

/* ---- The state hash
 * -------------------------------------------------------------------------------- */

/* The incremental hash of the whole replicated state as of applied: the sum modulo 2^128 of the
 * XXH3-128 hashes of all rows, so it does not depend on order. */
struct store_hash {
    uint64_t low;
    uint64_t high;
};

struct store_hash store_state_hash(const struct store *s);

/* ---- Checks
 * ---------------------------------------------------------------------------------------- */

/* Verifies every invariant of docs/ARCHITECTURE.md's list (S1 …) on the whole database, slowly:
 * true, or false and what is wrong in `why`. Between transactions. */
bool store_check(struct store *s, char *why, size_t why_len);

/* The same on a database file that nobody has open (coordfs check). */
bool store_check_file(const char *path, char *why, size_t why_len);

/* ---- Orphans: unlinked files that hosts may still hold open
 * ----------------------------------------- */

/* Calls fn for each from the first with a number > after, with the raft index of its unlink, up to
 * `max`. */
void store_orphans(struct store *s, uint64_t after, unsigned max,
                   void (*fn)(void *arg, uint64_t ino, uint64_t unlinked), void *arg);

/* ---- Copies of the database (snapshots)
 * -------------------------------------------------------------- */

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

/* A consistent copy as of now, made by a thread of its own into a file of the state directory that
 * copy_close deletes (a left-over is deleted by store_open). Without log, term, vote, identity.
 * Constant memory. Loop thread; read and info only after STORE_READY. */
struct store_snapshot_out *store_snapshot_out_open(struct store *s);
enum store_progress store_snapshot_out_poll(struct store_snapshot_out *c);
void store_snapshot_out_info(struct store_snapshot_out *c, struct store_snapshot_info *out);
int64_t store_snapshot_out_read(struct store_snapshot_out *c, uint64_t offset, void *out,
                                size_t len);
void store_snapshot_out_close(struct store_snapshot_out *c);

/* An incoming copy: written in order, verified by a thread of its own (recomputing the state hash
 * from every row; store identity and schema version), synced; then installed by an atomic rename
 * while all readers are held off. Term and vote of this member are kept, the log is empty. */
struct store_snapshot_in *store_snapshot_in_open(struct store *s);
int store_snapshot_in_write(struct store_snapshot_in *st, uint64_t offset, const void *data,
                            size_t len);
void store_snapshot_in_verify(struct store_snapshot_in *st, const struct store_snapshot_info *info);
enum store_progress store_snapshot_in_poll(struct store_snapshot_in *st);
void store_snapshot_in_install(struct store_snapshot_in *st); /* takes */
void store_snapshot_in_close(struct store_snapshot_in *st);

/* ---- Figures
 * ------------------------------------------------------------------------------------------ */

struct store_counts {
    uint64_t inodes;
    uint64_t bytes; /* of file data, as stored: holes do not count */
    uint64_t sessions;
    uint64_t log_rows;
    uint64_t file_bytes; /* of the database file */
};

void store_counts(struct store *s, struct store_counts *out);

#endif
