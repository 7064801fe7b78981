/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: for any request, the answer is one JSON object on one line. The member is
 * real, except that it has no loop. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/control.h"
#include "daemon/session_manager.h"
#include "daemon/views.h"
#include "tests/lib/lock_kit.h"

static struct kit kit;
static char name[] = "test", address[] = "127.0.0.1:7001";
static struct daemon member = {.options = {.name = name, .id = 1}};

/* They replace those of raft/consensus.c (LDFLAGS_control). */
void __wrap_consensus_status(struct consensus *n, struct driver_status *out);
uint64_t __wrap_consensus_session(struct consensus *n);
size_t __wrap_consensus_pending(struct consensus *n);

void __wrap_consensus_status(struct consensus *n BASE_UNUSED, struct driver_status *out)
{
    *out = (struct driver_status){.id = 1, .state = DRIVER_LEADER, .leader = 1, .n_members = 2};
    out->members[0] = (struct driver_member_status){.id = 1, .address = address};
    out->members[1] = (struct driver_member_status){.id = 2, .address = address};
}

uint64_t __wrap_consensus_session(struct consensus *n BASE_UNUSED)
{
    return kit.session;
}

size_t __wrap_consensus_pending(struct consensus *n BASE_UNUSED)
{
    return 0;
}

static void end(void)
{
    views_free(member.views);
    session_manager_free(member.session_manager);
    kit_fini(&kit);
}

int LLVMFuzzerInitialize(int *argc BASE_UNUSED, char ***argv BASE_UNUSED)
{
    struct kit_host host;

    log_set_level(LOG_LEVEL_ERROR);
    setenv("TMPDIR", "/dev/shm", 0);
    kit_init(&kit);
    host = kit_host(&kit, 2, 9, 0);
    check(lock_flock(&kit, &host, kit_file(&kit, 1, "f\xff"), 1, WRITE) == 0);
    member.store = kit.store;
    member.session_manager = session_manager_new(&member);
    member.views = views_new(&member);
    atexit(end);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *answer = control_answer(&member, (const char *)data, len);
    char *text = json_dumps(answer, JSON_COMPACT);

    check(json_is_object(answer));
    check(text != NULL && strchr(text, '\n') == NULL);
    free(text);
    json_decref(answer);
    return 0;
}
