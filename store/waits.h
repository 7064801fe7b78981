/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for whom: the graph between the owners of POSIX locks. Its edges go from an owner with
 * a waiting request
 *   hard: to each other owner that holds a lock in conflict with the request;
 *   soft: to each other owner whose earlier request, waiting too, is in conflict with it.
 * A cycle of hard edges is a deadlock. One with a soft edge is none: that request may be granted
 * out of turn.
 *
 * An owner may have several requests waiting (threads): it waits for what any of them does.
 * Writer's thread. */
#ifndef STORE_WAITS_H
#define STORE_WAITS_H

#include "store/locktab.h"

enum waits_edges { WAITS_HARD, WAITS_ALL };

/* Marks all owners from which `owner` can be reached, itself included, on paths that end there for
 * the first time, with an edge of `last`, the others being of `others`. Until the next call,
 * waits_marked tells. */
void waits_mark(struct locktab *t, struct lock_owner *owner, enum waits_edges last,
                enum waits_edges others);
bool waits_marked(const struct locktab *t, const struct lock_owner *owner);

/* Is there any edge to the owner? */
bool waits_is_awaited(const struct lock_owner *owner, enum waits_edges edges);

#endif
