/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of ioctls. The first byte selects: a transaction (in parts, whose sizes it selects
 * too), an entry to make, a watch. Every accepted transaction must become a command that the state
 * machine accepts, because an unacceptable command must not get into a log. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/kernel/credentials.h"
#include "fs/kernel/ioctl_buffer.h"
#include "fs/kernel/payload.h"
#include "proto/limits.h"
#include "proto/stamp.h"
#include "store/store.h"

static void propose(Cfs__Txn *txn)
{
    struct stamp stamp = {.session = 1, .seq = 1, .time_ns = 1};
    Cfs__Command command = CFS__COMMAND__INIT;
    struct credentials credentials = {.cred = CFS__CRED__INIT};
    uint8_t *entry;
    size_t len;

    credentials_check(&credentials, txn);
    txn->dir = 1;
    txn->cred = &credentials.cred;
    command.op_case = CFS__COMMAND__OP_TXN;
    command.txn = txn;
    len = cfs__command__get_packed_size(&command);
    entry = xmalloc(STAMP_SIZE + len);
    stamp_encode(&stamp, entry);
    cfs__command__pack(&command, entry + STAMP_SIZE);
    check(STAMP_SIZE + len > LIMIT_COMMAND_MAX || store_acceptable(entry, STAMP_SIZE + len));
    free(entry);
    txn->cred = NULL;
}

/* Sends the bytes in parts and reads them back: they are unchanged, and the count of buffered bytes
 * is right. */
static void fuzz_txn(const uint8_t *data, size_t len, size_t part)
{
    size_t total = 0;
    struct ioctl_buffer *x = ioctl_buffer_new(&total);
    uint8_t out[7];
    struct buf bytes;
    Cfs__Txn *txn;

    for (size_t at = 0; at < len; at += part)
        check(ioctl_buffer_add(x, data + at, min_u64(part, len - at), false) == 0);
    check(total == len);
    bytes = ioctl_buffer_take(x);
    check(bytes.len == len && (len == 0 || memcmp(bytes.data, data, len) == 0) && total == 0);
    txn = payload_txn(bytes.data, bytes.len);
    if (txn != NULL) {
        propose(txn);
        cfs__txn__free_unpacked(txn, NULL);
    }
    ioctl_buffer_answer(x, &bytes);
    for (size_t at = 0, n; at < len; at += n) {
        n = ioctl_buffer_next(x, out, sizeof out);
        check(n > 0 && memcmp(out, data + at, n) == 0);
    }
    check(total == 0 && ioctl_buffer_next(x, out, sizeof out) == 0);
    ioctl_buffer_free(x);
}

static void fuzz_create(const uint8_t *data, size_t len)
{
    struct coordfs_ioc_create in = {0};
    Cfs__Make make;
    int error;

    memcpy(&in, data, min_u64(len, sizeof in));
    error = payload_create(&in, &make);
    check(error == 0 || error == EINVAL || error == ENAMETOOLONG);
    if (error != 0)
        return;
    check(strnlen(in.name, sizeof in.name) <= LIMIT_NAME_MAX && strchr(in.name, '/') == NULL);
    check(in.name[0] != '\0' || make.sequential);
    check(S_ISREG(make.mode) || S_ISDIR(make.mode));
}

static void fuzz_watch(const uint8_t *data, size_t len)
{
    static struct coordfs_ioc_watch in;

    memset(&in, 0, sizeof in);
    memcpy(&in, data, min_u64(len, sizeof in));
    if (payload_watch(&in) != 0)
        return;
    check(in.path_len > 0 && in.path_len <= sizeof in.path && in.path[0] == '/');
    check(strnlen(in.path, in.path_len) == in.path_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2)
        return 0;
    if (data[0] % 4 == 0)
        fuzz_create(data + 1, len - 1);
    else if (data[0] % 4 == 1)
        fuzz_watch(data + 1, len - 1);
    else
        fuzz_txn(data + 1, len - 1, 1u + data[0]);
    return 0;
}
