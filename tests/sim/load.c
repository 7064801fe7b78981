/* SPDX-License-Identifier: Apache-2.0 */
/* The load that hosts make: few names in few directories, so that they collide; locks on two files
 * with few bytes; entries with a limited life; transactions; sessions that end. */
#include <string.h>
#include <sys/stat.h>

#include "proto/encode.h"
#include "proto/stamp.h"
#include "tests/lib/txn_kit.h"
#include "tests/sim/impl.h"

#define LARGE       100000 /* bytes of a command; few are larger, because they take long */
#define PENDING_MAX 40     /* of a member */
#define WAITS_MAX   30     /* of the model's queue, without requests of crashed members */

static uint64_t pick(const struct member *m, uint64_t n)
{
    return raft_sim_pick(m->world->sim, 0, n - 1);
}

/* ---- Commands, on the stack ------------------------------------------------------------------ */

static void submit(struct member *m, const Cfs__Command *c, uint64_t journal, bool waits)
{
    struct buf bytes = encode_command(c);

    sim_request_submit(m, &bytes, journal, waits);
    buf_fini(&bytes);
}

#define COMMAND(type, init, member, CASE)                                                          \
    type op = init;                                                                                \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

static const char *const names[] = {"a", "b", "c", "d", "e", "f"};

static ProtobufCBinaryData some_name(const struct member *m)
{
    return kit_bytes(names[pick(m, ARRAY_LEN(names))], 1);
}

/* Picks an inode, mostly of that type. */
static uint64_t some_ino(const struct member *m, uint32_t type)
{
    const struct reference *r = m->world->reference;
    unsigned n = (unsigned)min_u64(r->n_inos, REFERENCE_INOS);

    for (unsigned try = 0; n > 0 && try < 8; try++) {
        uint64_t at = pick(m, n);
        uint64_t ino = r->inos[at].ino;

        if ((r->inos[at].mode & S_IFMT) == type && ino != r->journal && ino != r->lock_inos[0] &&
            ino != r->lock_inos[1])
            return ino;
    }
    return type == S_IFDIR ? 1 : 1000000;
}

static uint64_t some_dir(const struct member *m)
{
    return pick(m, 3) == 0 ? some_ino(m, S_IFDIR) : 1;
}

static ProtobufCBinaryData some_data(const struct member *m)
{
    static uint8_t data[40000];
    static const size_t lengths[] = {0, 1, 10, 100, 1000, 4096, 20000, 40000};

    if (data[1] == 0)
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)(i * 7 + i / 256 + 1);
    return kit_bytes(data, lengths[pick(m, ARRAY_LEN(lengths))]);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static void do_make(struct member *m)
{
    COMMAND(Cfs__Make, CFS__MAKE__INIT, make, MAKE);
    uint64_t n = pick(m, 20);

    op.parent = some_dir(m);
    op.name = some_name(m);
    op.mode = (pick(m, 3) == 0 ? S_IFDIR : S_IFREG) | 0755;
    op.sequential = n < 2;
    op.ephemeral = n < 4    ? CFS__EPHEMERAL__EPHEMERAL_SESSION
                   : n == 4 ? CFS__EPHEMERAL__EPHEMERAL_OPEN
                            : CFS__EPHEMERAL__EPHEMERAL_INHERIT;
    submit(m, &c, 0, false);
}

static void do_link(struct member *m)
{
    COMMAND(Cfs__Link, CFS__LINK__INIT, link, LINK);

    op.ino = some_ino(m, S_IFREG);
    op.parent = some_dir(m);
    op.name = some_name(m);
    submit(m, &c, 0, false);
}

static void do_unlink(struct member *m)
{
    COMMAND(Cfs__Unlink, CFS__UNLINK__INIT, unlink, UNLINK);

    op.parent = some_dir(m);
    op.name = some_name(m);
    op.directory = pick(m, 3) == 0;
    submit(m, &c, 0, false);
}

static void do_rename(struct member *m)
{
    COMMAND(Cfs__Rename, CFS__RENAME__INIT, rename, RENAME);

    op.parent = some_dir(m);
    op.name = some_name(m);
    op.new_parent = some_dir(m);
    op.new_name = some_name(m);
    op.mode = (Cfs__Rename__Mode)pick(m, 3);
    submit(m, &c, 0, false);
}

static void do_write(struct member *m)
{
    Cfs__Extent extent = CFS__EXTENT__INIT, *extents[] = {&extent};
    COMMAND(Cfs__Write, CFS__WRITE__INIT, write, WRITE);

    op.ino = some_ino(m, S_IFREG);
    op.truncate = pick(m, 4) == 0;
    op.append = pick(m, 2) == 0;
    extent.offset = pick(m, 3) == 0 ? 16384 * pick(m, 3) : pick(m, 50000);
    extent.data = some_data(m);
    op.extents = extents;
    op.n_extents = 1;
    submit(m, &c, 0, false);
}

static void do_set_attr(struct member *m)
{
    COMMAND(Cfs__SetAttr, CFS__SET_ATTR__INIT, set_attr, SET_ATTR);

    op.ino = some_ino(m, pick(m, 3) == 0 ? S_IFDIR : S_IFREG);
    op.set_size = pick(m, 2) == 0;
    op.size = pick(m, 60000);
    op.set_mode = !op.set_size;
    op.mode = (uint32_t)pick(m, 01000);
    op.set_mtime = pick(m, 3) == 0;
    op.mtime_now = true;
    submit(m, &c, 0, false);
}

static const char *const xattrs[] = {"user.a",
                                     "user.b",
                                     "user.coordfs.ttl",
                                     "user.coordfs.ttl",
                                     "user.coordfs.container",
                                     "user.coordfs.ephemeral"};

static void do_set_xattr(struct member *m)
{
    COMMAND(Cfs__SetXattr, CFS__SET_XATTR__INIT, set_xattr, SET_XATTR);
    size_t at = pick(m, ARRAY_LEN(xattrs));
    const char *value = at < 4 ? "1" : at == 4 ? "1" : "session";

    op.ino = some_ino(m, pick(m, 2) == 0 ? S_IFDIR : S_IFREG);
    op.name = kit_bytes(xattrs[at], strlen(xattrs[at]));
    op.value = kit_bytes(value, strlen(value));
    submit(m, &c, 0, false);
}

static void do_remove_xattr(struct member *m)
{
    COMMAND(Cfs__RemoveXattr, CFS__REMOVE_XATTR__INIT, remove_xattr, REMOVE_XATTR);
    size_t at = pick(m, ARRAY_LEN(xattrs));

    op.ino = some_ino(m, S_IFREG);
    op.name = kit_bytes(xattrs[at], strlen(xattrs[at]));
    submit(m, &c, 0, false);
}

static void do_reap(struct member *m)
{
    COMMAND(Cfs__Reap, CFS__REAP__INIT, reap, REAP);
    uint64_t inos[3];

    for (size_t i = 0; i < ARRAY_LEN(inos); i++)
        inos[i] = some_ino(m, S_IFREG);
    op.inos = inos;
    op.n_inos = ARRAY_LEN(inos);
    submit(m, &c, 0, false);
}

static void do_fallocate(struct member *m)
{
    COMMAND(Cfs__Fallocate, CFS__FALLOCATE__INIT, fallocate, FALLOCATE);

    op.ino = some_ino(m, S_IFREG);
    op.mode = (Cfs__Fallocate__Mode)pick(m, 5);
    op.offset = pick(m, 50000);
    op.len = 1 + pick(m, 50000);
    submit(m, &c, 0, false);
}

static void do_copy(struct member *m)
{
    COMMAND(Cfs__Copy, CFS__COPY__INIT, copy, COPY);

    op.src = some_ino(m, S_IFREG);
    op.dst = some_ino(m, S_IFREG);
    op.src_offset = pick(m, 30000);
    op.dst_offset = pick(m, 30000);
    op.len = pick(m, 40000);
    op.truncate = pick(m, 3) == 0;
    submit(m, &c, 0, false);
}

/* ---- The journal: appends of eight unique bytes ---------------------------------------------- */

static void make_file(struct member *m, const char *name)
{
    COMMAND(Cfs__Make, CFS__MAKE__INIT, make, MAKE);

    op.parent = 1;
    op.name = kit_bytes(name, strlen(name));
    op.mode = S_IFREG | 0644;
    submit(m, &c, 0, false);
}

static void do_journal(struct member *m)
{
    Cfs__Extent extent = CFS__EXTENT__INIT, *extents[] = {&extent};
    COMMAND(Cfs__Write, CFS__WRITE__INIT, write, WRITE);
    uint64_t number = ++m->world->next_number;

    if (m->world->reference->journal == 0) {
        make_file(m, JOURNAL_NAME);
        return;
    }
    op.ino = m->world->reference->journal;
    op.append = true;
    extent.data = kit_bytes(&number, sizeof number);
    op.extents = extents;
    op.n_extents = 1;
    submit(m, &c, number, false);
}

/* ---- Locks ----------------------------------------------------------------------------------- */

static void set_range(const struct member *m, uint64_t *start, uint64_t *end)
{
    uint64_t a = pick(m, LOCK_MODEL_BYTES), b = pick(m, LOCK_MODEL_BYTES);

    *start = min_u64(a, b);
    *end = max_u64(a, b);
    if (*end == LOCK_MODEL_BYTES - 1)
        *end = INT64_MAX;
}

static bool need_lock_files(struct member *m)
{
    const struct reference *r = m->world->reference;

    if (r->lock_model != NULL)
        return false;
    make_file(m, r->lock_inos[0] == 0 ? "L0" : "L1");
    return true;
}

static void do_lock(struct member *m)
{
    const struct reference *r = m->world->reference;
    COMMAND(Cfs__Lock, CFS__LOCK__INIT, lock, LOCK);

    if (need_lock_files(m))
        return;
    op.ino = r->lock_inos[pick(m, LOCK_MODEL_FILES)];
    op.kind = pick(m, 3) == 0 ? CFS__LOCK__KIND__FLOCK : CFS__LOCK__KIND__POSIX;
    op.handle = m->handles[pick(m, HANDLES)];
    op.owner = 7;
    set_range(m, &op.start, &op.end);
    op.write = pick(m, 2) == 0;
    op.wait = pick(m, 5) > 0 && m->world->waits + (uint64_t)r->lock_model->n_queue < WAITS_MAX;
    submit(m, &c, 0, op.wait);
}

static void do_unlock(struct member *m)
{
    const struct reference *r = m->world->reference;
    COMMAND(Cfs__Unlock, CFS__UNLOCK__INIT, unlock, UNLOCK);

    if (need_lock_files(m))
        return;
    op.ino = r->lock_inos[pick(m, LOCK_MODEL_FILES)];
    op.kind = pick(m, 3) == 0 ? CFS__LOCK__KIND__FLOCK : CFS__LOCK__KIND__POSIX;
    op.handle = m->handles[pick(m, HANDLES)];
    op.owner = 7;
    set_range(m, &op.start, &op.end);
    submit(m, &c, 0, false);
}

static void do_release_handle(struct member *m)
{
    COMMAND(Cfs__ReleaseHandle, CFS__RELEASE_HANDLE__INIT, release_handle, RELEASE_HANDLE);
    uint64_t at = pick(m, HANDLES);

    if (need_lock_files(m))
        return;
    op.handles = &m->handles[at];
    op.n_handles = 1;
    submit(m, &c, 0, false);
    m->handles[at] = ++m->world->next_handle;
}

static void do_cancel_lock(struct member *m)
{
    const struct reference *r = m->world->reference;
    COMMAND(Cfs__CancelLock, CFS__CANCEL_LOCK__INIT, cancel_lock, CANCEL_LOCK);

    if (need_lock_files(m))
        return;
    op.id = r->lock_model->n_queue > 0
                ? r->lock_model->queue[pick(m, (uint64_t)r->lock_model->n_queue)].id
                : r->applied;
    submit(m, &c, 0, false);
}

/* ---- Sessions, and entries that end by themselves -------------------------------------------- */

static void do_expire_session(struct member *m)
{
    COMMAND(Cfs__ExpireSession, CFS__EXPIRE_SESSION__INIT, expire_session, EXPIRE_SESSION);

    if (m->leader != m->id || pick(m, 4) != 0)
        return;
    op.session = m->world->reference->last_session;
    op.term = m->term;
    submit(m, &c, 0, false);
}

static void do_close_session(struct member *m)
{
    COMMAND(Cfs__CloseSession, CFS__CLOSE_SESSION__INIT, close_session, CLOSE_SESSION);

    if (pick(m, 6) == 0)
        submit(m, &c, 0, false);
}

static void do_release_ephemeral(struct member *m)
{
    COMMAND(Cfs__ReleaseEphemeral, CFS__RELEASE_EPHEMERAL__INIT, release_ephemeral,
            RELEASE_EPHEMERAL);
    uint64_t ino = some_ino(m, S_IFREG);

    op.inos = &ino;
    op.n_inos = 1;
    submit(m, &c, 0, false);
}

struct due {
    Cfs__ExpiringEntry entries[8], *list[8];
    size_t n;
};

static void note_due(void *arg, uint64_t ino, uint64_t version)
{
    struct due *due = arg;

    cfs__expiring_entry__init(&due->entries[due->n]);
    due->entries[due->n].ino = ino;
    due->entries[due->n].version = version;
    due->list[due->n] = &due->entries[due->n];
    due->n++;
}

static void do_expire_entries(struct member *m)
{
    struct due due = {.n = 0};
    COMMAND(Cfs__ExpireEntries, CFS__EXPIRE_ENTRIES__INIT, expire_entries, EXPIRE_ENTRIES);

    if (m->leader != m->id)
        return;
    op.elapsed_ms =
        ttl_clock_elapsed_ms(&m->ttl_clock, raft_sim_clock_us(m->world->sim, m->id) / 1000);
    op.term = m->term;
    op.clock = (uint64_t)m->ttl_clock.clock;
    store_due(m->daemon.store, op.elapsed_ms, ARRAY_LEN(due.list), note_due, &due);
    if (due.n == 0 && store_ttls(m->daemon.store) != STORE_TTLS_BEGUN)
        return;
    op.entries = due.list;
    op.n_entries = due.n;
    submit(m, &c, 0, false);
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static void do_txn(struct member *m)
{
    static struct txn_kit t;
    Cfs__Command c = CFS__COMMAND__INIT;
    uint64_t steps = 1 + pick(m, 4);
    const char *name, *other;

    memset(&t.txn, 0, sizeof t.txn);
    txn_begin(&t, some_dir(m));
    if (pick(m, 3) == 0)
        txn_as(&t, 1000, 1000, 1000);
    for (uint64_t i = 0; i < steps; i++) {
        name = names[pick(m, ARRAY_LEN(names))];
        other = names[pick(m, ARRAY_LEN(names))];
        switch (pick(m, 6)) {
        case 0:
            txn_check(&t, name,
                      pick(m, 2) == 0 ? CFS__TXN_CHECK__KIND__EXISTS : CFS__TXN_CHECK__KIND__ABSENT,
                      0);
            break;
        case 1:
            txn_make(&t, name, (pick(m, 2) == 0 ? S_IFDIR : S_IFREG) | 0755);
            break;
        case 2:
            txn_remove(&t, name, pick(m, 2) == 0);
            break;
        case 3:
            txn_move(&t, name, other, CFS__RENAME__MODE__REPLACE);
            break;
        default:
            txn_put(&t, name, other);
            break;
        }
    }
    c.op_case = CFS__COMMAND__OP_TXN;
    c.txn = &t.txn;
    submit(m, &c, 0, false);
}

/* ---- Selection ------------------------------------------------------------------------------- */

static void do_noop(struct member *m)
{
    COMMAND(Cfs__Noop, CFS__NOOP__INIT, noop, NOOP);

    submit(m, &c, 0, false);
}

static const struct {
    unsigned weight;
    void (*submit)(struct member *m);
} kinds[] = {
    {24, do_journal},
    {14, do_make},
    {3, do_link},
    {8, do_unlink},
    {8, do_rename},
    {10, do_write},
    {4, do_set_attr},
    {6, do_set_xattr},
    {2, do_remove_xattr},
    {3, do_reap},
    {2, do_fallocate},
    {3, do_copy},
    {14, do_lock},
    {5, do_unlock},
    {4, do_release_handle},
    {3, do_cancel_lock},
    {2, do_expire_session},
    {1, do_close_session},
    {2, do_release_ephemeral},
    {12, do_expire_entries},
    {6, do_txn},
};

/* Commands that the tree's model knows, on entries that exist. */
static void load_for_model(struct member *m)
{
    static const enum gen_kind known[] = {
        GEN_NOOP,   GEN_MAKE,      GEN_MAKE,         GEN_MAKE,     GEN_LINK,      GEN_UNLINK,
        GEN_UNLINK, GEN_RENAME,    GEN_RENAME,       GEN_SET_ATTR, GEN_TRUNCATE,  GEN_WRITE,
        GEN_WRITE,  GEN_SET_XATTR, GEN_REMOVE_XATTR, GEN_REAP,     GEN_FALLOCATE, GEN_COPY,
        GEN_STAGE,  GEN_STAGE,     GEN_UNSTAGE};
    struct buf data = BUF_EMPTY, command;
    struct store_entry entry;
    struct gen_op op;

    op.kind = known[pick(m, ARRAY_LEN(known))];
    for (size_t i = 0; i < GEN_NUMBERS; i++)
        op.n[i] = (uint32_t)pick(m, UINT32_MAX);
    gen_entry(&op, m->world->reference->model, &data, &entry);
    command = buf_copy(entry.data + STAMP_SIZE, entry.len - STAMP_SIZE);
    if (command.len <= LARGE || (command.len <= LIMIT_COMMAND_MAX && pick(m, 10) == 0))
        sim_request_submit(m, &command, 0, false);
    buf_fini(&command);
    buf_fini(&data);
}

void load_one(struct member *m)
{
    uint64_t total = 0, at;

    if (m->pending >= PENDING_MAX)
        return;
    if (raft_sim_peaceful(m->world->sim)) {
        do_noop(m);
        return;
    }
    if (m->world->config.model) {
        load_for_model(m);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        total += kinds[i].weight;
    at = pick(m, total);
    for (size_t i = 0; at < total; at -= kinds[i++].weight)
        if (at < kinds[i].weight) {
            kinds[i].submit(m);
            return;
        }
}
