/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that the libraft found is the one this code was written for: 0.22.1 as Debian ships it.
 *
 * The guards read and write public fields of struct raft. After 0.22.1, upstream changed the
 * ownership of memory that passes through raft_step(), without a new version or soname. Therefore
 * the layout is checked when this file is compiled, and the behaviour when the driver starts. */
#ifndef RAFT_LIBRAFT_ABI_H
#define RAFT_LIBRAFT_ABI_H

#include "base/base.h"

/* 0, or -EPROTONOSUPPORT and a message with the version found, the version needed and the remedy.
 * Any thread. */
int libraft_abi_check(char *errmsg, size_t errmsg_len);

#endif
