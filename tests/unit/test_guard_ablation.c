/* SPDX-License-Identifier: Apache-2.0 */
/* Proves that the simulator detects the defects. If a guard is switched off, or if disks only claim
 * to have synced, some world must go wrong. This program has its own guard.o, whose guards can be
 * switched off one by one.
 *
 * ABLATE_SEEDS=n runs n worlds for every guard and prints a table. Guards that only affect load or
 * time are not in it; test_guard.c has a scene for each guard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD_ABLATE
#include "raft/guard.c"

#include "tests/lib/raft_sim.h"

/* Runs in a child process, because the world may fail a check. */
static bool world_is_fine(uint64_t seed, bool lying_disks)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        struct raft_sim_config config;
        struct raft_sim *sim;

        dup2(nowhere, STDERR_FILENO);
        dup2(nowhere, STDOUT_FILENO);
        raft_sim_random(&config, seed);
        config.lying_disks = lying_disks;
        sim = raft_sim_new(&config);
        if (raft_sim_run(sim, 8000000))
            raft_sim_heal(sim, 60000000);
        _exit(raft_sim_error(sim) != NULL);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

/* The number of worlds until one goes wrong; 0: none does. */
static uint64_t first_bad_world(uint64_t seeds, bool lying_disks)
{
    uint64_t seed;

    for (seed = 1; seed <= seeds; seed++)
        if (!world_is_fine(seed, lying_disks))
            return seed;
    return 0;
}

/* The guards whose absence shows in at least a few per cent of the worlds. */
static void test_missing_guards_are_seen(void **state)
{
    static const struct {
        unsigned guard, seeds;
    } shown[] = {{3, 60}, {6, 120}, {17, 60}, {18, 300}};
    size_t i;

    (void)state;
    for (i = 0; i < ARRAY_LEN(shown); i++) {
        uint64_t seed;

        guard_ablated = 1u << shown[i].guard;
        seed = first_bad_world(shown[i].seeds, false);
        printf("without G%u: world %llu goes wrong\n", shown[i].guard, (unsigned long long)seed);
        assert_true(seed > 0);
    }
    guard_ablated = 0;
}

static void test_lying_disks_are_seen(void **state)
{
    uint64_t seed = first_bad_world(60, true);

    (void)state;
    printf("without syncs: world %llu goes wrong\n", (unsigned long long)seed);
    assert_true(seed > 0);
}

/* ---- Entries of old terms -----------------------------------------------------------------------
 * Raft's figure 8, by hand. Members A and B have entries of term 1 that the others lack. C leads
 * term 2 and is isolated when it has only its first entry. Then A (or B) leads term 3 and sends the
 * entries to D, in a first probe that ends before its own entry. Three of five members now have the
 * entries. A leader that calls them committed loses them: D and E elect C, which overwrites them.
 */

#define SECOND 1000000u

static bool someone_leads(struct raft_sim *sim, void *arg)
{
    const unsigned *among = arg; /* bits */
    unsigned leader = raft_sim_leader(sim);

    return leader != 0 && (*among >> leader & 1) != 0;
}

static bool has_committed_more(struct raft_sim *sim, void *arg)
{
    const uint64_t *than = arg;

    return raft_sim_leader(sim) != 0 && raft_sim_applied(sim, raft_sim_leader(sim)) > *than;
}

static void cut_between(struct raft_sim *sim, unsigned some, unsigned others, bool cut)
{
    for (unsigned a = 1; a <= 5; a++)
        for (unsigned b = 1; b <= 5; b++)
            if ((some >> a & 1) != 0 && (others >> b & 1) != 0) {
                raft_sim_cut(sim, a, b, cut);
                raft_sim_cut(sim, b, a, cut);
            }
}

static void figure_8(struct raft_sim *sim)
{
    unsigned all = 0x3e, two, rest, third, leader;
    uint64_t before;

    assert_true(raft_sim_until(sim, someone_leads, &all, 10 * SECOND));
    assert_true(raft_sim_run(sim, SECOND));
    leader = raft_sim_leader(sim);
    before = raft_sim_applied(sim, leader);
    two = 1u << leader | 1u << (leader % 5 + 1);
    rest = all & ~two;
    cut_between(sim, two, rest, true);
    for (unsigned i = 0; i < 2 * GUARD_PROBE_MAX; i++)
        assert_true(raft_sim_propose(sim, leader, 10));
    assert_true(raft_sim_until(sim, someone_leads, &rest, 10 * SECOND));
    third = 1u << raft_sim_leader(sim);
    cut_between(sim, third, all & ~third, true);
    assert_true(raft_sim_run(sim, SECOND / 10)); /* its entry is on its disk */
    cut_between(sim, two, rest & ~third, false);
    if (!raft_sim_until(sim, someone_leads, &two, 20 * SECOND) ||
        !raft_sim_until(sim, has_committed_more, &before, 10 * SECOND))
        return;
    cut_between(sim, two, rest, true);
    cut_between(sim, third, rest & ~third, false);
    raft_sim_run(sim, 10 * SECOND);
    cut_between(sim, two, rest, false);
}

static bool counting_is_fine(uint64_t seed, bool old_terms)
{
    struct raft_sim_config config;
    struct raft_sim *sim;
    bool fine;

    raft_sim_defaults(&config);
    config.seed = seed;
    config.n = config.voters = 5;
    guard_ablated = old_terms ? GUARD_ABLATE_OLD_TERMS : 0;
    sim = raft_sim_new(&config);
    figure_8(sim);
    fine = raft_sim_error(sim) == NULL && raft_sim_heal(sim, 60 * SECOND);
    printf("%s entries of old terms, world %llu: %s\n", old_terms ? "counting" : "not counting",
           (unsigned long long)seed, fine ? "fine" : raft_sim_error(sim));
    raft_sim_free(sim);
    guard_ablated = 0;
    return fine;
}

static void test_entries_of_old_terms_are_not_counted(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        assert_true(counting_is_fine(seed, false));
        seen += !counting_is_fine(seed, true);
    }
    assert_true(seen >= 5);
}

static void test_table(void **state)
{
    const char *text = getenv("ABLATE_SEEDS");
    uint64_t seeds = text != NULL ? strtoull(text, NULL, 10) : 0, seed, bad;
    unsigned guard;

    (void)state;
    for (guard = 0; text != NULL && guard <= 18; guard++) {
        guard_ablated = 1u << guard;
        for (seed = 1, bad = 0; seed <= seeds; seed++)
            bad += !world_is_fine(seed, false);
        printf("without G%u: %llu of %llu worlds go wrong\n", guard, (unsigned long long)bad,
               (unsigned long long)seeds);
    }
    guard_ablated = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_guards_are_seen),
        cmocka_unit_test(test_lying_disks_are_seen),
        cmocka_unit_test(test_entries_of_old_terms_are_not_counted),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
