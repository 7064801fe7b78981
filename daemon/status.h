/* SPDX-License-Identifier: Apache-2.0 */
/* What `coordfs status` shows. Loop thread. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <jansson.h>

#include "daemon/daemon.h"

#ifndef COORDFS_VERSION
#define COORDFS_VERSION "0.1.0"
#endif

json_t *status_json(struct daemon *d); /* gives */

#endif
