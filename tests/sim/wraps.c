/* SPDX-License-Identifier: Apache-2.0 */
/* The process around the members. The linker redirects these calls here (--wrap, see the Makefile).
 * If a member dies, the others must survive; and daemon/machine.c, which calls raft/consensus.h,
 * gets the values of its member. Files: tests/sim/files.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/impl.h"

#define WRAP(name) __wrap_##name
#define REAL(name) __real_##name

void WRAP(die)(const char *fmt, ...) BASE_NORETURN BASE_PRINTF(1, 2);
void WRAP(check_failed)(const char *expr, const char *file, int line) BASE_NORETURN;
uint64_t WRAP(consensus_session)(struct consensus *n);
void WRAP(consensus_applied)(struct consensus *n, enum client_outcome outcome, uint64_t session,
                             uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len);
void WRAP(session_manager_ended)(struct session_manager *k, uint64_t session);

void REAL(check_failed)(const char *expr, const char *file, int line) BASE_NORETURN;

/* ---- The end of a process -------------------------------------------------------------------- */

void WRAP(die)(const char *fmt, ...)
{
    struct world *w = sim_world;
    char text[300];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (w == NULL || w->sim == NULL) {
        fprintf(stderr, "died: %s\n", text);
        abort();
    }
    for (unsigned id = 1; id <= w->config.raft.n; id++)
        if (w->members[id] != NULL && w->members[id]->failing) {
            raft_sim_note(w->sim, "%u dies: %s", id, text);
            disk_doom(w->members[id]);
            raft_sim_die(w->sim, id);
        }
    world_fail(w, "DEATH: %s", text);
    raft_sim_die(w->sim, 0);
}

void WRAP(check_failed)(const char *expr, const char *file, int line)
{
    if (sim_world == NULL || sim_world->sim == NULL)
        REAL(check_failed)(expr, file, line);
    world_fail(sim_world, "CHECK: %s:%d: %s", file, line, expr);
    raft_sim_die(sim_world->sim, 0);
}

/* ---- The functions that daemon/machine.c calls ----------------------------------------------- */

static struct member *member_of(struct consensus *n)
{
    return (struct member *)(void *)n;
}

uint64_t WRAP(consensus_session)(struct consensus *n)
{
    const struct member *m = member_of(n);

    return m->client != NULL ? client_session(m->client) : 0;
}

void WRAP(consensus_applied)(struct consensus *n, enum client_outcome outcome, uint64_t session,
                             uint64_t seq, uint64_t nonce, const uint8_t *reply, size_t len)
{
    member_client_applied(member_of(n), outcome, session, seq, nonce, reply, len);
}

void WRAP(session_manager_ended)(struct session_manager *k, uint64_t session)
{
    struct member *m = (struct member *)(void *)k;

    if (m->client != NULL)
        client_ended(m->client, session);
}
