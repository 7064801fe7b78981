/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions, and the replies that they may ask for again. The writer keeps all sessions in memory
 * and writes the changed rows once per transaction.
 *
 * The replies of a session in the range (forgotten, last_seq] are stored. A member has at most one
 * session: opening another one supersedes it. The time that a session lives without a heartbeat is
 * in the table `lease`, unless it is the default. Writer's thread. */
#ifndef STORE_SESSION_H
#define STORE_SESSION_H

#include <sys/queue.h>
#include <uthash.h>

#include "store/row.h"

/* The first SESSION_N fields are in the order of the columns, all of 64 bits. */
struct session {
    uint64_t id; /* raft index of its OpenSession */
    uint64_t member;
    uint64_t nonce;
    uint64_t previous; /* nonce of the session that it superseded, or 0 */
    uint64_t last_seq;
    uint64_t forgotten;
    uint64_t used; /* raft index of its last command */
    uint64_t ttl_ms;
    uint64_t ephemerals; /* entries that end with it; counted in memory, not stored */
    bool dirty;          /* in sessions.dirty */
    LIST_ENTRY(session) next_dirty;
    UT_hash_handle hh;
};

#define SESSION_N 7

struct sessions {
    struct rows *rows;
    struct session *by_id; /* hash table */
    LIST_HEAD(session_list, session) dirty;
};

/* Loads all sessions. Borrows `rows` until sessions_fini. */
void sessions_load(struct sessions *s, struct rows *rows);
void sessions_fini(struct sessions *s);
void sessions_save(struct sessions *s); /* writes the changed rows */
/* Counts the ephemeral entries of all sessions again, after changes of rows were undone. */
void sessions_recount(struct sessions *s);
size_t sessions_count(const struct sessions *s);

struct session *session_find(const struct sessions *s, uint64_t id);
/* Returns the member's session, or NULL. */
struct session *session_of_member(const struct sessions *s, uint64_t member);
/* If there are too many sessions, returns the one that has been unused longest; else NULL. */
struct session *session_surplus(const struct sessions *s);
/* Opens a session; the member must have none. previous: the nonce of the member's last session, or
 * 0. ttl_ms: as requested, or 0 for the default. */
struct session *session_open(struct sessions *s, uint64_t id, uint64_t member, uint64_t nonce,
                             uint64_t previous, uint64_t ttl_ms);
/* Deletes the session and its replies, and nothing else (store/expire.h does the rest). Frees it.
 */
void session_delete(struct sessions *s, struct session *session);
/* Returns the *n sessions in the order of their ids. The caller frees the array. */
struct session **sessions_sorted(const struct sessions *s, size_t *n);
/* Records that the session's next command was applied: stores the reply and forgets the replies
 * that the session has acknowledged. */
void session_applied(struct sessions *s, struct session *session, uint64_t index, uint64_t acked,
                     struct bytes reply);

/* Reads a row of STATEMENT_SESSION_ALL; computes its hash. Also for checks. */
void session_read(sqlite3_stmt *st, struct session *out);
struct store_hash session_hash(const struct session *session);
struct store_hash session_lease_hash(uint64_t session, uint64_t ttl_ms);

#endif
