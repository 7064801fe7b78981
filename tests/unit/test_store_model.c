/* SPDX-License-Identifier: Apache-2.0 */
/* Compares the store with the model (tests/lib/world.h) on random sequences.
 *
 * Each seed runs in a child process, so a store that dies is a finding like any other. A sequence
 * that fails is shrunk: operations are left out as long as it still fails. The rest is printed with
 * the command line that runs it again.
 *
 *   MODEL_SEED=s    the first seed (default: 1 …, then new ones)
 *   MODEL_SEEDS=n   number of seeds, whatever time they take (default: as many as fit into 5 s)
 *   MODEL_OPS=n     operations per seed (default: 40 to 400, by the seed)
 *   MODEL_KEEP=i,j… only these operations of MODEL_SEED
 *   MODEL_SHRINK=0  do not look for a shorter sequence
 *   MODEL_VERBOSE=1 statistics */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/lib/forked.h"
#include "tests/lib/gen.h"
#include "tests/lib/world.h"

#define TIME_MS   2500 /* for each of the two tests, when no number of seeds is given */
#define SEEDS_MIN 3    /* on a slow machine, too */
#define SHRINK_MS 60000

static struct world_stats *stats; /* shared with the children */

#ifdef __SANITIZE_THREAD__
/* One thread writes to two stores here, in an order that changes when they swap roles. So it takes
 * their locks in both orders, which no real program does. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "detect_deadlocks=0";
}
#endif

/* ---- One run --------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st BASE_UNUSED, int type BASE_UNUSED,
                      struct FTW *ftw BASE_UNUSED)
{
    return remove(path);
}

static int run_plan(void *arg)
{
    struct world_plan *plan = arg;
    struct buf why = BUF_EMPTY;
    bool good = world_run(plan, stats, &why);

    printf("%.*s", (int)why.len, why.len > 0 ? (char *)why.data : "");
    buf_fini(&why);
    return good ? 0 : 1;
}

/* In memory if possible, because this test does not concern the disk. */
static const char *working_place(void)
{
    const char *tmp = getenv("TMPDIR");

    if (tmp != NULL)
        return tmp;
    return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* Runs the plan in a child, in a directory of its own. True: store and model agreed. *out: the
 * child's output, to be released. */
static bool try_plan(struct world_plan *plan, struct forked *out)
{
    char *dir = xasprintf("%s/coordfs-model.XXXXXX", working_place());

    check(mkdtemp(dir) != NULL);
    plan->dir = dir;
    forked_run(run_plan, plan, out);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
    return out->exited && out->code == 0;
}

/* ---- Shrinking (delta debugging, Zeller and Hildebrandt 2002, the part that removes) --------- */

static bool still_fails(struct world_plan *plan, const bool *keep)
{
    struct forked out;
    bool good;

    plan->keep = keep;
    good = try_plan(plan, &out);
    forked_fini(&out);
    return !good;
}

/* Leaves out [from, from + len) of the kept operations. False: nothing was kept there. */
static bool leave_out(const bool *keep, bool *fewer, size_t n, size_t from, size_t len)
{
    size_t kept = 0, left_out = 0;

    for (size_t i = 0; i < n; i++) {
        fewer[i] = keep[i] && (kept < from || kept >= from + len);
        left_out += keep[i] && !fewer[i];
        kept += keep[i];
    }
    return left_out > 0;
}

/* One pass with pieces of this length. Returns how many could be left out; negative: no time left.
 */
static int shrink_by(struct world_plan *plan, bool *keep, size_t len, uint64_t deadline)
{
    bool *fewer = xcalloc(plan->n_ops, sizeof *fewer);
    size_t from = 0;
    int gone = 0;

    while (leave_out(keep, fewer, plan->n_ops, from, len)) {
        if (clock_boot_ms() > deadline) {
            gone = -1;
            break;
        }
        if (still_fails(plan, fewer)) {
            memcpy(keep, fewer, plan->n_ops * sizeof *keep);
            gone++;
        } else {
            from += len;
        }
    }
    free(fewer);
    return gone;
}

static void shrink(struct world_plan *plan, bool *keep)
{
    uint64_t deadline = clock_boot_ms() + SHRINK_MS;
    int gone = 0;

    for (size_t len = plan->n_ops / 2; len > 1 && gone >= 0; len /= 2)
        gone = shrink_by(plan, keep, len, deadline);
    while (gone >= 0 && (gone = shrink_by(plan, keep, 1, deadline)) > 0)
        continue; /* this piece may have been the only use of others */
    plan->keep = keep;
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void print_end(const struct forked *out)
{
    if (!out->exited)
        fprintf(stderr, "(killed by signal %d)\n", out->code);
    else if (out->code > 1)
        fprintf(stderr, "(exit code %d)\n", out->code);
}

static void print_failure(struct world_plan *plan, const struct forked *first)
{
    bool *keep = xmalloc(plan->n_ops * sizeof *keep);
    struct forked last;

    fprintf(stderr, "seed %" PRIu64 " disagrees:\n%s", plan->seed, (char *)first->output.data);
    print_end(first);
    for (size_t i = 0; i < plan->n_ops; i++)
        keep[i] = plan->keep == NULL || plan->keep[i];
    if (gen_env("MODEL_SHRINK", 1))
        shrink(plan, keep);
    plan->verbose = true;
    try_plan(plan, &last);
    fprintf(stderr, "the shortest sequence found (outcome/status as they should be):\n%s",
            (char *)last.output.data);
    print_end(&last);
    fprintf(stderr, "again: MODEL_SEED=%" PRIu64 " MODEL_OPS=%zu MODEL_KEEP=", plan->seed,
            plan->n_ops);
    for (size_t i = 0, n = 0; i < plan->n_ops; i++)
        if (keep[i])
            fprintf(stderr, "%s%zu", n++ > 0 ? "," : "", i);
    fprintf(stderr, "\n");
    forked_fini(&last);
    free(keep);
}

static void print_stats(void)
{
    printf("entries %" PRIu64 ": applied %" PRIu64 ", duplicate %" PRIu64 ", gap %" PRIu64
           ", no session %" PRIu64 ", internal %" PRIu64 "\n",
           stats->entries, stats->outcomes[0], stats->outcomes[1], stats->outcomes[2],
           stats->outcomes[3], stats->outcomes[4]);
    printf("trees compared %" PRIu64 ", store_check %" PRIu64 ", restarts %" PRIu64
           ", crashes %" PRIu64 ", copies installed %" PRIu64 ", damaged copies refused %" PRIu64
           ", with harmless damage %" PRIu64 "\n",
           stats->trees, stats->checks, stats->restarts, stats->crashes, stats->copies,
           stats->damaged_copies, stats->damage_unnoticed);
    for (int kind = 0; kind < GEN_KINDS; kind++)
        for (int status = 0; status < WORLD_STATUSES; status++)
            if (stats->statuses[kind][status] > 0)
                printf("  kind %d: %u x %s\n", kind, stats->statuses[kind][status],
                       status == 0 ? "success" : strerror(status));
}

/* ---- The tests ------------------------------------------------------------------------------- */

static bool *kept_from_environment(size_t n)
{
    const char *at = getenv("MODEL_KEEP");
    bool *keep;

    if (at == NULL)
        return NULL;
    keep = xcalloc(n, sizeof *keep);
    while (*at != 0) {
        char *end;
        uint64_t i = strtoull(at, &end, 10);

        check(end != at && i < n);
        keep[i] = true;
        at = *end == ',' ? end + 1 : end;
    }
    return keep;
}

static bool run_seed(uint64_t seed)
{
    struct gen_rng rng = gen_rng_from(seed);
    struct world_plan plan = {.seed = seed};
    struct gen_mix mix;
    struct gen_op *ops;
    struct forked out;
    bool *keep, good;

    plan.n_ops = gen_env("MODEL_OPS", 40 + gen_below(&rng, 10) * 40);
    rng = gen_rng_from(seed ^ 0x5eed);
    ops = xcalloc(plan.n_ops, sizeof *ops);
    mix = gen_mix(&rng);
    for (size_t i = 0; i < plan.n_ops; i++)
        ops[i] = gen_op(&rng, &mix);
    ops[0] = (struct gen_op){.kind = GEN_OPEN_SESSION}; /* or little would happen before */
    keep = kept_from_environment(plan.n_ops);
    plan.ops = ops;
    plan.keep = keep;
    good = try_plan(&plan, &out);
    if (!good)
        print_failure(&plan, &out);
    forked_fini(&out);
    free(keep);
    free(ops);
    return good;
}

static void run_seeds(uint64_t first)
{
    uint64_t count = gen_env("MODEL_SEEDS", 0), done = 0;
    uint64_t deadline = clock_boot_ms() + TIME_MS;

    first = gen_env("MODEL_SEED", first);
    if (getenv("MODEL_KEEP") != NULL)
        count = 1;
    print_message("seeds from %" PRIu64 "\n", first);
    for (; count > 0 ? done < count : done < SEEDS_MIN || clock_boot_ms() < deadline; done++)
        if (!run_seed(first + done))
            fail_msg("seed %" PRIu64 " disagrees, see above", first + done);
    print_message("%" PRIu64 " seeds, %" PRIu64 " entries so far\n", done, stats->entries);
}

static void test_known_seeds(void **state BASE_UNUSED)
{
    run_seeds(1);
}

static void test_fresh_seeds(void **state BASE_UNUSED)
{
    if (getenv("MODEL_SEED") != NULL || getenv("MODEL_KEEP") != NULL)
        skip(); /* these were the seeds asked for */
    run_seeds(clock_entropy() >> 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_seeds),
        cmocka_unit_test(test_fresh_seeds),
    };
    int failed;

    stats = mmap(NULL, sizeof *stats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(stats != MAP_FAILED);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (gen_env("MODEL_VERBOSE", 0))
        print_stats();
    return failed;
}
