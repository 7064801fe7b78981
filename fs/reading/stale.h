/* SPDX-License-Identifier: Apache-2.0 */
/* Mount option stale=deny: a host that has lost the quorum does not answer from its local state.
 *
 * Theory of operation. If the backend has had no quorum for a while (fs_options.deny_ms: longer
 * than an election), the kernel is made to forget its caches. From then on every request that the
 * local state would answer gets EIO: look-ups, attributes, names, content, also through open
 * handles. When there is a quorum again, a barrier proves that this host has everything that was
 * committed meanwhile; only then it answers again.
 *
 * The control directory (fs/control/vdir.h) goes on showing this host's knowledge. To make it
 * reachable, the attributes of the root are answered, too.
 *
 * Limits. Data that a program has read stay where they are. Between the loss of the quorum and its
 * detection (by the backend, then deny_ms, then the next look) old content is read, for about two
 * election timeouts. Before Linux 6.16 the kernel cannot be told to forget all names: for up to a
 * minute it may say that a name does not exist, or let a path lead through a name; the target is
 * EIO all the same. Changes are not affected: a change without a look-up before it waits for the
 * quorum, as always.
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
    uint64_t lost_ms; /* when the quorum was lost; 0: there is a quorum */
    uint64_t next_ms; /* time of the next look */
    struct call barrier;
};

/* Looks at the quorum if it is time. Returns the time until the next look in ms; -1: never
 * (stale=serve). */
int stale_turn(struct fs *fs);

/* True if the request that was just read (fs->io) must be answered EIO now. */
bool stale_denies(struct fs *fs);

#endif
