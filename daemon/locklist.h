/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to `coordfs locks`. Loop thread. */
#ifndef DAEMON_LOCKLIST_H
#define DAEMON_LOCKLIST_H

#include <jansson.h>

#include "daemon/daemon.h"

/* {"locks": [{"ino", "path" (if it has a name), "kind": "flock" or "posix", "session", "member",
 * "mode": "read" or "write", "start", "end" (2^63 - 1: to the end of the file, wherever it is),
 * "pid" on the member's host (null: in a PID namespace that its daemon does not see), "waiting",
 * "fence" (held) or "id" (waiting)} …]}, by file: first what is held, then the queue in its order.
 * Or {"error"}. Gives. */
json_t *locklist_json(struct daemon *d);

#endif
