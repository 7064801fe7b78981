/* SPDX-License-Identifier: Apache-2.0 */
/* coordfsd on a disk whose power can be cut: linked with the daemon's main, so it takes the same
 * arguments and does the same, over tests/lib/crash_vfs.h.
 *
 *   CUT_STATE=DIR   its state directory, absolute; without it, the program is an ordinary coordfsd
 *   CUT_LIES=1      the disk reports success for a sync, and does nothing
 *
 * A test writes "OPERATIONS SEED" to the fifo DIR.cut. The power then fails after this number of
 * writes, syncs, truncations and changes of names, or after WAIT_MS if there are fewer. Then the
 * directory DIR.left, which must exist, has the content of the disk: all that was synced, and an
 * arbitrary part of the rest. The process ends as by SIGKILL. Between the cut and the end, no
 * operation on the disk returns, so the daemon promises nothing that the disk does not have. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/lib/crash_vfs.h"
#include "tests/sim/files.h"

#define WAIT_MS 300

static const char *state;
static char *asked, *left;
static atomic_int watched_by; /* the process whose thread waits for the request (daemons fork) */
static atomic_uint operations_left;

BASE_NORETURN static void power_off(void)
{
    crash_vfs_power_off(state, left);
    kill(getpid(), SIGKILL);
    abort();
}

static void *wait_for_request(void *arg BASE_UNUSED)
{
    unsigned operations = 0, seed = 0;
    FILE *in = fopen(asked, "r"); /* waits until a test opens it for writing */

    if (in == NULL || fscanf(in, "%u %u", &operations, &seed) != 2)
        die("%s: %s", asked, in == NULL ? strerror(errno) : "not what was expected");
    fclose(in);
    srandom(seed);
    atomic_store(&operations_left, operations);
    usleep(WAIT_MS * 1000);
    power_off();
}

/* Called before each operation. */
static void on_operation(const char *path BASE_UNUSED)
{
    int self = getpid();
    unsigned left_now = atomic_load(&operations_left);
    pthread_t thread;

    if (atomic_exchange(&watched_by, self) != self)
        check(pthread_create(&thread, NULL, wait_for_request, NULL) == 0);
    while (left_now > 0)
        if (atomic_compare_exchange_weak(&operations_left, &left_now, left_now - 1)) {
            if (left_now == 1)
                power_off();
            break;
        }
}

bool files_ours(const char *path)
{
    size_t len = state != NULL ? strlen(state) : 0;

    return len > 0 && strncmp(path, state, len) == 0 && path[len] == '/';
}

bool files_fail(const char *path BASE_UNUSED)
{
    return false;
}

__attribute__((constructor)) static void begin(void)
{
    state = getenv("CUT_STATE");
    if (state == NULL)
        return;
    asked = xasprintf("%s.cut", state);
    left = xasprintf("%s.left", state);
    crash_vfs_on();
    crash_vfs_adopt(state);
    crash_vfs_lie(getenv("CUT_LIES") != NULL);
    crash_vfs_watch(on_operation);
}
