/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation
 *
 * Every member applies the same entries in the same order, and each entry must have the same effect
 * on all of them. So this code depends only on the entry and on the state. An entry that cannot be
 * decoded stops the member (die), because members that skip it would diverge from those that know
 * it; apply_acceptable keeps such entries out of the log.
 *
 * A command carries a stamp: session, number, acknowledged number, time. The duplicate check
 * compares the number with the last one of the session:
 *
 *  - The next number: the command is run, and its reply is stored with the number.
 *  - An earlier number: a duplicate. It changes nothing, and the reply is given again if it is
 *    still stored.
 *  - A later number: a gap, because an earlier command was lost. Nothing changes; the client sends
 *    the commands again.
 *  - No such session: nothing changes. OpenSession is the only command without a session; its nonce
 *    identifies repetitions.
 *
 * `run` has one function for each operation. A function checks everything first and changes the
 * state only if it succeeds, so a command with an error status has no effect except the stored
 * reply. The check of directory guards precedes all of them. */
#include "store/apply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/decode.h"
#include "proto/limits.h"
#include "proto/stamp.h"
#include "store/dir_guard.h"
#include "store/expire.h"
#include "store/file.h"
#include "store/lock.h"
#include "store/range.h"
#include "store/rights.h"
#include "store/staged_write.h"
#include "store/tree.h"
#include "store/txn.h"

/* ---- Decoding ---------------------------------------------------------------------------------*/

/* NULL if the bytes are not a command, or if this program does not know all of its fields. */
static Cfs__Command *decode(const uint8_t *data, size_t len)
{
    ProtobufCMessage *message = decode_message(&cfs__command__descriptor, data + STAMP_SIZE,
                                               len - STAMP_SIZE, LIMIT_DECODE_BUDGET);
    Cfs__Command *command = (Cfs__Command *)message;

    /* A field that this program does not know would take effect on newer members only. */
    if (command != NULL &&
        (command->op_case == CFS__COMMAND__OP__NOT_SET || !decode_is_known(&command->base))) {
        protobuf_c_message_free_unpacked(message, NULL);
        return NULL;
    }
    return command;
}

bool apply_acceptable(const uint8_t *data, size_t len, uint64_t *opens)
{
    struct stamp stamp;
    Cfs__Command *command;

    if (len > LIMIT_COMMAND_MAX || !stamp_decode(data, len, &stamp))
        return false;
    command = decode(data, len);
    if (command == NULL)
        return false;
    if (opens != NULL && command->op_case == CFS__COMMAND__OP_OPEN_SESSION)
        *opens = command->open_session->member;
    cfs__command__free_unpacked(command, NULL);
    return true;
}

static void must_decode(struct apply *a, uint64_t index, const struct store_entry *entry)
{
    a->command = decode(entry->data, entry->len);
    if (a->command == NULL)
        die("log entry %llu holds a command that this version does not know: upgrade coordfs on "
            "this member; if all members have this version, the entry is damaged",
            (unsigned long long)index);
}

/* ---- Commands ---------------------------------------------------------------------------------*/

static uint32_t apply_run(struct op *op, const Cfs__Command *c);

static uint32_t run_noop(struct op *op BASE_UNUSED, const Cfs__Command *c BASE_UNUSED)
{
    return 0;
}

/* A session cannot open another session. */
static uint32_t run_open_session(struct op *op BASE_UNUSED, const Cfs__Command *c BASE_UNUSED)
{
    return EINVAL;
}

static uint32_t run_make(struct op *op, const Cfs__Command *c)
{
    return tree_make(op, c->make);
}

static uint32_t run_link(struct op *op, const Cfs__Command *c)
{
    return tree_link(op, c->link);
}

static uint32_t run_unlink(struct op *op, const Cfs__Command *c)
{
    return tree_unlink(op, c->unlink);
}

static uint32_t run_rename(struct op *op, const Cfs__Command *c)
{
    return tree_rename(op, c->rename);
}

static uint32_t run_set_attr(struct op *op, const Cfs__Command *c)
{
    return file_set_attr(op, c->set_attr);
}

static uint32_t run_write(struct op *op, const Cfs__Command *c)
{
    return file_write(op, c->write);
}

static uint32_t run_set_xattr(struct op *op, const Cfs__Command *c)
{
    return rights_set_xattr(op, c->set_xattr);
}

static uint32_t run_remove_xattr(struct op *op, const Cfs__Command *c)
{
    return rights_remove_xattr(op, c->remove_xattr);
}

static uint32_t run_reap(struct op *op, const Cfs__Command *c)
{
    return file_reap(op, c->reap);
}

static uint32_t run_fallocate(struct op *op, const Cfs__Command *c)
{
    return range_fallocate(op, c->fallocate);
}

static uint32_t run_copy(struct op *op, const Cfs__Command *c)
{
    return range_copy(op, c->copy);
}

static uint32_t run_stage(struct op *op, const Cfs__Command *c)
{
    return staged_write_add(op, c->stage);
}

static uint32_t run_unstage(struct op *op, const Cfs__Command *c)
{
    return staged_write_unstage(op, c->unstage);
}

static uint32_t run_close_session(struct op *op, const Cfs__Command *c BASE_UNUSED)
{
    return expire_close(op);
}

static uint32_t run_expire_session(struct op *op, const Cfs__Command *c)
{
    return expire_session(op, c->expire_session);
}

static uint32_t run_lock(struct op *op, const Cfs__Command *c)
{
    return lock_take(op, c->lock);
}

static uint32_t run_unlock(struct op *op, const Cfs__Command *c)
{
    return lock_give_up(op, c->unlock);
}

static uint32_t run_release_handle(struct op *op, const Cfs__Command *c)
{
    return lock_release_handles(op, c->release_handle);
}

static uint32_t run_cancel_lock(struct op *op, const Cfs__Command *c)
{
    return lock_cancel(op, c->cancel_lock);
}

static uint32_t run_release_ephemeral(struct op *op, const Cfs__Command *c)
{
    return expire_release(op, c->release_ephemeral);
}

static uint32_t run_expire_entries(struct op *op, const Cfs__Command *c)
{
    return expire_entries(op, c->expire_entries);
}

static uint32_t run_txn(struct op *op, const Cfs__Command *c)
{
    return txn_run(op, c->txn, apply_run);
}

static uint32_t (*const run[])(struct op *op, const Cfs__Command *c) = {
    [CFS__COMMAND__OP_NOOP] = run_noop,
    [CFS__COMMAND__OP_OPEN_SESSION] = run_open_session,
    [CFS__COMMAND__OP_MAKE] = run_make,
    [CFS__COMMAND__OP_LINK] = run_link,
    [CFS__COMMAND__OP_UNLINK] = run_unlink,
    [CFS__COMMAND__OP_RENAME] = run_rename,
    [CFS__COMMAND__OP_SET_ATTR] = run_set_attr,
    [CFS__COMMAND__OP_WRITE] = run_write,
    [CFS__COMMAND__OP_SET_XATTR] = run_set_xattr,
    [CFS__COMMAND__OP_REMOVE_XATTR] = run_remove_xattr,
    [CFS__COMMAND__OP_REAP] = run_reap,
    [CFS__COMMAND__OP_FALLOCATE] = run_fallocate,
    [CFS__COMMAND__OP_COPY] = run_copy,
    [CFS__COMMAND__OP_STAGE] = run_stage,
    [CFS__COMMAND__OP_UNSTAGE] = run_unstage,
    [CFS__COMMAND__OP_CLOSE_SESSION] = run_close_session,
    [CFS__COMMAND__OP_EXPIRE_SESSION] = run_expire_session,
    [CFS__COMMAND__OP_LOCK] = run_lock,
    [CFS__COMMAND__OP_UNLOCK] = run_unlock,
    [CFS__COMMAND__OP_RELEASE_HANDLE] = run_release_handle,
    [CFS__COMMAND__OP_CANCEL_LOCK] = run_cancel_lock,
    [CFS__COMMAND__OP_RELEASE_EPHEMERAL] = run_release_ephemeral,
    [CFS__COMMAND__OP_EXPIRE_ENTRIES] = run_expire_entries,
    [CFS__COMMAND__OP_TXN] = run_txn,
};

static uint32_t apply_run(struct op *op, const Cfs__Command *c)
{
    uint32_t status = dir_guard_check(op, c);

    return status != 0 ? status : run[c->op_case](op, c);
}

/* ---- Results ----------------------------------------------------------------------------------*/

static void begin_op(struct apply *a, uint64_t index, uint64_t term, const struct stamp *stamp)
{
    op_fini(&a->op);
    memset(&a->op, 0, sizeof a->op);
    a->op.rows = a->rows;
    a->op.history = &a->history;
    a->op.sessions = a->sessions;
    a->op.locks = a->locks;
    a->op.max_bytes = a->max_bytes;
    a->op.max_inodes = a->max_inodes;
    a->op.index = index;
    a->op.term = term;
    a->op.session = stamp->session;
    a->op.now = stamp->time_ns;
    cfs__reply__init(&a->op.reply);
}

/* A successful Reply may be packed into zero bytes, so the pointer tells that there is a reply. */
static void give_reply(const struct apply *a, struct store_result *out)
{
    out->reply = a->reply.data != NULL ? a->reply.data : (const uint8_t *)"";
    out->reply_len = a->reply.len;
}

static void pack_reply(struct apply *a, struct store_result *out)
{
    size_t len = cfs__reply__get_packed_size(&a->op.reply);

    a->reply.len = 0;
    buf_reserve(&a->reply, len);
    a->reply.len = cfs__reply__pack(&a->op.reply, a->reply.data);
    check(a->reply.len == len);
    give_reply(a, out);
}

static void give_changes(struct apply *a, struct store_result *out)
{
    history_record(&a->op);
    a->changes = xrealloc(a->changes, (a->op.n_changes + 1) * sizeof *a->changes);
    for (size_t i = 0; i < a->op.n_changes; i++)
        a->changes[i] = &a->op.changes[i];
    out->changes = a->changes;
    out->n_changes = a->op.n_changes;
    out->grants = a->op.grants;
    out->n_grants = a->op.n_grants;
    out->ended = a->op.ended;
    out->n_ended = a->op.n_ended;
}

/* ---- Sessions ---------------------------------------------------------------------------------*/

/* The log holds no time before the first session is opened: that time becomes the root's. */
static void date_root(struct op *op)
{
    struct op_inode root;

    if (op->rows->state->n.opened > 0)
        return;
    check(op_inode_find(op, ROW_ROOT_INO, &root));
    root.is.atime = root.is.mtime = root.is.ctime = op->now;
    op_inode_save(op, &root);
    op_change(op, CFS__CHANGE__KIND__ATTR, ROW_ROOT_INO);
}

/* Supersedes the member's session `old`. If there are too many sessions, the one that has been
 * unused longest ends. */
static struct session *open_session(struct apply *a, uint64_t index, const Cfs__OpenSession *c,
                                    struct session *old)
{
    uint64_t previous = old != NULL ? old->nonce : 0;
    struct session *surplus;

    if (old != NULL)
        expire_end(&a->op, old);
    while ((surplus = session_surplus(a->sessions)) != NULL)
        expire_end(&a->op, surplus);
    return session_open(a->sessions, index, c->member, c->nonce, previous, c->ttl_ms);
}

static void apply_open(struct apply *a, uint64_t index, uint64_t term, const struct stamp *stamp,
                       struct store_result *out)
{
    const Cfs__OpenSession *c = a->command->open_session;
    struct session *now = session_of_member(a->sessions, c->member);

    out->nonce = c->nonce;
    if (now != NULL && c->nonce != 0 && now->previous == c->nonce && now->nonce != c->nonce) {
        /* A late repetition: the session that it opened was superseded. */
        out->outcome = STORE_NO_SESSION;
        return;
    }
    begin_op(a, index, term, stamp);
    if (now != NULL && now->nonce == c->nonce) {
        out->outcome = STORE_DUPLICATE;
    } else {
        out->outcome = STORE_APPLIED;
        date_root(&a->op);
        now = open_session(a, index, c, now);
    }
    out->session = now->id;
    a->op.reply.value = now->id;
    pack_reply(a, out);
    give_changes(a, out);
}

static void apply_duplicate(struct apply *a, const struct stamp *stamp, struct store_result *out)
{
    out->outcome = STORE_DUPLICATE;
    buf_fini(&a->reply);
    if (row_reply_find(a->rows, stamp->session, stamp->seq, &a->reply))
        give_reply(a, out);
}

static void apply_next(struct apply *a, uint64_t index, uint64_t term, const struct stamp *stamp,
                       struct session *session, struct store_result *out)
{
    out->outcome = STORE_APPLIED;
    begin_op(a, index, term, stamp);
    a->op.reply.status = apply_run(&a->op, a->command);
    check(a->op.reply.status == 0 || a->op.n_changes == 0);
    pack_reply(a, out);
    if (a->op.closing)
        expire_end(&a->op, session);
    else
        session_applied(a->sessions, session, index, stamp->acked,
                        (struct bytes){out->reply, out->reply_len});
    give_changes(a, out);
}

static void apply_command(struct apply *a, uint64_t index, const struct store_entry *entry,
                          struct store_result *out)
{
    struct session *session;
    struct stamp stamp;

    if (!stamp_decode(entry->data, entry->len, &stamp))
        die("log entry %llu does not hold a command", (unsigned long long)index);
    out->session = stamp.session;
    out->seq = stamp.seq;
    if (stamp.session == 0) {
        must_decode(a, index, entry);
        if (a->command->op_case == CFS__COMMAND__OP_OPEN_SESSION)
            apply_open(a, index, entry->term, &stamp, out);
        else
            out->outcome = STORE_NO_SESSION;
        return;
    }
    session = session_find(a->sessions, stamp.session);
#ifdef BREAK_DEDUPE
    if (session != NULL && stamp.seq == session->last_seq)
        stamp.seq = session->last_seq + 1;
#endif
    if (session == NULL) {
        out->outcome = STORE_NO_SESSION;
    } else if (stamp.seq <= session->last_seq) {
        apply_duplicate(a, &stamp, out);
#ifndef BREAK_GAP
    } else if (stamp.seq > session->last_seq + 1) {
        out->outcome = STORE_GAP;
#endif
    } else {
        must_decode(a, index, entry);
        apply_next(a, index, entry->term, &stamp, session, out);
    }
}

/* ---- Entries ----------------------------------------------------------------------------------*/

static void forget_last(struct apply *a)
{
    if (a->command != NULL)
        cfs__command__free_unpacked(a->command, NULL);
    a->command = NULL;
}

void apply_init(struct apply *a, struct rows *rows, struct sessions *sessions,
                struct locktab *locks)
{
    memset(a, 0, sizeof *a);
    a->rows = rows;
    a->sessions = sessions;
    a->locks = locks;
    a->max_bytes = LIMIT_TREE_BYTES;
    a->max_inodes = LIMIT_TREE_ENTRIES;
}

void apply_fini(struct apply *a)
{
    forget_last(a);
    op_fini(&a->op);
    history_fini(&a->history);
    free(a->changes);
    buf_fini(&a->reply);
}

void apply_entry(struct apply *a, uint64_t index, const struct store_entry *entry,
                 struct store_result *out)
{
    struct counters *n = &a->rows->state->n;

    check(index == n->applied + 1);
    check(entry->term >= n->applied_term);
    forget_last(a);
    memset(out, 0, sizeof *out);
    out->outcome = STORE_INTERNAL;
    switch (entry->type) {
    case STORE_COMMAND:
        apply_command(a, index, entry, out);
        break;
    case STORE_BARRIER:
        break;
    case STORE_CHANGE:
        state_set_config(a->rows->db, a->rows->state, index, entry->data, entry->len);
        break;
    default:
        die("log entry %llu has the unknown type %d", (unsigned long long)index, (int)entry->type);
    }
    n->applied = index;
    n->applied_term = entry->term;
}
