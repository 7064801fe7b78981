/* SPDX-License-Identifier: Apache-2.0 */
/* Whole members in one process (tests/sim/sim.h), in many worlds, each from a seed.
 *
 *   SEED=s    runs one world twice, compares the runs, and prints its story and figures
 *   SEEDS=n   runs n worlds from SEED_FROM=s (default 1) on; default: as many as fit into some
 *             seconds
 *   VERBOSE=1 prints a line for each world
 *   SHRINK=0  does not search for a simpler world with the same violation
 *
 * The first violation ends the test: it prints the seed, the violation and the events before it. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/gen.h"
#include "tests/sim/shrink.h"
#include "tests/sim/sim.h"

#define TEST_SECONDS 10
#define SEEDS_MIN    12 /* on a slow machine, too */

#ifdef __SANITIZE_ADDRESS__
/* A member that dies because of its disk leaves the allocations of its stack behind, unlike a real
 * process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

static uint64_t seed_now;

static void on_crash(int signal)
{
    char text[80];
    int len = snprintf(text, sizeof text, "signal %d in SEED=%" PRIu64 "\n", signal, seed_now);

    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        _exit(3);
    _exit(2);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void add(struct sim_stats *sum, const struct sim_stats *one)
{
    uint64_t *to = (uint64_t *)sum, heal = sum->raft.heal_us, leader = sum->raft.leader_us;
    const uint64_t *from = (const uint64_t *)one;

    for (size_t i = 0; i < sizeof *sum / sizeof(uint64_t); i++)
        to[i] += from[i];
    sum->raft.heal_us = heal > one->raft.heal_us ? heal : one->raft.heal_us;
    sum->raft.leader_us = leader > one->raft.leader_us ? leader : one->raft.leader_us;
}

static void print_stats(const struct sim_stats *s)
{
    const struct raft_sim_stats *r = &s->raft;

    printf("  events %" PRIu64 ", messages %" PRIu64 ", commits %" PRIu64 " (synced %" PRIu64
           "), entries %" PRIu64 "\n",
           r->events, r->messages, s->commits, s->syncs, s->entries);
    printf("  requests %" PRIu64 ", answered %" PRIu64 ", given up %" PRIu64 "; barriers %" PRIu64
           "; sessions %" PRIu64 ", ended %" PRIu64 "; locks granted later %" PRIu64
           "; ttls over %" PRIu64 "\n",
           s->submitted, s->answered, s->unknown, r->barriers, s->sessions, s->ended, s->grants,
           s->expired);
    printf("  crashes %" PRIu64 " (power cuts %" PRIu64 ", kills %" PRIu64
           "), failing disks %" PRIu64 " (died %" PRIu64 "), pauses %" PRIu64
           ", clocks set %" PRIu64 ", cuts %" PRIu64 "\n",
           r->crashes, s->power_cuts, s->kills, s->disk_failures, r->deaths, r->pauses, r->jumps,
           r->cuts);
    printf("  elections %" PRIu64 ", leaders %" PRIu64 ", snapshots %" PRIu64
           ", membership changes %" PRIu64 ", transfers %" PRIu64 "; store checks %" PRIu64
           "; slowest leader %" PRIu64 " ms, agreement %" PRIu64 " ms\n",
           r->elections, r->leaders, r->snapshots, r->changes, r->transfers, s->store_checks,
           r->leader_us / 1000, r->heal_us / 1000);
}

/* Returns the digest; ends the process after a violation. */
static uint64_t run_seed(uint64_t seed, struct sim_stats *sum)
{
    struct sim_config config;
    struct sim_stats stats;
    char error[512];
    uint64_t digest;

    seed_now = seed;
    sim_random(&config, seed);
    if (!sim_run(&config, &stats, &digest, error, sizeof error)) {
        print_stats(&stats);
        printf("SEED=%" PRIu64 ": %s\n", seed, error);
        if (gen_env("SHRINK", 1))
            shrink(&config, error);
        fflush(stdout);
        _exit(1);
    }
    add(sum, &stats);
    if (gen_env("VERBOSE", 0))
        printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " entries, digest %016" PRIx64 "\n",
               seed, stats.raft.events, stats.entries, digest);
    return digest;
}

static int run_one(uint64_t seed)
{
    struct sim_stats sum = {0}, again = {0};
    uint64_t digest = run_seed(seed, &sum);

    print_stats(&sum);
    printf("digest %016" PRIx64 "\n", digest);
    if (run_seed(seed, &again) == digest && again.raft.events == sum.raft.events)
        return 0;
    printf("the same seed gives another run\n");
    return 1;
}

/* In a run of any size, each kind of trouble must occur. */
static int look_for_gaps(const struct sim_stats *s)
{
    const struct raft_sim_stats *r = &s->raft;
    bool all = s->power_cuts > 0 && s->kills > 0 && s->disk_failures > 0 && r->deaths > 0 &&
               r->snapshots > 0 && r->changes > 0 && r->transfers > 0 && r->cuts > 0 &&
               r->pauses > 0 && r->jumps > 0 && r->barriers > 0 && s->grants > 0 && s->ended > 0 &&
               s->expired > 0 && s->answered > 1000;

    if (!all)
        printf("a kind of trouble has not occurred\n");
    return all ? 0 : 1;
}

int main(void)
{
    uint64_t first = gen_env("SEED_FROM", 1), n = gen_env("SEEDS", 0), done = 0, digest = 0;
    struct sim_stats sum = {0};
    double start = seconds(), took;

    signal(SIGSEGV, on_crash);
    signal(SIGABRT, on_crash);
    log_set_level(gen_env("LOG", 0) ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    if (gen_env("SEED", 0) != 0)
        return run_one(gen_env("SEED", 0));
    while (n > 0 ? done < n : done < SEEDS_MIN || seconds() - start < TEST_SECONDS) {
        uint64_t one = run_seed(first + done++, &sum);

        digest = digest * 31 + one;
        if (done <= 2 && run_seed(first + done - 1, &sum) != one) {
            printf("SEED=%" PRIu64 ": the same seed gives another run\n", first + done - 1);
            return 1;
        }
    }
    took = seconds() - start;
    printf("%" PRIu64 " worlds in %.1f s, %.0f events/s, digest %016" PRIx64 "\n", done, took,
           (double)sum.raft.events / took, digest);
    print_stats(&sum);
    return done >= SEEDS_MIN ? look_for_gaps(&sum) : 0;
}
