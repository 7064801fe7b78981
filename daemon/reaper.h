/* SPDX-License-Identifier: Apache-2.0 */
/* Frees unlinked files once no host holds them open: on the leader, about once a second, asks every
 * member that has a session which of the next orphans it holds, and proposes the reaping of those
 * that all have answered "not I" for, as of an index at or after the unlink. A member that is away
 * holds up the reaping until its session has expired; what a process there still has open then is
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
