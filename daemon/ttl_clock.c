/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ttl_clock.h"

void ttl_clock_see(struct ttl_clock *t, int64_t clock, uint64_t now)
{
    if (t->seen && t->clock == clock)
        return;
    *t = (struct ttl_clock){.clock = clock, .since = now, .seen = true};
}

uint64_t ttl_clock_elapsed_ms(const struct ttl_clock *t, uint64_t now)
{
    /* Both are rounded down, so their difference may be one too many. */
    return t->seen && now > t->since ? now - t->since - 1 : 0;
}
