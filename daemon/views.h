/* SPDX-License-Identifier: Apache-2.0 */
/* What the control files of .coordfs show (fs/control/vdir.h); the control socket answers the same
 * names. Loop thread, but new and free: main thread, while the node does not run. */
#ifndef DAEMON_VIEWS_H
#define DAEMON_VIEWS_H

#include <jansson.h>

#include "base/buf.h"
#include "daemon/daemon.h"

struct views *views_new(struct daemon *d);
void views_free(struct views *v);

/* The file's content. False: there is no such view. */
bool views_text(struct views *v, const char *name, struct buf *out);
/* The same for the socket: {"ok": true, NAME: …}; gives. NULL: there is no such view. */
json_t *views_json(struct views *v, const char *name);

/* The leader is another; may be called from within the driver. */
void views_on_leader(struct views *v, uint64_t leader);
/* Looks whether members or health have changed. About every 100 ms. */
void views_tick(struct views *v);

#endif
