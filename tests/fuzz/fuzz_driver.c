/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends any bytes: a driver gets one message after another, each with its length in two
 * bytes before it. The driver drops a message or acts on it as on a message of a peer. It never
 * dies, and its machine sees no call out of order (tests/lib/memory_machine.c checks that). */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "base/log.h"
#include "raft/driver.h"
#include "tests/lib/memory_machine.h"

static uint64_t now;

static uint64_t env_now_ms(void *ctx BASE_UNUSED)
{
    return now;
}

static void env_send(void *ctx BASE_UNUSED, uint64_t peer BASE_UNUSED, struct buf *message)
{
    buf_fini(message);
}

static bool env_linked(void *ctx BASE_UNUSED, uint64_t peer BASE_UNUSED)
{
    return true;
}

static size_t env_queued(void *ctx BASE_UNUSED, uint64_t peer BASE_UNUSED)
{
    return 0;
}

static void env_members(void *ctx BASE_UNUSED, const struct driver_member *members BASE_UNUSED,
                        unsigned n BASE_UNUSED)
{
}

static void env_on_leader(void *ctx BASE_UNUSED, uint64_t leader BASE_UNUSED,
                          uint64_t term BASE_UNUSED)
{
}

static void env_on_index(void *ctx BASE_UNUSED, uint64_t index BASE_UNUSED)
{
}

static void env_on_app(void *ctx BASE_UNUSED, uint64_t from BASE_UNUSED,
                       const uint8_t *data BASE_UNUSED, size_t len BASE_UNUSED)
{
}

static struct driver *start(struct memory_machine *machine)
{
    char a[] = "a:1", b[] = "b:1", c[] = "c:1", errmsg[200];
    const struct driver_member members[] = {
        {1, a, DRIVER_VOTER}, {2, b, DRIVER_VOTER}, {3, c, DRIVER_VOTER}};
    struct driver_env env = {.now_ms = env_now_ms,
                             .send = env_send,
                             .linked = env_linked,
                             .queued = env_queued,
                             .members = env_members,
                             .on_leader = env_on_leader,
                             .on_applied = env_on_index,
                             .on_installed = env_on_index,
                             .on_barrier = env_on_index,
                             .on_app = env_on_app};
    struct driver_config config = {.id = 1,
                                   .election_ms = 300,
                                   .compact_every = 10,
                                   .compact_trailing = 2,
                                   .max_inflight = 64,
                                   .seed = 1,
                                   .members = members,
                                   .n_members = 3};
    struct driver *d = driver_new(&config, &env, memory_machine_of(machine));

    check(driver_start(d, errmsg, sizeof errmsg) == 0);
    driver_link(d, 2, true);
    driver_link(d, 3, true);
    driver_turn(d);
    return d;
}

int LLVMFuzzerInitialize(int *argc BASE_UNUSED, char ***argv BASE_UNUSED)
{
    log_set_level(LOG_LEVEL_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct memory_machine_config config = {.seed = 1, .copy_size = 100};
    struct memory_machine *machine = memory_machine_new(&config);
    struct driver *d = start(machine);

    now = 1000;
    while (len > 2) {
        size_t part = min_u64(data[0] + (data[1] & 0x3fu) * 256u, len - 2);

        if (!driver_receive(d, 2 + (data[1] >> 6 & 1), data + 2, part))
            now += 50;
        if (data[1] >> 7)
            driver_turn(d);
        data += 2 + part;
        len -= 2 + part;
    }
    driver_turn(d);
    driver_free(d);
    memory_machine_free(machine);
    return 0;
}
