/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/kernel/payload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/decode.h"
#include "proto/limits.h"

static Cfs__Ephemeral ephemeral_of(uint32_t flags)
{
    return (flags & COORDFS_IOC_CREATE_EPHEMERAL_SESSION) != 0 ? CFS__EPHEMERAL__EPHEMERAL_SESSION
           : (flags & COORDFS_IOC_CREATE_EPHEMERAL_OPEN) != 0  ? CFS__EPHEMERAL__EPHEMERAL_OPEN
                                                               : CFS__EPHEMERAL__EPHEMERAL_INHERIT;
}

static int create_error(const struct coordfs_ioc_create *in)
{
    const uint32_t both = COORDFS_IOC_CREATE_EPHEMERAL_SESSION | COORDFS_IOC_CREATE_EPHEMERAL_OPEN;
    uint32_t type = in->mode & S_IFMT;
    size_t len = strnlen(in->name, sizeof(in->name));

    if ((in->flags & ~(both | COORDFS_IOC_CREATE_SEQUENTIAL)) != 0 || (in->flags & both) == both ||
        (in->mode & ~(uint32_t)(S_IFMT | 07777)) != 0 || (in->umask & ~0777u) != 0 ||
        (type != 0 && type != S_IFREG && type != S_IFDIR) || memchr(in->name, '/', len) != NULL)
        return EINVAL;
    if (len == 0 && (in->flags & COORDFS_IOC_CREATE_SEQUENTIAL) == 0)
        return EINVAL;
    return len > LIMIT_NAME_MAX ? ENAMETOOLONG : 0;
}

int payload_create(const struct coordfs_ioc_create *in, Cfs__Make *out)
{
    int error = create_error(in);

    if (error != 0)
        return error;
    cfs__make__init(out);
    out->mode = (in->mode & S_IFMT) != 0 ? in->mode : S_IFREG | in->mode;
    out->umask = in->umask;
    out->sequential = (in->flags & COORDFS_IOC_CREATE_SEQUENTIAL) != 0;
    out->ephemeral = ephemeral_of(in->flags);
    return 0;
}

/* Budget for decoding a transaction: half of that for the command around it, which also holds the
 * caller's groups. A command that the state machine cannot decode must not be proposed. */
#define BUDGET (LIMIT_DECODE_BUDGET / 2)

_Static_assert(LIMIT_TXN_GROUPS * sizeof(uint32_t) + 65536 < LIMIT_DECODE_BUDGET - BUDGET,
               "room for the rest of the command");

Cfs__Txn *payload_txn(const uint8_t *data, size_t len)
{
    ProtobufCMessage *m = decode_message(&cfs__txn__descriptor, data, len, BUDGET);
    Cfs__Txn *txn = (Cfs__Txn *)m;

    if (txn == NULL || (decode_is_known(m) && txn->cred == NULL))
        return txn;
    protobuf_c_message_free_unpacked(m, NULL);
    return NULL;
}

int payload_watch(const struct coordfs_ioc_watch *in)
{
    if (in->path_len < 1 || in->path_len > sizeof in->path ||
        (in->flags & ~(uint32_t)(COORDFS_IOC_WATCH_SINCE | COORDFS_IOC_WATCH_RECURSIVE |
                                 COORDFS_IOC_WATCH_TEXT)) != 0)
        return EINVAL;
    if (in->path[0] != '/' || memchr(in->path, '\0', in->path_len) != NULL ||
        (in->path_len > 1 && in->path[in->path_len - 1] == '/'))
        return EINVAL;
    return 0;
}
