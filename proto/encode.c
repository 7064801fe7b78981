/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/encode.h"

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
