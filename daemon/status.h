/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to `coordfs status`. Loop thread. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <jansson.h>

#include "daemon/daemon.h"

json_t *status_json(struct daemon *d); /* gives */

#endif
