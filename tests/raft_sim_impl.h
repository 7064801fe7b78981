/* The inside of the simulator, shared by raft_sim.c and raft_sim_check.c. */
#ifndef TESTS_RAFT_SIM_IMPL_H
#define TESTS_RAFT_SIM_IMPL_H

#include "raft/driver_impl.h"
#include "tests/raft_sim.h"

#define SIM_CHANGES 4096

struct sim_change { /* a CHANGE in the log of a member */
    uint64_t index, hash;
};

struct sim_node {
    struct raft_sim *sim;
    unsigned id;
    void *disk;
    struct driver *driver;
    uint64_t incarnation;
    uint64_t local;      /* its time while it works */
    uint64_t busy_until; /* it does nothing else before */
    uint64_t turn_at;    /* its next turn; UINT64_MAX: none */
    uint64_t turn_stamp; /* of the event that stands for it */
    bool doomed;         /* crashes at the end of this event: nothing it does counts any more */
    bool wants[RAFT_SIM_MAX + 1]; /* it wants a link to */
    bool linked[RAFT_SIM_MAX + 1];
    struct sim_change changes[SIM_CHANGES];
    unsigned n_changes;
};

struct sim_check;

struct raft_sim {
    struct raft_sim_config config;
    const struct raft_sim_backend *backend;
    uint64_t now, seq, chance;
    struct sim_event *heap;
    size_t n_events, cap_events;
    struct sim_node nodes[RAFT_SIM_MAX + 1];
    bool cut[RAFT_SIM_MAX + 1][RAFT_SIM_MAX + 1];
    bool connected[RAFT_SIM_MAX + 1][RAFT_SIM_MAX + 1]; /* [low][high] */
    uint64_t epoch[RAFT_SIM_MAX + 1][RAFT_SIM_MAX + 1];
    uint64_t last_arrival[RAFT_SIM_MAX + 1][RAFT_SIM_MAX + 1];
    size_t in_flight[RAFT_SIM_MAX + 1][RAFT_SIM_MAX + 1];
    bool peaceful; /* healing: no more trouble */
    struct sim_check *check;
    struct raft_sim_stats stats;
    uint64_t steps_before; /* of drivers that are gone */
    uint64_t digest;
    uint64_t next_payload;
    char error[512];
};

void sim_fail(struct raft_sim *sim, const char *fmt, ...) BASE_PRINTF(2, 3);

struct sim_check *sim_check_new(void);
void sim_check_free(struct sim_check *check);
void sim_check_append(struct raft_sim *sim, struct sim_node *node, uint64_t index,
                      const struct machine_entry *entry);
void sim_check_apply(struct raft_sim *sim, struct sim_node *node, uint64_t index,
                     const struct machine_entry *entry);
void sim_check_started(struct raft_sim *sim, struct sim_node *node);
void sim_check_installed(struct raft_sim *sim, struct sim_node *node);
void sim_check_event(struct raft_sim *sim, struct sim_node *node); /* after each event of a node */
void sim_check_barrier(struct raft_sim *sim, struct sim_node *node, uint64_t ticket);
bool sim_check_barrier_done(struct raft_sim *sim, struct sim_node *node, uint64_t ticket);
uint64_t sim_check_new_ticket(struct raft_sim *sim, struct sim_node *node);
bool sim_check_ticket_done(const struct raft_sim *sim, uint64_t ticket);
uint64_t sim_check_applied(const struct raft_sim *sim); /* the most that anybody has applied */

#endif
