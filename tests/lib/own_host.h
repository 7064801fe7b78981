/* SPDX-License-Identifier: Apache-2.0 */
/* An address to listen on that no other process uses, because tests run beside each other and
 * beside other programs. All of 127/8 belongs to this machine; the pid selects the address.
 * Connections come from 127.0.0.1, so no socket can by chance connect to itself. */
#ifndef TESTS_LIB_OWN_HOST_H
#define TESTS_LIB_OWN_HOST_H

#include <stdint.h>

const char *own_host(void);  /* "127.1.2.3" */
uint32_t own_host_net(void); /* the same, in network order */

#endif
