/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/reference.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/stamp.h"
#include "tests/lib/compare.h"
#include "tests/lib/crash_vfs.h"
#include "tests/lib/describe.h"
#include "tests/sim/impl.h"

/* ---- Life ------------------------------------------------------------------------------------ */

struct reference *reference_new(const char *dir, bool model)
{
    const struct store_identity identity = {.member = 1000, .cluster = "sim"};
    struct reference *r = xcalloc(1, sizeof *r);
    char errmsg[256] = "";

    snprintf(r->dir, sizeof r->dir, "%s/reference", dir);
    check(mkdir(r->dir, 0700) == 0);
    crash_vfs_off(); /* the reference's disk has no faults */
    if (store_open(r->dir, &identity, &r->store, errmsg, sizeof errmsg) != 0)
        die("the reference: %s", errmsg);
    r->reader = reader_new(r->store);
    crash_vfs_on();
    if (model)
        r->model = model_new();
    r->cap = 1024;
    r->hashes = xcalloc(r->cap, sizeof *r->hashes);
    r->hashes[0] = store_state_hash(r->store);
    return r;
}

void reference_free(struct reference *r)
{
    struct reference_row *row, *next_row;
    struct reference_session *session, *next_session;
    struct reference_ttl *ttl, *next_ttl;

    HASH_ITER (hh, r->rows, row, next_row) {
        HASH_DEL(r->rows, row);
        free(row);
    }
    HASH_ITER (hh, r->sessions, session, next_session) {
        HASH_DEL(r->sessions, session);
        free(session);
    }
    HASH_ITER (hh, r->ttls, ttl, next_ttl) {
        HASH_DEL(r->ttls, ttl);
        free(ttl);
    }
    reader_free(r->reader);
    store_close(r->store);
    if (r->model != NULL)
        model_free(r->model);
    free(r->lock_model);
    free(r->hashes);
    buf_fini(&r->error);
    free(r);
}

static bool wrong(struct reference *r, const struct store_entry *entry, const char *name,
                  const char *what)
{
    buf_printf(&r->error, "%s: entry %" PRIu64 ": %s: ", name, r->applied, what);
    describe_entry(entry, &r->error);
    buf_append(&r->error, "", 1);
    return false;
}

/* ---- Once ------------------------------------------------------------------------------------ */

const struct reference_row *reference_find(struct reference *r, uint64_t session, uint64_t seq)
{
    struct reference_row probe = {.key = {session, seq}}, *row;

    HASH_FIND(hh, r->rows, &probe.key, sizeof probe.key, row);
    return row;
}

static struct reference_session *find_session(struct reference *r, uint64_t id)
{
    struct reference_session *s;

    HASH_FIND(hh, r->sessions, &id, sizeof id, s);
    return s;
}

static enum store_outcome expected_outcome(const struct reference_session *s, uint64_t seq)
{
    if (s == NULL || s->ended)
        return STORE_NO_SESSION;
    return seq <= s->last ? STORE_DUPLICATE : seq == s->last + 1 ? STORE_APPLIED : STORE_GAP;
}

static void remember(struct reference *r, const struct stamp *stamp,
                     const struct store_entry *entry, const struct store_result *got,
                     const Cfs__Reply *reply)
{
    struct reference_row *row = xcalloc(1, sizeof *row);

    row->key.session = stamp->session;
    row->key.seq = stamp->seq;
    row->index = r->applied;
    row->command = XXH3_64bits(entry->data + STAMP_SIZE, entry->len - STAMP_SIZE);
    row->reply = XXH3_64bits(got->reply, got->reply_len);
    row->status = reply->status;
    row->value = reply->value;
    HASH_ADD(hh, r->rows, key, sizeof row->key, row);
}

static bool check_once(struct reference *r, const struct stamp *stamp,
                       const struct store_entry *entry, const struct store_result *got)
{
    struct reference_session *s = find_session(r, stamp->session);
    enum store_outcome wanted = expected_outcome(s, stamp->seq);
    Cfs__Reply *reply;

    if (got->outcome != wanted)
        return wrong(r, entry, "ONCE", "the outcome does not fit its number");
    if (wanted != STORE_APPLIED)
        return true;
    s->last = stamp->seq;
    reply = cfs__reply__unpack(NULL, got->reply_len, got->reply);
    check(reply != NULL);
    remember(r, stamp, entry, got, reply);
    cfs__reply__free_unpacked(reply, NULL);
    return true;
}

static void note_sessions(struct reference *r, const struct store_result *got)
{
    struct reference_session *s;

    if (got->nonce != 0 && got->session != 0 && find_session(r, got->session) == NULL) {
        s = xcalloc(1, sizeof *s);
        s->id = got->session;
        HASH_ADD(hh, r->sessions, id, sizeof s->id, s);
        r->last_session = s->id;
        r->opened++;
    }
    for (size_t i = 0; i < got->n_ended; i++) {
        s = find_session(r, got->ended[i].session);
        if (s != NULL)
            s->ended = true;
        r->ended++;
    }
}

/* ---- Locks ----------------------------------------------------------------------------------- */

static uint32_t status_of(const struct store_result *got)
{
    Cfs__Reply *reply = cfs__reply__unpack(NULL, got->reply_len, got->reply);
    uint32_t status;

    check(reply != NULL);
    status = reply->status;
    cfs__reply__free_unpacked(reply, NULL);
    return status;
}

static uint32_t run_in_model(struct reference *r, uint64_t session, const Cfs__Command *c,
                             uint32_t got)
{
    struct lock_model *m = r->lock_model;

    switch ((int)c->op_case) {
    case CFS__COMMAND__OP_LOCK:
        return lock_model_lock(m, r->applied, session, c->lock);
    case CFS__COMMAND__OP_UNLOCK:
        lock_model_unlock(m, session, c->unlock);
        return 0;
    case CFS__COMMAND__OP_RELEASE_HANDLE:
        for (size_t i = 0; i < c->release_handle->n_handles; i++)
            lock_model_release(m, session, c->release_handle->handles[i]);
        return 0;
    case CFS__COMMAND__OP_CANCEL_LOCK:
        return lock_model_cancel(m, session, c->cancel_lock->id);
    default:
        return got;
    }
}

static bool check_locks(struct reference *r, const struct stamp *stamp, const Cfs__Command *c,
                        const struct store_entry *entry, const struct store_result *got)
{
    struct buf why = BUF_EMPTY;
    bool good = true;

    if (r->lock_model == NULL)
        return true;
    for (size_t i = 0; i < got->n_ended; i++)
        lock_model_end(r->lock_model, got->ended[i].session);
    if (got->outcome == STORE_APPLIED && stamp->session != 0) {
        uint32_t status = status_of(got);

        if (run_in_model(r, stamp->session, c, status) != status)
            return wrong(r, entry, "LOCKS", "the status differs from the model's");
    }
    for (size_t i = 0; i < got->n_grants && good; i++)
        good = lock_model_grant(r->lock_model, r->applied, &got->grants[i], &why);
    r->grants += got->n_grants;
    good = good && lock_model_settled(r->lock_model, &why);
    buf_append(&why, "", 1);
    if (!good)
        wrong(r, entry, "LOCKS", (char *)why.data);
    buf_fini(&why);
    return good;
}

/* ---- Time ------------------------------------------------------------------------------------ */

#define TTL_NAME "user.coordfs.ttl"

static struct reference_ttl *find_ttl(struct reference *r, uint64_t ino)
{
    struct reference_ttl *ttl;

    HASH_FIND(hh, r->ttls, &ino, sizeof ino, ttl);
    return ttl;
}

static void begin_ttl(struct reference *r, uint64_t ino, uint64_t seconds, uint64_t now_us)
{
    struct reference_ttl *ttl = find_ttl(r, ino);

    if (ttl == NULL) {
        ttl = xcalloc(1, sizeof *ttl);
        ttl->ino = ino;
        HASH_ADD(hh, r->ttls, ino, sizeof ttl->ino, ttl);
    }
    ttl->seconds = seconds;
    ttl->begun_us = now_us;
}

/* The load sets ttls of a second. A Write with a truncation begins it again. */
static void note_ttl(struct reference *r, const Cfs__Command *c, uint64_t now_us)
{
    if (c->op_case == CFS__COMMAND__OP_SET_XATTR && c->set_xattr->name.len == strlen(TTL_NAME) &&
        memcmp(c->set_xattr->name.data, TTL_NAME, strlen(TTL_NAME)) == 0)
        begin_ttl(r, c->set_xattr->ino, 1, now_us);
    if (c->op_case == CFS__COMMAND__OP_WRITE && find_ttl(r, c->write->ino) != NULL &&
        c->write->truncate)
        begin_ttl(r, c->write->ino, 1, now_us);
}

/* No entry is removed before its ttl has passed on a true clock; clocks drift by 2 % at most. */
static bool check_expired(struct reference *r, const struct store_entry *entry,
                          const struct store_result *got, uint64_t now_us)
{
    char text[80];

    for (size_t i = 0; i < got->n_changes; i++) {
        const Cfs__Change *change = got->changes[i];
        const struct reference_ttl *ttl = find_ttl(r, change->ino);

        if ((change->kind != CFS__CHANGE__KIND__UNLINK &&
             change->kind != CFS__CHANGE__KIND__RMDIR) ||
            ttl == NULL)
            continue;
        r->expired++;
        snprintf(text, sizeof text, "an entry was removed after %" PRIu64 " us of its ttl",
                 now_us - ttl->begun_us);
        if (now_us - ttl->begun_us < ttl->seconds * 980000)
            return wrong(r, entry, "TTL", text);
    }
    return true;
}

static bool check_ttls(struct reference *r, const Cfs__Command *c, const struct store_entry *entry,
                       const struct store_result *got, uint64_t now_us)
{
    if (got->outcome != STORE_APPLIED || got->reply == NULL || c->op_case == CFS__COMMAND__OP_TXN)
        return true;
    if (c->op_case == CFS__COMMAND__OP_EXPIRE_ENTRIES)
        return check_expired(r, entry, got, now_us);
    if (status_of(got) == 0)
        note_ttl(r, c, now_us);
    return true;
}

/* ---- The existing inodes --------------------------------------------------------------------- */

/* Records the files that the load uses, by their names in the root. */
static void note_made(struct reference *r, const Cfs__Command *c, const struct store_result *got)
{
    Cfs__Reply *reply;
    const Cfs__Make *make = c->make;

    if (c->op_case != CFS__COMMAND__OP_MAKE || got->outcome != STORE_APPLIED)
        return;
    reply = cfs__reply__unpack(NULL, got->reply_len, got->reply);
    check(reply != NULL);
    if (reply->status == 0 && reply->attr != NULL) {
        r->inos[r->n_inos % REFERENCE_INOS].ino = reply->attr->ino;
        r->inos[r->n_inos++ % REFERENCE_INOS].mode = reply->attr->mode;
        if (make->name.len == strlen(JOURNAL_NAME) &&
            memcmp(make->name.data, JOURNAL_NAME, make->name.len) == 0)
            r->journal = reply->attr->ino;
        if (make->name.len == 2 && make->name.data[0] == 'L')
            r->lock_inos[make->name.data[1] - '0'] = reply->attr->ino;
        if (r->lock_model == NULL && r->lock_inos[0] != 0 && r->lock_inos[1] != 0) {
            r->lock_model = xcalloc(1, sizeof *r->lock_model);
            memcpy(r->lock_model->inos, r->lock_inos, sizeof r->lock_inos);
        }
    }
    cfs__reply__free_unpacked(reply, NULL);
}

/* ---- Application ----------------------------------------------------------------------------- */

static bool judge(struct reference *r, const struct store_entry *entry,
                  const struct store_result *got, uint64_t now_us)
{
    struct stamp stamp;
    Cfs__Command *c;
    bool good;

    if (entry->type != STORE_COMMAND)
        return got->outcome == STORE_INTERNAL || wrong(r, entry, "ONCE", "taken for a command");
    check(stamp_decode(entry->data, entry->len, &stamp));
    c = cfs__command__unpack(NULL, entry->len - STAMP_SIZE, entry->data + STAMP_SIZE);
    check(c != NULL);
    good = stamp.session == 0 || check_once(r, &stamp, entry, got);
    note_sessions(r, got);
    note_made(r, c, got);
    good = good && check_locks(r, &stamp, c, entry, got);
    good = good && check_ttls(r, c, entry, got, now_us);
    cfs__command__free_unpacked(c, NULL);
    return good;
}

static bool check_model(struct reference *r, const struct store_entry *entry,
                        const struct store_result *got)
{
    struct model_result want;
    struct buf why = BUF_EMPTY;
    bool same;

    if (r->model == NULL)
        return true;
    model_apply(r->model, r->applied, entry, &want);
    same = compare_result(r->applied, got, &want, &why);
    model_result_fini(&want);
    buf_append(&why, "", 1);
    if (!same)
        wrong(r, entry, "MODEL", (char *)why.data);
    buf_fini(&why);
    return same;
}

bool reference_apply(struct reference *r, uint64_t index, const struct store_entry *entry,
                     uint64_t now_us)
{
    struct store_result got;
    bool good;

    check(index == r->applied + 1);
    r->applied = index;
    store_begin(r->store);
    if (entry->term > r->store_term) {
        store_set_vote(r->store, entry->term, 0);
        r->store_term = entry->term;
    }
    store_log_append(r->store, index, entry);
    store_apply(r->store, index, entry, &got);
    good = judge(r, entry, &got, now_us) && check_model(r, entry, &got);
    if (index % 256 == 0)
        store_log_compact(r->store, index);
    store_commit(r->store, false);
    if (index + 1 >= r->cap) {
        r->cap *= 2;
        r->hashes = xrealloc(r->hashes, r->cap * sizeof *r->hashes);
    }
    r->hashes[index] = store_state_hash(r->store);
    return good;
}

bool reference_check(struct reference *r)
{
    struct buf why = BUF_EMPTY;
    struct gen_rng rng = gen_rng_from(r->applied);
    char text[256] = "";
    bool good = true;

    crash_vfs_off();
    if (!store_check(r->store, text, sizeof text)) {
        buf_printf(&r->error, "CHECK: the reference: %s", text);
        good = false;
    } else if (r->model != NULL && !compare_tree(r->reader, r->model, &rng, &why)) {
        buf_append(&why, "", 1);
        buf_printf(&r->error, "MODEL: at the end: %s", (char *)why.data);
        good = false;
    }
    crash_vfs_on();
    buf_append(&r->error, "", 1);
    buf_fini(&why);
    return good;
}
