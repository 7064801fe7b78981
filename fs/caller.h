/* On whose behalf a request acts, where the kernel has not checked what it may do (ioctls): user
 * and group come with the request, supplementary groups and capabilities from /proc. Who is not
 * visible there (another pid namespace) has no supplementary groups.
 *
 * In the state machine uid 0 may do everything. Here root of a container, who is less than that,
 * is refused what he lacks the capabilities for.
 *
 * Reader thread only: /proc of a thread that waits for us does not change meanwhile. */
#ifndef FS_CALLER_H
#define FS_CALLER_H

#include <fuse_lowlevel.h>

#include "fs/backend.h"

struct caller {
    Cfs__Cred cred; /* its groups belong to the caller */
    uint64_t capabilities;
};

/* Who made the request. */
void caller_init(struct caller *c, const struct fuse_ctx *ctx);
void caller_fini(struct caller *c);

/* 0, or EPERM: uid 0 without a capability that the transaction needs. Of other users the state
 * machine knows what they may do. */
int caller_check(const struct caller *c, const Cfs__Txn *txn);

#endif
