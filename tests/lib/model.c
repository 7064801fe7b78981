/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Arrays of pointers ---------------------------------------------------------------------- */

static void *array_add(void *array, size_t *n, void *item)
{
    void **items = xrealloc(array, (*n + 1) * sizeof *items);

    items[(*n)++] = item;
    return items;
}

static void array_remove(void *array, size_t *n, size_t at)
{
    void **items = array;

    check(at < *n);
    memmove(items + at, items + at + 1, (*n - at - 1) * sizeof *items);
    (*n)--;
}

/* ---- Inodes and entries ---------------------------------------------------------------------- */

static void inode_free(struct model_inode *inode)
{
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        buf_fini(&inode->xattrs[i].name);
        buf_fini(&inode->xattrs[i].value);
    }
    free(inode->xattrs);
    buf_fini(&inode->content);
    free(inode);
}

static void entry_free(struct model_entry *entry)
{
    buf_fini(&entry->name);
    free(entry);
}

static void session_free(struct model_session *s)
{
    free(s->replies);
    model_staged_fini(s);
    free(s);
}

struct model_inode *model_add_inode(struct model *m, uint32_t mode)
{
    struct model_inode *inode = xcalloc(1, sizeof *inode);

    cfs__attr__init(&inode->attr);
    inode->attr.ino = m->next_ino++;
    inode->attr.mode = mode;
    m->inodes = array_add(m->inodes, &m->n_inodes, inode);
    return inode;
}

void model_remove_inode(struct model *m, uint64_t ino)
{
    for (size_t i = 0; i < m->n_inodes; i++) {
        if (m->inodes[i]->attr.ino != ino)
            continue;
        inode_free(m->inodes[i]);
        array_remove(m->inodes, &m->n_inodes, i);
        return;
    }
    check(false);
}

void model_add_entry(struct model *m, uint64_t dir, const ProtobufCBinaryData *name, uint64_t ino,
                     uint64_t order)
{
    struct model_entry *entry = xcalloc(1, sizeof *entry);

    entry->dir = dir;
    entry->ino = ino;
    entry->order = order != 0 ? order : m->next_order++;
    entry->name = buf_copy(name->data, name->len);
    m->entries = array_add(m->entries, &m->n_entries, entry);
}

void model_remove_entry(struct model *m, struct model_entry *entry)
{
    for (size_t i = 0; i < m->n_entries; i++) {
        if (m->entries[i] != entry)
            continue;
        entry_free(entry);
        array_remove(m->entries, &m->n_entries, i);
        return;
    }
    check(false);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct model *model_new(void)
{
    struct model *m = xcalloc(1, sizeof *m);
    struct model_inode *root;

    m->next_ino = MODEL_ROOT;
    m->next_order = 1;
    root = model_add_inode(m, S_IFDIR | 0755);
    root->attr.nlink = 2;
    root->attr.parent = MODEL_ROOT;
    return m;
}

void model_free(struct model *m)
{
    for (size_t i = 0; i < m->n_inodes; i++)
        inode_free(m->inodes[i]);
    for (size_t i = 0; i < m->n_entries; i++)
        entry_free(m->entries[i]);
    for (size_t i = 0; i < m->n_sessions; i++)
        session_free(m->sessions[i]);
    free(m->inodes);
    free(m->entries);
    free(m->sessions);
    free(m->quotas);
    free(m);
}

void model_result_fini(struct model_result *out)
{
    for (size_t i = 0; i < out->n_changes; i++) {
        buf_fini(&out->changes[i].name);
        buf_fini(&out->changes[i].new_name);
    }
    out->n_changes = 0;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

static struct model_session *find_session_of(const struct model *m, uint64_t member)
{
    for (size_t i = 0; i < m->n_sessions; i++)
        if (m->sessions[i]->member == member)
            return m->sessions[i];
    return NULL;
}

static void remove_session(struct model *m, const struct model_session *s)
{
    for (size_t i = 0; i < m->n_sessions; i++) {
        if (m->sessions[i] != s)
            continue;
        session_free(m->sessions[i]);
        array_remove(m->sessions, &m->n_sessions, i);
        return;
    }
    check(false);
}

/* If too many sessions are open, the least recently used one ends. */
static void make_room(struct model *m)
{
    while (m->n_sessions >= LIMIT_SESSIONS_MAX) {
        const struct model_session *oldest = m->sessions[0];

        for (size_t i = 1; i < m->n_sessions; i++)
            if (m->sessions[i]->used < oldest->used)
                oldest = m->sessions[i];
        remove_session(m, oldest);
    }
}

static struct model_session *add_session(struct model *m, uint64_t index,
                                         const Cfs__OpenSession *open)
{
    struct model_session *old = find_session_of(m, open->member);
    struct model_session *s = xcalloc(1, sizeof *s);

    s->id = s->used = index;
    s->nonce = open->nonce;
    s->member = open->member;
    if (old != NULL) {
        s->previous = old->nonce;
        remove_session(m, old);
    }
    make_room(m);
    m->sessions = array_add(m->sessions, &m->n_sessions, s);
    return s;
}

/* The root gets its times from the first session, because the log holds no time before. */
static void date_root(struct model_step *step)
{
    Cfs__Attr *root = &model_find(step->model, MODEL_ROOT)->attr;

    if (step->model->opened)
        return;
    step->model->opened = true;
    root->atime_ns = root->mtime_ns = root->ctime_ns = step->time_ns;
    step->result->changes[step->result->n_changes++] =
        (struct model_change){.kind = CFS__CHANGE__KIND__ATTR, .ino = MODEL_ROOT};
}

static void open_session(struct model_step *step, const Cfs__OpenSession *open)
{
    struct model_session *s = find_session_of(step->model, open->member);
    struct model_result *out = step->result;

    out->nonce = open->nonce;
    if (s != NULL && s->nonce != open->nonce && s->previous == open->nonce) {
        out->outcome = STORE_NO_SESSION; /* it has ended already */
        return;
    }
    out->outcome = STORE_DUPLICATE;
    if (s == NULL || s->nonce != open->nonce) {
        out->outcome = STORE_APPLIED;
        date_root(step);
        s = add_session(step->model, step->index, open);
    }
    out->session = s->id;
    out->has_reply = true;
    out->reply.value = s->id;
}

static void forget_replies(struct model_session *s, uint64_t acked)
{
    size_t kept = 0;

    s->acked = max_u64(s->acked, acked);
    for (size_t i = 0; i < s->n_replies; i++)
        if (s->replies[i].seq > s->acked)
            s->replies[kept++] = s->replies[i];
    s->n_replies = kept;
}

static void keep_reply(struct model_session *s, uint64_t index, uint64_t seq,
                       const struct model_reply *reply)
{
    s->used = index;
    s->replies = xrealloc(s->replies, (s->n_replies + 1) * sizeof *s->replies);
    s->replies[s->n_replies++] = (struct model_kept_reply){seq, *reply};
    s->last_seq = seq;
}

static void repeat_reply(const struct model_session *s, uint64_t seq, struct model_result *out)
{
    const struct model_reply *kept = model_find_reply(s, seq);

    out->outcome = STORE_DUPLICATE;
    out->has_reply = kept != NULL;
    if (kept != NULL)
        out->reply = *kept;
}

/* ---- Apply ----------------------------------------------------------------------------------- */

static void apply_in_session(struct model_step *step, const struct stamp *stamp,
                             const Cfs__Command *command)
{
    struct model_session *s = model_find_session(step->model, stamp->session);
    struct model_result *out = step->result;

    if (s == NULL) {
        out->outcome = STORE_NO_SESSION;
        return;
    }
    if (stamp->seq <= s->last_seq) {
        repeat_reply(s, stamp->seq, out);
        return;
    }
    if (stamp->seq > s->last_seq + 1) {
        out->outcome = STORE_GAP;
        return;
    }
    out->outcome = STORE_APPLIED;
    out->has_reply = true;
    model_op_run(step, command, &out->reply);
    keep_reply(s, step->index, stamp->seq, &out->reply);
    forget_replies(s, stamp->acked);
    if (s->last_seq > LIMIT_SESSION_WINDOW)
        forget_replies(s, s->last_seq - LIMIT_SESSION_WINDOW);
}

static void apply_command(struct model *m, uint64_t index, const struct stamp *stamp,
                          const Cfs__Command *command, struct model_result *out)
{
    struct model_step step = {m, index, stamp->session, stamp->time_ns, out};

    out->session = stamp->session;
    out->seq = stamp->seq;
    if (stamp->session != 0)
        apply_in_session(&step, stamp, command);
    else if (command->op_case == CFS__COMMAND__OP_OPEN_SESSION)
        open_session(&step, command->open_session);
    else
        out->outcome = STORE_NO_SESSION;
}

void model_apply(struct model *m, uint64_t index, const struct store_entry *entry,
                 struct model_result *out)
{
    struct stamp stamp;
    Cfs__Command *command;

    check(index == m->applied + 1);
    m->applied = index;
    *out = (struct model_result){.outcome = STORE_INTERNAL};
    cfs__attr__init(&out->reply.attr);
    if (entry->type != STORE_COMMAND)
        return;
    check(stamp_decode(entry->data, entry->len, &stamp));
    command = cfs__command__unpack(NULL, entry->len - STAMP_SIZE, entry->data + STAMP_SIZE);
    check(command != NULL);
    apply_command(m, index, &stamp, command, out);
    cfs__command__free_unpacked(command, NULL);
}

/* ---- Reads ----------------------------------------------------------------------------------- */

static bool same_bytes(const struct buf *a, const void *data, size_t len)
{
    return a->len == len && (len == 0 || memcmp(a->data, data, len) == 0);
}

struct model_inode *model_find(const struct model *m, uint64_t ino)
{
    for (size_t i = 0; i < m->n_inodes; i++)
        if (m->inodes[i]->attr.ino == ino)
            return m->inodes[i];
    return NULL;
}

struct model_entry *model_find_entry(const struct model *m, uint64_t dir, const void *name,
                                     size_t len)
{
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i]->dir == dir && same_bytes(&m->entries[i]->name, name, len))
            return m->entries[i];
    return NULL;
}

struct model_entry *model_next_entry(const struct model *m, uint64_t dir, uint64_t after)
{
    struct model_entry *best = NULL;

    for (size_t i = 0; i < m->n_entries; i++) {
        struct model_entry *e = m->entries[i];

        if (e->dir == dir && e->order > after && (best == NULL || e->order < best->order))
            best = e;
    }
    return best;
}

struct model_session *model_find_session(const struct model *m, uint64_t id)
{
    for (size_t i = 0; i < m->n_sessions; i++)
        if (m->sessions[i]->id == id)
            return m->sessions[i];
    return NULL;
}

struct model_xattr *model_find_xattr(const struct model_inode *inode, const void *name, size_t len)
{
    for (size_t i = 0; i < inode->n_xattrs; i++)
        if (same_bytes(&inode->xattrs[i].name, name, len))
            return &inode->xattrs[i];
    return NULL;
}

const struct model_reply *model_find_reply(const struct model_session *s, uint64_t seq)
{
    for (size_t i = 0; i < s->n_replies; i++)
        if (s->replies[i].seq == seq)
            return &s->replies[i].reply;
    return NULL;
}

size_t model_read(const struct model_inode *inode, uint64_t offset, uint8_t *out, size_t len)
{
    if (offset >= inode->attr.size)
        return 0;
    len = (size_t)min_u64(len, inode->attr.size - offset);
    memset(out, 0, len);
    if (offset < inode->content.len)
        memcpy(out, inode->content.data + offset, min_u64(len, inode->content.len - offset));
    return len;
}

static bool is_stored(const struct model_inode *inode, uint64_t offset)
{
    uint64_t page = offset / 4096 * 4096;

    return page % MODEL_BLOCK < inode->reach[offset / MODEL_BLOCK];
}

int64_t model_seek(const struct model_inode *inode, uint64_t offset, bool hole)
{
    if (offset >= inode->attr.size)
        return -ENXIO;
    while (offset < inode->attr.size && is_stored(inode, offset) == hole)
        offset = (offset / 4096 + 1) * 4096;
    if (offset < inode->attr.size)
        return (int64_t)offset;
    return hole ? (int64_t)inode->attr.size : -ENXIO;
}

void model_attr(const struct model_inode *inode, Cfs__Attr *out)
{
    *out = inode->attr;
    out->blocks = (model_stored(inode) + 511) / 512;
}

bool model_is_orphan(const struct model_inode *inode)
{
    return inode->attr.nlink == 0;
}

bool model_is_dir(const struct model_inode *inode)
{
    return S_ISDIR(inode->attr.mode);
}

uint64_t model_stored(const struct model_inode *inode)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < ARRAY_LEN(inode->reach); i++)
        sum += inode->reach[i];
    return sum;
}

uint64_t model_bytes(const struct model *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < m->n_inodes; i++)
        sum += model_stored(m->inodes[i]);
    for (size_t i = 0; i < m->n_sessions; i++)
        for (size_t n = 0; n < m->sessions[i]->n_staged; n++)
            sum += m->sessions[i]->staged[n].data.len;
    return sum;
}

uint64_t model_xattr_bytes(const struct model_inode *inode)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < inode->n_xattrs; i++)
        sum += inode->xattrs[i].name.len + inode->xattrs[i].value.len;
    return sum;
}

uint64_t model_meta_bytes(const struct model *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < m->n_inodes; i++) {
        sum += model_xattr_bytes(m->inodes[i]);
        if (S_ISLNK(m->inodes[i]->attr.mode))
            sum += m->inodes[i]->attr.size;
    }
    return sum;
}
