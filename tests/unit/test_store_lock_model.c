/* SPDX-License-Identifier: Apache-2.0 */
/* Compares store/lock.c with the model of tests/lib/lock_model.h on random sequences: several
 * hosts, handles and owners, few bytes. Requests wait, are cancelled, and are released with their
 * handles or sessions; the store restarts. After each entry, no request waits that could be
 * granted, none was granted out of turn, and the store holds exactly the locks of the model. A
 * second store gets the same entries and must have the same hash.
 *
 *   LOCKS_SEED=s   the first seed (default: 1 …, then new ones)
 *   LOCKS_SEEDS=n  number of seeds (default: as many as fit into 3 s for each test)
 *   LOCKS_OPS=n    commands per seed (default: 60 to 300)
 *   LOCKS_VERBOSE  print each command */
#include "tests/lib/lock_kit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/lib/gen.h"
#include "tests/lib/lock_model.h"

#define ROOT      1
#define HOSTS     3
#define HANDLES   3 /* for each host, at the same time */
#define OWNERS    2 /* owners of POSIX locks, for each host */
#define TIME_MS   3000
#define SEEDS_MIN 3

struct run {
    uint64_t seed;
    struct gen_rng rng;
    struct kit kit;
    struct kit twin;
    struct lock_model model;
    struct kit_host hosts[HOSTS];
    uint64_t handles[HOSTS][HANDLES]; /* never used again */
    uint64_t next_handle;
    uint64_t next_nonce;
    bool verbose;
    uint64_t granted, deadlocks, queued;
};

#define COMMAND(member, CASE)                                                                      \
    Cfs__Command c = CFS__COMMAND__INIT;                                                           \
    c.op_case = CFS__COMMAND__OP_##CASE;                                                           \
    c.member = &op

static void fail_run(struct run *r, const char *what, struct buf *why)
{
    fail_msg("seed %" PRIu64 ", entry %" PRIu64 ": %s %.*s\n%s", r->seed,
             store_applied(r->kit.store), what, why != NULL ? (int)why->len : 0,
             why != NULL && why->len > 0 ? (char *)why->data : "", lock_list(&r->kit));
}

/* ---- After each entry ------------------------------------------------------------------------ */

struct seen {
    struct run *run;
    size_t held, waiting;
    bool good;
};

static int to_byte(uint64_t offset)
{
    return offset < LOCK_MODEL_BYTES ? (int)offset : LOCK_MODEL_BYTES - 1;
}

static bool compare_lock(void *arg, const struct reader_lock *lock)
{
    struct seen *seen = arg;
    struct lock_model *m = &seen->run->model;
    const struct lock_model_owner *owner = NULL;
    int file = lock->ino == m->inos[0] ? 0 : 1;

    for (int i = 0; i < LOCK_MODEL_OWNERS; i++)
        if (m->owners[i].used && m->owners[i].session == lock->session &&
            m->owners[i].kind == lock->kind && m->owners[i].owner == lock->owner)
            owner = &m->owners[i];
    seen->good = seen->good && owner != NULL;
    seen->waiting += lock->waits;
    if (lock->waits || !seen->good)
        return true;
    for (int i = to_byte(lock->start); i <= to_byte(lock->end); i++) {
        const struct lock_model_byte *b = &owner->bytes[file][i];

        seen->held++;
        seen->good = seen->good && b->type == (lock->write ? 2 : 1) && b->handle == lock->handle &&
                     b->since <= lock->number &&
                     lock->number <= store_applied(seen->run->kit.store);
    }
    return true;
}

static void compare(struct run *r)
{
    struct seen seen = {.run = r, .good = true};
    size_t held = 0;

    for (int o = 0; o < LOCK_MODEL_OWNERS; o++)
        for (int file = 0; file < LOCK_MODEL_FILES; file++)
            for (int i = 0; i < LOCK_MODEL_BYTES; i++)
                held += r->model.owners[o].used && r->model.owners[o].bytes[file][i].type != 0;
    assert_int_equal(reader_locks(r->kit.reader, compare_lock, &seen), 0);
    if (!seen.good || seen.held != held || seen.waiting != (size_t)r->model.n_queue)
        fail_run(r, "other locks", NULL);
}

static void settle(struct run *r)
{
    struct buf why = BUF_EMPTY;

    for (size_t i = 0; i < r->kit.n_grants; i++)
        if (!lock_model_grant(&r->model, store_applied(r->kit.store), &r->kit.grants[i], &why))
            fail_run(r, "", &why);
    r->granted += r->kit.n_grants;
    if (!lock_model_settled(&r->model, &why))
        fail_run(r, "", &why);
    compare(r);
}

static void expect(struct run *r, uint32_t status, uint32_t wanted, const char *what)
{
    if (r->verbose)
        printf("%" PRIu64 " %s: %u (%zu grants)\n", store_applied(r->kit.store), what, status,
               r->kit.n_grants);
    if (status != wanted) {
        printf("status %u, should be %u\n", status, wanted);
        fail_run(r, what, NULL);
    }
    settle(r);
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void set_range(struct run *r, uint64_t *start, uint64_t *end)
{
    uint64_t a = gen_below(&r->rng, LOCK_MODEL_BYTES), b = gen_below(&r->rng, LOCK_MODEL_BYTES);

    if (gen_chance(&r->rng, 1, 4))
        a = 0, b = LOCK_MODEL_BYTES - 1;
    *start = min_u64(a, b);
    *end = max_u64(a, b);
    if (*end == LOCK_MODEL_BYTES - 1)
        *end = LOCK_KIT_END;
}

static void run_lock(struct run *r)
{
    size_t host = gen_below(&r->rng, HOSTS);
    Cfs__Lock op = CFS__LOCK__INIT;
    uint32_t wanted, status;
    char text[120];
    COMMAND(lock, LOCK);

    op.ino = r->model.inos[gen_below(&r->rng, LOCK_MODEL_FILES)];
    op.kind = gen_chance(&r->rng, 1, 3) ? CFS__LOCK__KIND__FLOCK : CFS__LOCK__KIND__POSIX;
    op.handle = r->handles[host][gen_below(&r->rng, HANDLES)];
    op.owner = gen_below(&r->rng, OWNERS);
    set_range(r, &op.start, &op.end);
    op.write = gen_chance(&r->rng, 1, 2);
    op.wait = gen_chance(&r->rng, 4, 5);
    if (r->model.n_queue >= LOCK_MODEL_QUEUE)
        op.wait = false;
    if (r->model.single &&
        lock_model_waiting(&r->model, r->hosts[host].session, (uint32_t)op.kind,
                           op.kind == CFS__LOCK__KIND__FLOCK ? op.handle : op.owner) > 0)
        return;
    wanted =
        lock_model_lock(&r->model, store_applied(r->kit.store) + 1, r->hosts[host].session, &op);
    snprintf(text, sizeof text,
             "host %zu %s ino %" PRIu64 " handle %" PRIu64 " owner %" PRIu64 " %s %" PRIu64
             "-%" PRIu64 "%s",
             host, op.kind == CFS__LOCK__KIND__FLOCK ? "flock" : "range", op.ino, op.handle,
             op.owner, op.write ? "W" : "R", op.start, op.end, op.wait ? "" : " nowait");
    status = kit_run_as(&r->kit, &r->hosts[host], &c);
    expect(r, status, wanted, text);
    r->deadlocks += status == EDEADLK;
    r->queued += status == EINPROGRESS;
    if (status == EINPROGRESS)
        assert_int_equal(r->kit.value, store_applied(r->kit.store));
    else if (status == 0)
        assert_in_range(r->kit.value, 1, store_applied(r->kit.store));
    else
        assert_int_equal(r->kit.value, 0);
}

static void run_unlock(struct run *r)
{
    size_t host = gen_below(&r->rng, HOSTS);
    Cfs__Unlock op = CFS__UNLOCK__INIT;
    COMMAND(unlock, UNLOCK);

    op.ino = r->model.inos[gen_below(&r->rng, LOCK_MODEL_FILES)];
    op.kind = gen_chance(&r->rng, 1, 3) ? CFS__LOCK__KIND__FLOCK : CFS__LOCK__KIND__POSIX;
    op.handle = r->handles[host][gen_below(&r->rng, HANDLES)];
    op.owner = gen_below(&r->rng, OWNERS);
    set_range(r, &op.start, &op.end);
    lock_model_unlock(&r->model, r->hosts[host].session, &op);
    expect(r, kit_run_as(&r->kit, &r->hosts[host], &c), 0, "unlock");
}

static void run_release(struct run *r)
{
    size_t host = gen_below(&r->rng, HOSTS), n = gen_below(&r->rng, HANDLES);
    uint64_t handle = r->handles[host][n];

    lock_model_release(&r->model, r->hosts[host].session, handle);
    expect(r, lock_release(&r->kit, &r->hosts[host], handle), 0, "release");
    r->handles[host][n] = ++r->next_handle;
}

static void run_cancel(struct run *r)
{
    size_t host = gen_below(&r->rng, HOSTS);
    uint64_t id = gen_below(&r->rng, store_applied(r->kit.store) + 1);
    uint32_t wanted;

    if (r->model.n_queue > 0 && gen_chance(&r->rng, 4, 5)) {
        const struct lock_model_request *q =
            &r->model.queue[gen_below(&r->rng, (uint64_t)r->model.n_queue)];

        id = q->id;
        for (size_t i = 0; i < HOSTS; i++)
            if (r->hosts[i].session == r->model.owners[q->owner].session &&
                gen_chance(&r->rng, 4, 5))
                host = i;
    }
    wanted = lock_model_cancel(&r->model, r->hosts[host].session, id);
    expect(r, lock_cancel_wait(&r->kit, &r->hosts[host], id), wanted, "cancel");
}

static void open_host(struct run *r, size_t host)
{
    r->hosts[host] = kit_host(&r->kit, 11 + host, ++r->next_nonce, 0);
    for (size_t i = 0; i < HANDLES; i++)
        r->handles[host][i] = ++r->next_handle;
    settle(r);
}

static void run_end(struct run *r)
{
    size_t host = gen_below(&r->rng, HOSTS), by = gen_below(&r->rng, HOSTS);
    uint64_t session = r->hosts[host].session;

    lock_model_end(&r->model, session);
    switch (gen_below(&r->rng, 3)) {
    case 0:
        expect(r, lock_close(&r->kit, &r->hosts[host]), 0, "close");
        break;
    case 1:
        expect(r, lock_expire(&r->kit, &r->hosts[by], session, r->kit.term), 0, "expire");
        break;
    default:
        break; /* superseded by the new one */
    }
    open_host(r, host);
}

static void run_restart(struct run *r)
{
    kit_close(&r->kit);
    kit_open(&r->kit);
    compare(r);
}

static const struct {
    unsigned weight;
    void (*run)(struct run *r);
} ops[] = {
    {60, run_lock},  {14, run_unlock}, {8, run_release},
    {8, run_cancel}, {4, run_end},     {1, run_restart},
};

static void run_some(struct run *r)
{
    uint64_t total = 0, at;

    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        total += ops[i].weight;
    at = gen_below(&r->rng, total);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (at < ops[i].weight) {
            ops[i].run(r);
            return;
        }
        at -= ops[i].weight;
    }
}

/* ---- To the end: owners that do not wait release their locks --------------------------------- */

static bool give_up_one(struct run *r)
{
    for (int o = 0; o < LOCK_MODEL_OWNERS; o++) {
        const struct lock_model_owner *owner = &r->model.owners[o];
        struct kit_host *host = NULL;

        if (!lock_model_holds_any(owner) ||
            lock_model_waiting(&r->model, owner->session, owner->kind, owner->owner) > 0)
            continue;
        for (size_t i = 0; i < HOSTS; i++)
            if (r->hosts[i].session == owner->session)
                host = &r->hosts[i];
        assert_non_null(host);
        for (int file = 0; file < LOCK_MODEL_FILES; file++) {
            Cfs__Unlock op = CFS__UNLOCK__INIT;
            COMMAND(unlock, UNLOCK);

            op.ino = r->model.inos[file];
            op.kind = (Cfs__Lock__Kind)owner->kind;
            op.handle = op.owner = owner->owner;
            op.end = LOCK_KIT_END;
            lock_model_unlock(&r->model, host->session, &op);
            expect(r, kit_run_as(&r->kit, host, &c), 0, "give up");
        }
        return true;
    }
    return false;
}

/* All requests must be granted in the end, also of flock, if each handle is used for one file at a
 * time. */
static void drain(struct run *r)
{
    while (give_up_one(r))
        continue;
    for (int i = 0; i < r->model.n_queue; i++)
        if (r->model.owners[r->model.queue[i].owner].kind == CFS__LOCK__KIND__POSIX)
            fail_run(r, "a waiting request is never granted", NULL);
}

static void run_seed(uint64_t seed, uint64_t *total)
{
    struct run *r = xcalloc(1, sizeof *r);
    uint64_t n_ops;

    r->seed = seed;
    r->rng = gen_rng_from(seed);
    r->verbose = getenv("LOCKS_VERBOSE") != NULL;
    n_ops = gen_env("LOCKS_OPS", 60 + gen_below(&r->rng, 240));
    r->model.single = gen_chance(&r->rng, 2, 3);
    kit_init(&r->kit);
    kit_empty(&r->twin);
    r->model.inos[0] = kit_file(&r->kit, ROOT, "f");
    r->model.inos[1] = kit_file(&r->kit, ROOT, "g");
    for (size_t i = 0; i < HOSTS; i++)
        open_host(r, i);
    for (uint64_t i = 0; i < n_ops; i++)
        run_some(r);
    kit_check(&r->kit);
    if (r->model.single)
        drain(r);
    kit_follow(&r->twin, &r->kit);
    kit_assert_hash(&r->kit, &r->twin);
    total[0] += r->granted;
    total[1] += r->deadlocks;
    total[2] += r->queued;
    kit_fini(&r->twin);
    kit_fini(&r->kit);
    free(r);
}

static void run_seeds(uint64_t first)
{
    uint64_t count = gen_env("LOCKS_SEEDS", 0), done = 0, total[3] = {0};
    uint64_t deadline = clock_boot_ms() + TIME_MS;

    first = gen_env("LOCKS_SEED", first);
    print_message("seeds from %" PRIu64 "\n", first);
    for (; count > 0 ? done < count : done < SEEDS_MIN || clock_boot_ms() < deadline; done++)
        run_seed(first + done, total);
    print_message("%" PRIu64 " seeds: %" PRIu64 " queued, %" PRIu64 " granted later, %" PRIu64
                  " deadlocks refused\n",
                  done, total[2], total[0], total[1]);
    if (count == 0) /* the test would be useless if these never happened */
        assert_true(total[0] > 0 && total[1] > 0 && total[2] > 0);
}

static void test_known_seeds(void **state)
{
    (void)state;
    run_seeds(1);
}

static void test_fresh_seeds(void **state)
{
    (void)state;
    if (getenv("LOCKS_SEED") != NULL)
        skip(); /* these were the seeds asked for */
    run_seeds(clock_entropy() >> 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_seeds),
        cmocka_unit_test(test_fresh_seeds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
