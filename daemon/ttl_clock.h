/* SPDX-License-Identifier: Apache-2.0 */
/* One member's part in the cluster's time (store/special.h): how long ago this member applied the
 * command that advanced it last, on this member's CLOCK_BOOTTIME. The leader proposes that time, so
 * it counts time without a leader as well. Each ttl that has a deadline began before that command,
 * so no member counts time before the ttl began.
 *
 * A member that starts, or that installs a snapshot with another cluster's time, counts from then.
 * If it leads soon after, up to TTL_CLOCK_KEEP_MS are not counted: entries live so much longer, as
 * they do if no member of the cluster runs.
 *
 * All zeros: nothing seen yet. Pure; loop thread. Times: ms, CLOCK_BOOTTIME. */
#ifndef DAEMON_TTL_CLOCK_H
#define DAEMON_TTL_CLOCK_H

#include "base/base.h"

#define TTL_CLOCK_KEEP_MS                                                                          \
    60000 /* the leader advances the cluster's time so often while a ttl runs */

struct ttl_clock {
    int64_t clock;  /* the cluster's time, as applied here (store_clock) */
    uint64_t since; /* when it was applied */
    bool seen;
};

/* Call at the start, and whenever entries were applied or a snapshot was installed. */
void ttl_clock_see(struct ttl_clock *t, int64_t clock, uint64_t now);
/* The time that the cluster's time has not counted yet. */
uint64_t ttl_clock_elapsed_ms(const struct ttl_clock *t, uint64_t now);

#endif
