/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the simulator, shared by its files only:
 *
 *   raft_sim.c          events, members, healing
 *   raft_sim_net.c      connections and messages
 *   raft_sim_trouble.c  faults
 *   raft_sim_check.c    invariants */
#ifndef TESTS_LIB_RAFT_SIM_IMPL_H
#define TESTS_LIB_RAFT_SIM_IMPL_H

#include <setjmp.h>

#include "raft/driver_impl.h"
#include "tests/lib/raft_sim.h"

#define SIM_CHANGES 4096

enum sim_event_kind {
    EV_DELIVER,
    EV_TURN,
    EV_CONNECT, /* the connection between a and b comes up */
    EV_LINK,    /* a learns that its link to b is up or down */
    EV_START,
    EV_UNCUT,
    EV_DIE, /* a doomed member ends: until then, its earlier messages arrive */
    EV_ASK, /* a proposes something */
    EV_PROPOSE,
    EV_BARRIER,
    EV_CRASH,
    EV_CUT,
    EV_UNPLUG,
    EV_CHURN,
    EV_TRANSFER,
    EV_PAUSE,
    EV_JUMP,
};

struct sim_event {
    uint64_t at, seq;
    enum sim_event_kind kind;
    unsigned a, b;  /* members; the event happens to a */
    uint64_t stamp; /* epoch, incarnation or turn; if that has changed, the event is void */
    struct buf data;
};

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
    uint64_t busy_until; /* it handles no event before */
    uint64_t turn_at;    /* its next turn; UINT64_MAX: none */
    uint64_t turn_stamp; /* of the event that stands for it */
    uint64_t paused;     /* until then */
    int64_t drift_ppm;
    bool doomed;                  /* crashes at the end of this event; its actions have no effect */
    bool wants[RAFT_SIM_MAX + 1]; /* it wants a link to this member */
    bool linked[RAFT_SIM_MAX + 1];
    struct sim_change changes[SIM_CHANGES];
    unsigned n_changes;
};

struct sim_check;

#define SIM_STORY 512

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
    struct sim_event event; /* the present event */
    jmp_buf death;
    unsigned dying;
    bool broken; /* an event was abandoned: the members cannot be freed */
    char (*story)[160];
    unsigned n_story;
};

void sim_fail(struct raft_sim *sim, const char *fmt, ...) BASE_PRINTF(2, 3);

/* raft_sim.c */
/* Only one of these per expression: otherwise the compiler would choose their order. */
uint64_t sim_chance(uint64_t *state);
uint64_t sim_pick(struct raft_sim *sim, uint64_t low, uint64_t high); /* low..high */
bool sim_happens(struct raft_sim *sim, unsigned per_mille);
uint64_t sim_clock(const struct sim_node *node); /* microseconds */
uint64_t sim_time_of(const struct sim_node *node,
                     uint64_t clock_ms); /* when the clock shows that time */
uint64_t sim_local_time(const struct raft_sim *sim, const struct sim_node *node);
void sim_insert(struct raft_sim *sim, struct sim_event event); /* takes its data */
void sim_post(struct raft_sim *sim, uint64_t at, enum sim_event_kind kind, unsigned a, unsigned b,
              uint64_t stamp);
/* Call it after each use of a member's driver. */
void sim_after(struct raft_sim *sim, struct sim_node *node, bool turned);

/* raft_sim_net.c */
struct driver_env sim_env(struct sim_node *node);
bool sim_connected(const struct raft_sim *sim, unsigned a, unsigned b);
uint64_t sim_link_epoch(const struct raft_sim *sim, unsigned a, unsigned b);
void sim_connect(struct raft_sim *sim, unsigned a, unsigned b); /* a < b */
void sim_connect_soon(struct raft_sim *sim, unsigned a, unsigned b, uint64_t at);
/* The connection is gone. Each side learns it at its own time; a dead side never does. */
void sim_disconnect(struct raft_sim *sim, unsigned a, unsigned b, uint64_t slowest);

/* Both sides learn the end of the old connection immediately, and connect. */
void sim_reconnect(struct raft_sim *sim, unsigned a, unsigned b);

/* raft_sim_trouble.c */
void sim_trouble(struct raft_sim *sim, const struct sim_event *event);
void sim_trouble_again(struct raft_sim *sim, enum sim_event_kind kind); /* the next of this kind */
void sim_heal_cuts(struct raft_sim *sim);

/* raft_sim_check.c */
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
uint64_t
sim_check_applied(const struct raft_sim *sim); /* the highest index that any member has applied */

#endif
