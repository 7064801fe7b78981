/* SPDX-License-Identifier: Apache-2.0 */
/* Changes the options of a running mount, for `mount -o remount`.
 *
 * mount(8) passes all options of the mount again, so most of them are in force already and change
 * nothing. The running daemon decides: it accepts what is in force, changes what it can change live
 * (options.h), and refuses the rest by name. Flags of mount(2) belong to the kernel. */
#ifndef DAEMON_REMOUNT_H
#define DAEMON_REMOUNT_H

#include <jansson.h>

#include "daemon/daemon.h"

/* The process that mount(8) started: o->remount is set, and o->mount is the mount. Asks its daemon,
 * changes the flags, then the options; all of it or, after a refusal, nothing. Returns 0, or -errno
 * and one line in errmsg; -EINVAL: an option was refused. Main thread. */
int remount_run(const struct options *o, char *errmsg, size_t errmsg_len);

/* The daemon's answer to {"cmd": "remount", "options": ["KEY=VALUE" …], "apply": BOOL}: {"ok":
 * true} or {"error": WHY}. Without apply it only tells if it would refuse. Gives. Loop thread. */
json_t *remount_answer(struct daemon *d, const json_t *request);

#endif
