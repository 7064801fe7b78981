/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/txn_kit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COMMAND(member, CASE)                                                                      \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

void txn_begin(struct txn_kit *t, uint64_t dir)
{
    cfs__txn__init(&t->txn);
    t->txn.dir = dir;
    t->txn.steps = t->pointers;
}

void txn_as(struct txn_kit *t, uint32_t uid, uint32_t gid, uint32_t group)
{
    cfs__cred__init(&t->cred);
    t->txn.cred = &t->cred;
    t->cred.uid = uid;
    t->cred.gid = gid;
    t->groups[0] = group;
    t->cred.groups = t->groups;
    t->cred.n_groups = 1;
}

static ProtobufCBinaryData keep(struct txn_kit_step *s, int at, const char *text)
{
    snprintf(s->text[at], sizeof s->text[at], "%s", text);
    return kit_bytes(s->text[at], strlen(s->text[at]));
}

static struct txn_kit_step *add(struct txn_kit *t, const char *path, Cfs__TxnStep__OpCase op)
{
    struct txn_kit_step *s = &t->steps[t->txn.n_steps];

    assert_true(t->txn.n_steps < TXN_KIT_STEPS);
    cfs__txn_step__init(&s->step);
    s->step.path = keep(s, 0, path);
    s->step.op_case = op;
    t->pointers[t->txn.n_steps++] = &s->step;
    return s;
}

Cfs__TxnStep *txn_check(struct txn_kit *t, const char *path, Cfs__TxnCheck__Kind kind,
                        uint64_t number)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_CHECK);

    cfs__txn_check__init(&s->check);
    s->step.check = &s->check;
    s->check.kind = kind;
    s->check.version = number;
    s->check.xxh3 = number;
    return &s->step;
}

Cfs__TxnStep *txn_make(struct txn_kit *t, const char *path, uint32_t mode)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_MAKE);

    cfs__make__init(&s->make);
    s->step.make = &s->make;
    s->make.mode = mode;
    return &s->step;
}

Cfs__TxnStep *txn_put(struct txn_kit *t, const char *path, const char *text)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_PUT);

    cfs__txn_put__init(&s->put);
    s->step.put = &s->put;
    s->put.mode = 0644;
    s->put.data = keep(s, 1, text);
    return &s->step;
}

Cfs__TxnStep *txn_remove(struct txn_kit *t, const char *path, bool directory)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_REMOVE);

    cfs__unlink__init(&s->remove);
    s->step.remove = &s->remove;
    s->remove.directory = directory;
    return &s->step;
}

Cfs__TxnStep *txn_move(struct txn_kit *t, const char *from, const char *to, Cfs__Rename__Mode mode)
{
    struct txn_kit_step *s = add(t, from, CFS__TXN_STEP__OP_MOVE);

    cfs__txn_move__init(&s->move);
    s->step.move = &s->move;
    s->move.to = keep(s, 1, to);
    s->move.mode = mode;
    return &s->step;
}

Cfs__TxnStep *txn_link(struct txn_kit *t, const char *from, const char *to)
{
    struct txn_kit_step *s = add(t, from, CFS__TXN_STEP__OP_LINK);

    cfs__txn_link__init(&s->link);
    s->step.link = &s->link;
    s->link.to = keep(s, 1, to);
    return &s->step;
}

Cfs__TxnStep *txn_chmod(struct txn_kit *t, const char *path, uint32_t mode)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_SET_ATTR);

    cfs__set_attr__init(&s->set_attr);
    s->step.set_attr = &s->set_attr;
    s->set_attr.set_mode = true;
    s->set_attr.mode = mode;
    return &s->step;
}

Cfs__TxnStep *txn_set_xattr(struct txn_kit *t, const char *path, const char *name,
                            const char *value)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_SET_XATTR);

    cfs__set_xattr__init(&s->set_xattr);
    s->step.set_xattr = &s->set_xattr;
    s->set_xattr.name = keep(s, 1, name);
    s->set_xattr.value = keep(s, 2, value);
    return &s->step;
}

Cfs__TxnStep *txn_remove_xattr(struct txn_kit *t, const char *path, const char *name)
{
    struct txn_kit_step *s = add(t, path, CFS__TXN_STEP__OP_REMOVE_XATTR);

    cfs__remove_xattr__init(&s->remove_xattr);
    s->step.remove_xattr = &s->remove_xattr;
    s->remove_xattr.name = keep(s, 1, name);
    return &s->step;
}

uint32_t txn_commit(struct txn_kit *t, struct kit *k, struct kit_host *host)
{
    Cfs__Command c = CFS__COMMAND__INIT;

    c.op_case = CFS__COMMAND__OP_TXN;
    c.txn = &t->txn;
    return kit_run_as(k, host, &c);
}

/* ---- Others -----------------------------------------------------------------------------------*/

uint32_t txn_setxattr_as(struct kit *k, struct kit_host *host, uint64_t ino, const char *name,
                         const char *value)
{
    Cfs__SetXattr op = CFS__SET_XATTR__INIT;
    COMMAND(set_xattr, SET_XATTR);

    op.ino = ino;
    op.name = kit_bytes(name, strlen(name));
    op.value = kit_bytes(value, strlen(value));
    return kit_run_as(k, host, &c);
}

const char *txn_getxattr(struct kit *k, uint64_t ino, const char *name)
{
    static char text[5000];
    int64_t len = reader_getxattr(k->reader, ino, name, strlen(name), text, sizeof text - 1);

    if (len == -ENODATA)
        return NULL;
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

uint32_t txn_make_as(struct kit *k, struct kit_host *host, uint64_t parent, const char *name,
                     uint32_t mode, Cfs__Ephemeral ephemeral, bool sequential)
{
    Cfs__Make op = CFS__MAKE__INIT;
    COMMAND(make, MAKE);

    op.parent = parent;
    op.name = kit_bytes(name, strlen(name));
    op.mode = mode;
    op.ephemeral = ephemeral;
    op.sequential = sequential;
    return kit_run_as(k, host, &c);
}

uint32_t txn_unlink_as(struct kit *k, struct kit_host *host, uint64_t parent, const char *name,
                       bool directory)
{
    Cfs__Unlink op = CFS__UNLINK__INIT;
    COMMAND(unlink, UNLINK);

    op.parent = parent;
    op.name = kit_bytes(name, strlen(name));
    op.directory = directory;
    return kit_run_as(k, host, &c);
}

uint32_t txn_write_as(struct kit *k, struct kit_host *host, uint64_t ino, const char *text)
{
    Cfs__Write op = CFS__WRITE__INIT;
    Cfs__Extent extent = CFS__EXTENT__INIT;
    Cfs__Extent *extents[] = {&extent};
    COMMAND(write, WRITE);

    op.ino = ino;
    op.n_extents = 1;
    op.extents = extents;
    extent.data = kit_bytes(text, strlen(text));
    return kit_run_as(k, host, &c);
}

uint32_t txn_release_ephemeral(struct kit *k, struct kit_host *host, uint64_t ino)
{
    Cfs__ReleaseEphemeral op = CFS__RELEASE_EPHEMERAL__INIT;
    COMMAND(release_ephemeral, RELEASE_EPHEMERAL);

    op.n_inos = 1;
    op.inos = &ino;
    return kit_run_as(k, host, &c);
}

uint32_t txn_expire(struct kit *k, struct kit_host *host, uint64_t ino, uint64_t version,
                    uint64_t elapsed_ms)
{
    Cfs__ExpiringEntry entry = CFS__EXPIRING_ENTRY__INIT;
    Cfs__ExpiringEntry *entries[] = {&entry};
    Cfs__ExpireEntries op = CFS__EXPIRE_ENTRIES__INIT;
    COMMAND(expire_entries, EXPIRE_ENTRIES);

    op.n_entries = 1;
    op.entries = entries;
    entry.ino = ino;
    entry.version = version;
    op.elapsed_ms = elapsed_ms;
    op.term = k->term;
    op.clock = (uint64_t)store_clock(k->store);
    return kit_run_as(k, host, &c);
}
