/* Proof that the simulator sees what the guards prevent: with a guard switched off, some world goes
 * wrong. This program has its own guard.o, whose guards can be switched off one by one.
 *
 * ABLATE_SEEDS=n: so many worlds for each guard, and a table (guards whose absence shows only in
 * load or time do not appear in it; test_guard.c has a scene for each). */
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

#include "tests/raft_sim.h"

/* In a child, because what goes wrong may be a failed check. */
static bool world_is_fine(uint64_t seed, unsigned ms)
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
        sim = raft_sim_new(&config);
        if (raft_sim_run(sim, (uint64_t)ms * 1000))
            raft_sim_heal(sim, 60000000);
        _exit(raft_sim_error(sim) != NULL);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status == 0;
}

static uint64_t bad_worlds(unsigned guard, uint64_t seeds, bool first_only, uint64_t *first)
{
    uint64_t seed, bad = 0;

    guard_ablated = 1u << guard;
    for (seed = 1; seed <= seeds && !(first_only && bad > 0); seed++) {
        if (world_is_fine(seed, 8000))
            continue;
        if (bad++ == 0)
            *first = seed;
    }
    guard_ablated = 0;
    return bad;
}

static void test_table(void **state)
{
    const char *seeds = getenv("ABLATE_SEEDS");
    unsigned guard;

    (void)state;
    for (guard = 0; seeds != NULL && guard <= 18; guard++) {
        uint64_t first = 0, bad = bad_worlds(guard, strtoull(seeds, NULL, 10), false, &first);

        printf("without G%u: %llu of %s worlds go wrong, first %llu\n", guard,
               (unsigned long long)bad, seeds, (unsigned long long)first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
