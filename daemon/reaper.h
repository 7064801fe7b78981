/* SPDX-License-Identifier: Apache-2.0 */
/* Frees unlinked files (orphans) once no host has them open. About once a second, the leader asks
 * each member that has a session which of the next orphans it has open, and proposes to free those
 * that no member has open, as of an index at or after the unlink. A member that does not answer
 * delays this until its session has expired; a process there that still has the file open then gets
 * ESTALE. Loop thread. */
#ifndef DAEMON_REAPER_H
#define DAEMON_REAPER_H

#include "daemon/daemon.h"
#include "proto/app.pb-c.h"

struct reaper *reaper_new(struct daemon *d);
void reaper_free(struct reaper *r);

void reaper_tick(struct reaper *r); /* ~100 ms */
void reaper_message(struct reaper *r, uint64_t from, const Cfs__App *app);

#endif
