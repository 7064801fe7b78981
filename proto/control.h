/* SPDX-License-Identifier: Apache-2.0 */
/* How programs find and talk to a daemon. Its control socket, STATE/control.sock, takes one request
 * and gives one answer per connection. Both are a JSON object on one line:
 *   {"cmd": "status"}  ->  {"ok": true, …}  or  {"error": "…"}
 *
 * From a mount, a program finds the daemon through a symbolic link to the state directory. The link
 * is named after the filesystem's device number: /run/coordfs/MAJOR:MINOR. Any thread. */
#ifndef PROTO_CONTROL_H
#define PROTO_CONTROL_H

#include <sys/types.h>

#include "base/base.h"

#define CONTROL_SOCKET     "control.sock"
#define CONTROL_RUN_DIR    "/run/coordfs"
#define CONTROL_STATE_BASE "/var/lib/coordfs" /* + "/NAME" is the default state directory */

/* Returns the path of the link for the filesystem with this device number; gives it. */
char *control_link(dev_t dev);

/* Computes the address of DIR/control.sock, even if DIR's path is longer than a socket address may
 * be: the address goes through a descriptor of DIR, which is returned. Close it after bind or
 * connect. The descriptor, or -errno. */
struct sockaddr_un;
int control_address(const char *dir, struct sockaddr_un *out);

#endif
