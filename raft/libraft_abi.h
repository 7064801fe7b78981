/* SPDX-License-Identifier: Apache-2.0 */
/* Is the libraft at hand the one that this code was written for?
 *
 * The guards read and write public fields of struct raft, and the ownership of memory that goes
 * through raft_step() changed upstream after 0.22.1 without a change of version or soname. So the
 * layout is pinned when this is compiled, and the behaviour is probed when the driver starts. */
#ifndef RAFT_LIBRAFT_ABI_H
#define RAFT_LIBRAFT_ABI_H

#include "base/base.h"

/* 0, or -EPROTONOSUPPORT and a reason. Any thread. */
int libraft_abi_check(char *errmsg, size_t errmsg_len);

#endif
