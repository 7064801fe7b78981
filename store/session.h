/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions and the replies they may ask for again. All sessions are kept in memory by the writer;
 * rows that changed are written once per transaction.
 *
 * A session's replies in the range (forgotten, last_seq] are stored. At most one session of a
 * member exists: opening another supersedes it. How long it lives without a sign of life is in a
 * table of its own, `lease`, unless it is the default. */
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include <sys/queue.h>
#include <uthash.h>

#include "store/row.h"

/* The first SESSION_N members in the order of the columns: all of 64 bits. */
struct session {
    uint64_t id; /* the raft index of its OpenSession */
    uint64_t member;
    uint64_t nonce;
    uint64_t previous; /* the nonce of the session that it superseded, or 0 */
    uint64_t last_seq;
    uint64_t forgotten;
    uint64_t used; /* the raft index of its last command */
    uint64_t ttl_ms;
    uint64_t ephemerals; /* entries that go with it: counted, no part of the state */
    bool dirty;          /* in sessions.dirty */
    LIST_ENTRY(session) next_dirty;
    UT_hash_handle hh;
};

#define SESSION_N 7

struct sessions {
    struct rows *rows;
    struct session *by_id; /* a hash table */
    LIST_HEAD(session_list, session) dirty;
};

/* Reads them all. The rows stay borrowed. */
void sessions_load(struct sessions *s, struct rows *rows);
void sessions_fini(struct sessions *s);
void sessions_save(struct sessions *s); /* writes the rows that changed */
/* Counts their ephemeral entries anew: after a change of the rows was undone. */
void sessions_recount(struct sessions *s);
size_t sessions_count(const struct sessions *s);

struct session *session_find(const struct sessions *s, uint64_t id);
/* The session that a member has now, or NULL. */
struct session *session_of_member(const struct sessions *s, uint64_t member);
/* The session that has been unused for longest, of too many; else NULL. */
struct session *session_surplus(const struct sessions *s);
/* Opens one. The member has none. previous: the nonce of the one it had, or 0; ttl_ms: as asked
 * for, or 0. */
struct session *session_open(struct sessions *s, uint64_t id, uint64_t member, uint64_t nonce,
                             uint64_t previous, uint64_t ttl_ms);
/* Deletes it and its replies, and nothing else (store/expire.h). Frees it. */
void session_delete(struct sessions *s, struct session *session);
/* In order of their ids; *n of them. To be freed. */
struct session **sessions_sorted(const struct sessions *s, size_t *n);
/* Its next command was applied: keeps the reply, forgets what was acknowledged. */
void session_applied(struct sessions *s, struct session *session, uint64_t index, uint64_t acked,
                     struct bytes reply);

/* A row out of STATEMENT_SESSION_ALL, and its hash: also for checks. */
void session_read(sqlite3_stmt *st, struct session *out);
struct store_hash session_hash(const struct session *session);
struct store_hash session_lease_hash(uint64_t session, uint64_t ttl_ms);

#endif
