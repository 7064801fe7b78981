/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/shrink.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/forked.h"

static const struct {
    const char *name;
    size_t offset;
} knobs[] = {
#define KNOB(field)                                                                                \
    {                                                                                              \
#field, offsetof(struct sim_config, field)                                                 \
    }
#define RAFT_KNOB(field)                                                                           \
    {                                                                                              \
#field, offsetof(struct sim_config, raft.field)                                            \
    }
    RAFT_KNOB(loss),         RAFT_KNOB(dup),           RAFT_KNOB(reorder),
    RAFT_KNOB(slow),         RAFT_KNOB(stall),         RAFT_KNOB(cut_every),
    RAFT_KNOB(unplug_every), RAFT_KNOB(churn_every),   RAFT_KNOB(transfer_every),
    RAFT_KNOB(pause_every),  RAFT_KNOB(jump_every),    RAFT_KNOB(drift_ppm),
    RAFT_KNOB(crash_every),  RAFT_KNOB(crash_commit),  RAFT_KNOB(copy_fail_one_in),
    RAFT_KNOB(copy_polls),   RAFT_KNOB(barrier_every), KNOB(crash_ops),
    KNOB(fail_ops),          KNOB(deadlines),
#undef KNOB
#undef RAFT_KNOB
};

static unsigned *knob(struct sim_config *config, size_t i)
{
    return (unsigned *)(void *)((char *)config + knobs[i].offset);
}

static int run(void *arg)
{
    struct sim_stats stats;
    uint64_t digest;
    char error[512] = "";

    if (sim_run(arg, &stats, &digest, error, sizeof error))
        return 0;
    printf("%s\n", error);
    return 1;
}

/* Runs the configuration. True if it violates the invariant of `error`. *out: the output, to be
 * released. */
static bool violates(struct sim_config *config, const char *error, struct forked *out)
{
    size_t len = strcspn(error, ":");
    char *name, *found = NULL;

    forked_run(run, config, out);
    buf_append(&out->output, "", 1);
    name = xmalloc(len + 2);
    memcpy(name, error, len + 1);
    name[len + 1] = '\0';
    if (out->exited && out->code == 1)
        found = strstr((char *)out->output.data, name);
    free(name);
    return found != NULL;
}

static bool try(struct sim_config *config, const char *error)
{
    struct forked out;
    bool same = violates(config, error, &out);

    forked_fini(&out);
    return same;
}

static void leave_out(struct sim_config *config, const char *error)
{
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++) {
        unsigned was = *knob(config, i);

        *knob(config, i) = 0;
        if (was != 0 && !try(config, error))
            *knob(config, i) = was;
    }
}

static void shorten(struct sim_config *config, const char *error)
{
    uint64_t was = config->run_ms;

    while (config->run_ms > 50) {
        was = config->run_ms;
        config->run_ms = was * 3 / 4;
        if (try(config, error))
            continue;
        config->run_ms = was;
        return;
    }
}

void shrink(const struct sim_config *config, const char *error)
{
    struct sim_config small = *config;
    struct forked out;

    fflush(stdout);
    leave_out(&small, error);
    shorten(&small, error);
    violates(&small, error, &out);
    printf("in a simpler world, of %u members and %" PRIu64 " ms, with\n ", small.raft.n,
           small.run_ms);
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (*knob(&small, i) != 0)
            printf(" %s %u", knobs[i].name, *knob(&small, i));
    printf("\n%s", (char *)out.output.data);
    forked_fini(&out);
}
