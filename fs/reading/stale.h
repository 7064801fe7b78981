/* SPDX-License-Identifier: Apache-2.0 */
/* Mount option stale=deny: a host that has lost the quorum does not answer from what it knows.
 *
 * Theory of operation. When the backend has had no quorum for a while (fs_options.deny_ms: an
 * election is no reason), the kernel is made to forget what it believes, and from then on whatever
 * would be answered from the local state is answered EIO: look-ups, attributes, names, content,
 * also through handles that are open. When there is a quorum again, a barrier proves that this host
 * has what was committed meanwhile; only then it answers again.
 *
 * The control directory (fs/control/vdir.h) goes on telling what this host knows; so that it can be
 * reached, the root's attributes are answered, too.
 *
 * Limits. What was read before stays where it was read to. Between the loss of the quorum and its
 * being noticed (by the backend, then deny_ms, then the next look) old content is read; how long:
 * about two election timeouts. Before Linux 6.16 the kernel cannot be told to forget all names: for
 * up to a minute it may say of a name that it does not exist, or let a path lead through it; what
 * it leads to is EIO all the same. Changes are not touched by this: those that need no look-up
 * before wait for the quorum, as always.
 *
 * Reader thread only. */
#ifndef FS_READING_STALE_H
#define FS_READING_STALE_H

#include "fs/request/call.h"

struct fs;

enum stale_state {
    STALE_SERVING,
    STALE_DENYING,
    STALE_PROVING, /* as DENYING, and a barrier is on its way */
};

struct stale {
    enum stale_state state;
    uint64_t lost_ms; /* since when there is no quorum; 0: there is one */
    uint64_t next_ms; /* when to look again */
    struct call barrier;
};

/* Looks at the quorum if it is time to; the time until then in ms; -1: never (stale=serve). */
int stale_turn(struct fs *fs);

/* Is the request that was just read (fs->io) to be answered EIO now? */
bool stale_denies(struct fs *fs);

#endif
