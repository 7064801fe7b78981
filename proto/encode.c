/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/encode.h"

#include <stdlib.h>

static void append(struct buf *out, const Cfs__Command *command)
{
    buf_reserve(out, cfs__command__get_packed_size(command));
    out->len += cfs__command__pack(command, out->data + out->len);
}

struct buf encode_command(const Cfs__Command *command)
{
    struct buf out = BUF_EMPTY;

    append(&out, command);
    return out;
}

struct buf encode_stamped(const struct stamp *stamp, const Cfs__Command *command)
{
    struct buf out = BUF_EMPTY;

    buf_reserve(&out, STAMP_SIZE);
    stamp_encode(stamp, out.data);
    out.len = STAMP_SIZE;
    append(&out, command);
    return out;
}

struct buf encode_open_session(uint64_t nonce, uint64_t member, uint32_t ttl_ms)
{
    Cfs__OpenSession open = CFS__OPEN_SESSION__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    open.nonce = nonce;
    open.member = member;
    open.ttl_ms = ttl_ms;
    command.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    command.open_session = &open;
    return encode_command(&command);
}

struct buf encode_noop(void)
{
    Cfs__Noop noop = CFS__NOOP__INIT;
    Cfs__Command command = CFS__COMMAND__INIT;

    command.op_case = CFS__COMMAND__OP_NOOP;
    command.noop = &noop;
    return encode_command(&command);
}

Cfs__Change *encode_copy_change(const Cfs__Change *change)
{
    size_t len = cfs__change__get_packed_size(change);
    uint8_t *bytes = xmalloc(len);
    Cfs__Change *copy;

    cfs__change__pack(change, bytes);
    copy = cfs__change__unpack(NULL, len, bytes);
    check(copy != NULL);
    free(bytes);
    return copy;
}
