/* SPDX-License-Identifier: Apache-2.0 */
#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/stamp.h"
#include "store/check.h"
#include "store/lock.h"
#include "store/schema.h"
#include "store/special.h"
#include "store/tree.h"

/* ---- Opening ----------------------------------------------------------------------------------*/

/* Creates a new database: the schema, the owner's identity, and the root directory. */
static int create(struct store *s)
{
    struct state state;
    struct rows rows = {&s->db, &state};
    int rc = db_exec(&s->db, "BEGIN IMMEDIATE");

    if (rc == SQLITE_OK)
        rc = schema_create(s->db.conn);
    if (rc != SQLITE_OK)
        return db_errno(s->db.conn, rc);
    check(state_load(&s->db, &state) == 1);
    raftlog_put_local(&s->db, &s->identity, 0, 0);
    tree_make_root(&rows);
    state_save(&s->db, &state);
    state_fini(&state);
    rc = db_exec(&s->db, "COMMIT");
    return rc == SQLITE_OK ? db_sync_wal(&s->db) : db_errno(s->db.conn, rc);
}

static int migrate(struct store *s)
{
    int rc = db_exec(&s->db, "BEGIN IMMEDIATE");

    if (rc == SQLITE_OK)
        rc = schema_migrate(s->db.conn);
    if (rc == SQLITE_OK)
        rc = db_exec(&s->db, "COMMIT");
    return rc == SQLITE_OK ? db_sync_wal(&s->db) : db_errno(s->db.conn, rc);
}

/* Checks that the database belongs to this member. Changes nothing. */
static int check_owner(struct store *s, char *errmsg, size_t errmsg_len)
{
    struct raftlog log;
    int row = raftlog_load(&log, &s->db, s->state.n.applied);
    const struct store_identity *found = &log.identity;
    bool same =
        strcmp(found->cluster, s->identity.cluster) == 0 && found->member == s->identity.member;

    if (row <= 0)
        snprintf(errmsg, errmsg_len,
                 "the database is damaged: the raft log does not match the applied index");
    else if (!same)
        snprintf(errmsg, errmsg_len, "the database belongs to member %llu of cluster %s",
                 (unsigned long long)found->member, found->cluster);
    raftlog_fini(&log);
    return row <= 0 ? -EUCLEAN : same ? 0 : -EXDEV;
}

/* Looks for cheap signs of damage: reads a few rows, whatever the size of the database. */
static int check_sanity(struct store *s, char *errmsg, size_t errmsg_len)
{
    struct rows rows = {&s->db, &s->state};
    const struct counters *n = &s->state.n;
    struct inode root;

    if (state_load(&s->db, &s->state) != 1) {
        snprintf(errmsg, errmsg_len, "the database is damaged: the counters are missing");
        return -EUCLEAN;
    }
    if (!row_inode_find(&rows, ROW_ROOT_INO, &root) || !op_is_dir(&root)) {
        snprintf(errmsg, errmsg_len, "the database is damaged: the root directory is missing");
        return -EUCLEAN;
    }
    if (n->inodes < 1 || n->next_ino <= ROW_ROOT_INO || n->next_dirent < 1 ||
        s->state.config_index > n->applied) {
        snprintf(errmsg, errmsg_len, "the database is damaged: its counters are inconsistent");
        return -EUCLEAN;
    }
    return check_owner(s, errmsg, errmsg_len);
}

static const struct {
    int err;
    const char *reason;
} refusals[] = {
    [SCHEMA_NEWER] =
        {-EPROTONOSUPPORT,
         "a newer version of coordfs wrote the database: upgrade coordfs on this member"},
    [SCHEMA_FOREIGN] = {-EUCLEAN, "the file is not a database of coordfs"},
};

/* Reads the database before anything is changed, so a refused database stays as it was. */
static int probe(struct store *s, enum schema_state *schema, char *errmsg, size_t errmsg_len)
{
    struct db db;
    bool same = false;
    int rc, err = db_open(&db, s->state_dir.db, DB_PROBE, errmsg, errmsg_len);

    if (err != 0)
        return err;
    rc = schema_probe(db.conn, schema);
    if (rc == SQLITE_OK && *schema == SCHEMA_CURRENT)
        rc = schema_compare(db.conn, &same);
    if (rc != SQLITE_OK) {
        err = db_errno(db.conn, rc);
        snprintf(errmsg, errmsg_len, "%s", sqlite3_errmsg(db.conn));
    } else if (*schema == SCHEMA_CURRENT) {
        db_abandon(&db);
        if (!same)
            snprintf(errmsg, errmsg_len,
                     "the database has other tables than this version of coordfs");
        return same ? 0 : -EUCLEAN;
    } else if (*schema == SCHEMA_NEWER || *schema == SCHEMA_FOREIGN) {
        err = refusals[*schema].err;
        snprintf(errmsg, errmsg_len, "%s", refusals[*schema].reason);
    }
    db_abandon(&db);
    return err;
}

static int on_wal(void *arg, sqlite3 *conn BASE_UNUSED, const char *name BASE_UNUSED, int pages)
{
    struct store *s = arg;

    s->wal_pages = (unsigned)pages;
    s->unsynced = true;
    return SQLITE_OK;
}

/* Until all checks have passed, errors are returned. After that they are fatal. */
static int prepare(struct store *s, enum schema_state schema, char *errmsg, size_t errmsg_len)
{
    int err = 0;

    s->db.fatal = false;
    if (schema == SCHEMA_EMPTY) {
        s->db.fatal = true;
        err = create(s);
    } else if (schema == SCHEMA_OLDER) {
        err = migrate(s);
    }
    s->db.fatal = false;
    if (err != 0) {
        snprintf(errmsg, errmsg_len, "%s", sqlite3_errmsg(s->db.conn));
        return err;
    }
    err = check_sanity(s, errmsg, errmsg_len);
    s->db.fatal = true;
    return err;
}

int internal_open(struct store *s, char *errmsg, size_t errmsg_len)
{
    enum schema_state schema = SCHEMA_EMPTY;
    int err = probe(s, &schema, errmsg, errmsg_len);

    if (err != 0 || (err = db_open(&s->db, s->state_dir.db, DB_WRITER, errmsg, errmsg_len)) != 0)
        return err;
    err = prepare(s, schema, errmsg, errmsg_len);
    if (err == 0)
        err = checkpoint_start(s->state_dir.db, &s->writer, &s->checkpoint, errmsg, errmsg_len);
    if (err != 0) {
        state_fini(&s->state);
        db_abandon(&s->db);
        return err;
    }
    s->rows = (struct rows){&s->db, &s->state};
    check(raftlog_load(&s->log, &s->db, s->state.n.applied) == 1);
    sessions_load(&s->sessions, &s->rows);
    locktab_load(&s->locks, &s->rows);
    apply_init(&s->apply, &s->rows, &s->sessions, &s->locks);
    sqlite3_wal_hook(s->db.conn, on_wal, s);
    s->wal_pages = 0;
    /* The last process may have committed without a sync, so its data may only be in the page
     * cache. */
    s->unsynced = true;
    return 0;
}

void internal_close(struct store *s, bool keep_wal)
{
    checkpoint_stop(s->checkpoint);
    apply_fini(&s->apply);
    locktab_fini(&s->locks);
    sessions_fini(&s->sessions);
    raftlog_fini(&s->log);
    state_fini(&s->state);
    if (keep_wal)
        db_abandon(&s->db);
    else
        db_close(&s->db);
}

static void init_locks(struct store *s)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    /* An installation must not be starved by a stream of readers. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->readers_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&s->readers_mutex, NULL);
    pthread_mutex_init(&s->writer, NULL);
}

static void fini_locks(struct store *s)
{
    pthread_mutex_destroy(&s->writer);
    pthread_mutex_destroy(&s->readers_mutex);
    pthread_rwlock_destroy(&s->readers_lock);
}

int store_open(const char *dir, const struct store_identity *identity, struct store **out,
               char *errmsg, size_t errmsg_len)
{
    struct store *s = xcalloc(1, sizeof *s);
    int err;

    check(identity->member > 0 && identity->cluster[0] != '\0');
    check(memchr(identity->cluster, '\0', sizeof identity->cluster) != NULL);
    s->identity = *identity;
    LIST_INIT(&s->readers);
    LIST_INIT(&s->snapshots_out);
    err = state_dir_open(&s->state_dir, dir, errmsg, errmsg_len);
    if (err != 0)
        goto free_store;
    init_locks(s);
    err = internal_open(s, errmsg, errmsg_len);
    if (err != 0)
        goto close_state_dir;
    *out = s;
    return 0;

close_state_dir:
    fini_locks(s);
    state_dir_close(&s->state_dir);
free_store:
    free(s);
    return err;
}

void store_close(struct store *s)
{
    check(!s->in_transaction);
    check(LIST_EMPTY(&s->readers));
    check(LIST_EMPTY(&s->snapshots_out));
    check(s->snapshot_in == NULL);
    internal_close(s, false);
    fini_locks(s);
    state_dir_close(&s->state_dir);
    free(s);
}

/* ---- Transactions -----------------------------------------------------------------------------*/

void store_begin(struct store *s)
{
    check(!s->in_transaction);
    pthread_mutex_lock(&s->writer);
    db_run(&s->db, db_get(&s->db, STATEMENT_BEGIN_WRITE));
    s->in_transaction = true;
}

void store_show(struct store *s)
{
    check(s->in_transaction);
    if (s->changed) {
        sessions_save(&s->sessions);
        state_save(&s->db, &s->state);
    }
    db_run(&s->db, db_get(&s->db, STATEMENT_COMMIT));
    s->changed = false;
    s->in_transaction = false;
    pthread_mutex_unlock(&s->writer);
}

void store_commit(struct store *s, bool sync)
{
    int err = 0;

    if (s->in_transaction) {
#ifdef BREAK_APPLIED
        if (!sync)
            s->changed = false;
#endif
        store_show(s);
    }
#ifdef BREAK_SYNC
    sync = false;
#endif
    if (sync && s->unsynced)
        err = db_sync_wal(&s->db);
    if (err != 0)
        die("cannot sync the database to the disk: %s", strerror(-err));
    if (sync)
        s->unsynced = false;
    checkpoint_notify(s->checkpoint, s->wal_pages);
}

/* ---- Raft's part ------------------------------------------------------------------------------*/

void store_raft_state(struct store *s, struct store_raft_state *out)
{
    *out = (struct store_raft_state){
        .term = s->log.term,
        .vote = s->log.vote,
        .first_index = s->log.first,
        .last_index = s->log.last,
        .applied = s->state.n.applied,
        .applied_term = s->state.n.applied_term,
        .config_index = s->state.config_index,
        .config = buf_copy(s->state.config.data, s->state.config.len),
    };
}

void store_set_vote(struct store *s, uint64_t term, uint64_t vote)
{
    check(s->in_transaction);
    raftlog_set_vote(&s->log, term, vote);
}

void store_log_append(struct store *s, uint64_t index, const struct store_entry *entry)
{
    check(s->in_transaction);
    raftlog_append(&s->log, index, entry);
}

void store_log_truncate(struct store *s, uint64_t from)
{
    check(s->in_transaction);
    check(from > s->state.n.applied);
    raftlog_truncate(&s->log, from);
}

void store_log_compact(struct store *s, uint64_t below)
{
    check(s->in_transaction);
    check(below <= s->state.n.applied + 1);
    raftlog_compact(&s->log, below);
}

bool store_log_get(struct store *s, uint64_t index, struct store_entry *out)
{
    return raftlog_get(&s->log, index, out);
}

/* ---- Apply ------------------------------------------------------------------------------------*/

void store_apply(struct store *s, uint64_t index, const struct store_entry *entry,
                 struct store_result *out)
{
    check(s->in_transaction);
    check(index <= s->log.last);
    apply_entry(&s->apply, index, entry, out);
    s->changed = true;
}

bool store_acceptable(const uint8_t *data, size_t len)
{
    return apply_acceptable(data, len, NULL);
}

bool store_acceptable_from(const struct store *s, uint64_t member, const uint8_t *data, size_t len)
{
    const struct session *session;
    struct stamp stamp;
    uint64_t opens = 0;

    if (!apply_acceptable(data, len, &opens) || !stamp_decode(data, len, &stamp))
        return false;
    if (stamp.session == 0)
        return opens == member;
    session = session_find(&s->sessions, stamp.session);
    return session == NULL || session->member == member; /* no such session: apply reports it */
}

int store_reply(struct store *s, uint64_t session, uint64_t seq, struct buf *out)
{
    const struct session *found = session_find(&s->sessions, session);

    *out = (struct buf)BUF_EMPTY;
    if (found == NULL)
        return -ESTALE;
    if (seq > found->last_seq)
        return 0;
    row_reply_find(&s->rows, session, seq, out);
    return 1;
}

uint64_t store_applied(const struct store *s)
{
    return s->state.n.applied;
}

struct store_hash store_state_hash(const struct store *s)
{
    return state_hash(&s->state);
}

static struct store_session public_session(const struct store *s, const struct session *session)
{
    const struct lock_session *locks = locktab_session(&s->locks, session->id);

    return (struct store_session){session->id, session->member, (unsigned)session->ttl_ms,
                                  locks != NULL ? locks->count : 0, session->ephemerals};
}

void store_sessions(const struct store *s, void (*fn)(void *arg, const struct store_session *),
                    void *arg)
{
    size_t n;
    struct session **all = sessions_sorted(&s->sessions, &n);

    for (size_t i = 0; i < n; i++) {
        struct store_session session = public_session(s, all[i]);

        fn(arg, &session);
    }
    free(all);
}

bool store_session(const struct store *s, uint64_t id, struct store_session *out)
{
    const struct session *session = session_find(&s->sessions, id);

    if (session != NULL)
        *out = public_session(s, session);
    return session != NULL;
}

enum store_wait store_wait_state(const struct store *s, uint64_t session, uint64_t id,
                                 const Cfs__Lock *asked, uint64_t *fence)
{
    const struct lock *w = locktab_waiter(&s->locks, id);

    if (w != NULL && w->row.session == session)
        return STORE_WAITING;
    return lock_holds(&s->locks, session, asked, fence) ? STORE_GRANTED : STORE_GONE;
}

int64_t store_clock(const struct store *s)
{
    return s->state.clock;
}

static bool has_row(struct db *db, enum statement which)
{
    sqlite3_stmt *st = db_get(db, which);
    bool found = db_step(db, st) > 0;

    db_reset(st);
    return found;
}

enum store_ttls store_ttls(struct store *s)
{
    if (s->state.specials == 0)
        return STORE_TTLS_NONE;
    if (has_row(&s->db, STATEMENT_SPECIAL_PENDING))
        return STORE_TTLS_BEGUN;
    return has_row(&s->db, STATEMENT_SPECIAL_RUNNING) ? STORE_TTLS_RUNNING : STORE_TTLS_NONE;
}

void store_due(struct store *s, uint64_t elapsed_ms, unsigned max,
               void (*fn)(void *arg, uint64_t ino, uint64_t version), void *arg)
{
    sqlite3_stmt *st = db_get(&s->db, STATEMENT_SPECIAL_DUE);

    db_bind(st, 1, (uint64_t)special_later(s->state.clock, elapsed_ms));
    db_bind(st, 2, max);
    while (db_step(&s->db, st) > 0)
        fn(arg, db_u64(st, 0), db_u64(st, 1));
}

void store_orphans(struct store *s, uint64_t after, unsigned max,
                   void (*fn)(void *arg, uint64_t ino, uint64_t unlinked), void *arg)
{
    sqlite3_stmt *st = db_get(&s->db, STATEMENT_ORPHAN_ALL);

    db_bind(st, 1, max);
    db_bind(st, 2, after);
    while (db_step(&s->db, st) > 0)
        fn(arg, db_u64(st, 0), db_u64(st, 1));
}

/* ---- Checks and figures -----------------------------------------------------------------------*/

static bool same_log(struct store *s)
{
    struct raftlog log;
    bool same = raftlog_load(&log, &s->db, s->state.n.applied) == 1 && log.first == s->log.first &&
                log.last == s->log.last && log.term == s->log.term && log.vote == s->log.vote;

    raftlog_fini(&log);
    return same;
}

static bool same_locks(struct store *s)
{
    struct locktab stored;
    bool same;

    locktab_load(&stored, &s->rows);
    same = hash_equal(locktab_hash(&stored), locktab_hash(&s->locks));
    locktab_fini(&stored);
    return same;
}

/* True if the counters in memory match the rows. */
static bool same_counts(struct store *s)
{
    struct state fresh;
    uint64_t *counted;
    size_t n;
    struct session **all = sessions_sorted(&s->sessions, &n);
    bool same = state_load(&s->db, &fresh) == 1 && fresh.specials == s->state.specials &&
                fresh.guards == s->state.guards && fresh.staged_writes == s->state.staged_writes &&
                fresh.quotas == s->state.quotas &&
                memcmp(&fresh.history, &s->state.history, sizeof fresh.history) == 0;

    state_fini(&fresh);
    counted = xcalloc(n + 1, sizeof *counted);
    for (size_t i = 0; i < n; i++)
        counted[i] = all[i]->ephemerals;
    sessions_recount(&s->sessions);
    for (size_t i = 0; i < n; i++)
        same = same && counted[i] == all[i]->ephemerals;
    free(counted);
    free(all);
    return same;
}

bool store_check(struct store *s, char *why, size_t why_len)
{
    struct store_hash found;

    check(!s->in_transaction);
    if (!check_file(s->state_dir.db, true, &found, why, why_len))
        return false;
    if (hash_equal(found, store_state_hash(s)) && same_log(s) && same_locks(s) && same_counts(s))
        return true;
    snprintf(why, why_len, "S21: the state in memory differs from the database");
    return false;
}

bool store_check_file(const char *path, char *why, size_t why_len)
{
    struct store_hash found;

    return check_file(path, false, &found, why, why_len);
}

static uint64_t get_pragma(struct store *s, const char *sql)
{
    sqlite3_stmt *st = NULL;
    uint64_t value = 0;

    check(sqlite3_prepare_v2(s->db.conn, sql, -1, &st, NULL) == SQLITE_OK);
    if (db_step(&s->db, st) > 0)
        value = db_u64(st, 0);
    sqlite3_finalize(st);
    return value;
}

void store_counts(struct store *s, struct store_counts *out)
{
    *out = (struct store_counts){
        .inodes = s->state.n.inodes,
        .bytes = s->state.n.bytes,
        .sessions = sessions_count(&s->sessions),
        .log_rows = s->log.last + 1 - s->log.first,
        .file_bytes = get_pragma(s, "PRAGMA page_count") * get_pragma(s, "PRAGMA page_size"),
    };
}
