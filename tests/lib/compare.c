/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/compare.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/describe.h"

/* ---- Reports of differences ------------------------------------------------------------------ */

bool compare_differ(struct buf *why, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(why, "%s\n", text);
    return false;
}

bool compare_number(const char *what, uint64_t ino, int64_t got, int64_t want, struct buf *why)
{
    if (got == want)
        return true;
    return compare_differ(why, "ino %" PRIu64 ": %s is %" PRId64 ", should be %" PRId64, ino, what,
                          got, want);
}

bool compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static uint64_t number_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
    const char *at = (const char *)m + f->offset;

    if (f->type == PROTOBUF_C_TYPE_UINT32)
        return *(const uint32_t *)(const void *)at;
    return *(const uint64_t *)(const void *)at;
}

/* Compares every field of an Attr, also those of later versions. */
bool compare_attr(const char *where, const Cfs__Attr *got, const Cfs__Attr *want, struct buf *why)
{
    bool same = true;

    for (unsigned i = 0; i < cfs__attr__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &cfs__attr__descriptor.fields[i];
        uint64_t a = number_at(&got->base, f), b = number_at(&want->base, f);

        if (a != b)
            same = compare_differ(why,
                                  "%s: ino %" PRIu64 " %s is %" PRId64 " (0%" PRIo64
                                  "), should be %" PRId64 " (0%" PRIo64 ")",
                                  where, want->ino, f->name, (int64_t)a, a, (int64_t)b, b);
    }
    return same;
}

/* ---- Results --------------------------------------------------------------------------------- */

static bool same_reply(const char *where, const uint8_t *data, size_t len,
                       const struct model_reply *want, struct buf *why)
{
    Cfs__Reply *got = cfs__reply__unpack(NULL, len, data);
    bool same = true;

    if (got == NULL)
        return compare_differ(why, "%s: the reply does not decode", where);
    if (got->status != want->status)
        same =
            compare_differ(why, "%s: status %u (%s), should be %u (%s)", where, got->status,
                           strerror((int)got->status), want->status, strerror((int)want->status));
    else if ((got->attr != NULL) != want->has_attr)
        same = compare_differ(why, "%s: the reply has %s attr", where, got->attr ? "an" : "no");
    else if (want->has_attr)
        same = compare_attr(where, got->attr, &want->attr, why);
    if (got->value != want->value)
        same = compare_differ(why, "%s: value %" PRIu64 ", should be %" PRIu64, where, got->value,
                              want->value);
    cfs__reply__free_unpacked(got, NULL);
    return same;
}

static bool same_change(const Cfs__Change *got, const struct model_change *want, uint64_t index)
{
    return got->kind == want->kind && got->ino == want->ino && got->parent == want->parent &&
           got->new_parent == want->new_parent && got->victim == want->victim &&
           compare_bytes(got->name.data, got->name.len, want->name.data, want->name.len) &&
           compare_bytes(got->new_name.data, got->new_name.len, want->new_name.data,
                         want->new_name.len) &&
           got->index == index && got->session == want->session;
}

static Cfs__Change as_message(const struct model_change *c)
{
    Cfs__Change message = CFS__CHANGE__INIT;

    message.kind = c->kind;
    message.ino = c->ino;
    message.parent = c->parent;
    message.name = (ProtobufCBinaryData){c->name.len, c->name.data};
    message.new_parent = c->new_parent;
    message.new_name = (ProtobufCBinaryData){c->new_name.len, c->new_name.data};
    message.victim = c->victim;
    message.session = c->session;
    return message;
}

static bool same_changes(uint64_t index, const struct store_result *got,
                         const struct model_result *want, struct buf *why)
{
    bool same = got->n_changes == want->n_changes;

    for (size_t i = 0; same && i < want->n_changes; i++)
        same = same_change(got->changes[i], &want->changes[i], index);
    if (same)
        return true;
    buf_printf(why, "entry %" PRIu64 ": the changes are", index);
    for (size_t i = 0; i < got->n_changes; i++)
        describe_message(&got->changes[i]->base, why);
    buf_printf(why, ", should be");
    for (size_t i = 0; i < want->n_changes; i++) {
        Cfs__Change message = as_message(&want->changes[i]);

        describe_message(&message.base, why);
    }
    buf_printf(why, "\n");
    return false;
}

bool compare_result(uint64_t index, const struct store_result *got, const struct model_result *want,
                    struct buf *why)
{
    bool same = true;
    char where[40];

    snprintf(where, sizeof where, "entry %" PRIu64, index);
    if (got->outcome != want->outcome)
        return compare_differ(why, "%s: outcome %d, should be %d", where, got->outcome,
                              want->outcome);
    if (got->session != want->session || got->seq != want->seq || got->nonce != want->nonce)
        same = compare_differ(why,
                              "%s: session, seq, nonce %" PRIu64 " %" PRIu64 " %" PRIu64
                              ", should be %" PRIu64 " %" PRIu64 " %" PRIu64,
                              where, got->session, got->seq, got->nonce, want->session, want->seq,
                              want->nonce);
    if ((got->reply != NULL) != want->has_reply)
        same = compare_differ(why, "%s: %s reply", where, got->reply != NULL ? "there is a" : "no");
    else if (want->has_reply)
        same = same_reply(where, got->reply, got->reply_len, &want->reply, why) && same;
    return same_changes(index, got, want, why) && same;
}

/* ---- The store's own figures ----------------------------------------------------------------- */

struct orphans {
    const struct model *m;
    size_t seen;
    uint64_t last;
    bool good;
    struct buf *why;
};

static void on_orphan(void *arg, uint64_t ino, uint64_t unlinked)
{
    struct orphans *o = arg;
    const struct model_inode *inode = model_find(o->m, ino);

    o->seen++;
    if (inode == NULL || !model_is_orphan(inode))
        o->good = compare_differ(o->why, "ino %" PRIu64 " is reported as an orphan", ino);
    else if (unlinked != inode->unlinked)
        o->good = compare_number("orphan since", ino, (int64_t)unlinked, (int64_t)inode->unlinked,
                                 o->why);
}

static bool check_orphans(struct store *s, const struct model *m, struct buf *why)
{
    struct orphans all = {.m = m, .good = true, .why = why}, some = all;
    size_t expected = 0;

    for (size_t i = 0; i < m->n_inodes; i++)
        expected += model_is_orphan(m->inodes[i]);
    store_orphans(s, 0, 1u << 20, on_orphan, &all);
    store_orphans(s, 0, 2, on_orphan, &some);
    return all.good && some.good &&
           compare_number("number of orphans", 0, (int64_t)all.seen, (int64_t)expected, why) &&
           compare_number("number of orphans, at most 2", 0, (int64_t)some.seen,
                          (int64_t)min_u64(expected, 2), why);
}

static bool check_kept_reply(struct store *s, const struct model_session *session, uint64_t seq,
                             struct buf *why)
{
    const struct model_reply *kept = model_find_reply(session, seq);
    struct buf bytes = BUF_EMPTY;
    int got = store_reply(s, session->id, seq, &bytes);
    bool good = true;

    if (kept != NULL && got == 1)
        good = same_reply("kept reply", bytes.data, bytes.len, kept, why);
    else if (kept != NULL || (seq > session->last_seq && got != 0) || got < 0)
        good = compare_differ(why, "session %" PRIu64 ": reply of %" PRIu64 ": %d", session->id,
                              seq, got);
    buf_fini(&bytes);
    return good;
}

static bool check_sessions(struct store *s, const struct model *m, struct buf *why)
{
    struct buf none = BUF_EMPTY;

    for (size_t i = 0; i < m->n_sessions; i++) {
        const struct model_session *session = m->sessions[i];
        uint64_t first = session->last_seq > 12 ? session->last_seq - 12 : 1;

        for (uint64_t seq = first; seq <= session->last_seq + 2; seq++)
            if (!check_kept_reply(s, session, seq, why))
                return false;
    }
    return compare_number("reply of a session that never existed", 0,
                          store_reply(s, m->applied + 1, 1, &none), -ESTALE, why);
}

bool compare_store(struct store *s, const struct model *m, struct buf *why)
{
    struct store_counts counts;

    store_counts(s, &counts);
    return compare_number("applied", 0, (int64_t)store_applied(s), (int64_t)m->applied, why) &&
           compare_number("counts: inodes", 0, (int64_t)counts.inodes, (int64_t)m->n_inodes, why) &&
           compare_number("counts: bytes", 0, (int64_t)counts.bytes, (int64_t)model_bytes(m),
                          why) &&
           compare_number("counts: sessions", 0, (int64_t)counts.sessions, (int64_t)m->n_sessions,
                          why) &&
           check_orphans(s, m, why) && check_sessions(s, m, why);
}
