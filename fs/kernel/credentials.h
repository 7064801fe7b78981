/* SPDX-License-Identifier: Apache-2.0 */
/* On whose behalf a request acts, where the kernel has not checked what it may do (ioctls): user
 * and group come with the request, supplementary groups and capabilities from /proc. Who is not
 * visible there (another pid namespace) has no supplementary groups.
 *
 * In the state machine uid 0 may do everything. Here root of a container, who is less than that,
 * is refused what he lacks the capabilities for.
 *
 * Reader thread only: /proc of a thread that waits for us does not change meanwhile. */
#ifndef FS_KERNEL_CREDENTIALS_H
#define FS_KERNEL_CREDENTIALS_H

#include <fuse_lowlevel.h>

#include "fs/backend.h"

struct credentials {
    Cfs__Cred cred; /* its groups belong to the caller */
    uint64_t capabilities;
};

/* Who made the request. */
void credentials_init(struct credentials *c, const struct fuse_ctx *ctx);
void credentials_fini(struct credentials *c);

/* 0, or EPERM: uid 0 without a capability that the transaction needs. Of other users the state
 * machine knows what they may do. */
int credentials_check(const struct credentials *c, const Cfs__Txn *txn);

#endif
