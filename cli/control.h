/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a daemon over its control socket. */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <jansson.h>

/* Sends {"cmd": command} to the daemon that `where` names: a mount or anything in it, a cluster, or
 * a state directory. The answer (gives), or NULL after a message that begins with `where`. */
json_t *control_ask(const char *where, const char *command);

#endif
