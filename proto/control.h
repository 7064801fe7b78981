/* SPDX-License-Identifier: Apache-2.0 */
/* Where a daemon is found and how it is talked to: its control socket, STATE/control.sock, takes
 * one request and gives one answer a connection, both one JSON object on a line:
 *   {"cmd": "status"}  ->  {"ok": true, …}  or  {"error": "…"}
 *
 * A mount is led back to its daemon by a symbolic link to the state directory, named after the
 * filesystem's device number: /run/coordfs/MAJOR:MINOR. Any thread. */
#ifndef PROTO_CONTROL_H
#define PROTO_CONTROL_H

#include <sys/types.h>

#include "base/base.h"

#define CONTROL_SOCKET     "control.sock"
#define CONTROL_RUN_DIR    "/run/coordfs"
#define CONTROL_STATE_BASE "/var/lib/coordfs" /* + /NAME: the default state directory */

/* The link's path for the filesystem with this device number; gives. */
char *control_link(dev_t dev);

/* The address of DIR/control.sock, also when DIR's path is longer than a socket's may be: gives a
 * descriptor of DIR, to be closed after bind or connect, and the address that goes through it.
 * The descriptor, or -errno. */
struct sockaddr_un;
int control_address(const char *dir, struct sockaddr_un *out);

#endif
