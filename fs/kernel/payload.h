/* SPDX-License-Identifier: Apache-2.0 */
/* What ioctls hand over (proto/ioctl.h): bytes from any user's program, checked, and as what they
 * mean. Pure. */
#ifndef FS_KERNEL_PAYLOAD_H
#define FS_KERNEL_PAYLOAD_H

#include "base/base.h"
#include "proto/command.pb-c.h"
#include "proto/ioctl.h"

/* 0, and *out is what is to be made; EINVAL; ENAMETOOLONG. The name is terminated then. */
int payload_create(const struct coordfs_ioc_create *in, Cfs__Make *out);

/* Gives (cfs__txn__free_unpacked); NULL: the bytes are no transaction that may come from outside.
 */
Cfs__Txn *payload_txn(const uint8_t *data, size_t len);

/* 0 or EINVAL. */
int payload_watch(const struct coordfs_ioc_watch *in);

#endif
