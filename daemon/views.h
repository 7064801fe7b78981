/* SPDX-License-Identifier: Apache-2.0 */
/* The content of the control files in .coordfs (fs/control/vdir.h). The control socket answers the
 * same names. Loop thread; views_new and views_free: main thread, while the node does not run. */
#ifndef DAEMON_VIEWS_H
#define DAEMON_VIEWS_H

#include <jansson.h>

#include "base/buf.h"
#include "daemon/daemon.h"

struct views *views_new(struct daemon *d);
void views_free(struct views *v);

/* Appends the content of the file. False: there is no such view. */
bool views_text(struct views *v, const char *name, struct buf *out);
/* The same for the socket: {"ok": true, NAME: …}. Gives. NULL: there is no such view. */
json_t *views_json(struct views *v, const char *name);

/* The leader has changed. May be called from a callback of the driver. */
void views_on_leader(struct views *v, uint64_t leader);
/* Checks whether members or health have changed. About every 100 ms. */
void views_tick(struct views *v);

#endif
