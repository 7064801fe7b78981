/* SPDX-License-Identifier: Apache-2.0 */
/* Two checks: assertions about the header, when this file is compiled; and a probe of the library,
 * when the driver starts (another build of libraft may be installed by then). */
#include "raft/libraft_abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The layout of Debian's libraft0 0.22.1 on 64-bit machines (32-bit machines were never tried).
 * RAFT__LEGACY_no makes the header describe another struct than the binary has. */
#ifdef RAFT__LEGACY_no
#error "use libraft's header as shipped: RAFT__LEGACY_no changes struct raft"
#endif
#define REMEDY   "run 'make deps' (Debian 13, or 12 with bookworm-backports), then rebuild"
#define SAME(ok) _Static_assert(ok, "coordfs needs exactly libraft 0.22.1: " REMEDY)
SAME(RAFT_VERSION_NUMBER == 2201);
SAME(sizeof(struct raft) == 992);
SAME(offsetof(struct raft, current_term) == 0x30);
SAME(offsetof(struct raft, voted_for) == 0x38);
SAME(offsetof(struct raft, capacity_threshold) == 0x42);
SAME(offsetof(struct raft, pre_vote) == 0x2d0);
SAME(offsetof(struct raft, random) == 0x2e8);
SAME(offsetof(struct raft, max_inflight_entries) == 0x2fc);

/* The binary does not tell its version: its file name must do. */
static int refuse(char *errmsg, size_t errmsg_len, const char *difference)
{
    Dl_info library = {.dli_fname = NULL};
    char *path = NULL;

    if (dladdr((void *)(uintptr_t)raft_init, &library) != 0 && library.dli_fname != NULL)
        path = realpath(library.dli_fname, NULL);
    snprintf(errmsg, errmsg_len,
             "found another libraft (%s: %s), but coordfs needs exactly libraft 0.22.1 as Debian "
             "ships it; remedy: " REMEDY,
             path != NULL ? path : "unknown file", difference);
    free(path);
    return -EPROTONOSUPPORT;
}

/* The setters of the binary must change the fields that the header declares. */
static const char *probe_fields(struct raft *r)
{
    raft_seed(r, 0x5eed);
    raft_set_max_inflight_entries(r, 4711);
    raft_set_capacity_threshold(r, 815);
    raft_set_pre_vote(r, true);
    raft_set_heartbeat_timeout(r, 77);
    if (r->random != 0x5eed || r->max_inflight_entries != 4711 || r->capacity_threshold != 815 ||
        !r->pre_vote || r->heartbeat_timeout != 77)
        return "its struct raft has another layout";
    raft_set_capacity_threshold(r, 0);
    return NULL;
}

/* Starts a two-member cluster from a snapshot. libraft 0.22.1 keeps the configuration it is given;
 * later versions copy it. Closes the configuration if the core did not take it. */
static const char *probe_ownership(struct raft *r)
{
    struct raft_snapshot_metadata metadata = {.index = 1, .term = 1, .configuration_index = 1};
    struct raft_event event = {.type = RAFT_START, .time = 1};
    struct raft_update update;
    bool adopted;

    raft_configuration_init(&metadata.configuration);
    if (raft_configuration_add(&metadata.configuration, 1, "1", RAFT_VOTER) != 0 ||
        raft_configuration_add(&metadata.configuration, 2, "2", RAFT_VOTER) != 0)
        die("out of memory");
    event.start.term = 1;
    event.start.metadata = &metadata;
    event.start.start_index = 2;
    if (raft_step(r, &event, &update) != 0)
        return "it cannot be started from a snapshot";
    adopted = r->configuration.servers == metadata.configuration.servers;
    if (!adopted)
        raft_configuration_close(&metadata.configuration);
    if (!adopted)
        return "it copies configurations instead of taking them";
    return r->last_stored == 1 && r->commit_index == 1 ? NULL : "it starts in a different state";
}

int libraft_abi_check(char *errmsg, size_t errmsg_len)
{
    struct raft r;
    const char *wrong;

    memset(&r, 0, sizeof r);
    if (raft_init(&r, NULL, NULL, 1, "1") != 0)
        return refuse(errmsg, errmsg_len, "raft_init fails");
    r.tracer = NULL;
    wrong = probe_fields(&r);
    if (wrong == NULL)
        wrong = probe_ownership(&r);
    raft_close(&r, NULL);
    return wrong == NULL ? 0 : refuse(errmsg, errmsg_len, wrong);
}
