/* SPDX-License-Identifier: Apache-2.0 */
/* Between the store's words and the kernel's. Pure functions. */
#ifndef FS_KERNEL_CONVERT_H
#define FS_KERNEL_CONVERT_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "fs/backend.h"

#define CONVERT_BLKSIZE (1u << 20) /* st_blksize: programs that heed it write in one piece */

void convert_stat(const Cfs__Attr *attr, struct stat *out);
void convert_usage(const struct backend_usage *usage, struct statvfs *out);

/* Clamped to what 64 bits of nanoseconds hold (the years 1678 to 2261). */
int64_t convert_time(const struct timespec *t);
struct timespec convert_timespec(int64_t ns);

/* The bytes as protobuf-c wants them; borrows (it does not write to them). */
ProtobufCBinaryData convert_bytes(const void *data, size_t len);

/* What a program is told when the transport of a change failed with err (-errno): a positive
 * errno. */
int convert_error(int err);

#endif
