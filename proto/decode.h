/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of bytes that come from outside: like protobuf-c's unpack, but what it may allocate is
 * bounded, so a small hostile message cannot ask for much memory. */
#ifndef PROTO_DECODE_H
#define PROTO_DECODE_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"

/* The message, or NULL when the bytes are none or decoding them would need more than `budget`
 * bytes. Gives: free it with protobuf_c_message_free_unpacked(message, NULL). Any thread. */
ProtobufCMessage *decode_message(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                                 size_t len, size_t budget);

/* Does this program know every field of the message, and of those within it? Pure. */
bool decode_is_known(const ProtobufCMessage *message);

#endif
