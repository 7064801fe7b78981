/* Frees unlinked files once no host holds them open: on the leader, about once a second, asks every
 * member which of the next orphans it holds, and proposes the reaping of those that all have
 * answered "not I" for, as of an index at or after the unlink. A member that is away holds up the
 * reaping until it is back. Loop thread. */
#ifndef DAEMON_REAPER_H
#define DAEMON_REAPER_H

#include "daemon/daemon.h"

struct reaper *reaper_new(struct daemon *d);
void reaper_free(struct reaper *r);

void reaper_tick(struct reaper *r);                                                    /* ~100 ms */
void reaper_message(struct reaper *r, uint64_t from, const uint8_t *data, size_t len); /* on_app */

#endif
