/* SPDX-License-Identifier: Apache-2.0 */
/* The wait-for graph between the owners of POSIX locks. An edge goes from an owner with a waiting
 * request
 *   hard: to each other owner that holds a conflicting lock;
 *   soft: to each other owner that has an earlier, conflicting request waiting.
 * A cycle of hard edges is a deadlock. A cycle with a soft edge is not: that request may be granted
 * out of turn.
 *
 * An owner may have several waiting requests (threads). It has the edges of all of them. Writer's
 * thread. */
#ifndef STORE_WAITS_H
#define STORE_WAITS_H

#include "store/locktab.h"

enum waits_edges { WAITS_HARD, WAITS_ALL };

/* Marks all owners from which `owner` can be reached, and `owner` itself. On each path, the first
 * arrival at `owner` is over an edge of kind `last`; the other edges are of kind `others`.
 * waits_marked reports the marks until the next call. */
void waits_mark(struct locktab *t, struct lock_owner *owner, enum waits_edges last,
                enum waits_edges others);
bool waits_marked(const struct locktab *t, const struct lock_owner *owner);

/* True if any owner has an edge of this kind to the owner. */
bool waits_is_awaited(const struct lock_owner *owner, enum waits_edges edges);

#endif
