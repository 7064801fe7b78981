/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/lost.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "fs/state.h"

static uint64_t sign(Cfs__Change__Kind kind, uint64_t ino, const ProtobufCBinaryData *name)
{
    uint64_t seed = ino * 16 + (uint64_t)kind;

    return (name == NULL ? XXH3_64bits(&seed, sizeof(seed))
                         : XXH3_64bits_withSeed(name->data, name->len, seed)) |
           1;
}

static uint64_t sign_two(Cfs__Change__Kind kind, uint64_t dir, const ProtobufCBinaryData *name,
                         uint64_t new_dir, const ProtobufCBinaryData *new_name)
{
    return (sign(kind, dir, name) * 31 + sign(kind, new_dir, new_name)) | 1;
}

uint64_t lost_of_change(const Cfs__Change *c)
{
    if (c->kind == CFS__CHANGE__KIND__RENAME || c->kind == CFS__CHANGE__KIND__EXCHANGE)
        return sign_two(c->kind, c->parent, &c->name, c->new_parent, &c->new_name);
    if (c->parent != 0)
        return sign(c->kind, c->parent, &c->name);
    return sign(c->kind, c->ino, NULL);
}

static uint64_t of_rename(const Cfs__Rename *r)
{
    Cfs__Change__Kind kind = r->mode == CFS__RENAME__MODE__EXCHANGE ? CFS__CHANGE__KIND__EXCHANGE
                                                                    : CFS__CHANGE__KIND__RENAME;

    return sign_two(kind, r->parent, &r->name, r->new_parent, &r->new_name);
}

static uint64_t of_setattr(const Cfs__SetAttr *s)
{
    return sign(s->set_size ? CFS__CHANGE__KIND__DATA : CFS__CHANGE__KIND__ATTR, s->ino, NULL);
}

uint64_t lost_of_command(const Cfs__Command *c)
{
    if (c->op_case == CFS__COMMAND__OP_MAKE)
        return sign(CFS__CHANGE__KIND__CREATE, c->make->parent, &c->make->name);
    if (c->op_case == CFS__COMMAND__OP_LINK)
        return sign(CFS__CHANGE__KIND__LINK, c->link->parent, &c->link->name);
    if (c->op_case == CFS__COMMAND__OP_UNLINK)
        return sign(c->unlink->directory ? CFS__CHANGE__KIND__RMDIR : CFS__CHANGE__KIND__UNLINK,
                    c->unlink->parent, &c->unlink->name);
    if (c->op_case == CFS__COMMAND__OP_RENAME)
        return of_rename(c->rename);
    if (c->op_case == CFS__COMMAND__OP_SET_ATTR)
        return of_setattr(c->set_attr);
    if (c->op_case == CFS__COMMAND__OP_WRITE)
        return sign(CFS__CHANGE__KIND__DATA, c->write->ino, NULL);
    if (c->op_case == CFS__COMMAND__OP_FALLOCATE)
        return sign(CFS__CHANGE__KIND__DATA, c->fallocate->ino, NULL);
    if (c->op_case == CFS__COMMAND__OP_COPY)
        return sign(CFS__CHANGE__KIND__DATA, c->copy->dst, NULL);
    if (c->op_case == CFS__COMMAND__OP_SET_XATTR)
        return sign(CFS__CHANGE__KIND__XATTR, c->set_xattr->ino, NULL);
    if (c->op_case == CFS__COMMAND__OP_REMOVE_XATTR)
        return sign(CFS__CHANGE__KIND__XATTR, c->remove_xattr->ino, NULL);
    return 0;
}

void lost_add(struct losts *l, uint64_t signature)
{
    if (signature == 0)
        return;
    if (l->signatures == NULL)
        l->signatures = xcalloc(LOST_MAX, sizeof(*l->signatures));
    if (l->n == LOST_MAX)
        memmove(l->signatures, l->signatures + 1, --l->n * sizeof(*l->signatures));
    l->signatures[l->n++] = signature;
}

bool lost_take(struct losts *l, uint64_t signature)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (l->signatures[i] != signature)
            continue;
        memmove(l->signatures + i, l->signatures + i + 1, (--l->n - i) * sizeof(*l->signatures));
        return true;
    }
    return false;
}

void lost_clear(struct losts *l)
{
    free(l->signatures);
    l->signatures = NULL;
    l->n = 0;
}

void lost_note_call(struct fs *fs, const struct call *c)
{
    if (call_uncertain(c)) {
        fs->uncertain_serial = fs->last_serial;
        lost_add(&fs->lost, c->signature);
    } else if (fs->uncertain_serial != 0 && c->serial > fs->uncertain_serial) {
        fs->uncertain_serial = 0;
        lost_clear(&fs->lost);
    }
}
