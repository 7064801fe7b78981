/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/own_host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

/* The same as address() of tests/it/lib.sh with number 0. */
const char *own_host(void)
{
    static char host[INET_ADDRSTRLEN];
    unsigned pid = (unsigned)getpid();

    snprintf(host, sizeof host, "127.%u.%u.%u", 1 + (pid >> 12) % 254, pid >> 4 & 255,
             (pid & 15) * 16);
    return host;
}

uint32_t own_host_net(void)
{
    return inet_addr(own_host());
}
