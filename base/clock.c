/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <sys/random.h>
#include <time.h>

#include "base/base.h"

static struct timespec read_clock(clockid_t id)
{
    struct timespec now;

    check(clock_gettime(id, &now) == 0);
    return now;
}

uint64_t clock_boot_us(void)
{
    struct timespec now = read_clock(CLOCK_BOOTTIME);

    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_boot_ms(void)
{
    return clock_boot_us() / 1000;
}

int64_t clock_real_ns(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);

    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t clock_entropy(void)
{
    uint64_t value;

    check(getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}
