/* SPDX-License-Identifier: Apache-2.0 */
/* The credentials of a request that the kernel has not checked (ioctls, special attributes). User
 * and group come with the request; supplementary groups and capabilities come from /proc.
 *
 * If this daemon runs in a PID namespace of its own, /proc shows no caller outside, and the request
 * has pid 0. Then user and group are all that is known: no supplementary groups; and uid 0 (of our
 * user namespace, or the kernel would not have sent the request) counts as root that may act on
 * files, but not as an administrator of the host (CAP_SYS_ADMIN).
 *
 * The state machine lets uid 0 do everything. Root of a container has fewer rights:
 * credentials_check refuses what needs a capability that the caller lacks.
 *
 * Reader thread only. The caller waits for our answer, so its /proc does not change meanwhile. */
#ifndef FS_KERNEL_CREDENTIALS_H
#define FS_KERNEL_CREDENTIALS_H

#include <fuse_lowlevel.h>

#include "fs/backend.h"

struct credentials {
    Cfs__Cred cred; /* the groups belong to this struct */
    uint64_t capabilities;
};

/* The credentials of the process that made the request. */
void credentials_init(struct credentials *c, const struct fuse_ctx *ctx);
void credentials_fini(struct credentials *c);

/* 0, or EPERM: the caller is uid 0 but lacks a capability that the transaction needs. The state
 * machine checks all other users. */
int credentials_check(const struct credentials *c, const Cfs__Txn *txn);

#endif
