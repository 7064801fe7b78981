/* SPDX-License-Identifier: Apache-2.0 */
#include "store/znode.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "proto/limits.h"
#include "store/dir_guard.h"

#define SECOND 1000000000

static bool is_text(ProtobufCBinaryData value, const char *text)
{
    return value.len == strlen(text) && memcmp(value.data, text, value.len) == 0;
}

/* True if the inode could be removed by its only name. */
static bool can_end(const struct inode *inode)
{
    return inode->ino != ROW_ROOT_INO && (op_is_dir(inode) ? inode->nlink > 0 : inode->nlink == 1);
}

/* ---- Setting: each changes `s`, or says why not -----------------------------------------------*/

static uint32_t set_ephemeral(struct op *op, const struct inode *inode, ProtobufCBinaryData value,
                              struct special *s)
{
    bool open = is_text(value, "open");

    if ((!open && !is_text(value, "session")) || !can_end(inode))
        return EINVAL;
    if (op_is_dir(inode) && inode->size > 0)
        return EINVAL;
    s->ephemeral = open ? CFS__EPHEMERAL__EPHEMERAL_OPEN : CFS__EPHEMERAL__EPHEMERAL_SESSION;
    if (op_is_dir(inode) || s->session == op->session)
        return 0;
    s->session = op->session;
    return special_has_room(op) ? 0 : EDQUOT;
}

static void remove_ephemeral(struct special *s)
{
    s->ephemeral = 0;
    s->session = 0;
}

static uint32_t set_ttl(struct op *op, const struct inode *inode, ProtobufCBinaryData value,
                        struct special *s)
{
    uint64_t seconds = 0;

    if (value.len == 0 || value.len > 10 || !can_end(inode))
        return EINVAL;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return EINVAL;
        seconds = seconds * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (seconds < 1 || seconds > LIMIT_TTL_MAX)
        return EINVAL;
    s->ttl = seconds;
    s->deadline = op_is_dir(inode) && inode->size > 0 ? 0 : special_begin_ttl(op, seconds);
    return 0;
}

static void remove_ttl(struct special *s)
{
    s->ttl = 0;
    s->deadline = 0;
}

static uint32_t set_container(struct op *op BASE_UNUSED, const struct inode *inode,
                              ProtobufCBinaryData value, struct special *s)
{
    if (!is_text(value, "1") || !op_is_dir(inode) || !can_end(inode))
        return EINVAL;
    s->container = 1;
    return 0;
}

static void remove_container(struct special *s)
{
    s->container = 0;
}

static uint32_t set_guard(struct op *op, const struct inode *inode, ProtobufCBinaryData value,
                          struct special *s)
{
    if (!op_is_dir(inode))
        return EINVAL;
    return dir_guard_find_lock(op, inode, op_bytes(value), &s->guard);
}

static void remove_guard(struct special *s)
{
    s->guard = 0;
}

/* ---- Getting: each appends the value, or says that there is none ------------------------------*/

static int get_ephemeral(const struct special *s, const struct znode_lookup *lookup BASE_UNUSED,
                         struct buf *out)
{
    if (s->ephemeral == 0)
        return -ENODATA;
    buf_printf(out, "%s", s->ephemeral == CFS__EPHEMERAL__EPHEMERAL_OPEN ? "open" : "session");
    return 0;
}

static int get_ttl(const struct special *s, const struct znode_lookup *lookup BASE_UNUSED,
                   struct buf *out)
{
    if (s->ttl == 0)
        return -ENODATA;
    buf_printf(out, "%llu", (unsigned long long)s->ttl);
    return 0;
}

static int get_container(const struct special *s, const struct znode_lookup *lookup BASE_UNUSED,
                         struct buf *out)
{
    if (s->container == 0)
        return -ENODATA;
    buf_append(out, "1", 1);
    return 0;
}

static int get_guard(const struct special *s, const struct znode_lookup *lookup, struct buf *out)
{
    int64_t len;

    if (s->guard == 0)
        return -ENODATA;
    buf_reserve(out, LIMIT_XATTR_VALUE);
    len = lookup->path(lookup->arg, s->guard, (char *)out->data + out->len, LIMIT_XATTR_VALUE);
    if (len == -ENOENT)
        buf_printf(out, "(deleted)");
    else if (len < 0)
        return (int)len;
    else
        out->len += (size_t)len;
    return 0;
}

static int get_owner(const struct special *s, const struct znode_lookup *lookup, struct buf *out)
{
    if (s->session == 0)
        return -ENODATA;
    buf_printf(out, "%llu", (unsigned long long)lookup->member(lookup->arg, s->session));
    return 0;
}

static int get_sequence(const struct special *s, const struct znode_lookup *lookup BASE_UNUSED,
                        struct buf *out)
{
    if (s->sequence == 0)
        return -ENODATA;
    buf_printf(out, "%llu", (unsigned long long)s->sequence);
    return 0;
}

/* Rounded up, so that the entry has expired by then. */
static int get_expires(const struct special *s, const struct znode_lookup *lookup BASE_UNUSED,
                       struct buf *out)
{
    int64_t deadline = s->deadline < 0 ? -s->deadline : s->deadline;
    int64_t seconds = deadline / SECOND + (deadline % SECOND > 0 ? 1 : 0);

    if (s->deadline == 0)
        return -ENODATA;
    buf_printf(out, "%lld", (long long)seconds);
    return 0;
}

/* ---- The names --------------------------------------------------------------------------------*/

static const struct name {
    const char *name;
    int (*get)(const struct special *s, const struct znode_lookup *lookup, struct buf *out);
    uint32_t (*set)(struct op *op, const struct inode *inode, ProtobufCBinaryData value,
                    struct special *s); /* NULL: read-only */
    void (*remove)(struct special *s);
} names[] = {
    {"ephemeral", get_ephemeral, set_ephemeral, remove_ephemeral},
    {"ttl", get_ttl, set_ttl, remove_ttl},
    {"container", get_container, set_container, remove_container},
    {"guard", get_guard, set_guard, remove_guard},
    {"owner", get_owner, NULL, NULL},
    {"sequence", get_sequence, NULL, NULL},
    {"expires", get_expires, NULL, NULL},
};

/* Layers above the store answer these names; they cannot be set. */
static const char *const elsewhere[] = {"version",  "cversion",          "aversion", "created",
                                        "modified", "children_modified", "fence"};

bool znode_is_name(struct bytes name)
{
    return name.len >= strlen(ZNODE_PREFIX) &&
           memcmp(name.data, ZNODE_PREFIX, strlen(ZNODE_PREFIX)) == 0;
}

static bool is_called(struct bytes name, const char *what)
{
    return name.len == strlen(ZNODE_PREFIX) + strlen(what) &&
           memcmp(name.data + strlen(ZNODE_PREFIX), what, strlen(what)) == 0;
}

bool znode_ends(struct bytes name, const struct inode *inode)
{
    return is_called(name, "ttl") || is_called(name, "container") ||
           (is_called(name, "ephemeral") && !op_is_dir(inode));
}

bool znode_is_restriction(struct bytes name)
{
    return is_called(name, "guard");
}

static const struct name *find_name(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is_called(name, names[i].name))
            return &names[i];
    return NULL;
}

static uint32_t check_settable(struct bytes text, const struct name *name)
{
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (is_called(text, elsewhere[i]))
            return EPERM;
    if (name == NULL)
        return EINVAL;
    return name->set != NULL ? 0 : EPERM;
}

static bool is_set(const struct name *name, const struct special *s)
{
    struct special without = *s;

    name->remove(&without);
    return memcmp(&without, s, sizeof *s) != 0;
}

uint32_t znode_set(struct op *op, const struct inode *inode, const Cfs__SetXattr *c)
{
    const struct name *name = find_name(op_bytes(c->name));
    struct special was, is;
    uint32_t status = check_settable(op_bytes(c->name), name);

    if (status != 0)
        return status;
    special_find(op, inode->ino, &was);
    if (c->mode == CFS__SET_XATTR__MODE__CREATE && is_set(name, &was))
        return EEXIST;
    if (c->mode == CFS__SET_XATTR__MODE__REPLACE && !is_set(name, &was))
        return ENODATA;
    is = was;
    status = name->set(op, inode, c->value, &is);
    if (status == 0)
        special_save(op, &was, &is);
    return status;
}

uint32_t znode_remove(struct op *op, const struct inode *inode, const Cfs__RemoveXattr *c)
{
    const struct name *name = find_name(op_bytes(c->name));
    struct special was, is;
    uint32_t status = check_settable(op_bytes(c->name), name);

    if (status != 0)
        return status == EINVAL ? ENODATA : status;
    special_find(op, inode->ino, &was);
    if (!is_set(name, &was))
        return ENODATA;
    is = was;
    name->remove(&is);
    special_save(op, &was, &is);
    return 0;
}

int znode_get(const struct special *s, struct bytes text, const struct znode_lookup *lookup,
              struct buf *out)
{
    const struct name *name = find_name(text);

    return name != NULL ? name->get(s, lookup, out) : -ENODATA;
}

void znode_list(const struct special *s, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].set != NULL && is_set(&names[i], s)) {
            buf_append(out, ZNODE_PREFIX, strlen(ZNODE_PREFIX));
            buf_append(out, names[i].name, strlen(names[i].name) + 1);
        }
}
