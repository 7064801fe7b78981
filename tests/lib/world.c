/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/world.h"

#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/reader.h"
#include "tests/lib/compare.h"
#include "tests/lib/describe.h"
#include "tests/lib/model.h"

/* A committed state. */
struct version {
    struct store_raft_state raft;
    struct store_hash hash;
};

struct member {
    struct store_identity identity;
    char *dir;
    struct store *store;
    struct store_reader *reader;
    bool in_transaction;
    struct store_raft_state raft; /* the expected result of store_raft_state (config is our own
                                   * copy) */
    struct version committed;     /* the part of it that survives a crash */
};

struct world {
    const struct world_plan *plan;
    struct world_stats *stats;
    struct buf *why;
    struct gen_rng rng;
    struct model *model;
    struct member members[2];
    struct member *main;   /* has all entries */
    struct member *second; /* has the same entries, unless detached */
    bool detached;
    unsigned dirs; /* made so far */
    struct store_snapshot_out *copy;
    struct version
        *versions; /* of the main member, since the copy was begun: it is of one of them */
    size_t n_versions;
};

BASE_PRINTF(2, 3) static bool differ(struct world *w, const char *fmt, ...)
{
    char text[600];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(w->why, "%s\n", text);
    return false;
}

BASE_PRINTF(2, 3) static void say(const struct world *w, const char *fmt, ...)
{
    va_list args;

    if (!w->plan->verbose)
        return;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    fflush(stdout);
}

/* ---- A member's life ------------------------------------------------------------------------- */

static struct store_raft_state copy_raft(const struct store_raft_state *from)
{
    struct store_raft_state r = *from;

    r.config = buf_copy(from->config.data, from->config.len);
    return r;
}

static struct version version_of(const struct member *m)
{
    return (struct version){.raft = copy_raft(&m->raft), .hash = store_state_hash(m->store)};
}

/* All of it is committed now. */
static void note_committed(struct member *m)
{
    buf_fini(&m->committed.raft.config);
    m->committed = version_of(m);
}

static void commit(struct member *m, bool sync)
{
    if (m->in_transaction)
        store_commit(m->store, sync);
    m->in_transaction = false;
    note_committed(m);
}

static void note_version(struct world *w)
{
    w->versions = xrealloc(w->versions, (w->n_versions + 1) * sizeof *w->versions);
    w->versions[w->n_versions++] = version_of(w->main);
}

static bool open_member(struct world *w, struct member *m)
{
    char reason[200] = "";
    int err = store_open(m->dir, &m->identity, &m->store, reason, sizeof reason);

    if (err != 0)
        return differ(w, "store_open: %d, %s", err, reason);
    m->reader = reader_new(m->store);
    return true;
}

static void close_member(struct member *m)
{
    if (m->store == NULL)
        return;
    commit(m, false);
    reader_free(m->reader);
    store_close(m->store);
    m->store = NULL;
}

static bool new_member(struct world *w, struct member *m)
{
    close_member(m);
    free(m->dir);
    m->dir = xasprintf("%s/%u", w->plan->dir, w->dirs++);
    check(mkdir(m->dir, 0700) == 0);
    buf_fini(&m->raft.config);
    m->raft = (struct store_raft_state){.first_index = 1};
    if (!open_member(w, m))
        return false;
    note_committed(m);
    return true;
}

static void begin(struct member *m)
{
    if (!m->in_transaction)
        store_begin(m->store);
    m->in_transaction = true;
}

static void commit_main(struct world *w, bool sync)
{
    commit(w->main, sync);
    if (w->copy != NULL)
        note_version(w);
}

static bool same_raft(struct world *w, struct member *m)
{
    const struct store_raft_state *want = &m->raft;
    struct store_raft_state got = {0};
    bool same;

    store_raft_state(m->store, &got);
    same = got.term == want->term && got.vote == want->vote &&
           got.first_index == want->first_index && got.last_index == want->last_index &&
           got.applied == want->applied && got.applied_term == want->applied_term &&
           got.config_index == want->config_index && got.config.len == want->config.len &&
           (got.config.len == 0 || memcmp(got.config.data, want->config.data, got.config.len) == 0);
    if (!same)
        differ(w,
               "raft state: term %" PRIu64 " vote %" PRIu64 " log %" PRIu64 "-%" PRIu64
               " applied %" PRIu64 "/%" PRIu64 " config %" PRIu64 "/%zu, should be %" PRIu64
               " %" PRIu64 " %" PRIu64 "-%" PRIu64 " %" PRIu64 "/%" PRIu64 " %" PRIu64 "/%zu",
               got.term, got.vote, got.first_index, got.last_index, got.applied, got.applied_term,
               got.config_index, got.config.len, want->term, want->vote, want->first_index,
               want->last_index, want->applied, want->applied_term, want->config_index,
               want->config.len);
    buf_fini(&got.config);
    return same;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static bool same_hash(struct world *w)
{
    struct store_hash a = store_state_hash(w->main->store);
    struct store_hash b = store_state_hash(w->second->store);

    if (w->detached || (a.low == b.low && a.high == b.high))
        return true;
    return differ(w, "two stores with the same entries have different hashes");
}

static bool check_member(struct world *w, struct member *m, bool deeply)
{
    char reason[400] = "";

    w->stats->trees++;
    if (!compare_tree(m->reader, w->model, &w->rng, w->why) ||
        !compare_store(m->store, w->model, w->why))
        return false;
    if (!deeply)
        return true;
    w->stats->checks++;
    if (!store_check(m->store, reason, sizeof reason))
        return differ(w, "store_check: %s", reason);
    return true;
}

static bool commit_and_check(struct world *w, bool sync)
{
    commit_main(w, sync);
    commit(w->second, !sync);
    if (!same_hash(w) || !check_member(w, w->main, gen_chance(&w->rng, 1, 3)))
        return false;
    if (w->detached || !gen_chance(&w->rng, 1, 3))
        return true;
    return check_member(w, w->second, gen_chance(&w->rng, 1, 3));
}

/* ---- Entries --------------------------------------------------------------------------------- */

static void note_applied(struct member *m, uint64_t index, const struct store_entry *entry)
{
    struct store_raft_state *r = &m->raft;

    r->last_index = r->applied = index;
    r->applied_term = entry->term;
    if (entry->type != STORE_CHANGE)
        return;
    r->config_index = index;
    buf_fini(&r->config);
    r->config = buf_copy(entry->data, entry->len);
}

static void apply_to(struct member *m, uint64_t index, const struct store_entry *entry,
                     struct store_result *out)
{
    begin(m);
    if (entry->term > m->raft.term) {
        m->raft.term = entry->term;
        m->raft.vote = m->identity.member;
        store_set_vote(m->store, m->raft.term, m->raft.vote);
    }
    store_log_append(m->store, index, entry);
    store_apply(m->store, index, entry, out);
    note_applied(m, index, entry);
}

static void count(struct world *w, const struct gen_op *op, const struct model_result *r)
{
    w->stats->entries++;
    w->stats->outcomes[r->outcome]++;
    if (r->outcome == STORE_APPLIED)
        w->stats->statuses[op->kind][min_u64(r->reply.status, WORLD_STATUSES - 1)]++;
}

/* Makes commands that differ slightly from those of our programs. If the store accepts such a
 * command, the result must still be the same on all members. */
static void distort(const struct gen_op *op, struct buf *data, struct store_entry *entry)
{
    struct gen_rng rng = gen_rng_from(op->n[9]);

    if (op->n[9] % 12 != 0 || entry->type != STORE_COMMAND || entry->len <= STAMP_SIZE)
        return;
    for (int i = 0; i < 5; i++) {
        struct buf bytes = buf_copy(data->data, data->len);

        gen_damage(&rng, &bytes, STAMP_SIZE);
        if (store_acceptable(bytes.data, bytes.len)) {
            buf_fini(data);
            *data = buf_take(&bytes);
        }
        buf_fini(&bytes);
    }
    entry->data = data->data;
    entry->len = data->len;
}

static bool run_entry(struct world *w, const struct gen_op *op)
{
    struct buf data = BUF_EMPTY, text = BUF_EMPTY;
    struct store_entry entry;
    struct store_result got;
    struct model_result want;
    uint64_t index = w->model->applied + 1;
    bool good;

    gen_entry(op, w->model, &data, &entry);
    distort(op, &data, &entry);
    if (entry.type == STORE_COMMAND && !store_acceptable(entry.data, entry.len)) {
        good = entry.len > LIMIT_COMMAND_MAX; /* a leader never proposes a longer one */
        buf_fini(&data);
        return good || differ(w, "an ordinary command is not acceptable");
    }
    if (w->plan->verbose) {
        describe_entry(&entry, &text);
        say(w, "  %" PRIu64 ": %.*s", index, (int)text.len, (char *)text.data);
    }
    model_apply(w->model, index, &entry, &want);
    apply_to(w->main, index, &entry, &got);
    good = compare_result(index, &got, &want, w->why);
    say(w, " -> %d/%u\n", want.outcome, want.reply.status);
    if (good && !w->detached) {
        apply_to(w->second, index, &entry, &got);
        good = compare_result(index, &got, &want, w->why);
        if (gen_chance(&w->rng, 1, 4))
            commit(w->second, false);
    }
    count(w, op, &want);
    model_result_fini(&want);
    buf_fini(&data);
    buf_fini(&text);
    return good && same_hash(w);
}

/* ---- Snapshots ------------------------------------------------------------------------------- */

static void forget_copy(struct world *w)
{
    if (w->copy != NULL)
        store_snapshot_out_close(w->copy);
    w->copy = NULL;
    for (size_t i = 0; i < w->n_versions; i++)
        buf_fini(&w->versions[i].raft.config);
    free(w->versions);
    w->versions = NULL;
    w->n_versions = 0;
}

static void start_copy(struct world *w)
{
    commit(w->main, false);
    w->copy = store_snapshot_out_open(w->main->store);
    note_version(w);
}

#define POLLS_MAX 20000

/* Waits for a thread of the store. STORE_BUSY after too long. */
#define WAIT_FOR(poll, object)                                                                     \
    ({                                                                                             \
        enum store_progress progress_ = STORE_BUSY;                                                \
        for (int i_ = 0; i_ < POLLS_MAX && (progress_ = poll(object)) == STORE_BUSY; i_++)         \
            nanosleep(&(struct timespec){0, 1000000}, NULL);                                       \
        progress_;                                                                                 \
    })

enum damage { WHOLE, SHORT, FLIPPED };

/* Sends the snapshot in pieces and verifies it. READY: it can be installed. */
static enum store_progress transfer(struct world *w, struct store_snapshot_in *stage,
                                    const struct store_snapshot_info *info, enum damage damage)
{
    uint8_t *piece = xmalloc(100000);
    uint64_t flip = gen_below(&w->rng, info->size), end = info->size;
    enum store_progress progress;

    if (damage == SHORT)
        end -= 1 + gen_below(&w->rng, info->size);
    for (uint64_t at = 0; at < end;) {
        size_t len = (size_t)min_u64(end - at, 1 + gen_below(&w->rng, 100000));
        int64_t n = store_snapshot_out_read(w->copy, at, piece, len);

        check(n > 0 && n <= (int64_t)len);
        if (damage == FLIPPED && flip >= at && flip < at + (uint64_t)n)
            piece[flip - at] ^= (uint8_t)(1u << gen_below(&w->rng, 8));
        check(store_snapshot_in_write(stage, at, piece, (size_t)n) == 0);
        at += (uint64_t)n;
    }
    free(piece);
    store_snapshot_in_verify(stage, info);
    progress = WAIT_FOR(store_snapshot_in_poll, stage);
    w->stats->damage_unnoticed += damage == FLIPPED && progress == STORE_READY;
    return progress;
}

/* The committed state that the snapshot contains: that of its beginning, or a later one. */
static const struct version *find_version(struct world *w, const struct store_snapshot_info *info)
{
    for (size_t i = 0; i < w->n_versions; i++) {
        const struct store_raft_state *r = &w->versions[i].raft;

        if (info->index == r->applied && info->term == r->applied_term &&
            info->config_index == r->config_index && info->config.len == r->config.len &&
            (info->config.len == 0 ||
             memcmp(info->config.data, r->config.data, r->config.len) == 0))
            return &w->versions[i];
    }
    differ(w, "copy: index %" PRIu64 " term %" PRIu64 " config %" PRIu64 "/%zu", info->index,
           info->term, info->config_index, info->config.len);
    return NULL;
}

static bool install(struct world *w, struct store_snapshot_in *stage, const struct version *version)
{
    struct member *m = w->second;
    struct store_hash hash;
    uint64_t term = m->raft.term, vote = m->raft.vote;

    store_snapshot_in_install(stage);
    buf_fini(&m->raft.config);
    m->raft = copy_raft(&version->raft);
    m->raft.term = term;
    m->raft.vote = vote;
    m->raft.last_index = m->raft.applied;
    m->raft.first_index = m->raft.applied + 1;
    note_committed(m);
    hash = store_state_hash(m->store);
    if (hash.low != version->hash.low || hash.high != version->hash.high)
        return differ(w, "an installed snapshot has another hash");
    return same_raft(w, m);
}

/* Applies the entries after the snapshot from the other member's log. */
static bool catch_up(struct world *w)
{
    for (uint64_t index = w->second->raft.applied + 1; index <= w->model->applied; index++) {
        struct store_entry entry;
        struct store_result result;

        if (!store_log_get(w->main->store, index, &entry))
            return differ(w, "log entry %" PRIu64 " is gone", index);
        apply_to(w->second, index, &entry, &result);
    }
    commit(w->second, false);
    w->detached = false;
    return same_hash(w) && check_member(w, w->second, true);
}

static bool send_copy(struct world *w, const struct store_snapshot_info *info,
                      const struct version *version, enum damage damage)
{
    struct store_snapshot_in *stage = store_snapshot_in_open(w->second->store);
    enum store_progress progress = transfer(w, stage, info, damage);

    say(w, "  (copy, damage %d: %d)\n", damage, progress);
    if (progress == STORE_READY && damage != SHORT) {
        w->stats->copies++;
        return install(w, stage, version) && catch_up(w);
    }
    store_snapshot_in_close(stage);
    w->stats->damaged_copies++;
    if (progress != STORE_FAILED || damage == WHOLE)
        return differ(w, "copy with damage %d: progress %d", damage, progress);
    return true;
}

/* Installs into the second member if it lags behind, otherwise into a new member. */
static bool finish_copy(struct world *w, enum damage damage)
{
    struct store_snapshot_info info = {0};
    const struct version *version;
    bool good = true;

    commit_main(w, false);
    if (WAIT_FOR(store_snapshot_out_poll, w->copy) != STORE_READY)
        return differ(w, "the copy is not ready");
    store_snapshot_out_info(w->copy, &info);
    version = find_version(w, &info);
    if (!w->detached || w->second->raft.applied >= info.index)
        good = new_member(w, w->second);
    w->detached = true;
    if (version == NULL || info.size == 0)
        good = differ(w, "a snapshot of no committed state, %" PRIu64 " bytes", info.size);
    if (good && damage != WHOLE)
        good = send_copy(w, &info, version, damage);
    if (good && w->detached)
        good = send_copy(w, &info, version, WHOLE);
    buf_fini(&info.config);
    forget_copy(w);
    return good;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void swap_members(struct world *w)
{
    struct member *m = w->main;

    w->main = w->second;
    w->second = m;
}

static bool step_commit(struct world *w, const struct gen_op *op)
{
    return commit_and_check(w, op->n[0] % 2);
}

static bool step_snapshot(struct world *w, const struct gen_op *op)
{
    static const enum damage damages[] = {WHOLE, WHOLE, SHORT, FLIPPED};

    if (w->copy == NULL) {
        start_copy(w);
        return true;
    }
    if (!finish_copy(w, damages[op->n[0] % ARRAY_LEN(damages)]))
        return false;
    if (op->n[1] % 2)
        swap_members(w); /* the receiver continues as the main member */
    return true;
}

static bool restart(struct world *w, struct member *m)
{
    struct store_hash before = store_state_hash(m->store), after;

    close_member(m);
    if (!open_member(w, m) || !same_raft(w, m))
        return false;
    after = store_state_hash(m->store);
    if (after.low != before.low || after.high != before.high)
        return differ(w, "the hash has changed after a restart");
    return true;
}

static bool step_restart(struct world *w, const struct gen_op *op)
{
    commit_main(w, op->n[0] % 2);
    commit(w->second, op->n[0] % 2);
    forget_copy(w);
    w->stats->restarts++;
    if (op->n[1] % 2 && !restart(w, w->second))
        return false;
    return restart(w, w->main) && check_member(w, w->main, true);
}

/* Compaction removes entries that no snapshot needs; entries that were never committed go as well.
 */
static bool step_compact(struct world *w, const struct gen_op *op)
{
    struct member *m = w->main;
    uint64_t last = w->copy != NULL ? w->versions[0].raft.applied : m->raft.applied;
    uint64_t below = m->raft.first_index;
    struct store_entry extra = {.term = m->raft.term, .type = STORE_BARRIER}, got;

    begin(m);
    for (uint64_t i = 1; i <= op->n[1] % 3; i++)
        store_log_append(m->store, m->raft.last_index + i, &extra);
    if (op->n[1] % 3 > 0)
        store_log_truncate(m->store, m->raft.last_index + 1);
    if (last >= below)
        below += op->n[0] % (last - below + 2);
    store_log_compact(m->store, below);
    m->raft.first_index = below;
    commit_main(w, true);
    if (store_log_get(m->store, below - 1, &got) ||
        store_log_get(m->store, m->raft.last_index + 1, &got))
        return differ(w, "a deleted log entry still exists");
    if (op->n[2] % 3 == 0) {
        commit(w->second, true);
        w->detached = true;
    }
    return same_raft(w, m);
}

/* The files as kill -9 leaves them, perhaps in the middle of a transaction. Another process copies
 * them, because SQLite's locks end when their own process closes a file. */
static bool copy_files(const char *from, const char *to)
{
    char command[] = "cp", recursive[] = "-r";
    char source[PATH_MAX], target[PATH_MAX];
    char *const args[] = {command, recursive, source, target, NULL};
    int status;
    pid_t pid;

    snprintf(source, sizeof source, "%s", from);
    snprintf(target, sizeof target, "%s", to);
    if (posix_spawnp(&pid, "cp", NULL, NULL, args, environ) != 0)
        return false;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The state after a crash has exactly the committed changes. */
static bool step_crash(struct world *w, const struct gen_op *op BASE_UNUSED)
{
    struct member *m = w->main;
    struct member survivor = {.identity = m->identity,
                              .dir = xasprintf("%s/%u", w->plan->dir, w->dirs++),
                              .raft = m->committed.raft};
    char reason[400] = "";
    bool good;

    check(copy_files(m->dir, survivor.dir));
    w->stats->crashes++;
    good = open_member(w, &survivor) && same_raft(w, &survivor);
    if (good) {
        struct store_hash hash = store_state_hash(survivor.store);

        if (hash.low != m->committed.hash.low || hash.high != m->committed.hash.high)
            good = differ(w, "the hash has changed after a crash");
        else if (!store_check(survivor.store, reason, sizeof reason))
            good = differ(w, "store_check after a crash: %s", reason);
    }
    close_member(&survivor);
    buf_fini(&survivor.committed.raft.config);
    free(survivor.dir);
    return good;
}

static bool (*const steps[])(struct world *, const struct gen_op *) = {
    [GEN_COMMIT] = step_commit,   [GEN_RESTART] = step_restart, [GEN_SNAPSHOT] = step_snapshot,
    [GEN_COMPACT] = step_compact, [GEN_CRASH] = step_crash,
};

static bool run_op(struct world *w, const struct gen_op *op)
{
    static const char *const names[] = {[GEN_COMMIT] = "commit",
                                        [GEN_RESTART] = "restart",
                                        [GEN_SNAPSHOT] = "snapshot",
                                        [GEN_COMPACT] = "compact",
                                        [GEN_CRASH] = "crash"};

    if (gen_is_entry(op))
        return run_entry(w, op);
    say(w, "  %s\n", names[op->kind]);
    return steps[op->kind](w, op);
}

static bool run_ops(struct world *w)
{
    const struct world_plan *plan = w->plan;

    for (size_t i = 0; i < plan->n_ops; i++)
        if ((plan->keep == NULL || plan->keep[i]) && !run_op(w, &plan->ops[i]))
            return false;
    return commit_and_check(w, true) && check_member(w, w->main, true);
}

bool world_run(const struct world_plan *plan, struct world_stats *stats, struct buf *why)
{
    struct world_stats ignored = {0};
    struct world w = {.plan = plan,
                      .stats = stats != NULL ? stats : &ignored,
                      .why = why,
                      .rng = gen_rng_from(plan->seed),
                      .model = model_new(),
                      .main = &w.members[0],
                      .second = &w.members[1]};
    bool good;

    for (unsigned i = 0; i < 2; i++)
        w.members[i].identity = (struct store_identity){.member = i + 1, .cluster = "modelled"};
    good = new_member(&w, w.main) && new_member(&w, w.second) && run_ops(&w);
    forget_copy(&w);
    for (unsigned i = 0; i < 2; i++) {
        close_member(&w.members[i]);
        free(w.members[i].dir);
        buf_fini(&w.members[i].raft.config);
        buf_fini(&w.members[i].committed.raft.config);
    }
    model_free(w.model);
    return good;
}
