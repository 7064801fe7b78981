/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to a daemon over its control socket. */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <jansson.h>

/* The state directory that `where` means: itself, the one of the mount it is in, or of the cluster
 * it names. Gives; NULL after a message. */
char *control_find(const char *where);

/* Sends {"cmd": command} to the daemon of the state directory; its answer (gives), or NULL after a
 * message: no daemon, no permission, or the daemon said "error". */
json_t *control_ask(const char *state, const char *command);

#endif
