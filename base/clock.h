/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks. Only daemon/, cli/ and fs/ call these functions (fs/ for grace periods of requests).
 * raft/ gets the time from its caller and store/ from the command, so both can run on virtual time.
 * Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_boot_ms(void); /* CLOCK_BOOTTIME: monotone, counts suspended time */
uint64_t clock_boot_us(void);
int64_t clock_real_ns(void);  /* wall clock, nanoseconds since the epoch */
uint64_t clock_entropy(void); /* 64 bits from the kernel's random source */

/* The shorter of two waiting times in ms; -1 means no limit. */
static inline int clock_sooner(int a_ms, int b_ms)
{
    if (a_ms < 0 || b_ms < 0)
        return a_ms > b_ms ? a_ms : b_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

#endif
