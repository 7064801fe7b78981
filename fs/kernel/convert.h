/* SPDX-License-Identifier: Apache-2.0 */
/* Conversions between the store's types and the kernel's. Pure functions. */
#ifndef FS_KERNEL_CONVERT_H
#define FS_KERNEL_CONVERT_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "fs/backend.h"

/* st_blksize: a program that respects it writes in one piece. */
#define CONVERT_BLKSIZE (1u << 20)

void convert_stat(const Cfs__Attr *attr, struct stat *out);
void convert_usage(const struct backend_usage *usage, struct statvfs *out);

/* Clamps to the range of 64 bits of nanoseconds (the years 1678 to 2261). */
int64_t convert_time(const struct timespec *t);
struct timespec convert_timespec(int64_t ns);

/* The bytes in protobuf-c's type. Borrows: protobuf-c does not write to them. */
ProtobufCBinaryData convert_bytes(const void *data, size_t len);

/* The positive errno that a program gets when the transport of its change failed with err (-errno).
 */
int convert_error(int err);

#endif
