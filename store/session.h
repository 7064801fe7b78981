/* Sessions and the replies they may ask for again. All sessions are kept in memory by the writer;
 * rows that changed are written once per transaction.
 *
 * A session's replies in the range (forgotten, last_seq] are stored. At most one session of a
 * member exists: opening another supersedes it. */
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
    bool dirty;    /* in sessions.dirty */
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
size_t sessions_count(const struct sessions *s);

struct session *session_find(const struct sessions *s, uint64_t id);
/* The session that a member has now, or NULL. */
struct session *session_of_member(const struct sessions *s, uint64_t member);
/* Opens one, superseding the member's; when there are too many, the one that has been unused for
 * longest goes. */
struct session *session_open(struct sessions *s, uint64_t id, uint64_t member, uint64_t nonce);
/* Its next command was applied: keeps the reply, forgets what was acknowledged. */
void session_applied(struct sessions *s, struct session *session, uint64_t index, uint64_t acked,
                     struct bytes reply);

/* A row out of STATEMENT_SESSION_ALL, and its hash: also for checks. */
void session_read(sqlite3_stmt *st, struct session *out);
struct store_hash session_hash(const struct session *session);

#endif
