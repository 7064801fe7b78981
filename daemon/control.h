/* SPDX-License-Identifier: Apache-2.0 */
/* Serves the control socket (proto/control.h) on the loop thread. Admits root and the daemon's own
 * user (SO_PEERCRED). */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <jansson.h>

#include "daemon/daemon.h"
#include "proto/control.h"

/* Binds the socket and serves requests. The node must run. 0, or -errno and a line in errmsg. Main
 * thread. */
int control_start(struct daemon *d, struct control **out, char *errmsg, size_t errmsg_len);

/* The answer to a request of any bytes; gives. Loop thread. */
json_t *control_answer(struct daemon *d, const char *text, size_t len);

/* Main thread, before consensus_stop. */
void control_stop(struct control *c);

#endif
