/* SPDX-License-Identifier: Apache-2.0 */
/* The options that a mount's daemon was started with, for a remount: mount(8) passes all options of
 * the fstab line again, and those that are in force already change nothing. */
#ifndef MOUNT_HELPER_IN_FORCE_H
#define MOUNT_HELPER_IN_FORCE_H

#include "base/buf.h"

/* The options of the daemon whose --mount is target, separated by commas and with one at either
 * end, as ",timeout=8,state=/s,". Empty if no such daemon runs. gives; any thread. */
void in_force_find(const char *target, struct buf *out);

/* Is this word ("key" or "key=value") one of them? */
bool in_force_has(const struct buf *options, const char *word);

#endif
