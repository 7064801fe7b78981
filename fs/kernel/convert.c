/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/convert.h"

#include <errno.h>
#include <string.h>

#include "proto/limits.h"

#define NS_PER_S    1000000000ll
#define USAGE_BLOCK 4096u
#define TIME_S_MAX  (INT64_MAX / NS_PER_S - 1)

struct timespec convert_timespec(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};

    if (t.tv_nsec < 0) {
        t.tv_nsec += NS_PER_S;
        t.tv_sec--;
    }
    return t;
}

int64_t convert_time(const struct timespec *t)
{
    if (t->tv_sec > TIME_S_MAX)
        return INT64_MAX;
    if (t->tv_sec < -TIME_S_MAX)
        return -TIME_S_MAX * NS_PER_S;
    return t->tv_sec * NS_PER_S + t->tv_nsec;
}

void convert_stat(const Cfs__Attr *attr, struct stat *out)
{
    memset(out, 0, sizeof(*out));
    out->st_ino = attr->ino;
    out->st_mode = attr->mode;
    out->st_nlink = attr->nlink;
    out->st_uid = attr->uid;
    out->st_gid = attr->gid;
    out->st_rdev = attr->rdev;
    out->st_size = (off_t)attr->size;
    out->st_blocks = (blkcnt_t)attr->blocks;
    out->st_blksize = CONVERT_BLKSIZE;
    out->st_atim = convert_timespec(attr->atime_ns);
    out->st_mtim = convert_timespec(attr->mtime_ns);
    out->st_ctim = convert_timespec(attr->ctime_ns);
}

void convert_usage(const struct backend_usage *usage, struct statvfs *out)
{
    uint64_t free_bytes = usage->max_bytes - min_u64(usage->bytes, usage->max_bytes);
    uint64_t free_inodes = usage->max_inodes - min_u64(usage->inodes, usage->max_inodes);

    memset(out, 0, sizeof(*out));
    out->f_bsize = USAGE_BLOCK;
    out->f_frsize = USAGE_BLOCK;
    out->f_blocks = usage->max_bytes / USAGE_BLOCK;
    out->f_bfree = free_bytes / USAGE_BLOCK;
    out->f_bavail = out->f_bfree;
    out->f_files = usage->max_inodes;
    out->f_ffree = free_inodes;
    out->f_favail = free_inodes;
    out->f_namemax = LIMIT_NAME_MAX;
}

ProtobufCBinaryData convert_bytes(const void *data, size_t len)
{
    union {
        const void *in;
        uint8_t *out;
    } cast = {.in = data};

    return (ProtobufCBinaryData){.len = len, .data = cast.out};
}

int convert_error(int err)
{
    check(err < 0);
    switch (err) {
    case -ESTALE: /* The session is lost: nobody knows whether the change was made. */
        return EIO;
    case -ESHUTDOWN:
        return ENOTCONN;
    default:
        return -err;
    }
}
