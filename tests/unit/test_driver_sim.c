/* SPDX-License-Identifier: Apache-2.0 */
/* Runs many worlds, each from its seed. SIM_SEEDS: number of worlds (default: a few, in a few
 * seconds); SIM_SEED: first seed; SIM_MS: virtual milliseconds of trouble in each world;
 * SIM_VERBOSE=1: one line for each world. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/raft_sim.h"

#define HEAL_US 60000000u

static uint64_t seed_now;

/* A failed check() ends the process: print the seed of its world. */
static void on_abort(int signal)
{
    char text[80];
    int len = snprintf(text, sizeof text, "aborted in SIM_SEED=%" PRIu64 "\n", seed_now);

    (void)signal;
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(1);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add(struct raft_sim_stats *sum, const struct raft_sim_stats *one)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)one;
    size_t i;

    for (i = 0; i < sizeof *sum / sizeof(uint64_t); i++)
        to[i] += from[i];
}

static void print_stats(const char *what, const struct raft_sim_stats *s, uint64_t digest)
{
    printf("%s events %" PRIu64 " steps %" PRIu64 " messages %" PRIu64 " applied %" PRIu64
           " proposed %" PRIu64 " barriers %" PRIu64 " elections %" PRIu64 " leaders %" PRIu64
           " crashes %" PRIu64 " cuts %" PRIu64 " snapshots %" PRIu64 " changes %" PRIu64
           " transfers %" PRIu64 " heal %" PRIu64 " ms digest %016" PRIx64 "\n",
           what, s->events, s->steps, s->messages, s->applied, s->proposed, s->barriers,
           s->elections, s->leaders, s->crashes, s->cuts, s->snapshots, s->changes, s->transfers,
           s->heal_us / 1000, digest);
}

/* Returns the digest; 0 after a violation. */
static uint64_t one_world(uint64_t seed, uint64_t ms, struct raft_sim_stats *stats)
{
    struct raft_sim_config config;
    struct raft_sim *sim;
    char what[64];
    uint64_t digest;

    seed_now = seed;
    raft_sim_random(&config, seed);
    sim = raft_sim_new(&config);
    if (raft_sim_run(sim, ms * 1000))
        raft_sim_heal(sim, HEAL_US);
    raft_sim_stats(sim, stats);
    digest = raft_sim_digest(sim);
    snprintf(what, sizeof what, "seed %" PRIu64 ":", seed);
    if (setting("SIM_VERBOSE", 0) != 0 || raft_sim_error(sim) != NULL)
        print_stats(what, stats, digest);
    if (raft_sim_error(sim) != NULL) {
        printf("SIM_SEED=%" PRIu64 " SIM_MS=%" PRIu64 ": %s (at %" PRIu64 " us)\n", seed, ms,
               raft_sim_error(sim), raft_sim_now(sim));
        raft_sim_print(sim);
        digest = 0;
    }
    raft_sim_free(sim);
    return digest;
}

static void test_worlds(void **state)
{
    uint64_t first = setting("SIM_SEED", 1), n = setting("SIM_SEEDS", 40), seed, bad = 0;
    uint64_t ms = setting("SIM_MS", 8000), digest = 0;
    double begin = seconds(), limit = getenv("SIM_SEEDS") != NULL ? 1e9 : 6;
    struct raft_sim_stats sum = {0};

    (void)state;
    for (seed = first; seed < first + n; seed++) {
        struct raft_sim_stats stats = {0};
        uint64_t one = one_world(seed, ms, &stats);

        bad += one == 0;
        digest = digest * 31 + one;
        add(&sum, &stats);
        /* A slow machine runs fewer worlds, but at least some. */
        if (seed >= first + 11 && seconds() - begin > limit) {
            seed++;
            break;
        }
    }
    printf("%" PRIu64 " worlds of %" PRIu64 " ms in %.1f s\n", seed - first, ms, seconds() - begin);
    print_stats("sum:", &sum, digest);
    assert_int_equal(bad, 0);
    if (n < 12)
        return;
    /* Each kind of trouble occurred at least once. */
    assert_true(sum.leaders > 0 && sum.crashes > 0 && sum.cuts > 0 && sum.snapshots > 0);
    assert_true(sum.changes > 0 && sum.barriers > 0 && sum.transfers > 0 && sum.applied > 1000);
}

static void test_the_same_seed_gives_the_same_digest(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 101; seed < 104; seed++) {
        struct raft_sim_stats stats = {0};
        uint64_t once = one_world(seed, 1500, &stats);

        assert_true(once != 0);
        assert_true(once == one_world(seed, 1500, &stats));
        assert_true(once != one_world(seed + 1000, 1500, &stats));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worlds),
        cmocka_unit_test(test_the_same_seed_gives_the_same_digest),
    };

    signal(SIGABRT, on_abort);
    log_set_level(getenv("SIM_LOG") ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
