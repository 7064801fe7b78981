/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/libraft_abi.h"

#include <errno.h>
#include <raft.h>
#include <stdio.h>
#include <string.h>

/* The layout of Debian's libraft0 0.22.1. RAFT__LEGACY_no makes the header describe another struct
 * than the binary has. Sizes for 64-bit; on a 32-bit machine nothing was ever tried. */
#ifdef RAFT__LEGACY_no
#error "libraft's header must be used as shipped: RAFT__LEGACY_no changes struct raft"
#endif
_Static_assert(RAFT_VERSION_NUMBER == 2201, "written for libraft 0.22.1");
_Static_assert(sizeof(struct raft) == 992, "struct raft is not libraft 0.22.1's");
_Static_assert(offsetof(struct raft, current_term) == 0x30, "layout");
_Static_assert(offsetof(struct raft, voted_for) == 0x38, "layout");
_Static_assert(offsetof(struct raft, capacity_threshold) == 0x42, "layout");
_Static_assert(offsetof(struct raft, pre_vote) == 0x2d0, "layout");
_Static_assert(offsetof(struct raft, random) == 0x2e8, "layout");
_Static_assert(offsetof(struct raft, max_inflight_entries) == 0x2fc, "layout");

static int refuse(char *errmsg, size_t errmsg_len, const char *what)
{
    snprintf(errmsg, errmsg_len,
             "this libraft is not 0.22.1 as Debian ships it (%s): the consensus driver was not "
             "written for it",
             what);
    return -EPROTONOSUPPORT;
}

/* Setters of the binary must hit the fields that the header shows. */
static const char *probe_fields(struct raft *r)
{
    raft_seed(r, 0x5eed);
    raft_set_max_inflight_entries(r, 4711);
    raft_set_capacity_threshold(r, 815);
    raft_set_pre_vote(r, true);
    raft_set_heartbeat_timeout(r, 77);
    if (r->random != 0x5eed || r->max_inflight_entries != 4711 || r->capacity_threshold != 815 ||
        !r->pre_vote || r->heartbeat_timeout != 77)
        return "struct raft is laid out differently";
    raft_set_capacity_threshold(r, 0);
    return NULL;
}

/* A two-member cluster that starts from a snapshot: does the core keep the configuration it is
 * given (0.22.1), or copy it (later)? Closes `conf` where the core did not take it. */
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
    return r->last_stored == 1 && r->commit_index == 1 ? NULL : "it starts in another state";
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
