/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads of ioctls (proto/ioctl.h): bytes from any user's program, checked and decoded. Pure. */
#ifndef FS_KERNEL_PAYLOAD_H
#define FS_KERNEL_PAYLOAD_H

#include "base/base.h"
#include "proto/command.pb-c.h"
#include "proto/ioctl.h"

/* Returns 0 and the entry to make in *out, EINVAL, or ENAMETOOLONG. On success the name is
 * terminated. */
int payload_create(const struct coordfs_ioc_create *in, Cfs__Make *out);

/* Gives (cfs__txn__free_unpacked); NULL: the bytes are no transaction that a program may send. */
Cfs__Txn *payload_txn(const uint8_t *data, size_t len);

/* 0 or EINVAL. */
int payload_watch(const struct coordfs_ioc_watch *in);

#endif
