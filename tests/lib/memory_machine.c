/* SPDX-License-Identifier: Apache-2.0 */
/* The machine has two states: `live`, and `disk`, which the last sync made durable. Every
 * transaction after it is kept as a list of operations. A sync adds them to `disk`; a crash adds a
 * random number of them and makes `disk` the live state. Rows are shared by reference counts. */
#include "tests/lib/memory_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct row {
    unsigned refs;
    struct machine_entry entry;
    uint8_t data[];
};

struct state {
    uint64_t term, vote;
    uint64_t first; /* of the rows */
    struct row **rows;
    size_t n, cap;
    uint64_t applied, applied_term, hash;
    uint64_t config_index;
    struct buf config;
};

enum op_kind { OP_VOTE, OP_TRUNCATE, OP_APPEND, OP_COMPACT, OP_APPLY, OP_COMMIT };

struct op {
    enum op_kind kind;
    uint64_t a, b;
    struct row *row;
};

struct machine_snapshot {
    struct memory_machine *machine;
    struct machine_snapshot *next;
    unsigned polls;
    bool fails;
    struct machine_snapshot_info info;
    uint64_t hash;
};

struct machine_incoming {
    struct memory_machine *machine;
    unsigned polls;
    bool fails, verifying, good;
    struct buf head; /* the first bytes: the identity of the copy */
    uint64_t size, mismatches;
    struct machine_snapshot_info info;
    uint64_t hash;
};

struct memory_machine {
    struct memory_machine_config config;
    uint64_t chance;
    struct state live, disk, grave;
    bool doomed, open;
    struct op *ops;
    size_t n_ops, cap_ops, n_commits;
    struct machine_snapshot *copies;
    struct machine_incoming *stage;
};

#define HEAD_SIZE 24 /* hash, index, term */

static uint64_t chance(struct memory_machine *m, uint64_t below)
{
    m->chance = m->chance * 6364136223846793005u + 1442695040888963407u;
    return (m->chance >> 33) % below;
}

static bool fails(struct memory_machine *m)
{
    return m->config.fail_one_in > 0 && chance(m, m->config.fail_one_in) == 0;
}

/* ---- States ---------------------------------------------------------------------------------- */

static struct row *row_new(const struct machine_entry *entry)
{
    struct row *row = xmalloc(sizeof *row + entry->len);

    row->refs = 1;
    row->entry = *entry;
    if (entry->len > 0)
        memcpy(row->data, entry->data, entry->len);
    row->entry.data = row->data;
    return row;
}

static struct row *row_ref(struct row *row)
{
    row->refs++;
    return row;
}

static void row_drop(struct row *row)
{
    if (row != NULL && --row->refs == 0)
        free(row);
}

static uint64_t state_last(const struct state *s)
{
    return s->first + s->n - 1;
}

static void state_truncate(struct state *s, uint64_t from)
{
    while (s->n > 0 && state_last(s) >= from)
        row_drop(s->rows[--s->n]);
}

static void state_compact(struct state *s, uint64_t below)
{
    size_t gone = below > s->first ? below - s->first : 0, i;

    check(gone <= s->n);
    for (i = 0; i < gone; i++)
        row_drop(s->rows[i]);
    memmove(s->rows, s->rows + gone, (s->n - gone) * sizeof(struct row *));
    s->n -= gone;
    s->first += gone;
}

static void state_append(struct state *s, uint64_t index, struct row *row)
{
    check(index == state_last(s) + 1);
    if (s->n == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 64;
        s->rows = xrealloc(s->rows, s->cap * sizeof(struct row *));
    }
    s->rows[s->n++] = row_ref(row);
}

static struct row *state_row(const struct state *s, uint64_t index)
{
    return index >= s->first && index <= state_last(s) ? s->rows[index - s->first] : NULL;
}

static void state_apply(struct state *s, uint64_t index, const struct row *row)
{
    uint64_t seed = XXH3_64bits(row->entry.data, row->entry.len);
    uint64_t mix[4] = {s->hash, index, row->entry.term, seed + (uint64_t)row->entry.type};

    check(index == s->applied + 1);
    s->hash = XXH3_64bits(mix, sizeof mix);
    s->applied = index;
    s->applied_term = row->entry.term;
    if (row->entry.type != MACHINE_CHANGE)
        return;
    s->config_index = index;
    buf_fini(&s->config);
    s->config = buf_copy(row->entry.data, row->entry.len);
}

static void state_fini(struct state *s)
{
    state_truncate(s, 0);
    free(s->rows);
    buf_fini(&s->config);
    *s = (struct state){.first = 1};
}

static void state_copy(const struct state *from, struct state *to)
{
    size_t i;

    state_fini(to);
    *to = *from;
    to->cap = from->n;
    to->rows = xcalloc(from->n, sizeof(struct row *));
    for (i = 0; i < from->n; i++)
        to->rows[i] = row_ref(from->rows[i]);
    to->config = buf_copy(from->config.data, from->config.len);
}

static void play(struct state *s, const struct op *op)
{
    switch (op->kind) {
    case OP_VOTE:
        s->term = op->a;
        s->vote = op->b;
        return;
    case OP_TRUNCATE:
        state_truncate(s, op->a);
        return;
    case OP_APPEND:
        state_append(s, op->a, op->row);
        return;
    case OP_COMPACT:
        state_compact(s, op->a);
        return;
    case OP_APPLY:
        state_apply(s, op->a, op->row);
        return;
    case OP_COMMIT:
        return;
    }
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static void record(struct memory_machine *m, enum op_kind kind, uint64_t a, uint64_t b,
                   struct row *row)
{
    check(m->open || kind == OP_COMMIT);
    if (m->n_ops == m->cap_ops) {
        m->cap_ops = m->cap_ops > 0 ? m->cap_ops * 2 : 64;
        m->ops = xrealloc(m->ops, m->cap_ops * sizeof *m->ops);
    }
    m->ops[m->n_ops] = (struct op){kind, a, b, row};
    play(&m->live, &m->ops[m->n_ops++]);
}

static void forget_ops(struct memory_machine *m)
{
    size_t i;

    for (i = 0; i < m->n_ops; i++)
        row_drop(m->ops[i].row);
    m->n_ops = 0;
    m->n_commits = 0;
}

/* The first `commits` transactions since the last sync. */
static void play_commits(const struct memory_machine *m, struct state *s, size_t commits)
{
    size_t i;

    for (i = 0; i < m->n_ops && commits > 0; i++) {
        play(s, &m->ops[i]);
        commits -= m->ops[i].kind == OP_COMMIT;
    }
}

static void machine_load(void *ctx, struct machine_state *out)
{
    struct memory_machine *m = ctx;

    out->term = m->live.term;
    out->vote = m->live.vote;
    out->first_index = m->live.first;
    out->last_index = m->live.n > 0 ? state_last(&m->live) : m->live.applied;
    out->applied = m->live.applied;
    out->applied_term = m->live.applied_term;
    out->config_index = m->live.config_index;
    out->config = buf_copy(m->live.config.data, m->live.config.len);
    if (m->live.term == 0) {
        check(m->live.n == 0 && m->live.applied == 0);
        out->first_index = 0;
    }
}

static void machine_begin(void *ctx)
{
    struct memory_machine *m = ctx;

    check(!m->open);
    m->open = true;
}

static void machine_set_vote(void *ctx, uint64_t term, uint64_t vote)
{
    struct memory_machine *m = ctx;

    check(term >= m->live.term);
    check(term > m->live.term || m->live.vote == 0 || m->live.vote == vote);
    record(m, OP_VOTE, term, vote, NULL);
}

static void machine_log_truncate(void *ctx, uint64_t from)
{
    struct memory_machine *m = ctx;

    check(from > m->live.applied);
    record(m, OP_TRUNCATE, from, 0, NULL);
}

static void machine_log_append(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct memory_machine *m = ctx;

    check(entry->term > 0 && entry->term <= m->live.term);
    record(m, OP_APPEND, index, 0, row_new(entry));
    if (m->config.on_append != NULL)
        m->config.on_append(m->config.ctx, index, entry);
}

static void machine_log_compact(void *ctx, uint64_t below)
{
    struct memory_machine *m = ctx;

    check(below <= m->live.applied + 1);
    record(m, OP_COMPACT, below, 0, NULL);
}

static bool machine_acceptable(void *ctx BASE_UNUSED, uint64_t from BASE_UNUSED,
                               const uint8_t *data BASE_UNUSED, size_t len BASE_UNUSED)
{
    return true;
}

static void machine_apply(void *ctx, uint64_t index, const struct machine_entry *entry)
{
    struct memory_machine *m = ctx;
    struct row *row = state_row(&m->live, index);

    check(row != NULL && row->entry.term == entry->term && row->entry.type == entry->type &&
          row->entry.len == entry->len && memcmp(row->data, entry->data, entry->len) == 0);
    record(m, OP_APPLY, index, 0, row_ref(row));
    if (m->config.on_apply != NULL)
        m->config.on_apply(m->config.ctx, index, entry);
}

static void machine_commit(void *ctx, bool sync)
{
    struct memory_machine *m = ctx;

    record(m, OP_COMMIT, 0, 0, NULL);
    m->n_commits++;
    m->open = false;
    if (m->config.on_commit != NULL)
        m->config.on_commit(m->config.ctx, sync);
    if (!sync || m->config.lies)
        return;
    play_commits(m, &m->disk, m->n_commits);
    forget_ops(m);
}

static bool machine_log_get(void *ctx, uint64_t index, struct machine_entry *out)
{
    struct memory_machine *m = ctx;
    struct row *row = state_row(&m->live, index);

    check(!m->open);
    if (row == NULL)
        return false;
    *out = row->entry;
    return true;
}

/* ---- Snapshots: the hash, index and term of the state, then bytes that follow from them ------ */

static uint8_t filler(uint64_t hash, uint64_t at)
{
    uint64_t z = hash + (at >> 3) * 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    return (uint8_t)((z ^ z >> 27) >> (at & 7) * 8);
}

static void fill(uint64_t hash, const struct machine_snapshot_info *info, uint64_t offset,
                 uint8_t *out, size_t len)
{
    uint64_t head[3] = {hash, info->index, info->term};
    size_t i;

    for (i = 0; i < len; i++)
        out[i] =
            offset + i < HEAD_SIZE ? ((const uint8_t *)head)[offset + i] : filler(hash, offset + i);
}

static struct machine_snapshot *machine_snapshot_open(void *ctx)
{
    struct memory_machine *m = ctx;
    struct machine_snapshot *copy = xcalloc(1, sizeof *copy);

    check(!m->open);
    copy->machine = m;
    copy->polls = m->config.copy_polls > 0 ? (unsigned)chance(m, m->config.copy_polls) : 0;
    copy->fails = fails(m);
    copy->info.index = m->live.applied;
    copy->info.term = m->live.applied_term;
    copy->info.config_index = m->live.config_index;
    copy->info.config = buf_copy(m->live.config.data, m->live.config.len);
    copy->info.size = HEAD_SIZE + m->config.copy_size + chance(m, 100);
    copy->hash = m->live.hash;
    copy->next = m->copies;
    m->copies = copy;
    return copy;
}

static enum machine_progress machine_snapshot_poll(void *ctx BASE_UNUSED,
                                                   struct machine_snapshot *copy)
{
    if (copy->polls > 0) {
        copy->polls--;
        return MACHINE_BUSY;
    }
    return copy->fails ? MACHINE_FAILED : MACHINE_READY;
}

static void machine_snapshot_info(void *ctx BASE_UNUSED, struct machine_snapshot *copy,
                                  struct machine_snapshot_info *out)
{
    *out = copy->info;
    out->config = buf_copy(copy->info.config.data, copy->info.config.len);
}

static int64_t machine_snapshot_read(void *ctx, struct machine_snapshot *copy, uint64_t offset,
                                     void *out, size_t len)
{
    check(copy->polls == 0 && offset <= copy->info.size);
    if (fails(ctx))
        return -EIO;
    len = min_u64(len, copy->info.size - offset);
    fill(copy->hash, &copy->info, offset, out, len);
    return (int64_t)len;
}

static void machine_snapshot_close(void *ctx, struct machine_snapshot *copy)
{
    struct memory_machine *m = ctx;
    struct machine_snapshot **at = &m->copies;

    while (*at != copy)
        at = &(*at)->next;
    *at = copy->next;
    buf_fini(&copy->info.config);
    free(copy);
}

static struct machine_incoming *machine_incoming_open(void *ctx)
{
    struct memory_machine *m = ctx;

    check(m->stage == NULL && !m->open);
    m->stage = xcalloc(1, sizeof *m->stage);
    m->stage->machine = m;
    m->stage->polls = m->config.copy_polls > 0 ? (unsigned)chance(m, m->config.copy_polls) : 0;
    m->stage->fails = fails(m);
    return m->stage;
}

static int machine_incoming_write(void *ctx, struct machine_incoming *stage, uint64_t offset,
                                  const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t i;

    check(offset == stage->size && !stage->verifying);
    if (fails(ctx))
        return -ENOSPC;
    for (i = 0; i < len; i++) {
        if (offset + i < HEAD_SIZE)
            buf_append(&stage->head, &bytes[i], 1);
        if (stage->head.len == HEAD_SIZE && stage->hash == 0)
            memcpy(&stage->hash, stage->head.data, sizeof stage->hash);
        if (offset + i >= HEAD_SIZE)
            stage->mismatches += bytes[i] != filler(stage->hash, offset + i);
    }
    stage->size += len;
    return 0;
}

static void machine_incoming_verify(void *ctx BASE_UNUSED, struct machine_incoming *stage,
                                    const struct machine_snapshot_info *info)
{
    uint64_t head[3] = {0};

    if (stage->head.len == HEAD_SIZE)
        memcpy(head, stage->head.data, HEAD_SIZE);
    stage->verifying = true;
    stage->info = *info;
    stage->info.config = buf_copy(info->config.data, info->config.len);
    stage->good = stage->size == info->size && stage->mismatches == 0 && head[1] == info->index &&
                  head[2] == info->term && !stage->fails;
}

static enum machine_progress machine_incoming_poll(void *ctx BASE_UNUSED,
                                                   struct machine_incoming *stage)
{
    check(stage->verifying);
    if (stage->polls > 0) {
        stage->polls--;
        return MACHINE_BUSY;
    }
    return stage->good ? MACHINE_READY : MACHINE_FAILED;
}

static void machine_incoming_close(void *ctx, struct machine_incoming *stage)
{
    struct memory_machine *m = ctx;

    check(m->stage == stage);
    m->stage = NULL;
    buf_fini(&stage->head);
    buf_fini(&stage->info.config);
    free(stage);
}

static void machine_incoming_install(void *ctx, struct machine_incoming *stage)
{
    struct memory_machine *m = ctx;
    struct state *s = &m->live;

    check(stage->good && !m->open && stage->info.index > s->applied);
    state_truncate(s, 0);
    s->first = stage->info.index + 1;
    s->applied = stage->info.index;
    s->applied_term = stage->info.term;
    s->hash = stage->hash;
    s->config_index = stage->info.config_index;
    buf_fini(&s->config);
    s->config = buf_copy(stage->info.config.data, stage->info.config.len);
    forget_ops(m);
    state_copy(s, &m->disk);
    machine_incoming_close(m, stage);
}

static const struct machine_ops ops = {
    .load = machine_load,
    .begin = machine_begin,
    .set_vote = machine_set_vote,
    .log_truncate = machine_log_truncate,
    .log_append = machine_log_append,
    .log_compact = machine_log_compact,
    .acceptable = machine_acceptable,
    .apply = machine_apply,
    .commit = machine_commit,
    .log_get = machine_log_get,
    .snapshot_open = machine_snapshot_open,
    .snapshot_poll = machine_snapshot_poll,
    .snapshot_info = machine_snapshot_info,
    .snapshot_read = machine_snapshot_read,
    .snapshot_close = machine_snapshot_close,
    .incoming_open = machine_incoming_open,
    .incoming_write = machine_incoming_write,
    .incoming_verify = machine_incoming_verify,
    .incoming_poll = machine_incoming_poll,
    .incoming_install = machine_incoming_install,
    .incoming_close = machine_incoming_close,
};

/* ---- Life ------------------------------------------------------------------------------------ */

struct memory_machine *memory_machine_new(const struct memory_machine_config *config)
{
    struct memory_machine *m = xcalloc(1, sizeof *m);

    m->config = *config;
    m->chance = config->seed;
    m->live.first = m->disk.first = m->grave.first = 1;
    return m;
}

void memory_machine_free(struct memory_machine *m)
{
    if (m == NULL)
        return;
    check(m->copies == NULL && m->stage == NULL);
    forget_ops(m);
    state_fini(&m->live);
    state_fini(&m->disk);
    state_fini(&m->grave);
    free(m->ops);
    free(m);
}

struct machine memory_machine_of(struct memory_machine *m)
{
    return (struct machine){m, &ops};
}

void memory_machine_doom(struct memory_machine *m)
{
    if (m->doomed)
        return;
    m->doomed = true;
    state_copy(&m->disk, &m->grave);
    play_commits(m, &m->grave, chance(m, m->n_commits + 1));
}

void memory_machine_crash(struct memory_machine *m)
{
    memory_machine_doom(m);
    m->doomed = false;
    m->open = false;
    while (m->copies != NULL)
        machine_snapshot_close(m, m->copies);
    if (m->stage != NULL)
        machine_incoming_close(m, m->stage);
    forget_ops(m);
    state_copy(&m->grave, &m->live);
    state_copy(&m->grave, &m->disk);
}

uint64_t memory_machine_applied(const struct memory_machine *m)
{
    return m->live.applied;
}

uint64_t memory_machine_hash(const struct memory_machine *m)
{
    return m->live.hash;
}
